package synth

import (
	"cmp"
	"fmt"
	"slices"

	"tsnswitch/qbv/schedule"
)

// maxBlocking bounds the streams named to be in the way, maxRemedies the
// streams left out for which a remedy is looked for.
const (
	maxBlocking = 8
	maxRemedies = 16
)

// explain says why stream i is not in a schedule.
func (pl *Planner) explain(st *state, i int, remedy bool) schedule.Unplaced {
	no := schedule.Unplaced{Stream: i, Link: -1}
	s := &pl.m.p.Streams[i]
	fastest := pl.fastest(st, i)
	switch {
	case pl.m.misfit[i]:
		no.Reason = fmt.Sprintf("its period of %d ns makes the common cycle of all streams longer than %d ns", s.Period, pl.m.longest())
		no.Remedy = fmt.Sprintf("choose a period that divides the others' cycle of %d ns, or is a multiple of it", pl.m.cycle)
		return no
	case fastest == nil:
		no.Reason = "no route leads from its talker to all listeners"
		return no
	case fastest.need > s.Deadline:
		no.Reason = fmt.Sprintf("takes %d ns on its fastest route without waiting, %d ns are allowed", fastest.need, s.Deadline)
	default:
		fastest = pl.layout(st, i, 0)
		if !pl.overload(&no) {
			pl.blame(st, &no, fastest)
		}
	}
	if remedy {
		no.Remedy = pl.remedy(&no, fastest)
	}
	return no
}

// fastest is the layout with the least latency, whatever the deadline.
func (pl *Planner) fastest(st *state, i int) (best *layout) {
	s := &pl.m.p.Streams[i]
	for _, route := range s.Routes {
		if l := pl.m.lay(i, route); best == nil || l.need < best.need {
			best = l
		}
	}
	if s.Routes != nil {
		return best
	}
	if route := pl.routes.tree(i, nil, &st.units); route != nil {
		best = pl.m.lay(i, route)
	}
	return best
}

// blame names the link of l with the least room, and who takes it.
func (pl *Planner) blame(st *state, no *schedule.Unplaced, l *layout) {
	i := no.Stream
	s := &pl.m.p.Streams[i]
	tightest, least := 0, never
	for h := range l.hops {
		if room := st.room(&l.hops[h], pl.m.class[i]); room < least {
			tightest, least = h, room
		}
	}
	x := &l.hops[tightest]
	no.Link = x.link
	no.Blocking = st.users(x, pl.m.class[i])
	switch {
	case x.window > s.Period:
		no.Reason = fmt.Sprintf("needs a window of %d ns in a period of %d ns", x.window, s.Period)
	case least == 0 && !st.admits(x, pl.m.class[i]):
		no.Reason = fmt.Sprintf("the gate control list of %d entries is full", pl.m.p.Links[x.link].MaxEntries)
	case least == 0:
		no.Reason = fmt.Sprintf("no window of %d ns is free there in its period of %d ns", x.window, s.Period)
		if other := st.unlike(x, pl.m.class[i]); other >= 0 {
			o := &pl.m.p.Streams[other]
			no.Reason = fmt.Sprintf("its window of %d ns and that of stream %d, every %d ns, cannot avoid each other: their periods have %d ns in common",
				x.window, o.ID, o.Period, gcd(o.Period, s.Period))
		}
	default:
		no.Reason = fmt.Sprintf("no start is free on all links of a route at a time; least so here, at %d of %d ns", min(least, s.Period), s.Period)
	}
}

// looks bounds the free times counted by room.
const looks = 1 << 12

// room is for how many starts in a period the window of a hop is free.
func (st *state) room(x *hop, class int32) (room int64) {
	if !st.admits(x, class) {
		return 0
	}
	period, t := st.m.periods[class], int64(0)
	for range looks {
		later, more := st.ports[x.link].windows.wait(st.m, class, t, x.window, &st.units)
		if t += later; t >= period {
			break
		}
		room += min(more+1, period-t)
		t += min(more+1, period)
	}
	return room
}

// users are the streams that take most of a link, ascending.
func (st *state) users(x *hop, class int32) (out []int) {
	items := slices.Clone(st.ports[x.link].windows.items)
	share := func(it *item) float64 { return float64(it.length+x.window) / float64(st.m.gcd(class, it.class)) }
	slices.SortStableFunc(items, func(a, b item) int { return cmp.Compare(share(&b), share(&a)) })
	for _, it := range items {
		if it.stream >= 0 && !slices.Contains(out, int(it.stream)) && len(out) < maxBlocking {
			out = append(out, int(it.stream))
		}
	}
	slices.Sort(out)
	return out
}

