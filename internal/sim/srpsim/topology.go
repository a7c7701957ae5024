package srpsim

import (
	"fmt"

	"tsnswitch"
)

// Topologies are the names that Config.Topology may have.
var Topologies = []string{"line", "ring", "grid", "tree", "random"}

// link is a cable with two ends.
type link struct {
	ends  [2]end
	inner bool // between bridges
	up    bool
	rate  tsn.Rate
}

type end struct {
	node *node
	port tsn.Port
}

func (l *link) far(n *node) end {
	if l.ends[0].node == n {
		return l.ends[1]
	}
	return l.ends[0]
}

func (l *link) near(n *node) end {
	if l.ends[0].node == n {
		return l.ends[0]
	}
	return l.ends[1]
}

// neighbours lists the pairs of bridges that have a cable.
func (n *Network) neighbours() (out [][2]int) {
	add := func(a, b int) { out = append(out, [2]int{a, b}) }
	last := n.Bridges - 1
	switch n.Topology {
	case "line", "ring":
		for i := range last {
			add(i, i+1)
		}
		if n.Topology == "ring" && last > 1 {
			add(last, 0)
		}
	case "grid":
		side := 1
		for side*side < n.Bridges {
			side++
		}
		for i := range n.Bridges {
			if (i+1)%side != 0 && i < last {
				add(i, i+1)
			}
			if i+side <= last {
				add(i, i+side)
			}
		}
	case "tree", "random":
		for i := 1; i <= last; i++ {
			add(n.rand.IntN(i), i)
		}
		for range n.Bridges / 2 {
			if a, b := n.rand.IntN(n.Bridges), n.rand.IntN(n.Bridges); a != b && n.Topology == "random" {
				add(a, b)
			}
		}
	default:
		panic(fmt.Sprintf("srpsim: there is no topology %q, but %v", n.Topology, Topologies))
	}
	return out
}

// rates of links: most are slow, so that streams do not all fit.
var rates = []tsn.Rate{100 * tsn.Mbps, 100 * tsn.Mbps, tsn.Gbps}

func (n *Network) connect(a, b *node) *link {
	l := &link{inner: b.bridge != nil, up: true, rate: rates[n.rand.IntN(len(rates))]}
	for i, x := range []*node{a, b} {
		x.links = append(x.links, l)
		l.ends[i] = end{x, tsn.Port(len(x.links))}
	}
	n.links = append(n.links, l)
	return l
}
