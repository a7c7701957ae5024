package gptp

import (
	"math"
	"math/rand"
	"testing"

	tsn "tsnswitch"
)

// A servo that sees a drift does not lag behind it; with gains at their steady
// value nothing rings.
func TestServoDrift(t *testing.T) {
	for _, drift := range []float64{-2000, 100, 1000} { // ns/s/s
		s := servo{stepThreshold: 20_000}
		var rel tsn.ClockRelation
		for i := range 400 {
			l := tsn.LocalTime(i) * second / 8
			sec := float64(i) / 8
			truth := drift * sec * sec / 2
			if r := s.sample(rel, l, tsn.PTPTime{NS: int64(l) + int64(math.Round(truth))}, drift*sec); r.changed {
				rel = r.relation
			}
			if e := float64(rel.At(l).NS-int64(l)) - truth; i > 40 && math.Abs(e) > 5 {
				t.Fatalf("%.0f ns/s/s: %.0f ns off after %.1f s", drift, e, sec)
			}
		}
		if math.Abs(s.drift-drift) > 20 {
			t.Errorf("drift %.0f, want %.0f", s.drift, drift)
		}
	}
}

// Several Syncs in a row that are off are the truth if a clock can do what they
// say: a jump is believed after servoAgree of them. Those that a host lets out
// after a stall, each less late than the one before, are not.
func TestServoBelievesWhatAgrees(t *testing.T) {
	for _, c := range []struct {
		name  string
		off   func(i int) float64
		after int // Syncs; 0: never
	}{
		{"phase", func(int) float64 { return 50_000 }, servoAgree},
		{"rate", func(i int) float64 { return 10_000 * float64(i+1) }, servoAgree},
		{"stall", func(i int) float64 { return -1e9 + float64(i)*second/8 }, 0},
		{"late stamps", func(i int) float64 { return -3e6 * float64(1+i*i%5) }, 0},
	} {
		s := servo{stepThreshold: 20_000}
		var rel tsn.ClockRelation
		feed(&s, &rel, 0, 100, 1000, 10_000, quiet)
		believed := 0
		for i := range servoAgree + 3 {
			l := tsn.LocalTime(100+i) * second / 8
			ptp := int64(l) + 1000 + int64(float64(l)*10_000e-9) + int64(c.off(i))
			if r := s.sample(rel, l, tsn.PTPTime{NS: ptp}, 10_000); r.changed && believed == 0 {
				believed = i + 1
			}
		}
		if believed != c.after {
			t.Errorf("%s: believed after %d, want %d", c.name, believed, c.after)
		}
	}
}

// points makes a neighbour's clock that is rate ns/s fast now and drifts.
func points(n int, rate, drift, noise float64, r *rand.Rand) (ts, zs []float64) {
	for i := range n {
		t := float64(i - n + 1)
		ts, zs = append(ts, t), append(zs, 5e6+rate*t+drift*t*t/2+noise*r.NormFloat64())
	}
	return ts, zs
}

// neighborRateRatio: exact for a clock that drifts; as good as a line where there
// is nothing but noise, since no curve is seen in it; and from enough stamps only.
func TestRateFit(t *testing.T) {
	r := rand.New(rand.NewSource(1))
	f := fitPoints(points(8, 37_000, -1500, 0, r))
	if math.Abs(f.rate-37_000) > 1e-3 || math.Abs(f.drift+1500) > 1e-3 {
		t.Errorf("%+v", f)
	}
	curved, square := 0, 0.0
	for range 1000 {
		f := fitPoints(points(8, 5000, 0, 1000, r))
		if f.drift != 0 {
			curved++
		}
		square += (f.rate - 5000) * (f.rate - 5000)
	}
	if rms := math.Sqrt(square / 1000); curved > 20 || rms > 1.2*1000*math.Sqrt(12.0/(8*63)) {
		t.Errorf("%d of 1000 seen as curved, rms %.0f ns/s", curved, rms)
	}
	if f := fitPoints(points(4, 0, 500, 0, r)); f.drift != 0 || !f.ok {
		t.Errorf("a curve through four: %+v", f)
	}
	if f := fitPoints([]float64{0, 0, 0}, []float64{1, 2, 3}); f.ok {
		t.Errorf("a slope out of one moment: %+v", f)
	}
}

// Between exchanges the ratio goes on as it drifts, but not for long.
func TestRateRatioIsCarriedOn(t *testing.T) {
	l := linkEstimate{rateRatio: 1, drift: 1e-6, rateAt: 100 * second}
	for _, c := range []struct {
		at   tsn.LocalTime
		want float64
	}{{100 * second, 0}, {101 * second, 1}, {99 * second, -1}, {200 * second, maxDriftAge}, {0, minDriftAge}} {
		if got := (l.ratio(c.at) - 1) * 1e6; math.Abs(got-c.want) > 1e-6 {
			t.Errorf("at %d: %.3f ppm, want %.3f", c.at, got, c.want)
		}
	}
}
