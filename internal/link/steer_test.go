package link

import (
	"errors"
	"testing"

	"pgregory.net/rapid"

	"tsnswitch"
)

// simulated is a kernel clock over an oscillator that the test turns.
type simulated struct {
	raw, reading, freq int64
	mono, tai          int64
	steps              int // ours
	fail               error
}

func (s *simulated) advance(ns int64) {
	s.raw += ns
	gone := ns + mulDiv(ns, s.freq, freqUnit)
	s.reading, s.mono = s.reading+gone, s.mono+gone
}

func (s *simulated) base() (int64, bool)     { return s.mono, true }
func (s *simulated) gates() (int64, error)   { return s.tai, nil }
func (s *simulated) setGates(ns int64) error { s.tai = ns; return s.fail }

func (s *simulated) read() (int64, error)      { return s.reading, nil }
func (s *simulated) frequency() (int64, error) { return s.freq, nil }
func (s *simulated) setFrequency(f int64) error {
	if s.fail == nil {
		s.freq = f
	}
	return s.fail
}

func (s *simulated) step(ns int64) error {
	if s.fail == nil {
		s.reading += ns
		s.steps++
	}
	return s.fail
}

func softwareReading(s Stamp) (int64, error) { return s.NS, nil }

// Closed loop: whatever offset and rate gPTP has, the clock follows it, and
// LocalClock does not notice (802.1AS-2020 10.1: nothing steers it).
func TestSteerFollowsGPTP(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		k := &simulated{
			raw: 1e18, reading: rapid.Int64Range(0, 1e18).Draw(t, "reading"),
			freq: rapid.Int64Range(-6_553_600, 6_553_600).Draw(t, "initial frequency"), // 100 ppm
		}
		c, err := newSteered(k, 500_000, softwareReading)
		if err != nil {
			t.Fatal(err)
		}
		// gPTP in terms of LocalClock, which equals the reading at the start.
		rel := tsn.ClockRelation{
			Local:   tsn.LocalTime(k.reading),
			PTP:     tsn.PTPTime{NS: k.reading + rapid.Int64Range(-1e15, 1e15).Draw(t, "offset")},
			RatePPB: float64(rapid.Int64Range(-200_000, 200_000).Draw(t, "rate")),
		}
		start, startRaw := rel.Local, k.raw
		const calls = 60
		var phase int64
		for range calls {
			if phase, err = c.Steer(rel); err != nil {
				t.Fatal(err)
			}
			k.advance(rapid.Int64Range(5e8, 2e9).Draw(t, "pause"))
			l, ok := c.Local(Stamp{NS: k.reading})
			if d := l.Sub(start) - (k.raw - startRaw); !ok || d < -2*calls || d > 2*calls {
				t.Fatalf("LocalClock moved by %d ns against its oscillator", d)
			}
		}
		if phase < -20 || phase > 20 {
			t.Fatalf("after %d calls the clock is %d ns from gPTP", calls, phase)
		}
		if k.steps > 1 {
			t.Fatalf("%d steps", k.steps)
		}
	})
}

// A frame stamped before an adjustment and handled after it gets the time it
// would have got before.
func TestAccountOldStamps(t *testing.T) {
	a := newAccount(1_000_000, 1_000_000, 0)
	before := a.toLocal(2_000_000)
	a.setFrequency(3_000_000, freqUnit/1000)
	if got := a.toLocal(2_000_000); got != before {
		t.Errorf("a stamp of before the change moved from %d to %d", before, got)
	}
	// 1.001 ms on a clock that is 1000 ppm fast are 1 ms.
	if got := a.toLocal(4_001_000); got != 4_000_000 {
		t.Errorf("after the change: %d", got)
	}
	a.step(4_001_000, 5_000_000)
	if got := a.toLocal(9_001_000); got != 4_000_000 {
		t.Errorf("a step moved LocalClock to %d", got)
	}
	for i := range 10 * maxSegments {
		a.setFrequency(9_001_000+int64(i), 0)
	}
	if len(a.segments) != maxSegments {
		t.Errorf("the account grew to %d segments", len(a.segments))
	}
}

