package srbound

import (
	"errors"
	"math/rand/v2"
	"testing"

	tsn "tsnswitch"
)

const classA, classB = 3, 2

// scene is a port with classes A and B, and what comes.
type scene struct {
	port    Port
	classes []Class
	in      []Flow
}

func randomScene(r *rand.Rand) scene {
	s := scene{port: Port{Rate: tsn.Gbps, MaxOther: 84 + r.IntN(1459), PerEntry: r.IntN(3) == 0}}
	if r.IntN(3) == 0 {
		s.port.Control = Flow{Burst: 100 + r.IntN(1500), Rate: tsn.Rate(r.IntN(50_000))}
	}
	list := &tsn.GateControlList{}
	for range 1 + r.IntN(5) {
		gates := []tsn.GateMask{0b1000_1111, 0b0001_0000, 0, 0b1000_1101, 0b1000_0011}[max(0, r.IntN(7)-2)]
		e := tsn.GateEntry{Gates: gates, Interval: 5_000 + r.Int64N(120_000)}
		list.Entries = append(list.Entries, e)
		list.CycleTime += e.Interval
	}
	s.port.Gates = list
	for c := tsn.TrafficClass(classA); c >= classB; c-- {
		f := Flow{Burst: 300 + r.IntN(6000), Rate: tsn.Rate(1000 + r.IntN(200_000))}
		slope := tsn.OperIdleSlope(f.Rate+tsn.Rate(r.IntN(50_000)), list.CycleTime, max(list.OpenTime(c)*int64(5+r.IntN(5))/10, 1))
		s.classes = append(s.classes, Class{Class: c, IdleSlope: slope, MaxFrame: min(84+r.IntN(1459), f.Burst)})
		s.in = append(s.in, f)
	}
	return s
}

// play runs the scene with all bursts at a random phase of the gates and
// returns the worst latency of each class.
func (s *scene) play(r *rand.Rand) [8]int64 {
	p := &port{Port: s.port}
	cycle := s.port.Gates.CycleTime
	start, until := r.Int64N(cycle), 6*cycle
	shift := func() int64 { return start + max(0, r.Int64N(40_000)-20_000) }
	for i, c := range s.classes {
		p.slope[c.Class] = int64(c.IdleSlope)
		p.come[c.Class] = greedy(r, s.in[i], c.MaxFrame, shift(), until)
	}
	p.come[7] = greedy(r, s.port.Control, max(s.port.Control.Burst, 64), shift(), until)
	p.come[0] = greedy(r, Flow{1 << 20, tsn.Gbps}, max(s.port.MaxOther, 64), 0, until)
	p.run(until + 4*cycle)
	return p.worst
}

// No frame is later than the bound, and some come near it.
func TestBoundAgainstSimulation(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 4))
	bounded, sum, most := 0, 0.0, 0.0
	for n := range 250 {
		s := randomScene(r)
		var bounds [8]int64
		some := false
		for i, c := range s.classes {
			b, err := Latency(s.port, s.classes, i, s.in[i])
			if err == nil {
				bounds[c.Class], some = b.Latency, true
			} else if !errors.Is(err, ErrOverload) && !errors.Is(err, ErrShort) {
				t.Fatalf("case %d: %v: %+v", n, err, s)
			}
		}
		if !some {
			continue
		}
		var worst [8]int64
		for range 20 {
			w := s.play(r)
			for c := range w {
				worst[c] = max(worst[c], w[c])
			}
		}
		for c, b := range bounds {
			if b == 0 {
				continue
			}
			if worst[c] > b {
				t.Fatalf("case %d: class %d takes %d ns, the bound is %d\n%+v\n%s", n, c, worst[c], b, s, s.port.Gates)
			}
			bounded++
			sum += float64(b) / float64(worst[c])
			most = max(most, float64(b)/float64(worst[c]))
		}
	}
	mean := sum / float64(bounded)
	t.Logf("%d bounds, %.2f times the worst latency seen on average, %.1f at most", bounded, mean, most)
	if bounded < 200 || mean > 3 {
		t.Errorf("%d bounds, %.2f times the worst latency seen on average", bounded, mean)
	}
}

// gates makes a list of open and shut times of classes A, B and best effort.
func gates(open, shut int64) *tsn.GateControlList {
	return &tsn.GateControlList{CycleTime: open + shut, Entries: []tsn.GateEntry{{Gates: 0b1111, Interval: open}, {Gates: 0, Interval: shut}}}
}

