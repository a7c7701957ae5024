package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"tsnswitch"
	"tsnswitch/internal/api"
	"tsnswitch/internal/config"
)

func (a *app) stream() *cobra.Command {
	return group("stream", "Ask for streams, and look at them",
		a.streamAdd(), a.streamRemove(), a.streamRequest(), a.streamRequests(), a.streamList(), a.streamShow(), a.streamExplain(), a.streamWatch())
}

// unit makes a flag of a type of package config.
type unit[T interface {
	UnmarshalText([]byte) error
	fmt.Stringer
}] struct {
	v    T
	name string
	set  bool
}

func (u *unit[T]) Set(s string) error { u.set = true; return u.v.UnmarshalText([]byte(s)) }
func (u *unit[T]) Type() string       { return u.name }
func (u *unit[T]) String() string {
	if !u.set {
		return ""
	}
	return u.v.String()
}

func (a *app) streamAdd() *cobra.Command {
	var r api.StreamRequest
	var interval, within config.Duration
	var size config.Size
	var destination, id string
	c := &cobra.Command{
		Use: "add", Short: "Ask for a stream",
		Long: `Asks for a stream from talker to listener: up to --frames frames of at most
--size octets of data every --interval, each delivered --within a time. It is
admitted at every system on the path that SPB chose, or refused with the reason.
A reserved stream gets its windows with the next tsnctl schedule apply.`,
		Example: `  tsnctl stream add --talker A --listener B --interval 10ms --size 128 \
    --frames 2 --within 5ms --name a-to-b
  tsnctl stream add --talker 02:00:00:00:01:01 --listener B --interval 1ms \
    --size 64 --pcp 6 --vlan 101 --destination 91:e0:f0:00:0e:80 --dry-run`,
		Args: cobra.NoArgs,
		RunE: a.call(func(ctx context.Context, sw api.Switch, _ []string) error {
			r.Spec.Interval, r.Spec.MaxLatency = int64(interval), int64(within)
			if r.Spec.MaxLatency == 0 {
				r.Spec.MaxLatency = r.Spec.Interval
			}
			if err := addressFlags(&r, size, destination, id); err != nil {
				return usageError{err}
			}
			s, err := sw.AddStream(ctx, r)
			if err != nil {
				return err
			}
			return show(a, s, func(p *page, s *api.StreamState) {
				if r.DryRun {
					p.printf("%s would be admitted", s.Stream.ID)
				}
				printStream(p, s)
			})
		}),
	}
	f := c.Flags()
	f.StringVar(&r.Talker, "talker", "", "sending station, name or address")
	f.StringVar(&r.Listener, "listener", "", "receiving station, name or address")
	f.Var(&unit[*config.Duration]{v: &interval, name: "duration"}, "interval", "time between bursts: 10us..1s")
	f.Var(&unit[*config.Size]{v: &size, name: "octets"}, "size", "largest frame's data: 46..1500")
	f.Uint16Var(&r.Spec.MaxIntervalFrames, "frames", 1, "frames in each interval")
	f.Var(&unit[*config.Duration]{v: &within, name: "duration"}, "within", "largest latency (default: the interval)")
	f.Uint8Var((*uint8)(&r.Spec.PCP), "pcp", 6, "priority: 5, 6 scheduled, 2, 3 shaped")
	vlanFlag(c, &r.Spec.VID, "VLAN (default: the fabric's stream VLAN)")
	f.StringVar(&destination, "destination", "", "group address (default: the listener's)")
	f.StringVar(&r.Spec.Name, "name", "", "a label")
	f.StringVar(&id, "id", "", "stream id (default: the talker's next)")
	f.BoolVar(&r.DryRun, "dry-run", false, "only say whether it would be admitted")
	for _, name := range []string{"talker", "listener", "interval", "size"} {
		_ = c.MarkFlagRequired(name)
	}
	return c
}

// addressFlags checks the flags that have a form of their own.
func addressFlags(r *api.StreamRequest, size config.Size, destination, id string) error {
	var err error
	if destination != "" {
		if r.Spec.DestinationAddress, err = tsn.ParseMAC(destination); err != nil {
			return fmt.Errorf("--destination: %w", err)
		}
	}
	if id != "" {
		if r.Spec.ID, err = tsn.ParseStreamID(id); err != nil {
			return fmt.Errorf("--id: %w", err)
		}
	}
	if size < 46 || size > 1500 {
		return fmt.Errorf("--size: %d is outside 46..1500", size)
	}
	if r.Spec.PCP > 7 {
		return errors.New("--pcp: outside 0..7")
	}
	r.Spec.MaxFrameSize = uint16(size)
	return nil
}

func (a *app) streamRemove() *cobra.Command {
	return &cobra.Command{
		Use: "remove ID|NAME", Short: "Give up a stream that was added or requested",
		Example: "  tsnctl stream remove a-to-b\n  tsnctl stream remove 02-00-00-00-01-01:0001",
		Args:    cobra.ExactArgs(1), ValidArgsFunction: a.completeStreams,
		RunE: a.call(func(ctx context.Context, sw api.Switch, args []string) error {
			err := sw.RemoveStream(ctx, args[0])
			if e := (*api.Error)(nil); errors.As(err, &e) && e.Code == api.CodeNotFound {
				if _, werr := sw.WithdrawStream(ctx, args[0]); werr == nil {
					err = nil // it was one of tsnctl stream request
				}
			}
			if err != nil {
				return err
			}
			return show(a, map[string]string{"removed": args[0]}, func(p *page, _ map[string]string) {
				p.printf("removed %s", args[0])
			})
		}),
	}
}

func latencyText(s api.StreamState) string {
	switch {
	case s.Stream.MaxLatency == 0 && s.Latency == 0:
		return "-"
	case s.Stream.MaxLatency == 0:
		return dur(s.Latency) + ", accumulated"
	case s.Latency == 0:
		return "- of " + dur(s.Stream.MaxLatency)
	}
	return dur(s.Latency) + " of " + dur(s.Stream.MaxLatency)
}

func printStream(p *page, s *api.StreamState) {
	f := fields{p}
	t := s.Stream
	f.add("Stream", "%s %s", t.ID, t.Name)
	f.add("State", "%s", s.State)
	if s.Failure != tsn.FailureNone {
		f.add("Failure", "code %d: %s", uint8(s.Failure), s.Failure)
	}
	if s.Reason != "" {
		f.add("Reason", "%s", s.Reason)
	}
	f.add("Owner", "%s", dash(s.Owner))
	f.add("Talker", "%s", t.Talker)
	f.add("Listener", "%s", t.Listener)
	f.add("Destination", "%s vlan %d pcp %d", t.DestinationAddress, t.VID, t.PCP)
	f.add("Traffic", "%s", trafficText(t))
	f.add("Latency", "%s", latencyText(*s))
	f.path(s.Path)
}

// completeStreams offers names and ids, if the daemon answers.
func (a *app) completeStreams(c *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	client := api.DialUnix(a.socket)
	defer client.Close()
	v, err := client.At(a.node).FindStreams(c.Context(), api.StreamQuery{})
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var out []string
	for _, s := range v {
		out = append(out, s.Stream.ID.String())
		if s.Stream.Name != "" {
			out = append(out, s.Stream.Name)
		}
	}
	return out, cobra.ShellCompDirectiveNoFileComp
}
