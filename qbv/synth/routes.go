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
	penalty []int64         // of each link, in 1/1024 of its cost
	costs   map[int][]int64 // of each link, for a frame size
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
		via: make([]schedule.LinkID, n), round: make([]int32, n), penalty: make([]int64, len(m.p.Links)), costs: map[int][]int64{},
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
	costs := r.cost(s.Size)
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
			cost, extra := costs[id], r.penalty[id]
			if load != nil {
				extra += load[id] >> 10
			}
			r.reach(r.m.p.Links[id].To, at.dist+cost+cost*extra>>10, id)
		}
	}
	if missing > 0 {
		return nil
	}
	return r.union(s)
}

// cost is how long a frame of size takes on each link and to the next queue.
func (r *router) cost(size int) []int64 {
	c := r.costs[size]
	if c != nil {
		return c
	}
	c = make([]int64, len(r.m.p.Links))
	for i := range c {
		l := &r.m.p.Links[i]
		c[i] = l.Rate.TransmitTime(size) + l.PropagationDelay + l.ProcessingDelay
	}
	if len(r.costs) < maxSizes {
		r.costs[size] = c
	}
	return c
}

// maxSizes bounds the frame sizes whose costs are remembered.
const maxSizes = 64

// union lists the links to all listeners, parent before child.
func (r *router) union(s *schedule.Stream) (route []schedule.LinkID) {
	in := func(id schedule.LinkID) bool { return slices.Contains(route, id) }
	route = make([]schedule.LinkID, 0, 16)
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

// choice is the layouts that a stream may take, those found so far.
type choice struct {
	lays []*layout
	all  bool // there are no more
}

// nth returns the n-th layout of stream i, nil if there are not so many: those
// it names, or else up to k, the fastest first and then such that avoid the
// ones before. None takes longer without waiting than its deadline allows.
func (r *router) nth(c *choice, i, n, k int, units *int64) *layout {
	if s := &r.m.p.Streams[i]; s.Routes != nil && !c.all {
		c.all = true
		for _, route := range s.Routes {
			c.consider(r.m.lay(i, route), s.Deadline)
		}
	}
	for n >= len(c.lays) && !c.all {
		c.all = !r.extend(c, i, units) || len(c.lays) >= k
	}
	if n >= len(c.lays) {
		return nil
	}
	return c.lays[n]
}

// extend finds a layout that is not in c yet.
func (r *router) extend(c *choice, i int, units *int64) bool {
	defer r.forgive()
	for _, l := range c.lays {
		r.avoid(l.route)
	}
	for range 3 {
		route := r.tree(i, nil, units)
		if route == nil {
			return false
		}
		if c.consider(r.m.lay(i, route), r.m.p.Streams[i].Deadline) {
			return true
		}
		r.avoid(route)
	}
	return false
}

// consider adds l if it is new and fast enough.
func (c *choice) consider(l *layout, deadline int64) bool {
	same := func(o *layout) bool { return slices.Equal(l.route, o.route) }
	if l.need > deadline || slices.ContainsFunc(c.lays, same) {
		return false
	}
	c.lays = append(c.lays, l)
	return true
}
