package synth

import (
	"math/rand/v2"
	"slices"
	"testing"

	tsn "tsnswitch"
	"tsnswitch/qbv/schedule"
)

// grid is w x h bridges with a station each, ports as a software bridge has
// them: one scheduled queue, control traffic, guard bands of a maximum frame.
type grid struct {
	w, h int
	p    *schedule.Problem
	at   map[[2]schedule.NodeID]schedule.LinkID
}

func newGrid(w, h int, like schedule.Link) *grid {
	g := &grid{w, h, &schedule.Problem{}, map[[2]schedule.NodeID]schedule.LinkID{}}
	for range w * h {
		g.p.Nodes = append(g.p.Nodes, schedule.Node{Bridge: true})
	}
	for i := range w * h {
		g.p.Nodes = append(g.p.Nodes, schedule.Node{})
		g.join(schedule.NodeID(i), schedule.NodeID(w*h+i), like)
		if (i+1)%w != 0 {
			g.join(schedule.NodeID(i), schedule.NodeID(i+1), like)
		}
		if i+w < w*h {
			g.join(schedule.NodeID(i), schedule.NodeID(i+w), like)
		}
	}
	return g
}

func (g *grid) join(a, b schedule.NodeID, like schedule.Link) {
	for range 2 {
		like.From, like.To = a, b
		g.at[[2]schedule.NodeID{a, b}] = schedule.LinkID(len(g.p.Links))
		g.p.Links = append(g.p.Links, like)
		a, b = b, a
	}
}

// add has a stream go along a row first, then along a column.
func (g *grid) add(from, to int, period int64, size, frames int) {
	n := g.w * g.h
	at := schedule.NodeID(from)
	route := []schedule.LinkID{g.at[[2]schedule.NodeID{schedule.NodeID(n + from), at}]}
	for int(at) != to {
		next := at
		switch x, tx := int(at)%g.w, to%g.w; {
		case x < tx:
			next++
		case x > tx:
			next--
		case int(at) < to:
			next += schedule.NodeID(g.w)
		default:
			next -= schedule.NodeID(g.w)
		}
		route = append(route, g.at[[2]schedule.NodeID{at, next}])
		at = next
	}
	route = append(route, g.at[[2]schedule.NodeID{at, schedule.NodeID(n + to)}])
	g.p.Streams = append(g.p.Streams, schedule.Stream{
		ID: len(g.p.Streams), Talker: schedule.NodeID(n + from), Listeners: []schedule.NodeID{schedule.NodeID(n + to)},
		Size: size, Frames: frames, Period: period, Deadline: period, Routes: [][]schedule.LinkID{route},
	})
}

func softwarePort(rate tsn.Rate, least int64) schedule.Link {
	return schedule.Link{
		Rate: rate, PropagationDelay: 50, ProcessingDelay: 2000, Queues: tsn.NumClasses, Scheduled: 1 << tsn.ClassScheduled,
		GuardOctets: 1542, Control: tsn.ClassControl, ControlOctets: 1542, MinInterval: least, Software: true,
	}
}

// Three bridges in a row as in a lab in a slow virtual machine: 100 Mbit/s,
// margins of 250 us in 10 ms.
func TestProductionLine(t *testing.T) {
	port := softwarePort(100*tsn.Mbps, 20_000)
	port.MaxEntries = 256
	g := newGrid(3, 1, port)
	g.p.SyncError, g.p.Jitter = 10_000, 240_000
	g.add(0, 2, 10_000_000, 242, 2)
	g.add(2, 0, 10_000_000, 242, 2)
	g.add(0, 1, 5_000_000, 1542, 1)
	s := mustSolve(t, g.p, Options{})
	if len(s.Unplaced) > 0 || s.Cycle != 10_000_000 || len(s.Gates) != 9 {
		t.Errorf("cycle %d, %d lists, left out %+v", s.Cycle, len(s.Gates), s.Unplaced)
	}
}

