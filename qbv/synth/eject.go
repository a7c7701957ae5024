package synth

import (
	"cmp"
	"slices"

	tsn "tsnswitch"
)

// push is a place for a stream that others have.
type push struct {
	lay     *layout
	start   int64
	victims []int
	cost    int64
}

// edge is where a stream begins (+1) or ceases (-1) to be in the way.
type edge struct {
	at     int64
	stream int32
	delta  int32
}

// heavy is more than all streams that may be pushed weigh together.
const heavy = int64(1) << 40

// maxEdges bounds how much of a long period is looked at in one move.
const maxEdges = 1 << 15

// cheapest finds the start on l, without waiting, with the lightest streams in
// the way.
func (s *search) cheapest(i int, l *layout) push {
	best := push{lay: l, cost: heavy}
	first, last := s.window(i, l)
	s.edges = s.edges[:0]
	for h := range l.hops {
		x := &l.hops[h]
		for _, it := range s.st.ports[x.link].windows.items {
			s.collect(i, it, x.start-x.lies, x.window, first, last)
		}
	}
	slices.SortFunc(s.edges, func(a, b edge) int { return cmp.Compare(a.at, b.at) })
	s.st.units += int64(len(s.edges))
	s.sweep(i, first, last, &best)
	for _, e := range s.edges {
		if e.stream >= 0 {
			s.seen[e.stream] = 0
		}
	}
	if best.cost < heavy {
		s.name(i, &best)
	}
	return best
}

// sweep goes through all starts and keeps count of who is in the way. Of the
// lightest stretches it takes one end: in the middle it would waste room.
func (s *search) sweep(i int, first, last int64, best *push) {
	cost, ties := int64(0), 0
	for n, at := 0, first; at <= last; {
		for n < len(s.edges) && s.edges[n].at <= at {
			cost += s.count(i, s.edges[n])
			n++
		}
		next := last + 1
		if n < len(s.edges) {
			next = min(next, s.edges[n].at)
		}
		if cost < best.cost {
			best.cost, ties = cost, 0
		}
		if cost == best.cost {
			if ties++; s.r.IntN(ties) == 0 {
				best.start = at
				if s.r.IntN(2) == 0 {
					best.start = next - 1
				}
			}
		}
		at = next
	}
}

// window is the part of the release window that is looked at.
func (s *search) window(i int, l *layout) (first, last int64) {
	first, last = releases(&s.pl.m.p.Streams[i])
	n, least := int64(0), last-first+1
	for h := range l.hops {
		n += int64(len(s.st.ports[l.hops[h].link].windows.items))
		for _, it := range s.st.ports[l.hops[h].link].windows.items {
			least = min(least, s.pl.m.gcd(s.pl.m.class[i], it.class))
		}
	}
	if most := max(maxEdges/max(n, 1), 1) * least; last-first > most {
		first += s.r.Int64N(last - first - most + 1)
		last = first + most
	}
	return first, last
}

// collect notes between which starts an item is in the way.
func (s *search) collect(i int, it item, offset, window, first, last int64) {
	g := s.pl.m.gcd(s.pl.m.class[i], it.class)
	if window+it.length > g {
		s.edges = append(s.edges, edge{first, it.stream, 1})
		return
	}
	from := it.at - window + 1 - offset
	size := window + it.length - 1
	for at := first - size + 1 + mod(from-(first-size+1), g); at <= last; at += g {
		s.edges = append(s.edges, edge{max(at, first), it.stream, 1}, edge{at + size, it.stream, -1})
	}
}

// count follows an edge and returns by how much the weight in the way changes.
func (s *search) count(i int, e edge) int64 {
	if e.stream < 0 {
		return heavy * int64(e.delta)
	}
	before := s.seen[e.stream]
	s.seen[e.stream] += e.delta
	if before != 0 && s.seen[e.stream] != 0 {
		return 0
	}
	w := s.weight[e.stream]
	if s.pl.m.p.Streams[e.stream].Rank > s.pl.m.p.Streams[i].Rank {
		w = heavy
	}
	return w * int64(e.delta)
}

// name lists who is in the way of a start, in queues too.
func (s *search) name(i int, p *push) {
	class, m := s.pl.m.class[i], s.pl.m
	add := func(stream int32) {
		if !slices.Contains(p.victims, int(stream)) {
			p.victims = append(p.victims, int(stream))
		}
	}
	for h := range p.lay.hops {
		x := &p.lay.hops[h]
		s.st.ports[x.link].windows.meets(m, class, p.start+x.start-x.lies, x.window, &s.st.units, add)
		if !s.st.plain(x.link) {
			q := s.lightest(class, x, p.start)
			s.st.residences(x.link)[q].meets(m, class, p.start+x.start-x.lead, x.window-x.lies+x.lead, &s.st.units, add)
		}
	}
	p.cost = 0
	for _, v := range p.victims {
		if v < 0 || m.p.Streams[v].Rank > m.p.Streams[i].Rank {
			p.cost = heavy
			return
		}
		p.cost += s.weight[v]
	}
}

// lightest is the queue with the lightest streams in the way.
func (s *search) lightest(class int32, x *hop, at int64) tsn.TrafficClass {
	best, least := tsn.TrafficClass(0), never
	for q, t := range s.st.residences(x.link) {
		cost := int64(0)
		if !s.st.queues(x.link).Has(tsn.TrafficClass(q)) {
			continue
		}
		t.meets(s.pl.m, class, at+x.start-x.lead, x.window-x.lies+x.lead, &s.st.units, func(v int32) { cost += s.weight[v] })
		if cost < least {
			best, least = tsn.TrafficClass(q), cost
		}
	}
	return best
}
