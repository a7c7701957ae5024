package spb

import (
	"container/heap"
	"slices"
	"testing"

	tsn "tsnswitch"
)

// reference is SPF as one writes it down from the text: one Dijkstra for each
// algorithm, a label for each bridge, and in the label the whole PATHID, the
// sorted list of masked BridgeIDs. It is the oracle of the tests and the peer
// in the benchmarks, and shares no code with what it checks but the types.
type reference struct {
	bridges []PlanBridge
	near    map[int]map[int]uint32 // metric of the best link
}

func newReference(bridges []PlanBridge, links []PlanLink) *reference {
	r := &reference{bridges: bridges, near: map[int]map[int]uint32{}}
	for k := range bridges {
		r.near[k] = map[int]uint32{}
	}
	for _, l := range links {
		m := max(l.MetricA, l.MetricB)
		if m == 0xffffff {
			continue
		}
		if old, ok := r.near[l.A][l.B]; !ok || m < old {
			r.near[l.A][l.B], r.near[l.B][l.A] = m, m
		}
	}
	return r
}

type label struct {
	node, parent int
	cost         uint64
	hops         int
	pathID       []uint64
}

func (a *label) less(b *label) bool {
	if a.cost != b.cost {
		return a.cost < b.cost
	}
	if a.hops != b.hops {
		return a.hops < b.hops
	}
	return slices.Compare(a.pathID, b.pathID) < 0
}

type labelHeap []*label

func (h labelHeap) Len() int           { return len(h) }
func (h labelHeap) Less(a, b int) bool { return h[a].less(h[b]) }
func (h labelHeap) Swap(a, b int)      { h[a], h[b] = h[b], h[a] }
func (h *labelHeap) Push(x any)        { *h = append(*h, x.(*label)) }
func (h *labelHeap) Pop() any {
	old := *h
	x := old[len(old)-1]
	*h = old[:len(old)-1]
	return x
}

// referenceMasks are those of RFC 6329 s12, typed a second time.
var referenceMasks = []byte{0, 0x00, 0xFF, 0x88, 0x77, 0x44, 0x33, 0xCC, 0xBB, 0x22, 0x11, 0x66, 0x55, 0xAA, 0x99, 0xDD, 0xEE}

func (r *reference) masked(k int, algorithm uint8) uint64 {
	b := r.bridges[k]
	id := uint64(b.Priority)
	for _, o := range b.SystemID {
		id = id<<8 | uint64(o)
	}
	for shift := 0; shift < 64; shift += 8 {
		id ^= uint64(referenceMasks[algorithm]) << shift
	}
	return id
}

// tree is the best label of every bridge that can be reached.
func (r *reference) tree(root int, algorithm uint8) map[int]*label {
	best := map[int]*label{root: {node: root, parent: -1, pathID: []uint64{r.masked(root, algorithm)}}}
	done := map[int]bool{}
	h := &labelHeap{best[root]}
	for h.Len() > 0 {
		l := heap.Pop(h).(*label)
		if done[l.node] {
			continue
		}
		done[l.node] = true
		if l.node != root && r.bridges[l.node].Overload {
			continue
		}
		for to, metric := range r.near[l.node] {
			if done[to] {
				continue
			}
			next := &label{node: to, parent: l.node, cost: l.cost + uint64(metric), hops: l.hops + 1}
			old := best[to]
			if old != nil && (next.cost > old.cost || next.cost == old.cost && next.hops > old.hops) {
				continue
			}
			id := r.masked(to, algorithm)
			at, _ := slices.BinarySearch(l.pathID, id)
			next.pathID = slices.Insert(slices.Clone(l.pathID), at, id)
			if old == nil || next.less(old) {
				best[to] = next
				heap.Push(h, next)
			}
		}
	}
	return best
}

