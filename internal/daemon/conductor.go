package daemon

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"time"

	"tsnswitch"
	"tsnswitch/internal/api"
	"tsnswitch/internal/pathplan"
	"tsnswitch/qbv/synth"
)

// A conductor computes the schedule of the whole network and starts it at
// every system at one base time (change.go): the daemon that was asked to.
//
// Like a keeper it works under the operations lock.
type conductor struct {
	name  string
	topo  topology
	peers peers
	mem   *ownMemory
	save  func() error
	// now reads gPTP time; an error says why no schedule can be based on it.
	now func(context.Context) (tsn.PTPTime, error)
	// patience is for how long clocks may not be fit for a schedule yet.
	patience time.Duration
	// streams lists every stream of the fabric with the path it is reserved on.
	streams func(context.Context) ([]api.StreamState, error)
	plan    planSettings
	// links lists the whole fabric, vids its Base VIDs: for schedules made
	// elsewhere.
	links func(context.Context) ([]fabricLink, error)
	vids  []tsn.VID
}

// planSettings are the planner's constants of this network, in ns and octets.
type planSettings struct {
	GuardOctets     int
	SyncError       int64
	Jitter          int64
	MinInterval     int64
	MaxCycle        int64
	MaxEntries      int
	ProcessingDelay int64
	LeadTime        int64 // from stage to base time, unless the call says otherwise
}

// planned is a plan and what it was made from.
type planned struct {
	plan    *pathplan.Plan // nil: there is no stream to plan
	result  *api.Schedule
	systems []tsn.MAC // that take part
	made    conducted // what is remembered beside the result
}

// compute makes a plan for the streams that are reserved now. Those that are
// scheduled already keep their windows, unless the request lets them move. Streams that do
// not fit are left out, and say why. It changes nothing.
func (c *conductor) compute(ctx context.Context, r api.PlanRequest, say telling) (*planned, error) {
	streams, err := c.streams(ctx)
	if err != nil {
		return nil, err
	}
	p := &planned{result: &api.Schedule{State: api.SchedulePlanned}, made: conducted{Planned: plannable(streams)}}
	todo := p.split(streams)
	if len(r.Solution) > 0 {
		err = c.foreign(ctx, p, r, todo)
	} else {
		err = c.search(ctx, p, r, todo, say)
	}
	if err != nil {
		return nil, err
	}
	if cycle := p.result.CycleTime; r.CycleTime != 0 && cycle != 0 && r.CycleTime != cycle {
		return nil, api.Errorf(api.CodeRefused, "a cycle of %d ns was asked for, the intervals of the streams make one of %d ns", r.CycleTime, cycle)
	}
	slices.SortFunc(p.result.Streams, func(a, b api.ScheduledStream) int { return bytes.Compare(a.ID[:], b.ID[:]) })
	p.result.Warnings = c.warnings(p, streams)
	return p, nil
}

// split returns the streams to plan; the others are in the result, with why not.
func (p *planned) split(streams []api.StreamState) (todo []api.StreamState) {
	for _, s := range streams {
		why := ""
		switch {
		case len(s.Path) == 0:
			why = "not reserved: " + s.Reason
		case !scheduledClass(s.Stream):
			why = fmt.Sprintf("priority %d is shaped, not scheduled", s.Stream.PCP)
		default:
			todo = append(todo, s)
			continue
		}
		p.result.Streams = append(p.result.Streams, api.ScheduledStream{
			ID: s.Stream.ID, Name: s.Stream.Name, MaxLatency: s.Stream.MaxLatency, Reason: why,
		})
	}
	return todo
}

// The search: how much of it at most, and how much at a time, so that it can
// be called off. A unit is some 10 ns.
const (
	searchUnits = 100_000_000
	searchStep  = 1_000_000
	searchTells = 2 * time.Second // and then every second
)

