package link

import "tsnswitch"

// GateMap is an affine map from LocalClock to the clock that gates run on:
// CLOCK_TAI for software taprio, the PHC in offload. At Local the gate clock
// reads Gate, and it runs at 1+RatePPB*1e-9 of LocalClock.
type GateMap struct {
	Local   tsn.LocalTime
	Gate    int64
	RatePPB float64
}
