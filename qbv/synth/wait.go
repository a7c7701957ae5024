package synth

import (
	tsn "tsnswitch"
	"tsnswitch/qbv/schedule"
)

// waiter searches places in which frames wait in bridges. For each hop, in the
// order of the route, it tries one free time of the link and of a queue after
// the other. Such a choice leaves an interval for the start; what the intervals
// so far allow for the first start bounds the latency, and cuts the search.
type waiter struct {
	st          *state
	l           *layout
	class       int32
	limit       int64 // for the latency
	strict      bool  // counting the last ProcessingDelay
	first, last int64
	steps       int64      // left
	hops        []choiceAt // parallel to l.hops
	failed      [][]dead   // of each hop; nil: the route is no path
}

// dead is what a hop was begun with in vain.
type dead struct {
	lo, hi int64 // of the hop before
	latest int64
}

// maxDead bounds what is remembered for a hop.
const maxDead = 64

// choiceAt is what is chosen for a hop.
type choiceAt struct {
	lo, hi int64 // when the start may be
	queue  tsn.TrafficClass
}

// waitSteps bounds one search.
const waitSteps = 1000

// waiting finds a place for stream i on l in which frames may wait, with a
// latency of at most limit, counting the last ProcessingDelay or not.
func (st *state) waiting(i int, l *layout, limit int64, strict bool) *placing {
	first, last := releases(&st.m.p.Streams[i])
	r, found := st.waitingRun(l, st.m.class[i], first, last, limit, strict)
	if !found {
		return nil
	}
	return &placing{l, st.m.class[i], []run{r}}
}

// waitingRun does that for starts from first to last that repeat with a class.
func (st *state) waitingRun(l *layout, class int32, first, last, limit int64, strict bool) (r run, found bool) {
	w := &st.wait
	*w = waiter{
		st: st, l: l, class: class, limit: limit, strict: strict, first: first, last: last,
		steps: waitSteps, hops: append(w.hops[:0], make([]choiceAt, len(l.hops))...),
	}
	if l.path() {
		w.failed = make([][]dead, len(l.hops))
	}
	found = w.hop(0, last, &r)
	st.units += waitSteps - w.steps
	return r, found
}

// beyond is the latency that remains of the no-wait one at and behind a hop.
func (w *waiter) beyond(x *hop) int64 {
	if w.strict {
		return x.strictly
	}
	return x.beyond
}

// hop tries all choices for hop h and those behind it. The first start is at
// most latest.
func (w *waiter) hop(h int, latest int64, out *run) bool {
	if h == len(w.l.hops) {
		return w.settle(out)
	}
	if !w.st.admits(&w.l.hops[h], w.class) || w.hopeless(h, latest) {
		return false
	}
	scheduled, fresh := w.st.queues(w.l.hops[h].link), false
	queues := w.st.residences(w.l.hops[h].link)
	for q := len(queues) - 1; q >= 0; q-- {
		if !scheduled.Has(tsn.TrafficClass(q)) || fresh && len(queues[q].items) == 0 {
			continue // one empty queue is like another
		}
		fresh = fresh || len(queues[q].items) == 0
		if w.queue(h, &queues[q], tsn.TrafficClass(q), latest, out) {
			return true
		}
	}
	if w.failed != nil && h > 0 && len(w.failed[h]) < maxDead {
		w.failed[h] = append(w.failed[h], dead{w.hops[h-1].lo, w.hops[h-1].hi, latest})
	}
	return false
}

// hopeless says that hop h failed before with as much freedom: on a path all
// that follows depends on when the hop before may start, and the first.
func (w *waiter) hopeless(h int, latest int64) bool {
	if w.failed == nil || h == 0 {
		return false
	}
	up := &w.hops[h-1]
	for _, f := range w.failed[h] {
		if up.lo >= f.lo && up.hi <= f.hi && latest <= f.latest {
			return true
		}
	}
	return false
}

