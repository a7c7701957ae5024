package cqf

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	tsn "tsnswitch"
	"tsnswitch/qbv/gatelist"
	"tsnswitch/qbv/schedtest"
	"tsnswitch/qbv/schedule"
	"tsnswitch/qbv/verify"
)

// gatesAt is the setting of a list at time t.
func gatesAt(l *tsn.GateControlList, t int64) tsn.GateMask {
	t = ((t % l.CycleTime) + l.CycleTime) % l.CycleTime
	for _, e := range l.Entries {
		if t < e.Interval {
			return e.Gates
		}
		t -= e.Interval
	}
	return 0
}

// frame is one on its way: it left its talker in cycle born of the schedule.
type frame struct {
	stream int
	index  int // within its period
	hop    int // in the route
	born   int64
	comes  int64 // true time at which it is in the queue
}

// simulate runs a solution for a few hyperperiods, every port by a clock of
// its own, and reports frames that miss a window or a bound.
func simulate(p *schedule.Problem, s *schedule.Solution, r *rand.Rand) error {
	c := s.Cyclic
	lists, windows := map[schedule.LinkID]*tsn.GateControlList{}, map[schedule.LinkID]schedule.CyclicWindow{}
	for i := range s.Gates {
		lists[s.Gates[i].Link] = &s.Gates[i].List
	}
	for _, w := range c.Windows {
		windows[w.Link] = w
	}
	clock := make([]int64, len(p.Nodes)) // local time - true time
	for i := range clock {
		clock[i] = r.Int64N(p.SyncError+1) - p.SyncError/2
	}
	queues := map[schedule.LinkID][]frame{} // what may leave in the present cycle
	first := map[[2]int64]int64{}           // start of the period of a stream
	for n := range 3 * s.Cycle / c.CycleTime {
		next := map[schedule.LinkID][]frame{}
		for i := range c.Streams {
			cs := &c.Streams[i]
			if st := &p.Streams[cs.Stream]; n%(st.Period/c.CycleTime) == cs.Start {
				for h, id := range cs.Route {
					for f := range max(st.Frames, 1) {
						if p.Links[id].From == st.Talker {
							queues[id] = append(queues[id], frame{stream: i, index: f, hop: h, born: n, comes: n*c.CycleTime - 1})
						}
					}
				}
			}
		}
		for id := range p.Links {
			id := schedule.LinkID(id)
			l, w := &p.Links[id], windows[id]
			q := queues[id]
			r.Shuffle(len(q), func(i, j int) { q[i], q[j] = q[j], q[i] })
			slices.SortStableFunc(q, func(a, b frame) int { return cmp.Compare(a.comes, b.comes) })
			local := n*c.CycleTime + w.Offset + r.Int64N(2*p.Jitter+1)
			for _, f := range q {
				cs := &c.Streams[f.stream]
				st := &p.Streams[cs.Stream]
				end := local + l.Rate.TransmitTime(st.Size)
				if end > n*c.CycleTime+w.Offset+w.Length {
					return fmt.Errorf("cycle %d, link %d: stream %d ends %d ns after its window", n, id, cs.Stream, end-n*c.CycleTime-w.Offset-w.Length)
				}
				for _, t := range []int64{local, end - 1} {
					if g := gatesAt(lists[id], t); g != 1<<w.Queues[n%2] {
						return fmt.Errorf("cycle %d, link %d at %d: gates %s", n, id, t, g)
					}
				}
				key := [2]int64{int64(f.stream), f.born}
				if _, known := first[key]; !known {
					first[key] = local - clock[l.From]
				}
				there := end - clock[l.From] + l.PropagationDelay
				if slices.Contains(st.Listeners, l.To) {
					latency := there - first[key]
					if latency > cs.Worst || latency < cs.Best && f.index == max(st.Frames, 1)-1 && len(st.Listeners) == 1 && st.Frames < 2 {
						return fmt.Errorf("stream %d takes %d ns, not %d..%d", cs.Stream, latency, cs.Best, cs.Worst)
					}
				}
				for h, to := range cs.Route {
					if p.Links[to].From == l.To {
						f.hop, f.comes = h, there+l.ProcessingDelay
						if at := f.comes + clock[l.To]; at < n*c.CycleTime || at > (n+1)*c.CycleTime {
							return fmt.Errorf("cycle %d: stream %d comes to link %d at %d, another cycle of %d", n, cs.Stream, to, at, c.CycleTime)
						}
						next[to] = append(next[to], f)
					}
				}
				local = end
			}
		}
		queues = next
	}
	return nil
}

