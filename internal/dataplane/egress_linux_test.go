package dataplane_test

import (
	"errors"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	tsn "tsnswitch"
	"tsnswitch/internal/dataplane"
	"tsnswitch/internal/kerneltest"
)

// A transit port queues forwarded frames in the class of their PCP.
func testForwardedClass(t *testing.T) {
	l := newLab(t)
	k := open(t, l.sw, realConfig())
	set(t, k, fabricState())
	a, b := socket(t, l.host[0], "h0"), socket(t, l.host[1], "h0")
	const n = 50
	for i := range byte(n) {
		send(t, a, frame(macB, macA, 10, 6, i))
	}
	send(t, a, frame(macB, macA, 10, 2, n), frame(macB, macA, 10, 7, n+1), frame(macB, macA, 10, 0, n+2))
	receive(t, b, n+2)
	cs, err := k.Counters()
	if err != nil {
		t.Fatal(err)
	}
	c := cs[1]
	if c.Port != 2 || c.Class[tsn.ClassScheduled].Frames != n || c.Priority[6] != n ||
		c.Class[tsn.ClassSRB].Frames != 1 || c.Class[tsn.ClassControl].Frames < 1 || c.Class[tsn.ClassBestEffort].Frames < 1 {
		t.Errorf("counters %+v: want %d frames in class %d", c, n, tsn.ClassScheduled)
	}
}

// Admin and oper schedules, their refusals, and shapers under live gates.
func testGates(t *testing.T) {
	l := newLab(t)
	k := open(t, l.sw, realConfig())
	d := fabricState()
	set(t, k, d)
	list := func(base int64) *tsn.GateControlList {
		return &tsn.GateControlList{
			BaseTime: tsn.PTPTime{NS: base}, CycleTime: 5_000_000,
			Entries: []tsn.GateEntry{{Gates: 0x18, Interval: 2_000_000}, {Gates: 0x17, Interval: 2_900_000}, {Gates: 0x10, Interval: 100_000}},
		}
	}
	gate := &d.Egress[1].Gates
	*gate = list(tai(t) - 1)
	_, err := k.Set(t.Context(), d)
	isErr(t, err, dataplane.ErrBaseTime)

	base := tai(t) + lead
	*gate = list(base)
	set(t, k, d)
	e := read(t, k).EgressOf(2)
	if e.Admin == nil || e.Admin.Base != base || !slices.Equal(e.Admin.Entries, (*gate).Entries) || len(e.Oper.Entries) != 1 {
		t.Errorf("admin %v, oper %v", e.Admin, e.Oper)
	}
	// While it waits it can be replaced, and taken back: to what runs.
	base += lead
	later := list(base)
	later.Entries[0].Gates = 0x10
	*gate = later
	set(t, k, d)
	if e := read(t, k).EgressOf(2); e.Admin == nil || e.Admin.Base != base || len(e.Oper.Entries) != 1 {
		t.Errorf("replaced: admin %v, oper %v", e.Admin, e.Oper)
	}
	*gate = nil
	set(t, k, d)
	if e := read(t, k).EgressOf(2); e.Admin != nil || len(e.Oper.Entries) != 1 {
		t.Errorf("taken back: admin %v, oper %v", e.Admin, e.Oper)
	}
	base = tai(t) + lead
	*gate = list(base)
	set(t, k, d)
	awaitAll(t, k)
	if now := tai(t); now < base-dataplane.AllOpenCycle {
		t.Errorf("operational %d ns early", base-now)
	}
	e = read(t, k).EgressOf(2)
	if e.Admin != nil || e.Oper.Base != base || len(e.Oper.Entries) != 3 {
		t.Errorf("admin %v, oper %v", e.Admin, e.Oper)
	}

	*gate = list(tai(t) + lead)
	(*gate).Entries[0].Gates = 0x10
	set(t, k, d)
	*gate = list(base)
	if r := set(t, k, d); len(r.Applied) != 1 {
		t.Errorf("steps %v, want one that takes the list back", r.Applied)
	}
	e = read(t, k).EgressOf(2)
	if e.Admin != nil || e.Oper.Base != base || len(e.Oper.Entries) != 3 {
		t.Errorf("taken back: admin %v, oper %v", e.Admin, e.Oper)
	}
	if r := set(t, k, d); len(r.Applied) != 0 {
		t.Errorf("steps %v, want none", r.Applied)
	}

	// Grafting a shaper may stop the gates: frames of every class pass after.
	for _, slope := range []tsn.Rate{30 * tsn.Mbps, 40 * tsn.Mbps, 0} {
		d.Egress[1].IdleSlope[1] = slope
		set(t, k, d)
		awaitAll(t, k)
		a, b := socket(t, l.host[0], "h0"), socket(t, l.host[1], "h0")
		for _, pcp := range []tsn.PCP{0, 2, 6, 7} {
			send(t, a, frame(macB, macA, 10, pcp, byte(pcp)))
			receive(t, b, byte(pcp))
		}
	}
	*gate = nil
	set(t, k, d)
	awaitAll(t, k)
	if e := read(t, k).EgressOf(2); len(e.Oper.Entries) != 1 {
		t.Errorf("gates removed: oper %v", e.Oper)
	}
}

