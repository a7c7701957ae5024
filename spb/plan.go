package spb

import (
	"cmp"
	"fmt"
	"slices"

	tsn "tsnswitch"
	"tsnswitch/spb/isispdu"
)

// Plan is a network that need not exist: what every bridge of it would compute,
// by the code that the bridges run. Nothing changes a Plan once it is made, so
// that many goroutines may ask it.
type Plan struct {
	work  *work
	node  []int32 // of each bridge in the caller's order
	order []int32 // the inverse
}

// PlanBridge is a bridge of a plan.
type PlanBridge struct {
	SystemID tsn.MAC // an individual address that no other bridge has
	Priority uint16
	Overload bool // paths may end there and do not cross it
}

// PlanLink joins two bridges, by their index. Each end advertises a metric, and
// the larger counts. There may be several links between two bridges: they are
// numbered as they come, and the rule for parallel links applies.
type PlanLink struct {
	A, B             int
	MetricA, MetricB uint32 // up to 16777214, or NotAdvertised
}

// NotAdvertised, the largest metric, is that of an end which does not offer the
// link for SPB (RFC 6329 s14.2). Such a link is not used in either direction.
const NotAdvertised uint32 = isispdu.MaxMetric

// NewPlan checks and builds a plan. The error names the bridge or the link, by
// index.
func NewPlan(bridges []PlanBridge, links []PlanLink) (*Plan, error) {
	p := &Plan{node: make([]int32, len(bridges)), order: make([]int32, len(bridges))}
	for k := range bridges {
		p.order[k] = int32(k)
	}
	slices.SortFunc(p.order, func(a, b int32) int {
		return cmp.Or(compareMAC(bridges[a].SystemID, bridges[b].SystemID), cmp.Compare(a, b))
	})
	t := &topology{nodes: make([]node, len(bridges))}
	for v, k := range p.order {
		b := bridges[k]
		if b.SystemID.IsZero() || b.SystemID.IsGroup() {
			return nil, fmt.Errorf("bridge %d: system id %s is not an individual address", k, b.SystemID)
		}
		if v > 0 && t.nodes[v-1].system == b.SystemID {
			return nil, fmt.Errorf("bridges %d and %d have the system id %s", p.order[v-1], k, b.SystemID)
		}
		p.node[k] = int32(v)
		t.nodes[v] = node{system: b.SystemID, bridgeID: tsn.MakeBridgeID(b.Priority, b.SystemID), spb: true, overload: b.Overload}
	}
	for k, l := range links {
		if err := p.addLink(t, uint32(k+1), l); err != nil {
			return nil, fmt.Errorf("link %d: %w", k, err)
		}
	}
	t.buildGraph()
	p.work = t.graph.newWork([]uint8{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16})
	return p, nil
}

func (p *Plan) addLink(t *topology, id uint32, l PlanLink) error {
	ends, metrics := [2]int{l.A, l.B}, [2]uint32{l.MetricA, l.MetricB}
	for side, k := range ends {
		if k < 0 || k >= len(p.node) {
			return fmt.Errorf("there is no bridge %d", k)
		}
		if metrics[side] > NotAdvertised {
			return fmt.Errorf("metric %d is larger than %d", metrics[side], NotAdvertised)
		}
	}
	if l.A == l.B {
		return fmt.Errorf("both ends are bridge %d", l.A)
	}
	for side, k := range ends {
		if n := &t.nodes[p.node[k]]; metrics[side] != NotAdvertised {
			n.links = append(n.links, halfLink{
				to: t.nodes[p.node[ends[1-side]]].system, metric: metrics[side],
				port: tsn.Port(len(n.links) + 1), local: id, remote: id, hasIDs: true,
			})
		}
	}
	return nil
}

// PlanTrees is the trees of one root; bridges are indexes.
type PlanTrees struct {
	// Cost and Hops of the shortest path to each bridge, Hops -1 where there is
	// none. They are the same for algorithms 1 to 16.
	Cost []uint64
	Hops []int32
	// Parent is, for each algorithm asked for, the bridge before each bridge on
	// the path from the root; -1 at the root and where there is none.
	Parent [][]int32
}

// Trees computes the trees of a root under some algorithms, 0 to 16, which
// share one Dijkstra.
func (p *Plan) Trees(root int, algorithms ...uint8) (*PlanTrees, error) {
	if root < 0 || root >= len(p.node) {
		return nil, fmt.Errorf("there is no bridge %d", root)
	}
	for _, a := range algorithms {
		if a > 16 {
			return nil, fmt.Errorf("ECT algorithm %d is outside 0..16", a)
		}
	}
	w := *p.work
	w.algorithms = algorithms
	r, s, n := &row{}, newScratch(len(p.node)), len(p.node)
	w.fill(p.node[root], r, s)
	if r.dist == nil {
		r.dist = make([]distance, n)
		w.dijkstra(p.node[root], r.dist, s)
	}
	t := &PlanTrees{Cost: make([]uint64, n), Hops: make([]int32, n), Parent: make([][]int32, len(algorithms))}
	for v, k := range p.order {
		t.Hops[k] = -1
		if d := r.dist[v]; d != unreachable {
			t.Cost[k], t.Hops[k] = d.cost(), int32(d.hops())
		}
	}
	for j, a := range algorithms {
		t.Parent[j] = newParents(n)
		for v, u := range r.parent[a] {
			if u >= 0 {
				t.Parent[j][p.order[v]] = p.order[u]
			}
		}
	}
	return t, nil
}

// Disjoint compares the paths between two bridges under some algorithms: the
// pair that shares the fewest links, then the fewest bridges, and what any two
// paths must share. VIDs of both are zero. The error is about an argument, or
// that there is no path.
func (p *Plan) Disjoint(from, to int, algorithms ...uint8) (best, least Sharing, err error) {
	if to < 0 || to >= len(p.node) || from == to {
		return best, least, fmt.Errorf("there is no path to bridge %d", to)
	}
	t, err := p.Trees(from, algorithms...)
	if err != nil {
		return best, least, err
	}
	if t.Hops[to] < 0 {
		return best, least, fmt.Errorf("no path between bridges %d and %d", from, to)
	}
	paths := make([][]int32, len(algorithms))
	for j := range algorithms {
		for v := int32(to); v >= 0; v = t.Parent[j][v] {
			paths[j] = append(paths[j], v)
		}
	}
	first := true
	for j, a := range algorithms {
		for k, b := range algorithms[:j] {
			if len(paths[j]) < 2 || len(paths[k]) < 2 {
				continue // the spanning tree has no path everywhere
			}
			s := sharing(paths[k], paths[j])
			s.Algorithms = [2]uint8{b, a}
			if first || s.less(best) {
				best, first = s, false
			}
		}
	}
	return best, p.work.leastSharing(p.node[from], p.node[to]), nil
}
