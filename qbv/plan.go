package qbv

import (
	"cmp"
	"fmt"
	"slices"
)

// Plan finds a schedule along the given paths in which no frame waits between
// its first and last hop, or says why it found none: *ProblemError for a fault
// of the input, *Infeasible otherwise. Not finding one is no proof.
//
// Streams are placed one by one, each at the first offset in its interval
// that collides with nothing placed before (all offsets modulo the greatest
// common divisor of two intervals). Several orders are tried, then those that
// failed go first. The same problem gives the same bytes, whatever the order
// of its slices.
func Plan(problem Problem) (*Schedule, error) {
	p, err := problem.normalized()
	if err != nil {
		return nil, err
	}
	cycle, err := hyperperiod(p)
	if err != nil {
		return nil, err
	}
	tasks := make([]task, len(p.Streams))
	for i := range p.Streams {
		if tasks[i], err = newTask(p, i); err != nil {
			return nil, err
		}
	}
	pl := &planner{problem: p, tasks: tasks, work: p.Work, controlTail: map[int]int64{}}
	offsets, ports, err := pl.search()
	if err != nil {
		return nil, err
	}
	return pl.schedule(cycle, offsets, ports), nil
}

// task is a stream ready to be placed: its times relative to the planned start
// of its first frame.
type task struct {
	period int64
	hops   []taskHop
	weight int64 // time on the medium over all hops
}

type taskHop struct {
	link       int
	start, end int64 // transmission
	open       int64 // gate window
	window     int64 // its length
	slot       int64 // begin of the time that belongs to the stream alone; it ends with the window
	length     int64
}

// newTask lays the frames of one interval along the path. Each system forwards
// a frame when it has it whole; a burst stretches behind the slowest link.
func newTask(p Problem, i int) (task, error) {
	s, margin := p.Streams[i].Stream, p.margin()
	t := task{period: s.Interval}
	var at, slowest, early, arrival int64
	for n, hop := range p.Streams[i].Path {
		li := p.link(hop)
		l := p.Links[li]
		tx := l.Rate.TransmitTime(s.WireOctets())
		slowest = max(slowest, tx)
		h := taskHop{link: li, start: at, end: at + tx + int64(s.MaxIntervalFrames-1)*slowest}
		h.open = h.start - margin
		h.window = max(h.end-h.start+2*margin, p.minInterval(l))
		h.slot = h.open
		if n > 0 {
			h.slot -= p.SyncError + early
		}
		h.length = h.open + h.window - h.slot
		if h.length > t.period {
			return t, &Infeasible{Stream: s.ID, Link: hop, Reason: fmt.Sprintf(
				"needs a window of %d ns in an interval of %d ns", h.length, t.period)}
		}
		t.hops = append(t.hops, h)
		t.weight += h.length
		if p.ShortFrames {
			// Summed up: where windows were joined no gate holds an early frame back.
			early += tx - l.Rate.TransmitTime(minFrameOctets)
		}
		arrival = h.open + h.window + l.PropagationDelay
		at += tx + l.PropagationDelay + l.ProcessingDelay
	}
	if latency := arrival - t.hops[0].open; latency > s.MaxLatency {
		return t, &Infeasible{Stream: s.ID, Reason: fmt.Sprintf(
			"needs %d ns along its path without waiting, %d ns are allowed", latency, s.MaxLatency)}
	}
	return t, nil
}

// minFrameOctets is a minimum frame on the medium.
const minFrameOctets = 84

// reservation is a slot on a link that repeats with its period.
type reservation struct {
	task          int // controlTask for control traffic
	start, length int64
	period        int64
}

const controlTask = -1

type planner struct {
	problem Problem
	tasks   []task
	work    int // comparisons left
	// controlTail says on which links the end of each cycle is kept free for
	// control traffic, and the length of that cycle. A link gets there when
	// its streams have left no other room.
	controlTail map[int]int64
}

// attempt is the outcome of placing all tasks in one order.
type attempt struct {
	offsets []int64
	failed  []int // in the order of failing
	why     *Infeasible
}

