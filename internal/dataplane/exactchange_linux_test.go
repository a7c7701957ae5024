package dataplane_test

import (
	"testing"

	tsn "tsnswitch"
	"tsnswitch/qbv"
)

// These tests change schedules while frames of all classes arrive faster than
// their gates let them go, and look at each frame that comes out.

// A reign is a list and the time, in the gate clock, from when it shall run.
// early is how many ns before that it may already.
type reign struct {
	from, early int64
	list        *tsn.GateControlList
	base        int64 // of the list, gate clock
}

func (r reign) open(at int64) tsn.GateMask {
	if r.list == nil {
		return allOpen
	}
	at = ((at-r.base)%r.list.CycleTime + r.list.CycleTime) % r.list.CycleTime
	for _, e := range r.list.Entries {
		if at -= e.Interval; at < 0 {
			return e.Gates
		}
	}
	return 0
}

const allOpen = tsn.GateMask(1<<tsn.NumClasses - 1)

// mayLeave is what may leave at a time under reigns that follow each other.
func mayLeave(rs []reign, at int64) (m tsn.GateMask) {
	for i, r := range rs {
		if at >= r.from-r.early && (i+1 == len(rs) || at < rs[i+1].from) {
			m |= r.open(at)
		}
	}
	return m
}

// An act is done at a time, in the gate clock.
type act struct {
	at int64
	do func()
}

// maxWait is what a frame may be late that no gate holds up: the test itself is
// busy for some microseconds when it sends a list.
const maxWait = 30_000

// feed sends a frame of every class each step from a time on, or from now, does the acts when they are due,
// and returns how many frames of each class it sent.
func (s *station) feed(t *testing.T, from, to, step int64, acts ...act) (sent [tsn.NumClasses]int) {
	t.Helper()
	s.due = s.due[:0]
	for at := max(from, tai(t)+step); at < to; at += step {
		for len(acts) > 0 && acts[0].at <= at {
			sleepUntil(t, acts[0].at)
			acts[0].do()
			acts = acts[1:]
		}
		sleepUntil(t, at)
		s.due = append(s.due, at)
		for c := range sent {
			s.send(t, tsn.TrafficClass(c), 64)
			sent[c]++
		}
	}
	return sent
}

// judge fails the test for each class of which a frame left while its gate was
// shut, or not all came, and for frames of the control class that waited.
func (s *station) judge(t *testing.T, name string, sent [tsn.NumClasses]int, rs []reign) {
	t.Helper()
	var came, outside [tsn.NumClasses]int
	var worst [tsn.NumClasses]int64
	wait := int64(0)
	for _, a := range arrivals(t, s.rx) {
		if a.n == byte(tsn.ClassControl) && came[a.n] < len(s.due) {
			wait = max(wait, a.at-s.due[came[a.n]])
		}
		came[a.n]++
		if !mayLeave(rs, a.at).Has(tsn.TrafficClass(a.n)) {
			outside[a.n]++
			worst[a.n] = a.at - rs[0].base
		}
	}
	t.Logf("%s: %v frames, %v of them outside their windows; always open: at most %d ns late", name, came, outside, wait)
	if wait > maxWait {
		t.Errorf("%s: a frame of a class that is always open waited %d ns", name, wait)
	}
	if came != sent {
		t.Errorf("%s: %v frames came of %v", name, came, sent)
	}
	for c, n := range outside {
		if n > 0 {
			t.Errorf("%s: %d frames of class %d left while its gate was shut, the last %d ns after the first list's base", name, n, c, worst[c])
		}
	}
}

// least is how early the kernel changes schedules.
func (s *station) least() int64 { return s.k.GateLimits(s.egress.Port).MinInterval }

// windows makes a list for software taprio of windows that each open one class
// (or both SR classes), in tenths of the cycle; control may leave at any time.
func (s *station) windows(cycle int64, tenths ...int64) *tsn.GateControlList {
	list := &tsn.GateControlList{CycleTime: cycle}
	for i, g := range []tsn.GateMask{1 << tsn.ClassScheduled, 1<<tsn.ClassSRA | 1<<tsn.ClassSRB, 1 << tsn.ClassBestEffort} {
		list.Entries = append(list.Entries, tsn.GateEntry{Gates: g | 1<<tsn.ClassControl, Interval: cycle / 10 * tenths[i]})
	}
	return qbv.ForSoftwareTaprio(list, s.least())
}

// commit wants list from base on, without waiting for it.
func (s *station) commit(t *testing.T, list *tsn.GateControlList, base int64) {
	t.Helper()
	if list != nil {
		l := *list
		l.BaseTime.NS = base + gptpAhead
		list = &l
	}
	s.egress.Gates = list
	s.set(t)
}

