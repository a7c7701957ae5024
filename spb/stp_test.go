package spb

import (
	"cmp"
	"slices"
	"testing"

	tsn "tsnswitch"
)

// vector is what a bridge would send in a BPDU: who it takes for the root, at
// what cost, and itself (802.1Q 13.9).
type vector struct {
	overloaded bool // the root is
	root       tsn.BridgeID
	cost       uint64
	from       int32
}

func (v vector) compare(w vector, g *graph) int {
	if v.overloaded != w.overloaded {
		if w.overloaded {
			return -1
		}
		return 1
	}
	return cmp.Or(slices.Compare(v.root[:], w.root[:]), cmp.Compare(v.cost, w.cost), slices.Compare(g.id[v.from][:], g.id[w.from][:]))
}

// bpdus lets bridges tell each other their vectors until nobody learns anything,
// and returns the parent of each, -1 at roots.
func bpdus(g *graph) []int32 {
	n := len(g.id)
	best, parent := make([]vector, n), newParents(n)
	for u := range best {
		best[u] = vector{!g.transit[u], g.id[u], 0, int32(u)}
	}
	for changed := true; changed; {
		changed = false
		sent := slices.Clone(best)
		for u := range best {
			own := vector{!g.transit[u], g.id[u], 0, int32(u)}
			now, from := own, int32(-1)
			for _, e := range g.edges[g.first[u]:g.first[u+1]] {
				offer := sent[e.to]
				if !g.transit[e.to] && offer.root != g.id[e.to] {
					continue // overloaded: it offers itself or nothing
				}
				offer.cost, offer.from = offer.cost+uint64(e.metric), e.to
				if offer.compare(now, g) < 0 {
					now, from = offer, e.to
				}
			}
			parent[u] = from
			now.from = int32(u)
			if now != best[u] {
				best[u], changed = now, true
			}
		}
	}
	return parent
}

// Algorithm 00-80-C2-00: the tree is the one that bridges agree on by telling
// each other; it is the same tree for every source, and has no loop.
func TestSpanningTree(t *testing.T) {
	r := &prng{31}
	for range 2000 {
		g := randomGraph(r)
		parent := bpdus(g)
		inTree := func(a, b int32) bool { return parent[a] == b || parent[b] == a }
		trees := make([]*tree, len(g.id))
		for u := range trees {
			trees[u] = g.tree(g.shortest(int32(u)), 0)
		}
		for a := range int32(len(g.id)) {
			for b := range int32(len(g.id)) {
				p := trees[a].to(b)
				want := walkTree(g, a, b, inTree, []int32{a})
				if !slices.Equal(p, want) {
					t.Fatalf("%d to %d: %v, want %v", a, b, p, want)
				}
				back := trees[b].to(a)
				slices.Reverse(back)
				if !slices.Equal(p, back) {
					t.Fatalf("%d to %d: there %v, back %v", a, b, p, back)
				}
				if p != nil && trees[a].dist[b].hops() != len(p)-1 {
					t.Fatalf("%d to %d: %d hops on %v", a, b, trees[a].dist[b].hops(), p)
				}
			}
		}
	}
}

// walkTree finds the path from a to b on links of the tree that does not cross
// an overloaded bridge.
func walkTree(g *graph, a, b int32, inTree func(a, b int32) bool, path []int32) []int32 {
	if a == b {
		return path
	}
	if len(path) > 1 && !g.transit[a] {
		return nil
	}
	for _, e := range g.edges[g.first[a]:g.first[a+1]] {
		if inTree(a, e.to) && !slices.Contains(path, e.to) {
			if p := walkTree(g, e.to, b, inTree, append(path, e.to)); p != nil {
				return p
			}
		}
	}
	return nil
}

// Hops and masks are nothing to the spanning tree: a path of three cheap links
// beats one of two, and the lowest BridgeID breaks the tie between parents.
func TestSpanningTreeRules(t *testing.T) {
	ids := make([]tsn.BridgeID, 5)
	for k := range ids {
		ids[k] = tsn.MakeBridgeID(uint16(4-k), nodeMAC(k)) // 4 is the root
	}
	links := [][2]int{{4, 3}, {3, 2}, {2, 0}, {4, 1}, {1, 0}}
	metrics := [][2]uint32{{1, 1}, {1, 1}, {1, 1}, {1, 1}, {2, 2}}
	_, g := makeGraph(ids, nil, links, metrics)
	// 0 is at cost 3 through 2 (three hops) and through 1 (two hops).
	if tr := g.tree(g.shortest(4), 0); tr.parent[0] != 2 {
		t.Errorf("parent is %d, want 2, the lower BridgeID", tr.parent[0])
	}
	if tr := g.tree(g.shortest(4), 1); tr.parent[0] != 1 {
		t.Errorf("parent is %d, want 1, with fewer hops", tr.parent[0])
	}
	// Between 0 and 1 the direct link is not in the tree.
	tr := g.tree(g.shortest(0), 0)
	if p := tr.to(1); !slices.Equal(p, []int32{0, 2, 3, 4, 1}) || tr.dist[1].cost() != 4 {
		t.Errorf("path %v, cost %d", p, tr.dist[1].cost())
	}
}

// Where all bridges are overloaded the one with the lowest BridgeID is the root
// for want of another, and still no path crosses it.
func TestSpanningTreeOfOverloaded(t *testing.T) {
	ids := make([]tsn.BridgeID, 3)
	for k := range ids {
		ids[k] = tsn.MakeBridgeID(0x8000, nodeMAC(k))
	}
	_, g := makeGraph(ids, []bool{true, true, true}, [][2]int{{0, 1}, {0, 2}}, [][2]uint32{{1, 1}, {1, 1}})
	tr := g.tree(g.shortest(1), 0)
	if p := tr.to(0); !slices.Equal(p, []int32{1, 0}) {
		t.Errorf("to the root: %v", p)
	}
	if p := tr.to(2); p != nil {
		t.Errorf("across the root: %v", p)
	}
}

// A VLAN may run algorithm 0: all bridges of a ring cut it at the same place,
// opposite the root, whatever the source, and say so.
func TestSpanningTreeVLAN(t *testing.T) {
	l := newLab(t, 4, ring(4), func(_ int, c *Config) { c.BaseVIDs = []BaseVID{{vidA, 1}, {vidB, 0}} })
	l.allUp()
	l.run(second)
	for _, n := range l.nodes {
		// b1 is the root; b3 has b2 for its parent, so the link b3-b4 is idle.
		for _, c := range []struct{ from, to, hops int }{{0, 2, 2}, {1, 2, 1}, {2, 3, 3}, {3, 2, 3}, {3, 1, 2}} {
			path, err := n.Path(vidB, nodeMAC(c.from), nodeMAC(c.to))
			if err != nil || len(path) != c.hops {
				t.Errorf("b%d to b%d: %v %v, want %d hops", c.from+1, c.to+1, path, err, c.hops)
			}
		}
	}
	for _, n := range l.nodes[2:] {
		why, err := n.Why(vidB, nodeMAC(2), nodeMAC(3), 0)
		if err != nil || why.Algorithm != 0 || why.Hops != 3 || len(why.Steps) != 3 || why.Mask != "" {
			t.Errorf("%+v %v", why, err)
		}
	}
}
