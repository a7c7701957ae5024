package verify

import (
	"slices"
	"strings"
	"testing"

	tsn "tsnswitch"
	"tsnswitch/qbv/schedule"
)

// cyclicTwo is the network and streams of two, in cycles of 5000 ns: stream 7 in cycle
// 0 of each 2, stream 9 in cycle 1 of 4. Every window is 1000 ns from 200 on.
func cyclicTwo() (*schedule.Problem, *schedule.Solution) {
	p, s := two()
	p.Streams[0].Deadline, p.Streams[1].Deadline = 12_000, 12_000
	s.Cyclic = &schedule.Cyclic{CycleTime: 5000}
	for l := range p.Links {
		s.Cyclic.Windows = append(s.Cyclic.Windows, schedule.CyclicWindow{
			Link: schedule.LinkID(l), Queues: [2]tsn.TrafficClass{3, 2}, Offset: 200, Length: 1000,
		})
	}
	for i, pl := range s.Streams {
		s.Cyclic.Streams = append(s.Cyclic.Streams, schedule.CyclicStream{Stream: i, Route: pl.Route, Start: int64(i), Worst: 11_100})
	}
	s.Streams = nil
	s.Gates = nil
	for l := range p.Links {
		var entries []tsn.GateEntry
		for _, gates := range []tsn.GateMask{8, 4} {
			entries = append(entries, tsn.GateEntry{Interval: 200}, tsn.GateEntry{Gates: gates, Interval: 1000}, tsn.GateEntry{Gates: 3, Interval: 3800})
		}
		s.Gates = append(s.Gates, schedule.LinkGates{Link: schedule.LinkID(l), List: tsn.GateControlList{CycleTime: 10_000, Entries: entries}})
	}
	return p, s
}

func TestCyclicTwo(t *testing.T) {
	p, s := cyclicTwo()
	rep := check(t, p, s)
	if !rep.Valid() || rep.WarningCount > 0 || rep.Placed != 2 || len(rep.Streams) != 2 {
		t.Fatalf("%v %+v", rep.Err(), rep)
	}
	// 2 cycles and a window and the medium; or both frames fill their windows: no less and no more than the plan.
	if want := (Listener{Node: 4, Planned: 11_100, Latency: 11_100, Processing: 400}); rep.Streams[0].Listeners[0] != want {
		t.Errorf("got %+v, want %+v", rep.Streams[0].Listeners, want)
	}
	if want := (LinkFigures{Link: 2, Busy: 3000, Window: 4000, Entries: 6, Other: 15_200}); rep.Links[2] != want {
		t.Errorf("got %+v, want %+v", rep.Links[2], want)
	}
}

