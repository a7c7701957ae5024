package tsn_test

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	tsn "tsnswitch"
)

// 802.1Q 8.6.8.4, 12.29.1.1.1: the longest frame that fits a window.
func TestQueueMaxSDU(t *testing.T) {
	list := &tsn.GateControlList{CycleTime: 1_000_000, Entries: []tsn.GateEntry{
		{Gates: 0b1001, Interval: 20_000},  // class 0 goes on from the end of the cycle
		{Gates: 0b1100, Interval: 10_240},  // 128 octets at 100 Mbit/s
		{Gates: 0b1010, Interval: 900_000}, // longer than a maximum frame
		{Gates: 0b1001, Interval: 69_760},
	}}
	for _, c := range []struct {
		rate     tsn.Rate
		perEntry bool
		want     [8]uint32
	}{
		{100 * tsn.Mbps, false, [8]uint32{0: 89_760*100/8000 - 38, 2: 128 - 38}},
		{100 * tsn.Mbps, true, [8]uint32{0: 69_760*100/8000 - 38, 2: 128 - 38}},
		{tsn.Gbps, false, [8]uint32{2: 1280 - 38}},
		{0, false, [8]uint32{}},
	} {
		if got := list.QueueMaxSDU(c.rate, c.perEntry); got != c.want {
			t.Errorf("%s, per entry %t: %v, want %v", c.rate, c.perEntry, got, c.want)
		}
	}
	var none *tsn.GateControlList
	if none.QueueMaxSDU(tsn.Gbps, false) != [8]uint32{} {
		t.Error("a limit without a list")
	}
	list.Entries[1].Interval = 1
	if got := list.QueueMaxSDU(100*tsn.Mbps, false); got[2] != 1 {
		t.Errorf("a window for no frame at all: %v", got)
	}
}

// A frame of the limit fits some window, at any of three cycles; one octet more
// fits none.
func TestQueueMaxSDUIsTight(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		rate := rapid.SampledFrom([]tsn.Rate{10 * tsn.Mbps, 100 * tsn.Mbps, tsn.Gbps}).Draw(rt, "rate")
		list := &tsn.GateControlList{}
		for range rapid.IntRange(1, 6).Draw(rt, "entries") {
			e := tsn.GateEntry{Gates: tsn.GateMask(rapid.IntRange(0, 3).Draw(rt, "gates")), Interval: rapid.Int64Range(1, 2_000_000).Draw(rt, "ns")}
			list.Entries = append(list.Entries, e)
			list.CycleTime += e.Interval
		}
		const beside = tsn.FrameOverhead - 4
		for c := range tsn.TrafficClass(2) {
			sdu := int(list.QueueMaxSDU(rate, false)[c])
			fits := func(octets int) bool { return fitsSomewhere(list, c, rate.TransmitTime(octets)) }
			if sdu > 1 && (!fits(sdu+beside) || fits(sdu+beside+1)) {
				rt.Fatalf("class %d: limit %d", c, sdu)
			}
			if sdu == 0 && opens(list, c) && !fits(tsn.MaxFrameOctets) {
				rt.Fatalf("class %d: no limit", c)
			}
		}
	})
}

func opens(l *tsn.GateControlList, c tsn.TrafficClass) bool {
	return slices.ContainsFunc(l.Entries, func(e tsn.GateEntry) bool { return e.Gates.Has(c) })
}

func shuts(l *tsn.GateControlList, c tsn.TrafficClass) bool {
	return slices.ContainsFunc(l.Entries, func(e tsn.GateEntry) bool { return !e.Gates.Has(c) })
}

// fitsSomewhere begins a frame with each entry and follows it to its end.
func fitsSomewhere(l *tsn.GateControlList, c tsn.TrafficClass, ns int64) bool {
	if !shuts(l, c) {
		return true
	}
	for i := range l.Entries {
		left := ns
		for j := i; left > 0 && l.Entries[j%len(l.Entries)].Gates.Has(c); j++ {
			left -= l.Entries[j%len(l.Entries)].Interval
		}
		if left <= 0 {
			return true
		}
	}
	return false
}