func TestPlan(t *testing.T) {
	for _, tc := range []struct {
		name  string
		phase int64
		rate  float64
		want  correction
	}{
		{"on time", 0, 0, correction{}},
		{"rate only", 0, 1000, correction{freq: 65_536}},
		{"small error: within four seconds", 4000, 0, correction{freq: 65_536}},
		{"at the bound", -20_000, 0, correction{freq: -5 * 65_536}},
		{"above it: step, rate alone", 20_001, 1000, correction{step: 20_001, freq: 65_536}},
		{"clamped", 0, -900_000, correction{freq: -500 * 65_536}},
	} {
		if got := plan(tc.phase, tc.rate, FirstStepAbove, 500_000); got != tc.want {
			t.Errorf("%s: %+v, want %+v", tc.name, got, tc.want)
		}
	}
}

// A clock that may not be adjusted leaves the account as it was.
func TestSteerRefused(t *testing.T) {
	refused := errors.New("refused")
	k := &simulated{reading: 1e9, fail: refused}
	c, err := newSteered(k, 500_000, softwareReading)
	must(t, err)
	phase, err := c.Steer(tsn.ClockRelation{Local: 1e9, PTP: tsn.PTPTime{NS: 3e9}})
	if !errors.Is(err, refused) || phase != 2e9 {
		t.Errorf("Steer: %d, %v", phase, err)
	}
	if len(c.account.segments) != 1 {
		t.Errorf("account %+v", c.account)
	}
}

// follow steers for a number of seconds along a relation whose PTP end the
// measurement moves to and fro, and returns the largest error of the gate clock
// in the second half.
func follow(t *testing.T, c *Steered, k *simulated, rel tsn.ClockRelation, seconds int, noise int64) (worst int64) {
	t.Helper()
	for i := range seconds {
		measured := rel
		measured.PTP.NS += noise * int64(i%3-1)
		_, err := c.Steer(measured)
		must(t, err)
		k.advance(1e9)
		l, _ := c.Local(Stamp{NS: k.reading})
		if e := rel.At(l).NS - k.reading - k.tai; i > seconds/2 {
			worst = max(worst, e, -e)
		}
	}
	return worst
}

// 1000 s behind a grand master that runs 100 ppm fast, with measurements that
// are 30 us wrong: one step, and then the gate clock stays within the noise.
func TestSteerFarAway(t *testing.T) {
	k := &simulated{raw: 5, reading: 2_000e9, mono: 77, tai: 37e9}
	c, err := newSteered(k, 500_000, softwareReading)
	must(t, err)
	if l, _ := c.Local(Stamp{NS: k.reading}); l != 2_037e9 {
		t.Errorf("LocalClock starts at %d, not at CLOCK_TAI", l)
	}
	rel := tsn.ClockRelation{Local: 2_037e9, PTP: tsn.PTPTime{NS: 3_037e9}, RatePPB: 100_000}
	if worst := follow(t, c, k, rel, 60, 30_000); worst > 30_000 || k.steps != 1 {
		t.Errorf("error %d ns, %d steps", worst, k.steps)
	}
	// Half a millisecond is worked off, in one direction and without a jump.
	rel.PTP.NS += 500_000
	if worst := follow(t, c, k, rel, 60, 0); worst > 500 || k.steps != 1 {
		t.Errorf("error %d ns, %d steps", worst, k.steps)
	}
	rel.PTP.NS -= 5e9
	if worst := follow(t, c, k, rel, 30, 0); worst > 500 || k.steps != 2 {
		t.Errorf("error %d ns, %d steps", worst, k.steps)
	}
	if c.Others() != (Others{}) {
		t.Errorf("others are blamed: %+v", c.Others())
	}
}

