package synth

import (
	"math/bits"
	"slices"

	tsn "tsnswitch"
	"tsnswitch/qbv/schedule"
)

// state is a partial schedule: streams placed, and the time they take.
type state struct {
	m      *model
	at     []*placing // of each stream; nil: not placed
	ports  []port     // of each link
	load   []int64    // of each link, busy parts in 1/2^20
	placed int
	units  int64
}

// placing is a layout with times.
type placing struct {
	lay    *layout
	starts []int64
	queues []tsn.TrafficClass
}

// port is the egress port of a link. Residences are kept per queue once
// anything can be in a queue while its gate is shut; before, windows that are
// apart are all there is to it.
type port struct {
	windows timeline
	queues  []timeline
}

func newState(m *model) *state {
	st := &state{m: m, at: make([]*placing, len(m.p.Streams)), ports: make([]port, len(m.p.Links)), load: make([]int64, len(m.p.Links))}
	for i := range m.p.Links {
		if l := &m.p.Links[i]; l.Software {
			guard := max(l.MinInterval, 1)
			st.ports[i].windows.add(m, item{stream: -1, class: always, at: -guard, length: guard})
		}
	}
	return st
}

// residences are the queues' timelines of a link, made when first asked for.
func (st *state) residences(id schedule.LinkID) []timeline {
	p := &st.ports[id]
	if p.queues == nil {
		p.queues = make([]timeline, st.m.p.Links[id].Queues)
		for _, it := range p.windows.items {
			if it.stream >= 0 {
				pl := st.at[it.stream]
				h := slices.Index(pl.lay.route, id)
				p.queues[pl.queues[h]].add(st.m, st.residence(int(it.stream), pl, h))
			}
		}
	}
	return p.queues
}

// residence is when a placed stream is in the queue of hop h.
func (st *state) residence(i int, pl *placing, h int) item {
	from, to := pl.resides(st.m, h)
	return item{stream: int32(i), class: st.m.class[i], at: from, length: to - from}
}

func (pl *placing) resides(m *model, h int) (from, to int64) {
	x := &pl.lay.hops[h]
	from = pl.starts[h]
	if x.parent >= 0 {
		from = pl.starts[x.parent] + pl.lay.hops[x.parent].step
	}
	return from - x.lead, pl.starts[h] - m.margin + x.window
}

func (st *state) commit(i int, pl *placing) {
	st.at[i] = pl
	st.placed++
	for h := range pl.lay.hops {
		x := &pl.lay.hops[h]
		p := &st.ports[x.link]
		if p.queues != nil {
			p.queues[pl.queues[h]].add(st.m, st.residence(i, pl, h))
		}
		p.windows.add(st.m, item{int32(i), st.m.class[i], pl.starts[h] - st.m.margin, x.window})
		st.load[x.link] += x.window << 20 / st.m.p.Streams[i].Period
	}
}

// releases is when the first transmission may start.
func releases(s *schedule.Stream) (first, last int64) {
	if s.Release[1] == 0 {
		return s.Release[0], s.Period - 1
	}
	return s.Release[0], s.Release[1]
}

// straight finds the first start at which stream i runs through its layout
// without waiting, or the hop that never was free. Each collision moves the
// start to where that one ends, so no start is missed.
func (st *state) straight(i int, l *layout) (pl *placing, blocked int) {
	at, last := releases(&st.m.p.Streams[i])
	for settled, h := 0, 0; settled < len(l.hops); h = (h + 1) % len(l.hops) {
		later := st.free(i, &l.hops[h], at)
		if at += later; at > last {
			return nil, h
		}
		if later > 0 {
			settled = 0
		}
		settled++
	}
	pl = &placing{lay: l, starts: make([]int64, len(l.hops)), queues: make([]tsn.TrafficClass, len(l.hops))}
	for h := range l.hops {
		pl.starts[h] = at + l.hops[h].start
		pl.queues[h] = st.queueFor(i, &l.hops[h], at)
	}
	return pl, -1
}

// free is how much later than at the first start has to be for hop x.
func (st *state) free(i int, x *hop, at int64) int64 {
	class := st.m.class[i]
	later, _ := st.ports[x.link].windows.wait(st.m, class, at+x.start-st.m.margin, x.window, &st.units)
	if later >= never || st.plain(x.link) {
		return later
	}
	best := never
	for q := range st.residences(x.link) {
		if st.m.p.Links[x.link].Scheduled.Has(tsn.TrafficClass(q)) {
			d, _ := st.inQueue(i, x, at+later, q)
			best = min(best, d)
		}
	}
	return later + best
}

// plain says that residences on the link are windows.
func (st *state) plain(id schedule.LinkID) bool { return !st.m.early && st.ports[id].queues == nil }

func (st *state) inQueue(i int, x *hop, at int64, q int) (later, room int64) {
	return st.residences(x.link)[q].wait(st.m, st.m.class[i], at+x.start-x.lead, x.window-st.m.margin+x.lead, &st.units)
}

// queueFor is the highest scheduled queue that has room for a hop at a start
// that free has found.
func (st *state) queueFor(i int, x *hop, at int64) tsn.TrafficClass {
	mask := st.m.p.Links[x.link].Scheduled
	top := tsn.TrafficClass(bits.Len8(uint8(mask)) - 1)
	if st.plain(x.link) {
		return top
	}
	for q := top; q > 0; q-- {
		if d, _ := st.inQueue(i, x, at, int(q)); mask.Has(q) && d == 0 {
			return q
		}
	}
	return 0
}
