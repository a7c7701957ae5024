package spb

import (
	"fmt"
	"slices"
	"testing"

	tsn "tsnswitch"
	"tsnswitch/spb/isispdu"
)

// makeGraph builds a graph the way the database does, from both ends' metrics.
func makeGraph(ids []tsn.BridgeID, overload []bool, links [][2]int, metrics [][2]uint32) (*topology, *graph) {
	t := &topology{}
	for k, id := range ids {
		t.nodes = append(t.nodes, node{system: id.System(), bridgeID: id, spb: true, overload: overload != nil && overload[k]})
	}
	for n, l := range links {
		for side, u := range l {
			t.nodes[u].links = append(t.nodes[u].links, halfLink{
				to: ids[l[1-side]].System(), metric: metrics[n][side], port: tsn.Port(n + 1),
				local: uint32(n + 1), remote: uint32(n + 1), hasIDs: true,
			})
		}
	}
	t.buildGraph()
	return t, &t.graph
}

// randomGraph has 4 to 8 nodes, few metrics and few priorities, so that ties
// are the rule; some nodes are overloaded.
func randomGraph(r *prng) *graph {
	_, g := randomTopology(r)
	return g
}

func randomTopology(r *prng) (*topology, *graph) {
	n := 4 + int(r.below(5))
	ids := make([]tsn.BridgeID, n)
	overload := make([]bool, n)
	for k := range ids {
		ids[k] = tsn.MakeBridgeID(uint16(r.below(4))<<14, tsn.MAC{2, 0, 0, 0, byte(k), byte(r.next())})
		overload[k] = r.below(10) == 0
	}
	links := random(r.next(), n, int(r.below(int64(n)+3)))
	metrics := make([][2]uint32, len(links))
	for k := range metrics {
		metrics[k] = [2]uint32{uint32(1 + r.below(2)), uint32(1 + r.below(2))}
	}
	return makeGraph(ids, overload, links, metrics)
}

// bestPath tries every simple path and compares cost, hops and the sorted list
// of masked BridgeIDs, as the standard words it (RFC 6329 s11/12).
func bestPath(g *graph, a, b int32, algorithm uint8) []int32 {
	type rank struct {
		cost, hops uint64
		pathID     []uint64
	}
	var best []int32
	var bestRank rank
	var walk func(path []int32, cost uint64)
	walk = func(path []int32, cost uint64) {
		u := path[len(path)-1]
		if u == b {
			r := rank{cost: cost, hops: uint64(len(path))}
			for _, v := range path {
				r.pathID = append(r.pathID, masked(g.id[v], algorithm))
			}
			slices.Sort(r.pathID)
			less := slices.Compare(append([]uint64{r.cost, r.hops}, r.pathID...), append([]uint64{bestRank.cost, bestRank.hops}, bestRank.pathID...)) < 0
			if best == nil || less {
				best, bestRank = slices.Clone(path), r
			}
			return
		}
		if u != a && !g.transit[u] {
			return
		}
		for _, e := range g.edges[g.first[u]:g.first[u+1]] {
			if !slices.Contains(path, e.to) {
				walk(append(path, e.to), cost+uint64(e.metric))
			}
		}
	}
	walk([]int32{a}, 0)
	return best
}

// Every tree path is the one that the definition gives; it is symmetric, and
// every part of it is the path between the part's ends.
func TestTreeAgainstDefinition(t *testing.T) {
	r := &prng{1}
	ties := 0
	for range 1000 {
		g := randomGraph(r)
		algorithm := uint8(1 + r.below(16))
		trees := make([]*tree, len(g.id))
		for u := range trees {
			trees[u] = g.tree(g.shortest(int32(u)), algorithm)
		}
		for a := range int32(len(g.id)) {
			for b := range int32(len(g.id)) {
				p := trees[a].to(b)
				if want := bestPath(g, a, b, algorithm); !slices.Equal(p, want) {
					t.Fatalf("%d to %d: %v, want %v", a, b, p, want)
				}
				if p == nil {
					continue
				}
				if all, _ := g.equalPaths(trees[a].spt, b, trees[a]); len(all) > 1 {
					ties++
				}
				back := trees[b].to(a)
				slices.Reverse(back)
				if !slices.Equal(p, back) {
					t.Fatalf("%d to %d: there %v, back %v", a, b, p, back)
				}
				for x := range p {
					for y := x; y < len(p); y++ {
						if part := trees[p[x]].to(p[y]); !slices.Equal(part, p[x:y+1]) {
							t.Fatalf("%v: part is %v", p, part)
						}
					}
				}
			}
		}
	}
	if ties < 1000 {
		t.Errorf("only %d pairs had a tie to break", ties)
	}
}

