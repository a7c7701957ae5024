package link

import (
	"fmt"
	"math"
	"math/bits"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"tsnswitch"
)

var origin = time.Now()

// Now is this process's monotonic clock, ns since the program started.
func Now() tsn.Instant { return tsn.Instant(time.Since(origin)) }

// Clock turns stamps of the kernel into LocalClock readings
// (802.1AS-2020 10.1). Its methods may be called from several goroutines.
type Clock interface {
	// Local converts a stamp; false if this clock cannot (a hardware stamp
	// without a hardware clock, a kernel that refuses to tell the time).
	Local(s Stamp) (tsn.LocalTime, bool)
	// Gate is how LocalClock and the clock that gates run on relate at present.
	Gate() (GateMap, error)
}

// maxDriftPPB is where the drift of a Virtual clock's rate ends: as much as the
// kernel can correct.
const maxDriftPPB = 500_000

// maxVirtualPPB bounds a Virtual clock's rate: 10 %, far beyond any oscillator.
const maxVirtualPPB = 100_000_000

// Virtual is a LocalClock that runs at a chosen rate and offset against the
// kernel's CLOCK_TAI. Nothing is steered. With rate and offset 0 it is
// CLOCK_TAI itself: right for a grand master, and for every node whose
// schedules are converted through a GateRelation. With other values, nodes
// that share one kernel have different clocks, and the true difference
// between any two is known exactly.
//
// If another program steers or steps the kernel's clock, or tells it the TAI
// offset after Open, LocalClock goes with it.
type Virtual struct {
	epoch, ppb, offset int64
	drift              float64 // ppb per second of TAI
	steady             int64   // ns after the epoch when drift ends
}

// NewVirtual returns the clock
//
//	LocalTime = TAI + offset + (TAI-epoch)*ppb*1e-9
//
// with all times in ns, rounded to the nearest. The farther epoch lies from
// now, the larger the offset that the rate has built up.
func NewVirtual(epoch, ppb, offset int64) (*Virtual, error) {
	if ppb < -maxVirtualPPB || ppb > maxVirtualPPB {
		return nil, fmt.Errorf("virtual clock: rate of %d ppb is outside ±%d", ppb, maxVirtualPPB)
	}
	return &Virtual{epoch: epoch, ppb: ppb, offset: offset}, nil
}

// Drift makes the rate change by so many ppb per second from the epoch on, until
// it has reached 500 ppm. It is to be called before the clock is used.
func (v *Virtual) Drift(ppbPerSecond float64) {
	room := float64(maxDriftPPB - v.ppb)
	if ppbPerSecond < 0 {
		room = float64(-maxDriftPPB - v.ppb)
	}
	v.drift, v.steady = 0, 0
	if seconds := room / ppbPerSecond; ppbPerSecond != 0 && seconds > 0 {
		v.drift, v.steady = ppbPerSecond, int64(min(seconds*1e9, math.MaxInt64/4))
	}
}

// TAIToLocal converts a CLOCK_TAI reading.
func (v *Virtual) TAIToLocal(tai int64) tsn.LocalTime {
	elapsed := tai - v.epoch
	return tsn.LocalTime(tai + v.offset + mulDiv(elapsed, v.ppb, 1_000_000_000) + v.drifted(elapsed))
}

// drifted is what the drift has made of elapsed ns: the square of them while it
// goes on.
func (v *Virtual) drifted(elapsed int64) int64 {
	curved := float64(max(min(elapsed, v.steady), 0)) * 1e-9
	straight := float64(max(elapsed-v.steady, 0)) * 1e-9
	return int64(math.Round(v.drift * curved * (curved/2 + straight)))
}

// rate is the frequency error at a time, ppb.
func (v *Virtual) rate(tai int64) float64 {
	return float64(v.ppb) + v.drift*float64(max(min(tai-v.epoch, v.steady), 0))*1e-9
}

// LocalToTAI is the inverse of TAIToLocal, exact to 1 ns.
func (v *Virtual) LocalToTAI(l tsn.LocalTime) int64 {
	elapsed := int64(l) - v.offset - v.epoch
	tai := v.epoch + elapsed - mulDiv(elapsed, v.ppb, 1_000_000_000+v.ppb)
	if v.drift == 0 {
		return tai
	}
	for range 4 { // Newton: the rate hardly changes from one to the next
		d := v.TAIToLocal(tai).Sub(l)
		tai -= d - roundScaled(d, v.rate(tai))
	}
	return tai
}

// Local converts a software stamp.
func (v *Virtual) Local(s Stamp) (tsn.LocalTime, bool) {
	offset, err := taiOffsetAt(s.NS)
	if err != nil || s.Hardware {
		return 0, false
	}
	return v.TAIToLocal(s.NS + offset), true
}

// Gate relates LocalClock to CLOCK_TAI.
func (v *Virtual) Gate() (GateMap, error) {
	tai, err := readPosix(unix.CLOCK_TAI)
	if err != nil {
		return GateMap{}, fmt.Errorf("virtual clock: %w", err)
	}
	rate := v.rate(tai)
	return GateMap{Local: v.TAIToLocal(tai), Gate: tai, RatePPB: -rate / (1 + rate*1e-9)}, nil
}

// taiSeen is what TAIOffset answered last, and for what time.
type taiSeen struct{ realtime, offset int64 }

// taiFresh is for how long, ns, that answer is good: the offset changes at a
// leap second, or when somebody tells the kernel.
const taiFresh = 1_000_000_000

var lastTAI atomic.Pointer[taiSeen]

// taiOffsetAt is TAIOffset for a stamp of CLOCK_REALTIME. It asks the kernel
// once a second, not for every stamp.
func taiOffsetAt(realtime int64) (int64, error) {
	if l := lastTAI.Load(); l != nil && realtime >= l.realtime && realtime-l.realtime < taiFresh {
		return l.offset, nil
	}
	offset, err := TAIOffset()
	if err == nil {
		lastTAI.Store(&taiSeen{realtime, offset})
	}
	return offset, err
}

// TAIOffset is CLOCK_TAI - CLOCK_REALTIME in ns: whole seconds, and 0 on a
// system that nobody has told.
func TAIOffset() (int64, error) {
	var tx unix.Timex
	if _, err := unix.ClockAdjtime(unix.CLOCK_REALTIME, &tx); err != nil {
		return 0, fmt.Errorf("read TAI offset: %w", err)
	}
	return int64(tx.Tai) * 1_000_000_000, nil
}

// mulDiv returns a*b/c rounded to the nearest (halves away from zero) without
// intermediate overflow. c > 0, and the result must fit.
func mulDiv(a, b, c int64) int64 {
	hi, lo := bits.Mul64(magnitude(a), magnitude(b))
	lo, carry := bits.Add64(lo, uint64(c)/2, 0)
	q, _ := bits.Div64(hi+carry, lo, uint64(c))
	if (a < 0) != (b < 0) {
		return -int64(q)
	}
	return int64(q)
}

func magnitude(a int64) uint64 {
	if a < 0 {
		return -uint64(a)
	}
	return uint64(a)
}

// roundScaled is x*ppb*1e-9 for x of any size that a correction is made of.
func roundScaled(x int64, ppb float64) int64 {
	return int64(math.Round(float64(x) * ppb * 1e-9))
}