// 802.1Q 8.6.8: of the classes with open gates the highest is served first,
// whatever the kernel calls it; a closed gate holds its class only.
func testServiceOrder(t *testing.T) {
	l := newLab(t)
	k := open(t, l.sw, realConfig())
	d := fabricState()
	d.Egress[1].Gates = &tsn.GateControlList{
		BaseTime: tsn.PTPTime{NS: tai(t) + lead}, CycleTime: 1_000_000,
		Entries: []tsn.GateEntry{{Gates: 1 << tsn.ClassControl, Interval: 1_000_000}},
	}
	set(t, k, d)
	awaitAll(t, k)
	a, b := socket(t, l.host[0], "h0"), socket(t, l.host[1], "h0")
	for _, pcp := range []tsn.PCP{0, 2, 6, 7} {
		send(t, a, frame(macB, macA, 10, pcp, byte(pcp)))
	}
	if got := receive(t, b, 7); !slices.Equal(got, []byte{7}) {
		t.Errorf("with gates open for class 3 only, priorities %v left", got)
	}
	d.Egress[1].Gates = nil
	set(t, k, d)
	if got := receive(t, b, 0); !slices.Equal(got, []byte{6, 2, 0}) {
		t.Errorf("with all gates open priorities left as %v, want 6, 2, 0", got)
	}
}

// After the link was down the schedule is sent again, once.
func testLinkDown(t *testing.T) {
	l := newLab(t)
	k := open(t, l.sw, realConfig())
	d := fabricState()
	d.Egress[1].Gates = &tsn.GateControlList{
		BaseTime: tsn.PTPTime{NS: tai(t) + lead}, CycleTime: 2_000_000,
		Entries: []tsn.GateEntry{{Gates: 0x10, Interval: 1_000_000}, {Gates: 0xf, Interval: 1_000_000}},
	}
	set(t, k, d)
	awaitAll(t, k)
	h := l.sw.Netlink()
	p2, err := h.LinkByName("p2")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(h.LinkSetDown(p2), h.LinkSetUp(p2)); err != nil {
		t.Fatal(err)
	}
	awaitUp(t, l.sw, "p2")
	k.Forget()
	r := set(t, k, d)
	if len(r.Applied) != 1 {
		t.Errorf("steps %v, want the schedule sent again", r.Applied)
	}
	awaitAll(t, k)
	if r := set(t, k, d); len(r.Applied) != 0 {
		t.Errorf("steps %v, want none", r.Applied)
	}
	a, b := socket(t, l.host[0], "h0"), socket(t, l.host[1], "h0")
	for _, pcp := range []tsn.PCP{0, 7, 0, 7} {
		send(t, a, frame(macB, macA, 10, pcp, byte(pcp)))
		receive(t, b, byte(pcp))
	}
}

// After the gate clock was set back, a new schedule begins all the same, and what
// ran goes on running.
func testClockSetBack(t *testing.T) {
	if !kerneltest.Inside() {
		t.Skip("a guest kernel: this would step the machine's own clock")
	}
	l := newLab(t)
	k := open(t, l.sw, realConfig())
	d := fabricState()
	set(t, k, d)
	now := unix.NsecToTimespec(tai(t) - 3600_000_000_000)
	if err := unix.ClockSettime(unix.CLOCK_REALTIME, &now); err != nil {
		t.Fatal(err)
	}
	k.Forget()
	set(t, k, d)
	d.Egress[1].Gates = &tsn.GateControlList{
		BaseTime: tsn.PTPTime{NS: tai(t) + lead}, CycleTime: 2_000_000,
		Entries: []tsn.GateEntry{{Gates: 0x10, Interval: 1_000_000}, {Gates: 0xf, Interval: 1_000_000}},
	}
	set(t, k, d)
	awaitAll(t, k)
	if r := set(t, k, d); len(r.Applied) != 0 {
		t.Errorf("steps %v, want none", r.Applied)
	}
}

// Lists of any length up to the limit are read back entry by entry, also beside
// another; what could not be is refused before it is sent.
func testManyEntries(t *testing.T) {
	l := newLab(t)
	k := open(t, l.sw, realConfig())
	d := fabricState()
	lim := k.GateLimits(1)
	list := func(n int) *tsn.GateControlList {
		g := &tsn.GateControlList{CycleTime: int64(n) * 250_000, BaseTime: tsn.PTPTime{NS: tai(t) + lead}}
		for i := range n {
			g.Entries = append(g.Entries, tsn.GateEntry{Gates: tsn.GateMask(1<<tsn.ClassControl | i%8), Interval: 250_000})
		}
		return g
	}
	for _, round := range [][3]int{{33, 100, 256}, {500, lim.ReadBack - 100, lim.ReadBack - 256}} {
		for i, n := range round {
			d.Egress[i].Gates = list(n)
		}
		set(t, k, d)
		for i, e := range read(t, k).Egress {
			if e.Admin == nil || !slices.Equal(e.Admin.Entries, d.Egress[i].Gates.Entries) {
				t.Errorf("%d entries were not read back", round[i])
			}
		}
		awaitAll(t, k)
	}
	d.Egress[0].Gates = list(lim.ReadBack - 500 + 1)
	_, err := k.Set(t.Context(), d)
	var limit *dataplane.LimitError
	if !errors.As(err, &limit) || limit.OnPort() != 1 {
		t.Errorf("more than can be read back: %v", err)
	}
	d.Egress[0].Gates = list(lim.Entries + 1)
	_, err = k.Set(t.Context(), d)
	isErr(t, err, dataplane.ErrInvalid)
}
