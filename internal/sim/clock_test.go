package sim

import (
	"testing"

	"pgregory.net/rapid"

	"tsnswitch"
)

func oscillators() *rapid.Generator[Oscillator] {
	return rapid.Custom(func(t *rapid.T) Oscillator {
		return Oscillator{
			Offset: rapid.Int64Range(-1e18, 1e18).Draw(t, "offset"),
			PPM:    float64(rapid.Int64Range(-900_000, 900_000).Draw(t, "ppb")) / 1000,
		}
	})
}

// Clocks never go back, and TrueTime is the first moment that a clock shows a
// time: a machine is woken neither early nor a nanosecond late.
func TestOscillator(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		o := oscillators().Draw(t, "clock")
		at := tsn.Instant(rapid.Int64Range(1, 1e17).Draw(t, "at"))
		if d := o.Monotonic(at) - o.Monotonic(at-1); d < 0 || d > 2 {
			t.Fatalf("%d ns in one", d)
		}
		if got := o.At(at) - tsn.LocalTime(o.Monotonic(at)); int64(got) != o.Offset {
			t.Fatalf("offset %d", got)
		}
		want := tsn.Instant(rapid.Int64Range(1, 1e17).Draw(t, "deadline"))
		first := o.TrueTime(want)
		if o.Monotonic(first) < want || o.Monotonic(first-1) >= want {
			t.Fatalf("TrueTime(%d) = %d, which reads %d", want, first, o.Monotonic(first))
		}
		ideal := float64(at) * (1 + o.PPM*1e-6)
		if d := float64(o.Monotonic(at)) - ideal; d < -64 || d > 64 { // float64 holds no more
			t.Fatalf("%f ns off", d)
		}
	})
	if o := (Oscillator{PPM: 5}); o.TrueTime(tsn.Never) != tsn.Never {
		t.Error("never comes")
	}
}

// The gate clock follows any relation that steering can follow: within two
// seconds it is right, and stays so.
func TestGateClockFollows(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rel := tsn.ClockRelation{
			Local: tsn.LocalTime(rapid.Int64Range(-1e15, 1e15).Draw(t, "local")), RatePPB: float64(rapid.Int64Range(-400_000, 400_000).Draw(t, "ppb")),
			PTP: tsn.PTPTime{NS: rapid.Int64Range(0, 1e18).Draw(t, "ptp")},
		}
		now := rel.Local + tsn.LocalTime(rapid.Int64Range(0, 1e9).Draw(t, "later"))
		g := gateClock{local: now, gate: rel.At(now).NS + rapid.Int64Range(-1e9, 1e9).Draw(t, "off")}
		for range 16 { // eight Syncs a second
			g.steer(now, rel)
			now += nsPerSecond / 8
		}
		if d := g.at(now) - rel.At(now).NS; max(d, -d) > stepAbove/4 {
			t.Fatalf("%d ns off after two seconds", d)
		}
		for range 160 {
			g.steer(now, rel)
			now += nsPerSecond / 8
		}
		if d := g.at(now) - rel.At(now).NS; max(d, -d) > 10 || !g.schedulable(now, rel, 20) {
			t.Fatalf("%d ns off after twenty seconds", d)
		}
		gate := g.at(now) + rapid.Int64Range(0, 1e10).Draw(t, "gate")
		if l := g.localAt(gate); g.at(l) < gate || g.at(l-1) >= gate {
			t.Fatalf("localAt(%d) = %d, which reads %d", gate, l, g.at(l))
		}
	})
}
