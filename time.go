package tsn

import "math"

// Three kinds of time meet in a switch. They are three types, so that adding
// one to another by accident does not compile.
//
//	Instant    this process's monotonic clock; timers and deadlines
//	LocalTime  the time-aware system's free-running LocalClock; time stamps
//	PTPTime    gPTP time of one domain; schedules and anything on the wire

// Instant is a point on the monotonic clock of one node, in nanoseconds from
// an arbitrary origin. Only drivers read a clock; cores are given it.
type Instant int64

// Never is the deadline of a machine that waits for nothing.
const Never Instant = math.MaxInt64

// Add returns the instant ns nanoseconds later; it saturates at Never.
func (i Instant) Add(ns int64) Instant {
	if i == Never || (ns > 0 && int64(i) > math.MaxInt64-ns) {
		return Never
	}
	return i + Instant(ns)
}

// Sub returns i-j in nanoseconds.
func (i Instant) Sub(j Instant) int64 { return int64(i - j) }

// LocalTime is a reading of LocalClock (802.1AS-2020 clause 10.1): ns on the
// free-running oscillator that stamps frames. Nothing steers it: where the
// hardware clock under it is steered, the edge undoes the steering, so that
// rate ratios measured between neighbours stay meaningful.
type LocalTime int64

// Sub returns l-m in nanoseconds.
func (l LocalTime) Sub(m LocalTime) int64 { return int64(l - m) }

// PTPTime is gPTP time in one domain: nanoseconds of the PTP timescale (TAI
// epoch 1970-01-01 00:00:00 TAI when the grand master says so).
type PTPTime struct {
	NS     int64 `json:"ns"`
	Domain uint8 `json:"domain"`
}

// Add returns the time ns nanoseconds later.
func (p PTPTime) Add(ns int64) PTPTime { return PTPTime{NS: p.NS + ns, Domain: p.Domain} }

// ClockRelation is an affine map from LocalTime to gPTP time: at LocalTime
// Local the gPTP time is PTP, and gPTP runs at 1+RatePPB*1e-9 of LocalClock.
type ClockRelation struct {
	Local   LocalTime
	PTP     PTPTime
	RatePPB float64
}

// At returns the gPTP time at LocalTime l.
func (r ClockRelation) At(l LocalTime) PTPTime {
	d := l.Sub(r.Local)
	return r.PTP.Add(d + int64(math.Round(float64(d)*r.RatePPB*1e-9)))
}

// LocalAt returns the LocalTime at which gPTP time reads p.
func (r ClockRelation) LocalAt(p PTPTime) LocalTime {
	d := float64(p.NS - r.PTP.NS)
	corr := d * r.RatePPB * 1e-9 / (1 + r.RatePPB*1e-9)
	return r.Local + LocalTime(p.NS-r.PTP.NS) - LocalTime(math.Round(corr))
}
