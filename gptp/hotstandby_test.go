package gptp

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"

	tsn "tsnswitch"
)

// standby is a chain of five: the first gives the primary domain 0, the last
// the secondary domain 20.
type standby struct {
	*sim
	n         []*simNode
	reference tsn.ClockRelation // the primary grand master's time, dead or alive,
	at        func() tsn.LocalTime
}

func newStandby(t testing.TB, elected bool) *standby {
	return newStandbyOf(t, elected, (*simNode).hardware)
}

func newStandbyOf(t testing.TB, elected bool, stamps func(*simNode) *simNode) *standby {
	s := newSim(t, 21)
	n := s.chain(5, func(i int, c *Config) {
		softThreshold(i, c)
		c.HotStandby = &HotStandbyConfig{Primary: 0, Secondary: 20}
		if elected {
			c.Domains = []DomainConfig{{Domain: 0, Priority1: uint8(100 + i)}, {Domain: 20, Priority1: uint8(104 - i)}}
			return
		}
		towards, away := map[tsn.Port]PortState{1: SlavePort, 2: MasterPort}, map[tsn.Port]PortState{1: MasterPort, 2: SlavePort}
		switch i {
		case 0:
			towards = map[tsn.Port]PortState{2: MasterPort}
		case 4:
			away = map[tsn.Port]PortState{1: MasterPort}
		}
		c.Domains = []DomainConfig{
			{Domain: 0, ExternalPortConfiguration: true, DesiredStates: towards},
			{Domain: 20, ExternalPortConfiguration: true, DesiredStates: away},
		}
	})
	for i, x := range n {
		stamps(x).clock(int64(i)*1_000_003_017, []float64{30, -50, 80, -20, 55}[i])
	}
	h := &standby{sim: s, n: n}
	h.refer(n[0])
	return h
}

// refer makes a node's time of now the one that errors are measured against.
func (h *standby) refer(x *simNode) {
	offset, ppm := x.offset, x.ppm
	h.reference = x.sys.standby.target
	h.at = func() tsn.LocalTime { return tsn.LocalTime(offset + h.now + int64(float64(h.now)*ppm*1e-6)) }
}

func (h *standby) error(x *simNode) int64 {
	return x.sys.standby.target.At(x.at(h.now)).NS - h.reference.At(h.at()).NS
}

// watch runs for ns and returns the largest step of any of the nodes' time
// between two looks a millisecond apart, and the largest error.
func (h *standby) watch(ns int64, nodes ...*simNode) (step, largest int64) {
	last := make([]int64, len(nodes))
	for i, x := range nodes {
		last[i] = h.error(x)
	}
	for end := h.now + ns; h.now < end; {
		h.run(millisecond)
		for i, x := range nodes {
			e := h.error(x)
			step, largest = max(step, e-last[i], last[i]-e), max(largest, e, -e)
			last[i] = e
		}
	}
	return step, largest
}

// are reports whether all nodes are in a state and take their time from a domain.
func are(s HotStandbyState, active uint8, nodes ...*simNode) func() bool {
	return func() bool {
		return !slices.ContainsFunc(nodes, func(x *simNode) bool {
			st := x.sys.Status().HotStandby
			return st.State != s || st.Active != active
		})
	}
}

// reborn gives a node that died another life, with another clock.
func (x *simNode) reborn(offset int64, ppm float64) {
	x.dead = false
	x.restart(offset, ppm)
}

func (h *standby) wantStatus() {
	h.t.Helper()
	for _, x := range h.n {
		h.t.Logf("%s: %+v", x.name, *x.sys.Status().HotStandby)
	}
}

