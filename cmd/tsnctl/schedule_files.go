package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"tsnswitch"
	"tsnswitch/internal/config"
	"tsnswitch/qbv/format"
	"tsnswitch/qbv/schedule"
	"tsnswitch/spb"
)

// planFiles are the files a schedule is planned from, or checked against.
type planFiles struct {
	topo, streams, instance string
	limits                  limits
}

func (f *planFiles) flags(c *cobra.Command) {
	c.Flags().StringVar(&f.topo, "topo", "", "topology: a network file (.yaml) or tsnkit's CSV")
	c.Flags().StringVar(&f.streams, "streams", "", "streams, of the same kind (default: the network file's)")
	c.Flags().StringVar(&f.instance, "instance", "", "name in the solution (default: from the file's)")
	_ = c.MarkFlagFilename("topo", "yaml", "yml", "csv")
	_ = c.MarkFlagFilename("streams", "yaml", "yml", "csv")
	f.limits.flags(c)
}

// network is what the files say.
type network struct {
	problem *schedule.Problem
	csv     bool
	file    *config.Network  // nil of CSV
	bridges []spb.PlanBridge // of every node
	metric  func(schedule.LinkID) uint32
}

func (f *planFiles) load(c *cobra.Command) (*network, error) {
	n, err := f.read()
	if err != nil {
		return nil, err
	}
	if f.instance != "" {
		n.problem.Name = f.instance
	}
	if err := f.limits.apply(c, n.problem); err != nil {
		return nil, err
	}
	return n, nil
}

func (f *planFiles) read() (*network, error) {
	topo, err := os.ReadFile(f.topo)
	if err != nil {
		return nil, fmt.Errorf("topology: %w", err)
	}
	var streams []byte
	if f.streams != "" {
		if streams, err = os.ReadFile(f.streams); err != nil {
			return nil, fmt.Errorf("streams: %w", err)
		}
	}
	if isYAML(f.topo) {
		return f.readYAML(topo, streams)
	}
	if f.streams == "" {
		return nil, usageError{fmt.Errorf("%s has no streams: name their file with --streams", f.topo)}
	}
	return f.readCSV(topo, streams)
}

func isYAML(file string) bool {
	return slices.Contains([]string{".yaml", ".yml", ".json"}, strings.ToLower(filepath.Ext(file)))
}

// stem is the file's name without folder and extension.
func stem(file string) string {
	return strings.TrimSuffix(filepath.Base(file), filepath.Ext(file))
}

func (f *planFiles) readCSV(topo, streams []byte) (*network, error) {
	if isYAML(f.streams) {
		return nil, usageError{fmt.Errorf("%s is a CSV file and %s is not: both are to be of one kind", f.topo, f.streams)}
	}
	p, err := format.ReadTopology(f.topo, topo)
	if err != nil {
		return nil, err
	}
	if p.Streams, err = format.ReadStreams(f.streams, streams, p); err != nil {
		return nil, err
	}
	p.Name = stem(f.streams)
	n := &network{problem: p, csv: true, metric: func(schedule.LinkID) uint32 { return 1 }}
	for i := range p.Nodes {
		// Any address does, if it is the same each time.
		n.bridges = append(n.bridges, spb.PlanBridge{SystemID: tsn.MAC{2, 0, 0, 0, byte((i + 1) >> 8), byte(i + 1)}, Priority: 0x8000})
	}
	return n, nil
}

func (f *planFiles) readYAML(topo, streams []byte) (*network, error) {
	if f.streams != "" && !isYAML(f.streams) {
		return nil, usageError{fmt.Errorf("%s is a network file and %s is not YAML: both are to be of one kind", f.topo, f.streams)}
	}
	net, err := config.ParseNetwork(f.topo, topo)
	if err != nil {
		return nil, err
	}
	if f.streams != "" {
		if err := net.LoadStreams(f.streams, streams); err != nil {
			return nil, err
		}
	}
	p, err := net.ScheduleProblem()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.topo, err)
	}
	if p.Name == "" {
		p.Name = stem(f.topo)
	}
	n := &network{problem: p, file: net, metric: func(l schedule.LinkID) uint32 { return net.Links[l/2].Metric }} // two directions each
	for _, x := range net.Nodes {
		n.bridges = append(n.bridges, spb.PlanBridge{SystemID: x.SystemID, Priority: x.Priority})
	}
	return n, nil
}

