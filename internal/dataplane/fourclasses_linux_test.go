package dataplane_test

import (
	"testing"

	"golang.org/x/sys/unix"

	tsn "tsnswitch"
	"tsnswitch/internal/dataplane"
	"tsnswitch/internal/kerneltest"
)

// A device of four transmit queues takes four classes: both SR classes share
// one, and gates and shapers are those of class numbers as everywhere.
func testFourClasses(t *testing.T) {
	sw, host := kerneltest.NewNetNS(t), kerneltest.NewNetNS(t)
	kerneltest.VethPair(t, 4, kerneltest.End{NS: sw, Name: "p1"}, kerneltest.End{NS: host, Name: "h0"})
	awaitUp(t, sw, "p1")
	cfg := stationConfig("p1", dataplane.OffloadNone)
	_, err := open(t, sw, cfg).Set(bounded(t), stationState())
	isErr(t, err, dataplane.ErrNotSupported) // five have no room

	cfg.ClassMap = tsn.FourClassMap
	k := open(t, sw, cfg)
	d := stationState()
	e := &d.Egress[0]
	e.ClassMap, e.IdleSlope[tsn.ClassSRA] = tsn.FourClassMap, 20*tsn.Mbps
	e.Gates = &tsn.GateControlList{
		BaseTime: tsn.PTPTime{NS: tai(t) + lead}, CycleTime: 2_000_000,
		Entries: []tsn.GateEntry{{Gates: 1<<tsn.ClassControl | 1<<tsn.ClassScheduled, Interval: 1_000_000}, {Gates: 1<<tsn.ClassControl | 1<<tsn.ClassSRA | 1<<tsn.ClassSRB | 1, Interval: 1_000_000}},
	}
	set(t, k, d)
	if err := k.AwaitOper(bounded(t), 1); err != nil {
		t.Fatal(err)
	}
	again := open(t, sw, cfg)
	if set(t, again, d); again.Writes() != 0 {
		t.Errorf("adoption wrote %d times", again.Writes())
	}
	rx := socket(t, host, "h0")
	for _, priority := range []int{0, 2, 3, 6, 7} {
		tx := socket(t, sw, "p1")
		setOption(t, tx, unix.SO_PRIORITY, priority)
		send(t, tx, frame(macB, macA, 0, 0, byte(priority)))
		receive(t, rx, byte(priority))
	}
	cs, err := again.Counters()
	if err != nil {
		t.Fatal(err)
	}
	got := cs[0].Class
	if got[tsn.ClassSRB].Frames != 0 || got[tsn.ClassSRA].Frames != 2 || got[tsn.ClassScheduled].Frames != 1 || got[tsn.ClassControl].Frames < 1 {
		t.Errorf("classes %+v", got)
	}
	e.IdleSlope = [8]tsn.Rate{tsn.ClassSRB: tsn.Mbps}
	_, err = again.Set(bounded(t), d)
	isErr(t, err, dataplane.ErrInvalid)
}