// 802.1ASdm: the primary grand master dies, nobody's time steps; it comes back
// with another clock, takes the time that went on without it, and again nobody's
// time steps.
func TestHotStandbyPrimaryLost(t *testing.T) {
	for _, elected := range []bool{false, true} {
		t.Run(fmt.Sprint("elected ", elected), func(t *testing.T) {
			h := newStandby(t, elected)
			ready := h.until(20*second, are(HotStandbyRedundant, 0, h.n...))
			h.run(20 * second)
			h.refer(h.n[0])
			step, off := h.watch(5*second, h.n...)
			t.Logf("redundant after %d ms; undisturbed: step %d ns, error %d ns", ready/millisecond, step, off)
			if step > 500 || off > microsecond {
				t.Errorf("undisturbed: step %d ns, error %d ns", step, off)
			}

			h.n[0].dead = true
			rest := h.n[1:]
			step, off = h.watch(10*second, rest...)
			t.Logf("primary lost: step %d ns, error %d ns within 10 s", step, off)
			if step > microsecond || off > 2*microsecond {
				t.Errorf("primary lost: step %d ns, error %d ns", step, off)
			}
			if !elected && !are(HotStandbyNotRedundant, 20, rest...)() {
				h.wantStatus()
				t.Fatal("not on the secondary")
			}
			if st := h.n[4].sys.Instance(20).Status(); !elected {
				want := ((1+30e-6)/(1+55e-6) - 1) * 1e9
				if e := st.Relation.RatePPB - want; st.State != TimeHoldover || math.Abs(e) > 100 {
					t.Errorf("secondary grand master: %v, rate off by %.0f ppb", st.State, e)
				}
			}

			h.n[0].reborn(77*second, -45)
			step, _ = h.watch(30*second, rest...)
			t.Logf("primary back: step %d ns", step)
			if step > microsecond {
				t.Errorf("primary back: step %d ns", step)
			}
			if !are(HotStandbyRedundant, 0, h.n...)() {
				h.wantStatus()
				t.Fatal("not redundant again")
			}
			for _, x := range h.n {
				if e := h.error(x) - h.error(h.n[0]); e > microsecond || e < -microsecond {
					t.Errorf("%s is %d ns off the primary", x.name, e)
				}
			}
		})
	}
}

// The secondary grand master dies and comes back: nobody's time notices.
func TestHotStandbySecondaryLost(t *testing.T) {
	for _, elected := range []bool{false, true} {
		t.Run(fmt.Sprint("elected ", elected), func(t *testing.T) {
			h := newStandby(t, elected)
			h.until(20*second, are(HotStandbyRedundant, 0, h.n...))
			h.run(10 * second)
			h.refer(h.n[0])
			h.n[4].dead = true
			step, off := h.watch(10*second, h.n[:4]...)
			if step > 500 || off > microsecond {
				t.Errorf("lost: step %d ns, error %d ns", step, off)
			}
			if !elected && !are(HotStandbyNotRedundant, 0, h.n[:4]...)() {
				h.wantStatus()
				t.Fatal("redundant with one grand master")
			}
			h.n[4].reborn(99*second, 10)
			step, off = h.watch(20*second, h.n[:4]...)
			if step > 500 || off > microsecond {
				t.Errorf("back: step %d ns, error %d ns", step, off)
			}
			if !are(HotStandbyRedundant, 0, h.n...)() {
				h.wantStatus()
				t.Fatal("not redundant again")
			}
		})
	}
}

// Both grand masters die: the time goes on at the rate it had. One comes back:
// it is followed again.
func TestHotStandbyBothLost(t *testing.T) {
	h := newStandby(t, false)
	h.until(20*second, are(HotStandbyRedundant, 0, h.n...))
	h.run(20 * second)
	h.refer(h.n[0])
	h.n[0].dead, h.n[4].dead = true, true
	rest := h.n[1:4]
	step, off := h.watch(10*second, rest...)
	t.Logf("holdover: step %d ns, error %d ns within 10 s", step, off)
	if step > microsecond || off > microsecond {
		t.Errorf("holdover: step %d ns, error %d ns", step, off)
	}
	for _, x := range rest {
		st := x.sys.Status()
		last := x.relation[len(x.relation)-1]
		if st.HotStandby.State != HotStandbyOutOfSync || st.Target().State != TimeHoldover || last.Synced {
			t.Fatalf("%s: %+v %+v", x.name, st.HotStandby, last)
		}
	}
	h.n[0].reborn(5*second, 12)
	h.until(20*second, are(HotStandbyNotRedundant, 0, rest...))
	h.run(10 * second)
	for _, x := range rest {
		e := x.sys.standby.target.At(x.at(h.now)).NS - h.n[0].sys.standby.target.At(h.n[0].at(h.now)).NS
		if e > microsecond || e < -microsecond {
			t.Errorf("%s is %d ns off", x.name, e)
		}
	}
}

