package qbv

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
	"tsnswitch"
)

// switchTime is taprio's rule in small: walk the entries of the running list
// and leave it at the start of the entry that ends at or after base.
func switchTime(oper *tsn.GateControlList, base int64) int64 {
	t := oper.BaseTime.NS
	for {
		for _, e := range oper.Entries {
			if t+e.Interval+oper.CycleTimeExtension >= base {
				return t
			}
			t += e.Interval
		}
	}
}

// The measured case: one entry of 1 ms, the new list starts 1 ms early; with a
// guard entry it is early by the minimum interval only.
func TestSwitchEarly(t *testing.T) {
	old := list(tsn.GateEntry{Gates: 1, Interval: 1_000_000})
	if got := switchTime(old, 5_000_000); got != 4_000_000 {
		t.Fatalf("the model switches at %d, the kernel was seen to switch at 4000000", got)
	}
	if got := switchTime(ForSoftwareTaprio(old, 50_000), 5_000_000); got != 4_950_000 {
		t.Fatalf("with a guard entry the switch is at %d, want 4950000", got)
	}
}

func drawList(t *rapid.T, minInterval int64) *tsn.GateControlList {
	l := &tsn.GateControlList{
		BaseTime:           tsn.PTPTime{NS: rapid.Int64Range(0, 1000).Draw(t, "base")},
		CycleTimeExtension: rapid.Int64Range(0, 1000).Draw(t, "extension"),
	}
	for range rapid.IntRange(1, 8).Draw(t, "entries") {
		e := tsn.GateEntry{
			Gates:    tsn.GateMask(rapid.IntRange(0, 3).Draw(t, "gates")),
			Interval: rapid.Int64Range(minInterval, 10*minInterval).Draw(t, "interval"),
		}
		l.Entries = append(l.Entries, e)
		l.CycleTime += e.Interval
	}
	return l
}

func gatesAt(l *tsn.GateControlList, t int64) tsn.GateMask {
	t = mod(t-l.BaseTime.NS, l.CycleTime)
	for _, e := range l.Entries {
		if t < e.Interval {
			return e.Gates
		}
		t -= e.Interval
	}
	panic("unreachable: the intervals sum to the cycle")
}

// The transformed list opens the same gates at every instant, keeps the
// minimum interval, and any base from NextBase is early by less than two
// minimum intervals.
func TestForSoftwareTaprio(t *testing.T) {
	const minInterval = 20
	rapid.Check(t, func(t *rapid.T) {
		in := drawList(t, minInterval)
		before := clone(in)
		out := ForSoftwareTaprio(in, minInterval)
		if !slices.Equal(in.Entries, before.Entries) {
			t.Fatal("the input was changed")
		}
		for at := range in.CycleTime {
			if gatesAt(in, at) != gatesAt(out, at) {
				t.Fatalf("gates at %d: %s, were %s", at, gatesAt(out, at), gatesAt(in, at))
			}
		}
		for i, e := range out.Entries {
			if e.Interval < minInterval {
				t.Fatalf("entry %d is %d ns", i, e.Interval)
			}
		}
		base := NextBase(out, tsn.PTPTime{NS: out.BaseTime.NS + rapid.Int64Range(1, 5000).Draw(t, "after")})
		if early := base.NS - switchTime(out, base.NS); early < 0 || early >= 2*minInterval {
			t.Fatalf("switches %d ns before the base time", early)
		}
	})
}

func TestNextBase(t *testing.T) {
	oper := &tsn.GateControlList{BaseTime: tsn.PTPTime{NS: 100}, CycleTime: 40}
	for _, tt := range []struct{ notBefore, want int64 }{{100, 100}, {101, 140}, {140, 140}, {20, 20}, {-1, 20}} {
		if got := NextBase(oper, tsn.PTPTime{NS: tt.notBefore}).NS; got != tt.want {
			t.Errorf("NextBase(%d) = %d, want %d", tt.notBefore, got, tt.want)
		}
	}
	if got := NextBase(nil, tsn.PTPTime{NS: 7}).NS; got != 7 {
		t.Errorf("with no list running: %d, want 7", got)
	}
}
