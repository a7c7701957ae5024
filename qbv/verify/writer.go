package verify

import (
	tsn "tsnswitch"
	"tsnswitch/qbv/schedule"
)

// writer turns one placement into hops and bursts.
type writer struct {
	*checker
	si      int
	s       *schedule.Stream
	frames  int64 // in each period
	periods int64 // in the cycle
	route   []schedule.LinkID
	parents []int32 // of each link of the route, the one before; -1
	media   []medium
	figures Figures
	ends    []int32 // of each link of the route, index in checker.ends; -1
	planned []span  // shortest and longest latency by the plan to each listener
	ok      bool
}

// medium is how long frames take on one link of the route.
type medium struct {
	tx, short, pace int64 // longest and shortest frame; distance of two frames
	onward          int64 // from the end of a frame until it is in the next queue
	prop            int64
	least           int64 // from the start on the first link to the end here, at least
	depth           int64 // links before
}

func newWriter(c *checker, pl *schedule.Placement) *writer {
	s := &c.p.Streams[pl.Stream]
	w := &writer{
		checker: c, si: pl.Stream, s: s, frames: int64(max(s.Frames, 1)), periods: c.cycle / s.Period,
		route: pl.Route, parents: c.scratch, ok: true,
	}
	w.figures.Stream = w.si
	w.media = measure(c.p, s, w.route, w.parents)
	w.listeners()
	return w
}

// measure is how long frames of s take along a route. parents are the
// predecessors of its links.
func measure(p *schedule.Problem, s *schedule.Stream, route []schedule.LinkID, parents []int32) []medium {
	size := s.MinSize
	if size == 0 {
		size = s.Size
	}
	media := make([]medium, len(route))
	for h, id := range route {
		l := &p.Links[id]
		m := medium{tx: l.Rate.TransmitTime(s.Size), short: l.Rate.TransmitTime(size), prop: l.PropagationDelay}
		m.pace, m.least = m.tx, m.short+m.prop
		m.onward = m.prop + l.ProcessingDelay
		if parent := parents[h]; parent >= 0 {
			before := &media[parent]
			m.pace = max(m.pace, before.pace)
			m.least += before.least - before.prop + before.onward
			m.depth = before.depth + 1
		}
		media[h] = m
	}
	return media
}

func (w *writer) listeners() {
	w.ends = make([]int32, len(w.route))
	at := make(map[schedule.NodeID]int, len(w.route))
	for h, id := range w.route {
		w.ends[h] = -1
		at[w.p.Links[id].To] = h
	}
	for i, n := range w.s.Listeners {
		h := at[n]
		w.ends[h] = int32(len(w.checker.ends))
		w.checker.ends = append(w.checker.ends, end{len(w.report.Streams), i, 1 << 62, w.media[h].least})
		w.figures.Listeners = append(w.figures.Listeners, Listener{Node: n, Processing: w.p.Links[w.route[h]].ProcessingDelay})
		w.planned = append(w.planned, span{1 << 62, -1 << 62})
	}
}

// periodic writes out a stream whose periods are alike.
func (w *writer) periodic(pl *schedule.Placement) {
	w.period(0, pl.Starts, pl.Queues, w.periods)
}

// instances writes out a stream whose periods are not.
func (w *writer) instances(pl *schedule.Placement) {
	if pl.Starts != nil || pl.Queues != nil {
		w.fault(RulePlacement, "has both starts and instances")
	}
	if int64(len(pl.Instances)) != w.periods {
		w.fault(RulePlacement, "has %d instances, its cycle %d periods", len(pl.Instances), w.periods)
		return
	}
	for k := range pl.Instances {
		in := &pl.Instances[k]
		if in.K != k {
			w.fault(RulePlacement, "has instance %d where %d should be", in.K, k)
			return
		}
		w.period(int64(k), in.Starts, in.Queues, 1)
	}
}

func (w *writer) fault(r Rule, format string, a ...any) {
	w.ok = false
	w.bad(w.of(r, w.si, format, a...))
}

// period checks the transmissions of period k and writes them out, n times.
func (w *writer) period(k int64, starts []int64, queues []tsn.TrafficClass, n int64) {
	if len(starts) != len(w.route) || len(queues) != len(w.route) {
		w.fault(RulePlacement, "has %d starts and %d queues for %d links", len(starts), len(queues), len(w.route))
		return
	}
	for h, t := range starts {
		if t < 0 || t > maxStart {
			w.fault(RulePlacement, "starts on %s at %d ns, outside 0..%d", w.p.LinkName(w.route[h]), t, maxStart)
			return
		}
		if l := &w.p.Links[w.route[h]]; queues[h] >= tsn.MaxTrafficClasses || !l.Scheduled.Has(queues[h]) {
			w.fault(RuleQueue, "uses queue %d on %s, where scheduled streams may use %s", queues[h], w.p.LinkName(w.route[h]), l.Scheduled)
			return
		}
	}
	w.release(k, w.first(starts))
	if !w.causal(starts) {
		return
	}
	w.latency(starts)
	first := int32(len(w.hops))
	for h := range starts {
		w.hops = append(w.hops, w.hop(h, starts, queues[h]))
	}
	w.write(first, starts, n)
}