// Software stamps are no reason to step either: what is seen of the loss, and
// of the return, is no more than what the stamps do anyway.
func TestHotStandbySoftwareStamps(t *testing.T) {
	h := newStandbyOf(t, false, (*simNode).software)
	h.until(60*second, are(HotStandbyRedundant, 0, h.n...))
	h.run(30 * second)
	h.refer(h.n[0])
	usual, off := h.watch(60*second, h.n...)
	t.Logf("undisturbed: step %d ns, error %d ns", usual, off)
	h.n[0].dead = true
	lost, off := h.watch(10*second, h.n[1:]...)
	t.Logf("primary lost: step %d ns, error %d ns within 10 s", lost, off)
	h.n[0].reborn(77*second, -45)
	back, _ := h.watch(60*second, h.n[1:]...)
	t.Logf("primary back: step %d ns", back)
	if limit := usual + microsecond; lost > limit || back > limit {
		t.Errorf("steps of %d and %d ns, usual %d", lost, back, usual)
	}
	if !are(HotStandbyRedundant, 0, h.n...)() {
		h.wantStatus()
		t.Error("not redundant again")
	}
}

// The network falls apart between the grand masters: each half goes on, and
// when it is whole again they find together without a step, although by then
// their times are microseconds apart.
func TestHotStandbyPartition(t *testing.T) {
	for _, elected := range []bool{false, true} {
		t.Run(fmt.Sprint("elected ", elected), func(t *testing.T) {
			h := newStandby(t, elected)
			h.until(20*second, are(HotStandbyRedundant, 0, h.n...))
			h.run(20 * second)
			h.refer(h.n[0])
			h.carrier(h.n[2], 2, false)
			h.run(2 * second)
			if !elected && (!are(HotStandbyNotRedundant, 0, h.n[:3]...)() || !are(HotStandbyNotRedundant, 20, h.n[3:]...)()) {
				h.wantStatus()
				t.Fatal("not each half by its own grand master")
			}
			for _, x := range h.n[3:] { // the warmth of the afternoon
				x.ppm += 0.3
				x.offset -= int64(float64(h.now) * 0.3e-6)
			}
			h.run(20 * second)
			apart := h.error(h.n[4]) - h.error(h.n[0])
			h.carrier(h.n[2], 2, true)
			step, _ := h.watch(40*second, h.n...)
			t.Logf("%d ns apart, step %d ns", apart, step)
			if step > microsecond || apart < 3*microsecond && apart > -3*microsecond {
				t.Errorf("%d ns apart, step %d ns", apart, step)
			}
			if !are(HotStandbyRedundant, 0, h.n...)() {
				h.wantStatus()
				t.Fatal("not redundant again")
			}
			for _, x := range h.n {
				if e := h.error(x) - h.error(h.n[0]); e > microsecond || e < -microsecond {
					t.Errorf("%s is %d ns off the primary", x.name, e)
				}
			}
		})
	}
}

// INIT waits for both domains, but not for ever.
func TestHotStandbyInit(t *testing.T) {
	h := newStandby(t, false)
	h.n[0].dead = true
	h.until(5*second, are(HotStandbyInit, 20, h.n[1:]...))
	h.run(4 * second)
	if !are(HotStandbyInit, 20, h.n[1:]...)() {
		h.wantStatus()
		t.Fatal("left INIT early")
	}
	h.until(15*second, are(HotStandbyNotRedundant, 20, h.n[1:]...))
	h.refer(h.n[4])
	h.n[0].reborn(3*second, 20)
	step, _ := h.watch(30*second, h.n[1:]...)
	if step > microsecond || !are(HotStandbyRedundant, 0, h.n...)() {
		h.wantStatus()
		t.Errorf("step of %d ns", step)
	}
}

