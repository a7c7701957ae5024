package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"tsnswitch"
	"tsnswitch/internal/api"
	"tsnswitch/internal/config"
)

func (a *app) streamRequest() *cobra.Command {
	var r api.DemandRequest
	var interval, within config.Duration
	var size config.Size
	var destination, id string
	c := &cobra.Command{
		Use: "request", Short: "Ask for a stream for stations that speak no MSRP",
		Long: `Asks for a stream as a central configuration does (802.1Qcc 46.1.3.3): the
bridges that talker and listeners are attached to declare it for them by MSRP,
so it also goes through bridges of others, and to stations that do speak MSRP
or from them. What becomes of it: tsnctl stream show, stream explain.

A station is a name or address that the fabric knows, or an address and its
place: 02:00:00:00:01:01@b1:3 is port 3 of b1. The request is kept by the node
that is asked until tsnctl stream remove; it follows stations that move.

--class A or B: bounded by the class, admitted by its bandwidth. MSRP counts
frames in the class's own interval, so a longer --interval is rounded up to one
frame of each. --class scheduled: windows of its own, as by tsnctl stream add;
one listener.`,
		Example: `  tsnctl stream request --talker A --listener B,C --class A --size 224
  tsnctl stream request --talker 02:00:00:00:01:01@b1:3 --listener B \
    --class B --size 1000 --frames 2 --within 2ms --name cam --dry-run`,
		Args: cobra.NoArgs,
		RunE: a.call(func(ctx context.Context, sw api.Switch, _ []string) error {
			spec := api.StreamRequest{Spec: tsn.Stream{PCP: scheduledPCP}}
			if err := addressFlags(&spec, size, destination, id); err != nil {
				return usageError{err}
			}
			r.Destination, r.ID, r.MaxFrameSize = spec.Spec.DestinationAddress, spec.Spec.ID, spec.Spec.MaxFrameSize
			r.Interval, r.MaxLatency = int64(interval), int64(within)
			if r.Class == "scheduled" {
				return a.requestScheduled(ctx, sw, r)
			}
			m, err := sw.RequestStream(ctx, r)
			if err != nil {
				return err
			}
			return show(a, m, func(p *page, m *api.Demand) {
				if r.DryRun {
					p.printf("%s would be declared", m.Stream.ID)
				}
				printDemand(p, m)
			})
		}),
	}
	f := c.Flags()
	f.StringVar(&r.Talker, "talker", "", "sending station: name, address, or address@node:port")
	f.StringSliceVar(&r.Listeners, "listener", nil, "receiving stations, separated by commas")
	f.StringVar(&r.Class, "class", "A", "A, B or scheduled")
	f.Var(&unit[*config.Size]{v: &size, name: "octets"}, "size", "largest frame's data: 46..1500")
	f.Uint16Var(&r.MaxIntervalFrames, "frames", 1, "frames in each interval")
	f.Var(&unit[*config.Duration]{v: &interval, name: "duration"}, "interval", "time between bursts (default: the class's)")
	f.Var(&unit[*config.Duration]{v: &within, name: "duration"}, "within", "largest latency; beyond it fails with code 21 (default: any)")
	f.Uint8Var(&r.Rank, "rank", 1, "0 for an emergency stream, which takes bandwidth from others")
	vlanFlag(c, &r.VID, "VLAN (default: that of the class)")
	f.StringVar(&destination, "destination", "", "group address (default: one that nobody uses)")
	f.StringVar(&r.Name, "name", "", "a label")
	f.StringVar(&id, "id", "", "stream id (default: the talker's next)")
	f.BoolVar(&r.DryRun, "dry-run", false, "only say what would be declared")
	for _, name := range []string{"talker", "listener", "size"} {
		_ = c.MarkFlagRequired(name)
	}
	_ = c.RegisterFlagCompletionFunc("class", cobra.FixedCompletions([]string{"A", "B", "scheduled"}, cobra.ShellCompDirectiveNoFileComp))
	return c
}

// scheduledPCP is the priority of scheduled streams that ask for none.
const scheduledPCP = 6

// requestScheduled is a request for windows, which its path's owners admit.
func (a *app) requestScheduled(ctx context.Context, sw api.Switch, r api.DemandRequest) error {
	if len(r.Listeners) != 1 || r.Interval == 0 || r.Rank != 1 {
		return usageError{errors.New("--class scheduled: takes one --listener, an --interval and no --rank")}
	}
	if r.MaxLatency == 0 {
		r.MaxLatency = r.Interval
	}
	s, err := sw.AddStream(ctx, api.StreamRequest{
		Talker: r.Talker, Listener: r.Listeners[0], DryRun: r.DryRun, Spec: tsn.Stream{
			ID: r.ID, Name: r.Name, DestinationAddress: r.Destination, VID: r.VID, PCP: scheduledPCP, Interval: r.Interval,
			MaxFrameSize: r.MaxFrameSize, MaxIntervalFrames: r.MaxIntervalFrames, MaxLatency: r.MaxLatency,
		},
	})
	if err != nil {
		return err
	}
	return show(a, s, printStream)
}

func printDemand(p *page, m *api.Demand) {
	f := fields{p}
	f.add("Stream", "%s %s", m.Stream.ID, m.Stream.Name)
	f.add("Talker", "%s", endText(m.Talker))
	for i, l := range m.Listeners {
		f.add(map[bool]string{true: "Listeners"}[i == 0], "%s", endText(l))
	}
	f.add("Destination", "%s vlan %d pcp %d", m.Stream.DestinationAddress, m.Stream.VID, m.Stream.PCP)
	f.add("Class", "%s, rank %d%s", m.Class, m.Rank, map[bool]string{true: " (emergency)"}[m.Rank == 0])
	f.add("Traffic", "%s", trafficText(m.Stream))
	within := "any"
	if m.Stream.MaxLatency != 0 {
		within = dur(m.Stream.MaxLatency)
	}
	f.add("Within", "%s", within)
	f.add("Kept by", "%s", m.Keeper)
	if m.Problem != "" {
		f.add("Problem", "%s", m.Problem)
	}
}

func endText(e api.DemandEnd) string {
	text := e.MAC.String()
	if e.Name != "" {
		text = e.Name + " " + text
	}
	return text + " at " + hopText(e.PathHop)
}

func (a *app) streamRequests() *cobra.Command {
	return &cobra.Command{
		Use: "requests", Short: "List what tsnctl stream request has asked for here",
		Long: `Lists the streams that this node (or --node) keeps for stations that speak no
MSRP, with the ports where they are declared.`,
		Example: "  tsnctl stream requests\n  tsnctl stream requests --node b2 -o json", Args: cobra.NoArgs,
		RunE: a.call(func(ctx context.Context, sw api.Switch, _ []string) error {
			v, err := sw.Demands(ctx)
			if err != nil {
				return err
			}
			return show(a, v, func(p *page, v []api.Demand) {
				for i := range v {
					if i > 0 {
						p.blank()
					}
					printDemand(p, &v[i])
				}
			})
		}),
	}
}
