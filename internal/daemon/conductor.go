package daemon

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"tsnswitch"
	"tsnswitch/internal/api"
	"tsnswitch/qbv"
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
	// streams lists every stream of the fabric with the path it is reserved on.
	streams func(context.Context) ([]api.StreamState, error)
	plan    planSettings
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
	schedule *qbv.Schedule // nil: no stream fits, or there is none
	result   *api.Schedule
	systems  []tsn.MAC // that take part
	made     conducted // what is remembered beside the result
}

// compute makes a plan for the streams that are reserved now. Streams that do
// not fit are left out, and say why. It changes nothing.
func (c *conductor) compute(ctx context.Context, cycle int64) (*planned, error) {
	streams, err := c.streams(ctx)
	if err != nil {
		return nil, err
	}
	p := &planned{result: &api.Schedule{State: api.SchedulePlanned}, made: conducted{Planned: plannable(streams)}}
	refuse := func(s api.StreamState, why string) {
		p.result.Streams = append(p.result.Streams, api.ScheduledStream{
			ID: s.Stream.ID, Name: s.Stream.Name, MaxLatency: s.Stream.MaxLatency, Reason: why,
		})
	}
	var todo []api.StreamState
	for _, s := range streams {
		switch {
		case len(s.Path) == 0:
			refuse(s, "not reserved: "+s.Reason)
		case !scheduledClass(s.Stream):
			refuse(s, fmt.Sprintf("priority %d is shaped, not scheduled", s.Stream.PCP))
		default:
			todo = append(todo, s)
		}
	}
	problem, labels, err := c.problem(ctx, todo)
	if err != nil {
		return nil, err
	}
	for len(todo) > 0 {
		problem.Streams = problem.Streams[:0]
		for _, s := range todo {
			problem.Streams = append(problem.Streams, qbv.StreamPath{Stream: s.Stream, Path: hopsOf(s.Path)})
		}
		p.schedule, err = qbv.Plan(problem)
		if err == nil {
			break
		}
		p.schedule = nil
		out := leaveOut(err, todo)
		refuse(todo[out], err.Error())
		todo = slices.Delete(todo, out, out+1)
	}
	if p.schedule != nil {
		if cycle != 0 && cycle != p.schedule.CycleTime {
			return nil, api.Errorf(api.CodeRefused, "a cycle of %d ns was asked for, the intervals of the streams make one of %d ns", cycle, p.schedule.CycleTime)
		}
		p.fill(labels)
	}
	slices.SortFunc(p.result.Streams, func(a, b api.ScheduledStream) int { return bytes.Compare(a.ID[:], b.ID[:]) })
	return p, nil
}

// leaveOut chooses the stream to do without: the one the planner names, or
// else the last.
func leaveOut(err error, todo []api.StreamState) int {
	var no *qbv.Infeasible
	if errors.As(err, &no) {
		if i := slices.IndexFunc(todo, func(s api.StreamState) bool { return s.Stream.ID == no.Stream }); i >= 0 {
			return i
		}
	}
	return len(todo) - 1
}

func hopsOf(path []api.PathHop) []tsn.Hop {
	hops := make([]tsn.Hop, len(path))
	for i, h := range path {
		hops[i] = h.Hop
	}
	return hops
}

// problem collects the links of every path, with the rates their systems say.
func (c *conductor) problem(ctx context.Context, streams []api.StreamState) (qbv.Problem, map[tsn.Hop]api.PathHop, error) {
	pr := qbv.Problem{
		GuardOctets: c.plan.GuardOctets, SyncError: c.plan.SyncError, Jitter: c.plan.Jitter,
		MinInterval: c.plan.MinInterval, MaxCycle: c.plan.MaxCycle,
		// A talker may send less than it reserved: distlink does most of the time.
		ShortFrames: true,
	}
	labels := map[tsn.Hop]api.PathHop{}
	status := map[tsn.MAC]*api.Status{}
	for _, s := range streams {
		for i, h := range s.Path {
			if _, known := labels[h.Hop]; known {
				continue
			}
			st := status[h.System]
			if st == nil {
				peer, err := c.peers.Peer(ctx, h.System)
				if err != nil {
					return pr, nil, err
				}
				if st, err = peer.Node(ctx); err != nil {
					return pr, nil, within(err, "ask %s for its ports", h.Node)
				}
				status[h.System] = st
			}
			to := s.Stream.Listener
			if i+1 < len(s.Path) {
				to = s.Path[i+1].System
			}
			j := slices.IndexFunc(st.Ports, func(p api.PortStatus) bool { return p.Port == h.Port })
			if j < 0 {
				return pr, nil, api.Errorf(api.CodeInternal, "%s has no port %d, but stream %s leaves there", st.Node, h.Port, s.Stream.ID)
			}
			pr.Links = append(pr.Links, qbv.Link{
				From: h.Hop, To: to, Rate: st.Ports[j].Rate,
				ProcessingDelay: c.plan.ProcessingDelay, MaxEntries: c.plan.MaxEntries,
			})
			labels[h.Hop] = api.PathHop{Hop: h.Hop, Node: st.Node, Ifname: st.Ports[j].Ifname}
		}
	}
	return pr, labels, nil
}

// fill turns the plan into what people and systems are shown.
func (p *planned) fill(labels map[tsn.Hop]api.PathHop) {
	p.result.CycleTime = p.schedule.CycleTime
	for _, ps := range p.schedule.Ports {
		list := ps.List
		port := api.PortSchedule{PathHop: labels[ps.Hop], Admin: &list}
		for _, s := range p.schedule.Streams {
			for _, slot := range s.Slots {
				if slot.Hop == ps.Hop {
					port.Windows = append(port.Windows, api.Window{
						Stream: s.Stream.ID, Start: slot.Open, End: slot.Close, FrameStart: slot.Start, FrameEnd: slot.End,
					})
				}
			}
		}
		p.result.Ports = append(p.result.Ports, port)
		if !slices.Contains(p.systems, ps.Hop.System) {
			p.systems = append(p.systems, ps.Hop.System)
		}
	}
	for _, s := range p.schedule.Streams {
		p.result.Streams = append(p.result.Streams, api.ScheduledStream{
			ID: s.Stream.ID, Name: s.Stream.Name, Scheduled: true, Latency: s.WorstLatency, MaxLatency: s.Stream.MaxLatency,
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