// 802.1ASdm, HotStandbySystem: every transition, and that none is made early.
func TestHotStandbySystem(t *testing.T) {
	const none, p, q, both, apart = 0, 1, 2, 3, 4 // apart: both, that do not agree
	for _, c := range []struct {
		from  HotStandbyState
		have  int
		after int64 // ns
		want  HotStandbyState
	}{
		{HotStandbyInit, none, 60 * second, HotStandbyInit},
		{HotStandbyInit, p, 9 * second, HotStandbyInit},
		{HotStandbyInit, p, 10 * second, HotStandbyNotRedundant},
		{HotStandbyInit, q, 10 * second, HotStandbyNotRedundant},
		{HotStandbyInit, both, 900 * millisecond, HotStandbyInit},
		{HotStandbyInit, both, second, HotStandbyRedundant},
		{HotStandbyInit, apart, 9 * second, HotStandbyInit},
		{HotStandbyRedundant, both, 0, HotStandbyRedundant},
		{HotStandbyRedundant, p, 0, HotStandbyNotRedundant},
		{HotStandbyRedundant, q, 0, HotStandbyNotRedundant},
		{HotStandbyRedundant, apart, 0, HotStandbyNotRedundant},
		{HotStandbyRedundant, none, 0, HotStandbyOutOfSync},
		{HotStandbyNotRedundant, p, 60 * second, HotStandbyNotRedundant},
		{HotStandbyNotRedundant, apart, 60 * second, HotStandbyNotRedundant},
		{HotStandbyNotRedundant, both, 900 * millisecond, HotStandbyNotRedundant},
		{HotStandbyNotRedundant, both, second, HotStandbyRedundant},
		{HotStandbyNotRedundant, none, 0, HotStandbyOutOfSync},
		{HotStandbyOutOfSync, none, 60 * second, HotStandbyOutOfSync},
		{HotStandbyOutOfSync, q, 900 * millisecond, HotStandbyOutOfSync},
		{HotStandbyOutOfSync, q, second, HotStandbyNotRedundant},
		{HotStandbyOutOfSync, both, second, HotStandbyRedundant},
	} {
		h := hotStandbySystem{sys: &System{now: 100 * second}, state: c.from}
		began := h.sys.now
		h.well.set(c.have == both, began)
		h.one.set(c.have != none, began)
		h.sys.now = began.Add(c.after)
		if got := h.following(); got != c.want {
			t.Errorf("%v with %d for %d ms: %v, want %v", c.from, c.have, c.after/millisecond, got, c.want)
		}
	}
}

// 802.1ASdm, PtpInstanceSyncStatus: what it takes to be synchronized, and not to
// be any more.
func TestPtpInstanceSyncStatus(t *testing.T) {
	s := newSolo(t, 1, patient)
	m := &s.sync
	feed := func(count int, offset int64) {
		for range count {
			m.sample(offset)
		}
	}
	s.capable(1)
	if !m.isSynced {
		t.Error("a grand master is not")
	}
	s.receive(1, announceFrom(100, 0, neighbour.Clock))
	if m.isSynced {
		t.Error("with a grand master whose time it does not know")
	}
	feed(10, 5)
	if m.isSynced {
		t.Error("before the clock follows")
	}
	s.slave.synced = true
	m.syncs, m.met = 0, 0
	feed(3, 20_000)
	if m.isSynced {
		t.Error("after three Syncs")
	}
	if feed(1, -20_000); !m.isSynced {
		t.Error("not after four")
	}
	feed(2, 20_001)
	feed(1, 0)
	if feed(2, -20_001); !m.isSynced {
		t.Error("two beyond the limit, twice")
	}
	if feed(1, 20_001); m.isSynced {
		t.Error("three in a row beyond it")
	}
	feed(2, 7)
	if m.isSynced {
		t.Error("two within it")
	}
	if feed(1, 7); !m.isSynced {
		t.Error("not after three within it")
	}
	if s.link(1, false); !m.isSynced || !s.IsGrandMaster() {
		t.Error("grand master again")
	}

	end := newSolo(t, 1, func(c *Config) { c.Domains[0].Priority1 = 255 })
	end.capable(1)
	end.receive(1, announceFrom(100, 0, neighbour.Clock))
	end.slave.synced, end.sync.isSynced = true, true
	if end.wait(400 * millisecond); end.sync.isSynced {
		t.Error("after sync receipt time-out")
	}
}