// A frame of any stream is in its cycle on every link and at its listener
// within the bounds, whatever the clocks, the delays and the order in queues.
func TestSimulation(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	admitted, refused := 0, 0
	for n := range 120 {
		p := schedtest.Problem(r, 1+r.IntN(25))
		s, err := Solve(p, Options{})
		if err != nil {
			t.Fatalf("case %d: %v", n, err)
		}
		refused += len(s.Unplaced)
		if s.Cyclic == nil {
			continue
		}
		admitted += len(s.Cyclic.Streams)
		for _, cs := range s.Cyclic.Streams {
			hops := int64(len(cs.Route) - 1) // of the longest branch, if there is one only
			st := &p.Streams[cs.Stream]
			if cs.Worst > st.Deadline || len(st.Listeners) == 1 && (cs.Worst > (hops+1)*s.Cyclic.CycleTime || cs.Best < (hops-1)*s.Cyclic.CycleTime) {
				t.Fatalf("case %d: %d hops of %d ns: %+v, deadline %d", n, hops, s.Cyclic.CycleTime, cs, st.Deadline)
			}
		}
		for range 3 {
			if err := simulate(p, s, r); err != nil {
				t.Fatalf("case %d: %v\n%+v", n, err, s.Cyclic)
			}
		}
	}
	if t.Logf("%d streams admitted, %d refused", admitted, refused); admitted < 500 || refused < 100 {
		t.Errorf("%d admitted and %d refused are too few to mean something", admitted, refused)
	}
}

// Beside streams that have times of their own or alone, it passes the verifier.
func TestPassesTheVerifier(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 5))
	cyclic, mixed := 0, 0
	for n := range 150 {
		p := schedtest.Problem(r, 4+r.IntN(16))
		var placed []schedule.Placement
		queues := func(m tsn.GateMask) {
			for i := range p.Links {
				p.Links[i].Scheduled = m
			}
		}
		if n%2 == 0 {
			queues(0b1000)
			p.Isolation = schedule.IsolateFrames
			placed = schedtest.Place(r, p, func(s *schedule.Solution) bool {
				s.Gates = nil
				rep, err := verify.Check(p, s)
				return err == nil && rep.FaultCount == 0
			}).Streams
			placed = slices.DeleteFunc(placed, func(pl schedule.Placement) bool { return pl.Stream%2 > 0 })
			queues(0b1110)
			if _, over, _ := gatelist.Build(p, placed); len(over) > 0 {
				placed = nil // no schedule to begin with
			}
		}
		s, err := Solve(p, Options{Placed: placed})
		if err != nil {
			t.Fatalf("case %d: %v", n, err)
		}
		rep, err := verify.Check(p, s)
		if err != nil || rep.FaultCount > 0 {
			t.Fatalf("case %d: %v %v\n%+v", n, err, rep.Faults, s.Cyclic)
		}
		if s.Cyclic != nil {
			cyclic++
			mixed += min(len(placed), 1)
		}
	}
	if t.Logf("%d schedules, %d beside placed streams", cyclic, mixed); cyclic < 50 || mixed < 20 {
		t.Error("too few to mean something")
	}
}

// line is a talker, bridges and a listener in a row, for n streams.
func line(bridges, n int) *schedule.Problem {
	p := &schedule.Problem{Nodes: []schedule.Node{{Name: "h0"}}}
	for i := range bridges + 1 {
		p.Nodes = append(p.Nodes, schedule.Node{Name: fmt.Sprintf("n%d", i+1), Bridge: i < bridges})
		p.Links = append(p.Links, schedule.Link{From: schedule.NodeID(i), To: schedule.NodeID(i + 1), Rate: tsn.Gbps, Queues: 4, Scheduled: 0b1100, ProcessingDelay: 2000})
	}
	for i := range n {
		p.Streams = append(p.Streams, schedule.Stream{
			ID: i, Talker: 0, Listeners: []schedule.NodeID{schedule.NodeID(bridges + 1)}, Size: 1250, Period: 1e6, Deadline: 1e6,
		})
	}
	return p
}

