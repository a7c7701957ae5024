package synth

// Streams that send at the same time in each of their periods can be in each
// other's way although there is room: two frames that take longer than the
// greatest common divisor of their periods always are. As a last resort the
// periods of such a stream are placed one by one.

// maxRuns bounds the periods of one stream in a hyperperiod.
const maxRuns = 1 << 10

// singly places each period of stream i for itself, without waiting if that
// succeeds.
func (pl *Planner) singly(st *state, i int, l *layout) bool {
	s := &pl.m.p.Streams[i]
	n := pl.m.cycle / s.Period
	if n < 2 || n > maxRuns {
		return false
	}
	at := &placing{lay: l, class: pl.m.classOf(pl.m.cycle)}
	for k := range n {
		r, ok := pl.single(st, i, l, at.class, k*s.Period)
		if ok {
			st.add(i, at, r)
		}
		if !ok || !at.even(s.Jitter) {
			if len(at.runs) > 0 {
				st.remove(i)
			}
			return false
		}
	}
	return true
}

// single places the period that begins at shift.
func (pl *Planner) single(st *state, i int, l *layout, class int32, shift int64) (run, bool) {
	s := &pl.m.p.Streams[i]
	first, last := releases(s)
	first, last = first+shift, last+shift
	r, blocked := st.run(l, class, first, last)
	if blocked < 0 || pl.o.Mode == NoWait {
		return r, blocked < 0
	}
	if r, found := st.waitingRun(l, class, first, last, s.Deadline, true); found || l.strict <= s.Deadline {
		return r, found
	}
	return st.waitingRun(l, class, first, last, s.Deadline, false)
}

// even says that the latency of no listener varies by more than jitter; 0: any does.
func (at *placing) even(jitter int64) bool {
	for h := range at.lay.hops {
		least, most := never, int64(0)
		for _, r := range at.runs {
			least, most = min(least, r.starts[h]-r.starts[0]), max(most, r.starts[h]-r.starts[0])
		}
		if jitter > 0 && at.lay.hops[h].listener && most-least > jitter {
			return false
		}
	}
	return true
}

// relax places streams singly, and keeps what comes of it if that is better. The state is
// as before then.
func (pl *Planner) relax(st *state, streams []int) {
	var done []int
	for _, i := range streams {
		if pl.any(st, i, func(l *layout) bool { return pl.singly(st, i, l) }) {
			done = append(done, i)
		}
	}
	if len(done) == 0 {
		return
	}
	pl.keep(st)
	for _, i := range done {
		st.remove(i)
	}
}
