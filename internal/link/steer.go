package link

import (
	"errors"
	"fmt"
	"sync"

	"golang.org/x/sys/unix"

	"tsnswitch"
)

// Phase errors, in ns, above which Steer steps the clock: at first, and once it
// has followed. What runs by the clock bears a slope better than a jump.
const (
	FirstStepAbove int64 = 20_000
	LaterStepAbove int64 = 1_000_000
)

// adjustable is a clock of the kernel that can be steered; readings are ns.
type adjustable interface {
	read() (int64, error)
	frequency() (int64, error) // in freqUnit
	setFrequency(freq int64) error
	step(ns int64) error
	// base is what the clock would read had it never been stepped, up to a
	// constant; ok false if there is no telling.
	base() (ns int64, ok bool)
	// gates is what the clock that gates run on reads above this one, ns.
	gates() (int64, error)
	setGates(ns int64) error
}

// Steered is a kernel clock that follows gPTP time: the system clock, so that
// software gates run on gPTP time, or a PHC. LocalClock is the oscillator
// under it, with all adjustments undone (802.1AS-2020 10.1: LocalClock is
// free-running):
//
//	gPTP ── relation ──> LocalTime ── account ──> reading (CLOCK_REALTIME)
//	  │                                             │ + TAI offset
//	  └────────────── phase error ──────────── gate clock (CLOCK_TAI)
//	                       │
//	                 step or frequency
//
// The control law is in plan: gPTP's own rate, plus what works the phase error
// off within correctionTime. It has no integral part and no filter, because the
// rate and the filter are those of the gPTP servo already. The first correction
// may be a step, later ones only beyond LaterStepAbove. The kernel takes no more
// than 500 ppm; a phase error below the bound needs half of that at most.
//
// No other program (ntpd, chronyd, phc2sys) should adjust the clock at the same
// time. What one does is seen by Watch, undone in LocalClock, counted in Others,
// and corrected as any other phase error.
type Steered struct {
	clock  adjustable
	maxPPB int64
	// reading turns a stamp into a reading of clock.
	reading func(Stamp) (int64, error)

	mu       sync.Mutex
	account  account
	followed bool  // a Steer has succeeded
	stepped  int64 // reading minus base
	hasBase  bool
	above    int64 // gates, when last read
	others   Others
}

// Others counts what other programs did to a clock that is ours to steer.
type Others struct{ Steps, Rates uint64 }

// NewSystemClock returns the kernel's system clock for steering. CLOCK_TAI, and
// with it software gates, becomes gPTP time; CLOCK_REALTIME stays behind it by
// the kernel's TAI offset. Nothing is adjusted before the first Steer, and
// nothing here but Steer and SetTAIOffset needs CAP_SYS_TIME.
func NewSystemClock() (*Steered, error) {
	return newSteered(systemClock, 500_000, func(s Stamp) (int64, error) {
		if s.Hardware {
			return 0, errors.New("a hardware stamp is no reading of the system clock")
		}
		return s.NS, nil
	})
}

// newSteered starts LocalClock at what the gate clock reads.
func newSteered(clock adjustable, maxPPB int64, reading func(Stamp) (int64, error)) (*Steered, error) {
	freq, err := clock.frequency()
	if err != nil {
		return nil, fmt.Errorf("read clock frequency: %w", err)
	}
	c := &Steered{clock: clock, maxPPB: maxPPB, reading: reading}
	if c.above, err = clock.gates(); err != nil {
		return nil, fmt.Errorf("read TAI offset: %w", err)
	}
	now, err := clock.read()
	if err != nil {
		return nil, fmt.Errorf("read clock: %w", err)
	}
	c.account = newAccount(now, tsn.LocalTime(now+c.above), freq)
	c.rebase()
	return c, nil
}

