package synth

import (
	"cmp"
	"slices"

	"tsnswitch/qbv/schedule"
)

// Mode says whether frames may wait in bridges.
type Mode uint8

// The modes.
const (
	Auto     Mode = iota // without waiting on any route, else waiting
	NoWait               // a frame leaves each bridge as soon as it can
	Buffered             // a frame may wait on the first route before others are tried
)

// RouteChoice says which trees are tried for streams that name none.
type RouteChoice struct {
	K int // how many for each stream; 0: DefaultRoutes
}

// Strategies.
const (
	Full      = ""          // construct, then search until all is placed
	Construct = "construct" // place streams in a few orders, and leave it at that
)

// Defaults of Options.
const (
	DefaultRoutes = 4           // enough to go round a bottleneck in rings and meshes
	DefaultUnits  = 200_000_000 // takes some seconds on a slow machine if it is spent
)

// Options say how to search. The zero value is good.
type Options struct {
	Seed     uint64
	Mode     Mode
	Routes   RouteChoice
	Strategy string
	Units    int64 // for Solve: the most to spend; 0: DefaultUnits
}

// Spent says what a search cost and came to.
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
	m        *model
	o        Options
	routes   *router
	choices  []choice
	ranks    []int // distinct, descending
	limit    int64
	spent    int64 // by states that were given up
	order    int   // of orders, the one tried
	todo     []int // streams to place, in that order
	st       *state
	best     *found
	search   *search
	resumed  bool                       // from a running schedule: nothing placed is moved
	repaired int                        // how often limits were set
	full     map[int]*schedule.Unplaced // streams that have a place, but no list has
	ids      map[int]int                // index of each stream ID, once asked for
}

// found is a schedule and how good it is.
type found struct {
	at    []*placing
	score []int // unplaced streams of each rank, late ones, such that are placed singly
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
	pl := &Planner{m: m, o: o, routes: newRouter(m), choices: make([]choice, len(p.Streams))}
	for i := range p.Streams {
		pl.ranks = append(pl.ranks, p.Streams[i].Rank)
	}
	slices.SortFunc(pl.ranks, func(a, b int) int { return cmp.Compare(b, a) })
	pl.ranks = slices.Compact(pl.ranks)
	pl.begin(0)
	return pl, nil
}

// begin starts placing in one of the orders.
func (pl *Planner) begin(order int) {
	pl.order, pl.todo, pl.st = order, pl.m.sorted(orders[order]), newState(pl.m)
}

// Run searches on for so many units, and says whether there is nothing more to
// do. Run(a) and then Run(b) do what Run(a+b) does.
func (pl *Planner) Run(units int64) (done bool) {
	pl.limit += units
	for pl.units() < pl.limit {
		if !pl.step() {
			return true
		}
	}
	return false
}

func (pl *Planner) units() int64 { return pl.spent + pl.st.units }

// step places one stream, or makes one move of the search.
func (pl *Planner) step() bool {
	switch {
	case len(pl.todo) > 0:
		i := pl.todo[0]
		pl.todo = pl.todo[1:]
		if pl.resumed {
			pl.join(i)
		} else {
			pl.place(pl.st, i)
		}
		return true
	case pl.resumed:
		return false
	case pl.search != nil:
		return pl.search.step() || pl.repair()
	}
	pl.keep(pl.st)
	switch {
	case pl.best.perfect():
		return pl.repair()
	case pl.order+1 < len(orders):
		pl.spent += pl.st.units
		pl.begin(pl.order + 1)
	case pl.o.Strategy == Construct:
		return pl.repair()
	default:
		pl.search = newSearch(pl).start()
	}
	return true
}

// place finds a place for stream i beside those placed: on the cheapest tree
// under the load, on the others, with waiting. It holds the deadline with the
// last ProcessingDelay counted, unless that is out of the question.
func (pl *Planner) place(st *state, i int) bool {
	s := &pl.m.p.Streams[i]
	st.units++
	if pl.m.misfit[i] {
		return false
	}
	if s.Routes == nil {
		if l := pl.cheapest(st, i); l != nil && l.strict <= s.Deadline && pl.run(st, i, l) {
			return true
		}
	}
	if pl.placeWithin(st, i, true) {
		return true
	}
	l := pl.layout(st, i, 0)
	return l != nil && l.strict > s.Deadline && pl.placeWithin(st, i, false)
}

// cheapest is the layout along the cheapest tree under the load.
func (pl *Planner) cheapest(st *state, i int) *layout {
	route := pl.routes.tree(i, st.load, &st.units)
	if route == nil {
		return nil
	}
	return pl.m.lay(i, route)
}

func (pl *Planner) run(st *state, i int, l *layout) bool {
	at, _ := st.straight(i, l)
	if at == nil {
		return false
	}
	st.commit(i, at)
	return true
}

