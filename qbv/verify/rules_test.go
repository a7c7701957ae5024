package verify

import (
	"slices"
	"strings"
	"testing"

	tsn "tsnswitch"
	"tsnswitch/qbv/schedtest"
	"tsnswitch/qbv/schedule"
)

// two is two talkers h0, h1 at bridge a, which joins bridge b, where listener
// h2 is. Frames of 125 octets take 1000 ns, guard bands of 25 octets 200 ns, and
// what has left a port is in the next queue after 100 ns of medium and 400 ns of processing.
//
//	link 0 h0-a, 1 h1-a, 2 a-b, 3 b-h2
//	stream 7: 0 at 1000, 2 at 2500, 3 at 4000
//	stream 9: 1 at 2500, 2 at 5000 (1000 after it is there), 3 at 6500
func two() (*schedule.Problem, *schedule.Solution) {
	p := &schedule.Problem{Nodes: []schedule.Node{{Name: "h0"}, {Name: "h1"}, {Name: "a", Bridge: true}, {Name: "b", Bridge: true}, {Name: "h2"}}}
	for _, ends := range [][2]schedule.NodeID{{0, 2}, {1, 2}, {2, 3}, {3, 4}} {
		p.Links = append(p.Links, schedule.Link{
			From: ends[0], To: ends[1], Rate: tsn.Gbps, PropagationDelay: 100, ProcessingDelay: 400,
			Queues: 4, Scheduled: 0xc, GuardOctets: 25, Control: 1, ControlOctets: 125, MaxEntries: 16, MinInterval: 10,
		})
	}
	stream := schedule.Stream{Listeners: []schedule.NodeID{4}, Size: 125, Period: 20_000, Deadline: 6000}
	a, b := stream, stream
	a.ID, a.Name, a.Talker, a.Deadline, a.Period = 7, "axis", 0, 4100, 10_000
	b.ID, b.Talker = 9, 1
	p.Streams = []schedule.Stream{a, b}
	s := &schedule.Solution{Cycle: 20_000, Streams: []schedule.Placement{
		{Stream: 0, Route: []schedule.LinkID{0, 2, 3}, Starts: []int64{1000, 2500, 4000}, Queues: []tsn.TrafficClass{3, 3, 3}},
		{Stream: 1, Route: []schedule.LinkID{1, 2, 3}, Starts: []int64{2500, 5000, 6500}, Queues: []tsn.TrafficClass{3, 3, 3}},
	}}
	s.Gates = schedtest.Gates(p, s)
	return p, s
}

func instance(k int, starts []int64, queues []tsn.TrafficClass) schedule.Instance {
	return schedule.Instance{K: k, Starts: starts, Queues: queues}
}

func TestTwo(t *testing.T) {
	p, s := two()
	rep := check(t, p, s)
	if !rep.Valid() || rep.WarningCount > 0 || rep.Placed != 2 || rep.Unplaced != 0 || !rep.Gates || rep.Transmissions != 9 {
		t.Fatalf("%+v", rep)
	}
	want := Listener{Node: 4, Planned: 4100, Latency: 4100, Processing: 400}
	if got := rep.Streams[0].Listeners; len(got) != 1 || got[0] != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if want := (LinkFigures{Link: 2, Busy: 3000, Window: 3000, Entries: 10, Other: 20_000 - 3*1200}); rep.Links[2] != want {
		t.Errorf("got %+v, want %+v", rep.Links[2], want)
	}
}

