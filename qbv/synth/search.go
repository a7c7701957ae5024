package synth

import (
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
	stale  int // moves since the best was found
	since  int // moves since the last shake
	seen   []int32
	edges  []edge
	spare  func(victims []int) bool // whether they may be pushed; nil: all may
}

// Moves without success until the search is over, and until it is shaken.
const (
	patience = 20_000
	shakeAt  = 300
)

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
		if at != nil && len(at.runs) > 1 {
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
	s.pl.relax(s.st, s.todo)
	return s
}

// step makes one move. It reports whether there is anything left to do.
func (s *search) step() bool {
	s.st.units++
	if s.stale++; s.stale > patience || len(s.todo) == 0 {
		return false
	}
	if s.since++; s.since > shakeAt {
		s.shake()
	}
	n := s.next()
	i := s.todo[n]
	s.todo = slices.Delete(s.todo, n, n+1)
	if !s.pl.place(s.st, i) && !s.eject(i) {
		s.todo = append(s.todo, i)
		s.weight[i]++
		return true
	}
	if s.pl.keep(s.st) {
		s.stale, s.since = 0, 0
		s.pl.relax(s.st, s.todo)
	}
	return !s.pl.best.perfect()
}

// next is the index in todo of the stream with the highest rank, of those the heaviest.
func (s *search) next() int {
	best := 0
	rank := func(n int) int { return s.pl.m.p.Streams[s.todo[n]].Rank }
	for n := range s.todo {
		if rank(n) > rank(best) || rank(n) == rank(best) && s.weight[s.todo[n]] > s.weight[s.todo[best]] {
			best = n
		}
	}
	return best
}

// shake takes some streams out of the best schedule.
func (s *search) shake() {
	s.reset()
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

// eject gives stream i the place that pushes the lightest streams away.
func (s *search) eject(i int) bool {
	best := push{cost: heavy}
	for n := 0; ; n++ {
		l := s.pl.layout(s.st, i, n)
		if l == nil || n > 0 && l.strict > s.pl.m.p.Streams[i].Deadline {
			break
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
	r, blocked := s.st.run(best.lay, s.pl.m.class[i], best.start, best.start)
	if blocked >= 0 {
		return false
	}
	s.st.commit(i, &placing{best.lay, s.pl.m.class[i], []run{r}})
	return true
}
