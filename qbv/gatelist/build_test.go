package gatelist

import (
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	tsn "tsnswitch"
	"tsnswitch/qbv/schedtest"
	"tsnswitch/qbv/schedule"
	"tsnswitch/qbv/verify"
)

// without takes streams out of a solution.
func without(s *schedule.Solution, streams []int) {
	for _, i := range streams {
		s.Streams = slices.DeleteFunc(s.Streams, func(pl schedule.Placement) bool { return pl.Stream == i })
		if !slices.ContainsFunc(s.Unplaced, func(u schedule.Unplaced) bool { return u.Stream == i }) {
			s.Unplaced = append(s.Unplaced, schedule.Unplaced{Stream: i, Link: -1})
		}
	}
	slices.SortFunc(s.Unplaced, func(a, b schedule.Unplaced) int { return a.Stream - b.Stream })
}

// sound reports whether a schedule has no fault but that its simple lists are
// not what the ports can execute.
func sound(p *schedule.Problem, s *schedule.Solution) bool {
	rep, err := verify.Check(p, s)
	return err == nil && !slices.ContainsFunc(rep.Faults, func(f verify.Fault) bool {
		return f.Rule != verify.RuleList && f.Rule != verify.RuleControl && f.Rule != verify.RuleGuard
	})
}

// Whatever is placed, the lists pass the verifier; where there is no list, one
// stream less makes one in the end.
func TestBuildPassesTheVerifier(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	lists, overflows := 0, 0
	for n := range 400 {
		p := schedtest.Problem(r, 1+r.IntN(12))
		s := schedtest.Place(r, p, func(s *schedule.Solution) bool { return sound(p, s) })
		for i := range p.Links {
			l := &p.Links[i]
			if r.IntN(2) == 0 {
				l.MaxEntries = 3 + r.IntN(10)
			}
			if r.IntN(2) == 0 && !l.Software {
				l.MinInterval = r.Int64N(1500)
			}
		}
		for {
			gates, over, err := Build(p, s.Streams)
			if err != nil {
				t.Fatalf("case %d: %v", n, err)
			}
			if s.Gates = gates; len(over) == 0 {
				break
			}
			overflows++
			if o := over[0]; o.Reason == "" || len(o.Streams) == 0 {
				t.Fatalf("case %d: %+v says little", n, o)
			}
			without(s, over[0].Streams[:1])
		}
		lists += len(s.Gates)
		rep, err := verify.Check(p, s)
		if err != nil || rep.FaultCount > 0 {
			t.Fatalf("case %d: %v %+v", n, err, rep)
		}
		for i := range s.Gates {
			g, over, err := BuildLink(p, s.Gates[i].Link, s.Streams)
			if err != nil || over != nil || !reflect.DeepEqual(g, s.Gates[i]) {
				t.Fatalf("case %d: link %d alone differs: %v %v", n, g.Link, over, err)
			}
		}
	}
	if t.Logf("%d lists, %d overflows", lists, overflows); lists < 500 || overflows < 50 {
		t.Errorf("%d lists and %d overflows are too few to mean something", lists, overflows)
	}
}

// line is h0 - b - h1 with two streams of 1 us each, in a cycle of 10 us.
func line() (*schedule.Problem, []schedule.Placement) {
	link := func(from, to schedule.NodeID) schedule.Link {
		return schedule.Link{From: from, To: to, Rate: tsn.Gbps, Queues: 4, Scheduled: 0b1100}
	}
	p := &schedule.Problem{
		Nodes: []schedule.Node{{Name: "h0"}, {Name: "b", Bridge: true}, {Name: "h1"}},
		Links: []schedule.Link{link(0, 1), link(1, 2)},
	}
	var placed []schedule.Placement
	for i := range 2 {
		p.Streams = append(p.Streams, schedule.Stream{ID: 10 + i, Talker: 0, Listeners: []schedule.NodeID{2}, Size: 125, Period: 10_000, Deadline: 10_000})
		at := int64(i) * 3000
		placed = append(placed, schedule.Placement{
			Stream: i, Route: []schedule.LinkID{0, 1}, Starts: []int64{at, at + 1000}, Queues: []tsn.TrafficClass{3, 3 - tsn.TrafficClass(i)},
		})
	}
	return p, placed
}

