package link

import (
	"fmt"
	"sync"

	"golang.org/x/sys/unix"

	"tsnswitch"
)

// DefaultStepAbove is the phase error, in ns, above which Steer steps.
const DefaultStepAbove int64 = 20_000

// adjustable is a clock of the kernel that can be steered; readings are ns.
type adjustable interface {
	read() (int64, error)
	frequency() (int64, error) // in freqUnit
	setFrequency(freq int64) error
	step(ns int64) error
}

// Steered is a kernel clock that follows gPTP time: the system clock, so that
// software gates run on gPTP time, or a PHC. LocalClock is the oscillator
// under it, with our own adjustments undone (802.1AS-2020 10.1: LocalClock is
// free-running). No other program (ntpd, chronyd, phc2sys) may
// adjust the clock at the same time.
type Steered struct {
	clock     adjustable
	stepAbove int64
	maxPPB    int64
	// reading turns a stamp into a reading of clock.
	reading func(Stamp) (int64, error)

	mu      sync.Mutex
	account account
}

// NewSystemClock returns the kernel's system clock for steering. Software
// gates then follow gPTP; CLOCK_TAI becomes gPTP time, CLOCK_REALTIME stays
// behind it by the kernel's TAI offset, which is not changed. Nothing is
// adjusted before the first Steer. A stepAbove of 0 means DefaultStepAbove.
func NewSystemClock(stepAbove int64) (*Steered, error) {
	return newSteered(systemClock, stepAbove, 500_000, func(s Stamp) (int64, error) {
		if s.Hardware {
			return 0, fmt.Errorf("a hardware stamp is no reading of the system clock")
		}
		offset, err := taiOffset()
		return s.NS + offset, err
	})
}

func newSteered(clock adjustable, stepAbove, maxPPB int64, reading func(Stamp) (int64, error)) (*Steered, error) {
	if stepAbove <= 0 {
		stepAbove = DefaultStepAbove
	}
	freq, err := clock.frequency()
	if err != nil {
		return nil, fmt.Errorf("read clock frequency: %w", err)
	}
	now, err := clock.read()
	if err != nil {
		return nil, fmt.Errorf("read clock: %w", err)
	}
	return &Steered{clock: clock, stepAbove: stepAbove, maxPPB: maxPPB, reading: reading, account: newAccount(now, freq)}, nil
}

// Local converts a stamp into LocalClock.
func (c *Steered) Local(s Stamp) (tsn.LocalTime, bool) {
	r, err := c.reading(s)
	if err != nil {
		return 0, false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.account.toLocal(r), true
}

// Gate relates LocalClock to the steered clock itself.
func (c *Steered) Gate() (GateMap, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now, err := c.clock.read()
	if err != nil {
		return GateMap{}, fmt.Errorf("read clock: %w", err)
	}
	return c.account.gate(now), nil
}

// Steer brings the clock towards gPTP time. It is to be called about once a
// second while gPTP time is known; without calls the clock keeps its rate. It
// returns the phase error found, ns (gPTP minus clock).
func (c *Steered) Steer(rel tsn.ClockRelation) (phase int64, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now, err := c.clock.read()
	if err != nil {
		return 0, fmt.Errorf("steer: read clock: %w", err)
	}
	phase = rel.At(c.account.toLocal(now)).NS - now
	todo := plan(phase, rel.RatePPB, c.stepAbove, c.maxPPB)
	if todo.step != 0 {
		if err := c.clock.step(todo.step); err != nil {
			return phase, fmt.Errorf("steer: step clock by %d ns (needs CAP_SYS_TIME): %w", todo.step, err)
		}
		c.account.step(now, todo.step)
		now += todo.step
	}
	if err := c.clock.setFrequency(todo.freq); err != nil {
		return phase, fmt.Errorf("steer: set clock frequency (needs CAP_SYS_TIME): %w", err)
	}
	c.account.setFrequency(now, todo.freq)
	return phase, nil
}

// posixClock is adjustable through clock_adjtime.
type posixClock struct{ reads, adjusts int32 }

// systemClock is read as TAI and adjusted as CLOCK_REALTIME, which it follows.
var systemClock = posixClock{reads: unix.CLOCK_TAI, adjusts: unix.CLOCK_REALTIME}

func (c posixClock) read() (int64, error) {
	var ts unix.Timespec
	err := unix.ClockGettime(c.reads, &ts)
	return ts.Nano(), err
}

func (c posixClock) frequency() (int64, error) {
	var tx unix.Timex
	_, err := unix.ClockAdjtime(c.adjusts, &tx)
	return int64(tx.Freq), err
}

func (c posixClock) setFrequency(freq int64) error {
	tx := unix.Timex{Modes: unix.ADJ_FREQUENCY}
	assign(&tx.Freq, freq)
	_, err := unix.ClockAdjtime(c.adjusts, &tx)
	return err
}

func (c posixClock) step(ns int64) error {
	tx := stepTimex(ns)
	_, err := unix.ClockAdjtime(c.adjusts, &tx)
	return err
}

// stepTimex asks for a step. The kernel wants the fraction positive, also of
// a negative step.
func stepTimex(ns int64) unix.Timex {
	s, frac := ns/1_000_000_000, ns%1_000_000_000
	if frac < 0 {
		s, frac = s-1, frac+1_000_000_000
	}
	tx := unix.Timex{Modes: unix.ADJ_SETOFFSET | unix.ADJ_NANO}
	assign(&tx.Time.Sec, s)
	assign(&tx.Time.Usec, frac) // ns, says ADJ_NANO
	return tx
}

// assign stores v in a field whose width depends on the architecture.
func assign[T ~int32 | ~int64](field *T, v int64) { *field = T(v) }