// RFC 6329 s12: the masks, on the example of two middle bridges.
func TestECTMasks(t *testing.T) {
	id := tsn.MakeBridgeID(0x8000, tsn.MAC{2, 0, 0, 0, 0, 1})
	for k, want := range map[uint8]uint64{
		1: 0x8000020000000001, 2: 0x7ffffdfffffffffe, 3: 0x0888_8a88_8888_8889, 16: 0x6eee_ecee_eeee_eeef,
	} {
		if got := masked(id, k); got != want {
			t.Errorf("algorithm %d: %016x, want %016x", k, got, want)
		}
	}
	seen := map[byte]bool{}
	for k := 1; k <= 16; k++ {
		seen[ectMask[k]] = true
	}
	if len(seen) != 16 {
		t.Errorf("%d different masks", len(seen))
	}
}

// RFC 6329 s11: the larger metric of both ends counts; ISO/IEC 10589 7.2.6: a
// link that one end does not advertise does not exist.
func TestLinkMetricAndTwoWay(t *testing.T) {
	ids := []tsn.BridgeID{tsn.MakeBridgeID(0, nodeMAC(0)), tsn.MakeBridgeID(0, nodeMAC(1))}
	top, g := makeGraph(ids, nil, [][2]int{{0, 1}}, [][2]uint32{{10, 30}})
	if len(g.edges) != 2 || g.edges[0].metric != 30 || g.edges[1].metric != 30 {
		t.Errorf("%+v", g.edges)
	}
	top.nodes[1].links = nil
	top.buildGraph()
	if len(top.graph.edges) != 0 {
		t.Errorf("one-way link is used: %+v", top.graph.edges)
	}
}

// Parallel links: the cheapest, then the lowest port of the bridge with the
// lower BridgeID, the same seen from both ends.
func TestParallelLinks(t *testing.T) {
	half := func(to int, metric uint32, port tsn.Port, remote uint32) halfLink {
		return halfLink{to: nodeMAC(to), metric: metric, port: port, local: uint32(port), remote: remote, hasIDs: true}
	}
	for _, c := range []struct {
		name   string
		prioA  uint16
		a, b   []halfLink
		pa, pb tsn.Port
	}{
		{"cheapest", 0, []halfLink{half(1, 10, 1, 1), half(1, 5, 2, 2)}, []halfLink{half(0, 10, 1, 1), half(0, 5, 2, 2)}, 2, 2},
		{"lowest port of a", 0, []halfLink{half(1, 5, 1, 9), half(1, 5, 2, 3)}, []halfLink{half(0, 5, 3, 2), half(0, 5, 9, 1)}, 1, 9},
		{"lowest port of b", 0xf000, []halfLink{half(1, 5, 1, 9), half(1, 5, 2, 3)}, []halfLink{half(0, 5, 3, 2), half(0, 5, 9, 1)}, 2, 3},
		{"one end missing", 0, []halfLink{half(1, 5, 1, 9), half(1, 5, 2, 3)}, []halfLink{half(0, 5, 3, 2)}, 2, 3},
	} {
		top := &topology{nodes: []node{
			{system: nodeMAC(0), bridgeID: tsn.MakeBridgeID(c.prioA, nodeMAC(0)), spb: true, links: c.a},
			{system: nodeMAC(1), bridgeID: tsn.MakeBridgeID(0x8000, nodeMAC(1)), spb: true, links: c.b},
		}}
		top.buildGraph()
		if e := top.graph.edges; len(e) != 2 || e[0].port != c.pa || e[0].farPort != c.pb || e[1].port != c.pb || e[1].farPort != c.pa {
			t.Errorf("%s: %+v, want ports %d and %d", c.name, e, c.pa, c.pb)
		}
	}
}

// RFC 6329 s14.2: metric 2^24-1 and a missing SPB-Metric keep a link out of SPB.
func TestUnusableLinks(t *testing.T) {
	var n node
	n.readNeighbors(&isispdu.ExtISReach{Neighbors: []isispdu.ExtISNeighbor{
		{ID: isispdu.MakeNodeID(nodeMAC(1)), Metric: 10},
		{ID: isispdu.MakeNodeID(nodeMAC(2)), SubTLVs: []isispdu.TLV{&isispdu.SPBMetric{Metric: isispdu.MaxMetric, PortID: 1}}},
		{ID: isispdu.NodeID{2, 0, 0, 0, 0, 4, 1}, SubTLVs: []isispdu.TLV{&isispdu.SPBMetric{Metric: 10, PortID: 2}}},
		{ID: isispdu.MakeNodeID(nodeMAC(3)), SubTLVs: []isispdu.TLV{&isispdu.SPBMetric{Metric: 10, PortID: 3}}},
	}})
	if len(n.links) != 1 || n.links[0].port != 3 {
		t.Errorf("%+v", n.links)
	}
}

