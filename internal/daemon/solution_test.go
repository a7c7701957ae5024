package daemon

import (
	"context"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"tsnswitch"
	"tsnswitch/internal/api"
	"tsnswitch/internal/pathplan"
	"tsnswitch/qbv/format"
	"tsnswitch/qbv/synth"
)

func (s *stand) with(t *testing.T, r api.ApplyRequest) (*api.Schedule, error) {
	t.Helper()
	return s.apply(t.Context(), r, func(api.Progress) {})
}

func windowsOf(r *api.Schedule, id tsn.StreamID) (out []api.Window) {
	for _, p := range r.Ports {
		for _, w := range p.Windows {
			if w.Stream == id {
				out = append(out, w)
			}
		}
	}
	return out
}

// What runs keeps its windows when streams come, unless it may move.
func TestConductorKeepsWindows(t *testing.T) {
	s := newStand(t, 1, 2)
	s.want = []api.StreamState{reserved(5, 1, 2)}
	s.want[0].Stream.MaxFrameSize = 300
	first := s.mustApply(t)
	before := windowsOf(first, aStream(5).ID)
	s.want = append([]api.StreamState{reserved(1, 1, 2), reserved(2, 1, 2)}, s.want...)
	r := s.mustApply(t)
	if got := windowsOf(r, aStream(5).ID); len(before) != 2 || !reflect.DeepEqual(got, before) {
		t.Errorf("moved from %v to %v", before, got)
	}
	if (r.Base.NS-first.Base.NS)%first.CycleTime != 0 {
		t.Error("its windows come at other times of its cycle")
	}
	s.want[2].Stream.MaxFrameSize = 301 // another stream now: it finds another place
	if r = s.mustApply(t); !r.Streams[2].Scheduled || reflect.DeepEqual(windowsOf(r, aStream(5).ID), before) {
		t.Errorf("%+v", r.Streams)
	}
	if _, err := s.with(t, api.ApplyRequest{PlanRequest: api.PlanRequest{Replan: true}, Accept: true}); err != nil {
		t.Error(err)
	}
}

// A link has become slower: what runs cannot stay, and has a new place.
func TestConductorSlowerLink(t *testing.T) {
	s := newStand(t, 1, 2)
	s.want = []api.StreamState{reserved(1, 1, 2), reserved(2, 1, 2)}
	s.mustApply(t)
	for _, p := range s.f.peers {
		p.ports[0].Rate = 50 * tsn.Mbps
	}
	r, err := s.with(t, api.ApplyRequest{Accept: true})
	if err != nil || !r.Streams[0].Scheduled {
		t.Errorf("%+v, %v", r, err)
	}
}

// Who is made worse off is told, and nothing is started that was not accepted.
func TestConductorWarnings(t *testing.T) {
	warned := func(t *testing.T, s *stand, kind, text string) {
		t.Helper()
		running := s.mem.Conductor
		p, err := s.compute(t.Context(), api.PlanRequest{}, quietly)
		if err != nil || len(p.result.Warnings) != 1 || p.result.Warnings[0].Kind != kind || !strings.Contains(p.result.Warnings[0].Text, text) {
			t.Fatalf("%+v, %v", p.result.Warnings, err)
		}
		if _, err := s.do(t); api.ErrorCode(err) != api.CodeRefused || !strings.Contains(err.Error(), "--yes") || !strings.Contains(err.Error(), text) || s.mem.Conductor != running {
			t.Errorf("%v", err)
		}
		r, err := s.with(t, api.ApplyRequest{Accept: true})
		if err != nil || len(r.Warnings) > 0 {
			t.Errorf("%+v, %v", r, err)
		}
	}
	t.Run("latency", func(t *testing.T) {
		s := newStand(t, 1, 2)
		s.want = []api.StreamState{reserved(1, 1, 2)}
		s.mustApply(t)
		s.mem.Conductor.Schedule.Streams[0].Latency = 7000
		warned(t, s, api.WarnLatency, "stream s1: the worst latency grows from 7µs to ")
	})
	t.Run("lost", func(t *testing.T) {
		s := newStand(t, 1, 2)
		s.want = []api.StreamState{reserved(1, 1, 2)}
		s.mustApply(t)
		s.want[0].Stream.MaxLatency = 1000
		s.mem.Conductor.Planned = plannable(s.want)
		warned(t, s, api.WarnLost, "stream s1 loses its window: ")
	})
	t.Run("slope", func(t *testing.T) {
		s := newStand(t, 1)
		shaped := reserved(2, 1)
		shaped.Stream.PCP, shaped.Stream.MaxFrameSize, shaped.Stream.Interval = 3, 1400, 125_000
		s.want = []api.StreamState{shaped}
		s.mustApply(t)
		s.want = []api.StreamState{reserved(1, 1), shaped}
		warned(t, s, api.WarnSlope, "b1 port 1: class 2 has reserved ")
	})
}

