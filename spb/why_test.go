package spb

import (
	"slices"
	"strings"
	"testing"

	tsn "tsnswitch"
)

// What the explanation names as the winner is the path of the tree; every loser
// is higher at the entry it names and equal before; every rule leaves somebody.
func TestWhyIsTrue(t *testing.T) {
	r := &prng{51}
	contested := 0
	for range 600 {
		top, g := randomTopology(r)
		top.nodes[0].hostName = strings.Repeat("long", 16)
		src, dst := int32(r.below(int64(len(g.id)))), int32(r.below(int64(len(g.id))))
		for _, a := range allAlgorithms {
			e := top.explain(src, dst, a)
			want := g.tree(g.shortest(src), a).to(dst)
			if e == nil {
				if want != nil {
					t.Fatalf("%v is not explained", want)
				}
				continue
			}
			var got []int32
			for _, m := range e.Paths[0].Bridges {
				got = append(got, top.findNode(m))
			}
			if !slices.Equal(got, want) || !e.Paths[0].Chosen || e.Paths[0].DecidedAt != 0 {
				t.Fatalf("ECT %d: %v wins, want %v", a, got, want)
			}
			if len(e.Paths) > 1 {
				contested++
			}
			for _, p := range e.Paths[1:] {
				k := p.DecidedAt - 1
				best := e.Paths[0].PathID
				if !slices.Equal(p.PathID[:k], best[:k]) || p.PathID[k] <= best[k] {
					t.Fatalf("%v does not lose to %v at entry %d", p.PathID, best, p.DecidedAt)
				}
			}
			checkSteps(t, e)
		}
	}
	if contested < 250 {
		t.Errorf("only %d explanations had a tie", contested)
	}
}

func checkSteps(t *testing.T, e *Explanation) {
	t.Helper()
	for _, line := range strings.Split(e.Text, "\n") {
		if len(line) > textWidth {
			t.Fatalf("%d columns: %s", len(line), line)
		}
	}
	for _, s := range e.Steps {
		left := 0
		for _, o := range s.Options {
			value := o.Cost
			if s.Rule == "hops" {
				value = uint64(o.Hops)
			}
			if o.Lost == "" {
				left++
			}
			if o.Lost == "" && value != s.Best || o.Hops > 0 && value < s.Best {
				t.Fatalf("%s: %+v", s.Rule, s.Options)
			}
		}
		if left == 0 || e.Algorithm == 0 && left != 1 {
			t.Fatalf("%s: %+v", s.Rule, s.Options)
		}
	}
}

// The whole text of one explanation: a costly way, a long way, and two equal.
func TestWhyText(t *testing.T) {
	ids := make([]tsn.BridgeID, 7)
	for k := range ids {
		ids[k] = tsn.MakeBridgeID(0x8000, nodeMAC(k))
	}
	links := [][2]int{{0, 1}, {1, 2}, {0, 3}, {3, 2}, {0, 4}, {4, 2}, {0, 5}, {5, 6}, {6, 2}}
	metrics := [][2]uint32{{10, 10}, {10, 10}, {10, 10}, {10, 5}, {10, 10}, {20, 10}, {5, 5}, {5, 5}, {10, 10}}
	top, _ := makeGraph(ids, nil, links, metrics)
	for k := range top.nodes {
		top.nodes[k].hostName = "b" + string(rune('1'+k))
	}
	const want = `ECT algorithm 2, mask ff: cost 20, 2 hops
1. cost: the best is 20
   via b2, port 1: cost 20, 2 hops
   via b4, port 3: cost 20, 2 hops
   via b5, port 5: cost 30, 2 hops out: costs more
   via b6, port 7: cost 20, 3 hops
2. hops: the best is 2
   via b2, port 1: cost 20, 2 hops
   via b4, port 3: cost 20, 2 hops
   via b6, port 7: cost 20, 3 hops out: has more hops
3. PATHID: 2 paths left
   The BridgeIDs under the mask, sorted; the lower at the first difference wins.
   wins: b1 b4 b3
      1 7fff.fdfffffffffb b4
   loses at entry 1: b1 b2 b3
      1 7fff.fdfffffffffd b2
`
	if got := top.explain(0, 2, 2).Text; got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
	const wantTree = `ECT algorithm 0 (spanning tree): cost 20, 2 hops
1. parent of b2: the best is 10
   via b1, port 1: cost 10, 1 hop
   via b3, port 2: cost 30, 3 hops out: costs more
2. parent of b3: the best is 20
   via b2, port 2: cost 20, 2 hops
   via b4, port 4: cost 20, 2 hops out: BridgeID 8000.020000000004 is higher
   via b5, port 6: cost 30, 2 hops out: costs more
   via b7, port 9: cost 20, 3 hops out: BridgeID 8000.020000000007 is higher
   wins: b1 b2 b3
`
	if got := top.explain(0, 2, 0).Text; got != wantTree {
		t.Errorf("%s\nwant\n%s", got, wantTree)
	}
}
