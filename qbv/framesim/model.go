package framesim

import (
	"errors"
	"fmt"
	"slices"

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
	tx, pace int64 // longest frame; planned distance of two frames
	length   int64 // of the window

	// Of a cyclic stream: its queues, and the start of the window in the cycle
	// in which its talker sends.
	queues [2]tsn.TrafficClass
	offset int64
	depth  int64 // links before
}

// flow is a placed stream.
type flow struct {
	stream  int // index in Problem.Streams
	s       *schedule.Stream
	route   []schedule.LinkID
	placed  *schedule.Placement    // or else
	cyclic  *schedule.CyclicStream // in cycles of
	time    int64
	frames  int
	periods int64 // in a cycle of the schedule
	hops    []hop
	out     *Stream
}

// start is the planned start of the first frame of period k, counted on
// through all cycles, on hop h. Cyclic streams are planned as early as margins allow.
func (f *flow) start(cycle, k int64, h int) int64 {
	switch {
	case f.cyclic != nil:
		return k*f.s.Period + f.cyclic.Start*f.time + f.hops[h].offset
	case len(f.placed.Instances) > 0:
		return f.placed.Instances[k%f.periods].Starts[h] + k/f.periods*cycle
	}
	return f.placed.Starts[h] + k*f.s.Period
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

// queue is where a frame of period k goes that comes to hop h at a time of its
// port's clock. A cyclic frame from a talker belongs to the cycle in which it is sent,
// one that has come from a link to the cycle after that in which it came.
func (f *flow) queue(k int64, h int, at int64) tsn.TrafficClass {
	switch {
	case f.cyclic != nil && f.hops[h].parent < 0:
		return f.hops[h].queues[(k*(f.s.Period/f.time)+f.cyclic.Start)%2]
	case f.cyclic != nil:
		even := at > 0 && (at-1)%(2*f.time) >= f.time // the end of a cycle is its own
		if even {
			return f.hops[h].queues[0]
		}
		return f.hops[h].queues[1]
	case len(f.placed.Instances) > 0:
		return f.placed.Instances[k%f.periods].Queues[h]
	}
	return f.placed.Queues[h]
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
	var out []flow
	for i := range s.Streams {
		pl := &s.Streams[i]
		out = append(out, flow{stream: pl.Stream, route: pl.Route, placed: pl})
	}
	if c := s.Cyclic; c != nil {
		if c.CycleTime < 1 || c.CycleTime > s.Cycle/2 || s.Cycle%(2*c.CycleTime) != 0 {
			return nil, fmt.Errorf("two cyclic cycles of %d ns do not divide the cycle of %d ns", c.CycleTime, s.Cycle)
		}
		for i := range c.Streams {
			cs := &c.Streams[i]
			out = append(out, flow{stream: cs.Stream, route: cs.Route, cyclic: cs, time: c.CycleTime})
		}
	}
	for i := range out {
		if err := out[i].prepare(p, s); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (f *flow) prepare(p *schedule.Problem, s *schedule.Solution) error {
	if f.stream < 0 || f.stream >= len(p.Streams) {
		return fmt.Errorf("stream index %d does not exist", f.stream)
	}
	f.s = &p.Streams[f.stream]
	f.frames, f.periods = max(f.s.Frames, 1), s.Cycle/f.s.Period
	reason := p.RouteFault(f.s, f.route)
	if reason == "" && s.Cycle%f.s.Period != 0 {
		reason = fmt.Sprintf("a period of %d ns does not divide the cycle of %d ns", f.s.Period, s.Cycle)
	}
	if reason == "" {
		f.follow(p)
		if f.cyclic != nil {
			reason = f.cyclicFault(p, s.Cyclic)
		} else {
			reason = f.fault(p)
		}
	}
	if reason != "" {
		return fmt.Errorf("stream %d: %s", f.s.ID, reason)
	}
	return nil
}

func (f *flow) fault(p *schedule.Problem) string {
	if len(f.placed.Instances) == 0 {
		return f.timesFault(p, f.placed.Starts, f.placed.Queues)
	}
	if n := int64(len(f.placed.Instances)); n != f.periods {
		return fmt.Sprintf("%d instances, but %d periods", n, f.periods)
	}
	for _, in := range f.placed.Instances {
		if reason := f.timesFault(p, in.Starts, in.Queues); reason != "" {
			return reason
		}
	}
	return ""
}

func (f *flow) timesFault(p *schedule.Problem, starts []int64, queues []tsn.TrafficClass) string {
	if len(starts) != len(f.route) || len(queues) != len(f.route) {
		return fmt.Sprintf("%d starts and %d queues for %d links", len(starts), len(queues), len(f.route))
	}
	for h, t := range starts {
		switch l := &p.Links[f.route[h]]; {
		case t < 0 || t > maxStart:
			return fmt.Sprintf("a start at %d ns is outside 0..%d", t, maxStart)
		case int(queues[h]) >= l.Queues:
			return fmt.Sprintf("queue %d on %s is not there", queues[h], p.LinkName(f.route[h]))
		}
	}
	return ""
}

// cyclicFault checks a cyclic stream and gives its hops their windows.
func (f *flow) cyclicFault(p *schedule.Problem, c *schedule.Cyclic) string {
	if f.s.Period%f.time != 0 || f.cyclic.Start < 0 || f.cyclic.Start >= f.s.Period/f.time {
		return fmt.Sprintf("cycle %d is not in its period of %d ns, of %d ns each", f.cyclic.Start, f.s.Period, f.time)
	}
	for h := range f.hops {
		x := &f.hops[h]
		i := slices.IndexFunc(c.Windows, func(w schedule.CyclicWindow) bool { return w.Link == x.link })
		if i < 0 {
			return fmt.Sprintf("%s has no cyclic window", p.LinkName(x.link))
		}
		w := &c.Windows[i]
		if w.Offset < 0 || w.Length < 0 || w.Offset > f.time || w.Length > f.time || int(max(w.Queues[0], w.Queues[1])) >= p.Links[x.link].Queues {
			return fmt.Sprintf("the cyclic window of %s is not within a cycle of %d ns, or its queues are not there", p.LinkName(x.link), f.time)
		}
		x.queues, x.length, x.pace = w.Queues, w.Length, 0
		x.offset = x.depth*f.time + w.Offset + p.SyncError + p.Jitter
	}
	return ""
}

// follow makes the hops of the route.
func (f *flow) follow(p *schedule.Problem) {
	via := make(map[schedule.NodeID]int, len(f.route))
	f.hops = make([]hop, len(f.route))
	for h, id := range f.route {
		l := &p.Links[id]
		x := hop{link: id, parent: -1, listener: -1, tx: l.Rate.TransmitTime(f.s.Size)}
		x.pace = x.tx
		if parent, ok := via[l.From]; ok {
			x.parent, x.pace, x.depth = parent, max(x.tx, f.hops[parent].pace), f.hops[parent].depth+1
			f.hops[parent].children = append(f.hops[parent].children, h)
		}
		x.length = int64(f.frames-1)*x.pace + x.tx + 2*(p.SyncError+p.Jitter)
		f.hops[h] = x
		via[l.To] = h
	}
	f.out = &Stream{Stream: f.stream}
	for i, n := range f.s.Listeners {
		f.hops[via[n]].listener = i
		f.out.Listeners = append(f.out.Listeners, Listener{Node: n, Best: 1 << 62})
	}
}