// maxRestarts bounds failures-first rounds, beside the work.
const maxRestarts = 64

// search returns the offset of every task and the gates of every link used.
func (pl *planner) search() ([]int64, []PortSchedule, error) {
	for {
		best := pl.bestAttempt()
		if len(best.failed) > 0 {
			return nil, nil, best.why
		}
		ports, starved, err := pl.gates(best.offsets)
		if err == nil {
			return best.offsets, ports, nil
		}
		if starved < 0 || pl.controlTail[starved] != 0 {
			return nil, nil, err
		}
		pl.controlTail[starved] = pl.linkCycle(starved)
	}
}

func (pl *planner) bestAttempt() attempt {
	var best attempt
	var order []int
	better := func(a attempt) bool {
		return best.offsets == nil || len(a.failed) < len(best.failed)
	}
	for _, o := range pl.orders() {
		a := pl.place(o)
		if better(a) {
			best, order = a, o
		}
		if len(a.failed) == 0 {
			return a
		}
	}
	last := best
	for range maxRestarts {
		if pl.work <= 0 {
			break
		}
		order = failedFirst(order, last.failed)
		last = pl.place(order)
		if better(last) {
			best = last
		}
		if len(last.failed) == 0 {
			break
		}
	}
	return best
}

func failedFirst(order, failed []int) []int {
	out := slices.Clone(failed)
	for _, t := range order {
		if !slices.Contains(failed, t) {
			out = append(out, t)
		}
	}
	return out
}

// orders are the sequences tried first. Tasks are in stream id order, and the
// sorts are stable, so ties are broken by stream id.
func (pl *planner) orders() [][]int {
	load := make([]int64, len(pl.problem.Links)) // parts in 10^9
	for _, t := range pl.tasks {
		for _, h := range t.hops {
			load[h.link] += h.length * 1_000_000_000 / t.period
		}
	}
	bottleneck := make([]int64, len(pl.tasks))
	for i, t := range pl.tasks {
		for _, h := range t.hops {
			bottleneck[i] = max(bottleneck[i], load[h.link])
		}
	}
	shortFirst := func(a, b int) int { return cmp.Compare(pl.tasks[a].period, pl.tasks[b].period) }
	heavyFirst := func(a, b int) int { return cmp.Compare(pl.tasks[b].weight, pl.tasks[a].weight) }
	longPathFirst := func(a, b int) int { return cmp.Compare(len(pl.tasks[b].hops), len(pl.tasks[a].hops)) }
	busyFirst := func(a, b int) int { return cmp.Compare(bottleneck[b], bottleneck[a]) }

	var out [][]int
	for _, by := range [][]func(a, b int) int{
		{shortFirst, heavyFirst}, {busyFirst, shortFirst, heavyFirst}, {heavyFirst, shortFirst}, {longPathFirst, shortFirst, heavyFirst},
	} {
		o := make([]int, len(pl.tasks))
		for i := range o {
			o[i] = i
		}
		slices.SortStableFunc(o, func(a, b int) int {
			for _, f := range by {
				if c := f(a, b); c != 0 {
					return c
				}
			}
			return 0
		})
		out = append(out, o)
	}
	return out
}

// place puts the tasks on the links in the given order, leaving out those that
// find no room.
func (pl *planner) place(order []int) attempt {
	links := make([][]reservation, len(pl.problem.Links))
	for l, cycle := range pl.controlTail {
		need := pl.controlTime(l)
		links[l] = append(links[l], reservation{controlTask, cycle - need, need, cycle})
	}
	a := attempt{offsets: make([]int64, len(pl.tasks))}
	for _, i := range order {
		at, blocked := pl.firstFit(links, i)
		if blocked != nil {
			if a.why == nil {
				a.why = blocked
			}
			a.failed = append(a.failed, i)
			continue
		}
		a.offsets[i] = at
		t := &pl.tasks[i]
		for _, h := range t.hops {
			links[h.link] = append(links[h.link], reservation{i, at + h.slot, h.length, t.period})
		}
	}
	return a
}

