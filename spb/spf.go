package spb

import tsn "tsnswitch"

// graph is the topology as SPF sees it: undirected, at most one link between
// two nodes, adjacency lists in one array.
type graph struct {
	id      []tsn.BridgeID // of each node
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

// shortest is Dijkstra with a 4-ary heap.
func (g *graph) shortest(root int32) *spt {
	n := len(g.id)
	s := &spt{root: root, dist: make([]distance, n), settled: make([]int32, 0, n)}
	for u := range s.dist {
		s.dist[u] = unreachable
	}
	h := nodeHeap{key: s.dist, at: make([]int32, n), items: make([]int32, 0, n)}
	for u := range h.at {
		h.at[u] = -1
	}
	s.dist[root] = 0
	h.fix(root)
	for len(h.items) > 0 {
		u := h.pop()
		s.settled = append(s.settled, u)
		if u != root && !g.transit[u] {
			continue
		}
		for _, e := range g.edges[g.first[u]:g.first[u+1]] {
			if d := s.dist[u] + e.length(); d < s.dist[e.to] {
				s.dist[e.to] = d
				h.fix(e.to)
			}
		}
	}
	return s
}

// nodeHeap is a 4-ary heap of node numbers by key; at is a node's place, -1 while
// it is not in the heap.
type nodeHeap struct {
	key   []distance
	at    []int32
	items []int32
}

// fix inserts u, or moves it up after its key has fallen.
func (h *nodeHeap) fix(u int32) {
	if h.at[u] < 0 {
		h.at[u] = int32(len(h.items))
		h.items = append(h.items, u)
	}
	k := h.at[u]
	for k > 0 {
		up := (k - 1) / 4
		if h.key[h.items[up]] <= h.key[u] {
			break
		}
		h.items[k] = h.items[up]
		h.at[h.items[k]] = k
		k = up
	}
	h.items[k] = u
	h.at[u] = k
}

func (h *nodeHeap) pop() int32 {
	top := h.items[0]
	last := len(h.items) - 1
	u := h.items[last]
	h.items = h.items[:last]
	if last == 0 {
		return top
	}
	k := 0
	for {
		low := 4*k + 1
		if low >= last {
			break
		}
		for c := low + 1; c < min(4*k+5, last); c++ {
			if h.key[h.items[c]] < h.key[h.items[low]] {
				low = c
			}
		}
		if h.key[u] <= h.key[h.items[low]] {
			break
		}
		h.items[k] = h.items[low]
		h.at[h.items[k]] = int32(k)
		k = low
	}
	h.items[k] = u
	h.at[u] = int32(k)
	return top
}