// ownQueues makes the queues that s uses on a link those for scheduled
// streams: in all others there may be other traffic.
func ownQueues(p *schedule.Problem, s *schedule.Solution) {
	used := make([]tsn.GateMask, len(p.Links))
	use := func(route []schedule.LinkID, queues []tsn.TrafficClass) {
		for h := range min(len(route), len(queues)) {
			if l := route[h]; l >= 0 && int(l) < len(used) {
				used[l] |= 1 << queues[h]
			}
		}
	}
	for i := range s.Streams {
		pl := &s.Streams[i]
		use(pl.Route, pl.Queues)
		for k := range pl.Instances {
			use(pl.Route, pl.Instances[k].Queues)
		}
	}
	if s.Cyclic != nil {
		for _, w := range s.Cyclic.Windows {
			use([]schedule.LinkID{w.Link, w.Link}, w.Queues[:])
		}
	}
	for l := range used {
		if own := used[l] & (1<<p.Links[l].Queues - 1); own != 0 {
			p.Links[l].Scheduled = own
		}
	}
}

// limits are constraints given on the command line instead of in the files.
type limits struct {
	guard, control, sdu  config.Size
	sync, jitter, least  config.Duration
	entries              int
	kept                 []int
	isolation            string
	preemption, software bool
}

func (l *limits) flags(c *cobra.Command) {
	f := c.Flags()
	f.Var(&unit[*config.Size]{v: &l.guard, name: "size"}, "guard", "longest frame in the way of a window, on the medium")
	f.BoolVar(&l.preemption, "preemption", false, "of such a frame only what cannot be cut is in the way")
	f.Var(&unit[*config.Size]{v: &l.sdu, name: "size"}, "max-sdu", "longest frame of other traffic but control; ports drop longer ones")
	f.Var(&unit[*config.Duration]{v: &l.sync, name: "duration"}, "sync-error", "largest difference of two clocks")
	f.Var(&unit[*config.Duration]{v: &l.jitter, name: "duration"}, "jitter", "by how much a transmission may be early or late")
	f.Var(&unit[*config.Duration]{v: &l.least, name: "duration"}, "min-interval", "shortest gate entry")
	f.IntVar(&l.entries, "max-entries", 0, "longest gate control list of a port; 0: any")
	f.IntSliceVar(&l.kept, "keep-queues", nil, "queues that scheduled streams may not use, like 0,1")
	f.Var(&unit[*config.Size]{v: &l.control, name: "size"}, "control", "frame that the control queue (of CSV: 0) can send each cycle")
	f.StringVar(&l.isolation, "isolation", "", "in a queue: frame (one stream at a time) or order")
	f.BoolVar(&l.software, "software", false, "ports run software taprio")
	_ = c.RegisterFlagCompletionFunc("isolation", cobra.FixedCompletions([]string{"frame", "order"}, cobra.ShellCompDirectiveNoFileComp))
}

// apply changes what was given.
func (l *limits) apply(c *cobra.Command, p *schedule.Problem) error {
	given := c.Flags().Changed
	switch l.isolation {
	case "":
	case config.IsolateFrames:
		p.Isolation = schedule.IsolateFrames
	case config.InOrder:
		p.Isolation = schedule.InOrder
	default:
		return usageError{fmt.Errorf("--isolation %s: allowed: frame, order", l.isolation)}
	}
	if given("sync-error") {
		p.SyncError = int64(l.sync)
	}
	if given("jitter") {
		p.Jitter = int64(l.jitter)
	}
	for i := range p.Links {
		l.applyLink(given, &p.Links[i])
	}
	if err := p.Validate(); err != nil {
		return usageError{err}
	}
	return nil
}

func (l *limits) applyLink(given func(string) bool, k *schedule.Link) {
	if given("guard") {
		k.GuardOctets = int(l.guard)
	}
	if l.preemption && k.GuardOctets == 0 && !given("guard") {
		k.GuardOctets = tsn.MaxFrameOctets
	}
	if given("min-interval") {
		k.MinInterval = int64(l.least)
	}
	if given("max-entries") {
		k.MaxEntries = l.entries
	}
	if given("control") {
		k.ControlOctets = int(l.control)
	}
	if given("keep-queues") {
		k.Scheduled = tsn.GateMask(1<<k.Queues - 1)
		for _, q := range l.kept {
			k.Scheduled &^= 1 << q
		}
	}
	others := tsn.GateMask(1<<k.Queues - 1)
	if k.ControlOctets > 0 {
		k.Scheduled &^= 1 << k.Control
		others &^= 1 << k.Control
	}
	others &^= k.Scheduled
	if l.preemption {
		k.Preemptible = others
	}
	for q := range tsn.TrafficClass(k.Queues) {
		if given("max-sdu") && others.Has(q) {
			k.MaxSDU[q] = int(l.sdu)
		}
	}
	if given("software") {
		k.Software = l.software
	}
}

