package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"tsnswitch"
	"tsnswitch/internal/api"
	"tsnswitch/internal/config"
	"tsnswitch/qbv"
)

func (a *app) plan() *cobra.Command {
	return group("plan", "Look at a network that is only a file", a.planPaths())
}

func (a *app) planPaths() *cobra.Command {
	var q api.PathQuery
	var file string
	var plan filePlan
	c := &cobra.Command{
		Use: "paths (--network FILE | --file NETWORK)", Short: "Show the paths that SPB would choose",
		Long: planPathsHelp,
		Example: "  tsnctl plan paths --network lab/ring4.yaml --from A --to b3 --vlan 100\n" +
			"  tsnctl plan paths --file net.json --ect 1,2 --json\n" +
			"  tsnctl plan paths --file net.json --from a --to f",
		Args: cobra.NoArgs,
	}
	c.RunE = func(c *cobra.Command, args []string) error {
		if plan.file != "" {
			if c.Flags().Changed("vlan") {
				return usageError{errors.New("--vlan is for --network; a file of --file has no VLANs: use --ect")}
			}
			plan.from, plan.to = q.From, q.To
			return offline(func() error { return a.planFile(c.Context(), plan) })(c, args)
		}
		if c.Flags().Changed("ect") {
			return usageError{errors.New("--ect is for --file; in a file of --network each VLAN has its algorithm: use --vlan")}
		}
		return offline(func() error {
			net, err := config.LoadNetwork(file)
			if err != nil {
				return err
			}
			f, err := newFabric(net)
			if err != nil {
				return err
			}
			v, err := f.paths(q)
			if err != nil {
				return err
			}
			return show(a, v, printPaths)
		})(c, args)
	}
	networkFlag(c, &file)
	c.Flags().StringVar(&plan.file, "file", "", "nodes and links, JSON or YAML: plan all trees of all bridges")
	_ = c.MarkFlagFilename("file", "json", "yaml", "yml")
	c.Flags().Var(&plan.ect, "ect", "with --file: ECT algorithms 0..16, 1,3 or repeated (default: 1 to 16)")
	c.MarkFlagsOneRequired("network", "file")
	c.MarkFlagsMutuallyExclusive("network", "file")
	c.Flags().StringVar(&q.From, "from", "", "node (default: every host, of --file every node)")
	c.Flags().StringVar(&q.To, "to", "", "node (default: every host, of --file every node)")
	vlanFlag(c, &q.VLAN, "Base VID (default: the stream VLAN)")
	return c
}

func networkFlag(c *cobra.Command, file *string) {
	c.Flags().StringVar(file, "network", "", "network file: plan offline, ask no daemon")
	_ = c.MarkFlagFilename("network", "yaml", "yml")
}

// offline is call for what needs no daemon.
func offline(do func() error) func(*cobra.Command, []string) error {
	return func(*cobra.Command, []string) error {
		if err := do(); err != nil {
			return failure{err}
		}
		return nil
	}
}

// paths answers a query. One pair without a path is an error: a network that
// is cut in two should not look whole.
func (f *fabric) paths(q api.PathQuery) ([]api.Path, error) {
	if q.VLAN == 0 {
		q.VLAN = f.net.Fabric.StreamVID
	}
	var ect uint8
	for _, b := range f.net.Fabric.BaseVIDs {
		if b.VID == q.VLAN {
			ect = b.ECT
		}
	}
	var out []api.Path
	for _, from := range f.ends(q.From) {
		for _, to := range f.ends(q.To) {
			if from == to {
				continue
			}
			hops, err := f.path(q.VLAN, from, to)
			if err != nil {
				return nil, err
			}
			p := api.Path{VLAN: q.VLAN, ECT: uint32(ect), From: from, To: to}
			for _, h := range hops {
				p.Cost += f.metric(h)
				p.Hops = append(p.Hops, f.label(h))
			}
			out = append(out, p)
		}
	}
	return out, nil
}

func (f *fabric) ends(name string) []string {
	if name != "" {
		return []string{name}
	}
	var out []string
	for _, n := range f.net.Nodes {
		if n.Kind == config.KindHost {
			out = append(out, n.Name)
		}
	}
	return out
}

