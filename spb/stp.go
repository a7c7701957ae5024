package spb

import "slices"

// spanningTree is algorithm 00-80-C2-00: one tree that the traffic of every
// source takes, the one that the spanning tree protocol would leave (IEEE
// 802.1Q clause 13). The root is the bridge with the lowest BridgeID. The
// parent of any other is the neighbour with the lowest root path cost, then
// the lowest BridgeID; of parallel links the one of graph (port numbers decide
// there). Hops do not count, ECT masks do not apply.
//
// Two choices make it fit the rest. A link's cost is the larger of both ends'
// metrics, as for the other algorithms. An overloaded bridge is a leaf, so it
// is the root only of what no other bridge reaches. What the root does not reach
// has a tree of its own, by the same rule.
type spanningTree struct {
	first []int32 // neighbours of u in the tree are to[first[u]:first[u+1]]
	to    []edge
}

func (g *graph) spanningTree() *spanningTree { return g.rooted(g.designatedBridges()) }

// designatedBridges is the parent of every bridge in the spanning tree, -1 for
// a root.
func (g *graph) designatedBridges() []int32 {
	n := len(g.id)
	byID := make([]int32, n)
	for u := range byID {
		byID[u] = int32(u)
	}
	slices.SortFunc(byID, func(a, b int32) int {
		if g.transit[a] != g.transit[b] {
			if g.transit[a] {
				return -1
			}
			return 1
		}
		return slices.Compare(g.id[a][:], g.id[b][:])
	})
	parent := newParents(n)
	seen := make([]bool, n)
	s, dist := newScratch(n), make([]distance, n)
	for _, root := range byID {
		if seen[root] {
			continue
		}
		g.dijkstra(root, dist, s)
		for _, v := range s.settled {
			if !seen[v] && v != root {
				parent[v] = g.designated(root, v, dist)
			}
			seen[v] = true
		}
	}
	return parent
}

// designated is the parent of v in the tree of the root. It has a lower
// distance, hops included: links of cost 0 must not close a loop.
func (g *graph) designated(root, v int32, dist []distance) int32 {
	best := int32(-1)
	for _, e := range g.edges[g.first[v]:g.first[v+1]] {
		u := e.to
		if dist[u] >= dist[v] || dist[u].cost()+uint64(e.metric) != dist[v].cost() || (u != root && !g.transit[u]) {
			continue
		}
		if best < 0 || slices.Compare(g.id[u][:], g.id[best][:]) < 0 {
			best = u
		}
	}
	return best
}

// rooted turns parents into lists of neighbours.
func (g *graph) rooted(parent []int32) *spanningTree {
	t := &spanningTree{first: make([]int32, 1, len(parent)+1)}
	for u := range parent {
		for _, e := range g.edges[g.first[u]:g.first[u+1]] {
			if parent[u] == e.to || parent[e.to] == int32(u) {
				t.to = append(t.to, e)
			}
		}
		t.first = append(t.first, int32(len(t.to)))
	}
	return t
}

// from is the tree seen from a source: the bridge before each, and the
// distance along the tree.
func (t *spanningTree) from(g *graph, source int32) (parent []int32, dist []distance) {
	n := len(g.id)
	parent, dist = newParents(n), make([]distance, n)
	for u := range dist {
		dist[u] = unreachable
	}
	dist[source] = 0
	todo := make([]int32, 1, n)
	todo[0] = source
	for k := 0; k < len(todo); k++ {
		u := todo[k]
		if u != source && !g.transit[u] {
			continue
		}
		for _, e := range t.to[t.first[u]:t.first[u+1]] {
			if dist[e.to] == unreachable {
				dist[e.to], parent[e.to] = dist[u]+e.length(), u
				todo = append(todo, e.to)
			}
		}
	}
	return parent, dist
}
