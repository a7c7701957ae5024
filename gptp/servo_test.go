package gptp

import (
	"math"
	"math/rand"
	"testing"

	tsn "tsnswitch"
)

// feed gives the servo n Syncs 1/8 s apart of a grand master that is ahead of
// LocalClock by phase ns and runs ppb faster, with noise; it returns the
// largest true error of the relation over the last half.
func feed(s *servo, rel *tsn.ClockRelation, from, n int, phase, ppb float64, noise func(i int) float64) (worst float64) {
	for i := range n {
		l := tsn.LocalTime(from+i) * second / 8
		truth := func(l tsn.LocalTime) float64 { return phase + float64(l)*ppb*1e-9 }
		ptp := tsn.PTPTime{NS: int64(l) + int64(math.Round(truth(l)+noise(i)))}
		if r := s.sample(*rel, l, ptp, ppb+2000); r.changed { // the measured rate is 2 ppm wrong
			*rel = r.relation
		}
		if i >= n/2 {
			worst = max(worst, math.Abs(float64(rel.At(l).NS-int64(l))-truth(l)))
		}
	}
	return worst
}

func quiet(int) float64 { return 0 }

// The servo locks on three Syncs, is settled after another half second and
// removes an error of the measured rate.
func TestServoFirstLock(t *testing.T) {
	s := servo{stepThreshold: 20_000}
	var rel tsn.ClockRelation
	feed(&s, &rel, 0, 2, 1e18, 50_000, quiet)
	if s.everSet {
		t.Fatal("set by two Syncs")
	}
	feed(&s, &rel, 2, 6, 1e18, 50_000, quiet)
	if !s.settled() {
		t.Fatalf("not settled: k %d", s.k)
	}
	if worst := feed(&s, &rel, 8, 80, 1e18, 50_000, quiet); worst > 10 {
		t.Errorf("error %.0f ns", worst)
	}
}

// One Sync in ten is milliseconds late, in the first three too: not believed.
func TestServoOutliers(t *testing.T) {
	s := servo{stepThreshold: 20_000}
	r := rand.New(rand.NewSource(1))
	var rel tsn.ClockRelation
	worst := feed(&s, &rel, 0, 800, 1e9, -30_000, func(i int) float64 {
		n := r.NormFloat64() * 1000
		if i == 1 || i%10 == 9 {
			n -= 5e6
		}
		return n
	})
	if worst > 3000 || s.stats.outliers < 79 || s.stats.outliers > 90 {
		t.Errorf("error %.0f ns, %d outliers", worst, s.stats.outliers)
	}
}

// A grand master that jumps is followed after servoPatience and servoAcquire
// Syncs, told as a step, with the rate unhurt.
func TestServoStep(t *testing.T) {
	s := servo{stepThreshold: 20_000}
	var rel tsn.ClockRelation
	feed(&s, &rel, 0, 100, 1000, 10_000, quiet)
	stepped := 0
	for i := range servoPatience + servoAcquire {
		l := tsn.LocalTime(100+i) * second / 8
		ptp := tsn.PTPTime{NS: int64(l) + 1000 + int64(float64(l)*10_000e-9) + second}
		r := s.sample(rel, l, ptp, 10_000)
		if r.changed {
			rel = r.relation
		}
		if r.stepped {
			stepped++
			if r.offset > -second+20 || r.offset < -second-20 {
				t.Errorf("step of %d", r.offset)
			}
		}
	}
	if worst := feed(&s, &rel, 100+servoPatience+servoAcquire, 100, 1000+second, 10_000, quiet); stepped != 1 || worst > 20 {
		t.Errorf("%d steps, then %.0f ns off", stepped, worst)
	}
	if math.Abs(rel.RatePPB-10_000) > 50 {
		t.Errorf("rate %.0f ppb", rel.RatePPB)
	}
}

// Nonsense from the wire neither makes NaN nor leaves the servo stuck.
func TestServoSurvivesNonsense(t *testing.T) {
	s := servo{stepThreshold: 20_000}
	var rel tsn.ClockRelation
	r := rand.New(rand.NewSource(2))
	for range 2000 {
		res := s.sample(rel, tsn.LocalTime(r.Uint64()), tsn.PTPTime{NS: int64(r.Uint64())}, r.NormFloat64()*1e9)
		if res.changed {
			rel = res.relation
		}
		if math.IsNaN(rel.RatePPB) || math.Abs(rel.RatePPB) > servoMaxRate {
			t.Fatalf("rate %v", rel.RatePPB)
		}
	}
	s.acquire()
	rel = tsn.ClockRelation{}
	if worst := feed(&s, &rel, 0, 300, 5, 5, quiet); worst > 20 {
		t.Errorf("error %.0f ns afterwards", worst)
	}
}
