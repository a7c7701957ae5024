package sim

import (
	"math"

	"tsnswitch"
)

const nsPerSecond = 1_000_000_000

// Oscillator is the clockwork of a node. At true time t (ns since the
// simulation began) its monotonic clock reads t*(1+PPM*1e-6), rounded down,
// and its LocalClock that plus Offset. PPM counts to three decimals.
type Oscillator struct {
	Offset int64 // ns
	PPM    float64
}

// elapsed is exact integer arithmetic, the same on every processor.
func (o Oscillator) elapsed(t tsn.Instant) int64 {
	more, _ := scale(int64(t), int64(math.Round(o.PPM*1000)), 0)
	return int64(t) + more
}

// At is LocalClock at true time t.
func (o Oscillator) At(t tsn.Instant) tsn.LocalTime { return tsn.LocalTime(o.elapsed(t) + o.Offset) }

// Monotonic is the clock that the node's machines are stepped with.
func (o Oscillator) Monotonic(t tsn.Instant) tsn.Instant { return tsn.Instant(o.elapsed(t)) }

// TrueTime is the first true time at which Monotonic is not before i.
func (o Oscillator) TrueTime(i tsn.Instant) tsn.Instant {
	if i == tsn.Never {
		return tsn.Never
	}
	return tsn.Instant(solve(int64(i), func(t int64) int64 { return o.elapsed(tsn.Instant(t)) }))
}

// scale is (v*ppb+carry)*1e-9 rounded down, and what was rounded off, in 1e-9;
// without overflow for |ppb| < 1e9 and a carry in 0..1e9.
func scale(v, ppb, carry int64) (q, rest int64) {
	s, ns := v/nsPerSecond, v%nsPerSecond
	p := ns*ppb + carry
	q, rest = p/nsPerSecond, p%nsPerSecond
	if rest < 0 {
		q, rest = q-1, rest+nsPerSecond
	}
	return s*ppb + q, rest
}

// solve is the least x with f(x) >= want, for an f that nearly counts along
// with x and never goes back.
func solve(want int64, f func(int64) int64) int64 {
	x := want
	for range 4 { // each step leaves a thousandth of the error or less
		x += want - f(x)
	}
	for f(x) < want {
		x++
	}
	for f(x-1) >= want {
		x--
	}
	return x
}

// gateClock is what the gates of a node run on: a clock over LocalClock that
// is steered to gPTP time, as the edge steers a PHC or the system clock. At
// local it reads gate and carry*1e-9, and it runs at 1+ppb*1e-9 of LocalClock.
type gateClock struct {
	local tsn.LocalTime
	gate  int64
	carry int64
	ppb   int64
}

// stepAbove is the phase error, ns, above which the clock is stepped; below it
// the error is worked off within a second.
const stepAbove = 20_000

// maxSteerPPB is how far steering can bend the clock.
const maxSteerPPB = 500_000

func (g *gateClock) at(l tsn.LocalTime) int64 {
	gate, _ := g.read(l)
	return gate
}

func (g *gateClock) read(l tsn.LocalTime) (gate, carry int64) {
	d := l.Sub(g.local)
	more, carry := scale(d, g.ppb, g.carry)
	return g.gate + d + more, carry
}

// localAt is the first LocalTime at which the clock has reached gate.
func (g *gateClock) localAt(gate int64) tsn.LocalTime {
	since := func(d int64) int64 { return g.at(g.local+tsn.LocalTime(d)) - g.gate }
	return tsn.LocalTime(solve(gate-g.gate, since)) + g.local
}

// steer brings the clock towards gPTP time as of LocalTime now.
func (g *gateClock) steer(now tsn.LocalTime, r tsn.ClockRelation) {
	g.gate, g.carry = g.read(now)
	g.local = now
	phase := r.At(now).NS - g.gate
	rate := int64(math.Round(r.RatePPB))
	if max(phase, -phase) > stepAbove {
		g.gate += phase
	} else {
		rate += phase // ns in a second
	}
	g.ppb = min(max(rate, -maxSteerPPB), maxSteerPPB)
}

// schedulable reports whether the clock is within bound ns of gPTP time now
// and, if neither changes its rate, ten seconds from now.
func (g *gateClock) schedulable(now tsn.LocalTime, r tsn.ClockRelation, bound int64) bool {
	for _, l := range []tsn.LocalTime{now, now + 10*nsPerSecond} {
		if d := r.At(l).NS - g.at(l); max(d, -d) > bound {
			return false
		}
	}
	return true
}