// search plans the streams on the paths that they are reserved on.
func (c *conductor) search(ctx context.Context, p *planned, r api.PlanRequest, todo []api.StreamState, say telling) error {
	if len(todo) == 0 {
		return nil
	}
	net, err := c.network(ctx, todo)
	if err != nil {
		return err
	}
	running := pathplan.Running{}
	if m := c.mem.Conductor; m != nil && !r.Replan {
		running = m.Running
	}
	pl, moved, err := net.Planner(running, synth.Options{})
	if err != nil {
		return api.Errorf(api.CodeInternal, "%w", err)
	}
	if moved {
		say(c.name, "plan", "what runs cannot stay as it is: all is planned anew")
	}
	start := time.Now()
	for told, done, left := start, false, searchUnits; !done && left > 0; left -= searchStep {
		if err := ctx.Err(); err != nil {
			return api.Errorf(api.CodeCanceled, "while planning: %w", err)
		}
		done = pl.Run(searchStep)
		if now := time.Now(); now.Sub(start) >= searchTells && now.Sub(told) >= time.Second {
			told = now
			say(c.name, "plan", "%d of %d streams placed, %d work units", pl.Spent().Placed, len(todo), pl.Spent().Units)
		}
	}
	p.plan, err = net.Prove(pl.Solution())
	if err != nil && len(running.Streams) > 0 { // the network is not what it was made for
		say(c.name, "plan", "with what runs as it is, %v: all is planned anew", err)
		r.Replan = true
		return c.search(ctx, p, r, todo, say)
	}
	if err != nil {
		return api.Errorf(api.CodeInternal, "%w", err)
	}
	p.fill(ctx, c)
	return nil
}

// network is the ports and links of every path, as their systems say.
func (c *conductor) network(ctx context.Context, streams []api.StreamState) (*pathplan.Net, error) {
	ports := c.ports()
	var links []pathplan.Link
	var paths []pathplan.Stream
	seen := map[tsn.Hop]bool{}
	for _, s := range streams {
		paths = append(paths, pathplan.Stream{Stream: s.Stream, Path: hopsOf(s.Path)})
		for i, h := range s.Path {
			if seen[h.Hop] {
				continue
			}
			seen[h.Hop] = true
			to := s.Stream.Listener
			if i+1 < len(s.Path) {
				to = s.Path[i+1].System
			}
			l, err := ports.link(ctx, h.Hop, to)
			if err != nil {
				return nil, err
			}
			links = append(links, l)
		}
	}
	net, err := pathplan.New(c.settings(), func(m tsn.MAC) string { return c.nameOf(ctx, m) }, links, paths)
	if err != nil {
		return nil, api.Errorf(api.CodeInternal, "%w", err)
	}
	return net, nil
}

func (c *conductor) settings() pathplan.Settings {
	return pathplan.Settings{
		GuardOctets: c.plan.GuardOctets, SyncError: c.plan.SyncError, Jitter: c.plan.Jitter,
		MinInterval: c.plan.MinInterval, MaxCycle: c.plan.MaxCycle,
	}
}

// portTable asks each system once for its ports.
type portTable struct {
	c      *conductor
	status map[tsn.MAC]*api.Status
}

func (c *conductor) ports() *portTable { return &portTable{c, map[tsn.MAC]*api.Status{}} }

// port is what a system says of a port.
func (t *portTable) port(ctx context.Context, h tsn.Hop) (api.PortStatus, error) {
	st := t.status[h.System]
	if st == nil {
		peer, err := t.c.peers.Peer(ctx, h.System)
		if err == nil {
			st, err = peer.Node(ctx)
		}
		if err != nil {
			return api.PortStatus{}, within(err, "ask %s for its ports", t.c.nameOf(ctx, h.System))
		}
		t.status[h.System] = st
	}
	i := slices.IndexFunc(st.Ports, func(p api.PortStatus) bool { return p.Port == h.Port })
	if i < 0 {
		return api.PortStatus{}, api.Errorf(api.CodeInternal, "%s has no port %d, but a stream leaves there", st.Node, h.Port)
	}
	return st.Ports[i], nil
}

func (t *portTable) link(ctx context.Context, h tsn.Hop, to tsn.MAC) (pathplan.Link, error) {
	p, err := t.port(ctx, h)
	return pathplan.Link{
		From: h, To: to, Rate: p.Rate, ProcessingDelay: t.c.plan.ProcessingDelay, MaxEntries: t.c.plan.MaxEntries, Software: !p.Offload,
	}, err
}

func hopsOf(path []api.PathHop) []tsn.Hop {
	hops := make([]tsn.Hop, len(path))
	for i, h := range path {
		hops[i] = h.Hop
	}
	return hops
}