func TestCyclicRules(t *testing.T) {
	type problem = schedule.Problem
	type solution = schedule.Solution
	for _, c := range []struct {
		rule  Rule
		want  string
		spoil func(*problem, *solution)
	}{
		{RuleStream, "stream 7 (axis) is there twice", func(_ *problem, s *solution) { s.Streams = []schedule.Placement{{Stream: 0}} }},
		{RuleStream, "stream 9 is neither", func(_ *problem, s *solution) { s.Cyclic.Streams = s.Cyclic.Streams[:1] }},
		{RuleCycle, "two cyclic cycles of 20000", func(_ *problem, s *solution) { s.Cyclic.CycleTime = 20_000 }},
		{RuleCycle, "two cyclic cycles of 3000", func(_ *problem, s *solution) { s.Cyclic.CycleTime = 3000 }},
		{RuleCycle, "period of 7 ns", func(p *problem, _ *solution) { p.Streams[0].Period = 7 }},
		{RuleSize, "more than 8388608", func(p *problem, s *solution) {
			s.Cycle, s.Cyclic.CycleTime = 20_000_000, 1
		}},
		{RuleRoute, "does not reach h2", func(_ *problem, s *solution) { s.Cyclic.Streams[0].Route = s.Cyclic.Streams[0].Route[:2] }},
		{RulePlacement, "cyclic window for link 9", func(_ *problem, s *solution) { s.Cyclic.Windows[3].Link = 9 }},
		{RulePlacement, "takes link 3 (b-h2), which has no", func(_ *problem, s *solution) { s.Cyclic.Windows = s.Cyclic.Windows[:3] }},
		{RulePlacement, "window of 4801 ns at 200", func(_ *problem, s *solution) { s.Cyclic.Windows[2].Length = 4801 }},
		{RulePlacement, "starts in cycle 2 of its period of 10000 ns, of 5000 ns", func(_ *problem, s *solution) { s.Cyclic.Streams[0].Start = 2 }},
		{RuleQueue, "queues 2 and 2", func(_ *problem, s *solution) { s.Cyclic.Windows[2].Queues = [2]tsn.TrafficClass{2, 2} }},
		{RuleQueue, "queues 2 and 1", func(_ *problem, s *solution) { s.Cyclic.Windows[2].Queues = [2]tsn.TrafficClass{2, 1} }},
		{RuleRelease, "first starts 200 to 200 ns", func(p *problem, _ *solution) { p.Streams[0].Release = [2]int64{201, 900} }},
		{
			RuleCausality, "cyclic frames of stream 7 (axis) come to the next port from 5001 to 5001 ns",
			func(p *problem, _ *solution) { p.Links[0].ProcessingDelay += 3301 },
		},
		{RuleDeadline, "up to 11100 ns to h2, it is allowed 11099", func(p *problem, _ *solution) { p.Streams[0].Deadline = 11_099 }},
		{RuleDeadline, "not 11099 ns as it says", func(_ *problem, s *solution) { s.Cyclic.Streams[0].Worst = 11_099 }},
		{RuleJitter, "takes 10500 to 12600 ns to h2, it is allowed to vary by 2000", func(p *problem, s *solution) {
			p.Streams[0].Jitter, p.Streams[0].Deadline, p.SyncError = 2000, 20_000, 600
			s.Cyclic.Windows[3].Length, s.Cyclic.Streams[0].Worst = 1900, 20_000
		}},
		{RuleOverlap, "link 2 (a-b) at 5200 ns: cyclic frames take 2000 ns, their window and its margins leave 1000", func(_ *problem, s *solution) { s.Cyclic.Streams[1].Start = 0 }},
		{RuleOverlap, "cyclic frames take 1000 ns, their window and its margins leave 998", func(p *problem, _ *solution) { p.Jitter = 1 }},
		{RuleOverlap, "the window of cyclic streams begins while that of stream 3 lasts", func(p *problem, s *solution) { placed(p, s, 3, 5000) }},
		{RuleIsolation, "stream 3 is in queue 2, which is for cyclic streams", func(p *problem, s *solution) { placed(p, s, 3, 7000) }},
		{RuleGates, "the window of cyclic streams, 1000 ns, has not gate 2 open", func(_ *problem, s *solution) {
			s.Gates[2].List.Entries[4].Interval--
			s.Gates[2].List.Entries[5].Interval++
		}},
		{RuleGates, "gate 2 is open while frames of cyclic streams wait for their window at 5200 ns", func(_ *problem, s *solution) { s.Gates[2].List.Entries[2].Gates |= 4 }},
		{RuleGates, "frames of stream 7 (axis) have 125 octets, queue 2 takes 124", func(_ *problem, s *solution) { s.Gates[2].MaxSDU[2] = 124 }},
		{RuleGuard, "the window of cyclic streams, 1000 ns, has gate 0 of other traffic open", func(_ *problem, s *solution) { s.Gates[2].List.Entries[3].Gates |= 1 }},
	} {
		p, s := cyclicTwo()
		c.spoil(p, s)
		rep := check(t, p, s)
		if !slices.ContainsFunc(rep.Faults, func(f Fault) bool { return f.Rule == c.rule && strings.Contains(f.Text, c.want) }) {
			t.Errorf("%s: want %q, got %v", c.rule, c.want, rep.Err())
		}
	}
}

// placed adds a stream with a time of its own, from h0 to a.
func placed(p *schedule.Problem, s *schedule.Solution, id int, at int64) {
	p.Streams = append(p.Streams, schedule.Stream{ID: id, Talker: 0, Listeners: []schedule.NodeID{2}, Size: 125, Period: 20_000, Deadline: 5000})
	s.Streams = append(s.Streams, schedule.Placement{Stream: 2, Route: []schedule.LinkID{0}, Starts: []int64{at}, Queues: []tsn.TrafficClass{2}})
}
