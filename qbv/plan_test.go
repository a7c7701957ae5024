package qbv

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
	"tsnswitch"
)

func sys(n int) tsn.MAC { return tsn.MAC{2, 0, 0, 0, byte(n >> 8), byte(n)} }

// mesh is a w x h grid of bridges, each with one host. Port 1..4 lead right,
// left, down, up; port 5 to the host; hosts have port 1.
type mesh struct{ w, h int }

func (m mesh) bridge(x, y int) tsn.MAC { return sys(1 + y*m.w + x) }
func (m mesh) host(x, y int) tsn.MAC   { return sys(0x1000 + y*m.w + x) }

func (m mesh) links(rate tsn.Rate, entries int) (out []Link) {
	add := func(from tsn.MAC, port tsn.Port, to tsn.MAC) {
		out = append(out, Link{From: tsn.Hop{System: from, Port: port}, To: to, Rate: rate, PropagationDelay: 50, ProcessingDelay: 2000, MaxEntries: entries})
	}
	for y := range m.h {
		for x := range m.w {
			b := m.bridge(x, y)
			add(b, 5, m.host(x, y))
			add(m.host(x, y), 1, b)
			if x+1 < m.w {
				add(b, 1, m.bridge(x+1, y))
				add(m.bridge(x+1, y), 2, b)
			}
			if y+1 < m.h {
				add(b, 3, m.bridge(x, y+1))
				add(m.bridge(x, y+1), 4, b)
			}
		}
	}
	return out
}

// path goes along x first, then along y.
func (m mesh) path(x, y, tx, ty int) []tsn.Hop {
	out := []tsn.Hop{{System: m.host(x, y), Port: 1}}
	for x != tx {
		port, step := tsn.Port(1), 1
		if tx < x {
			port, step = 2, -1
		}
		out = append(out, tsn.Hop{System: m.bridge(x, y), Port: port})
		x += step
	}
	for y != ty {
		port, step := tsn.Port(3), 1
		if ty < y {
			port, step = 4, -1
		}
		out = append(out, tsn.Hop{System: m.bridge(x, y), Port: port})
		y += step
	}
	return append(out, tsn.Hop{System: m.bridge(x, y), Port: 5})
}

func (m mesh) stream(n, x, y, tx, ty int, interval int64, size, frames uint16) StreamPath {
	return StreamPath{
		Stream: tsn.Stream{
			ID: tsn.MakeStreamID(m.host(x, y), uint16(n)), Talker: m.host(x, y), Listener: m.host(tx, ty),
			DestinationAddress: m.host(tx, ty), VID: 100, PCP: 6,
			Interval: interval, MaxFrameSize: size, MaxIntervalFrames: frames, MaxLatency: interval,
		},
		Path: m.path(x, y, tx, ty),
	}
}

// generate makes a problem of n streams from a seed.
func (m mesh) generate(n int, seed uint64) Problem {
	r := rand.New(rand.NewPCG(seed, 1))
	p := Problem{Links: m.links(tsn.Gbps, 0), SyncError: 500, MinInterval: 48}
	intervals := []int64{1_000_000, 2_000_000, 4_000_000, 8_000_000}
	for len(p.Streams) < n {
		x, y, tx, ty := r.IntN(m.w), r.IntN(m.h), r.IntN(m.w), r.IntN(m.h)
		if x == tx && y == ty {
			continue
		}
		p.Streams = append(p.Streams, m.stream(len(p.Streams), x, y, tx, ty, intervals[r.IntN(4)], uint16(64+r.IntN(256)), 1))
	}
	return p
}

// line is three bridges in a row with two streams in opposite directions, as
// in a lab in a slow virtual machine: 100 Mbit/s, margins of 250 us, 10 ms.
func line() Problem {
	m := mesh{3, 1}
	p := Problem{Links: m.links(100*tsn.Mbps, 256), SyncError: 10_000, Jitter: 240_000, MinInterval: 20_000}
	p.Streams = []StreamPath{
		m.stream(1, 0, 0, 2, 0, 10_000_000, 200, 2),
		m.stream(2, 2, 0, 0, 0, 10_000_000, 200, 2),
		m.stream(3, 0, 0, 1, 0, 5_000_000, 1500, 1),
	}
	return p
}