// Local converts a stamp into LocalClock.
func (c *Steered) Local(s Stamp) (tsn.LocalTime, bool) {
	r, err := c.reading(s)
	if err != nil {
		return 0, false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if i := c.account.stepBack(); i > 0 {
		// A stamp that lies ahead of the clock is one from before the step.
		if now, err := c.clock.read(); err == nil && r > now+stampAhead {
			return c.account.beforeStep(i, r), true
		}
	}
	return c.account.toLocal(r), true
}

// stampAhead is by how many ns a stamp may seem to be ahead of the clock that is
// read after it.
const stampAhead = 1_000_000

// Gate relates LocalClock to the clock that gates run on.
func (c *Steered) Gate() (GateMap, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now, err := c.clock.read()
	if err != nil {
		return GateMap{}, fmt.Errorf("read clock: %w", err)
	}
	g := c.account.gate(now)
	g.Gate += c.above
	return g, nil
}

// Others tells what other programs did.
func (c *Steered) Others() Others {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.others
}

// Watch looks for adjustments made by others, and reports whether there were
// any since the last look.
func (c *Steered) Watch() (changed bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.watch()
}

// stepNoise is the smallest step, in ns, that is told from the time that passes
// between two readings.
const stepNoise = 200_000

func (c *Steered) watch() (changed bool, err error) {
	above, err := c.clock.gates()
	if err != nil {
		return false, fmt.Errorf("read TAI offset: %w", err)
	}
	told := above - c.above
	c.above = above
	if !c.hasBase {
		c.rebase()
	} else {
		step, now := c.stepOfOthers()
		if step != 0 {
			c.account.step(now-step, step)
			c.rebase()
			if sum := step + told; max(sum, -sum) > stepNoise { // else a leap second
				c.others.Steps++
			}
			changed = true
		}
	}
	freq, err := c.clock.frequency()
	if err != nil {
		return changed, fmt.Errorf("read clock frequency: %w", err)
	}
	if freq != c.account.last().freq {
		now, err := c.clock.read()
		if err != nil {
			return changed, fmt.Errorf("read clock: %w", err)
		}
		c.account.setFrequency(now, freq)
		c.others.Rates++
		changed = true
	}
	return changed || told != 0, nil
}

// stepOfOthers is by how much the clock jumped since rebase, and what it reads.
func (c *Steered) stepOfOthers() (step, now int64) {
	stepped, now, ok := c.compare()
	if d := stepped - c.stepped; ok && max(d, -d) > stepNoise {
		return d, now
	}
	return 0, now
}

// rebase takes the clock as it is.
func (c *Steered) rebase() { c.stepped, _, c.hasBase = c.compare() }

// compare reads the clock between two readings of its base, as often as it
// takes for one pair to be close together.
func (c *Steered) compare() (stepped, now int64, ok bool) {
	best := int64(stepNoise)
	for range 5 {
		before, ok1 := c.clock.base()
		reading, err := c.clock.read()
		after, ok2 := c.clock.base()
		if width := after - before; ok1 && ok2 && err == nil && width >= 0 && width < best {
			best, stepped, now, ok = width, reading-before-width/2, reading, true
		}
		if best < stepNoise/10 {
			break
		}
	}
	return stepped, now, ok
}

// SetTAIOffset tells the kernel by how many ns CLOCK_TAI is ahead of
// CLOCK_REALTIME: whole seconds. It moves CLOCK_TAI; the next Steer moves both.
func (c *Steered) SetTAIOffset(ns int64) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if ns == c.above {
		return nil
	}
	if err := c.clock.setGates(ns); err != nil {
		return fmt.Errorf("set TAI offset to %d ns (needs CAP_SYS_TIME): %w", ns, err)
	}
	c.above, c.followed = ns, false
	return nil
}

// Steer brings the clock towards gPTP time. It is to be called about once a
// second while gPTP time is known, since the frequency it sets includes the
// correction of the phase. It returns the phase error found, ns (gPTP minus gate
// clock). A Steer that was refused changes nothing.
func (c *Steered) Steer(rel tsn.ClockRelation) (phase int64, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, err := c.watch(); err != nil {
		return 0, fmt.Errorf("steer: %w", err)
	}
	now, err := c.clock.read()
	if err != nil {
		return 0, fmt.Errorf("steer: read clock: %w", err)
	}
	phase = rel.At(c.account.toLocal(now)).NS - now - c.above
	bound := LaterStepAbove
	if !c.followed {
		bound = FirstStepAbove
	}
	todo := plan(phase, rel.RatePPB, bound, c.maxPPB)
	if todo.step != 0 {
		if err := c.clock.step(todo.step); err != nil {
			return phase, fmt.Errorf("steer: step clock by %d ns (needs CAP_SYS_TIME): %w", todo.step, err)
		}
		c.account.step(now, todo.step)
		c.rebase()
		now += todo.step
	}
	if err := c.clock.setFrequency(todo.freq); err != nil {
		return phase, fmt.Errorf("steer: set clock frequency (needs CAP_SYS_TIME): %w", err)
	}
	if now, err = c.clock.read(); err != nil {
		return phase, fmt.Errorf("steer: read clock: %w", err)
	}
	// The kernel keeps what it was given, rounded.
	if todo.freq, err = c.clock.frequency(); err != nil {
		return phase, fmt.Errorf("steer: read clock frequency: %w", err)
	}
	c.account.setFrequency(now, todo.freq)
	c.followed = true
	return phase, nil
}

// posixClock is adjustable through clock_adjtime.
type posixClock struct{ id int32 }

// systemClock is CLOCK_REALTIME; CLOCK_TAI follows it.
var systemClock = posixClock{unix.CLOCK_REALTIME}

func (c posixClock) read() (int64, error) { return readPosix(c.id) }

func readPosix(id int32) (int64, error) {
	var ts unix.Timespec
	err := unix.ClockGettime(id, &ts)
	return ts.Nano(), err
}

// base: CLOCK_MONOTONIC has all of the system clock's rates and none of its
// steps.
func (c posixClock) base() (int64, bool) {
	ns, err := readPosix(unix.CLOCK_MONOTONIC)
	return ns, err == nil && c == systemClock
}

func (c posixClock) gates() (int64, error) {
	if c != systemClock {
		return 0, nil
	}
	return TAIOffset()
}

func (c posixClock) setGates(ns int64) error {
	if c != systemClock {
		return errors.ErrUnsupported
	}
	tx := unix.Timex{Modes: unix.ADJ_TAI}
	assign(&tx.Constant, ns/1_000_000_000)
	if _, err := unix.ClockAdjtime(c.id, &tx); err != nil {
		return err
	}
	lastTAI.Store(nil)
	return nil
}

func (c posixClock) frequency() (int64, error) {
	var tx unix.Timex
	_, err := unix.ClockAdjtime(c.id, &tx)
	return int64(tx.Freq), err
}

func (c posixClock) setFrequency(freq int64) error {
	tx := unix.Timex{Modes: unix.ADJ_FREQUENCY}
	assign(&tx.Freq, freq)
	_, err := unix.ClockAdjtime(c.id, &tx)
	return err
}

func (c posixClock) step(ns int64) error {
	tx := stepTimex(ns)
	_, err := unix.ClockAdjtime(c.id, &tx)
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