// A fabric of software bridges with up to a thousand streams, whose frames may
// be short.
func TestProductionMesh(t *testing.T) {
	for w, n := range map[int]int{4: 100, 8: 1000} {
		g := newGrid(w, w, softwarePort(tsn.Gbps, 480))
		g.p.SyncError = 500
		r := rand.New(rand.NewPCG(1, 1))
		for len(g.p.Streams) < n {
			if a, b := r.IntN(w*w), r.IntN(w*w); a != b {
				g.add(a, b, int64(1_000_000)<<r.IntN(4), 106+r.IntN(256), 1)
			}
		}
		if s := mustSolve(t, g.p, Options{}); len(s.Unplaced) > 0 {
			t.Errorf("%d streams: %d left out, the first: %+v", n, len(s.Unplaced), s.Unplaced[0])
		}
	}
}

// A list too long for its port is shortened by joining windows, with fewer
// streams if that is not enough.
func TestListLimits(t *testing.T) {
	port := softwarePort(tsn.Gbps, 480)
	for _, limit := range []int{6, 4, 3, 1} {
		port.MaxEntries = limit
		g := newGrid(2, 1, port)
		for n := range 20 {
			g.add(0, 1, 1_000_000, 142+n, 1)
			g.add(0, 1, 2_000_000, 142+n, 1)
		}
		s := mustSolve(t, g.p, Options{})
		if n := len(s.Unplaced); n > 0 && limit == 6 || n == 40 && limit > 3 {
			t.Errorf("%d entries: %d left out, the first: %+v", limit, n, s.Unplaced[0])
		}
		t.Logf("%d entries: %d streams", limit, len(s.Streams))
	}
}

// Ports of boards with 63 and 64 entries, many queues and periods that are not
// multiples of each other.
func TestBoardLimits(t *testing.T) {
	for _, limit := range []int{63, 64, 256} {
		port := schedule.Link{Rate: tsn.Gbps, ProcessingDelay: 1000, Queues: 8, Scheduled: 0xf0, GuardOctets: 1542, Control: 3, ControlOctets: 1542, MinInterval: 1000, MaxEntries: limit}
		g := newGrid(4, 4, port)
		g.p.SyncError, g.p.Jitter = 100, 100
		r := rand.New(rand.NewPCG(uint64(limit), 1))
		for len(g.p.Streams) < 60 {
			if a, b := r.IntN(16), r.IntN(16); a != b {
				g.add(a, b, []int64{500_000, 1_000_000, 1_500_000, 2_000_000}[r.IntN(4)], 100+r.IntN(400), 1+r.IntN(2))
			}
		}
		for i := range g.p.Streams {
			g.p.Streams[i].Routes = nil
		}
		s := mustSolve(t, g.p, Options{})
		longest := 0
		for _, l := range s.Gates {
			longest = max(longest, len(l.List.Entries))
		}
		t.Logf("%d entries: longest list %d, %d left out", limit, longest, len(s.Unplaced))
		if len(s.Unplaced) > 0 && limit > 63 || len(s.Unplaced) > 4 {
			t.Errorf("%d entries: left out %+v", limit, s.Unplaced[0])
		}
	}
}

// Who has the higher rank is in.
func TestRank(t *testing.T) {
	g := newGrid(2, 1, schedule.Link{Rate: tsn.Gbps, Queues: 1, Scheduled: 1})
	for range 9 {
		g.add(0, 1, 100_000, 2500, 1)
	}
	want := []int{7, 2, 5, 8}
	for _, i := range want {
		g.p.Streams[i].Rank = 3
	}
	s := mustSolve(t, g.p, Options{Units: 500_000})
	for _, no := range s.Unplaced {
		if slices.Contains(want, no.Stream) {
			t.Errorf("stream %d with a high rank is left out", no.Stream)
		}
	}
	if len(s.Streams) != 5 {
		t.Errorf("%d of 5 streams", len(s.Streams))
	}
}