// A primary grand master restarts with a clock that is near the old one, before
// or after it is missed: its time is not taken for the one that goes on.
func TestHotStandbyNearMiss(t *testing.T) {
	for _, c := range []struct {
		elected       bool
		outage, clock int64
		ppm           float64
	}{{true, 50, 51_100, 1}, {false, 50, 128_828, -2}, {false, 1000, 201_154, 1}, {false, 50, 40_000, 29}} {
		h := newStandby(t, c.elected)
		h.until(20*second, are(HotStandbyRedundant, 0, h.n...))
		h.run(5 * second)
		h.refer(h.n[0])
		h.n[0].dead = true
		before, _ := h.watch(c.outage*millisecond, h.n[1:]...)
		h.n[0].reborn(c.clock, c.ppm)
		after, off := h.watch(40*second, h.n[1:]...)
		t.Logf("%+v: step %d ns, error %d ns", c, max(before, after), off)
		if max(before, after) > microsecond || off > 5*microsecond || !are(HotStandbyRedundant, 0, h.n...)() {
			h.wantStatus()
			t.Errorf("%+v: steps of %d and %d ns, error %d ns", c, before, after, off)
		}
	}
}

// What was being slewed when the primary was lost is not held as rate.
func TestReleasedTimeHasMeanRate(t *testing.T) {
	s := newSolo(t, 1, nil)
	s.step(tsn.Timeout{})
	m, c := &s.master, &s.slave
	m.directed, m.directedRate, c.relation.RatePPB = true, 500, 1500
	for range 2 {
		if m.release(); m.directed || !m.holdover || c.relation.RatePPB != 500 {
			t.Errorf("%+v", c.relation)
		}
	}
}

// Whatever fails for however long, one thing at a time: no node's time steps
// that did not fail itself, and in the end all is redundant again. Not so, and
// not drawn: a grand master that is back before anybody has missed it, with a
// clock by chance some 100 to 150 us off. Servos follow it, until it takes the
// secondary's time with a step of that size.
func TestHotStandbyAnyFailure(t *testing.T) {
	worst := int64(0)
	rapid.Check(t, func(rt *rapid.T) {
		h := newStandby(t, rapid.Bool().Draw(rt, "elected"))
		h.until(20*second, are(HotStandbyRedundant, 0, h.n...))
		h.refer(h.n[0])
		for range rapid.IntRange(1, 3).Draw(rt, "failures") {
			h.watch(rapid.Int64Range(0, 3*second).Draw(rt, "quiet"))
			what := rapid.IntRange(0, 8).Draw(rt, "what") // nodes 0 to 4, then links
			outage := rapid.OneOf(rapid.Int64Range(50, 1000), rapid.Int64Range(1000, 15_000)).Draw(rt, "outage ms") * millisecond
			others := slices.Clone(h.n)
			if what < 5 {
				others = slices.Delete(others, what, what+1)
				h.n[what].dead = true
			} else {
				h.carrier(h.n[what-5], 2, false)
			}
			step, _ := h.watch(outage, others...)
			if what < 5 {
				h.n[what].reborn(rapid.Int64Range(millisecond, 1000*second).Draw(rt, "clock"), rapid.Float64Range(-100, 100).Draw(rt, "ppm"))
			} else {
				h.carrier(h.n[what-5], 2, true)
			}
			again, _ := h.watch(40*second, others...)
			worst = max(worst, step, again)
			if max(step, again) > microsecond || !are(HotStandbyRedundant, 0, h.n...)() {
				rt.Fatalf("failure of %d for %d ms: steps of %d and %d ns", what, outage/millisecond, step, again)
			}
		}
	})
	t.Logf("largest step within a millisecond %d ns", worst)
}
