package spb

import "slices"

// The trees of a root are repaired, not computed again, when the graph has
// changed: in three passes, each over the nodes that the change reaches.
//
//	lengthen  nodes that no shortest path supports any more lose their distance
//	shorten   Dijkstra gives them a new one, and carries better ones on
//	retie     where distances, equal parents or the way to those differ, the
//	          tie is broken again, nearest nodes first
//
// This is the idea of Ramalingam and Reps (1996) with the tie-break added. Every
// pass is exact, so the outcome does not depend on the history.

// change is one direction of a link that is different in the new graph. It is
// as long as unreachable where it does not exist.
type change struct {
	from, to int32
	old, new distance
	// The overload of its near end keeps a link out of all trees but that of
	// the near end itself.
	oldTransit, newTransit bool
}

func (c *change) was(root int32) distance { return usable(c.old, c.oldTransit || c.from == root) }
func (c *change) is(root int32) distance  { return usable(c.new, c.newTransit || c.from == root) }

func usable(d distance, transit bool) distance {
	if !transit {
		return unreachable
	}
	return d
}

// edit is what leads from one graph to the next.
type edit struct {
	place   []int32 // where each old node is now, -1: gone
	moved   bool    // not all are where they were
	changes []change
}

// since compares two graphs. It reports false where it is simpler to begin
// anew: a BridgeID that is in use has changed, or most links have.
func (g *graph) since(old *graph) (*edit, bool) {
	e := &edit{place: make([]int32, len(old.id)), moved: len(old.id) != len(g.id)}
	from := make([]int32, len(g.id)) // the old node at each place
	for v := range from {
		from[v] = -1
	}
	for u, v := 0, 0; u < len(old.id); u++ {
		for v < len(g.id) && compareMAC(g.system[v], old.system[u]) < 0 {
			v++
		}
		alone := old.first[u] == old.first[u+1]
		e.place[u] = -1
		if v < len(g.id) && g.system[v] == old.system[u] {
			if g.id[v] != old.id[u] && !(alone && g.first[v] == g.first[v+1]) {
				return nil, false
			}
			e.place[u], from[v] = int32(v), int32(u)
		} else if !alone {
			return nil, false
		}
		e.moved = e.moved || e.place[u] != int32(u)
	}
	for v := range g.id {
		e.compare(g, old, int32(v), from[v])
	}
	return e, 4*len(e.changes) <= len(g.edges)
}

// compare lists the changes of the links out of v, which was u.
func (e *edit) compare(g, old *graph, v, u int32) {
	now := g.edges[g.first[v]:g.first[v+1]]
	var before []edge
	c := change{from: v, newTransit: g.transit[v]}
	if u >= 0 {
		before = old.edges[old.first[u]:old.first[u+1]]
		c.oldTransit = old.transit[u]
	}
	for len(now) > 0 || len(before) > 0 {
		c.old, c.new = unreachable, unreachable
		if len(before) > 0 {
			c.to, c.old = e.place[before[0].to], before[0].length()
		}
		switch {
		case len(now) == 0 || len(before) > 0 && c.to < now[0].to:
			before = before[1:]
		case len(before) == 0 || now[0].to < c.to:
			c.to, c.old, c.new = now[0].to, unreachable, now[0].length()
			now = now[1:]
		default:
			c.new = now[0].length()
			before, now = before[1:], now[1:]
		}
		if c.old != c.new || c.oldTransit != c.newTransit {
			e.changes = append(e.changes, c)
		}
	}
}

// carry moves a row to the places that its nodes have now.
func (e *edit) carry(r *row, n int) {
	moveDist := func(d []distance) []distance {
		if d == nil {
			return nil
		}
		out := make([]distance, n)
		for v := range out {
			out[v] = unreachable
		}
		for u, v := range e.place {
			if v >= 0 {
				out[v] = d[u]
			}
		}
		return out
	}
	r.dist = moveDist(r.dist)
	for a, p := range r.parent {
		if p == nil {
			continue
		}
		out := newParents(n)
		for u, v := range e.place {
			if v >= 0 && p[u] >= 0 {
				out[v] = e.place[p[u]]
			}
		}
		r.parent[a] = out
	}
}

