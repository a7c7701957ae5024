package dataplane_test

import (
	"testing"

	tsn "tsnswitch"
)

// 802.1Q 8.6.8.2 g: a class that is shaped behind a gate gets its idle slope over
// the whole cycle, whatever the cycle and its share of it.
func testShapedAndGated(t *testing.T) {
	const admin, octets, every = 10 * tsn.Mbps, 200, 100_000 // 16 Mbit/s come; a frame fits the shortest window at 100
	for _, cycle := range []int64{125_000, 1_000_000, 10_000_000} {
		for _, tenths := range []int64{2, 5, 10} {
			s := newStation(t)
			s.egress.IdleSlope[tsn.ClassSRA] = admin
			list := tsn.GateControlList{CycleTime: cycle, Entries: []tsn.GateEntry{{Gates: allOpen, Interval: cycle * tenths / 10}}}
			if rest := cycle - cycle*tenths/10; rest > 0 {
				list.Entries = append(list.Entries, tsn.GateEntry{Gates: allOpen &^ (1 << tsn.ClassSRA), Interval: rest})
			}
			s.start(t, list)
			s.set(t) // the list before is over
			got := s.overload(t, tsn.ClassSRA, octets, every, 2000)
			slope := read(t, s.k).EgressOf(1).Shapers[tsn.ClassSRA].IdleSlope
			t.Logf("cycle %d ns, open %d0 %%: %.0f kbit/s, with an idle slope of %d", cycle, tenths, got, slope)
			if got < 0.99*float64(admin) {
				t.Errorf("cycle %d ns, open %d0 %%: %.0f kbit/s of %v", cycle, tenths, got, admin)
			}
			if tenths == 10 && slope != int32(admin) {
				t.Errorf("a gate that is always open has an idle slope of %d", slope)
			}
		}
	}
}

// overload sends n frames, one every so many ns, and returns the rate, in kbit/s,
// at which they left in whole cycles of 10 ms while there were enough of them.
func (s *station) overload(t *testing.T, c tsn.TrafficClass, octets int, every, n int64) float64 {
	t.Helper()
	from := tai(t) + 20_000_000
	for i := range n {
		sleepUntil(t, from+i*every)
		s.send(t, c, octets)
	}
	const whole = 10_000_000
	cycles := n * every / whole
	sleepUntil(t, from+n*every)
	came := 0
	for _, a := range arrivals(t, s.rx) {
		if at := a.at - from; at >= whole && at < cycles*whole {
			came++
		}
	}
	return float64(came) * float64(octets) * 8e6 / float64((cycles-1)*whole)
}
