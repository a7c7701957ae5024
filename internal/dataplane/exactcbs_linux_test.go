package dataplane_test

import (
	"testing"

	tsn "tsnswitch"
)

// 802.1Q 8.6.8.2 g: a class that is shaped behind a gate gets its idle slope over
// the whole cycle, whatever the cycle and its share of it.
func testShapedAndGated(t *testing.T) {
	const admin, octets, every = 10 * tsn.Mbps, 1500, 1_000_000 // 12 Mbit/s come
	for _, cycle := range []int64{125_000, 1_000_000, 10_000_000} {
		for _, tenths := range []int64{2, 5, 10} {
			s := newStation(t)
			s.egress.IdleSlope[tsn.ClassSR] = admin
			list := tsn.GateControlList{CycleTime: cycle, Entries: []tsn.GateEntry{{Gates: allOpen, Interval: cycle * tenths / 10}}}
			if rest := cycle - cycle*tenths/10; rest > 0 {
				list.Entries = append(list.Entries, tsn.GateEntry{Gates: allOpen &^ (1 << tsn.ClassSR), Interval: rest})
			}
			s.start(t, list)
			s.set(t) // the list before is over
			got := s.overload(t, tsn.ClassSR, octets, every, 120)
			slope := read(t, s.k).EgressOf(1).Shapers[tsn.ClassSR].IdleSlope
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
// at which they came.
func (s *station) overload(t *testing.T, c tsn.TrafficClass, octets int, every, n int64) float64 {
	t.Helper()
	from := tai(t) + 20_000_000
	for i := range n {
		sleepUntil(t, from+i*every)
		s.send(t, c, octets)
	}
	sleepUntil(t, from+2*n*every)
	got := arrivals(t, s.rx)
	if int64(len(got)) != n {
		t.Errorf("%d of %d frames came", len(got), n)
		return 0
	}
	return float64(n-1) * float64(octets) * 8e6 / float64(got[n-1].at-got[0].at)
}
