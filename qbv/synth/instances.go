package synth

import "tsnswitch/qbv/schedule"

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
	first, last := releases(s)
	for k := range n {
		r, ok := pl.single(st, i, l, at.class, first+k*s.Period, last+k*s.Period)
		if ok {
			st.add(i, at, r)
			if s.Jitter > 0 { // the first start counts too: a listener may go by its clock
				first, last = max(first, r.starts[0]-k*s.Period-s.Jitter), min(last, r.starts[0]-k*s.Period+s.Jitter)
			}
		}
		if !ok || !at.even(s) {
			if len(at.runs) > 0 {
				st.remove(i)
			}
			return false
		}
	}
	return true
}

// single places a period that begins from first to last.
func (pl *Planner) single(st *state, i int, l *layout, class int32, first, last int64) (run, bool) {
	deadline := pl.m.p.Streams[i].Deadline
	r, blocked := st.run(l, class, first, last)
	if blocked < 0 || pl.o.Mode == NoWait {
		return r, blocked < 0
	}
	return st.waitingRun(l, class, first, last, deadline, l.strict <= deadline)
}

// even says that neither the latency of a listener nor when in the period a
// frame comes there varies by more than the stream's jitter.
func (at *placing) even(s *schedule.Stream) bool {
	if s.Jitter == 0 {
		return true
	}
	for h := range at.lay.hops {
		var latency, arrival spread
		for k, r := range at.runs {
			latency.add(r.starts[h]-r.starts[0], k)
			arrival.add(r.starts[h]-int64(k)*s.Period, k)
		}
		if at.lay.hops[h].listener && max(latency.most-latency.least, arrival.most-arrival.least) > s.Jitter {
			return false
		}
	}
	return true
}

type spread struct{ least, most int64 }

func (s *spread) add(v int64, k int) {
	if k == 0 {
		*s = spread{v, v}
	}
	s.least, s.most = min(s.least, v), max(s.most, v)
}

// relax places streams singly, or such that they are late only by the last
// ProcessingDelay, and keeps what comes of it if that is better. The state is as before
// then.
func (pl *Planner) relax(st *state, streams []int) {
	var done []int
	for _, i := range streams {
		if pl.any(st, i, func(l *layout) bool { return pl.singly(st, i, l) }) || pl.placeWithin(st, i, false) {
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
