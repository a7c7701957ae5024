package spb

import (
	"slices"
	"strings"
	"testing"

	tsn "tsnswitch"
)

// simplePaths lists every path from a to b that crosses no overloaded bridge.
func simplePaths(g *graph, a, b int32) (all [][]int32) {
	var walk func(path []int32)
	walk = func(path []int32) {
		u := path[len(path)-1]
		if u == b {
			all = append(all, slices.Clone(path))
			return
		}
		if u != a && !g.transit[u] {
			return
		}
		for _, e := range g.edges[g.first[u]:g.first[u+1]] {
			if !slices.Contains(path, e.to) {
				walk(append(path, e.to))
			}
		}
	}
	walk([]int32{a})
	return all
}

// The least that two paths share, by trying every pair of paths.
func TestLeastSharing(t *testing.T) {
	r := &prng{41}
	seen := map[Sharing]int{}
	for range 400 {
		g := randomGraph(r)
		for b := int32(1); b < int32(len(g.id)); b++ {
			all := simplePaths(g, 0, b)
			if len(all) == 0 {
				continue
			}
			want := Sharing{Links: 1000}
			for k := range all {
				for j := k; j < len(all); j++ {
					links, bridges := shared(all[k], all[j])
					if s := (Sharing{Links: len(links), Bridges: len(bridges)}); s.less(want) {
						want = s
					}
				}
			}
			got := g.leastSharing(0, b)
			if got != want {
				t.Fatalf("0 to %d of %v: %v, want %v", b, g.edges, got, want)
			}
			seen[got]++
		}
	}
	if seen[Sharing{}] < 100 || len(seen) < 5 {
		t.Errorf("cases: %v", seen)
	}
}

// A link that both paths use in opposite directions is shared: one failure
// cuts both.
func TestSharedIsWithoutDirection(t *testing.T) {
	links, bridges := shared([]int32{0, 1, 2, 3}, []int32{0, 2, 1, 3})
	if !slices.Equal(links, [][2]int32{{1, 2}}) || !slices.Equal(bridges, []int32{1, 2}) {
		t.Errorf("%v %v", links, bridges)
	}
}

func TestDisjoint(t *testing.T) {
	n := ring4(t).nodes[3]
	d, err := n.Disjoint(vidA, vidB, stationMAC(0), nodeMAC(2))
	if err != nil {
		t.Fatal(err)
	}
	if !d.Disjoint || len(d.SharedLinks)+len(d.SharedBridges) != 0 || d.From != nodeMAC(0) || d.To != nodeMAC(2) ||
		!slices.Equal(d.Paths[0], []tsn.MAC{nodeMAC(0), nodeMAC(1), nodeMAC(2)}) ||
		!slices.Equal(d.Paths[1], []tsn.MAC{nodeMAC(0), nodeMAC(3), nodeMAC(2)}) ||
		d.Best != (Sharing{VIDs: [2]tsn.VID{vidA, vidB}}) || d.Least != (Sharing{}) {
		t.Errorf("%+v", d)
	}
	// Neighbours: every tree takes the one link, though there is another way.
	d, err = n.Disjoint(vidA, vidB, nodeMAC(0), nodeMAC(1))
	if err != nil {
		t.Fatal(err)
	}
	if d.Disjoint || len(d.SharedLinks) != 1 || d.SharedLinks[0].A != nodeMAC(0) || d.SharedLinks[0].B != nodeMAC(1) ||
		d.SharedLinks[0].PortA == 0 || d.SharedLinks[0].PortB == 0 || d.Best.Links != 1 || d.Least != (Sharing{}) {
		t.Errorf("%+v", d)
	}
	if !strings.Contains(d.Text, "NOT disjoint: they share 1 link and 0 bridges.\n  link b1 b2\n") {
		t.Error(d.Text)
	}
	for _, c := range []struct {
		a, b     tsn.VID
		from, to tsn.MAC
		want     string
	}{
		{vidA, 77, nodeMAC(0), nodeMAC(1), "VLAN 77 is not a base VID"},
		{vidA, vidB, nodeMAC(0), stationMAC(0), "both are at bridge b1"},
		{vidA, vidB, nodeMAC(0), tsn.MAC{2, 9}, "neither a bridge nor an end station"},
	} {
		if _, err := n.Disjoint(c.a, c.b, c.from, c.to); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, want %q", err, c.want)
		}
	}
}