// planOffline computes the schedule of a network file.
func planOffline(file string) (*api.Schedule, error) {
	net, err := config.LoadNetwork(file)
	if err != nil {
		return nil, err
	}
	f, err := newFabric(net)
	if err != nil {
		return nil, err
	}
	p, err := f.problem()
	if err != nil {
		return nil, err
	}
	s, err := qbv.Plan(p)
	var no *qbv.Infeasible
	if errors.As(err, &no) {
		e := &api.Error{Code: api.CodeRefused, Text: no.Error(), Stream: no.Stream}
		if no.Link != (tsn.Hop{}) {
			e.Hop = f.label(no.Link)
		}
		return nil, e
	}
	if err != nil {
		return nil, err
	}
	return f.scheduleView(s), nil
}

// problem puts the network in the planner's terms. Streams outside the
// scheduled class are shaped, not gated: they are not planned.
func (f *fabric) problem() (qbv.Problem, error) {
	def := config.DefaultDaemon().QBV
	p := qbv.Problem{
		GuardOctets: int(def.GuardOctets), Jitter: int64(def.Jitter),
		MinInterval: int64(def.MinInterval), MaxCycle: int64(def.MaxCycle),
	}
	for _, l := range f.net.Links {
		for _, e := range [][2]config.End{{l.A, l.B}, {l.B, l.A}} {
			from, to := f.net.Node(e[0].Node), f.net.Node(e[1].Node)
			p.Links = append(p.Links, qbv.Link{
				From: tsn.Hop{System: from.SystemID, Port: e[0].Port}, To: to.SystemID, Rate: l.Rate.Rate(),
				PropagationDelay: int64(l.Prop), ProcessingDelay: int64(to.Proc), MaxEntries: from.GateLimit,
			})
		}
	}
	for i, s := range f.net.TSNStreams() {
		if tsn.DefaultClassMap[s.PCP] != tsn.ClassScheduled {
			continue
		}
		hops, err := f.path(s.VID, f.net.Streams[i].From, f.net.Streams[i].To.String())
		if err != nil {
			return p, err
		}
		p.Streams = append(p.Streams, qbv.StreamPath{Stream: s, Path: hops})
	}
	return p, nil
}

func (f *fabric) scheduleView(s *qbv.Schedule) *api.Schedule {
	out := &api.Schedule{State: api.SchedulePlanned, CycleTime: s.CycleTime}
	windows := map[tsn.Hop][]api.Window{}
	for _, x := range s.Streams {
		out.Streams = append(out.Streams, api.ScheduledStream{
			ID: x.Stream.ID, Name: x.Stream.Name, Scheduled: true, Latency: x.WorstLatency, MaxLatency: x.Stream.MaxLatency,
		})
		for _, slot := range x.Slots {
			// As the chart is drawn: from the start of the port's cycle.
			start := slot.Start % x.Stream.Interval
			windows[slot.Hop] = append(windows[slot.Hop], api.Window{Stream: x.Stream.ID, Start: start, End: start + slot.End - slot.Start})
		}
	}
	for i := range s.Ports {
		p := &s.Ports[i]
		out.Ports = append(out.Ports, api.PortSchedule{PathHop: f.label(p.Hop), Admin: &p.List, Windows: windows[p.Hop]})
	}
	return out
}

// planFrom is schedule plan: offline if there is a file.
func (a *app) planFrom(file *string, ask func(context.Context, api.Switch) (*api.Schedule, error)) func(*cobra.Command, []string) error {
	return func(c *cobra.Command, args []string) error {
		if *file == "" {
			return a.call(func(ctx context.Context, sw api.Switch, _ []string) error {
				s, err := ask(ctx, sw)
				if err != nil {
					return err
				}
				return show(a, s, printSchedule)
			})(c, args)
		}
		if c.Flags().Changed("cycle") {
			return usageError{errors.New("--cycle is for a daemon; offline the cycle comes from the streams")}
		}
		return offline(func() error {
			s, err := planOffline(*file)
			if err != nil {
				return err
			}
			return show(a, s, printSchedule)
		})(c, args)
	}
}
