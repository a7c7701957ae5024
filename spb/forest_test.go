package spb

import (
	"fmt"
	"slices"
	"testing"

	tsn "tsnswitch"
)

func inTurn(n int, f func(int)) {
	for k := range n {
		f(k)
	}
}

func allRoots(g *graph) []int32 {
	roots := make([]int32, len(g.id))
	for u := range roots {
		roots[u] = int32(u)
	}
	return roots
}

var allAlgorithms = []uint8{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}

// What a forest says of a bridge is what the trees say.
func TestForest(t *testing.T) {
	r := &prng{5}
	for range 200 {
		top, _ := randomTopology(r)
		g := &top.graph
		// Algorithms asked for together, alone, and a second time.
		forests := top.forests(allRoots(g), allAlgorithms[:9], inTurn)
		for _, a := range allAlgorithms[9:] {
			forests = append(forests, top.forest(allRoots(g), a, inTurn))
		}
		forests[3] = top.forest(allRoots(g)[1:2], 3, inTurn)
		for _, root := range allRoots(g) {
			for _, a := range allAlgorithms {
				if diff := compareBranches(g, forests[a], g.tree(g.shortest(root), a)); diff != "" {
					t.Fatalf("algorithm %d, root %d: %s", a, root, diff)
				}
			}
		}
	}
}

func compareBranches(g *graph, f forest, tr *tree) string {
	for v := range int32(len(g.id)) {
		want := branch{dist: tr.dist[v]}
		for u := range int32(len(g.id)) {
			if tr.parent[u] == v {
				want.child = append(want.child, g.edges[tr.link[u]].port)
			}
			port := tsn.NoPort
			if p := tr.path(u); slices.Contains(p, v) && u != v {
				port = g.edges[tr.link[p[slices.Index(p, v)+1]]].port
			}
			if got := f.behind(tr.root, v, u); got != port {
				return fmt.Sprintf("node %d is behind port %d of %d, want %d", u, got, v, port)
			}
		}
		slices.Sort(want.child)
		if tr.parent[v] >= 0 {
			want.parent = g.edges[tr.link[v]].farPort
		}
		if got := f.at(tr.root, v); got.dist != want.dist || got.parent != want.parent || !slices.Equal(got.child, want.child) {
			return fmt.Sprintf("bridge %d: %+v, want %+v", v, got, want)
		}
	}
	return ""
}
