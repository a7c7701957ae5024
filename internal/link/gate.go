package link

import (
	"fmt"
	"time"

	"tsnswitch"
)

// GateMap is an affine map from LocalClock to the clock that gates run on:
// CLOCK_TAI for software taprio, the PHC in offload. At Local the gate clock
// reads Gate, and it runs at 1+RatePPB*1e-9 of LocalClock.
type GateMap struct {
	Local   tsn.LocalTime
	Gate    int64
	RatePPB float64
}

// GateRelation is the measured relation of gPTP time and a gate clock: when
// gPTP time is PTP the gate clock reads Gate, and it runs at 1+RatePPB*1e-9
// of gPTP. It is what turns AdminBaseTime (802.1Q 8.6.9.4) into the base time
// of a kernel schedule. It holds near PTP only: renew it as the clocks drift.
type GateRelation struct {
	PTP     tsn.PTPTime
	Gate    int64
	RatePPB float64
}

// RelateGate joins what gPTP measured (LocalClock to gPTP) with what the
// clock knows (LocalClock to gate clock), at the time of the latter.
func RelateGate(gptp tsn.ClockRelation, m GateMap) GateRelation {
	// (1+m)/(1+g)-1, written so that small rates keep their digits.
	rate := (m.RatePPB - gptp.RatePPB) / (1 + gptp.RatePPB*1e-9)
	return GateRelation{PTP: gptp.At(m.Local), Gate: m.Gate, RatePPB: rate}
}

// Offset is gPTP time minus the gate clock, ns.
func (r GateRelation) Offset() int64 { return r.PTP.NS - r.Gate }

// Drift is by how much Offset changes in ns nanoseconds of gPTP time: a
// schedule that runs that long on the gate clock ends up this far off.
func (r GateRelation) Drift(ns int64) int64 { return -roundScaled(ns, r.RatePPB) }

// PTPToGate is the gate clock's reading at gPTP time p.
func (r GateRelation) PTPToGate(p tsn.PTPTime) int64 {
	d := p.NS - r.PTP.NS
	return r.Gate + d + roundScaled(d, r.RatePPB)
}

// GateToPTP is gPTP time when the gate clock reads g.
func (r GateRelation) GateToPTP(g int64) tsn.PTPTime {
	d := g - r.Gate
	return r.PTP.Add(d - roundScaled(d, r.RatePPB/(1+r.RatePPB*1e-9)))
}

// GateOffsetError says that gates would not run on gPTP time.
type GateOffsetError struct {
	Offset, Drift  int64 // ns now, and what it changes by within Horizon
	Bound, Horizon int64 // ns
}

func (e *GateOffsetError) Error() string {
	side, offset := "behind", e.Offset
	if offset < 0 {
		side, offset = "ahead of", -offset
	}
	return fmt.Sprintf("the gate clock is %v %s gPTP and drifts %v in %v, more than the allowed %v; "+
		"steer the clock to gPTP or raise the bound", time.Duration(offset), side, time.Duration(e.Drift), time.Duration(e.Horizon), time.Duration(e.Bound))
}

// Check returns a *GateOffsetError if the gate clock differs from gPTP by
// more than bound ns, now or after horizon ns.
func (r GateRelation) Check(bound, horizon int64) error {
	now, later := r.Offset(), r.Offset()+r.Drift(horizon)
	if max(now, -now, later, -later) <= bound {
		return nil
	}
	return &GateOffsetError{Offset: now, Drift: r.Drift(horizon), Bound: bound, Horizon: horizon}
}
