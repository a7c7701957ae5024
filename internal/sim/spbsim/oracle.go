package spbsim

import (
	"cmp"
	"slices"

	"tsnswitch"
)

// The oracle says how frames shall travel, from what is configured and
// plugged in, and by brute force: it shares no code with the core.

// route is one way between two bridges, compared as RFC 6329 s11 says.
type route struct {
	nodes []int
	cost  uint64
	ids   []uint64 // masked BridgeIDs of the bridges between, sorted
}

// masks of the ECT algorithms 1 to 16 (RFC 6329 s12).
var masks = [17]uint64{
	0, 0x00, 0xff, 0x88, 0x77, 0x44, 0x33, 0xcc, 0xbb, 0x22, 0x11, 0x66, 0x55, 0xaa, 0x99, 0xdd, 0xee,
}

// usable tells whether a link connects two bridges that talk to each other.
func (n *Network) usable(l *Link) bool {
	return !l.Edge && l.carries(0) && l.carries(1) && n.Nodes[l.A.Node].Alive && n.Nodes[l.B.Node].Alive
}

// metricBetween is the cheapest link of two neighbours, the larger metric of
// both ends, or false.
func (n *Network) metricBetween(a, b int) (best uint64, ok bool) {
	for _, l := range n.Links {
		if !n.usable(l) || !(l.A.Node == a && l.B.Node == b || l.A.Node == b && l.B.Node == a) {
			continue
		}
		if m := max(n.portMetric(l.A), n.portMetric(l.B)); !ok || m < best {
			best, ok = m, true
		}
	}
	return best, ok
}

func (n *Network) portMetric(e End) uint64 {
	for _, p := range n.Nodes[e.Node].cfg.Ports {
		if p.Port == e.Port && p.Metric != 0 {
			return uint64(p.Metric)
		}
	}
	return 20_000 // 1 Gbit/s
}

// routes is the best route from every bridge to every other under one
// algorithm; nil where there is none.
func (n *Network) routes(algorithm uint8) [][]*route {
	all := make([][]*route, len(n.Nodes))
	for from := range n.Nodes {
		all[from] = make([]*route, len(n.Nodes))
		if n.Nodes[from].Alive {
			n.extend(&route{nodes: []int{from}}, all[from], algorithm)
		}
	}
	return all
}

// extend walks every simple path that is not worse than the best to its end.
func (n *Network) extend(r *route, best []*route, algorithm uint8) {
	last := r.nodes[len(r.nodes)-1]
	if len(r.nodes) > 1 {
		if b := best[last]; b != nil && compareRoutes(r, b) > 0 && r.cost > b.cost {
			return // nor is anything behind it
		} else if b == nil || compareRoutes(r, b) < 0 {
			c := *r
			c.nodes, c.ids = slices.Clone(r.nodes), slices.Clone(r.ids)
			best[last] = &c
		}
		if n.Nodes[last].overload {
			return
		}
	}
	for next := range n.Nodes {
		if slices.Contains(r.nodes, next) {
			continue
		}
		m, ok := n.metricBetween(last, next)
		if !ok {
			continue
		}
		longer := route{nodes: append(slices.Clone(r.nodes), next), cost: r.cost + m, ids: slices.Clone(r.ids)}
		if len(r.nodes) > 1 {
			c := &n.Nodes[last].cfg
			id := tsn.MakeBridgeID(c.Priority, c.SystemID)
			var number uint64
			for _, b := range id {
				number = number<<8 | uint64(b) ^ masks[algorithm]
			}
			longer.ids = append(longer.ids, number)
			slices.Sort(longer.ids)
		}
		n.extend(&longer, best, algorithm)
	}
}

func compareRoutes(a, b *route) int {
	return cmp.Or(cmp.Compare(a.cost, b.cost), cmp.Compare(len(a.nodes), len(b.nodes)), slices.Compare(a.ids, b.ids))
}
