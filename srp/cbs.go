package srp

import (
	"math/bits"

	"tsnswitch"
)

// MaxNonSROctets is the longest frame of a class without shaper that can be in
// the way: 1500 octets of data and tsn.FrameOverhead.
const MaxNonSROctets = 1500 + tsn.FrameOverhead

// ClassLoad is what the streams of one SR class need of a port.
type ClassLoad struct {
	IdleSlope tsn.Rate // sum of its streams' bandwidth (802.1Q 34.4)
	MaxFrame  int      // its longest frame on the medium (tsn.Stream.WireOctets)
}

// Shaper is a credit-based shaper in the terms of 802.1Q 8.6.8.2 and the units
// of tc-cbs: slopes in kbit/s, credits in octets. All zero: no shaper.
type Shaper struct {
	IdleSlope int64 `json:"idleSlope"`
	SendSlope int64 `json:"sendSlope"` // negative
	HiCredit  int64 `json:"hiCredit"`  // rounded up
	LoCredit  int64 `json:"loCredit"`  // rounded away from zero
}

// CBS returns the shapers of SR classes A and B of a port (802.1Q L.3.1).
// maxNonSR is the longest frame of an unshaped class on the medium, in octets.
// Class B waits for one such frame and for what A sends meanwhile. A class
// whose slope, with those above it, is not below the rate gets no shaper.
func CBS(rate tsn.Rate, a, b ClassLoad, maxNonSR int) (shaperA, shaperB Shaper) {
	if a.IdleSlope >= rate {
		return Shaper{}, Shaper{}
	}
	if a.IdleSlope == 0 {
		a.MaxFrame = 0
	}
	left := uint64(rate - a.IdleSlope)
	shaperA = shaper(rate, a, ceilMulDiv(uint64(a.IdleSlope), uint64(maxNonSR), uint64(rate)))
	if uint64(b.IdleSlope) >= left {
		return shaperA, Shaper{}
	}
	// hiB = idleB * (maxNonSR/left + maxA/rate), over one denominator so that it rounds once.
	wait := uint64(maxNonSR)*uint64(rate) + uint64(a.MaxFrame)*left
	return shaperA, shaper(rate, b, ceilMulDiv(uint64(b.IdleSlope), wait, uint64(rate)*left))
}

func shaper(rate tsn.Rate, l ClassLoad, hi int64) Shaper {
	if l.IdleSlope == 0 {
		return Shaper{}
	}
	drain := rate - l.IdleSlope
	return Shaper{
		IdleSlope: int64(l.IdleSlope),
		SendSlope: -int64(drain),
		HiCredit:  hi,
		LoCredit:  -ceilMulDiv(uint64(drain), uint64(l.MaxFrame), uint64(rate)),
	}
}

// ceilMulDiv returns a*b/d rounded up. The product has 128 bits; the quotient
// must fit, which a < d ensures.
func ceilMulDiv(a, b, d uint64) int64 {
	hi, lo := bits.Mul64(a, b)
	q, r := bits.Div64(hi, lo, d)
	if r > 0 {
		q++
	}
	return int64(q)
}
