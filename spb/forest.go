package spb

import (
	"cmp"
	"slices"

	tsn "tsnswitch"
)

// forest is the trees of some roots under one algorithm: what group state and
// the agreement on it need to know about a source. It is good until the
// topology changes.
type forest struct {
	cache     *forestCache
	algorithm uint8
}

// branch is what the tree of one root is at one bridge.
type branch struct {
	dist   distance   // of the bridge from the root; unreachable: the rest is empty
	parent tsn.Port   // towards the root: the ingress check; NoPort at the root itself
	child  []tsn.Port // away from the root, ascending
}

// forest computes the trees of the given roots under an algorithm, or takes
// over what an earlier call has left. parallel is Config.Parallel.
func (t *topology) forest(roots []int32, algorithm uint8, parallel func(int, func(int))) forest {
	return t.forests(roots, []uint8{algorithm}, parallel)[0]
}

// forests is forest for several algorithms at once, which then share one
// Dijkstra for each root. The results are in the order of the algorithms.
func (t *topology) forests(roots []int32, algorithms []uint8, parallel func(int, func(int))) []forest {
	c := &t.cache
	c.move(&t.graph, parallel)
	c.grow(roots, algorithms, parallel)
	out := make([]forest, len(algorithms))
	for k, a := range algorithms {
		out[k] = forest{c, a}
	}
	return out
}

// at is the tree of a root at a bridge. The root must be one of those that the
// forest was asked for.
func (f forest) at(root, bridge int32) branch {
	g, parent, dist := f.row(root)
	b := branch{dist: dist[bridge]}
	for _, e := range g.edges[g.first[bridge]:g.first[bridge+1]] {
		if parent[bridge] == e.to {
			b.parent = e.port
		} else if parent[e.to] == bridge {
			b.child = append(b.child, e.port)
		}
	}
	slices.Sort(b.child)
	return b
}

// behind is the port of a bridge that a frame of the root leaves by on its way
// to node v. It is NoPort where v is the bridge, or the path does not cross it.
func (f forest) behind(root, bridge, v int32) tsn.Port {
	g, parent, _ := f.row(root)
	for v != bridge && v >= 0 {
		up := parent[v]
		if up == bridge {
			return g.edges[g.reverse(up, v)].port
		}
		v = up
	}
	return tsn.NoPort
}

func (f forest) row(root int32) (*graph, []int32, []distance) {
	r := f.cache.rows[root]
	if f.algorithm == 0 {
		return &f.cache.graph, r.parent[0], r.span
	}
	return &f.cache.graph, r.parent[f.algorithm], r.dist
}

// forestCache keeps the trees of roots over the changes of the topology. When
// the graph changes, only what the change can reach is computed again; the
// outcome is, to the bit, that of a computation from nothing.
type forestCache struct {
	graph graph  // that the rows belong to
	epoch uint64 // counts the graphs
	rows  []*row // by root; nil: not asked for
}

// row is the trees of one root. The sixteen shortest path trees share the
// distances, so that one Dijkstra serves them all.
type row struct {
	dist   []distance
	span   []distance  // along the spanning tree, algorithm 0
	parent [17][]int32 // by algorithm; -1 at the root and where unreachable
	used   [17]uint64  // epoch in which each was last asked for
}

// move makes g the graph of the cache. Trees that nobody asked for on the last
// graph are dropped, the others are repaired.
func (c *forestCache) move(g *graph, parallel func(int, func(int))) {
	if c.graph.same(g) {
		return
	}
	e, ok := g.since(&c.graph)
	roots, algorithms := c.keep(c.epoch)
	rows := c.rows
	c.graph, c.epoch, c.rows = *g, c.epoch+1, make([]*row, len(g.id))
	if !ok {
		return
	}
	kept := roots[:0]
	for _, old := range roots {
		root := e.place[old]
		if root < 0 {
			continue
		}
		if e.moved {
			e.carry(rows[old], len(g.id))
		}
		c.rows[root] = rows[old]
		kept = append(kept, root)
	}
	if len(kept) > 0 {
		w := c.graph.newWork(algorithms)
		tasks(kept, parallel, func(root int32, s *scratch) { w.repair(root, c.rows[root], e, s) }, len(g.id))
	}
}

// same: graphs are never changed in place, so one array is one graph.
func (g *graph) same(h *graph) bool {
	return len(g.first) == len(h.first) && (len(g.first) == 0 || &g.first[0] == &h.first[0])
}

