// Package instances makes scheduling problems like those that tsnkit's
// generator makes: shapes of networks with an end station at a bridge, and random
// streams between them. The same Spec gives the same Problem.
//
//	set  what it is for                     bridges  streams      periods     deadline
//	A    easy                               9..64    10..500      0.4..4 ms   the period
//	B    tight                              9..36    10..80       50..800 us  no-wait latency + 0..50 us
//	C    long hyperperiod (20 ms)           9..36    20..200      0.25..4 ms  the period
//	X    scale                              64..100  1000..10000  0.5..4 ms   the period
//
// Links are 1 Gbit/s, 8 queues, 2 us from a frame's last octet in to its place
// in the next queue, no propagation delay. The no-wait latency counts those
// 2 us of the last link too, as tsnkit does.
package instances

import (
	"fmt"
	"math/rand/v2"

	tsn "tsnswitch"
	"tsnswitch/qbv/schedule"
)

// processing is the delay of every link.
const processing = 2000

// Shape is how the bridges are joined.
type Shape string

// The shapes. An end station is at every bridge of a Line, Ring, Mesh or Full,
// at the leaves of a Tree and at the border of a Mesh2D.
const (
	Line   Shape = "line"
	Ring   Shape = "ring"
	Tree   Shape = "tree"   // binary
	Mesh   Shape = "mesh"   // a ring with rungs across
	Mesh2D Shape = "mesh2d" // a square
	Full   Shape = "full"   // everyone with everyone
)

// Shapes are all shapes.
var Shapes = []Shape{Line, Ring, Tree, Mesh, Mesh2D, Full}

// Spec is a problem to be made.
type Spec struct {
	Set     string // part of the name
	Shape   Shape
	Bridges int // of a Mesh2D rounded down to a square
	Streams int
	Periods []int64 // ns, one is drawn
	Sizes   []int   // octets, one is drawn
	// Slack, if not nil, makes the deadline the no-wait latency on a shortest path
	// plus one of these, in ns, if that is within the period; nil makes it the period.
	Slack     []int64
	Listeners int // of a stream at most; 0: 1
	Seed      uint64
}

// Name is "B-mesh-16-40-1": set, shape, bridges, streams, seed.
func (s Spec) Name() string {
	return fmt.Sprintf("%s-%s-%d-%d-%d", s.Set, s.Shape, s.Bridges, s.Streams, s.Seed)
}

// Problem makes the problem.
func (s Spec) Problem() *schedule.Problem {
	seed := rand.NewPCG(s.Seed, uint64(len(s.Shape))<<32|uint64(s.Bridges)<<16|uint64(s.Streams))
	m := &maker{Spec: s, r: rand.New(seed), p: &schedule.Problem{Name: s.Name()}}
	m.network()
	m.load = make([]float64, len(m.p.Nodes))
	for i := range s.Streams {
		m.p.Streams = append(m.p.Streams, m.stream(i))
	}
	return m.p
}

type maker struct {
	Spec
	r        *rand.Rand
	p        *schedule.Problem
	stations []schedule.NodeID
	next     [][]schedule.NodeID       // neighbours
	hops     map[schedule.NodeID][]int // from a station to every node
	load     []float64                 // of a station's link, either way
}

// stream draws until the deadline is within the period. Busy stations are
// left alone while there are others.
func (m *maker) stream(i int) schedule.Stream {
	for {
		ends := m.draw(1 + 1 + m.r.IntN(max(m.Listeners, 1)))
		s := schedule.Stream{
			ID: i, Talker: ends[0], Listeners: ends[1:],
			Period: m.Periods[m.r.IntN(len(m.Periods))], Size: m.Sizes[m.r.IntN(len(m.Sizes))],
		}
		if s.Deadline = m.deadline(&s); s.Deadline > s.Period {
			continue
		}
		s.Jitter = s.Deadline
		for _, n := range ends {
			m.load[n] += float64(tsn.Gbps.TransmitTime(s.Size)) / float64(s.Period)
		}
		return s
	}
}

func (m *maker) deadline(s *schedule.Stream) int64 {
	if m.Slack == nil {
		return s.Period
	}
	far := 0
	for _, to := range s.Listeners {
		far = max(far, m.distance(s.Talker, to))
	}
	return int64(far)*(processing+tsn.Gbps.TransmitTime(s.Size)) + m.Slack[m.r.IntN(len(m.Slack))]
}

// draw takes n different stations, of those with load to spare if there are
// enough.
func (m *maker) draw(n int) []schedule.NodeID {
	var from []schedule.NodeID
	for _, s := range m.stations {
		if m.load[s] <= 0.75 {
			from = append(from, s)
		}
	}
	if len(from) < n {
		from = append(from[:0], m.stations...)
	}
	m.r.Shuffle(len(from), func(a, b int) { from[a], from[b] = from[b], from[a] })
	return from[:min(n, len(from))]
}

// distance is in links.
func (m *maker) distance(from, to schedule.NodeID) int {
	if m.hops == nil {
		m.hops = map[schedule.NodeID][]int{}
	}
	if m.hops[from] == nil {
		m.hops[from] = m.search(from)
	}
	return m.hops[from][to]
}

func (m *maker) search(from schedule.NodeID) []int {
	hops := make([]int, len(m.p.Nodes))
	for i := range hops {
		hops[i] = -1
	}
	hops[from] = 0
	for queue := []schedule.NodeID{from}; len(queue) > 0; queue = queue[1:] {
		for _, n := range m.next[queue[0]] {
			if hops[n] < 0 {
				hops[n] = hops[queue[0]] + 1
				queue = append(queue, n)
			}
		}
	}
	return hops
}
