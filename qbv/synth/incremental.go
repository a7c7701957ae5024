package synth

import (
	"fmt"
	"slices"

	"tsnswitch/qbv/gatelist"
	"tsnswitch/qbv/schedule"
)

// Refused says why a stream cannot be added. Nothing has changed then.
type Refused struct {
	ID int // of the stream
	schedule.Unplaced
	text string
}

func (e *Refused) Error() string { return e.text }

// Resume continues from a schedule that is running: what it places stays where
// it is. Run then places what it leaves out, beside that. The error is a fault
// of the problem, or of the schedule where it is none of this problem.
func Resume(p *schedule.Problem, running *schedule.Solution, o Options) (*Planner, error) {
	own := *p
	own.Streams = slices.Clone(p.Streams)
	pl, err := New(&own, o)
	if err != nil {
		return nil, err
	}
	pl.resumed = true
	for n := range running.Streams {
		at := &running.Streams[n]
		if at.Stream < 0 || at.Stream >= len(own.Streams) || pl.st.at[at.Stream] != nil {
			return nil, fmt.Errorf("stream index %d of the running schedule does not exist or is there twice", at.Stream)
		}
		if err := pl.adopt(at); err != nil {
			return nil, fmt.Errorf("stream %d of the running schedule: %w", own.Streams[at.Stream].ID, err)
		}
	}
	pl.todo = slices.DeleteFunc(pl.todo, func(i int) bool { return pl.st.at[i] != nil })
	return pl, nil
}

// adopt commits a placement if it is one.
func (pl *Planner) adopt(at *schedule.Placement) error {
	i := at.Stream
	if why := pl.m.p.RouteFault(&pl.m.p.Streams[i], at.Route); why != "" {
		return fmt.Errorf("its route %s", why)
	}
	out := &placing{lay: pl.m.lay(i, at.Route), class: pl.m.class[i], runs: []run{{at.Starts, at.Queues}}}
	if at.Instances != nil {
		out.class, out.runs = pl.m.classOf(pl.m.cycle), nil
		if int64(len(at.Instances)) != pl.m.cycle/pl.m.p.Streams[i].Period {
			return fmt.Errorf("%d instances in a cycle of %d ns", len(at.Instances), pl.m.cycle)
		}
		for _, x := range at.Instances {
			out.runs = append(out.runs, run{x.Starts, x.Queues})
		}
	}
	if err := pl.st.accepts(out); err != nil {
		out.lay.bare(pl.m) // somebody else's schedule may know better
		if err := pl.st.accepts(out); err != nil {
			return err
		}
	}
	if !pl.m.misfit[i] {
		pl.st.commit(i, out)
	}
	return nil
}

// accepts says whether a placing has its windows to itself.
func (st *state) accepts(at *placing) error {
	for _, r := range at.runs {
		if err := st.acceptsRun(at, r); err != nil {
			return err
		}
	}
	return nil
}

func (st *state) acceptsRun(at *placing, r run) (err error) {
	if len(r.starts) != len(at.lay.hops) || len(r.queues) != len(at.lay.hops) {
		return fmt.Errorf("%d starts and %d queues on %d links", len(r.starts), len(r.queues), len(at.lay.hops))
	}
	for h := range at.lay.hops {
		x := &at.lay.hops[h]
		if int(r.queues[h]) >= st.m.p.Links[x.link].Queues || max(r.starts[h], -r.starts[h]) > never>>8 {
			return fmt.Errorf("queue %d or start %d is out of range", r.queues[h], r.starts[h])
		}
		st.ports[x.link].windows.meets(st.m, at.class, r.starts[h]-x.lies, x.window, &st.units, func(other int32) {
			if other >= 0 {
				err = fmt.Errorf("meets stream %d on %s", st.m.p.Streams[other].ID, st.m.p.LinkName(x.link))
			} else {
				err = fmt.Errorf("is at the end of the cycle on %s", st.m.p.LinkName(x.link))
			}
		})
	}
	return err
}

// join places stream i beside what runs, if the gate control lists allow it.
func (pl *Planner) join(i int) {
	before := slices.Clone(pl.st.at)
	if !pl.fit(i, 0, before) {
		return
	}
	if no := pl.impossible(before); no != nil {
		no.Stream = i
		if pl.full == nil {
			pl.full = map[int]*schedule.Unplaced{}
		}
		pl.full[i] = no
		pl.st.remove(i)
	}
}

// Problem is what the planner plans now: streams added are in it, streams
// removed are not. It is the caller's.
func (pl *Planner) Problem() *schedule.Problem {
	p := *pl.m.p
	p.Streams = slices.Clone(p.Streams)
	return &p
}

