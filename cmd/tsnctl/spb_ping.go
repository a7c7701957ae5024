package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"tsnswitch/internal/api"
)

func (a *app) spbPing() *cobra.Command {
	var r api.PingRequest
	interval, timeout := time.Second, time.Second
	c := &cobra.Command{
		Use: "ping NODE|STATION", Short: "Send loopback messages along the data path",
		Long: `Sends loopback messages (802.1Q CFM) to a bridge, in a Base VID: they travel
through the bridges on the way as all frames do, by their forwarding entries.
For an end station its bridge answers. Exit status 1 if no answer came.`,
		Example: "  tsnctl spb ping b3\n  tsnctl spb ping B --count 100 --interval 10ms --vlan 101",
		Args:    cobra.ExactArgs(1), ValidArgsFunction: a.nodeNames,
	}
	c.Flags().IntVar(&r.Count, "count", 5, "how many")
	c.Flags().DurationVar(&interval, "interval", interval, "from one to the next, 10ms or more")
	c.Flags().DurationVar(&timeout, "wait", timeout, "for an answer, 1ms to 10s")
	c.Flags().IntVar(&r.Size, "size", 0, "octets of data in each, up to 1400")
	vlanFlag(c, &r.VLAN, "Base VID (default: the lowest)")
	c.RunE = a.call(func(ctx context.Context, sw api.Switch, args []string) error {
		if r.Count < 1 {
			return usageError{errors.New("--count: one or more")}
		}
		r.To, r.Interval, r.Timeout = args[0], int64(interval), int64(timeout)
		p := &page{w: a.out}
		soFar := &api.PingSummary{To: r.To, VLAN: r.VLAN}
		sum, err := sw.Ping(ctx, r, func(v api.PingReply) error {
			addReply(soFar, v)
			if a.json {
				return a.jsonLine(api.PingStep{Reply: &v})
			}
			if v.Lost {
				p.printf("%d: no answer from %s", v.Sequence, nameOr(v.Name, v.From))
			} else {
				p.printf("%d: %s answered after %s", v.Sequence, nameOr(v.Name, v.From), dur(v.RTT))
			}
			return p.err
		})
		if errors.Is(ctx.Err(), context.Canceled) && soFar.Sent > 0 {
			sum, err = soFar, nil // told to stop
		}
		switch {
		case err != nil:
			return err
		case a.json:
			err = a.jsonLine(api.PingStep{Summary: sum})
		default:
			printPing(p, sum)
			err = p.err
		}
		if err == nil && sum.Received == 0 {
			err = api.Errorf(api.CodeUnavailable, "no answer from %s", nameOr(sum.Name, sum.Target))
		}
		return err
	})
	return patient(c)
}

// addReply counts a reply, for a ping that is not let end.
func addReply(s *api.PingSummary, v api.PingReply) {
	s.Target, s.Name = v.From, v.Name
	if s.Sent++; v.Lost {
		return
	}
	if s.Received++; s.Received == 1 {
		s.Min = v.RTT
	}
	s.Min, s.Max = min(s.Min, v.RTT), max(s.Max, v.RTT)
	s.Avg += (v.RTT - s.Avg) / int64(s.Received)
}

func printPing(p *page, s *api.PingSummary) {
	who := nameOr(s.Name, s.Target)
	if s.To != s.Name && s.To != s.Target.String() {
		who = fmt.Sprintf("%s, the bridge of %s", who, s.To)
	}
	if s.VLAN != 0 {
		who += fmt.Sprintf(" in vlan %d", s.VLAN)
	}
	text := fmt.Sprintf("%s: %d sent, %d answered", who, s.Sent, s.Received)
	if s.Received > 0 {
		text += fmt.Sprintf(", %s/%s/%s (min/avg/max)", dur(s.Min), dur(s.Avg), dur(s.Max))
	}
	p.printf("%s", text)
}

func (a *app) spbTrace() *cobra.Command {
	var r api.TraceRequest
	timeout := 500 * time.Millisecond
	c := &cobra.Command{
		Use: "trace NODE|STATION", Short: "Ask every bridge on the path in turn",
		Long: `Sends loopback messages to each bridge on the path, the nearest first, and so
finds where frames are lost. Exit status 1 if the last bridge did not answer.`,
		Example: "  tsnctl spb trace b3\n  tsnctl spb trace B --vlan 101 -o json",
		Args:    cobra.ExactArgs(1), ValidArgsFunction: a.nodeNames,
	}
	c.Flags().IntVar(&r.Tries, "tries", 3, "messages to a bridge that does not answer, 1..10")
	c.Flags().DurationVar(&timeout, "wait", timeout, "for an answer, 1ms to 10s")
	vlanFlag(c, &r.VLAN, "Base VID (default: the lowest)")
	c.RunE = a.call(func(ctx context.Context, sw api.Switch, args []string) error {
		r.To, r.Timeout = args[0], int64(timeout)
		p := &page{w: a.out}
		sum, err := sw.Trace(ctx, r, func(h api.TraceHop) error {
			if a.json {
				return a.jsonLine(api.TraceStep{Hop: &h})
			}
			state := "no answer to " + plural(h.Tries, "message", "messages")
			if h.Answered {
				state = "answered after " + dur(h.RTT)
			}
			p.printf("%d: by port %d to %s: %s", h.Hop, h.Port, nameOr(h.Name, h.System), state)
			return p.err
		})
		switch {
		case err != nil:
			return err
		case a.json:
			err = a.jsonLine(api.TraceStep{Summary: sum})
		case sum.Reached:
			p.printf("%s reached in vlan %d over %s", nameOr(sum.Name, sum.Target), sum.VLAN, plural(sum.Hops, "hop", "hops"))
			err = p.err
		}
		if err == nil && !sum.Reached {
			err = api.Errorf(api.CodeUnavailable, "%s is not reached in vlan %d: nothing answers beyond %s", nameOr(sum.Name, sum.Target), sum.VLAN, sum.After)
		}
		return err
	})
	return patient(c)
}

// jsonLine prints one object a line, for output that is followed.
func (a *app) jsonLine(v any) error {
	b, err := json.Marshal(v)
	if err == nil {
		_, err = fmt.Fprintln(a.out, string(b))
	}
	return err
}
