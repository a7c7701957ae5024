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
			if p := tr.to(u); slices.Contains(p, v) && u != v {
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

// world is a network that changes.
type world struct {
	r     *prng
	nodes []node // without links
	gone  []bool
	links []worldLink
}

type worldLink struct {
	end    [2]int
	metric [2]uint32
	absent [2]bool // that end does not advertise it
}

func newWorld(r *prng, n, extra int) *world {
	w := &world{r: r, gone: make([]bool, n)}
	for k := range n {
		id := tsn.MakeBridgeID(uint16(r.below(3))<<14, tsn.MAC{2, 0, 0, byte(k >> 8), byte(k), byte(r.next())})
		w.nodes = append(w.nodes, node{system: id.System(), bridgeID: id, spb: true, overload: r.below(10) == 0})
	}
	for _, l := range random(r.next(), n, extra) {
		w.links = append(w.links, worldLink{end: l, metric: [2]uint32{w.metric(), w.metric()}})
	}
	return w
}

func (w *world) metric() uint32 { return []uint32{0, 1, 1, 2, 2, 3}[w.r.below(6)] }

// edit makes one random change and names it.
func (w *world) edit() string {
	n, l := w.r.below(int64(len(w.nodes))), &w.links[w.r.below(int64(len(w.links)))]
	switch w.r.below(12) {
	case 0:
		w.nodes[n].overload = !w.nodes[n].overload
		return "overload"
	case 1:
		w.gone[n] = !w.gone[n]
		return "node"
	case 2:
		id := &w.nodes[n].bridgeID
		*id = tsn.MakeBridgeID(uint16(w.r.below(3))<<14, id.System())
		return "priority"
	case 3, 4, 5:
		l.metric[w.r.below(2)] = w.metric()
		return "metric"
	}
	side := w.r.below(2)
	l.absent[side] = !l.absent[side]
	return "link"
}

// show puts the world into a topology, as the database would.
func (w *world) show(t *topology) {
	t.nodes = nil
	for k, n := range w.nodes {
		if w.gone[k] {
			continue
		}
		n.links = nil
		for id, l := range w.links {
			for side := range l.end {
				if l.end[side] == k && !l.absent[side] {
					port := tsn.Port(id + 1)
					n.links = append(n.links, halfLink{w.nodes[l.end[1-side]].system, l.metric[side], port, uint32(port), uint32(port), true})
				}
			}
		}
		t.nodes = append(t.nodes, n)
	}
	t.buildGraph()
}

// Whatever changes, and however often: a repaired forest is the forest that a
// bridge computes which has just started.
func TestRepair(t *testing.T) {
	r := &prng{11}
	repaired, fresh := 0, 0
	for seed := range 150 {
		w := newWorld(r, 3+int(r.below(20)), int(r.below(25)))
		var old topology
		w.show(&old)
		old.forests(allRoots(&old.graph), allAlgorithms, inTurn)
		for step := range 40 {
			what := ""
			for range 1 + r.below(3) {
				what += w.edit() + " "
			}
			before := old.graph
			w.show(&old)
			if _, ok := old.graph.since(&before); ok {
				repaired++
			} else {
				fresh++
			}
			old.forests(allRoots(&old.graph), allAlgorithms, inTurn)
			var young topology
			w.show(&young)
			young.forests(allRoots(&young.graph), allAlgorithms, inTurn)
			for root, b := range young.cache.rows {
				if diff := compareRows(old.cache.rows[root], b); diff != "" {
					t.Fatalf("world %d, step %d (%s), root %d: %s", seed, step, what, root, diff)
				}
			}
		}
	}
	if repaired < 3000 || fresh < 300 {
		t.Errorf("%d repairs and %d computations from nothing: the test does not try both", repaired, fresh)
	}
}

func compareRows(a, b *row) string {
	if !slices.Equal(a.dist, b.dist) || !slices.Equal(a.span, b.span) {
		return fmt.Sprintf("distances %v and %v, want %v and %v", a.dist, a.span, b.dist, b.span)
	}
	for k := range a.parent {
		if !slices.Equal(a.parent[k], b.parent[k]) {
			return fmt.Sprintf("algorithm %d: parents %v, want %v", k, a.parent[k], b.parent[k])
		}
	}
	return ""
}

// Trees that are not asked for any more are not kept.
func TestForestForgets(t *testing.T) {
	w := newWorld(&prng{3}, 10, 10)
	var top topology
	w.show(&top)
	top.forests(allRoots(&top.graph), []uint8{1, 2}, inTurn)
	w.show(&top)
	top.forest(allRoots(&top.graph)[:5], 1, inTurn)
	w.show(&top)
	top.forest(allRoots(&top.graph)[:3], 1, inTurn)
	for root, r := range top.cache.rows {
		if (r != nil) != (root < 5) || r != nil && (r.parent[1] == nil || r.parent[2] != nil) {
			t.Errorf("root %d: %+v", root, r)
		}
	}
}

// On many cores the outcome is the same, before and after a change.
func TestForestInParallel(t *testing.T) {
	w := newWorld(&prng{7}, 120, 240)
	var one, many topology
	for range 5 {
		w.show(&one)
		w.show(&many)
		one.forests(allRoots(&one.graph), allAlgorithms, inTurn)
		many.forests(allRoots(&many.graph), allAlgorithms, pool)
		for root, r := range one.cache.rows {
			if diff := compareRows(many.cache.rows[root], r); diff != "" {
				t.Fatalf("root %d: %s", root, diff)
			}
		}
		w.edit()
	}
}

// The sums that are kept are those that would be computed, whatever changed.
func TestEdgeSums(t *testing.T) {
	w := newWorld(&prng{13}, 14, 20)
	var top topology
	var kept edgeSums
	changed := 0
	for step := range 500 {
		what := w.edit()
		w.show(&top)
		before := kept.sums
		got := kept.of(&top.graph)
		var fresh edgeSums
		if want := fresh.of(&top.graph); !slices.Equal(got, want) {
			t.Fatalf("step %d (%s): %v, want %v", step, what, got, want)
		}
		if !slices.Equal(got, before) {
			changed++
		}
	}
	if changed < 50 || changed > 400 {
		t.Errorf("the sums changed in %d of 500 steps", changed)
	}
}