// Small cases, by hand: 1 Gbit/s, 8 ns an octet.
func TestLatency(t *testing.T) {
	a := Class{Class: classA, IdleSlope: 250 * tsn.Mbps, MaxFrame: 125}
	b := Class{Class: classB, IdleSlope: 250 * tsn.Mbps, MaxFrame: 125}
	in := Flow{Burst: 125, Rate: 100 * tsn.Mbps}
	for _, c := range []struct {
		name string
		port Port
		n    int
		want int64
	}{
		// One frame of 1500 octets in the way, then a burst at a quarter of the rate.
		{"A, never shut", Port{Rate: tsn.Gbps, MaxOther: 1500}, 0, 12_000 + 4000},
		{"a list that is never shut", Port{Rate: tsn.Gbps, MaxOther: 1500, Gates: gates(1e6, 1)}, 0, 12_000 + 4000 + 1 + 1000},
		// B waits also for A's credit: 3000 ns of slope up, 750 ns of its frame
		// down, and what A sends meanwhile: (12000 + 3000 + 750) / 0.75.
		{"B, never shut", Port{Rate: tsn.Gbps, MaxOther: 1500}, 1, 21_000 + 4000},
		// What comes 82,500 ns after the burst has its turn when the gate opens the
		// second time: two shut times and two frames that no longer fit after it.
		{"A, shut for 50 us", Port{Rate: tsn.Gbps, MaxOther: 1500, Gates: gates(50_000, 50_000)}, 0, 49_000 + 2*51_000 - 82_500},
		{"control goes first", Port{Rate: tsn.Gbps, Control: Flow{Burst: 1000, Rate: 200 * tsn.Mbps}}, 0, (8000+1000)*10/8 + 4000},
	} {
		got, err := Latency(c.port, []Class{a, b}, c.n, in)
		if err != nil || got.Latency != c.want {
			t.Errorf("%s: %d ns, want %d (%v)", c.name, got.Latency, c.want, err)
		}
		if want := in.Burst + int((c.want*100+7999)/8000); got.Out != (Flow{want, in.Rate}) {
			t.Errorf("%s: out %+v, want a burst of %d", c.name, got.Out, want)
		}
	}
}

// What has no bound is said.
func TestNoBound(t *testing.T) {
	a := []Class{{Class: classA, IdleSlope: 100 * tsn.Mbps, MaxFrame: 1000}}
	for _, c := range []struct {
		port Port
		in   Flow
		want error
	}{
		{Port{Rate: tsn.Gbps}, Flow{1000, 200 * tsn.Mbps}, ErrOverload},
		{Port{Rate: tsn.Gbps, Gates: gates(50_000, 50_000)}, Flow{1000, 90 * tsn.Mbps}, ErrOverload},
		{Port{Rate: tsn.Gbps, Gates: gates(7000, 50_000)}, Flow{1000, 1}, ErrShort},
		{Port{Rate: 50 * tsn.Mbps}, Flow{1000, 1}, ErrOverload},
		{Port{Rate: tsn.Gbps, Control: Flow{100, 950 * tsn.Mbps}}, Flow{1000, 1}, ErrOverload},
	} {
		if _, err := Latency(c.port, a, 0, c.in); !errors.Is(err, c.want) {
			t.Errorf("%+v: got %v, want %v", c.port, err, c.want)
		}
	}
	for _, p := range []Port{{}, {Rate: tsn.Gbps, MaxOther: -1}, {Rate: tsn.Gbps, Gates: &tsn.GateControlList{CycleTime: 5}}} {
		if _, err := Latency(p, a, 0, Flow{1, 1}); err == nil {
			t.Errorf("%+v is taken", p)
		}
	}
}

// Any list and any numbers end in a bound or an error.
func FuzzLatency(f *testing.F) {
	f.Add(uint32(1_000_000), uint32(50_000), uint32(50_000), uint8(15), uint8(1), uint32(100_000), uint16(1000), uint16(500), uint32(10_000))
	f.Add(uint32(1<<28), uint32(1<<31), uint32(1), uint8(8), uint8(4), uint32(1<<27), uint16(1), uint16(65535), uint32(1))
	f.Fuzz(func(t *testing.T, rate, open, shut uint32, g1, g2 uint8, slope uint32, frame, burst uint16, in uint32) {
		list := gates(int64(open), int64(shut))
		list.Entries[0].Gates, list.Entries[1].Gates = tsn.GateMask(g1), tsn.GateMask(g2)
		classes := []Class{{classA, tsn.Rate(slope), int(frame)}, {classB, tsn.Rate(slope), int(frame)}}
		for n := range classes {
			b, err := Latency(Port{Rate: tsn.Rate(rate), Gates: list, MaxOther: int(burst)}, classes, n, Flow{int(burst), tsn.Rate(in)})
			if err == nil && (b.Latency < 0 || b.Out.Burst < int(burst)) {
				t.Fatalf("%+v", b)
			}
		}
	})
}