func mustPlan(t interface{ Fatal(...any) }, p Problem) *Schedule {
	s, err := Plan(p)
	if err != nil {
		t.Fatal(err)
	}
	if err := Verify(p, s); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestPlanLine(t *testing.T) {
	s := mustPlan(t, line())
	if s.CycleTime != 10_000_000 || len(s.Streams) != 3 || len(s.Ports) != 9 {
		t.Errorf("cycle %d, %d streams, %d ports", s.CycleTime, len(s.Streams), len(s.Ports))
	}
	// 4 hops of one frame, the burst's other frame, 4 cables, 3 bridges, two margins on each end.
	const tx = 19_360 // 242 octets at 100 Mbit/s
	if want := int64(4*tx + tx + 4*50 + 3*2000 + 2*250_000); s.Streams[0].WorstLatency != want {
		t.Errorf("worst latency %d, want %d", s.Streams[0].WorstLatency, want)
	}
	for _, p := range s.Ports {
		again := ForSoftwareTaprio(&p.List, 20_000)
		if !sameGates(again, &p.List) {
			t.Errorf("the list is not as software taprio needs it: %s", p.List.String())
		}
		if err := Validate(again, SoftwareLimits(100*tsn.Mbps)); err != nil {
			t.Errorf("as software taprio: %v", err)
		}
	}
	m := mesh{3, 1}
	if l := s.Lists(m.bridge(1, 0)); len(l) != 3 || l[0].Port != 1 || l[2].Port != 5 {
		t.Errorf("lists of the middle bridge: %v", l)
	}
}

// draw makes small problems with everything that can differ.
func draw(t *rapid.T) Problem {
	m := mesh{rapid.IntRange(2, 3).Draw(t, "w"), rapid.IntRange(1, 3).Draw(t, "h")}
	p := Problem{
		Links:         m.links(rapid.SampledFrom([]tsn.Rate{100 * tsn.Mbps, tsn.Gbps}).Draw(t, "rate"), rapid.SampledFrom([]int{0, 8, 64}).Draw(t, "entries")),
		SyncError:     rapid.Int64Range(0, 2000).Draw(t, "sync"),
		Jitter:        rapid.Int64Range(0, 20_000).Draw(t, "jitter"),
		MinInterval:   rapid.SampledFrom([]int64{0, 1000, 50_000}).Draw(t, "minimum"),
		GuardOctets:   rapid.SampledFrom([]int{0, -1, 300}).Draw(t, "guard"),
		HardwareGates: rapid.Bool().Draw(t, "wrap"),
		ShortFrames:   rapid.Bool().Draw(t, "short"),
		Work:          200_000,
	}
	for i := range p.Links { // unlike rates make bursts spread and bunch
		if rapid.IntRange(0, 3).Draw(t, "slow") == 0 {
			p.Links[i].Rate /= 2
		}
	}
	for n := range rapid.IntRange(1, 12).Draw(t, "streams") {
		x, y := rapid.IntRange(0, m.w-1).Draw(t, "x"), rapid.IntRange(0, m.h-1).Draw(t, "y")
		tx, ty := rapid.IntRange(0, m.w-1).Draw(t, "tx"), rapid.IntRange(0, m.h-1).Draw(t, "ty")
		if x == tx && y == ty {
			tx = (tx + 1) % m.w
		}
		sp := m.stream(n, x, y, tx, ty, rapid.SampledFrom([]int64{1_000_000, 1_500_000, 2_000_000, 5_000_000}).Draw(t, "interval"),
			uint16(rapid.IntRange(46, 1500).Draw(t, "size")), uint16(rapid.IntRange(1, 4).Draw(t, "frames")))
		sp.Stream.MaxLatency = 5_000_000
		p.Streams = append(p.Streams, sp)
	}
	return p
}

// Every plan verifies, whatever was asked for, and software taprio can run it.
func TestPlansVerify(t *testing.T) {
	planned := 0
	rapid.Check(t, func(t *rapid.T) {
		p := draw(t)
		s, err := Plan(p)
		var no *Infeasible
		if errors.As(err, &no) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		planned++
		if err := Verify(p, s); err != nil {
			t.Fatalf("%v", err)
		}
		for _, ps := range s.Ports {
			last := ps.List.Entries[len(ps.List.Entries)-1]
			link := p.Links[slices.IndexFunc(p.Links, func(l Link) bool { return l.From == ps.Hop })]
			if !p.HardwareGates && (last.Gates.Has(tsn.ClassScheduled) || last.Interval >= 2*p.minInterval(link)) {
				t.Fatalf("%v does not end in a guard entry", ps.List.String())
			}
		}
	})
	t.Logf("%d problems had a plan", planned)
	if planned < 10 {
		t.Error("hardly anything could be planned: the property was not tested")
	}
}

// Each way of breaking a plan is noticed.
func TestMutationsFail(t *testing.T) {
	p := line()
	rapid.Check(t, func(t *rapid.T) {
		s := mustPlan(t, p)
		si := rapid.IntRange(0, len(s.Streams)-1).Draw(t, "stream")
		st := &s.Streams[si]
		slot := &st.Slots[rapid.IntRange(0, len(st.Slots)-1).Draw(t, "slot")]
		list := &s.Ports[rapid.IntRange(0, len(s.Ports)-1).Draw(t, "port")].List
		entry := func(want func(tsn.GateMask) bool) *tsn.GateEntry {
			var at []int
			for i, e := range list.Entries {
				if want(e.Gates) {
					at = append(at, i)
				}
			}
			return &list.Entries[rapid.SampledFrom(at).Draw(t, "entry")]
		}
		scheduled := func(g tsn.GateMask) bool { return g == scheduledGate }
		delta := rapid.Int64Range(1, 2_000_000).Draw(t, "delta")
		problem := p
		kind := rapid.IntRange(0, 12).Draw(t, "mutation")
		switch kind {
		case 0:
			slot.Start -= delta
		case 1:
			slot.Start += delta
		case 2:
			slot.End -= delta
		case 3:
			slot.Open += delta
		case 4:
			slot.Close -= delta
		case 5:
			slot.Open, slot.Start, slot.End, slot.Close = slot.Open+delta, slot.Start+delta, slot.End+delta, slot.Close+delta
		case 6:
			entry(scheduled).Gates = 0
		case 7:
			entry(scheduled).Gates |= tsn.GateMask(1) << rapid.SampledFrom([]int{0, 1, 3}).Draw(t, "class")
		case 8: // a guard band opens
			entry(func(g tsn.GateMask) bool { return g == 0 }).Gates = 1
		case 9: // the schedule runs late
			list.Entries = slices.Insert(list.Entries, 0, tsn.GateEntry{Gates: 0xb, Interval: delta})
			list.Entries[len(list.Entries)-1].Interval -= delta
		case 10:
			s.Streams = slices.Delete(s.Streams, si, si+1)
		case 11:
			st.WorstLatency--
		case 12:
			problem.Streams = slices.Clone(p.Streams)
			problem.Streams[si].Stream.MaxFrameSize++
		}
		if Verify(problem, s) == nil {
			t.Fatalf("mutation %d by %d was not noticed", kind, delta)
		}
	})
}

func TestProblemErrors(t *testing.T) {
	tests := map[string]func(*Problem){
		"is given twice":                    func(p *Problem) { p.Links = append(p.Links, p.Links[0]) },
		"has no rate":                       func(p *Problem) { p.Links[0].Rate = 0 },
		"delays must be 0..10 s":            func(p *Problem) { p.Links[0].ProcessingDelay = -1 },
		"must be 0..10 s, not -1 ns":        func(p *Problem) { p.Jitter = -1 },
		"longer than any frame":             func(p *Problem) { p.GuardOctets = 1 << 20 },
		"stream 02-00-00-00-10-00:0001 is ": func(p *Problem) { p.Streams = append(p.Streams, p.Streams[0]) },
		"interval: 0 ns is outside":         func(p *Problem) { p.Streams[0].Stream.Interval = 0 },
		"a path of 0 hops":                  func(p *Problem) { p.Streams[0].Path = nil },
		"leads to":                          func(p *Problem) { p.Streams[0].Path = slices.Delete(p.Streams[0].Path, 1, 2) },
	}
	for want, change := range tests {
		p := line()
		change(&p)
		_, err := Plan(p)
		var pe *ProblemError
		if !errors.As(err, &pe) || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
}

// Two streams in one window, and a bound that the plan breaks.
func TestVerifyNotices(t *testing.T) {
	p := line()
	s := mustPlan(t, p)
	for i := range s.Streams[1].Slots { // it shares the first two hops with stream 0
		d := s.Streams[0].Slots[0].Open - s.Streams[1].Slots[0].Open
		sl := &s.Streams[1].Slots[i]
		sl.Open, sl.Start, sl.End, sl.Close = sl.Open+d, sl.Start+d, sl.End+d, sl.Close+d
	}
	if err := Verify(p, s); err == nil || !strings.Contains(err.Error(), "overlap") {
		t.Errorf("overlapping windows: %v", err)
	}
	if err := Verify(p, nil); err == nil {
		t.Error("no schedule was accepted")
	}
	for want, change := range map[string]func(*Schedule){
		"two lists":               func(s *Schedule) { s.Ports = append(s.Ports, s.Ports[0]) },
		"is no link":              func(s *Schedule) { s.Ports[0].Hop.Port = 99 },
		"no usable list":          func(s *Schedule) { s.Ports = s.Ports[1:] },
		"intervals sum to":        func(s *Schedule) { s.Ports[0].List.CycleTime++ },
		"do not fit the schedule": func(s *Schedule) { s.CycleTime++ },
		"is there twice":          func(s *Schedule) { s.Streams = append(s.Streams, s.Streams[0]) },
		"is not as asked for":     func(s *Schedule) { s.Streams[0].Stream.Name = "other" },
		"slots for":               func(s *Schedule) { s.Streams[0].Slots = s.Streams[0].Slots[1:] },
		"is not on the path":      func(s *Schedule) { s.Streams[0].Slots[0].Hop.Port = 99 },
		"injection offset":        func(s *Schedule) { s.Streams[0].InjectionOffset++ },
	} {
		s := mustPlan(t, p)
		change(s)
		if err := Verify(p, s); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
}

// The same input in any order gives the same bytes.
func TestDeterminism(t *testing.T) {
	p := mesh{4, 4}.generate(100, 1)
	want, err := json.Marshal(mustPlan(t, p))
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(7, 7))
	for range 5 {
		r.Shuffle(len(p.Links), func(i, j int) { p.Links[i], p.Links[j] = p.Links[j], p.Links[i] })
		r.Shuffle(len(p.Streams), func(i, j int) { p.Streams[i], p.Streams[j] = p.Streams[j], p.Streams[i] })
		got, _ := json.Marshal(mustPlan(t, p))
		if string(got) != string(want) {
			t.Fatal("another order of the input gave another plan")
		}
	}
}

func TestInfeasible(t *testing.T) {
	m := mesh{2, 1}
	at := func(h tsn.Hop) string { return fmt.Sprintf("%s port %d", h.System, h.Port) }
	shared := at(tsn.Hop{System: m.bridge(0, 0), Port: 1})
	tests := []struct {
		name    string
		streams []StreamPath
		change  func(*Problem)
		want    []string
	}{
		{
			"full link names link and blockers",
			[]StreamPath{m.stream(1, 0, 0, 1, 0, 100_000, 1500, 3), m.stream(2, 0, 0, 1, 0, 100_000, 1500, 3), m.stream(3, 0, 0, 1, 0, 100_000, 1500, 3)},
			func(p *Problem) { p.HardwareGates = true },
			[]string{"finds no free window", "stream 02-00-00-00-10-00:0003", "in the way: 02-00-00-00-10-00:0001, 02-00-00-00-10-00:0002", shared},
		},
		{
			"intervals that can never agree",
			[]StreamPath{m.stream(1, 0, 0, 1, 0, 100_000, 1500, 1), m.stream(2, 0, 0, 1, 0, 100_001, 1500, 1)},
			func(p *Problem) { p.MaxCycle = 1 << 40 },
			[]string{"can never avoid the other", "leave 1 ns in common", "in the way"},
		},
		{
			"latency",
			[]StreamPath{m.stream(1, 0, 0, 1, 0, 10_000_000, 1500, 1)},
			func(p *Problem) { p.Streams[0].Stream.MaxLatency = 30_000 },
			[]string{"02-00-00-00-10-00:0001", "30000 ns are allowed"},
		},
		{
			"hyperperiod",
			[]StreamPath{m.stream(1, 0, 0, 1, 0, 1_000_000, 100, 1), m.stream(2, 0, 0, 1, 0, 1_000_000, 100, 1), m.stream(3, 0, 0, 1, 0, 999_983, 100, 1)},
			nil,
			[]string{"longer than 2147483647 ns", "in the way: 02-00-00-00-10-00:0003"},
		},
		{
			"window longer than the interval",
			[]StreamPath{m.stream(1, 0, 0, 1, 0, 100_000, 1500, 10)},
			nil,
			[]string{"needs a window of 123360 ns in an interval of 100000 ns"},
		},
		{
			"no room for control",
			[]StreamPath{m.stream(1, 0, 0, 1, 0, 100_000, 1500, 7)},
			func(p *Problem) { p.HardwareGates = true; p.Streams[0].Stream.MaxLatency = 1_000_000 },
			[]string{"can never avoid control traffic", shared},
		},
		{
			"gate entries",
			[]StreamPath{m.stream(1, 0, 0, 1, 0, 1_000_000, 100, 1)},
			func(p *Problem) {
				for i := range p.Links {
					p.Links[i].MaxEntries = 1
				}
			},
			[]string{"gate entries, the port has 1"},
		},
		{
			"jumping path",
			[]StreamPath{m.stream(1, 0, 0, 1, 0, 1_000_000, 100, 1)},
			func(p *Problem) { p.Streams[0].Path = slices.Delete(p.Streams[0].Path, 1, 2) },
			[]string{"schedule problem", "hop 1"},
		},
		{
			"unknown link",
			[]StreamPath{m.stream(1, 0, 0, 1, 0, 1_000_000, 100, 1)},
			func(p *Problem) { p.Links = p.Links[2:] },
			[]string{"schedule problem", "there is no link"},
		},
		{
			"wrong class",
			[]StreamPath{m.stream(1, 0, 0, 1, 0, 1_000_000, 100, 1)},
			func(p *Problem) { p.Streams[0].Stream.PCP = 3 },
			[]string{"schedule problem", "priority 3 is in class 1"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := Problem{Links: m.links(tsn.Gbps, 0), Streams: tt.streams}
			if tt.change != nil {
				tt.change(&p)
			}
			_, err := Plan(p)
			if err == nil {
				t.Fatal("planned")
			}
			for _, w := range tt.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("%q does not say %q", err, w)
				}
			}
		})
	}
}