// firstFit returns the first start at which task i collides with nothing. Each
// collision moves the start to where that one ends, so no start is missed.
func (pl *planner) firstFit(links [][]reservation, i int) (int64, *Infeasible) {
	t := &pl.tasks[i]
	first := -t.hops[0].open // its gate opens at 0
	var blocks blockers
	for at := first; at < first+t.period; {
		begin := at
		for n := range t.hops {
			h := &t.hops[n]
			at += pl.avoidEnd(at+h.open, h, t.period)
			pl.work -= len(links[h.link])
			for _, r := range links[h.link] {
				g := gcd(t.period, r.period)
				if r.length+h.length > g {
					return 0, pl.incompatible(i, h, r, g)
				}
				x := mod(at+h.slot-r.start, g)
				switch {
				case x < r.length:
					at += r.length - x
				case x+h.length > g:
					at += g - x + r.length
				default:
					continue
				}
				blocks.add(h.link, r.task)
			}
		}
		if at == begin {
			return at, nil
		}
		if pl.work <= 0 {
			return 0, pl.blocked(i, blocks, "no window was found within the allowed work")
		}
	}
	return 0, pl.blocked(i, blocks, "finds no free window in its interval")
}

// avoidEnd returns how much later a window at open has to be so that it ends
// within an interval, a guard entry before its end; then no window touches the
// end of a cycle. Hardware gates need no such thing.
func (pl *planner) avoidEnd(open int64, h *taskHop, period int64) int64 {
	o := mod(open, period)
	if pl.problem.HardwareGates || o+h.window+pl.problem.minInterval(pl.problem.Links[h.link]) <= period {
		return 0
	}
	return period - o
}

// schedule writes the result in the caller's terms.
func (pl *planner) schedule(cycle int64, offsets []int64, ports []PortSchedule) *Schedule {
	s := &Schedule{CycleTime: cycle, Ports: ports}
	for i, t := range pl.tasks {
		at := offsets[i]
		out := StreamSchedule{Stream: pl.problem.Streams[i].Stream, InjectionOffset: at + t.hops[0].open}
		for _, h := range t.hops {
			out.Slots = append(out.Slots, Slot{
				Hop: pl.problem.Links[h.link].From, Start: at + h.start, End: at + h.end, Open: at + h.open, Close: at + h.open + h.window,
			})
		}
		last := t.hops[len(t.hops)-1]
		out.WorstLatency = last.open + last.window + pl.problem.Links[last.link].PropagationDelay - t.hops[0].open
		s.Streams = append(s.Streams, out)
	}
	return s
}

// hyperperiod is the least common multiple of all intervals. If it is too
// long, the streams whose intervals make it so are named: of the intervals,
// taken by how many streams share them, those that cross the limit.
func hyperperiod(p Problem) (int64, error) {
	count := map[int64]int{}
	for _, s := range p.Streams {
		count[s.Stream.Interval]++
	}
	intervals := make([]int64, 0, len(count))
	for v := range count {
		intervals = append(intervals, v)
	}
	slices.SortFunc(intervals, func(a, b int64) int { return cmp.Or(cmp.Compare(count[b], count[a]), cmp.Compare(a, b)) })
	cycle := int64(1)
	var culprits []int64
	for _, v := range intervals {
		if next := v / gcd(cycle, v); cycle <= p.MaxCycle/next {
			cycle *= next
		} else {
			culprits = append(culprits, v)
		}
	}
	if culprits == nil {
		return cycle, nil
	}
	e := &Infeasible{Reason: fmt.Sprintf("the common cycle of all intervals is longer than %d ns: choose intervals that divide each other", p.MaxCycle)}
	for _, s := range p.Streams {
		if slices.Contains(culprits, s.Stream.Interval) && len(e.Blocking) < maxBlocking {
			e.Blocking = append(e.Blocking, s.Stream.ID)
		}
	}
	return 0, e
}

func gcd(a, b int64) int64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}
