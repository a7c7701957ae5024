package spb

import tsn "tsnswitch"

// graph is the topology as SPF sees it: undirected, at most one link between
// two nodes, adjacency lists in one array.
type graph struct {
	system  []tsn.MAC      // of each node, ascending
	id      []tsn.BridgeID // zero: no SPB, and no links
	transit []bool         // false: overloaded, paths end there
	first   []int32        // edges of node u are edges[first[u]:first[u+1]]
	edges   []edge
}

// edge is one direction of a link. Its metric is the larger of both ends'
// (RFC 6329 s11), so it is the same in both directions.
type edge struct {
	to            int32
	metric        uint32
	port, farPort tsn.Port // egress port here, and of the far end
}

// distance orders paths: cost first, hops second (RFC 6329 s11/12).
type distance uint64

const (
	hopBits              = 16 // more than a path of 65535 bridges is not a path
	unreachable distance = 1<<64 - 1
)

func (d distance) cost() uint64 { return uint64(d) >> hopBits }
func (d distance) hops() int    { return int(d & (1<<hopBits - 1)) }

func (e edge) length() distance { return distance(e.metric)<<hopBits + 1 }

// spt is the result of Dijkstra from one root: every distance, and the nodes
// in the order they were settled. All sixteen trees of the root come from it.
type spt struct {
	root    int32
	dist    []distance
	settled []int32
}

// shortest computes the distances from a root.
func (g *graph) shortest(root int32) *spt {
	s := newScratch(len(g.id))
	t := &spt{root: root, dist: make([]distance, len(g.id))}
	g.dijkstra(root, t.dist, s)
	t.settled = s.settled
	return t
}

// dijkstra fills in the distances from a root and lists in s.settled what can
// be reached, nearest first.
func (g *graph) dijkstra(root int32, dist []distance, s *scratch) {
	for u := range dist {
		dist[u] = unreachable
	}
	dist[root] = 0
	s.settled = s.settled[:0]
	s.heap.reset()
	s.heap.push(0, root)
	g.settle(root, dist, s)
}

// settle is the loop of Dijkstra: it relaxes what is in the heap.
func (g *graph) settle(root int32, dist []distance, s *scratch) {
	for !s.heap.empty() {
		d, u := s.heap.pop()
		if d != dist[u] {
			continue // it has been reached on a shorter path since
		}
		s.settled = append(s.settled, u)
		if u != root && !g.transit[u] {
			continue
		}
		for _, e := range g.edges[g.first[u]:g.first[u+1]] {
			if far := d + e.length(); far < dist[e.to] {
				dist[e.to] = far
				s.heap.push(far, e.to)
			}
		}
	}
}

// queue is a 4-ary heap of nodes by distance. A node whose distance falls is
// pushed again; the older entry is recognised when it comes out.
type queue []entry

type entry struct {
	key  distance
	node int32
}

func (q *queue) reset()      { *q = (*q)[:0] }
func (q *queue) empty() bool { return len(*q) == 0 }

func (q *queue) push(key distance, node int32) {
	h := append(*q, entry{})
	k := len(h) - 1
	for k > 0 {
		up := (k - 1) / 4
		if h[up].key <= key {
			break
		}
		h[k] = h[up]
		k = up
	}
	h[k] = entry{key, node}
	*q = h
}

func (q *queue) pop() (distance, int32) {
	h := *q
	top := h[0]
	last := len(h) - 1
	e := h[last]
	h = h[:last]
	*q = h
	k := 0
	for {
		low := 4*k + 1
		if low >= last {
			break
		}
		for c := low + 1; c < min(low+4, last); c++ {
			if h[c].key < h[low].key {
				low = c
			}
		}
		if e.key <= h[low].key {
			break
		}
		h[k] = h[low]
		k = low
	}
	if last > 0 {
		h[k] = e
	}
	return top.key, top.node
}