// queue tries the free times of a link and one of its queues.
func (w *waiter) queue(h int, queue *timeline, q tsn.TrafficClass, latest int64, out *run) bool {
	x, m := &w.l.hops[h], w.st.m
	at, until := w.first, w.last // arrival: earliest; latest
	var up *choiceAt
	if x.parent >= 0 {
		up = &w.hops[x.parent]
		step := w.l.hops[x.parent].step
		at, until = up.lo+step, up.hi+step
	}
	for t := at; w.steps > 0; {
		w.steps--
		later, room := w.st.ports[x.link].windows.wait(m, w.class, t-x.lies, x.window, &w.st.units)
		if t += later; later >= never || !w.worth(x, t, min(latest, t+room-x.start)) {
			return false
		}
		if t > until && !w.st.mayWait(x.link) {
			return false
		}
		arrival := min(until, t)
		later, beside := queue.wait(m, w.class, arrival-x.lead, t-x.lies+x.window-(arrival-x.lead), &w.st.units)
		switch {
		case later > 0 && (later >= never || arrival+later > until):
			return false // it would be there for longer, and is not free as it is
		case later > 0:
			t += later
			continue
		}
		room = min(room, beside)
		w.hops[h] = choiceAt{t, min(t+room, t+never/4), q}
		if x.parent < 0 || !w.st.mayWait(x.link) {
			w.hops[h].hi = min(w.hops[h].hi, until)
		}
		if w.below(h, queue, up, arrival, min(latest, w.hops[h].hi-x.start), out) {
			return true
		}
		t += room + 1
		if room >= never/4 {
			return false
		}
	}
	return false
}

// worth says whether a start t of hop x can be part of a place at all.
func (w *waiter) worth(x *hop, t, latest int64) bool {
	if x.parent < 0 && t > w.last {
		return false
	}
	return t-latest-x.start+w.beyond(x) <= w.limit
}

// below goes on behind a choice for hop h. Its queue is free before arrival for
// so long, the hop before must not start earlier than that allows.
func (w *waiter) below(h int, queue *timeline, up *choiceAt, arrival, latest int64, out *run) bool {
	x := &w.l.hops[h]
	if up == nil {
		return w.hop(h+1, latest, out)
	}
	old := up.lo
	free := int64(0)
	if w.st.mayWait(x.link) {
		free = queue.before(w.st.m, w.class, arrival-x.lead, &w.st.units)
	}
	up.lo = max(up.lo, arrival-free-w.l.hops[x.parent].step)
	found := w.hop(h+1, latest, out)
	up.lo = old
	return found
}

// settle picks starts within the choices: the last ones as early as they can
// be, all others as late as these allow.
func (w *waiter) settle(out *run) bool {
	hops := w.l.hops
	early, late := make([]int64, len(hops)), make([]int64, len(hops))
	r := run{late, make([]tsn.TrafficClass, len(hops))}
	for h := range hops {
		early[h] = w.hops[h].lo
		if x := &hops[h]; x.parent >= 0 {
			early[h] = max(early[h], early[x.parent]+hops[x.parent].step)
		}
		late[h], r.queues[h] = never, w.hops[h].queue
	}
	for h := len(hops) - 1; h >= 0; h-- {
		if late[h] == never {
			late[h] = early[h]
		}
		late[h] = min(late[h], w.hops[h].hi)
		if late[h] < early[h] {
			return false
		}
		if x := &hops[h]; x.parent >= 0 {
			late[x.parent] = min(late[x.parent], late[h]-hops[x.parent].step)
		}
	}
	if !w.holds(&r) {
		return false
	}
	*out = r
	return true
}

// holds checks what choices hop by hop cannot: streams from several ports of
// the talker, listeners on the way, and frames that meet those of the next period.
func (w *waiter) holds(r *run) bool {
	m := w.st.m
	pl := placing{w.l, w.class, []run{*r}}
	for h := range w.l.hops {
		x := &w.l.hops[h]
		from, to := pl.resides(m, 0, h)
		latency := r.starts[h] - r.starts[0] + x.tail
		if w.strict {
			latency += x.proc
		}
		if to-from > m.periods[w.class] || x.parent < 0 && r.starts[h] != r.starts[0] || x.listener && latency > w.limit {
			return false
		}
	}
	return true
}

// mayWait says whether frames may wait at a link.
func (st *state) mayWait(id schedule.LinkID) bool {
	return st.m.limits == nil || !st.m.limits[id].plain
}
