package synth

import (
	"cmp"
	"math/rand/v2"
	"slices"
)

// search improves a schedule by ejection: a stream that finds no place takes
// one, and those in the way are placed anew. Each stream that had to push
// others away becomes heavier, and the lightest are pushed: so the ones that
// are hard to place come to rest first. Now and then it goes back to the best
// schedule found and shakes that.
type search struct {
	pl     *Planner
	st     *state
	todo   []int
	weight []int64
	r      *rand.Rand
	found  int64 // units when the best was found
	since  int   // moves since the last shake
	wild   bool  // until the next one streams are put anywhere more often
	seen   []int32
	edges  []edge
	spare  func(victims []int) bool // whether they may be pushed; nil: all may
}

// Units without success until the search is over, or until periods are placed
// for themselves.
const (
	patience = 50_000_000
	strictly = 3_000_000
)

// shakeAt is after how many moves without success the search is shaken, the
// sooner the fewer streams there are.
const shakeAt = 300

func newSearch(pl *Planner) *search {
	s := &search{pl: pl, weight: make([]int64, len(pl.m.p.Streams)), r: rand.New(rand.NewPCG(pl.o.Seed, 1)), seen: make([]int32, len(pl.m.p.Streams))}
	for i := range s.weight {
		s.weight[i] = 1
	}
	return s
}

// reset goes back to the best schedule.
func (s *search) reset() {
	s.st, s.todo, s.since = s.pl.rebuild(s.pl.best.at), s.todo[:0], 0
	for i, at := range s.pl.best.at {
		if at != nil && (len(at.runs) > 1 || s.pl.late(i, at)) {
			s.st.remove(i)
			at = nil
		}
		if at == nil && s.pl.layout(s.st, i, 0) != nil && !s.pl.m.misfit[i] {
			s.todo = append(s.todo, i)
		}
	}
}

// rebuild makes a state of placings; what the present state has spent counts.
func (pl *Planner) rebuild(at []*placing) *state {
	pl.spent += pl.st.units
	pl.st = newState(pl.m)
	for i, a := range at {
		if a != nil {
			pl.st.commit(i, a)
		}
	}
	return pl.st
}

// start begins from the best schedule.
func (s *search) start() *search {
	s.reset()
	s.found = s.pl.units()
	s.pl.relax(s.st, s.todo)
	return s
}

// over says that it is no use to search on. There is less patience where
// limits were set to links, which may well be too strict, and where all that
// could be better is that no stream is late or placed period by period.
func (s *search) over() bool {
	most := int64(patience)
	unplaced := s.pl.best.score[:len(s.pl.ranks)]
	switch {
	case s.pl.repaired > 0:
		most /= 100
	case slices.Max(unplaced) == 0:
		most /= 5
	}
	return len(s.todo) == 0 || s.pl.units()-s.found > most
}

// step makes one move. It reports whether there is anything left to do.
func (s *search) step() bool {
	s.st.units++
	if s.over() {
		return false
	}
	if s.since++; s.since > min(shakeAt, 3*len(s.weight)) {
		s.shake()
	}
	n := s.next()
	i := s.todo[n]
	s.todo = slices.Delete(s.todo, n, n+1)
	if !s.scatter(i) && !s.pl.place(s.st, i) && !s.loosely(i) && !s.swap(i) && !s.eject(i) {
		s.todo = append(s.todo, i)
		s.weight[i]++
		return true
	}
	if s.pl.keep(s.st) {
		s.found, s.since = s.pl.units(), 0
		s.pl.relax(s.st, s.todo)
	}
	return !s.pl.best.perfect()
}

// next is the index in todo of a stream with the highest rank: of those the
// heaviest, or any.
func (s *search) next() int {
	best, ties, any := 0, 0, s.r.IntN(2) == 0
	rank := func(n int) int { return s.pl.m.p.Streams[s.todo[n]].Rank }
	for n := range s.todo {
		switch c := cmp.Compare(rank(n), rank(best)); {
		case c > 0:
			best, ties = n, 1
		case c == 0 && any:
			if ties++; s.r.IntN(ties) == 0 {
				best = n
			}
		case c == 0 && s.weight[s.todo[n]] > s.weight[s.todo[best]]:
			best = n
		}
	}
	return best
}

