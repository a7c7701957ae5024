package synth

// Streams that send at the same time in each of their periods can be in each
// other's way although there is room: two frames that take longer than the
// greatest common divisor of their periods always are. As a last resort the
// periods of such a stream are placed one by one.

// maxRuns bounds the periods of one stream in a hyperperiod.
const maxRuns = 1 << 10

// singly places each period of stream i for itself, never waiting.
func (st *state) singly(i int, l *layout) bool {
	s := &st.m.p.Streams[i]
	n := st.m.cycle / s.Period
	if n < 2 || n > maxRuns {
		return false
	}
	first, last := releases(s)
	class := st.m.classOf(st.m.cycle)
	at := &placing{lay: l, class: class}
	for k := range n {
		r, blocked := st.run(l, class, first+k*s.Period, last+k*s.Period)
		if blocked >= 0 {
			if k > 0 {
				st.remove(i)
			}
			return false
		}
		st.add(i, at, r)
	}
	return true
}

// relax places streams singly, and keeps what comes of it if that is better. The state is
// as before then.
func (pl *Planner) relax(st *state, streams []int) {
	var done []int
	for _, i := range streams {
		for n := 0; ; n++ {
			l := pl.layout(st, i, n)
			if l == nil {
				break
			}
			if st.singly(i, l) {
				done = append(done, i)
				break
			}
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
