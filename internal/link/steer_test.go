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
	fail               error
}

func (s *simulated) advance(ns int64) {
	s.raw += ns
	s.reading += ns + mulDiv(ns, s.freq, freqUnit)
}

func (s *simulated) read() (int64, error)      { return s.reading, nil }
func (s *simulated) frequency() (int64, error) { return s.freq, nil }
func (s *simulated) setFrequency(f int64) error {
	s.freq = f
	return s.fail
}

func (s *simulated) step(ns int64) error {
	s.reading += ns
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
		c, err := newSteered(k, 0, 500_000, softwareReading)
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
	})
}

// A frame stamped before an adjustment and handled after it gets the time it
// would have got before.
func TestAccountOldStamps(t *testing.T) {
	a := newAccount(1_000_000, 0)
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
		if got := plan(tc.phase, tc.rate, DefaultStepAbove, 500_000); got != tc.want {
			t.Errorf("%s: %+v, want %+v", tc.name, got, tc.want)
		}
	}
}

// A clock that may not be adjusted leaves the account as it was.
func TestSteerRefused(t *testing.T) {
	refused := errors.New("refused")
	k := &simulated{reading: 1e9, fail: refused}
	c, err := newSteered(k, 0, 500_000, softwareReading)
	must(t, err)
	phase, err := c.Steer(tsn.ClockRelation{Local: 1e9, PTP: tsn.PTPTime{NS: 3e9}})
	if !errors.Is(err, refused) || phase != 2e9 {
		t.Errorf("Steer: %d, %v", phase, err)
	}
	if len(c.account.segments) != 1 {
		t.Errorf("account %+v", c.account)
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
