package synth

import (
	"slices"

	"tsnswitch/qbv/schedule"
)

// router finds trees. A link costs the time a frame takes over it, more if it
// is loaded or was used by a tree found before.
type router struct {
	m       *model
	first   []int32 // of each node, into out; one more at the end
	out     []schedule.LinkID
	dist    []int64
	via     []schedule.LinkID // link by which a node is reached; -1
	round   []int32           // when dist was set
	now     int32
	heap    []reached
	penalty []int64 // of each link, in 1/1024 of its cost
	touched []schedule.LinkID
}

type reached struct {
	dist int64
	node schedule.NodeID
}

func newRouter(m *model) *router {
	n := len(m.p.Nodes)
	r := &router{
		m: m, first: make([]int32, n+1), out: make([]schedule.LinkID, len(m.p.Links)), dist: make([]int64, n),
		via: make([]schedule.LinkID, n), round: make([]int32, n), penalty: make([]int64, len(m.p.Links)),
	}
	for i := range m.p.Links {
		r.first[m.p.Links[i].From+1]++
	}
	for i := range n {
		r.first[i+1] += r.first[i]
	}
	next := slices.Clone(r.first)
	for i := range m.p.Links {
		from := m.p.Links[i].From
		r.out[next[from]] = schedule.LinkID(i)
		next[from]++
	}
	return r
}

// tree is the union of the cheapest paths from i's talker to its listeners,
// parent before child; nil if one cannot be reached. load is the busy part of
// each link in 1/2^20; nil: as if empty.
func (r *router) tree(i int, load []int64, units *int64) []schedule.LinkID {
	s := &r.m.p.Streams[i]
	r.now++
	r.heap = r.heap[:0]
	r.reach(s.Talker, 0, -1)
	missing := len(s.Listeners)
	for len(r.heap) > 0 && missing > 0 {
		at := r.pop()
		if at.dist > r.dist[at.node] {
			continue
		}
		*units++
		if contains(s.Listeners, at.node) {
			missing--
		}
		if at.node != s.Talker && !r.m.p.Nodes[at.node].Bridge {
			continue
		}
		for _, id := range r.out[r.first[at.node]:r.first[at.node+1]] {
			l := &r.m.p.Links[id]
			cost := l.Rate.TransmitTime(s.Size) + l.PropagationDelay + l.ProcessingDelay
			extra := r.penalty[id]
			if load != nil {
				extra += load[id] >> 10
			}
			r.reach(l.To, at.dist+cost+cost*extra>>10, id)
		}
	}
	if missing > 0 {
		return nil
	}
	return r.union(s)
}

// union lists the links to all listeners, parent before child.
func (r *router) union(s *schedule.Stream) (route []schedule.LinkID) {
	in := func(id schedule.LinkID) bool { return slices.Contains(route, id) }
	for _, n := range s.Listeners {
		begin := len(route)
		for id := r.via[n]; id >= 0 && !in(id); id = r.via[r.m.p.Links[id].From] {
			route = append(route, id)
		}
		slices.Reverse(route[begin:])
	}
	return route
}

// reach notes a way to n if it is the cheapest so far.
func (r *router) reach(n schedule.NodeID, dist int64, via schedule.LinkID) {
	if r.round[n] == r.now && r.dist[n] <= dist {
		return
	}
	r.round[n], r.dist[n], r.via[n] = r.now, dist, via
	r.heap = append(r.heap, reached{dist, n})
	for i := len(r.heap) - 1; i > 0; {
		up := (i - 1) / 2
		if !r.heap[i].before(r.heap[up]) {
			break
		}
		r.heap[i], r.heap[up] = r.heap[up], r.heap[i]
		i = up
	}
}

func (a reached) before(b reached) bool {
	return a.dist < b.dist || a.dist == b.dist && a.node < b.node
}

func (r *router) pop() reached {
	top, n := r.heap[0], len(r.heap)-1
	r.heap[0] = r.heap[n]
	r.heap = r.heap[:n]
	for i := 0; ; {
		c := 2*i + 1
		if c >= n {
			return top
		}
		if c+1 < n && r.heap[c+1].before(r.heap[c]) {
			c++
		}
		if !r.heap[c].before(r.heap[i]) {
			return top
		}
		r.heap[i], r.heap[c] = r.heap[c], r.heap[i]
		i = c
	}
}

// avoid makes the links of a route dearer for the trees to come.
func (r *router) avoid(route []schedule.LinkID) {
	for _, id := range route {
		r.penalty[id] += 1024
		r.touched = append(r.touched, id)
	}
}

func (r *router) forgive() {
	for _, id := range r.touched {
		r.penalty[id] = 0
	}
	r.touched = r.touched[:0]
}

// candidates are layouts of stream i, at most k that it does not name, none of which takes longer than
// its deadline allows: those the stream names, or else the cheapest tree under
// the load, the fastest, and then trees that avoid those before them.
func (r *router) candidates(i, k int, load []int64, units *int64) (out []*layout) {
	s := &r.m.p.Streams[i]
	if s.Routes != nil {
		for _, route := range s.Routes {
			out = r.consider(out, i, route)
		}
		return out
	}
	for n := range 2 * k {
		if len(out) == k {
			break
		}
		if n == 1 {
			load = nil
		}
		route := r.tree(i, load, units)
		if route == nil {
			break
		}
		out = r.consider(out, i, route)
		if n > 0 || load == nil {
			r.avoid(route)
		}
	}
	r.forgive()
	return out
}

func (r *router) consider(out []*layout, i int, route []schedule.LinkID) []*layout {
	if slices.ContainsFunc(out, func(l *layout) bool { return slices.Equal(l.route, route) }) {
		return out
	}
	if l := r.m.lay(i, route); l.need <= r.m.p.Streams[i].Deadline {
		out = append(out, l)
	}
	return out
}