// release checks the first start of period k.
func (w *writer) release(k, start int64) {
	from, to := w.s.Release[0], w.s.Release[1]
	if to == 0 {
		to = w.s.Period - 1
	}
	if offset := start - k*w.s.Period; offset < from || offset > to {
		w.fault(RuleRelease, "first starts %d ns into its period, not within %d..%d", offset, from, to)
	}
}

// causal checks that no frame leaves before it is there.
func (w *writer) causal(starts []int64) bool {
	for h, parent := range w.parents {
		if parent < 0 {
			continue
		}
		there := starts[parent] + w.media[parent].tx + w.media[parent].onward
		if starts[h] < there {
			w.bad(Fault{
				Rule: RuleCausality, Streams: []int{w.si}, Link: w.route[h], Time: mod(starts[h], w.cycle),
				Text: w.of(RuleCausality, w.si, "starts on %s at %d ns, but is there at %d ns", w.p.LinkName(w.route[h]), starts[h], there).Text,
			})
			w.ok = false
			return false
		}
	}
	return true
}

// first is the first start of a period: a talker may have several ports.
func (w *writer) first(starts []int64) int64 {
	first := starts[0]
	for h, parent := range w.parents {
		if parent < 0 {
			first = min(first, starts[h])
		}
	}
	return first
}

// latency notes how long the frames of a period take to each listener.
func (w *writer) latency(starts []int64) {
	first := w.first(starts)
	for h, e := range w.ends {
		if e >= 0 {
			lat := starts[h] + w.rest(h) + w.media[h].tx + w.media[h].prop - first
			p := &w.planned[w.checker.ends[e].listener]
			p.from, p.to = min(p.from, lat), max(p.to, lat)
		}
	}
}

// rest is how much later than the first the last frame of a period starts.
func (w *writer) rest(h int) int64 { return (w.frames - 1) * w.media[h].pace }

func (w *writer) hop(h int, starts []int64, queue tsn.TrafficClass) hop {
	m := &w.media[h]
	out := hop{
		stream: int32(w.si), link: w.route[h], queue: queue, short: m.short, end: w.ends[h],
		length: w.rest(h) + m.tx + 2*w.margin, busy: w.frames * m.tx,
		late: w.rest(h) + 2*w.margin,
	}
	if out.leaves = out.length; w.margin == 0 {
		out.leaves = w.rest(h) // what comes while the last frame leaves is behind it
	}
	open := starts[h] - w.margin
	// Against the latest start of the first frame and the clock that is furthest off.
	out.earliest = open + w.frames*m.short + m.prop - w.first(starts) - w.p.Jitter - w.p.SyncError
	if parent := w.parents[h]; parent >= 0 {
		before := &w.media[parent]
		left := starts[parent] - w.margin
		out.base = open - (left + before.short + before.onward - w.p.SyncError)
		out.late = starts[parent] + w.rest(int(parent)) + before.tx + before.onward + w.margin - open
	}
	return out
}

// write repeats the hops from first on n times.
func (w *writer) write(first int32, starts []int64, n int64) {
	for k := range n {
		root := int32(len(w.bursts))
		for h, t := range starts {
			b := burst{open: mod(t-w.margin+k*w.s.Period, w.cycle), hop: first + int32(h), parent: -1}
			if w.parents[h] >= 0 {
				b.parent = root + w.parents[h]
			}
			w.bursts = append(w.bursts, b)
		}
	}
}

// done checks the latencies over all periods.
func (w *writer) done() {
	if w.ok {
		w.latencies()
	}
	w.report.Streams = append(w.report.Streams, w.figures)
}

func (w *writer) latencies() {
	for i, p := range w.planned {
		l := &w.figures.Listeners[i]
		l.Planned, l.Latency = p.to, p.to+2*w.margin
		to := w.p.Nodes[l.Node].Name
		if l.Latency > w.s.Deadline {
			w.bad(w.of(RuleDeadline, w.si, "takes up to %d ns to %s, it is allowed %d ns", l.Latency, to, w.s.Deadline))
		}
		if w.s.Jitter > 0 && p.to-p.from > w.s.Jitter {
			w.bad(w.of(RuleJitter, w.si, "takes %d to %d ns to %s, it is allowed to vary by %d ns", p.from, p.to, to, w.s.Jitter))
		}
	}
}
