package synth

import (
	"math/bits"
	"slices"

	tsn "tsnswitch"
	"tsnswitch/qbv/schedule"
)

// state is a partial schedule: streams placed, and the time they take.
type state struct {
	m     *model
	at    []*placing // of each stream; nil: not placed
	ports []port     // of each link
	load  []int64    // of each link, busy parts in 1/2^20
	units int64
	wait  waiter
}

// placing is a layout with times. It is not changed once it is there.
type placing struct {
	lay   *layout
	class int32 // of the period after which it repeats
	runs  []run // one, or one for each period of the cycle
}

// run is one period of a stream.
type run struct {
	starts []int64
	queues []tsn.TrafficClass
}

// port is the egress port of a link. Residences are kept per queue once
// anything can be in a queue while its gate is shut; before, windows that are
// apart are all there is to it.
type port struct {
	windows timeline
	queues  []timeline
	count   int64 // windows in the time often
}

func newState(m *model) *state {
	st := &state{m: m, at: make([]*placing, len(m.p.Streams)), ports: make([]port, len(m.p.Links)), load: make([]int64, len(m.p.Links))}
	for i := range m.p.Links {
		if l := &m.p.Links[i]; l.Software {
			st.keepFree(schedule.LinkID(i), max(l.MinInterval, 1))
		}
	}
	for i := range m.limits {
		if free := m.limits[i].free; free > 0 {
			st.keepFree(schedule.LinkID(i), free+max(m.p.Links[i].MinInterval, 1))
		}
	}
	return st
}

// keepFree reserves the end of each cycle of a link. Whatever that cycle is, it
// is a multiple of the period of each stream there.
func (st *state) keepFree(id schedule.LinkID, length int64) {
	st.ports[id].windows.add(st.m, item{stream: -1, class: always, at: -length, length: length})
}

// residences are the queues' timelines of a link, made when first asked for.
func (st *state) residences(id schedule.LinkID) []timeline {
	p := &st.ports[id]
	if p.queues == nil {
		p.queues = make([]timeline, st.m.p.Links[id].Queues)
		last := int32(-1)
		for _, it := range p.windows.items {
			if it.stream >= 0 && it.stream != last {
				pl := st.at[it.stream]
				for r := range pl.runs {
					st.reside(p, int(it.stream), pl, r, slices.Index(pl.lay.route, id))
				}
			}
			last = it.stream
		}
	}
	return p.queues
}

// reside adds when run r of a stream is in the queue of hop h.
func (st *state) reside(p *port, i int, pl *placing, r, h int) {
	from, to := pl.resides(st.m, r, h)
	p.queues[pl.runs[r].queues[h]].add(st.m, item{int32(i), pl.class, from, to - from})
}

// resides is when run r is in the queue of hop h.
func (pl *placing) resides(m *model, r, h int) (from, to int64) {
	x, starts := &pl.lay.hops[h], pl.runs[r].starts
	from = starts[h]
	if x.parent >= 0 {
		from = starts[x.parent] + pl.lay.hops[x.parent].step
	}
	return from - x.lead, starts[h] - x.lies + x.window
}

// commit places stream i.
func (st *state) commit(i int, pl *placing) {
	st.at[i] = pl
	for n := range pl.runs {
		st.occupy(i, pl, n)
	}
}

// add gives stream i one more period at its place.
func (st *state) add(i int, pl *placing, r run) {
	st.at[i] = pl
	pl.runs = append(pl.runs, r)
	st.occupy(i, pl, len(pl.runs)-1)
}

// occupy takes the time of run n of a place.
func (st *state) occupy(i int, pl *placing, n int) {
	for h := range pl.lay.hops {
		x := &pl.lay.hops[h]
		p := &st.ports[x.link]
		p.windows.add(st.m, item{int32(i), pl.class, pl.runs[n].starts[h] - x.lies, x.window})
		if p.queues != nil {
			st.reside(p, i, pl, n, h)
		}
		st.count(i, x, n, 1)
	}
}

// often is a time, in ns, in which windows are counted.
const often = int64(1) << 40

// count notes that hop x takes its link, with its first run for its whole load.
func (st *state) count(i int, x *hop, n int, sign int64) {
	period := st.m.p.Streams[i].Period
	if n == 0 {
		st.load[x.link] += sign * (x.window << 20 / period)
		st.ports[x.link].count += sign * (often / period)
	}
}

