// Package schedtest makes small random problems and schedules for the tests of
// whoever checks or runs them. The schedules are simple: each transmission as
// soon as it may be or some random time later, and gates that are open for the
// windows and, outside of them and of guard bands, for all other traffic.
package schedtest

import (
	"fmt"
	"math/rand/v2"
	"slices"

	tsn "tsnswitch"
	"tsnswitch/qbv/schedule"
)

// Problem returns a valid problem: a few bridges in a random tree with some
// links more, an end station at each, and up to streams streams.
func Problem(r *rand.Rand, streams int) *schedule.Problem {
	p := &schedule.Problem{Isolation: schedule.Isolation(r.IntN(2))}
	if r.IntN(3) > 0 {
		p.SyncError, p.Jitter = r.Int64N(800), r.Int64N(500)
	}
	bridges := 1 + r.IntN(5)
	for i := range bridges {
		p.Nodes = append(p.Nodes, schedule.Node{Name: fmt.Sprintf("b%d", i), Bridge: true})
	}
	kind := link(r)
	for i := 1; i < bridges; i++ {
		join(p, r, kind, schedule.NodeID(i), schedule.NodeID(r.IntN(i)))
	}
	if bridges > 2 && r.IntN(2) == 0 {
		join(p, r, kind, 0, schedule.NodeID(bridges-1))
	}
	for i := range 2 + bridges {
		p.Nodes = append(p.Nodes, schedule.Node{Name: fmt.Sprintf("h%d", i)})
		join(p, r, kind, schedule.NodeID(bridges+i), schedule.NodeID(i%bridges))
	}
	period := int64(1+r.IntN(4)) * 50_000
	for i := range streams {
		p.Streams = append(p.Streams, stream(r, i, bridges, len(p.Nodes), period))
	}
	return p
}

// link is what all links of a problem have in common.
func link(r *rand.Rand) schedule.Link {
	l := schedule.Link{Queues: 4, Scheduled: []tsn.GateMask{0x4, 0x6, 0xc}[r.IntN(3)], ProcessingDelay: r.Int64N(3000)}
	if r.IntN(2) == 0 {
		l.GuardOctets = 84 + r.IntN(1459)
		switch l.GuardOctets % 4 {
		case 0:
			l.Preemptible = 0x3
		case 1:
			l.MaxSDU[0] = 1542
			if !l.Scheduled.Has(1) {
				l.MaxSDU[1] = 400
			}
		}
	}
	if r.IntN(2) == 0 {
		l.Control, l.ControlOctets = 0, 1542
	}
	if r.IntN(3) == 0 {
		l.Software, l.MinInterval = true, 480
	}
	return l
}

// join adds both directions between two nodes.
func join(p *schedule.Problem, r *rand.Rand, l schedule.Link, a, b schedule.NodeID) {
	l.Rate = tsn.Gbps
	if r.IntN(4) == 0 {
		l.Rate = 400 * tsn.Mbps
	}
	l.PropagationDelay = r.Int64N(500)
	l.From, l.To = a, b
	p.Links = append(p.Links, l)
	l.From, l.To = b, a
	p.Links = append(p.Links, l)
}

func stream(r *rand.Rand, id, bridges, nodes int, period int64) schedule.Stream {
	hosts := r.Perm(nodes - bridges)
	s := schedule.Stream{
		ID: id, Talker: schedule.NodeID(bridges + hosts[0]), Size: 84 + r.IntN(600),
		Period: period << r.IntN(3), Frames: []int{0, 1, 1, 2, 3}[r.IntN(5)],
	}
	for _, h := range hosts[1 : 2+r.IntN(2)] {
		s.Listeners = append(s.Listeners, schedule.NodeID(bridges+h))
	}
	if r.IntN(3) == 0 {
		s.MinSize = 84
	}
	s.Deadline = s.Period * int64(1+r.IntN(2))
	return s
}

// Tree returns the links of shortest ways from s's talker to its listeners.
func Tree(p *schedule.Problem, s *schedule.Stream) []schedule.LinkID {
	via := make([]schedule.LinkID, len(p.Nodes))
	for i := range via {
		via[i] = -1
	}
	for queue := []schedule.NodeID{s.Talker}; len(queue) > 0; queue = queue[1:] {
		for i, l := range p.Links {
			if n := queue[0]; l.From == n && via[l.To] < 0 && l.To != s.Talker && (n == s.Talker || p.Nodes[n].Bridge) {
				via[l.To] = schedule.LinkID(i)
				queue = append(queue, l.To)
			}
		}
	}
	var tree []schedule.LinkID
	for _, n := range s.Listeners {
		var branch []schedule.LinkID
		for ; n != s.Talker && via[n] >= 0 && !slices.Contains(tree, via[n]); n = p.Links[via[n]].From {
			branch = append(branch, via[n])
		}
		slices.Reverse(branch)
		tree = append(tree, branch...)
	}
	return tree
}

// Place adds the streams one by one, each at the first of some random times
// at which accept agrees. The gates are remade each time.
func Place(r *rand.Rand, p *schedule.Problem, accept func(*schedule.Solution) bool) *schedule.Solution {
	s := &schedule.Solution{Cycle: 1}
	for i := range p.Streams {
		s.Cycle = max(s.Cycle, p.Streams[i].Period)
		s.Unplaced = append(s.Unplaced, schedule.Unplaced{Stream: i, Link: -1})
	}
	for i := range p.Streams {
		for range 12 {
			try := &schedule.Solution{Cycle: s.Cycle, Streams: append(slices.Clip(s.Streams), placement(r, p, i, s.Cycle))}
			for _, u := range s.Unplaced {
				if u.Stream != i {
					try.Unplaced = append(try.Unplaced, u)
				}
			}
			try.Gates = Gates(p, try)
			if accept(try) {
				s = try
				break
			}
		}
	}
	return s
}

func placement(r *rand.Rand, p *schedule.Problem, i int, cycle int64) schedule.Placement {
	s := &p.Streams[i]
	out := schedule.Placement{Stream: i, Route: Tree(p, s)}
	if n := cycle / s.Period; n > 1 && r.IntN(4) == 0 {
		for k := range n {
			starts, queues := times(r, p, s, out.Route, k*s.Period)
			out.Instances = append(out.Instances, schedule.Instance{K: int(k), Starts: starts, Queues: queues})
		}
		return out
	}
	out.Starts, out.Queues = times(r, p, s, out.Route, 0)
	return out
}

// times picks a start in the period that begins at from and goes on from there.
func times(r *rand.Rand, p *schedule.Problem, s *schedule.Stream, route []schedule.LinkID, from int64) ([]int64, []tsn.TrafficClass) {
	ready := map[schedule.NodeID]int64{s.Talker: from + r.Int64N(s.Period)}
	patient := r.IntN(2) == 0
	var starts []int64
	var queues []tsn.TrafficClass
	for _, id := range route {
		l := &p.Links[id]
		t := ready[l.From]
		if patient && l.From != s.Talker && r.IntN(2) == 0 {
			t += r.Int64N(s.Period / 8)
		}
		q := tsn.TrafficClass(r.IntN(l.Queues))
		for !l.Scheduled.Has(q) {
			q = (q + 1) % tsn.TrafficClass(l.Queues)
		}
		starts, queues = append(starts, t), append(queues, q)
		ready[l.To] = t + l.Rate.TransmitTime(s.Size) + l.PropagationDelay + l.ProcessingDelay
	}
	return starts, queues
}