// 802.1Q 8.6.9.3: lists of other cycles follow each other while frames flow.
// Each frame leaves in a window of its time, and those of a class that is always
// open do not wait.
func testReplaceLive(t *testing.T) {
	for _, at := range []func(*testing.T) *station{newStation, newTransit} {
		s := at(t)
		cycles := []int64{1_000_000, 100_000, 3_000_000, 200_000, 100_000, 1_000_000}
		const each = 12_000_000 // a whole number of all of them
		base := s.start(t, *s.windows(cycles[0], 2, 3, 5))
		reigns := []reign{{from: base, list: s.egress.Gates, base: base}}
		var acts []act
		for i, cycle := range cycles[1:] {
			from, list := base+int64(i+1)*each, s.windows(cycle, int64(i)%4+1, 3, 6-int64(i)%4)
			reigns = append(reigns, reign{from: from, early: s.least(), list: list, base: from})
			acts = append(acts, act{from - each + 1_234_567 + 77_777*int64(i), func() { s.commit(t, list, from) }})
		}
		end := base + int64(len(cycles))*each
		sent := s.feed(t, base, end, 9_973, acts...)
		sleepUntil(t, end+each)
		s.judge(t, "six lists", sent, reigns)
	}
}

// 802.1Q 8.6.9.3: a list that waits for its base time is replaced, and taken
// back. Whenever that is, frames leave in the windows of what runs.
func testReplacePending(t *testing.T) {
	for _, at := range []func(*testing.T) *station{newStation, newTransit} {
		replacePending(t, at)
	}
}

func replacePending(t *testing.T, at func(*testing.T) *station) {
	const cycle = 1_000_000
	for _, c := range []struct {
		name string
		at   int64 // when the second change is sent, before the first's base time
		next int64 // base of the second list after that of the first; 0: it is taken back
		same bool  // the second list is the first again
	}{
		{"taken back", 3*cycle + 123_456, 0, false},
		{"taken back in the last cycle", 123_456, 0, false},
		{"replaced by a later one", 3*cycle + 323_456, 2 * cycle, false},
		{"replaced by an earlier one", 4*cycle + 623_456, -2 * cycle, false},
		{"put off", 2*cycle + 523_456, 3 * cycle, true},
		{"brought forward", 5*cycle + 523_456, -3 * cycle, true},
	} {
		s := at(t)
		a, b, next := s.windows(cycle, 2, 3, 5), s.windows(cycle, 5, 2, 3), s.windows(cycle, 3, 5, 2)
		early := s.least()
		base := s.start(t, *a)
		first := base + 10*cycle
		reigns := []reign{{from: base, list: a, base: base}}
		if c.same {
			next = b
		}
		second := func() { s.commit(t, a, base) }
		if c.next != 0 {
			reigns = append(reigns, reign{from: first + c.next, early: early, list: next, base: first + c.next})
			second = func() { s.commit(t, next, first+c.next) }
		}
		sent := s.feed(t, base, base+16*cycle, 4_999,
			act{base + 2*cycle + 345_678, func() { s.commit(t, b, first) }}, act{first - c.at, second})
		sleepUntil(t, base+20*cycle)
		s.judge(t, c.name, sent, reigns)
		if e := read(t, s.k).EgressOf(s.egress.Port); e.Admin != nil {
			t.Errorf("%s: %v still waits", c.name, e.Admin)
		}
	}
}

// A list that has just begun, one guard entry early, when it shall be taken
// back runs until the one before can begin again.
func testTakeBackLate(t *testing.T) {
	const cycle = 1_000_000
	s := newStation(t)
	early := s.least()
	a, b := s.windows(cycle, 2, 3, 5), s.windows(cycle, 5, 2, 3)
	base := s.start(t, *a)
	first, back := base+10*cycle, base+13*cycle
	sent := s.feed(t, base, base+16*cycle, 4_999,
		act{base + 2*cycle, func() { s.commit(t, b, first) }}, act{first - early/2, func() { s.commit(t, a, back) }})
	sleepUntil(t, base+20*cycle)
	s.judge(t, "taken back too late", sent, []reign{
		{from: base, list: a, base: base}, {from: first, early: early, list: b, base: first}, {from: back, early: early, list: a, base: base},
	})
}

// In real time, before, during and after a change of schedules: frames are late
// by what holds this machine up between the gate and the stamp, which is told.
// That few are is checked; without gates most would be outside.
func testWindows(t *testing.T) {
	const cycle, cycles = 10_000_000, 40
	s := newStation(t)
	base := s.start(t, *s.windows(cycle, 2, 3, 5))
	other := s.windows(cycle, 5, 2, 3)
	change := base + lead
	reigns := []reign{{from: base, list: s.egress.Gates, base: base}, {from: change, early: s.least(), list: other, base: change}}
	s.feed(t, change-cycles*cycle, change+cycles*cycle, 310_000, act{change - cycles*cycle, func() { s.commit(t, other, change) }})
	sleepUntil(t, change+(cycles+3)*cycle)
	late := map[int64]int{}
	all, most := 0, 0
	for _, a := range arrivals(t, s.rx) {
		all++
		for _, by := range []int64{0, 20_000, 100_000, 1_000_000, cycle} {
			if mayLeave(reigns, a.at-by).Has(tsn.TrafficClass(a.n)) {
				late[by]++
				if by <= 100_000 {
					most++
				}
				break
			}
		}
	}
	t.Logf("%d frames: in their windows %d, up to 20 us after them %d, 100 us %d, 1 ms %d, later %d", all, late[0], late[20_000], late[100_000], late[1_000_000], late[cycle])
	if all == 0 || most*100 < all*98 {
		t.Errorf("%d of %d frames left within 100 us of their windows", most, all)
	}
}