// What other programs do to the clock does not reach LocalClock, is counted,
// and is put right; a leap second is nobody's fault.
func TestSteerOthers(t *testing.T) {
	k := &simulated{reading: 1e18, tai: 37e9}
	c, err := newSteered(k, 500_000, softwareReading)
	must(t, err)
	rel := tsn.ClockRelation{Local: tsn.LocalTime(k.reading + k.tai), PTP: tsn.PTPTime{NS: k.reading + k.tai}}
	start := k.raw
	follow(t, c, k, rel, 10, 0)
	for _, x := range []struct {
		what string
		do   func()
		want Others
	}{
		{"a step", func() { k.reading += 3e9 }, Others{Steps: 1}},
		{"a rate", func() { k.freq += 1000 }, Others{Steps: 1, Rates: 1}},
		{"a leap second", func() { k.reading -= 1e9; k.tai += 1e9 }, Others{Steps: 1, Rates: 1}},
	} {
		x.do()
		if changed, err := c.Watch(); err != nil || !changed || c.Others() != x.want {
			t.Errorf("%s: %t %+v %v", x.what, changed, c.Others(), err)
		}
		if changed, err := c.Watch(); err != nil || changed {
			t.Errorf("%s is seen twice", x.what)
		}
		l, _ := c.Local(Stamp{NS: k.reading})
		if d := l.Sub(rel.Local) - (k.raw - start); d < -100 || d > 100 {
			t.Errorf("%s moved LocalClock by %d ns", x.what, d)
		}
		if worst := follow(t, c, k, rel, 20, 0); worst > 500 {
			t.Errorf("after %s the clock stays %d ns away", x.what, worst)
		}
	}
}

// A frame that was stamped before a step back, and is handled after it, gets the
// time it would have got before; and so does one from after the step.
func TestSteerStampsAroundStep(t *testing.T) {
	k := &simulated{reading: 1e18}
	c, err := newSteered(k, 500_000, softwareReading)
	must(t, err)
	k.advance(3e9)
	old := Stamp{NS: k.reading - 100_000}
	before, _ := c.Local(old)
	rel := tsn.ClockRelation{Local: 1e18, PTP: tsn.PTPTime{NS: 1e18 - 1000e9}}
	_, err = c.Steer(rel)
	must(t, err)
	if after, _ := c.Local(old); after != before {
		t.Errorf("a stamp from before the step moved by %d ns", after.Sub(before))
	}
	k.advance(200_000)
	if l, _ := c.Local(Stamp{NS: k.reading}); l.Sub(before) < 299_000 || l.Sub(before) > 301_000 {
		t.Errorf("300 us later LocalClock is %d ns on", l.Sub(before))
	}
}

// The kernel is told the TAI offset: CLOCK_TAI is gPTP time in the end.
func TestSteerTAIOffset(t *testing.T) {
	k := &simulated{reading: 1e18}
	c, err := newSteered(k, 500_000, softwareReading)
	must(t, err)
	rel := tsn.ClockRelation{Local: tsn.LocalTime(k.reading), PTP: tsn.PTPTime{NS: k.reading + 1000e9}}
	follow(t, c, k, rel, 5, 0)
	must(t, c.SetTAIOffset(37e9))
	if worst := follow(t, c, k, rel, 20, 0); worst > 500 || k.tai != 37e9 || k.steps != 2 {
		t.Errorf("CLOCK_TAI is %d ns away, offset %d, %d steps", worst, k.tai, k.steps)
	}
	k.fail = errors.New("refused")
	if err := c.SetTAIOffset(38e9); !errors.Is(err, k.fail) || c.above != 37e9 {
		t.Errorf("a refused offset: %v, %d", err, c.above)
	}
}

func TestStepTimex(t *testing.T) {
	for ns, want := range map[int64][2]int64{
		1_500_000_000: {1, 500_000_000}, -1: {-1, 999_999_999}, -2_000_000_000: {-2, 0},
	} {
		tx := stepTimex(ns)
		if int64(tx.Time.Sec) != want[0] || int64(tx.Time.Usec) != want[1] {
			t.Errorf("%d ns: %+v", ns, tx.Time)
		}
	}
}