func listOf(t *testing.T, p *schedule.Problem, l schedule.LinkID, placed []schedule.Placement) string {
	t.Helper()
	g, over, err := BuildLink(p, l, placed)
	if err != nil {
		return err.Error()
	}
	if over != nil {
		return over.Reason
	}
	return g.List.String()
}

// What each option does to one list.
func TestLists(t *testing.T) {
	for _, c := range []struct {
		name string
		set  func(*schedule.Problem, []schedule.Placement)
		want string
	}{
		{
			"plain", func(*schedule.Problem, []schedule.Placement) {},
			"base 0 cycle 10000 03/1000 08/1000 03/2000 04/1000 03/5000",
		},
		{
			"guard band, over the end of the cycle too", func(p *schedule.Problem, _ []schedule.Placement) { p.Links[1].GuardOctets = 200 },
			"base 0 cycle 10000 00/1000 08/1000 03/400 00/1600 04/1000 03/4400 00/600",
		},
		{
			"queues with guards of their own", func(p *schedule.Problem, pl []schedule.Placement) {
				pl[1].Queues = []tsn.TrafficClass{3, 4}
				l := &p.Links[1]
				l.Queues, l.Scheduled, l.GuardOctets, l.Preemptible = 5, 0b11000, 250, 0b100
				l.MaxSDU[1] = 50
			}, "base 0 cycle 10000 02/600 00/400 08/1000 06/824 02/776 00/400 10/1000 07/4000 06/824 02/176",
		},
		{"a window directly after another needs no guard", func(p *schedule.Problem, pl []schedule.Placement) {
			p.Links[1].GuardOctets = 25
			pl[1].Starts = []int64{1000, 2000}
		}, "base 0 cycle 10000 03/800 00/200 08/1000 04/1000 03/7000"},
		{
			"margins", func(p *schedule.Problem, _ []schedule.Placement) { p.SyncError, p.Jitter = 30, 20 },
			"base 0 cycle 10000 03/950 08/1100 03/1900 04/1100 03/4950",
		},
		{
			"a window over the end of the cycle", func(p *schedule.Problem, pl []schedule.Placement) { pl[1].Starts = []int64{8500, 9500} },
			"base 0 cycle 10000 04/500 03/500 08/1000 03/7500 04/500",
		},
		{
			"software: a guard entry", func(p *schedule.Problem, pl []schedule.Placement) {
				p.Links[1].Software, p.Links[1].MinInterval = true, 480
			},
			"base 0 cycle 10000 03/1000 08/1000 03/2000 04/1000 03/4520 03/480",
		},
		{"software: no window in it", func(p *schedule.Problem, pl []schedule.Placement) {
			p.Links[1].Software, p.Links[1].MinInterval = true, 480
			pl[1].Starts = []int64{7600, 8600}
		}, "the window at 8600..9600 ns reaches into the guard entry at 9520 ns"},
		{
			"a short window is stretched", func(p *schedule.Problem, _ []schedule.Placement) { p.Links[1].MinInterval = 1200 },
			"base 0 cycle 10000 08/2000 03/2000 04/1200 03/4800",
		},
		{
			"few entries", func(p *schedule.Problem, _ []schedule.Placement) { p.Links[1].MaxEntries = 3 },
			"base 0 cycle 10000 08/4000 04/1000 03/5000",
		},
		{
			"too few entries", func(p *schedule.Problem, _ []schedule.Placement) { p.Links[1].MaxEntries = 1 },
			"needs 2 gate entries, the port has 1",
		},
		{"control keeps its time", func(p *schedule.Problem, _ []schedule.Placement) {
			p.Links[1].MaxEntries, p.Links[1].Control, p.Links[1].ControlOctets = 3, 1, 500
		}, "base 0 cycle 10000 08/4000 04/1000 03/5000"},
		{
			"no room for control", func(p *schedule.Problem, _ []schedule.Placement) {
				p.Links[1].Control, p.Links[1].ControlOctets = 1, 1000
			},
			"the control frame needs 8000 ns at a stretch, the windows leave 6000",
		},
		{
			"overlap", func(p *schedule.Problem, pl []schedule.Placement) { pl[1].Starts = []int64{500, 1500} },
			"link 1 (b-h1): windows of stream 10 and stream 11 overlap at 1500 ns",
		},
		{"instances", func(p *schedule.Problem, pl []schedule.Placement) {
			q := []tsn.TrafficClass{3, 3}
			pl[1] = schedule.Placement{Stream: 1, Route: pl[1].Route, Instances: []schedule.Instance{
				{K: 0, Starts: []int64{3000, 4000}, Queues: q}, {K: 1, Starts: []int64{14000, 15000}, Queues: q},
			}}
		}, "base 0 cycle 20000 03/1000 08/1000 03/2000 08/1000 03/6000 08/1000 03/3000 08/1000 03/4000"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, placed := line()
			c.set(p, placed)
			if got := listOf(t, p, 1, placed); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

// A gate is never opened on a frame that waits, whatever the limit.
func TestWaitingFrameKeepsItsGateShut(t *testing.T) {
	p, placed := line()
	placed[1].Queues[1] = 3
	p.Links[1].MaxEntries = 3
	want := "base 0 cycle 10000 08/5000 03/5000"
	if got := listOf(t, p, 1, placed); got != want {
		t.Errorf("no frame waits: got %s, want %s", got, want)
	}
	placed[1].Starts[1] = 4500 // waits from 4000 on
	want = "base 0 cycle 10000 08/2000 03/2500 08/5500"
	if got := listOf(t, p, 1, placed); got != want {
		t.Errorf("one waits: got %s, want %s", got, want)
	}
}

// Bad placements are told apart by where they are bad.
func TestBadPlacements(t *testing.T) {
	for want, spoil := range map[string]func([]schedule.Placement){
		"there is no such stream":                        func(pl []schedule.Placement) { pl[0].Stream = 7 },
		"stream 10: link 9 does not exist":               func(pl []schedule.Placement) { pl[0].Route = []schedule.LinkID{9} },
		"stream 10: link 1 (b-h1) begins where":          func(pl []schedule.Placement) { pl[0].Route = []schedule.LinkID{1, 0} },
		"stream 11: 1 starts and 2 queues for 2 links":   func(pl []schedule.Placement) { pl[1].Starts = pl[1].Starts[:1] },
		"stream 11 on link 0 (h0-b): a start at -1 ns":   func(pl []schedule.Placement) { pl[1].Starts[0] = -1 },
		"stream 11 on link 1 (b-h1): queue 1 is not a s": func(pl []schedule.Placement) { pl[1].Queues[1] = 1 },
	} {
		p, placed := line()
		spoil(placed)
		if _, _, err := Build(p, placed); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

// A queue whose longest opening is too short for a maximum frame has a max-SDU.
func TestMaxSDU(t *testing.T) {
	p, placed := line()
	g, _, err := BuildLink(p, 1, placed)
	if want := [8]int{625 + 125, 625 + 125, 125, 125}; err != nil || g.MaxSDU != want {
		t.Errorf("got %v %v, want %v", g.MaxSDU, err, want)
	}
	p.Links[1].MaxSDU = [8]int{300, 1000}
	g, _, err = BuildLink(p, 1, placed)
	if want := [8]int{300, 625 + 125, 125, 125}; err != nil || g.MaxSDU != want {
		t.Errorf("with limits of the link: got %v %v, want %v", g.MaxSDU, err, want)
	}
}
