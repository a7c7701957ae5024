package dataplane_test

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"

	tsn "tsnswitch"
	"tsnswitch/internal/dataplane"
	"tsnswitch/internal/kerneltest"
)

// TestExactAssist measures txtime-assist on a device without launch times, in
// virtual time. A frame's stamp is its launch time there, whenever it came; what
// counts is when the receiver has it.
func TestExactAssist(t *testing.T) {
	needs := kerneltest.Needs{OwnKernel: true, TimeTravel: true, Taprio: true, ETF: true, Flower: true, VLANFiltering: true, Timeout: time.Minute}
	kerneltest.Run(t, needs, func(t *testing.T) {
		t.Run("Windows", precisely(testAssistWindows))
	})
}

// window is where a class may send, as a phase of the cycle, ns.
type window struct {
	class       tsn.TrafficClass
	start, ends int64
}

// Frames of each class leave in their windows only, before and after a live
// replacement, whose base time begins the new windows: software etf lets frames
// go early, for which the schedule makes up.
func testAssistWindows(t *testing.T) {
	sw, host := kerneltest.NewNetNS(t), kerneltest.NewNetNS(t)
	quiet(t, sw)
	kerneltest.VethPair(t, 8, kerneltest.End{NS: sw, Name: "p1"}, kerneltest.End{NS: host, Name: "h0"})
	awaitUp(t, sw, "p1")
	k := open(t, sw, stationConfig("p1", dataplane.OffloadTxTime))
	var tx [tsn.NumClasses]int
	for c, priority := range priorities {
		tx[c] = socket(t, sw, "p1")
		setOption(t, tx[c], unix.SO_PRIORITY, int(priority))
	}
	rx := socket(t, host, "h0")
	d := stationState()
	set(t, k, d)

	base := tai(t) + 100_000_000
	for _, round := range []struct {
		cycle   int64
		windows []window
	}{
		{1_000_000, []window{{tsn.ClassScheduled, 0, 200_000}, {tsn.ClassSRA, 200_000, 500_000}, {tsn.ClassBestEffort, 500_000, 1_000_000}}},
		{100_000, []window{{tsn.ClassBestEffort, 0, 50_000}, {tsn.ClassSRA, 50_000, 70_000}, {tsn.ClassScheduled, 70_000, 100_000}}},
		{3_000_000, []window{{tsn.ClassSRA, 0, 1_000_000}, {tsn.ClassScheduled, 1_000_000, 1_300_000}, {tsn.ClassBestEffort, 1_300_000, 3_000_000}}},
	} {
		g := &tsn.GateControlList{BaseTime: tsn.PTPTime{NS: base}, CycleTime: round.cycle}
		for _, w := range round.windows {
			g.Entries = append(g.Entries, tsn.GateEntry{Gates: 1<<tsn.ClassControl | 1<<w.class, Interval: w.ends - w.start})
		}
		d.Egress[0].Gates = g
		set(t, k, d)
		sleepUntil(t, base)
		const frames = 200
		inside := 0
		for i := range int64(frames) {
			sleepUntil(t, base+i*round.cycle*37/100)
			w := round.windows[i%3]
			send(t, tx[w.class], frame(macB, macA, 0, 0, byte(i)))
			receive(t, rx, byte(i))
			if phase := (tai(t) - base) % round.cycle; phase < w.start || phase >= w.ends+1000 {
				t.Errorf("cycle %d: class %d came at phase %d, its window is %d..%d", round.cycle, w.class, phase, w.start, w.ends)
				continue
			}
			inside++
		}
		e := read(t, k).EgressOf(1)
		if e.Admin != nil || e.Oper.Base != base {
			t.Errorf("cycle %d: after the first frame admin %v, oper %v", round.cycle, e.Admin, e.Oper)
		}
		t.Logf("cycle %d: %d of %d frames in their windows", round.cycle, inside, frames)
		base += (tai(t)-base)/round.cycle*round.cycle + 200*round.cycle
	}
}