// reaches reports whether the changes can alter any tree of the root: a link on
// a shortest path that has gone or become longer, or one that makes a path as
// short as the shortest.
func (e *edit) reaches(root int32, dist []distance) bool {
	for k := range e.changes {
		c := &e.changes[k]
		d := dist[c.from]
		if d == unreachable {
			continue
		}
		was, is := c.was(root), c.is(root)
		if was != is && (was != unreachable && d+was == dist[c.to] || is != unreachable && d+is <= dist[c.to]) {
			return true
		}
	}
	return false
}

// Marks on nodes during the repair of one row.
const (
	queued uint8 = 1 << iota
	lost         // has no distance from before
	saved        // was has its distance from before
	reopen       // the tie is open under every algorithm
)

// marks is the scratch memory of repairs, all zero between two rows.
type marks struct {
	mark  []uint8
	was   []distance
	dirty []uint32 // by algorithm: the path to the node is another
	dim   []int32  // nodes that have a mark
}

func makeMarks(n int) marks {
	return marks{mark: make([]uint8, n), was: make([]distance, n), dirty: make([]uint32, n)}
}

func (m *marks) set(u int32, mark uint8) {
	if m.mark[u] == 0 {
		m.dim = append(m.dim, u)
	}
	m.mark[u] |= mark
}

func (m *marks) save(u int32, d distance) {
	if m.mark[u]&saved == 0 {
		m.set(u, saved)
		m.was[u] = d
	}
}

func (m *marks) clear() {
	for _, u := range m.dim {
		m.mark[u], m.dirty[u] = 0, 0
	}
	m.dim = m.dim[:0]
}

// enqueue puts a node in the queue once, by its distance.
func (s *scratch) enqueue(u int32, d distance) {
	if s.mark[u]&queued == 0 {
		s.set(u, queued)
		s.heap.push(d, u)
	}
}

// repair brings the trees of a root to the new graph.
func (w *work) repair(root int32, r *row, e *edit, s *scratch) {
	if r.parent[0] != nil && (e.moved || len(e.changes) > 0) {
		r.parent[0], r.span = w.spanning.from(w.graph, root)
	}
	if r.dist == nil || !e.reaches(root, r.dist) {
		return
	}
	if s.mark == nil {
		s.marks = makeMarks(len(w.id))
	}
	w.lengthen(root, r.dist, e, s)
	w.shorten(root, r.dist, e, s)
	w.retie(root, r, e, s)
	s.clear()
}

// lengthen takes the distance from every node that has lost its last shortest
// path. Nearest first: what could support a node has been decided before it.
func (g *graph) lengthen(root int32, dist []distance, e *edit, s *scratch) {
	s.heap.reset()
	for k := range e.changes {
		c := &e.changes[k]
		was := c.was(root)
		if was != unreachable && c.is(root) > was && dist[c.from] != unreachable && dist[c.from]+was == dist[c.to] {
			s.enqueue(c.to, dist[c.to])
		}
	}
	for !s.heap.empty() {
		d, v := s.heap.pop()
		if g.supported(root, v, dist, s) {
			continue
		}
		s.set(v, lost)
		s.save(v, d)
		if !g.transit[v] {
			continue
		}
		for _, e := range g.edges[g.first[v]:g.first[v+1]] {
			if x := e.to; d < dist[x] && d+e.length() <= dist[x] && dist[x] != unreachable {
				s.enqueue(x, dist[x])
			}
		}
	}
	for _, v := range s.dim {
		if s.mark[v]&lost != 0 {
			dist[v] = unreachable
		}
		s.mark[v] &^= queued
	}
}

// supported reports whether a neighbour with its old distance still gives v
// what it had.
func (g *graph) supported(root, v int32, dist []distance, s *scratch) bool {
	for _, e := range g.edges[g.first[v]:g.first[v+1]] {
		u := e.to
		if dist[u] < dist[v] && dist[u]+e.length() <= dist[v] && s.mark[u]&lost == 0 && (u == root || g.transit[u]) {
			return true
		}
	}
	return false
}

