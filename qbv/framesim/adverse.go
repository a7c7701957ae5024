package framesim

import (
	"math/rand/v2"

	"tsnswitch/qbv/schedule"
)

// nature is how something that may vary does in one round.
type nature uint8

const (
	exact  nature = iota // as planned, of full size
	least                // as early, or as short, as may be
	most                 // as late as may be
	random               // anything in between, the ends often
)

// adverse is one round's world.
type adverse struct {
	r                   *rand.Rand
	p                   *schedule.Problem
	clocks              []int64 // of each node, ahead of none: local time is true time less this
	talkers, hold, size nature
}

// rounds are the first ones; later ones are random in all.
var rounds = []struct{ ends, bridges, talkers, hold, size nature }{
	{exact, exact, exact, exact, exact},
	{least, most, least, most, exact},  // what takes longest
	{most, least, most, exact, least},  // and shortest
	{most, least, most, most, exact},   // latest in the queues of bridges
	{least, most, least, exact, least}, // and earliest
}

func newAdverse(p *schedule.Problem, seed uint64, round int) *adverse {
	a := &adverse{
		r: rand.New(rand.NewPCG(seed, uint64(round))), p: p, clocks: make([]int64, len(p.Nodes)),
		talkers: random, hold: random, size: random,
	}
	ends, bridges := random, random
	if round < len(rounds) {
		is := rounds[round]
		ends, bridges, a.talkers, a.hold, a.size = is.ends, is.bridges, is.talkers, is.hold, is.size
	}
	for n := range a.clocks {
		kind := ends
		if p.Nodes[n].Bridge {
			kind = bridges
		}
		a.clocks[n] = a.between(kind, 0, 0, p.SyncError)
	}
	return a
}

// between picks from lo..hi; exact is what is planned.
func (a *adverse) between(n nature, exactly, lo, hi int64) int64 {
	switch n {
	case least:
		return lo
	case most:
		return hi
	case random:
		switch a.r.IntN(4) {
		case 0:
			return lo
		case 1:
			return hi
		}
		return lo + a.r.Int64N(hi-lo+1)
	}
	return exactly
}

// handOver is when a talker has a frame ready that is planned for from+i*pace,
// by its own clock. An early talker has all frames of a period at once.
func (a *adverse) handOver(n nature, from, plan int64) int64 {
	return a.between(n, plan, from-a.p.SyncError-a.p.Jitter, plan+a.p.Jitter)
}

// held is how long before (less than 0) or after its planned start a bridge keeps a frame.
func (a *adverse) held(n nature) (int64, bool) {
	if n == exact {
		return 0, false
	}
	return a.between(n, 0, -a.p.Jitter, a.p.Jitter), true
}

func (a *adverse) octets(s *schedule.Stream) int {
	shortest := s.MinSize
	if shortest == 0 {
		shortest = s.Size
	}
	return int(a.between(a.size, int64(s.Size), int64(shortest), int64(s.Size)))
}

// silent says whether a talker sends nothing in a period: one in eight, in random rounds.
func (a *adverse) silent() bool { return a.size == random && a.r.IntN(8) == 0 }

// varies reports whether rounds can differ.
func varies(p *schedule.Problem, fs []flow) bool {
	if p.SyncError > 0 || p.Jitter > 0 || p.Isolation == schedule.InOrder {
		return true
	}
	for i := range fs {
		if fs[i].s.MinSize > 0 && fs[i].s.MinSize < fs[i].s.Size {
			return true
		}
	}
	return false
}
