package ptpmsg

import (
	"encoding/binary"
	"math"
)

// Timestamp is a 48-bit count of seconds and a nanosecond part (6.4.3.4).
type Timestamp struct {
	Seconds     uint64 // 48 bits
	Nanoseconds uint32 // below 10^9
}

const (
	secondBits = 48
	secondMask = 1<<secondBits - 1
	// maxSeconds keeps NS within int64.
	maxSeconds = math.MaxInt64/1_000_000_000 - 1
)

// TimestampFromNS splits ns; a negative time wraps as two's complement of the
// seconds, which NS undoes (only differences of such stamps mean anything).
func TimestampFromNS(ns int64) Timestamp {
	s, r := ns/1_000_000_000, ns%1_000_000_000
	if r < 0 {
		s, r = s-1, r+1_000_000_000
	}
	return Timestamp{Seconds: uint64(s) & secondMask, Nanoseconds: uint32(r)}
}

// NS joins the parts; ok is false where int64 cannot hold the result (about
// the year 2262).
func (t Timestamp) NS() (ns int64, ok bool) {
	s := int64(t.Seconds<<(64-secondBits)) >> (64 - secondBits)
	if s > maxSeconds || s < -maxSeconds {
		return 0, false
	}
	return s*1_000_000_000 + int64(t.Nanoseconds), true
}

func parseTimestamp(b []byte) (Timestamp, error) {
	t := Timestamp{
		Seconds:     uint64(binary.BigEndian.Uint16(b))<<32 | uint64(binary.BigEndian.Uint32(b[2:])),
		Nanoseconds: binary.BigEndian.Uint32(b[6:]),
	}
	if t.Nanoseconds >= 1_000_000_000 {
		return t, ErrTimestamp
	}
	return t, nil
}

func appendTimestamp(b []byte, t Timestamp) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(t.Seconds>>32))
	b = binary.BigEndian.AppendUint32(b, uint32(t.Seconds))
	return binary.BigEndian.AppendUint32(b, t.Nanoseconds)
}

// TimeInterval is a signed time in units of 2^-16 ns (6.4.3.3).
type TimeInterval int64

// IntervalFromNS rounds and saturates.
func IntervalFromNS(ns float64) TimeInterval { return TimeInterval(saturate(ns * 65536)) }

// NS returns the interval in nanoseconds.
func (t TimeInterval) NS() float64 { return float64(t) / 65536 }

// ScaledNS is a signed 96-bit time in units of 2^-16 ns (6.4.3.1).
type ScaledNS struct {
	High int32
	Low  uint64
}

// ScaledFromNS is exact.
func ScaledFromNS(ns int64) ScaledNS {
	return ScaledNS{High: int32(ns >> 48), Low: uint64(ns) << 16}
}

// NS drops the fraction; ok is false where int64 cannot hold the result.
func (s ScaledNS) NS() (ns int64, ok bool) {
	ns = int64(s.High)<<48 | int64(s.Low>>16)
	return ns, int64(s.High) == ns>>48
}

// ScaledRate is (ratio-1) in units of 2^-41: cumulativeScaledRateOffset and
// scaledLastGmFreqChange (11.4.4.3.6, 11.4.4.3.9).
type ScaledRate int32

// ScaledRateFromRatio rounds and saturates (+-976 ppm).
func ScaledRateFromRatio(ratio float64) ScaledRate {
	return ScaledRate(math.Max(math.MinInt32, math.Min(math.MaxInt32, math.Round((ratio-1)*(1<<41)))))
}

// Ratio returns 1 + the offset.
func (s ScaledRate) Ratio() float64 { return 1 + float64(s)/(1<<41) }

func saturate(f float64) int64 {
	switch {
	case f >= math.MaxInt64:
		return math.MaxInt64
	case f <= math.MinInt64:
		return math.MinInt64
	case f != f: // NaN
		return 0
	}
	return int64(math.Round(f))
}