// 802.1Q annex T: with h hops the latency is within (h-1)*T and (h+1)*T; T is
// chosen to hold the deadline.
func TestCycleTimeHoldsTheDeadline(t *testing.T) {
	p := line(3, 20)
	s, err := Solve(p, Options{})
	if err != nil || len(s.Unplaced) > 0 {
		t.Fatal(err, s.Unplaced)
	}
	if s.Cyclic.CycleTime != 250_000 {
		t.Errorf("cycle time %d", s.Cyclic.CycleTime)
	}
	for _, c := range s.Cyclic.Streams {
		if c.Worst > 4*250_000 || c.Best < 2*250_000 {
			t.Errorf("%+v", c)
		}
	}
	// 20 streams in 4 cycles: 5 of 10 us in each.
	if w := s.Cyclic.Windows[0]; w.Length != 50_000 || w.Queues != [2]tsn.TrafficClass{3, 2} {
		t.Errorf("%+v", w)
	}
	want := "base 0 cycle 500000 08/50000 03/200000 04/50000 03/200000"
	if got := s.Gates[0].List.String(); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// Streams beyond what a link holds are named, with those in the way.
func TestFull(t *testing.T) {
	p := line(1, 120)
	p.Streams[7].Rank = 1
	s, err := Solve(p, Options{CycleTime: 100_000})
	if err != nil {
		t.Fatal(err)
	}
	if n := len(s.Cyclic.Streams); n != 90 { // 98 us of a cycle, 9 frames
		t.Errorf("%d streams admitted", n)
	}
	u := s.Unplaced[0]
	if u.Link != 0 || len(u.Blocking) != 8 || !strings.Contains(u.Reason, "no cycle of 100000 ns in which 10000 ns more fit") {
		t.Errorf("%+v", u)
	}
	if slices.ContainsFunc(s.Unplaced, func(u schedule.Unplaced) bool { return u.Stream == 7 }) {
		t.Error("the stream of the highest rank yields")
	}
}

// Cyclic queuing takes the time that streams with times of their own leave.
func TestBesidePlaced(t *testing.T) {
	p := line(1, 5)
	p.Links[0].Scheduled, p.Links[1].Scheduled = 0b1110, 0b1110
	placed := []schedule.Placement{{Stream: 2, Route: []schedule.LinkID{0, 1}, Starts: []int64{3000, 15_000}, Queues: []tsn.TrafficClass{3, 3}}}
	s, err := Solve(p, Options{Placed: placed, CycleTime: 100_000})
	if err != nil || len(s.Unplaced) > 0 || len(s.Cyclic.Streams) != 4 {
		t.Fatal(err, s)
	}
	if w := s.Cyclic.Windows; w[0].Offset != 13_000 || w[1].Offset != 25_000 || w[0].Queues != [2]tsn.TrafficClass{2, 1} {
		t.Errorf("%+v", w)
	}
	if _, over, err := gatelist.BuildCyclic(p, placed, s.Cyclic); err != nil || len(over) > 0 {
		t.Error(over, err)
	}
}

// Each thing that stands in the way is said.
func TestReasons(t *testing.T) {
	for want, set := range map[string]func(*schedule.Problem){
		"no two scheduled queues":           func(p *schedule.Problem) { p.Links[1].Scheduled = 8 },
		"has no route":                      func(p *schedule.Problem) { p.Links = p.Links[:1] },
		"varies by":                         func(p *schedule.Problem) { p.Streams[0].Jitter = 10 },
		"no cycle time divides all periods": func(p *schedule.Problem) { p.Streams[0].Deadline = 10 },
		"cannot execute the windows":        func(p *schedule.Problem) { p.Links[0].MaxEntries = 1 },
		"has no time that is free":          func(p *schedule.Problem) { p.Links[0].ProcessingDelay = 2e6 },
	} {
		p := line(1, 1)
		set(p)
		s, err := Solve(p, Options{})
		if err != nil || len(s.Unplaced) != 1 || !strings.Contains(s.Unplaced[0].Reason, want) {
			t.Errorf("got %v %+v, want %q", err, s, want)
		}
	}
	if _, err := Solve(line(1, 1), Options{CycleTime: 300_000}); err == nil {
		t.Error("a cycle time that divides no period is taken")
	}
}

func BenchmarkSolve(b *testing.B) {
	p := line(6, 0)
	for i := range 2000 {
		p.Streams = append(p.Streams, schedule.Stream{
			ID: i, Talker: 0, Listeners: []schedule.NodeID{7}, Size: 84 + i%40, Period: int64(2+i%2*2) * 1e6, Deadline: 4e6,
		})
	}
	for b.Loop() {
		s, err := Solve(p, Options{})
		if err != nil || len(s.Unplaced) > 0 {
			b.Fatal(err, len(s.Unplaced))
		}
	}
}

// A port that cannot execute what was placed before is an error, not a search without end.
func TestPlacedOverflow(t *testing.T) {
	p := line(1, 2)
	p.Links[0].Scheduled, p.Links[1].Scheduled = 0b1110, 0b1110
	p.Nodes = append(p.Nodes, schedule.Node{Name: "n3"})
	p.Links = append(p.Links, p.Links[1])
	p.Links[2].To, p.Links[2].MaxEntries, p.Links[2].ControlOctets = 3, 1, 125
	p.Streams[0].Listeners = []schedule.NodeID{3}
	placed := []schedule.Placement{{Stream: 0, Route: []schedule.LinkID{0, 2}, Starts: []int64{3000, 15_000}, Queues: []tsn.TrafficClass{3, 3}}}
	if _, err := Solve(p, Options{Placed: placed}); err == nil || !strings.Contains(err.Error(), "link 2 (n1-n3)") {
		t.Errorf("got %v", err)
	}
}
