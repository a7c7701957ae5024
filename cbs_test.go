package tsn_test

import (
	"math/big"
	"testing"

	"pgregory.net/rapid"

	"tsnswitch"
)

// group is streams of one class: size octets, frames per class measurement interval.
type group struct {
	size, frames uint16
	count        int
}

func shaped(interval int64, loads ...group) (c tsn.ShapedClass) {
	for _, l := range loads {
		s := tsn.Stream{Interval: interval, MaxFrameSize: l.size, MaxIntervalFrames: l.frames}
		c.IdleSlope += s.Bandwidth() * tsn.Rate(l.count)
		c.MaxFrame = max(c.MaxFrame, s.WireOctets())
	}
	return c
}

// Known answers for 802.1Q 34.4 and L.3.1: classes A and B.
func TestShaperVectors(t *testing.T) {
	for _, tt := range []struct {
		name         string
		rate         tsn.Rate
		a, b         []group
		wantA, wantB tsn.Shaper
	}{
		{"1G A 84", tsn.Gbps, []group{{84, 1, 1}}, nil, tsn.Shaper{8064, -991936, 13, -125}, tsn.Shaper{}},
		{"100M A 84", 100 * tsn.Mbps, []group{{84, 1, 1}}, nil, tsn.Shaper{8064, -91936, 125, -116}, tsn.Shaper{}},
		{
			"1G A 3x224, B 2x224", tsn.Gbps,
			[]group{{224, 1, 3}},
			[]group{{224, 1, 2}},
			tsn.Shaper{51072, -948928, 79, -253},
			tsn.Shaper{17024, -982976, 33, -262},
		},
		{
			"1G A 1500, B 1500x2", tsn.Gbps,
			[]group{{1500, 1, 1}},
			[]group{{1500, 2, 1}},
			tsn.Shaper{98688, -901312, 153, -1390},
			tsn.Shaper{98688, -901312, 322, -1390},
		},
		{
			"100M A 224+84, B 1000", 100 * tsn.Mbps,
			[]group{{224, 1, 1}, {84, 1, 1}},
			[]group{{1000, 1, 1}},
			tsn.Shaper{25088, -74912, 387, -200},
			tsn.Shaper{33344, -66656, 776, -695},
		},
	} {
		classA, classB := shaped(125_000, tt.a...), shaped(250_000, tt.b...)
		a, errA := tsn.NewShaper(tt.rate, classA, nil, tsn.MaxFrameOctets)
		b, errB := tsn.NewShaper(tt.rate, classB, []tsn.ShapedClass{classA}, tsn.MaxFrameOctets)
		if a != tt.wantA || errA != nil {
			t.Errorf("%s: class A %+v, %v, want %+v", tt.name, a, errA, tt.wantA)
		}
		if b != tt.wantB || errB != nil {
			t.Errorf("%s: class B %+v, %v, want %+v", tt.name, b, errB, tt.wantB)
		}
	}
}

// Whatever the load and however many classes are shaped, together they leave
// the medium something, and the credits are those of exact arithmetic (L.3.1).
func TestShaperProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rate := tsn.Rate(rapid.Uint64Range(1, 400_000_000).Draw(t, "rate"))
		var above []tsn.ShapedClass
		var sum tsn.Rate
		for range rapid.IntRange(1, tsn.MaxTrafficClasses).Draw(t, "classes") {
			c := tsn.ShapedClass{
				IdleSlope: tsn.Rate(rapid.Uint64Range(0, uint64(rate)*5/4).Draw(t, "idle")),
				MaxFrame:  rapid.IntRange(84, tsn.MaxFrameOctets).Draw(t, "frame"),
			}
			s, err := tsn.NewShaper(rate, c, above, tsn.MaxFrameOctets)
			if fits := c.IdleSlope == 0 || sum+c.IdleSlope < rate; fits != (err == nil) {
				t.Fatalf("%v after %v of %v: %v", c.IdleSlope, sum, rate, err)
			}
			if err != nil {
				continue
			}
			if c.IdleSlope == 0 {
				if s != (tsn.Shaper{}) {
					t.Fatalf("no slope, but %+v", s)
				}
			} else {
				checkShaper(t, s, rate, rate-sum, c, above)
			}
			above, sum = append(above, c), sum+c.IdleSlope
		}
	})
}

func checkShaper(t *rapid.T, s tsn.Shaper, rate, left tsn.Rate, c tsn.ShapedClass, above []tsn.ShapedClass) {
	ratio := func(a, b int64) *big.Rat { return big.NewRat(a, b) }
	wait := ratio(tsn.MaxFrameOctets, int64(left))
	for _, a := range above {
		if a.IdleSlope > 0 {
			wait.Add(wait, ratio(int64(a.MaxFrame), int64(rate)))
		}
	}
	hi := wait.Mul(wait, ratio(int64(c.IdleSlope), 1))
	lo := ratio(int64(c.MaxFrame)*(int64(rate)-int64(c.IdleSlope)), int64(rate))
	for _, x := range []struct {
		got   int64
		exact *big.Rat
	}{{s.HiCredit, hi}, {-s.LoCredit, lo}} {
		over := new(big.Rat).Sub(ratio(x.got, 1), x.exact)
		if over.Sign() < 0 || over.Cmp(ratio(1, 1)) >= 0 {
			t.Fatalf("%+v: %d is not %v rounded up", s, x.got, x.exact)
		}
	}
	if s.IdleSlope != int64(c.IdleSlope) || s.SendSlope != s.IdleSlope-int64(rate) {
		t.Fatalf("%+v at %v", s, rate)
	}
}

// 802.1Q 8.6.8.2 f and g.
func TestOperIdleSlope(t *testing.T) {
	list := &tsn.GateControlList{CycleTime: 1000, Entries: []tsn.GateEntry{{Gates: 0b01, Interval: 300}, {Gates: 0b11, Interval: 200}, {Gates: 0b10, Interval: 100}}}
	if a, b := list.OpenTime(0), list.OpenTime(1); a != 500 || b != 200+100+400 {
		t.Errorf("open for %d and %d ns", a, b)
	}
	for _, c := range []struct {
		admin, want tsn.Rate
		cycle, open int64
	}{
		{8064, 16128, 1000, 500},
		{10, 34, 1000, 300}, // rounded up
		{8064, 8064, 1000, 1000},
		{8064, 0, 1000, 0},
		{tsn.Gbps, 1<<63 - 1, 1 << 62, 1},
	} {
		if got := tsn.OperIdleSlope(c.admin, c.cycle, c.open); got != c.want {
			t.Errorf("%d of %d ns: %d, want %d", c.open, c.cycle, got, c.want)
		}
	}
}