// shake takes some streams out of the best schedule.
func (s *search) shake() {
	s.reset()
	s.wild = s.r.IntN(3) == 0
	var placed []int
	for i, at := range s.st.at {
		if at != nil {
			placed = append(placed, i)
		}
	}
	for range min(len(placed), 2+s.r.IntN(6)) {
		n := s.r.IntN(len(placed))
		s.st.remove(placed[n])
		s.todo = append(s.todo, placed[n])
		placed = slices.Delete(placed, n, n+1)
	}
}

// scatter now and then puts stream i anywhere it is free, not where it is free
// first: else the same streams would always come to lie in the same order.
func (s *search) scatter(i int) bool {
	l := s.pl.layout(s.st, i, 0)
	chance := 8
	if s.wild {
		chance = 3
	}
	switch s.r.IntN(chance) {
	case 0:
		return s.pl.o.Mode != NoWait && s.behind(i, l)
	case 1:
		if s.st.admitsAll(l, s.pl.m.class[i]) {
			p := s.cheapest(i, l)
			return p.cost == 0 && s.take(i, &p)
		}
	}
	return false
}

// behind puts stream i right behind some other on some link, waiting if it has
// to although it might have a place without.
func (s *search) behind(i int, l *layout) bool {
	demand := &s.pl.m.p.Streams[i]
	first, last := releases(demand)
	x := &l.hops[s.r.IntN(len(l.hops))]
	if on := s.st.ports[x.link].windows.items; len(on) > 0 {
		it := on[s.r.IntN(len(on))]
		at := it.at + it.length + x.lies - x.start
		if it.class >= 0 {
			period := s.pl.m.periods[it.class]
			at += s.r.Int64N(demand.Period) / period * period
		}
		first = max(first, mod(at, demand.Period))
	}
	if first > last {
		return false
	}
	r, found := s.st.waitingRun(l, s.pl.m.class[i], first, last, demand.Deadline, l.strict <= demand.Deadline)
	if found {
		s.st.commit(i, &placing{l, s.pl.m.class[i], []run{r}})
	}
	return found
}

// take places stream i where a push has made room.
func (s *search) take(i int, p *push) bool {
	r, blocked := s.st.run(p.lay, s.pl.m.class[i], p.start, p.start)
	if blocked >= 0 {
		return false
	}
	s.st.commit(i, &placing{p.lay, s.pl.m.class[i], []run{r}})
	return true
}

// loosely places each period of stream i for itself, once strict periods have
// not succeeded for long.
func (s *search) loosely(i int) bool {
	return s.pl.units()-s.found > strictly && s.spare == nil && s.pl.any(s.st, i, func(l *layout) bool { return s.pl.singly(s.st, i, l) })
}

// swaps is how many streams are tried to be swapped for one.
const swaps = 4

// swap places stream i, waiting if it has to, where some lighter stream is.
func (s *search) swap(i int) bool {
	if s.spare != nil || s.r.IntN(2) == 0 {
		return false
	}
	l := s.pl.layout(s.st, i, 0)
	for range swaps {
		on := s.st.ports[l.hops[s.r.IntN(len(l.hops))].link].windows.items
		if len(on) == 0 {
			continue
		}
		v := int(on[s.r.IntN(len(on))].stream)
		if v < 0 || s.weight[v] > s.weight[i] || s.pl.m.p.Streams[v].Rank > s.pl.m.p.Streams[i].Rank {
			continue
		}
		at := s.st.remove(v)
		if s.pl.place(s.st, i) {
			s.todo = append(s.todo, v)
			s.weight[i]++
			return true
		}
		s.st.commit(v, at)
	}
	return false
}

// eject gives stream i the place that pushes the lightest streams away.
func (s *search) eject(i int) bool {
	best := push{cost: heavy}
	for n := 0; ; n++ {
		l := s.pl.layout(s.st, i, n)
		if l == nil || n > 0 && l.strict > s.pl.m.p.Streams[i].Deadline {
			break
		}
		if !s.st.admitsAll(l, s.pl.m.class[i]) {
			continue
		}
		if p := s.cheapest(i, l); p.cost < best.cost || p.cost == best.cost && p.cost < heavy && s.r.IntN(2) == 0 {
			best = p
		}
	}
	if best.cost >= heavy || s.spare != nil && !s.spare(best.victims) {
		return false
	}
	for _, v := range best.victims {
		s.st.remove(v)
		s.todo = append(s.todo, v)
	}
	s.weight[i]++
	return s.take(i, &best)
}
