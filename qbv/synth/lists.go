package synth

import (
	"cmp"
	"slices"

	"tsnswitch/qbv/gatelist"
	"tsnswitch/qbv/schedule"
)

// Limits of gate control lists are met by trial: the lists of a schedule are
// built, and links where that fails get a limit of their own before all is
// placed anew.

// limits is what a link must keep beside the rules. The zero value is none.
type limits struct {
	free    int64 // time at the end of each cycle that is left for control traffic
	plain   bool  // one queue, and no frame waits
	windows int64 // at most in the time often; 0: any number
}

// repairs bounds how often all is placed anew.
const repairs = 6

// limited says that a list of some link can be impossible at all.
func (m *model) limited() bool {
	return slices.ContainsFunc(m.p.Links, func(l schedule.Link) bool {
		return l.MaxEntries > 0 || l.MinInterval > 1 || l.ControlOctets > 0 || l.Software
	})
}

// build makes the gate control lists of placements. Whatever stands against
// the list of a link is an overflow.
func (m *model) build(placed []schedule.Placement) ([]schedule.LinkGates, []gatelist.Overflow) {
	lists, over, err := gatelist.Build(m.p, placed)
	if err == nil {
		return lists, over
	}
	lists, over = nil, nil
	users := make([][]int, len(m.p.Links))
	for _, at := range placed {
		for _, id := range at.Route {
			users[id] = append(users[id], at.Stream)
		}
	}
	for id, streams := range users {
		if len(streams) == 0 {
			continue
		}
		list, o, err := gatelist.BuildLink(m.p, schedule.LinkID(id), placed)
		switch {
		case err != nil:
			over = append(over, gatelist.Overflow{Link: schedule.LinkID(id), Streams: streams, Reason: err.Error()})
		case o != nil:
			over = append(over, *o)
		default:
			lists = append(lists, list)
		}
	}
	return lists, over
}

// repair limits the links whose lists overflow with the best schedule, and
// begins anew. It reports whether there is anything to do.
func (pl *Planner) repair() bool {
	if pl.repaired > repairs || !pl.m.limited() {
		return false
	}
	placed, _ := pl.placements(pl.best.at)
	_, over := pl.m.build(placed)
	if len(over) > 0 {
		placed, over = pl.requeue(placed, over)
	}
	if pl.repaired == repairs || len(over) == 0 {
		pl.repaired = repairs + 1
		pl.refill()
		return false
	}
	pl.repaired++
	for i := range over {
		pl.m.tighten(&over[i], placed)
	}
	pl.spent += pl.st.units
	pl.best, pl.search = nil, nil
	pl.begin(0)
	return true
}

// requeue gives frames of the best schedule other queues where that makes
// lists possible, and returns what then is placed and impossible.
func (pl *Planner) requeue(placed []schedule.Placement, over []gatelist.Overflow) ([]schedule.Placement, []gatelist.Overflow) {
	changed := false
	for _, o := range over {
		other, better, err := gatelist.Requeue(pl.m.p, o.Link, placed)
		if err == nil && better {
			placed, changed = other, true
		}
	}
	if !changed {
		return placed, over
	}
	at := slices.Clone(pl.best.at)
	for _, p := range placed {
		own := *at[p.Stream]
		own.runs = []run{{p.Starts, p.Queues}}
		if p.Instances != nil {
			own.runs = nil
		}
		for _, x := range p.Instances {
			own.runs = append(own.runs, run{x.Starts, x.Queues})
		}
		at[p.Stream] = &own
	}
	pl.best = &found{at: at, score: pl.best.score}
	pl.rebuild(at)
	_, over = pl.m.build(placed)
	return placed, over
}

// refill takes out of the best schedule what makes lists impossible, and tries
// all that is left out once more, without limits on the number of windows:
// those were a guess, and the lists themselves have the last word.
func (pl *Planner) refill() {
	if pl.m.limits == nil {
		return
	}
	for i := range pl.m.limits {
		pl.m.limits[i].windows = 0
	}
	s := &schedule.Solution{}
	s.Streams, _ = pl.placements(pl.best.at)
	at := slices.Clone(pl.best.at)
	for _, no := range pl.settle(s) {
		at[no.Stream] = nil
	}
	st := pl.rebuild(at)
	pl.full = map[int]*schedule.Unplaced{}
	for _, i := range pl.m.sorted([]func(s *schedule.Stream) int64{rank, seldom}) {
		if at[i] != nil {
			continue
		}
		before := slices.Clone(st.at)
		if !pl.place(st, i) {
			continue
		}
		if no := pl.impossible(before); no != nil {
			no.Stream, pl.full[i] = i, no
			st.remove(i)
		}
	}
	pl.best = &found{at: slices.Clone(st.at), score: pl.score(st.at)}
}

// tighten limits a link more than before: first it has one queue and room for
// control, then less windows.
func (m *model) tighten(o *gatelist.Overflow, placed []schedule.Placement) {
	if m.limits == nil {
		m.limits = make([]limits, len(m.p.Links))
	}
	x, l := &m.limits[o.Link], &m.p.Links[o.Link]
	if !x.plain {
		x.plain = true
		if l.ControlOctets > 0 {
			least := max(l.MinInterval, 1)
			x.free = max(l.Rate.TransmitTime(l.ControlOctets), least) + max(l.Rate.TransmitTime(l.Guard(l.Control)), least)
		}
		return
	}
	windows := int64(0)
	for _, at := range placed {
		if slices.Contains(at.Route, o.Link) {
			windows += often / m.p.Streams[at.Stream].Period
		}
	}
	x.windows = max(windows-1, 1)
	if o.Entries > 0 {
		x.windows = max(windows/int64(o.Entries)*int64(o.Limit), 1)
	}
}

// lesser says which of two streams yields to make a list shorter: the one of
// lower rank, of equals the one with more windows.
func (m *model) lesser(i, j int) bool {
	a, b := &m.p.Streams[i], &m.p.Streams[j]
	return cmp.Or(cmp.Compare(a.Rank, b.Rank), cmp.Compare(a.Period, b.Period), cmp.Compare(j, i)) < 0
}

// settle builds the lists of placements and takes streams out, the lesser
// first, until all are possible. It returns why the ones taken out are.
func (pl *Planner) settle(s *schedule.Solution) (out []schedule.Unplaced) {
	for {
		lists, over := pl.m.build(s.Streams)
		if len(over) == 0 {
			s.Gates = lists
			return out
		}
		for _, o := range over {
			out = append(out, pl.takeOut(s, &o)...)
		}
	}
}

func (pl *Planner) takeOut(s *schedule.Solution, o *gatelist.Overflow) []schedule.Unplaced {
	worst := -1
	for _, i := range o.Streams {
		if worst < 0 || pl.m.lesser(i, worst) {
			worst = i
		}
	}
	n := slices.IndexFunc(s.Streams, func(at schedule.Placement) bool { return at.Stream == worst })
	if n < 0 {
		return nil // another overflow took it
	}
	s.Streams = slices.Delete(s.Streams, n, n+1)
	no := schedule.Unplaced{Stream: worst, Link: o.Link, Reason: "would make an impossible gate control list: " + o.Reason}
	for _, i := range o.Streams {
		if i != worst && len(no.Blocking) < maxBlocking {
			no.Blocking = append(no.Blocking, i)
		}
	}
	return []schedule.Unplaced{no}
}