// ectRoutes lets each stream take the trees that SPB can install from its
// talker, those of the 16 ECT algorithms that differ (RFC 6329 s11).
func (n *network) ectRoutes() error {
	p := n.problem
	plan, err := spb.NewPlan(n.planBridges(), n.planLinks())
	if err != nil {
		return err
	}
	cheapest := map[[2]schedule.NodeID]schedule.LinkID{}
	for i := range p.Links {
		l, ends := schedule.LinkID(i), [2]schedule.NodeID{p.Links[i].From, p.Links[i].To}
		if had, ok := cheapest[ends]; !ok || n.metric(l) < n.metric(had) {
			cheapest[ends] = l
		}
	}
	algorithms := make([]uint8, 16)
	for a := range algorithms {
		algorithms[a] = uint8(a + 1)
	}
	trees := map[schedule.NodeID]*spb.PlanTrees{}
	for i := range p.Streams {
		s := &p.Streams[i]
		if trees[s.Talker] == nil {
			if trees[s.Talker], err = plan.Trees(int(s.Talker), algorithms...); err != nil {
				return err
			}
		}
		s.Routes = nil
		for _, parent := range trees[s.Talker].Parent {
			r := treeRoute(s, parent, cheapest)
			if r != nil && !slices.ContainsFunc(s.Routes, func(q []schedule.LinkID) bool { return slices.Equal(q, r) }) {
				s.Routes = append(s.Routes, r)
			}
		}
		if s.Routes == nil {
			return fmt.Errorf("stream %d: SPB has no tree from %s to all its listeners", s.ID, p.Nodes[s.Talker].Name)
		}
	}
	return nil
}

func (n *network) planBridges() []spb.PlanBridge {
	out := slices.Clone(n.bridges)
	for i := range out {
		out[i].Overload = !n.problem.Nodes[i].Bridge // no path crosses an end station
	}
	return out
}

// planLinks pairs the directions; what goes one way only is not for SPB.
func (n *network) planLinks() []spb.PlanLink {
	type ends struct{ a, b schedule.NodeID }
	metric := map[ends]uint32{}
	for i, l := range n.problem.Links {
		e, m := ends{l.From, l.To}, n.metric(schedule.LinkID(i))
		if had, ok := metric[e]; !ok || m < had {
			metric[e] = m
		}
	}
	var out []spb.PlanLink
	seen := map[ends]bool{}
	for _, l := range n.problem.Links {
		e, back := ends{l.From, l.To}, ends{l.To, l.From}
		if m, ok := metric[back]; ok && !seen[back] && !seen[e] {
			out = append(out, spb.PlanLink{A: int(l.From), B: int(l.To), MetricA: metric[e], MetricB: m})
		}
		seen[e] = true
	}
	return out
}

// treeRoute is the part of a tree that leads to the listeners, parent before
// child; nil if it does not reach them all.
func treeRoute(s *schedule.Stream, parent []int32, link map[[2]schedule.NodeID]schedule.LinkID) []schedule.LinkID {
	var route []schedule.LinkID
	has := map[schedule.NodeID]bool{s.Talker: true}
	for _, to := range s.Listeners {
		var branch []schedule.LinkID
		for at := to; !has[at]; {
			up := schedule.NodeID(parent[at])
			if up < 0 {
				return nil
			}
			branch = append(branch, link[[2]schedule.NodeID{up, at}])
			has[at], at = true, up
		}
		slices.Reverse(branch)
		route = append(route, branch...)
	}
	return route
}

// pathRoutes runs the bridges of a network file and takes the paths they choose.
func (n *network) pathRoutes() error {
	if n.file == nil {
		return usageError{errors.New("--network takes a network file (.yaml); CSV files have no bridges to run: use --topo")}
	}
	f, err := newFabric(n.file)
	if err != nil {
		return err
	}
	return f.pathRoutes(n.problem)
}

// badFile reports whether err is about what a file says.
func badFile(err error) bool {
	return errors.As(err, new(*format.Error)) || errors.As(err, new(*schedule.Error)) || errors.As(err, new(config.Errors))
}
