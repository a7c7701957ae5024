package tsn

import (
	"fmt"
	"math"
	"math/bits"
)

// MaxFrameOctets is the longest frame on the medium: 1500 octets of data and
// FrameOverhead.
const MaxFrameOctets = 1500 + FrameOverhead

// Shaper is a credit-based shaper in the terms of 802.1Q 8.6.8.2: slopes in
// kbit/s, credits in octets. All zero: no shaper, strict priority.
type Shaper struct {
	IdleSlope int64
	SendSlope int64 // negative
	HiCredit  int64 // rounded up
	LoCredit  int64 // rounded away from zero
}

// ShapedClass is what the streams of one class need of a port.
type ShapedClass struct {
	IdleSlope Rate // the sum of their bandwidths (802.1Q 34.4)
	MaxFrame  int  // their longest frame on the medium (Stream.WireOctets)
}

// NewShaper computes the shaper of class c on a port of the given rate (802.1Q
// 8.6.8.2 d and L.3.1):
//
//	sendSlope = idleSlope - rate
//	loCredit  = maxFrame * sendSlope / rate
//	hiCredit  = idleSlope * (maxOther / (rate - idle slopes above) + maxFrames above / rate)
//
// The class waits for one frame of maxOther octets from a class below, which
// the shaped classes above stretch, and for one frame of each of those. A
// class without idle slope gets no shaper; a slope that the classes above
// leave no room for is an error.
func NewShaper(rate Rate, c ShapedClass, above []ShapedClass, maxOther int) (Shaper, error) {
	if c.IdleSlope == 0 {
		return Shaper{}, nil
	}
	left, frames := rate, 0
	for _, a := range above {
		left -= min(left, a.IdleSlope)
		if a.IdleSlope > 0 {
			frames += a.MaxFrame
		}
	}
	if c.IdleSlope >= left {
		return Shaper{}, fmt.Errorf("idle slope %s does not fit: %s of %s is left, and a shaper takes less than all of it", c.IdleSlope, left, rate)
	}
	// Over one denominator, so that it rounds once.
	wait := uint64(maxOther)*uint64(rate) + uint64(frames)*uint64(left)
	drain := rate - c.IdleSlope
	return Shaper{
		IdleSlope: int64(c.IdleSlope),
		SendSlope: -int64(drain),
		HiCredit:  ceilMulDiv(uint64(c.IdleSlope), wait, uint64(rate)*uint64(left)),
		LoCredit:  -ceilMulDiv(uint64(drain), uint64(c.MaxFrame), uint64(rate)),
	}, nil
}

// OperIdleSlope is the idle slope while the gate is open that gives a class
// adminIdleSlope over the whole cycle (802.1Q 8.6.8.2 g):
//
//	operIdleSlope = adminIdleSlope * cycle / open
//
// rounded up; cycle and open in ns, see GateControlList.OpenTime. It may come
// out above the port's rate, which NewShaper refuses; a gate that is never open gives 0.
func OperIdleSlope(admin Rate, cycle, open int64) Rate {
	switch high, _ := bits.Mul64(uint64(admin), uint64(max(cycle, 0))); {
	case open <= 0:
		return 0
	case open >= cycle:
		return admin
	case high >= uint64(open):
		return math.MaxInt64
	}
	return Rate(ceilMulDiv(uint64(admin), uint64(cycle), uint64(open)))
}

// ceilMulDiv returns a*b/d rounded up. The product has 128 bits; the quotient
// must fit in 63.
func ceilMulDiv(a, b, d uint64) int64 {
	hi, lo := bits.Mul64(a, b)
	q, r := bits.Div64(hi, lo, d)
	if r > 0 {
		q++
	}
	return int64(q)
}