// abroad is a stand of two bridges with a station at each, and a schedule for
// it that was made elsewhere.
func abroad(t *testing.T, gated bool) (*stand, string) {
	s := newStand(t, 1, 2)
	for _, p := range s.f.peers {
		p.ports = append(p.ports, api.PortStatus{Port: 2, Rate: 100 * tsn.Mbps}, api.PortStatus{Port: 3, Rate: 100 * tsn.Mbps})
	}
	s.want = []api.StreamState{reserved(1, 1, 2), reserved(2, 1, 2)}
	if gated { // by daemons at the talker too
		s.f.peers[station(1)] = newFabric(1).peers[sys(1)]
		h1 := s.f.peers[station(1)]
		h1.fabric, h1.system, h1.ports = s.f, station(1), []api.PortStatus{{Port: 1, Rate: 100 * tsn.Mbps}}
		for i := range s.want {
			s.want[i].Path = slices.Insert(s.want[i].Path, 0, api.PathHop{Hop: tsn.Hop{System: station(1), Port: 1}, Node: "h1"})
		}
	}
	s.conductor.vids = []tsn.VID{100, 101}
	hop := func(m tsn.MAC, p tsn.Port) tsn.Hop { return tsn.Hop{System: m, Port: p} }
	s.conductor.links = func(context.Context) ([]fabricLink, error) {
		return []fabricLink{
			{hop(sys(1), 1), sys(2)},
			{hop(sys(2), 2), sys(1)},
			{hop(sys(1), 2), station(1)},
			{hop(station(1), 0), sys(1)},
			{hop(sys(2), 1), station(2)},
			{hop(station(2), 0), sys(2)},
			{hop(sys(1), 3), station(2)}, // the other way
			{hop(sys(2), 3), station(1)},
		}, nil
	}
	net, err := s.whole(t.Context(), s.want)
	if err != nil {
		t.Fatal(err)
	}
	p, err := net.Search(pathplan.Running{}, synth.Options{Seed: 3}, 1e6)
	if err != nil {
		t.Fatal(err)
	}
	return s, string(format.WriteSolution(net.Problem, p.Solution, format.Meta{Instance: "abroad", Units: -1}))
}

// A schedule made elsewhere is checked, and started like one of our own.
func TestSolution(t *testing.T) {
	for name, gated := range map[string]bool{"a talker that gates": true, "one that does not": false} {
		t.Run(name, func(t *testing.T) {
			s, text := abroad(t, gated)
			r, err := s.with(t, api.ApplyRequest{PlanRequest: api.PlanRequest{File: "s.json", Solution: []byte(text)}})
			if err != nil {
				t.Fatalf("%v\n%s", err, text)
			}
			systems := 2
			if gated {
				systems = 3
			}
			if len(r.Ports) != systems || !r.Streams[0].Scheduled || !r.Streams[1].Scheduled {
				t.Errorf("%+v", r)
			}
			for _, p := range s.f.peers {
				if p.running != r.ID {
					t.Errorf("%s runs %q", p.system, p.running)
				}
			}
		})
	}
}

// otherWay sends the streams of a schedule by the link from b1 to h2.
func otherWay(text string) string {
	way := regexp.MustCompile(`\["b1","b2"\],\["b2","h2"\]\],"starts":\[(\d+),(\d+),\d+\],"queues":\[3,3,3\]`)
	return way.ReplaceAllString(text, `["b1","h2"]],"starts":[$1,$2],"queues":[3,3]`)
}

func TestSolutionRefused(t *testing.T) {
	replace := func(old, by string) func(string) string {
		return func(text string) string { return strings.ReplaceAll(text, old, by) }
	}
	for name, c := range map[string]struct {
		change func(string) string
		code   string
		want   string
	}{
		"another format":           {replace("qbv-solution/1", "other/1"), api.CodeBadRequest, "s.json:1: "},
		"no JSON":                  {replace("{", "["), api.CodeBadRequest, "s.json:"},
		"a node that is not":       {replace(`"b2","h2"`, `"b2","h9"`), api.CodeRefused, "h9"},
		"a stream that is not":     {replace(`"s2"`, `"s3"`), api.CodeRefused, "stream 1 (s3) is not reserved here"},
		"another route":            {otherWay, api.CodeRefused, "its route goes by b1-h2, SPB's tree in VLAN 101 goes by b1-b2; only routes that are ECT trees"},
		"the same stream twice":    {replace(`"s2"`, `"s1"`), api.CodeRefused, "s.json:"},
		"a start that is too late": {replace(`"starts":[`, `"starts":[1`), api.CodeRefused, "does not hold"},
	} {
		t.Run(name, func(t *testing.T) {
			s, text := abroad(t, false)
			_, err := s.with(t, api.ApplyRequest{PlanRequest: api.PlanRequest{File: "s.json", Solution: []byte(c.change(text))}})
			if api.ErrorCode(err) != c.code || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: %v\n%s", api.ErrorCode(err), err, text)
			}
			if s.mem.Conductor != nil || s.f.peers[sys(1)].trial.ID != "" {
				t.Error("something was staged")
			}
		})
	}
}

// The tree of another VLAN has the route: that is said.
func TestSolutionOfAnotherTree(t *testing.T) {
	s, text := abroad(t, false)
	s.f.paths[station(2)] = []tsn.Hop{{System: sys(1), Port: 3}}
	_, err := s.with(t, api.ApplyRequest{PlanRequest: api.PlanRequest{File: "s.json", Solution: []byte(otherWay(text))}})
	if api.ErrorCode(err) != api.CodeRefused || !strings.Contains(err.Error(), "the tree of VLAN 100, 101 goes that way") {
		t.Errorf("%v", err)
	}
}

// Streams that the file does not have run unscheduled.
func TestSolutionOfSome(t *testing.T) {
	s, text := abroad(t, false)
	s.want = append(s.want, reserved(3, 1, 2))
	r, err := s.with(t, api.ApplyRequest{PlanRequest: api.PlanRequest{File: "s.json", Solution: []byte(text)}})
	if err != nil || r.Streams[2].Scheduled || r.Streams[2].Reason != "is not in s.json" || !r.Streams[0].Scheduled {
		t.Errorf("%+v, %v", r, err)
	}
}