// grow computes what is missing.
func (c *forestCache) grow(roots []int32, algorithms []uint8, parallel func(int, func(int))) {
	var missing []int32
	for _, root := range roots {
		if c.rows[root] == nil {
			c.rows[root] = &row{}
		}
		r, lacks := c.rows[root], false
		for _, a := range algorithms {
			r.used[a] = c.epoch
			lacks = lacks || r.parent[a] == nil
		}
		if lacks {
			missing = append(missing, root)
		}
	}
	slices.Sort(missing)
	missing = slices.Compact(missing)
	if len(missing) > 0 {
		w := c.graph.newWork(algorithms)
		tasks(missing, parallel, func(root int32, s *scratch) { w.fill(root, c.rows[root], s) }, len(c.graph.id))
	}
}

// rowsPerTask is a compromise: a task is what one core does at a time, and
// scratch memory is made for each.
const rowsPerTask = 16

// tasks runs do for every root, cut in parts that may run at once.
func tasks(roots []int32, parallel func(int, func(int)), do func(root int32, s *scratch), n int) {
	parallel((len(roots)+rowsPerTask-1)/rowsPerTask, func(k int) {
		s := newScratch(n)
		for _, root := range roots[k*rowsPerTask : min((k+1)*rowsPerTask, len(roots))] {
			do(root, s)
		}
	})
}

// work is what all roots have in common.
type work struct {
	*graph
	algorithms []uint8
	ids        [17][]uint64 // every BridgeID under every mask in use
	spanning   *spanningTree
}

func (g *graph) newWork(algorithms []uint8) *work {
	w := &work{graph: g, algorithms: algorithms}
	for _, a := range algorithms {
		if a == 0 {
			w.spanning = g.spanningTree()
		} else if w.ids[a] == nil {
			w.ids[a] = g.maskedIDs(a)
		}
	}
	return w
}

func (g *graph) maskedIDs(algorithm uint8) []uint64 {
	ids := make([]uint64, len(g.id))
	for u, id := range g.id {
		ids[u] = masked(id, algorithm)
	}
	return ids
}

// scratch is the memory that one root after another is computed in.
type scratch struct {
	heap    queue
	settled []int32 // nodes in the order of their distance
	tight   []int32 // equal parents of one node
	marks
}

func newScratch(n int) *scratch {
	return &scratch{settled: make([]int32, 0, n)}
}

// fill computes the trees of a root that its row lacks.
func (w *work) fill(root int32, r *row, s *scratch) {
	var todo [17]uint8
	n := 0
	for _, a := range w.algorithms {
		switch {
		case r.parent[a] != nil:
		case a == 0:
			r.parent[0], r.span = w.spanning.from(w.graph, root)
		default:
			r.parent[a] = newParents(len(w.id))
			todo[n] = a
			n++
		}
	}
	if n == 0 {
		return
	}
	if r.dist == nil {
		r.dist = make([]distance, len(w.id))
		w.dijkstra(root, r.dist, s)
	} else {
		byDistance(r.dist, s)
	}
	for _, v := range s.settled[1:] {
		s.tight = w.tightParents(root, v, r.dist, s.tight[:0])
		for _, a := range todo[:n] {
			r.parent[a][v] = bestParent(s.tight, r.parent[a], w.ids[a])
		}
	}
}

func newParents(n int) []int32 {
	p := make([]int32, n)
	for u := range p {
		p[u] = -1
	}
	return p
}

// byDistance lists the reached nodes by distance, as Dijkstra has settled them.
// Nodes at one distance are not each other's parents: their order is free.
func byDistance(dist []distance, s *scratch) {
	s.settled = s.settled[:0]
	for u, d := range dist {
		if d != unreachable {
			s.settled = append(s.settled, int32(u))
		}
	}
	slices.SortFunc(s.settled, func(a, b int32) int { return cmp.Compare(dist[a], dist[b]) })
}

// tightParents appends the bridges before v on the shortest paths to it.
func (g *graph) tightParents(root, v int32, dist []distance, out []int32) []int32 {
	d := dist[v]
	for _, e := range g.edges[g.first[v]:g.first[v+1]] {
		if u := e.to; dist[u] < d && dist[u]+e.length() == d && (u == root || g.transit[u]) {
			out = append(out, u)
		}
	}
	return out
}

// bestParent breaks the tie between equal parents; graph.tree says why two
// branches are compared by their lowest members.
func bestParent(tight, parent []int32, ids []uint64) int32 {
	best := tight[0]
	for _, u := range tight[1:] {
		if lowerBranch(u, best, parent, ids) {
			best = u
		}
	}
	return best
}