// randomPlan draws a network with everything that makes SPF hard: few metrics,
// parallel links, links of one end only, metric 2^24-1, overloaded bridges, and
// parts without a link between them.
func randomPlan(r *prng, n, extra int) ([]PlanBridge, []PlanLink) {
	bridges := make([]PlanBridge, n)
	for k := range bridges {
		bridges[k] = PlanBridge{
			SystemID: tsn.MAC{2, byte(r.next()), byte(r.next()), byte(r.next()), byte(k >> 8), byte(k)},
			Priority: uint16(r.below(4)) << 14, Overload: r.below(12) == 0,
		}
	}
	metric := func() uint32 {
		switch r.below(20) {
		case 0:
			return NotAdvertised
		case 1:
			return 0
		case 2:
			return NotAdvertised - 1
		}
		return uint32(1 + r.below(3))
	}
	var links []PlanLink
	for _, l := range random(r.next(), n, extra) {
		links = append(links, PlanLink{l[0], l[1], metric(), metric()})
		if r.below(8) == 0 {
			links = append(links, PlanLink{l[1], l[0], metric(), metric()})
		}
	}
	return bridges, links
}

func compareToReference(t *testing.T, bridges []PlanBridge, links []PlanLink, roots []int) (ties int) {
	t.Helper()
	p, err := NewPlan(bridges, links)
	if err != nil {
		t.Fatal(err)
	}
	ref := newReference(bridges, links)
	var first map[int]*label
	for _, root := range roots {
		got, err := p.Trees(root, allAlgorithms[1:]...)
		if err != nil {
			t.Fatal(err)
		}
		for j, a := range allAlgorithms[1:] {
			want := ref.tree(root, a)
			if j == 0 {
				first = want
			}
			for v := range bridges {
				l := want[v]
				if l == nil {
					l = &label{parent: -1, hops: -1}
				} else if l.parent != first[v].parent {
					ties++
				}
				if got.Cost[v] != l.cost || int(got.Hops[v]) != l.hops || int(got.Parent[j][v]) != l.parent {
					t.Fatalf("algorithm %d, %d to %d: cost %d, %d hops, parent %d; want %d, %d, %d",
						a, root, v, got.Cost[v], got.Hops[v], got.Parent[j][v], l.cost, l.hops, l.parent)
				}
			}
		}
	}
	return ties
}

// RFC 6329 s11/12: the trees are those of the text, on 3000 small networks and
// some sources of a large one.
func TestAgainstReference(t *testing.T) {
	r := &prng{21}
	ties := 0
	for range 3000 {
		n := 2 + int(r.below(14))
		bridges, links := randomPlan(r, n, int(r.below(int64(2*n))))
		ties += compareToReference(t, bridges, links, []int{int(r.below(int64(n))), int(r.below(int64(n)))})
	}
	if ties < 10000 {
		t.Errorf("the algorithms differ in %d places only", ties)
	}
	bridges, links := randomPlan(r, 1000, 2000)
	compareToReference(t, bridges, links, []int{0, 500})
}

// The forest that a bridge keeps over many changes is the reference's too.
func TestRepairAgainstReference(t *testing.T) {
	r := &prng{22}
	for range 10 {
		w := newWorld(r, 12, 16)
		var top topology
		for range 20 {
			w.edit()
			w.show(&top)
			f := top.forests(allRoots(&top.graph), allAlgorithms[1:], inTurn)
			bridges, links := w.plan()
			ref := newReference(bridges, links)
			for root := range bridges {
				for _, one := range f {
					want := ref.tree(root, one.algorithm)
					for v, u := range top.cache.rows[root].parent[one.algorithm] {
						if l := want[v]; l == nil && u != -1 || l != nil && l.parent != int(u) {
							t.Fatalf("algorithm %d, %d to %d: parent %d, want %+v", one.algorithm, root, v, u, l)
						}
					}
				}
			}
		}
	}
}

// plan is the world as a reference takes it: the nodes that are there.
func (w *world) plan() (bridges []PlanBridge, links []PlanLink) {
	index := make([]int, len(w.nodes))
	for k, n := range w.nodes {
		index[k] = len(bridges)
		if !w.gone[k] {
			bridges = append(bridges, PlanBridge{n.system, n.bridgeID.Priority(), n.overload})
		}
	}
	for _, l := range w.links {
		if w.gone[l.end[0]] || w.gone[l.end[1]] || l.absent[0] || l.absent[1] {
			continue
		}
		links = append(links, PlanLink{index[l.end[0]], index[l.end[1]], l.metric[0], l.metric[1]})
	}
	return bridges, links
}