// A list too long for the port is shortened by joining windows.
func TestFewEntries(t *testing.T) {
	m := mesh{2, 1}
	p := Problem{Links: m.links(tsn.Gbps, 0)}
	for n := range 20 {
		p.Streams = append(p.Streams, m.stream(n, 0, 0, 1, 0, 1_000_000, uint16(100+n), 1))
		p.Streams = append(p.Streams, m.stream(100+n, 0, 0, 1, 0, 2_000_000, uint16(100+n), 1))
	}
	long := mustPlan(t, p)
	for i := range p.Links {
		p.Links[i].MaxEntries = 6
	}
	short := mustPlan(t, p)
	longest := func(s *Schedule) (n int) {
		for _, ps := range s.Ports {
			n = max(n, len(ps.List.Entries))
		}
		return n
	}
	if longest(long) <= 6 || longest(short) > 6 {
		t.Errorf("%d entries without a limit, %d with a limit of 6", longest(long), longest(short))
	}
}

func TestEmptyProblem(t *testing.T) {
	s := mustPlan(t, Problem{})
	if len(s.Ports) != 0 || s.CycleTime != 1 {
		t.Errorf("%+v", s)
	}
}

func TestWorkIsBounded(t *testing.T) {
	p := mesh{4, 4}.generate(300, 3)
	p.Work = 10
	if _, err := Plan(p); err == nil || !strings.Contains(err.Error(), "allowed work") {
		t.Errorf("10 comparisons for 300 streams: %v", err)
	}
}

func benchmarkPlan(b *testing.B, m mesh, n int) {
	p := m.generate(n, 1)
	s := mustPlan(b, p)
	entries := 0
	for _, ps := range s.Ports {
		entries = max(entries, len(ps.List.Entries))
	}
	for b.Loop() {
		if _, err := Plan(p); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(entries), "entries")
}

func BenchmarkPlan100(b *testing.B)  { benchmarkPlan(b, mesh{4, 4}, 100) }
func BenchmarkPlan1000(b *testing.B) { benchmarkPlan(b, mesh{8, 8}, 1000) }