// Two Base VIDs with one algorithm share everything; another algorithm would
// take the other side of the square.
func TestBestAlgorithms(t *testing.T) {
	ids := make([]tsn.BridgeID, 4)
	for k := range ids {
		ids[k] = tsn.MakeBridgeID(0x8000, nodeMAC(k))
	}
	top, _ := makeGraph(ids, nil, [][2]int{{0, 1}, {1, 3}, {0, 2}, {2, 3}}, [][2]uint32{{1, 1}, {1, 1}, {1, 1}, {1, 1}})
	paths := top.pathsByAlgorithm(0, 3)
	one := []BaseVID{{VID: 5, Algorithm: 1}, {VID: 6, Algorithm: 1}}
	if got, want := bestPair(one, &paths), (Sharing{VIDs: [2]tsn.VID{5, 6}, Links: 2, Bridges: 1}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if got, want := bestAlgorithms(&paths), (Sharing{Algorithms: [2]uint8{1, 2}}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// On a line everything is shared, and must be.
func TestDisjointOnALine(t *testing.T) {
	l := newLab(t, 4, [][2]int{{0, 1}, {1, 2}, {2, 3}}, nil)
	l.allUp()
	l.run(second)
	d, err := l.nodes[0].Disjoint(vidA, vidB, nodeMAC(0), nodeMAC(3))
	if err != nil {
		t.Fatal(err)
	}
	if want := (Sharing{Links: 3, Bridges: 2}); d.Disjoint || d.Least != want || len(d.SharedLinks) != 3 || len(d.SharedBridges) != 2 {
		t.Errorf("%+v", d)
	}
	for _, line := range strings.Split(d.Text, "\n") {
		if len(line) > textWidth {
			t.Errorf("%d columns: %s", len(line), line)
		}
	}
	if !strings.Contains(d.Text, "any two paths share at least 3 links and 2 bridges") {
		t.Error(d.Text)
	}
}

// A plan answers the same offline, in the caller's numbers.
func TestPlanDisjoint(t *testing.T) {
	bridges := make([]PlanBridge, 5)
	for k := range bridges { // numbered against their ids
		bridges[k] = PlanBridge{SystemID: nodeMAC(4 - k), Priority: 0x8000}
	}
	links := []PlanLink{{0, 1, 1, 1}, {1, 3, 1, 1}, {0, 2, 1, 1}, {2, 3, 1, 1}, {3, 4, 1, 1}}
	p, err := NewPlan(bridges, links)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		to          int
		algorithms  []uint8
		best, least Sharing
	}{
		{3, []uint8{1, 3, 2}, Sharing{Algorithms: [2]uint8{1, 2}}, Sharing{}},
		{4, []uint8{1, 2}, Sharing{Algorithms: [2]uint8{1, 2}, Links: 1, Bridges: 1}, Sharing{Links: 1, Bridges: 1}},
		{3, []uint8{1}, Sharing{}, Sharing{}},
	} {
		best, least, err := p.Disjoint(0, c.to, c.algorithms...)
		if err != nil || best != c.best || least != c.least {
			t.Errorf("to %d: %+v, %+v, %v; want %+v, %+v", c.to, best, least, err, c.best, c.least)
		}
	}
	for _, to := range []int{-1, 0, 5} {
		if _, _, err := p.Disjoint(0, to, 1, 2); err == nil {
			t.Errorf("to %d: no error", to)
		}
	}
}

// What NewPlan and Trees refuse, they name.
func TestPlanErrors(t *testing.T) {
	two := []PlanBridge{{SystemID: nodeMAC(0)}, {SystemID: nodeMAC(1)}}
	for _, c := range []struct {
		bridges []PlanBridge
		links   []PlanLink
		want    string
	}{
		{[]PlanBridge{{SystemID: nodeMAC(0)}, {}}, nil, "bridge 1: system id 00:00:00:00:00:00"},
		{[]PlanBridge{two[0], two[1], two[0]}, nil, "bridges 0 and 2 have the system id"},
		{two, []PlanLink{{0, 1, 1, 1}, {0, 2, 1, 1}}, "link 1: there is no bridge 2"},
		{two, []PlanLink{{1, 1, 1, 1}}, "link 0: both ends are bridge 1"},
		{two, []PlanLink{{0, 1, 1, NotAdvertised + 1}}, "link 0: metric 16777216 is larger"},
	} {
		if _, err := NewPlan(c.bridges, c.links); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, want %q", err, c.want)
		}
	}
	p, err := NewPlan(two, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Trees(2, 1); err == nil {
		t.Error("trees of a bridge that is not there")
	}
	if _, err := p.Trees(0, 17); err == nil {
		t.Error("trees under an algorithm that is not there")
	}
}