// Add places one more stream, as the last of Problem, and moves no more than
// moveBudget others, whose IDs it returns, ascending. Otherwise nothing changes,
// and the error is a *schedule.Error if s is invalid, else *Refused.
func (pl *Planner) Add(s schedule.Stream, moveBudget int) (at schedule.Placement, moved []int, err error) {
	one := schedule.Problem{Nodes: pl.m.p.Nodes, Links: pl.m.p.Links, Streams: []schedule.Stream{s}}
	if err := one.Validate(); err != nil {
		return at, nil, err
	}
	if pl.index(s.ID) >= 0 {
		return at, nil, &schedule.Error{Where: fmt.Sprintf("stream %d", s.ID), Reason: "is there twice"}
	}
	before, cycle := slices.Clone(pl.st.at), pl.m.cycle
	i := pl.grow(s)
	var no *schedule.Unplaced
	if pl.fit(i, moveBudget, before) {
		if no = pl.impossible(before); no == nil {
			return pl.st.at[i].placement(i), pl.moved(before), nil
		}
		no.Stream = i
	}
	pl.undo(before)
	if no == nil {
		x := pl.explain(pl.st, i, true)
		no = &x
	}
	no.Blocking = slices.DeleteFunc(no.Blocking, func(j int) bool { return j == i })
	pl.shrink()
	pl.m.cycle = cycle
	return at, nil, pl.refuse(&s, *no)
}

// Remove takes a stream out and reports whether it was there. The last stream
// of Problem takes its index.
func (pl *Planner) Remove(id int) bool {
	i, last := pl.index(id), len(pl.m.p.Streams)-1
	if i < 0 {
		return false
	}
	if pl.st.at[i] != nil {
		pl.st.remove(i)
	}
	if at := pl.st.at[last]; i != last {
		if at != nil {
			pl.st.remove(last)
		}
		pl.m.p.Streams[i], pl.m.class[i], pl.m.misfit[i], pl.choices[i] = pl.m.p.Streams[last], pl.m.class[last], pl.m.misfit[last], pl.choices[last]
		pl.ids[pl.m.p.Streams[i].ID] = i
		if at != nil {
			pl.st.commit(i, at)
		}
	}
	delete(pl.ids, id)
	pl.shrink()
	pl.full, pl.todo = nil, pl.todo[:0]
	for i, at := range pl.st.at {
		if at == nil {
			pl.todo = append(pl.todo, i)
		}
	}
	return true
}

// index of a stream by its ID, or -1.
func (pl *Planner) index(id int) int {
	if pl.ids == nil {
		pl.ids = make(map[int]int, len(pl.m.p.Streams))
		for i := range pl.m.p.Streams {
			pl.ids[pl.m.p.Streams[i].ID] = i
		}
	}
	if i, ok := pl.ids[id]; ok {
		return i
	}
	return -1
}

// grow adds a stream that has no place yet.
func (pl *Planner) grow(s schedule.Stream) int {
	m, i := pl.m, len(pl.m.p.Streams)
	m.p.Streams = append(m.p.Streams, s)
	m.class = append(m.class, m.classOf(s.Period))
	old := m.cycle
	m.misfit = append(m.misfit, !m.include(s.Period))
	m.early = m.early || s.MinSize > 0 && s.MinSize < s.Size
	pl.choices = append(pl.choices, choice{})
	pl.st.at = append(pl.st.at, nil)
	pl.ids[s.ID] = i
	for j, at := range pl.st.at {
		if m.cycle > old && at != nil && len(at.runs) > 1 {
			pl.st.remove(j)
			pl.st.commit(j, at.repeated(old, m))
		}
	}
	return i
}

// repeated is at in a cycle that has become longer.
func (at *placing) repeated(old int64, m *model) *placing {
	out := &placing{lay: at.lay, class: m.classOf(m.cycle)}
	for shift := int64(0); shift < m.cycle; shift += old {
		for _, r := range at.runs {
			starts := slices.Clone(r.starts)
			for h := range starts {
				starts[h] += shift
			}
			out.runs = append(out.runs, run{starts, r.queues})
		}
	}
	return out
}

// shrink forgets the last stream, which has no place.
func (pl *Planner) shrink() {
	m, i := pl.m, len(pl.m.p.Streams)-1
	if id := m.p.Streams[i].ID; pl.ids[id] == i {
		delete(pl.ids, id)
	}
	m.p.Streams, m.class, m.misfit = m.p.Streams[:i], m.class[:i], m.misfit[:i]
	pl.choices, pl.st.at = pl.choices[:i], pl.st.at[:i]
}