// unlike is a stream that a hop can never avoid; -1: none.
func (st *state) unlike(x *hop, class int32) int {
	for _, it := range st.ports[x.link].windows.items {
		if it.stream >= 0 && it.length+x.window > st.m.gcd(class, it.class) {
			return int(it.stream)
		}
	}
	return -1
}

// remedy is something that makes room: each is tried, and named only if it
// does.
func (pl *Planner) remedy(no *schedule.Unplaced, fastest *layout) string {
	s := pl.m.p.Streams[no.Stream]
	longer := s
	longer.Deadline = min(4*(fastest.strict+s.Period), schedule.MaxTime)
	if latency, ok := pl.whatIf(no.Stream, longer, -1); ok {
		return fmt.Sprintf("with a deadline of at least %d ns it fits", latency)
	}
	if s.Release != [2]int64{} {
		free := s
		free.Release = [2]int64{}
		if _, ok := pl.whatIf(no.Stream, free, -1); ok {
			return "without its release window it fits"
		}
	}
	for _, other := range no.Blocking {
		if _, ok := pl.whatIf(no.Stream, s, other); ok {
			return fmt.Sprintf("without stream %d it fits", pl.m.p.Streams[other].ID)
		}
	}
	return pl.otherDemand(no, s, longer.Deadline)
}

// otherDemand tries longer periods, then smaller frames.
func (pl *Planner) otherDemand(no *schedule.Unplaced, s schedule.Stream, deadline int64) string {
	for _, period := range pl.m.slower(s.Period) {
		slow := s
		slow.Period = period
		if _, ok := pl.whatIf(no.Stream, slow, -1); ok {
			return fmt.Sprintf("with a period of %d ns it fits", period)
		}
		slow.Deadline = deadline
		if latency, ok := pl.whatIf(no.Stream, slow, -1); ok {
			return fmt.Sprintf("with a period of %d ns and a deadline of at least %d ns it fits", period, latency)
		}
	}
	for size := s.Size / 2; size >= 64; size /= 2 {
		small := s
		small.Size, small.MinSize = size, min(s.MinSize, size)
		if _, ok := pl.whatIf(no.Stream, small, -1); ok {
			return fmt.Sprintf("with frames of %d octets it fits", size)
		}
	}
	return ""
}

// slower are longer periods to try: multiples, and those of other streams.
func (m *model) slower(period int64) (out []int64) {
	out = append(out, 2*period, 4*period, 8*period)
	for _, other := range m.periods {
		if other > period && len(out) < 8 {
			out = append(out, other)
		}
	}
	slices.Sort(out)
	out = slices.Compact(out)
	return slices.DeleteFunc(out, func(p int64) bool { return p > m.longest() })
}

// whatIf tries whether s fits instead of stream i, with everything else as it
// is but for stream without, and returns the latency.
func (pl *Planner) whatIf(i int, s schedule.Stream, without int) (latency int64, ok bool) {
	m := pl.m.with(i, s)
	if m == nil {
		return 0, false
	}
	try := &Planner{m: m, o: pl.o, routes: newRouter(m), choices: make([]choice, len(m.p.Streams)), st: newState(m)}
	for j, at := range pl.placings() {
		if at != nil && j != without && j != i {
			try.st.commit(j, at)
		}
	}
	ok = try.place(try.st, i) || try.placeWithin(try.st, i, false)
	pl.spent += try.st.units
	if !ok {
		return 0, false
	}
	return try.st.at[i].latency(false), true
}

// latency is the longest of any listener, with the last ProcessingDelay or
// without.
func (at *placing) latency(strict bool) (latency int64) {
	for _, r := range at.runs {
		for h := range at.lay.hops {
			x := &at.lay.hops[h]
			if !x.listener {
				continue
			}
			n := r.starts[h] + x.tail - r.starts[0]
			if strict {
				n += x.proc
			}
			latency = max(latency, n)
		}
	}
	return latency
}

// with is the model with another demand in the place of stream i; nil if the
// cycle would be too long.
func (m *model) with(i int, s schedule.Stream) *model {
	out, p := *m, *m.p
	p.Streams = slices.Clone(p.Streams)
	p.Streams[i] = s
	out.p, out.class, out.misfit = &p, slices.Clone(m.class), slices.Clone(m.misfit)
	out.periods, out.gcds = slices.Clone(m.periods), nil
	for _, row := range m.gcds {
		out.gcds = append(out.gcds, slices.Clone(row))
	}
	if !out.include(s.Period) {
		return nil
	}
	out.class[i], out.misfit[i] = out.classOf(s.Period), false
	out.early = out.early || s.MinSize > 0 && s.MinSize < s.Size
	return &out
}