func benchGraph(n int) *graph {
	r := prng{1}
	ids := make([]tsn.BridgeID, n)
	for k := range ids {
		ids[k] = tsn.MakeBridgeID(0x8000, tsn.MAC{2, 0, 0, 0, byte(k >> 8), byte(k)})
	}
	var metrics [][2]uint32
	links := random(1, n, 2*n)
	for range links {
		m := uint32(r.below(3)+1) * 10
		metrics = append(metrics, [2]uint32{m, m})
	}
	_, g := makeGraph(ids, nil, links, metrics)
	return g
}

func BenchmarkSPF(b *testing.B) {
	for _, n := range []int{100, 1000} {
		g := benchGraph(n)
		for _, trees := range []uint8{1, 16} {
			b.Run(fmt.Sprintf("N=%d/trees=%d", n, trees), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					s := g.shortest(0)
					for k := uint8(1); k <= trees; k++ {
						g.tree(s, k)
					}
				}
			})
		}
	}
}

// fullDatabase returns a node of a random network that has every LSP, without
// the time it takes to flood them.
func fullDatabase(tb testing.TB, n int) *Instance {
	l := newLab(tb, n, random(3, n, 2*n), func(_ int, c *Config) {
		c.HelloInterval, c.HoldMultiplier = 3600*second, 10
		c.LSPHoldDown, c.SPFHoldDown, c.SPFMaxHoldDown = millisecond, millisecond, millisecond
	})
	for _, link := range l.links {
		for side, k := range link.node {
			p := l.nodes[k].port(link.port[side])
			p.up, p.rate = true, tsn.Gbps
			p.adj.state, p.adj.neighbor, p.adj.circuit = isispdu.Up, nodeMAC(link.node[1-side]), uint32(link.port[1-side])
		}
	}
	for _, node := range l.nodes {
		node.own.dirty = true
		node.Step(tsn.Instant(second), tsn.Timeout{})
		for _, id := range node.db.order {
			l.nodes[0].store(node.db.lsps[id])
		}
	}
	return l.nodes[0].Instance
}

// BenchmarkReaction is the whole Step that answers a change elsewhere: topology
// from the database, SPF of two algorithms, places, digest, bridge state.
func BenchmarkReaction(b *testing.B) {
	for _, n := range []int{10, 100, 1000} {
		node := fullDatabase(b, n)
		now := tsn.Instant(2 * second)
		variants := [2]*storedLSP{}
		for v := range variants {
			variants[v] = otherMetric(b, node.db.lsps[isispdu.MakeLSPID(nodeMAC(n-1), 0)], uint32(20_000+v))
		}
		b.Run(fmt.Sprintf("N=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			runs := node.Counters().SPFRuns
			var k uint64
			for b.Loop() {
				now, k = now.Add(10*millisecond), k+1
				node.store(variants[k%2])
				node.Step(now, tsn.Timeout{})
				node.Step(now, Applied{Generation: node.agree.generation})
			}
			if node.Counters().SPFRuns-runs != k || node.Status().NodesReached != n {
				b.Fatalf("%d SPF runs in %d changes, %d nodes", node.Counters().SPFRuns-runs, k, node.Status().NodesReached)
			}
		})
	}
}

// otherMetric is an LSP with another metric on its first link.
func otherMetric(tb testing.TB, l *storedLSP, metric uint32) *storedLSP {
	pdu, err := isispdu.Parse(l.raw)
	if err != nil {
		tb.Fatal(err)
	}
	lsp := pdu.(*isispdu.LSP)
	reach, _ := isispdu.Find[*isispdu.ExtISReach](lsp.TLVs)
	m, _ := isispdu.Find[*isispdu.SPBMetric](reach.Neighbors[0].SubTLVs)
	m.Metric = metric
	raw, err := lsp.Seal()
	if err != nil {
		tb.Fatal(err)
	}
	return &storedLSP{pdu: lsp, raw: raw, expires: tsn.Never}
}