// TestRules breaks each rule and expects it to be named, with the link, the
// stream and the time where there is one.
func TestRules(t *testing.T) {
	type problem = schedule.Problem
	type solution = schedule.Solution
	regate := func(p *problem, s *solution) { s.Gates = schedtest.Gates(p, s) }
	entry := func(s *solution, link, n int) *tsn.GateEntry { return &s.Gates[link].List.Entries[n] }
	for _, c := range []struct {
		rule  Rule
		want  string
		spoil func(*problem, *solution)
	}{
		{RuleStream, "index 2 does not exist", func(_ *problem, s *solution) { s.Streams[1].Stream = 2 }},
		{RuleStream, "stream 7 (axis) is there twice", func(_ *problem, s *solution) { s.Streams[1].Stream = 0 }},
		{RuleStream, "stream 9 is neither", func(_ *problem, s *solution) { s.Streams = s.Streams[:1] }},
		{RuleStream, "stream 9 is there twice", func(_ *problem, s *solution) { s.Unplaced = []schedule.Unplaced{{Stream: 1}} }},
		{RuleCycle, "a cycle of 0 ns", func(_ *problem, s *solution) { s.Cycle = 0 }},
		{RuleCycle, "outside 1..15000", func(p *problem, _ *solution) { p.MaxCycle = 15_000 }},
		{RuleCycle, "does not divide the cycle of 30000", func(_ *problem, s *solution) { s.Cycle = 30_000 }},
		{RuleRoute, "link 9, which does not exist", func(_ *problem, s *solution) { s.Streams[0].Route[1] = 9 }},
		{RuleRoute, "takes link 3 (b-h2) before", func(_ *problem, s *solution) { slices.Reverse(s.Streams[0].Route) }},
		{RuleRoute, "does not reach h2", func(_ *problem, s *solution) { s.Streams[0].Route = s.Streams[0].Route[:2] }},
		{RuleRoute, "comes back", func(p *problem, _ *solution) { p.Links[3].To = 0 }},
		{RuleRoute, "forwarded by an end station", func(p *problem, _ *solution) { p.Nodes[3].Bridge = false }},
		{RuleRoute, "ends at h2, which is no listener", func(p *problem, _ *solution) { p.Streams[0].Listeners[0] = 3 }},
		{RuleRoute, "none of its own", func(p *problem, s *solution) { p.Streams[0].Routes = [][]schedule.LinkID{} }},
		{RulePlacement, "2 starts and 3 queues for 3 links", func(_ *problem, s *solution) { s.Streams[0].Starts = s.Streams[0].Starts[:2] }},
		{RulePlacement, "at -1 ns", func(_ *problem, s *solution) { s.Streams[0].Starts[0] = -1 }},
		{RulePlacement, "1 instances, its cycle 2 periods", func(_ *problem, s *solution) {
			s.Streams[0].Instances = []schedule.Instance{{}}
		}},
		{RulePlacement, "both starts and instances", func(_ *problem, s *solution) {
			pl := &s.Streams[0]
			pl.Instances = []schedule.Instance{instance(0, pl.Starts, pl.Queues), instance(1, []int64{11000, 12500, 14000}, pl.Queues)}
		}},
		{RulePlacement, "instance 2 where 1", func(_ *problem, s *solution) {
			pl := &s.Streams[0]
			pl.Instances = []schedule.Instance{instance(0, pl.Starts, pl.Queues), instance(2, pl.Starts, pl.Queues)}
			pl.Starts, pl.Queues = nil, nil
		}},
		{RuleQueue, "queue 1 on link 2", func(_ *problem, s *solution) { s.Streams[0].Queues[1] = 1 }},
		{RuleQueue, "queue 200 on link 2", func(_ *problem, s *solution) { s.Streams[0].Queues[1] = 200 }},
		{RuleRelease, "1000 ns into its period, not within 0..900", func(p *problem, _ *solution) { p.Streams[0].Release = [2]int64{0, 900} }},
		{RuleRelease, "11000 ns into its period", func(p *problem, s *solution) {
			s.Streams[0].Starts = []int64{11000, 12500, 14000}
			regate(p, s)
		}},
		{RuleCausality, "starts on link 2 (a-b) at 2499 ns, but is there at 2500", func(_ *problem, s *solution) { s.Streams[0].Starts[1]-- }},
		{RuleDeadline, "up to 4100 ns to h2, it is allowed 4099", func(p *problem, _ *solution) { p.Streams[0].Deadline-- }},
		{RuleDeadline, "up to 4102 ns", func(p *problem, s *solution) { p.Jitter = 1; regate(p, s) }},
		{RuleJitter, "takes 4100 to 4150 ns to h2, it is allowed to vary by 49", func(p *problem, s *solution) {
			p.Streams[0].Jitter, p.Streams[0].Deadline = 49, 5000
			pl := &s.Streams[0]
			pl.Instances = []schedule.Instance{instance(0, pl.Starts, pl.Queues), instance(1, []int64{11000, 12500, 14050}, pl.Queues)}
			pl.Starts, pl.Queues = nil, nil
			regate(p, s)
		}},
		{
			RuleOverlap, "link 2 (a-b) at 3499 ns: the window of stream 9 begins while that of stream 7 (axis) lasts, for 1 ns more",
			func(_ *problem, s *solution) { s.Streams[1].Starts = []int64{1500, 3499, 6500} },
		},
		{
			RuleIsolation, "link 2 (a-b) at 2499 ns: stream 9 may be in queue 3 1 ns before stream 7 (axis) has left it",
			func(p *problem, s *solution) { s.Streams[1].Starts[0] = 999; regate(p, s) },
		},
		{RuleOrder, "link 2 (a-b) at 2500 ns: stream 9 may come to queue 3 0 ns before stream 7", func(p *problem, s *solution) {
			p.Isolation = schedule.InOrder
			s.Streams[1].Starts[0] = 1000
		}},
		{
			RuleGates, "link 2 (a-b) at 2500 ns: the window of stream 7 (axis), 1000 ns, has not gate 3 open throughout",
			func(_ *problem, s *solution) { entry(s, 2, 1).Interval++; entry(s, 2, 2).Interval-- },
		},
		{RuleGates, "has gates of other traffic open, CCCCCCoC", func(_ *problem, s *solution) { entry(s, 2, 2).Gates |= 2 }},
		{RuleGates, "gate 3 is open while frames of stream 9 wait for their window at 5000 ns", func(_ *problem, s *solution) { entry(s, 2, 4).Gates |= 8 }},
		{RuleGates, "frames of stream 7 (axis) have 125 octets, queue 3 takes 124", func(_ *problem, s *solution) { s.Gates[2].MaxSDU[3] = 124 }},
		{RuleGuard, "within 200 ns before it", func(_ *problem, s *solution) { entry(s, 2, 0).Interval++; entry(s, 2, 1).Interval-- }},
		{RuleControl, "control queue 1 is open for 0 ns", func(_ *problem, s *solution) {
			for i := range s.Gates[2].List.Entries {
				entry(s, 2, i).Gates &^= 2
			}
		}},
		{RuleControl, "open for 8800 ns at a time, a frame of 1101 octets needs 8808", func(p *problem, _ *solution) {
			p.Links[2].ControlOctets = 1101 // it is open across the end of the cycle
		}},
		{RuleList, "link 2 (a-b): carries scheduled streams and has no", func(_ *problem, s *solution) { s.Gates = slices.Delete(s.Gates, 2, 3) }},
		{RuleList, "link 77, which does not exist", func(_ *problem, s *solution) { s.Gates[2].Link = 77 }},
		{RuleList, "link 1 (h1-a): has two", func(_ *problem, s *solution) { s.Gates[2].Link = 1 }},
		{RuleList, "has an empty", func(_ *problem, s *solution) { s.Gates[2].List.Entries = nil }},
		{RuleList, "has 10 gate entries, its port takes 8", func(p *problem, _ *solution) { p.Links[2].MaxEntries = 8 }},
		{RuleList, "gate entry 1 lasts 200 ns, the least is 201 ns", func(p *problem, _ *solution) { p.Links[2].MinInterval = 201 }},
		{RuleList, "opens CCCoCCoo, there are 4 queues", func(_ *problem, s *solution) { entry(s, 2, 0).Gates |= 16 }},
		{RuleList, "ends after the cycle", func(_ *problem, s *solution) { entry(s, 2, 8).Interval++ }},
		{RuleList, "last 19999 ns, the cycle 20000", func(_ *problem, s *solution) { entry(s, 2, 8).Interval-- }},
		{RuleList, "a gate cycle of 15000 ns", func(_ *problem, s *solution) { s.Gates[2].List.CycleTime = 15_000 }},
		{RuleList, "a base time of 1 ns", func(_ *problem, s *solution) { s.Gates[2].List.BaseTime.NS = 1 }},
		{RuleList, "software taprio needs a guard entry of 10", func(p *problem, _ *solution) { p.Links[2].Software = true }},
		{RuleGates, "not within one gate entry before the guard", func(p *problem, s *solution) {
			p.Links[2].Software = true
			regate(p, s)
			list := &s.Gates[2].List
			list.Entries = slices.Insert(list.Entries, 2, tsn.GateEntry{Gates: 8, Interval: 500})
			list.Entries[3].Interval = 500
		}},
		{RuleSize, "more than 8388608 transmissions", func(p *problem, s *solution) {
			p.Streams[0].Period, s.Cycle = 4, 40_000_000
		}},
	} {
		p, s := two()
		c.spoil(p, s)
		rep := check(t, p, s)
		if !slices.ContainsFunc(rep.Faults, func(f Fault) bool { return f.Rule == c.rule && strings.Contains(f.Text, c.want) }) {
			t.Errorf("%s: want %q, got %v", c.rule, c.want, rep.Err())
		}
	}
}

