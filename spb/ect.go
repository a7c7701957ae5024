package spb

import (
	"encoding/binary"

	tsn "tsnswitch"
)

// ectMask of algorithm 00-80-C2-01 to -10 (RFC 6329 s12): each octet of a
// BridgeID is XORed with it before comparing. 00-80-C2-00 has none; it is the
// spanning tree (stp.go).
var ectMask = [17]byte{
	1: 0x00, 0xff, 0x88, 0x77, 0x44, 0x33, 0xcc, 0xbb, 0x22, 0x11, 0x66, 0x55, 0xaa, 0x99, 0xdd, 0xee,
}

// masked is a BridgeID under the mask of an algorithm, as a number.
func masked(id tsn.BridgeID, algorithm uint8) uint64 {
	return binary.BigEndian.Uint64(id[:]) ^ uint64(ectMask[algorithm])*0x0101010101010101
}

// tree is the tree of one root under one algorithm. Under the ECT algorithms it
// is a shortest path tree; dist and settled are along the tree in any case.
type tree struct {
	*spt
	parent []int32 // -1 at the root and where unreachable
	link   []int32 // edge from the parent to the node, -1 likewise
}

// tree breaks the ties of s. Among equal paths the one with the lowest PATHID
// wins: the sorted list of the masked BridgeIDs on it. No list is needed. Two
// equal paths to a node have the same hop count, so they can be walked back
// in step to where they fork, and the lists differ exactly by the two
// branches, which have no bridge in common: the branch with the smallest
// member wins.
//
// The outcome is symmetric (the path from a to b is the path from b to a) and
// closed under sub-paths, which makes the ingress check possible. Algorithm 0
// has both properties too: see spanningTree.
func (g *graph) tree(s *spt, algorithm uint8) *tree {
	t := &tree{spt: s}
	if algorithm == 0 {
		t.spt = &spt{root: s.root}
		t.parent, t.dist = g.spanningTree().from(g, s.root)
		work := newScratch(len(g.id))
		byDistance(t.dist, work)
		t.settled = work.settled
	} else {
		t.parent = newParents(len(g.id))
		ids := g.maskedIDs(algorithm)
		var tight []int32
		for _, v := range s.settled[1:] {
			tight = g.tightParents(s.root, v, s.dist, tight[:0])
			t.parent[v] = bestParent(tight, t.parent, ids)
		}
	}
	t.link = newParents(len(g.id))
	for v, u := range t.parent {
		if u >= 0 {
			t.link[v] = g.reverse(u, int32(v))
		}
	}
	return t
}

// onPath reports whether the link from u to v (e seen from v) ends a shortest
// path to v.
func (g *graph) onPath(s *spt, u, v int32, e edge) bool {
	return s.dist[u] != unreachable && s.dist[u]+e.length() == s.dist[v] && (u == s.root || g.transit[u])
}

// lowerBranch reports whether the branch that ends in p beats the one that
// ends in q.
func lowerBranch(p, q int32, parent []int32, ids []uint64) bool {
	lowP, lowQ := ids[p], ids[q]
	for p != q {
		lowP, lowQ = min(lowP, ids[p]), min(lowQ, ids[q])
		p, q = parent[p], parent[q]
	}
	return lowP < lowQ
}

// reverse finds the edge from u to v; the caller knows that there is one.
func (g *graph) reverse(u, v int32) int32 {
	lo, hi := g.first[u], g.first[u+1]
	for lo < hi { // edges of a node are ascending by neighbour
		mid := (lo + hi) / 2
		if g.edges[mid].to < v {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo
}
