package qbvbench

import (
	"cmp"
	"slices"

	tsn "tsnswitch"
	"tsnswitch/qbv/schedule"
)

// FirstFit is what a scheduler has to beat: no frame waits, each stream takes the
// first offset that is free on all links of one of four paths; four orders of
// the streams are tried, then those that failed go first. It takes streams with
// one listener and one frame, and knows of no margins and no limits. nil: it
// found none.
func FirstFit(p *schedule.Problem) *schedule.Solution {
	f := newFirstFit(p)
	for _, order := range f.orders() {
		if s := f.try(order); s != nil {
			return s
		}
	}
	order := f.orders()[0]
	for range 50 {
		if s := f.try(order); s != nil {
			return s
		}
		order = append(slices.Clone(f.failed), slices.DeleteFunc(order, func(i int) bool { return slices.Contains(f.failed, i) })...)
	}
	return nil
}

// taken is a transmission of length at start, again every period.
type taken struct{ start, length, period int64 }

type firstFit struct {
	p      *schedule.Problem
	paths  [][][]schedule.LinkID
	busy   [][]taken // by link
	failed []int
	out    [][]schedule.LinkID
	starts [][]int64
}

func newFirstFit(p *schedule.Problem) *firstFit {
	f := &firstFit{p: p, paths: make([][][]schedule.LinkID, len(p.Streams))}
	from := make([][]schedule.LinkID, len(p.Nodes))
	for l := range p.Links {
		from[p.Links[l].From] = append(from[p.Links[l].From], schedule.LinkID(l))
	}
	for i := range p.Streams {
		penalty := map[schedule.LinkID]int64{}
		for range 4 {
			path := f.path(&p.Streams[i], from, penalty)
			if path != nil && !slices.ContainsFunc(f.paths[i], func(q []schedule.LinkID) bool { return slices.Equal(path, q) }) {
				f.paths[i] = append(f.paths[i], path)
			}
			for _, l := range path {
				penalty[l]++
			}
		}
	}
	return f
}

// path is Dijkstra, each link costing one and what it is penalised for.
func (f *firstFit) path(s *schedule.Stream, from [][]schedule.LinkID, penalty map[schedule.LinkID]int64) []schedule.LinkID {
	const far = 1 << 60
	dist, via, done := make([]int64, len(f.p.Nodes)), make([]schedule.LinkID, len(f.p.Nodes)), make([]bool, len(f.p.Nodes))
	for n := range dist {
		dist[n], via[n] = far, -1
	}
	dist[s.Talker] = 0
	for {
		at := schedule.NodeID(-1)
		for n := range dist {
			if !done[n] && dist[n] < far && (at < 0 || dist[n] < dist[at]) {
				at = schedule.NodeID(n)
			}
		}
		if at < 0 {
			return nil
		}
		if at == s.Listeners[0] {
			break
		}
		done[at] = true
		for _, l := range from[at] {
			to := f.p.Links[l].To
			if d := dist[at] + 1 + penalty[l]; d < dist[to] && (f.p.Nodes[to].Bridge || to == s.Listeners[0]) {
				dist[to], via[to] = d, l
			}
		}
	}
	var path []schedule.LinkID
	for at := s.Listeners[0]; at != s.Talker; at = f.p.Links[via[at]].From {
		path = append(path, via[at])
	}
	slices.Reverse(path)
	return path
}

// orders are: as they come, by period, by slack, by load.
func (f *firstFit) orders() [][]int {
	by := func(key func(s *schedule.Stream) int64) []int {
		out := make([]int, len(f.p.Streams))
		for i := range out {
			out[i] = i
		}
		slices.SortStableFunc(out, func(a, b int) int { return cmp.Compare(key(&f.p.Streams[a]), key(&f.p.Streams[b])) })
		return out
	}
	return [][]int{
		by(func(s *schedule.Stream) int64 { return s.Period }),
		by(func(s *schedule.Stream) int64 { return s.Deadline }),
		by(func(s *schedule.Stream) int64 { return -int64(s.Size) << 30 / s.Period }),
		by(func(*schedule.Stream) int64 { return 0 }),
	}
}

// try places the streams in an order; f.failed are those that do not fit.
func (f *firstFit) try(order []int) *schedule.Solution {
	n := len(f.p.Streams)
	f.busy, f.failed, f.out, f.starts = make([][]taken, len(f.p.Links)), nil, make([][]schedule.LinkID, n), make([][]int64, n)
	for _, i := range order {
		if !f.place(i) {
			f.failed = append(f.failed, i)
		}
	}
	if f.failed != nil {
		return nil
	}
	s := &schedule.Solution{Cycle: 1}
	for i := range f.p.Streams {
		queues := make([]tsn.TrafficClass, len(f.out[i]))
		for h, l := range f.out[i] {
			queues[h] = tsn.TrafficClass(f.p.Links[l].Queues - 1)
		}
		s.Streams = append(s.Streams, schedule.Placement{Stream: i, Route: f.out[i], Starts: f.starts[i], Queues: queues})
		s.Cycle *= f.p.Streams[i].Period / gcd(s.Cycle, f.p.Streams[i].Period)
	}
	return s
}

func gcd(a, b int64) int64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

func (f *firstFit) place(i int) bool {
	s := &f.p.Streams[i]
	for _, path := range f.paths[i] {
		offset, length := make([]int64, len(path)), make([]int64, len(path))
		at := int64(0)
		for h, l := range path {
			link := &f.p.Links[l]
			offset[h], length[h] = at, link.Rate.TransmitTime(s.Size)
			at += length[h] + link.PropagationDelay + link.ProcessingDelay
		}
		if at > s.Deadline {
			continue
		}
		if t := f.first(path, offset, length, s.Period); t >= 0 {
			for h, l := range path {
				f.busy[l] = append(f.busy[l], taken{t + offset[h], length[h], s.Period})
				offset[h] += t
			}
			f.out[i], f.starts[i] = path, offset
			return true
		}
	}
	return false
}

// first is the first offset below the period at which nothing collides, -1 if
// there is none: what is in the way says how far on to go.
func (f *firstFit) first(path []schedule.LinkID, offset, length []int64, period int64) int64 {
next:
	for t := int64(0); t < period; {
		for h, l := range path {
			for _, b := range f.busy[l] {
				g := gcd(period, b.period)
				if after := ((t+offset[h]-b.start)%g + g) % g; after < b.length {
					t += b.length - after
					continue next
				} else if after+length[h] > g {
					t += g - after + b.length
					continue next
				}
			}
		}
		return t
	}
	return -1
}
