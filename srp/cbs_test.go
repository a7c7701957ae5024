package srp

import (
	"math"
	"testing"

	"pgregory.net/rapid"
	"tsnswitch"
)

// streams of one class: size octets, frames per class measurement interval.
type group struct {
	size, frames uint16
	count        int
}

func classLoad(interval int64, loads ...group) (c ClassLoad) {
	for _, l := range loads {
		s := tsn.Stream{Interval: interval, MaxFrameSize: l.size, MaxIntervalFrames: l.frames}
		c.IdleSlope += s.Bandwidth() * tsn.Rate(l.count)
		c.MaxFrame = max(c.MaxFrame, s.WireOctets())
	}
	return c
}

// Known answers for 802.1Q 34.4 and Annex L.3.1.
func TestCBSVectors(t *testing.T) {
	tests := []struct {
		name string
		rate tsn.Rate
		a, b []group
		wa   Shaper
		wb   Shaper
	}{
		{"1G A 84", tsn.Gbps, []group{{84, 1, 1}}, nil, Shaper{8064, -991936, 13, -125}, Shaper{}},
		{"100M A 84", 100 * tsn.Mbps, []group{{84, 1, 1}}, nil, Shaper{8064, -91936, 125, -116}, Shaper{}},
		{
			"1G A 3x224, B 2x224", tsn.Gbps,
			[]group{{224, 1, 3}},
			[]group{{224, 1, 2}},
			Shaper{51072, -948928, 79, -253},
			Shaper{17024, -982976, 33, -262},
		},
		{
			"1G A 1500, B 1500x2", tsn.Gbps,
			[]group{{1500, 1, 1}},
			[]group{{1500, 2, 1}},
			Shaper{98688, -901312, 153, -1390},
			Shaper{98688, -901312, 322, -1390},
		},
		{
			"100M A 224+84, B 1000", 100 * tsn.Mbps,
			[]group{{224, 1, 1}, {84, 1, 1}},
			[]group{{1000, 1, 1}},
			Shaper{25088, -74912, 387, -200},
			Shaper{33344, -66656, 776, -695},
		},
	}
	for _, tt := range tests {
		a, b := CBS(tt.rate, classLoad(125_000, tt.a...), classLoad(250_000, tt.b...), MaxNonSROctets)
		if a != tt.wa {
			t.Errorf("%s: class A %+v, want %+v", tt.name, a, tt.wa)
		}
		if b != tt.wb {
			t.Errorf("%s: class B %+v, want %+v", tt.name, b, tt.wb)
		}
	}
}

// Whatever the load, CBS neither panics nor yields a shaper that could send
// more than its slope: credits keep their sign and agree with floating point.
func TestCBSProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rate := tsn.Rate(rapid.Uint64Range(1, 400_000_000).Draw(t, "rate"))
		a := ClassLoad{tsn.Rate(rapid.Uint64Range(0, 500_000_000).Draw(t, "a")), rapid.IntRange(88, 1542).Draw(t, "maxA")}
		b := ClassLoad{tsn.Rate(rapid.Uint64Range(0, 500_000_000).Draw(t, "b")), rapid.IntRange(88, 1542).Draw(t, "maxB")}
		sa, sb := CBS(rate, a, b, MaxNonSROctets)
		for _, s := range []Shaper{sa, sb} {
			if s.IdleSlope == 0 {
				if s != (Shaper{}) {
					t.Fatalf("no slope, but %+v", s)
				}
				continue
			}
			if s.SendSlope != s.IdleSlope-int64(rate) || s.HiCredit <= 0 || s.LoCredit >= 0 {
				t.Fatalf("%+v at %d kbit/s", s, rate)
			}
		}
		if sa.IdleSlope+sb.IdleSlope >= int64(rate) {
			t.Fatalf("slopes %d and %d fill the link", sa.IdleSlope, sb.IdleSlope)
		}
		if sb.IdleSlope > 0 {
			maxA := float64(a.MaxFrame)
			if a.IdleSlope == 0 {
				maxA = 0
			}
			hi := float64(b.IdleSlope) * (MaxNonSROctets/float64(rate-a.IdleSlope) + maxA/float64(rate))
			if math.Abs(float64(sb.HiCredit)-math.Ceil(hi)) > 1 {
				t.Fatalf("hiCredit %d, floating point says %f", sb.HiCredit, hi)
			}
		}
	})
}
