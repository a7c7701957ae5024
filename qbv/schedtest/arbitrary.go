package schedtest

import (
	"math"
	"math/rand/v2"

	tsn "tsnswitch"
	"tsnswitch/qbv/schedule"
)

// bytes draws values from a fuzzer's input, and 0 when it is used up.
type bytes struct{ data []byte }

func (b *bytes) n(n int) int {
	if len(b.data) == 0 {
		return 0
	}
	v := int(b.data[0]) % n
	b.data = b.data[1:]
	return v
}

// time is mostly within 0..most, sometimes absurd.
func (b *bytes) time(most int64) int64 {
	absurd := []int64{-1, math.MinInt64, math.MaxInt64, 1 << 50, 1 << 40, most, most + 1}
	if i := b.n(40); i < len(absurd) {
		return absurd[i]
	}
	return most * int64(b.n(256)) / 256
}

// Arbitrary makes a problem and a solution of a fuzzer's input. Small inputs
// make small ones; little of them needs to be valid, but a valid schedule is
// the start.
func Arbitrary(data []byte) (*schedule.Problem, *schedule.Solution) {
	b := &bytes{data}
	r := rand.New(rand.NewPCG(uint64(b.n(256)), uint64(b.n(256))))
	p := Problem(r, 1+b.n(6))
	s := Place(r, p, func(*schedule.Solution) bool { return true })
	for len(b.data) > 0 {
		b.spoil(p, s)
	}
	return p, s
}

// spoil changes one thing.
func (b *bytes) spoil(p *schedule.Problem, s *schedule.Solution) {
	l := &p.Links[b.n(len(p.Links))]
	st := &p.Streams[b.n(len(p.Streams))]
	switch b.n(20) {
	case 0:
		p.SyncError, p.Jitter = b.time(10_000), b.time(10_000)
	case 1:
		l.Rate = tsn.Rate(b.time(int64(tsn.Gbps)))
	case 2:
		l.PropagationDelay, l.ProcessingDelay = b.time(10_000), b.time(10_000)
	case 3:
		l.Queues, l.Scheduled = b.n(10), tsn.GateMask(b.n(256))
	case 4:
		l.GuardOctets, l.ControlOctets, l.MinInterval = b.n(256)*8, b.n(256)*8, b.time(1000)
	case 5:
		l.Software = !l.Software
	case 6:
		st.Period = b.time(400_000)
	case 7:
		st.Size, st.MinSize, st.Frames = b.n(256)*256, b.n(256), b.n(256)*5
	case 8:
		st.Listeners = append(st.Listeners, schedule.NodeID(b.n(20)))
	case 9:
		st.Release = [2]int64{b.time(100_000), b.time(100_000)}
	case 10:
		s.Cycle = b.time(1_000_000)
	case 11:
		s.Unplaced = append(s.Unplaced, schedule.Unplaced{Stream: b.n(10)})
	case 12:
		b.spoilCyclic(p, s)
	default:
		b.spoilPlacement(s)
		b.spoilGates(s)
	}
}

// spoilCyclic makes a cyclic section of the placements, and then changes it.
func (b *bytes) spoilCyclic(p *schedule.Problem, s *schedule.Solution) {
	if s.Cyclic == nil {
		s.Cyclic = &schedule.Cyclic{CycleTime: s.Cycle / int64(2+b.n(8))}
		for l := range p.Links {
			w := schedule.CyclicWindow{Link: schedule.LinkID(l), Queues: [2]tsn.TrafficClass{2, 3}, Length: b.time(20_000)}
			s.Cyclic.Windows = append(s.Cyclic.Windows, w)
		}
		for _, pl := range s.Streams {
			s.Cyclic.Streams = append(s.Cyclic.Streams, schedule.CyclicStream{Stream: pl.Stream, Route: pl.Route})
		}
		s.Streams, s.Gates = nil, nil
		return
	}
	w := &s.Cyclic.Windows[b.n(len(s.Cyclic.Windows))]
	switch b.n(5) {
	case 0:
		w.Offset, w.Length = b.time(50_000), b.time(50_000)
	case 1:
		w.Queues[0] = tsn.TrafficClass(b.n(10))
	case 2:
		w.Link = schedule.LinkID(b.n(30) - 1)
	case 3:
		s.Cyclic.CycleTime = b.time(100_000)
	case 4:
		for i := range s.Cyclic.Streams {
			s.Cyclic.Streams[i].Start = b.time(8)
		}
	}
}

func (b *bytes) spoilPlacement(s *schedule.Solution) {
	if len(s.Streams) == 0 {
		return
	}
	pl := &s.Streams[b.n(len(s.Streams))]
	switch b.n(6) {
	case 0:
		pl.Stream = b.n(10)
	case 1:
		pl.Route = append(pl.Route, schedule.LinkID(b.n(30)-1))
	case 2:
		pl.Starts = append(pl.Starts, b.time(200_000))
	case 3:
		pl.Queues = append(pl.Queues, tsn.TrafficClass(b.n(10)))
	case 4:
		pl.Instances = append(pl.Instances, schedule.Instance{K: b.n(4), Starts: pl.Starts, Queues: pl.Queues})
	case 5:
		if n := len(pl.Starts); n > 0 {
			pl.Starts[b.n(n)] = b.time(200_000)
		}
	}
}

func (b *bytes) spoilGates(s *schedule.Solution) {
	if len(s.Gates) == 0 {
		return
	}
	g := &s.Gates[b.n(len(s.Gates))]
	switch b.n(5) {
	case 0:
		g.Link = schedule.LinkID(b.n(30) - 1)
	case 1:
		g.List.CycleTime = b.time(400_000)
	case 2:
		g.List.Entries = append(g.List.Entries, tsn.GateEntry{Gates: tsn.GateMask(b.n(256)), Interval: b.time(100_000)})
	case 3:
		if n := len(g.List.Entries); n > 0 {
			g.List.Entries[b.n(n)].Gates = tsn.GateMask(b.n(256))
		}
	case 4:
		g.MaxSDU[b.n(8)] = b.n(256) * 8
	}
}
