package framesim

import (
	"errors"
	"fmt"

	tsn "tsnswitch"
	"tsnswitch/qbv/schedule"
)

// Options choose how long and how hard. The zero value is a good choice.
type Options struct {
	Seed      uint64
	Cycles    int // of the schedule in each round; 0: 2
	Rounds    int // 0: 8. One, if the problem leaves nothing to chance
	MaxEvents int // all rounds together; 0: 1<<26
}

// Result is what happened in all rounds.
type Result struct {
	Streams   []Stream // in the solution's order
	Queues    []Fill   // ascending by link, then queue; those that held a frame
	Rounds    int
	Frames    int64 // transmissions of scheduled frames
	Events    int   // made; what MaxEvents limits
	Truncated bool  // MaxEvents were not enough
}

// Stream is what became of one stream's frames.
type Stream struct {
	Stream    int // index in Problem.Streams
	Listeners []Listener
	Late      int64 // transmissions that ended after their window
	Early     int64 // transmissions that began before their window
	Missed    int64 // periods that came to some listener after the deadline
	Lost      int64 // frames that did not come to some listener at all
}

// Listener is when the frames of each period came, in ns from the start of the first
// on the first link to the end of the last at the listener.
type Listener struct {
	Node        schedule.NodeID
	Periods     int64
	Worst, Best int64
}

// Fill is the most that was in a queue at a time, frames in transmission not counted.
type Fill struct {
	Link           schedule.LinkID
	Queue          tsn.TrafficClass
	Frames, Octets int
}

// OK reports whether every frame kept its windows' ends and its deadline.
func (r *Result) OK() bool {
	for _, s := range r.Streams {
		if s.Late > 0 || s.Missed > 0 || s.Lost > 0 {
			return false
		}
	}
	return !r.Truncated
}

// hop is one link of a stream's route.
type hop struct {
	link     schedule.LinkID
	parent   int
	children []int
	listener int   // index in Stream.Listeners; -1
	tx, pace int64 // longest frame; distance of two frames
}

// flow is a placed stream.
type flow struct {
	*schedule.Placement
	s       *schedule.Stream
	frames  int
	periods int64 // in a cycle
	hops    []hop
	out     *Stream
}

// start is the planned start of the first frame of period k, counted on
// through all cycles, on hop h.
func (f *flow) start(cycle, k int64, h int) int64 {
	if len(f.Instances) > 0 {
		return f.Instances[k%f.periods].Starts[h] + k/f.periods*cycle
	}
	return f.Starts[h] + k*f.s.Period
}

// first is the earliest planned start of period k: a talker may have several ports.
func (f *flow) first(cycle, k int64) int64 {
	first := f.start(cycle, k, 0)
	for h := range f.hops {
		if f.hops[h].parent < 0 {
			first = min(first, f.start(cycle, k, h))
		}
	}
	return first
}

func (f *flow) queue(k int64, h int) tsn.TrafficClass {
	if len(f.Instances) > 0 {
		return f.Instances[k%f.periods].Queues[h]
	}
	return f.Queues[h]
}

// maxStart bounds planned times.
const maxStart = int64(1) << 50

// flows checks that every placement can be played.
func flows(p *schedule.Problem, s *schedule.Solution) ([]flow, error) {
	if p == nil || s == nil {
		return nil, errors.New("there is no problem or no solution")
	}
	if err := p.Validate(); err != nil {
		return nil, err
	}
	if s.Cycle < 1 || s.Cycle > schedule.MaxTime {
		return nil, fmt.Errorf("a cycle of %d ns is outside 1..%d", s.Cycle, schedule.MaxTime)
	}
	out := make([]flow, 0, len(s.Streams))
	for i := range s.Streams {
		pl := &s.Streams[i]
		if pl.Stream < 0 || pl.Stream >= len(p.Streams) {
			return nil, fmt.Errorf("stream index %d does not exist", pl.Stream)
		}
		st := &p.Streams[pl.Stream]
		f := flow{Placement: pl, s: st, frames: max(st.Frames, 1), periods: s.Cycle / st.Period}
		if reason := f.fault(p, s.Cycle); reason != "" {
			return nil, fmt.Errorf("stream %d: %s", st.ID, reason)
		}
		f.route(p)
		out = append(out, f)
	}
	return out, nil
}

func (f *flow) fault(p *schedule.Problem, cycle int64) string {
	if reason := p.RouteFault(f.s, f.Route); reason != "" {
		return reason
	}
	switch n := int64(len(f.Instances)); {
	case cycle%f.s.Period != 0:
		return fmt.Sprintf("a period of %d ns does not divide the cycle of %d ns", f.s.Period, cycle)
	case n == 0:
		return f.timesFault(p, f.Starts, f.Queues)
	case n != f.periods:
		return fmt.Sprintf("%d instances, but %d periods", n, f.periods)
	}
	for _, in := range f.Instances {
		if reason := f.timesFault(p, in.Starts, in.Queues); reason != "" {
			return reason
		}
	}
	return ""
}

func (f *flow) timesFault(p *schedule.Problem, starts []int64, queues []tsn.TrafficClass) string {
	if len(starts) != len(f.Route) || len(queues) != len(f.Route) {
		return fmt.Sprintf("%d starts and %d queues for %d links", len(starts), len(queues), len(f.Route))
	}
	for h, t := range starts {
		switch l := &p.Links[f.Route[h]]; {
		case t < 0 || t > maxStart:
			return fmt.Sprintf("a start at %d ns is outside 0..%d", t, maxStart)
		case int(queues[h]) >= l.Queues:
			return fmt.Sprintf("queue %d on %s is not there", queues[h], p.LinkName(f.Route[h]))
		}
	}
	return ""
}

func (f *flow) route(p *schedule.Problem) {
	via := make(map[schedule.NodeID]int, len(f.Route))
	f.hops = make([]hop, len(f.Route))
	for h, id := range f.Route {
		l := &p.Links[id]
		tx := l.Rate.TransmitTime(f.s.Size)
		f.hops[h] = hop{link: id, parent: -1, listener: -1, tx: tx, pace: tx}
		if parent, ok := via[l.From]; ok {
			f.hops[h].parent, f.hops[h].pace = parent, max(tx, f.hops[parent].pace)
			f.hops[parent].children = append(f.hops[parent].children, h)
		}
		via[l.To] = h
	}
	f.out = &Stream{Stream: f.Stream}
	for i, n := range f.s.Listeners {
		f.hops[via[n]].listener = i
		f.out.Listeners = append(f.out.Listeners, Listener{Node: n, Best: 1 << 62})
	}
}