// fill turns the plan into what people and systems are shown.
func (p *planned) fill(ctx context.Context, c *conductor) {
	ports := c.ports()
	p.result.CycleTime = p.plan.Solution.Cycle
	p.made.Running = p.plan.Running()
	for _, port := range p.plan.Ports() {
		if port.Hop.Port == tsn.NoPort {
			continue // of a talker that gates nothing
		}
		out := api.PortSchedule{PathHop: c.topo.Label(ctx, port.Hop), Admin: &port.List}
		if st, err := ports.port(ctx, port.Hop); err == nil {
			out.Ifname = st.Ifname // which only its system knows
		}
		for _, w := range port.Windows {
			out.Windows = append(out.Windows, api.Window{
				Stream: w.Stream, Start: w.Open, End: w.Close, FrameStart: w.Start, FrameEnd: w.End, Period: w.Period,
			})
		}
		p.result.Ports = append(p.result.Ports, out)
		if !slices.Contains(p.systems, port.Hop.System) {
			p.systems = append(p.systems, port.Hop.System)
		}
	}
	for _, o := range p.plan.Outcomes() {
		p.result.Streams = append(p.result.Streams, api.ScheduledStream{
			ID: o.Stream.ID, Name: o.Stream.Name, Scheduled: o.Placed, Latency: o.Latency, MaxLatency: o.Stream.MaxLatency, Reason: o.Reason,
		})
	}
}

// describe says in a word what a system's part of a schedule is at.
func describe(s *api.ScheduleState) string {
	text := s.State
	for _, p := range s.Ports {
		if p.Reason != "" {
			text += fmt.Sprintf("; %s: %s", p.Ifname, p.Reason)
		}
	}
	return text
}

// compare checks what a kernel runs against the plan, and keeps it.
func (p *planned) compare(node string, system tsn.MAC, state *api.ScheduleState) error {
	for i := range p.result.Ports {
		want := &p.result.Ports[i]
		if want.System != system {
			continue
		}
		j := slices.IndexFunc(state.Ports, func(s api.PortSchedule) bool { return s.Port == want.Port })
		if j < 0 || state.Ports[j].Oper == nil {
			return api.Errorf(api.CodeInternal, "%s: port %d runs no schedule", node, want.Port)
		}
		oper := state.Ports[j].Oper
		if oper.CycleTime != want.Admin.CycleTime || !samePhases(oper, want.Admin) {
			return api.Errorf(api.CodeInternal, "%s: port %d runs %s, planned was %s", node, want.Port, oper, want.Admin)
		}
		want.Oper = oper
	}
	return nil
}

// samePhases compares what two lists of one cycle time do at every time of
// the cycle: a system may split entries.
func samePhases(a, b *tsn.GateControlList) bool {
	return slices.Equal(mergedEntries(a), mergedEntries(b))
}

func mergedEntries(l *tsn.GateControlList) []tsn.GateEntry {
	var out []tsn.GateEntry
	for _, e := range l.Entries {
		if n := len(out); n > 0 && out[n-1].Gates == e.Gates {
			out[n-1].Interval += e.Interval
		} else {
			out = append(out, e)
		}
	}
	return out
}

// stale reports whether the schedule was planned for other streams, or other
// paths of them, than there are.
func (c *conductor) stale(streams []api.StreamState) bool {
	return c.mem.Conductor != nil && !slices.EqualFunc(c.mem.Conductor.Planned, plannable(streams), func(a, b plannedStream) bool {
		return a.Stream == b.Stream && slices.Equal(a.Path, b.Path)
	})
}

// plannable selects the streams that a schedule is made for, in ascending id,
// whether or not they fit.
func plannable(streams []api.StreamState) []plannedStream {
	var out []plannedStream
	for _, s := range streams {
		if len(s.Path) > 0 && scheduledClass(s.Stream) {
			out = append(out, plannedStream{s.Stream, hopsOf(s.Path)})
		}
	}
	slices.SortFunc(out, func(a, b plannedStream) int { return bytes.Compare(a.Stream.ID[:], b.Stream.ID[:]) })
	return out
}

func scheduledClass(s tsn.Stream) bool { return tsn.DefaultClassMap[s.PCP] == tsn.ClassScheduled }

// missing names a system that does not run its part of the schedule, or one
// that is back with windows of an older one, or "".
func (c *conductor) missing(ctx context.Context) (string, error) {
	s := c.mem.Conductor.Schedule
	for _, system := range c.mem.Conductor.Left {
		if peer, err := c.peers.Peer(ctx, system); err == nil {
			if _, err := peer.ScheduleState(ctx); err == nil {
				return c.topo.Label(ctx, tsn.Hop{System: system}).Node, nil
			}
		}
	}
	for i, port := range s.Ports {
		if i > 0 && s.Ports[i-1].System == port.System {
			continue
		}
		peer, err := c.peers.Peer(ctx, port.System)
		if err != nil {
			return "", err
		}
		state, err := peer.ScheduleState(ctx)
		if err != nil {
			return "", err
		}
		if state.RunningID != s.ID {
			return port.Node, nil
		}
	}
	return "", nil
}