// TestNoFault is what looks like a fault and is none, with its warnings.
func TestNoFault(t *testing.T) {
	for name, c := range map[string]struct {
		warnings int
		change   func(*schedule.Problem, *schedule.Solution)
	}{
		"no gates at all": {1, func(_ *schedule.Problem, s *schedule.Solution) { s.Gates = nil }},
		"no list at an end station": {1, func(_ *schedule.Problem, s *schedule.Solution) {
			s.Gates = s.Gates[1:]
		}},
		"an unplaced stream": {0, func(p *schedule.Problem, s *schedule.Solution) {
			s.Streams, s.Unplaced = s.Streams[:1], []schedule.Unplaced{{Stream: 1, Link: -1}}
			s.Gates = schedtest.Gates(p, s)
		}},
		"twice the hyperperiod": {1, func(p *schedule.Problem, s *schedule.Solution) {
			s.Cycle *= 2
			p.Links[2].MaxEntries, p.Links[3].MaxEntries = 32, 32
			s.Gates = schedtest.Gates(p, s)
		}},
		"a scheduled gate open where nothing waits": {0, func(_ *schedule.Problem, s *schedule.Solution) { s.Gates[2].List.Entries[6].Gates |= 8 }},
		"an empty queue open in a window":           {1, func(_ *schedule.Problem, s *schedule.Solution) { s.Gates[2].List.Entries[2].Gates |= 4 }},
		"a gate open too short for who waits": {0, func(_ *schedule.Problem, s *schedule.Solution) {
			e := s.Gates[2].List.Entries
			s.Gates[2].List.Entries = slices.Concat(e[:4], []tsn.GateEntry{{Gates: 0, Interval: 20}, {Gates: 8, Interval: 10}, {Gates: 0, Interval: 170}}, e[5:])
		}},
		"a window across the end of the cycle": {0, func(p *schedule.Problem, s *schedule.Solution) {
			s.Streams[0].Starts = []int64{8000, 9500, 11_000}
			s.Gates = schedtest.Gates(p, s)
		}},
		"a route in another order": {0, func(p *schedule.Problem, s *schedule.Solution) {
			p.Streams[0].Routes = [][]schedule.LinkID{{3, 2, 0}, {0, 2, 3}}
			p.Streams[0].Routes = p.Streams[0].Routes[1:]
		}},
		"in order, one behind the other": {2, func(p *schedule.Problem, s *schedule.Solution) {
			p.Isolation = schedule.InOrder
			s.Streams[1].Starts = []int64{1001, 3500, 5000}
			s.Gates = schedtest.Gates(p, s)
		}},
	} {
		p, s := two()
		c.change(p, s)
		if rep := check(t, p, s); !rep.Valid() || rep.WarningCount != c.warnings {
			t.Errorf("%s: %v, warnings %v", name, rep.Err(), rep.Warnings)
		}
	}
}