// remove takes stream i out and returns its place.
func (st *state) remove(i int) *placing {
	pl := st.at[i]
	st.at[i] = nil
	for h := range pl.lay.hops {
		x := &pl.lay.hops[h]
		p := &st.ports[x.link]
		p.windows.remove(int32(i))
		for q := range p.queues {
			if slices.ContainsFunc(pl.runs, func(r run) bool { return int(r.queues[h]) == q }) {
				p.queues[q].remove(int32(i))
			}
		}
		st.count(i, x, 0, -1)
	}
	return pl
}

// releases is when in the period the first transmission may start.
func releases(s *schedule.Stream) (first, last int64) {
	if s.Release[1] == 0 {
		return s.Release[0], s.Period - 1
	}
	return s.Release[0], s.Release[1]
}

// straight finds the first place in which stream i runs through its layout
// without waiting, or the hop that never was free.
func (st *state) straight(i int, l *layout) (pl *placing, blocked int) {
	first, last := releases(&st.m.p.Streams[i])
	r, blocked := st.run(l, st.m.class[i], first, last)
	if blocked >= 0 {
		return nil, blocked
	}
	return &placing{l, st.m.class[i], []run{r}}, -1
}

// run finds the first start from first to last that needs no waiting. Each
// collision moves the start to where that one ends, so none is missed.
func (st *state) run(l *layout, class int32, first, last int64) (r run, blocked int) {
	at := first
	for settled, h := 0, 0; settled < len(l.hops); {
		later := st.free(&l.hops[h], class, at)
		if at += later; at > last {
			return r, h
		}
		if settled++; later > 0 {
			settled = 0 // what is free in a queue need not be on the link
		}
		if h++; h == len(l.hops) {
			h = 0
		}
	}
	r = run{make([]int64, len(l.hops)), make([]tsn.TrafficClass, len(l.hops))}
	for h := range l.hops {
		r.starts[h] = at + l.hops[h].start
		r.queues[h] = st.queueFor(&l.hops[h], class, at)
	}
	return r, -1
}

// free is how much later than at the first start has to be for hop x.
func (st *state) free(x *hop, class int32, at int64) int64 {
	p := &st.ports[x.link]
	if !st.admits(x, class) {
		return never
	}
	later, _ := p.windows.wait(st.m, class, at+x.start-x.lies, x.window, &st.units)
	if later >= never || st.plain(x.link) {
		return later
	}
	best := never
	for q := range st.residences(x.link) {
		if st.queues(x.link).Has(tsn.TrafficClass(q)) {
			best = min(best, st.inQueue(x, class, at+later, q))
		}
	}
	return later + best
}

// admits says whether a link may have the windows of one more stream.
func (st *state) admits(x *hop, class int32) bool {
	if st.m.limits == nil || st.m.limits[x.link].windows == 0 {
		return true
	}
	return st.ports[x.link].count+often/st.m.periods[class] <= st.m.limits[x.link].windows
}

func (st *state) admitsAll(l *layout, class int32) bool {
	for h := range l.hops {
		if !st.admits(&l.hops[h], class) {
			return false
		}
	}
	return true
}

// queues are those that streams may use on a link.
func (st *state) queues(id schedule.LinkID) tsn.GateMask {
	mask := st.m.p.Links[id].Scheduled
	if st.m.limits != nil && st.m.limits[id].plain {
		return 1 << (bits.Len8(uint8(mask)) - 1)
	}
	return mask
}

// plain says that residences on the link are windows.
func (st *state) plain(id schedule.LinkID) bool { return !st.m.early && st.ports[id].queues == nil }

// inQueue is free for one queue.
func (st *state) inQueue(x *hop, class int32, at int64, q int) int64 {
	later, _ := st.residences(x.link)[q].wait(st.m, class, at+x.start-x.lead, x.window-x.lies+x.lead, &st.units)
	return later
}

// queueFor is the highest scheduled queue that has room for a hop at a start
// that free has found.
func (st *state) queueFor(x *hop, class int32, at int64) tsn.TrafficClass {
	mask := st.queues(x.link)
	top := tsn.TrafficClass(bits.Len8(uint8(mask)) - 1)
	for q := top; q > 0; q-- {
		if mask.Has(q) && (st.plain(x.link) || st.inQueue(x, class, at, int(q)) == 0) {
			return q
		}
	}
	return 0
}