// fit places stream i: beside the others, with moves, or as a last resort late
// by the last ProcessingDelay.
func (pl *Planner) fit(i, budget int, before []*placing) bool {
	if pl.place(pl.st, i) || budget > 0 && pl.makeRoom(i, budget) {
		return true
	}
	pl.undo(before)
	return pl.placeWithin(pl.st, i, false)
}

// makeRoom places stream i by moving others, no more than budget.
func (pl *Planner) makeRoom(i, budget int) bool {
	s := newSearch(pl)
	before := slices.Clone(pl.st.at)
	s.st, s.todo, s.spare = pl.st, []int{i}, func(victims []int) bool {
		n := 0
		for j, at := range before {
			if at != nil && (at != pl.st.at[j] || slices.Contains(victims, j)) {
				n++
			}
		}
		return n <= budget
	}
	for range 20 + 20*budget {
		n := s.next()
		j := s.todo[n]
		s.todo = slices.Delete(s.todo, n, n+1)
		if !pl.place(pl.st, j) && !s.eject(j) {
			return false
		}
		if len(s.todo) == 0 {
			return true
		}
	}
	return false
}

// moved lists the IDs of the streams that are elsewhere than before.
func (pl *Planner) moved(before []*placing) (out []int) {
	for j, at := range before {
		if at != nil && !at.same(pl.st.at[j]) {
			out = append(out, pl.m.p.Streams[j].ID)
		}
	}
	slices.Sort(out)
	return out
}

// same says whether two places are one: the route, the first starts, the queues.
func (at *placing) same(o *placing) bool {
	return at == o || slices.Equal(at.lay.route, o.lay.route) && slices.EqualFunc(at.runs, o.runs[:min(len(at.runs), len(o.runs))], func(a, b run) bool {
		return slices.Equal(a.starts, b.starts) && slices.Equal(a.queues, b.queues)
	})
}

// undo puts everything back where it was.
func (pl *Planner) undo(before []*placing) {
	for j, at := range pl.st.at {
		if at != nil && (j >= len(before) || before[j] != at) {
			pl.st.remove(j)
		}
	}
	for j, at := range before {
		if at != nil && pl.st.at[j] == nil {
			pl.st.commit(j, at)
		}
	}
}

// impossible says which gate control list has become impossible since before,
// nil if none has.
func (pl *Planner) impossible(before []*placing) (no *schedule.Unplaced) {
	if !pl.m.limited() {
		return nil
	}
	for id, touched := range pl.touched(before) {
		if !touched {
			continue
		}
		_, over, err := gatelist.BuildLink(pl.m.p, schedule.LinkID(id), pl.on(schedule.LinkID(id)))
		switch {
		case err != nil:
			return &schedule.Unplaced{Link: schedule.LinkID(id), Reason: err.Error()}
		case over != nil && no != nil:
			no.Remedy = "" // one longer list would not do
			return no
		case over != nil:
			no = &schedule.Unplaced{Link: schedule.LinkID(id), Blocking: over.Streams[max(len(over.Streams)-maxBlocking, 0):], Reason: over.Reason}
			if over.Entries > 0 {
				no.Remedy = fmt.Sprintf("with %d gate entries there it fits", over.Entries)
			}
		}
	}
	return no
}

// touched marks the links of streams that are elsewhere than before.
func (pl *Planner) touched(before []*placing) []bool {
	links := make([]bool, len(pl.m.p.Links))
	for j, at := range pl.st.at {
		if at != nil && (j >= len(before) || before[j] != at) {
			for _, id := range at.lay.route {
				links[id] = true
			}
		}
	}
	return links
}

// on lists the placements on a link.
func (pl *Planner) on(id schedule.LinkID) (out []schedule.Placement) {
	last := int32(-1)
	for _, it := range pl.st.ports[id].windows.items {
		if it.stream >= 0 && it.stream != last {
			out = append(out, pl.st.at[it.stream].placement(int(it.stream)))
		}
		last = it.stream
	}
	return out
}

// refuse makes the error of an explanation.
func (pl *Planner) refuse(s *schedule.Stream, no schedule.Unplaced) error {
	text := fmt.Sprintf("stream %d: ", s.ID)
	if no.Link >= 0 {
		text += pl.m.p.LinkName(no.Link) + ": "
	}
	text += no.Reason
	for n, j := range no.Blocking {
		if n == 0 {
			text += "; in the way: "
		} else {
			text += ", "
		}
		text += fmt.Sprint(pl.m.p.Streams[j].ID)
	}
	if no.Remedy != "" {
		text += "; " + no.Remedy
	}
	return &Refused{s.ID, no, text}
}
