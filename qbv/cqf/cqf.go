package cqf

import (
	"cmp"
	"fmt"
	"slices"

	"tsnswitch/qbv/gatelist"
	"tsnswitch/qbv/schedule"
)

// Options of Solve. The zero value schedules all streams and chooses the cycle time.
type Options struct {
	// Placed streams have times of their own already; cyclic queuing works around their windows.
	Placed []schedule.Placement
	// CycleTime in ns; 0: chosen.
	CycleTime int64
}

// Bounds of the search.
const (
	maxCycles  = 1 << 14 // in a hyperperiod
	maxLoads   = 1 << 22 // links times cycles
	maxWork    = 1 << 30 // looks at the load of a link in a cycle
	maxTries   = 32      // cycle times
	maxReruns  = 8       // for links whose port cannot execute the windows
	maxBlocked = 8       // named in an Unplaced
)

// Solve schedules the streams that o.Placed leaves, the more the better, and
// among cycle times that do for as many the longest: that leaves most to other
// traffic. Streams for which there is no room are Unplaced in the result. The
// error is a fault of p, of o.Placed or of o.CycleTime.
func Solve(p *schedule.Problem, o Options) (*schedule.Solution, error) {
	if err := p.Validate(); err != nil {
		return nil, err
	}
	busy, err := gatelist.Uses(p, o.Placed, nil)
	if err != nil {
		return nil, err
	}
	s := &solver{p: p, o: o, busy: busy, todo: remaining(p, o.Placed)}
	if s.hyper, err = hyperperiod(p); err != nil {
		return nil, err
	}
	times, err := s.cycleTimes()
	if err != nil {
		return nil, err
	}
	s.routes()
	var best *attempt
	for _, t := range times {
		a, err := s.fitting(t)
		if err != nil {
			return nil, err
		}
		if best == nil || len(a.placed) > len(best.placed) {
			best = a
		}
		if len(best.placed) == len(s.todo) || s.work > maxWork {
			break
		}
	}
	return s.solution(best)
}

type solver struct {
	p     *schedule.Problem
	o     Options
	busy  [][]gatelist.Use
	hyper int64
	todo  []int                       // streams, in the order in which they are tried
	ways  map[int][][]schedule.LinkID // routes of each
	block map[schedule.LinkID]bool    // links that cannot execute it
	work  int64
}

// remaining lists the streams that are not placed: those of a higher rank, then
// those that are hard to fit, first.
func remaining(p *schedule.Problem, placed []schedule.Placement) (out []int) {
	done := make([]bool, len(p.Streams))
	for i := range placed {
		done[placed[i].Stream] = true
	}
	for i := range p.Streams {
		if !done[i] {
			out = append(out, i)
		}
	}
	burst := func(i int) int { return p.Streams[i].Size * max(p.Streams[i].Frames, 1) }
	slices.SortStableFunc(out, func(a, b int) int {
		return cmp.Or(cmp.Compare(p.Streams[b].Rank, p.Streams[a].Rank), cmp.Compare(burst(b), burst(a)))
	})
	return out
}

// hyperperiod is the least common multiple of all periods.
func hyperperiod(p *schedule.Problem) (int64, error) {
	limit, h := p.MaxCycle, int64(1)
	if limit == 0 {
		limit = schedule.DefaultMaxCycle
	}
	for i := range p.Streams {
		step := p.Streams[i].Period / gcd(h, p.Streams[i].Period)
		if h > limit/step {
			return 0, fmt.Errorf("the periods have no common multiple within %d ns", limit)
		}
		h *= step
	}
	return h, nil
}

func gcd(a, b int64) int64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// cycleTimes are those that divide every period, and of which two divide the hyperperiod,
// longest first, as far as any deadline is longer.
func (s *solver) cycleTimes() ([]int64, error) {
	common, longest := int64(0), int64(0)
	for _, i := range s.todo {
		common = gcd(s.p.Streams[i].Period, common)
		longest = max(longest, s.p.Streams[i].Deadline)
	}
	if t := s.o.CycleTime; t != 0 {
		if t < 0 || common%t != 0 || s.hyper%(2*t) != 0 {
			return nil, fmt.Errorf("a cycle time of %d ns does not divide all periods and half of their common multiple", t)
		}
		return []int64{t}, nil
	}
	var out []int64
	least := s.leastCycle()
	for n := int64(1); n <= maxCycles && n <= common && len(out) < maxTries; n++ {
		t := common / n
		if t < least {
			break
		}
		if common%n == 0 && s.hyper%(2*t) == 0 && t <= longest && s.loads(t) <= maxLoads && s.hyper/t <= maxCycles {
			out = append(out, t)
		}
	}
	return out, nil
}

// leastCycle is what the shortest burst takes on the fastest link.
func (s *solver) leastCycle() int64 {
	var fastest schedule.Link
	for l := range s.p.Links {
		fastest.Rate = max(fastest.Rate, s.p.Links[l].Rate)
	}
	least := schedule.MaxTime
	for _, i := range s.todo {
		least = min(least, burst(&fastest, &s.p.Streams[i]))
	}
	return least + 2*(s.p.SyncError+s.p.Jitter)
}

// loads is how many numbers an attempt with cycle time t keeps.
func (s *solver) loads(t int64) int64 { return s.hyper / t * int64(len(s.p.Links)) }

// fitting tries cycle time t, without the links whose port turns out not to
// be able to execute their windows.
func (s *solver) fitting(t int64) (*attempt, error) {
	s.block = map[schedule.LinkID]bool{}
	for range maxReruns { // a link that placed streams overflow stays so
		a := s.attempt(t)
		if len(a.placed) == 0 {
			return a, nil
		}
		over, err := a.gates()
		switch {
		case err != nil:
			return nil, err
		case len(over) == 0:
			return a, nil
		}
		for _, o := range over {
			s.block[o.Link] = true
		}
	}
	return &attempt{solver: s, cycle: t, why: s.attempt(t).why}, nil
}

// solution is the best attempt, nil if there was none.
func (s *solver) solution(a *attempt) (*schedule.Solution, error) {
	out := &schedule.Solution{Cycle: s.hyper, Streams: s.o.Placed}
	var c *schedule.Cyclic
	if a != nil && len(a.placed) > 0 {
		c = a.cyclic()
		out.Cyclic = c
	}
	gates, over, err := gatelist.BuildCyclic(s.p, s.o.Placed, c)
	if err != nil {
		return nil, err
	}
	if len(over) > 0 {
		return nil, fmt.Errorf("%s: %s", s.p.LinkName(over[0].Link), over[0].Reason)
	}
	out.Gates = gates
	for _, i := range s.todo {
		switch {
		case a == nil:
			out.Unplaced = append(out.Unplaced, schedule.Unplaced{Stream: i, Link: -1, Reason: "no cycle time divides all periods and is within a deadline"})
		case a.at[i] == nil:
			out.Unplaced = append(out.Unplaced, a.why[i])
		}
	}
	slices.SortFunc(out.Unplaced, func(a, b schedule.Unplaced) int { return cmp.Compare(a.Stream, b.Stream) })
	return out, nil
}