// placeWithin tries all layouts.
func (pl *Planner) placeWithin(st *state, i int, strict bool) bool {
	deadline := pl.m.p.Streams[i].Deadline
	run := func(l *layout) bool { return strict == (l.strict <= deadline) && pl.run(st, i, l) }
	wait := func(l *layout) bool {
		if l.strict > deadline && strict || l.strict == l.need && !strict {
			return false
		}
		at := st.waiting(i, l, deadline, strict)
		if at != nil {
			st.commit(i, at)
		}
		return at != nil
	}
	eager := func(l *layout) bool { return run(l) || wait(l) }
	switch pl.o.Mode {
	case NoWait:
		return pl.any(st, i, run)
	case Buffered:
		return pl.any(st, i, eager)
	}
	return pl.any(st, i, run) || pl.any(st, i, wait)
}

// any tries f with all layouts until it succeeds.
func (pl *Planner) any(st *state, i int, f func(l *layout) bool) bool {
	for n := 0; ; n++ {
		l := pl.layout(st, i, n)
		if l == nil {
			return false
		}
		if f(l) {
			return true
		}
	}
}

// layout is the n-th layout of stream i.
func (pl *Planner) layout(st *state, i, n int) *layout {
	return pl.routes.nth(&pl.choices[i], i, n, pl.o.Routes.K, &st.units)
}

// keep notes a schedule if it is better than the best so far.
func (pl *Planner) keep(st *state) bool {
	f := &found{at: st.at, score: pl.score(st.at)}
	if pl.best != nil && slices.Compare(f.score, pl.best.score) >= 0 {
		return false
	}
	f.at = slices.Clone(f.at)
	pl.best = f
	return true
}

func (pl *Planner) score(at []*placing) []int {
	n := len(pl.ranks)
	score := make([]int, n+2)
	for i, a := range at {
		if a == nil {
			score[slices.Index(pl.ranks, pl.m.p.Streams[i].Rank)]++
			continue
		}
		if pl.late(i, a) {
			score[n]++
		}
		if len(a.runs) > 1 {
			score[n+1]++
		}
	}
	return score
}

// late says that a place holds the deadline, but not with the last
// ProcessingDelay, and that there could be better ones.
func (pl *Planner) late(i int, at *placing) bool {
	deadline := pl.m.p.Streams[i].Deadline
	return at.latency(true) > deadline && pl.layout(pl.st, i, 0).strict <= deadline
}

func (f *found) perfect() bool {
	return !slices.ContainsFunc(f.score, func(n int) bool { return n > 0 })
}

// Spent returns what the search cost so far.
func (pl *Planner) Spent() Spent {
	s := Spent{Units: pl.units()}
	for _, at := range pl.placings() {
		if at != nil {
			s.Placed++
		}
	}
	return s
}

// placings is the best found so far.
func (pl *Planner) placings() []*placing {
	if pl.best == nil {
		return pl.st.at
	}
	return pl.best.at
}

// Solution returns the best found so far, with the gate control lists, and for
// each stream left out why.
func (pl *Planner) Solution() *schedule.Solution {
	s := &schedule.Solution{Cycle: pl.m.cycle}
	var out []int
	at := pl.placings()
	if !pl.resumed {
		at = pl.m.spread(at)
	}
	s.Streams, out = pl.placements(at)
	s.Unplaced = append(pl.settle(s), pl.reasons(out)...)
	slices.SortFunc(s.Unplaced, func(a, b schedule.Unplaced) int { return cmp.Compare(a.Stream, b.Stream) })
	return s
}

// reasons explains why streams are not in the best schedule.
func (pl *Planner) reasons(streams []int) (out []schedule.Unplaced) {
	if len(streams) == 0 {
		return nil
	}
	st := pl.st
	if pl.best != nil {
		st = newState(pl.m)
		for i, at := range pl.best.at {
			if at != nil {
				st.commit(i, at)
			}
		}
	}
	for n, i := range streams {
		if no := pl.full[i]; no != nil {
			out = append(out, *no)
			continue
		}
		out = append(out, pl.explain(st, i, n < maxRemedies))
	}
	return out
}

// placements are placings in the words of package schedule, and the streams
// that have none.
func (pl *Planner) placements(at []*placing) (placed []schedule.Placement, out []int) {
	for i, a := range at {
		if a != nil {
			placed = append(placed, a.placement(i))
		} else {
			out = append(out, i)
		}
	}
	return placed, out
}

// placement is at in the words of package schedule.
func (at *placing) placement(i int) schedule.Placement {
	out := schedule.Placement{Stream: i, Route: at.lay.route}
	if len(at.runs) == 1 {
		out.Starts, out.Queues = at.runs[0].starts, at.runs[0].queues
		return out
	}
	for k, r := range at.runs {
		out.Instances = append(out.Instances, schedule.Instance{K: k, Starts: r.starts, Queues: r.queues})
	}
	return out
}

// orders are the sequences tried, each a list of keys, smaller first.
var orders = [][]func(s *schedule.Stream) int64{
	{rank, period, slack},
	{rank, slack, period},
	{rank, size, period},
}

func rank(s *schedule.Stream) int64   { return -int64(s.Rank) }
func seldom(s *schedule.Stream) int64 { return -s.Period }
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

// GCPercent is how lazy the garbage collector may be in a program that plans
// and ends: a search keeps little of what it allocates.
const GCPercent = 400