// TestManyFaults: the report holds MaxFaults, and counts all.
func TestManyFaults(t *testing.T) {
	p, s := two()
	for range 100 {
		s.Unplaced = append(s.Unplaced, schedule.Unplaced{Stream: 1})
	}
	rep := check(t, p, s)
	if rep.FaultCount != 100 || len(rep.Faults) != MaxFaults || !strings.HasSuffix(rep.Err().Error(), "and 36 more") {
		t.Errorf("%d faults: %v", rep.FaultCount, rep.Err())
	}
}

// TestInvalidProblem is an error, not a report.
func TestInvalidProblem(t *testing.T) {
	p, s := two()
	p.Links[1].Rate = 0
	if _, err := Check(p, s); err == nil {
		t.Error("no error")
	}
	if _, err := Check(nil, s); err == nil {
		t.Error("no error without a problem")
	}
}

// Without margins a frame may come while the one ahead is leaving; with them,
// the window of that one has to be over.
func TestBehindTheLast(t *testing.T) {
	p, s := two()
	s.Streams[1].Starts[0] = 1999 // there at 3499, stream 7 leaves from 2500 to 3500
	s.Gates = schedtest.Gates(p, s)
	if r := check(t, p, s); len(r.Faults) != 0 {
		t.Errorf("%+v", r.Faults)
	}
	p.Jitter = 1
	p.Streams[0].Deadline += 100
	p.Streams[1].Deadline += 100
	s.Gates = schedtest.Gates(p, s)
	if r := check(t, p, s); !slices.ContainsFunc(r.Faults, func(f Fault) bool { return f.Rule == RuleIsolation }) {
		t.Errorf("%+v", r.Faults)
	}
}