// shorten is Dijkstra from the edge of what has been lost, and from links that
// are new or shorter.
func (g *graph) shorten(root int32, dist []distance, e *edit, s *scratch) {
	s.heap.reset()
	closer := func(v int32, d distance) {
		if d < dist[v] {
			s.save(v, dist[v])
			dist[v] = d
			s.heap.push(d, v)
		}
	}
	for _, v := range s.dim {
		if s.mark[v]&lost == 0 {
			continue
		}
		for _, e := range g.edges[g.first[v]:g.first[v+1]] {
			if u := e.to; s.mark[u]&lost == 0 && dist[u] != unreachable && (u == root || g.transit[u]) {
				closer(v, dist[u]+e.length())
			}
		}
	}
	for k := range e.changes {
		c := &e.changes[k]
		if is := c.is(root); is < c.was(root) && dist[c.from] != unreachable {
			closer(c.to, dist[c.from]+is)
		}
	}
	for !s.heap.empty() {
		d, u := s.heap.pop()
		if d != dist[u] || (u != root && !g.transit[u]) {
			continue
		}
		for _, e := range g.edges[g.first[u]:g.first[u+1]] {
			closer(e.to, d+e.length())
		}
	}
}

// retie breaks ties again. A node's tie is open if its distance, a neighbour's
// or a link at it has changed; and, for an algorithm, if the path to one of its
// equal parents has.
func (w *work) retie(root int32, r *row, e *edit, s *scratch) {
	s.heap.reset()
	for k := range e.changes {
		w.open(e.changes[k].to, r, s)
	}
	for k := 0; k < len(s.dim); k++ { // open appends to it
		v := s.dim[k]
		if s.mark[v]&saved == 0 || s.was[v] == r.dist[v] {
			continue
		}
		w.open(v, r, s)
		for _, e := range w.edges[w.first[v]:w.first[v+1]] {
			w.open(e.to, r, s)
		}
	}
	for !s.heap.empty() {
		d, v := s.heap.pop()
		if v == root {
			continue
		}
		w.breakTies(root, v, r, s)
		if s.dirty[v] == 0 || !w.transit[v] {
			continue
		}
		for _, e := range w.edges[w.first[v]:w.first[v+1]] {
			if d+e.length() == r.dist[e.to] {
				s.enqueue(e.to, r.dist[e.to])
			}
		}
	}
}

func (w *work) open(v int32, r *row, s *scratch) {
	s.set(v, reopen)
	if r.dist[v] != unreachable {
		s.enqueue(v, r.dist[v])
		return
	}
	for _, a := range w.algorithms {
		if a != 0 && r.parent[a] != nil {
			r.parent[a][v] = -1
		}
	}
}

// breakTies chooses the parents of v under the algorithms for which its tie is
// open, and notes under which of them the path to it is another now.
func (w *work) breakTies(root, v int32, r *row, s *scratch) {
	s.tight = w.tightParents(root, v, r.dist, s.tight[:0])
	which := uint32(0)
	for _, u := range s.tight {
		which |= s.dirty[u]
	}
	if s.mark[v]&reopen != 0 {
		which = 1<<17 - 1
	}
	for _, a := range w.algorithms {
		if which>>a&1 == 0 || a == 0 || r.parent[a] == nil {
			continue
		}
		best := bestParent(s.tight, r.parent[a], w.ids[a])
		if best != r.parent[a][v] || s.dirty[best]>>a&1 != 0 {
			r.parent[a][v] = best
			s.dirty[v] |= 1 << a
		}
	}
}

// keep drops the trees that nobody asked for in an epoch, and lists the roots
// and the algorithms that are left.
func (c *forestCache) keep(epoch uint64) (roots []int32, algorithms []uint8) {
	for root, r := range c.rows {
		if r == nil {
			continue
		}
		left := false
		for a := range r.parent {
			if r.used[a] != epoch {
				r.parent[a] = nil
			} else if left = true; !slices.Contains(algorithms, uint8(a)) {
				algorithms = append(algorithms, uint8(a))
			}
		}
		if !left {
			c.rows[root] = nil
			continue
		}
		roots = append(roots, int32(root))
	}
	return roots, algorithms
}
