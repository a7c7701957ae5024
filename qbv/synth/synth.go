// Package synth finds schedules: routes, transmission times and queues for the
// streams of a schedule.Problem.
package synth

import (
	"cmp"
	"fmt"
	"slices"

	"tsnswitch/qbv/schedule"
)

// Mode says whether frames may wait in bridges.
type Mode uint8

// The modes.
const (
	Auto     Mode = iota // without waiting where that succeeds, waiting elsewhere
	NoWait               // a frame leaves each bridge as soon as it can
	Buffered             // a frame may wait in its queue, alone in it if frames are isolated
)

// RouteChoice says which trees are tried for streams that name none.
type RouteChoice struct {
	K int // how many for each stream; 0: DefaultRoutes
}

// DefaultRoutes is enough to go round a bottleneck in rings and meshes.
const DefaultRoutes = 4

// DefaultUnits takes some seconds on a slow machine if nothing is found.
const DefaultUnits = 200_000_000

// Options say how to search. The zero value is good.
type Options struct {
	Seed   uint64
	Mode   Mode
	Routes RouteChoice
	Units  int64 // for Solve: steps to spend at most; 0: DefaultUnits
}

// Spent says what a search cost.
type Spent struct {
	Units  int64 // comparisons and steps, the same on every machine
	Placed int   // streams
}

// Solve schedules as many streams of p as it finds room for, all if it can. The same
// problem, options and units give the same bytes. The error is a
// *schedule.Error for a fault of the problem; streams that found no place are
// Unplaced, which is no error.
func Solve(p *schedule.Problem, o Options) (*schedule.Solution, Spent, error) {
	pl, err := New(p, o)
	if err != nil {
		return nil, Spent{}, err
	}
	units := o.Units
	if units <= 0 {
		units = DefaultUnits
	}
	pl.Run(units)
	return pl.Solution(), pl.Spent(), nil
}

// Planner is a search that can be continued.
type Planner struct {
	m      *model
	o      Options
	routes *router
	limit  int64
	spent  int64 // beside what the state counts
	try    attempt
	order  int // which of the orders is tried
	best   *state
	why    []schedule.Unplaced // of best
}

// attempt places all streams in an order.
type attempt struct {
	order []int
	next  int
	st    *state
	why   []schedule.Unplaced
}

// New starts a search.
func New(p *schedule.Problem, o Options) (*Planner, error) {
	if err := p.Validate(); err != nil {
		return nil, err
	}
	if o.Routes.K <= 0 {
		o.Routes.K = DefaultRoutes
	}
	m := newModel(p)
	pl := &Planner{m: m, o: o, routes: newRouter(m)}
	pl.begin(0)
	return pl, nil
}

func (pl *Planner) begin(order int) {
	pl.order = order
	pl.try = attempt{order: pl.m.sorted(orders[order]), st: newState(pl.m)}
}

// Run searches on for so many units, and says whether there is nothing more to
// do. Run(a) and then Run(b) do what Run(a+b) does.
func (pl *Planner) Run(units int64) (done bool) {
	pl.limit += units
	for !pl.done() {
		if pl.units() >= pl.limit {
			return false
		}
		pl.step()
	}
	return true
}

func (pl *Planner) units() int64 { return pl.spent + pl.try.st.units }

func (pl *Planner) done() bool {
	return pl.best != nil && (len(pl.why) == 0 || pl.order == len(orders)-1)
}

// step places one stream.
func (pl *Planner) step() {
	t := &pl.try
	if t.next < len(t.order) {
		i := t.order[t.next]
		t.next++
		if no := pl.place(t.st, i); no != nil {
			t.why = append(t.why, *no)
		}
		return
	}
	if pl.best == nil || t.st.placed > pl.best.placed {
		pl.best, pl.why = t.st, t.why
	}
	if len(t.why) > 0 && pl.order+1 < len(orders) {
		pl.spent += t.st.units
		pl.begin(pl.order + 1)
	}
}

// place finds a place for stream i beside those placed.
func (pl *Planner) place(st *state, i int) *schedule.Unplaced {
	no := &schedule.Unplaced{Stream: i, Link: -1}
	if pl.m.misfit[i] {
		no.Reason = fmt.Sprintf("its period of %d ns would make the common cycle too long", pl.m.p.Streams[i].Period)
		return no
	}
	st.units++
	for _, l := range pl.routes.candidates(i, pl.o.Routes.K, st.load, &st.units) {
		at, blocked := st.straight(i, l)
		if at != nil {
			st.commit(i, at)
			return nil
		}
		no.Link, no.Reason = l.hops[blocked].link, "finds no free window in its period"
	}
	if no.Reason == "" {
		no.Reason = "no route meets its deadline"
	}
	return no
}

// Spent returns what the search cost so far.
func (pl *Planner) Spent() Spent {
	s := Spent{Units: pl.units()}
	if pl.best != nil {
		s.Placed = pl.best.placed
	}
	return s
}

// Solution returns the best found so far.
func (pl *Planner) Solution() *schedule.Solution {
	st, why := pl.best, pl.why
	if st == nil {
		st, why = pl.try.st, slices.Clone(pl.try.why)
		for _, i := range pl.try.order[pl.try.next:] {
			why = append(why, schedule.Unplaced{Stream: i, Link: -1, Reason: "the units were spent before it was tried"})
		}
	}
	s := &schedule.Solution{Cycle: pl.m.cycle}
	for i, at := range st.at {
		if at != nil {
			s.Streams = append(s.Streams, schedule.Placement{Stream: i, Route: at.lay.route, Starts: at.starts, Queues: at.queues})
		}
	}
	s.Unplaced = slices.Clone(why)
	slices.SortFunc(s.Unplaced, func(a, b schedule.Unplaced) int { return cmp.Compare(a.Stream, b.Stream) })
	return s
}

// orders are the sequences tried, each a list of keys, smaller first.
var orders = [][]func(s *schedule.Stream) int64{
	{period, slack},
	{slack, period},
	{size, period},
}

func period(s *schedule.Stream) int64 { return s.Period }
func slack(s *schedule.Stream) int64  { return s.Deadline }
func size(s *schedule.Stream) int64   { return -int64(s.Size) * int64(max(s.Frames, 1)) }

func (m *model) sorted(keys []func(s *schedule.Stream) int64) []int {
	out := make([]int, len(m.p.Streams))
	for i := range out {
		out[i] = i
	}
	slices.SortStableFunc(out, func(a, b int) int {
		for _, key := range keys {
			if c := cmp.Compare(key(&m.p.Streams[a]), key(&m.p.Streams[b])); c != 0 {
				return c
			}
		}
		return 0
	})
	return out
}
