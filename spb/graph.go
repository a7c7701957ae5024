package spb

import (
	"cmp"
	"slices"

	tsn "tsnswitch"
)

// joint is a link in use, from the node with the lower number.
type joint struct {
	near int32
	edge
}

// buildGraph keeps the links that both ends advertise (ISO/IEC 10589 7.2.6),
// one for each pair of nodes.
func (t *topology) buildGraph() {
	n := len(t.nodes)
	g := graph{system: make([]tsn.MAC, n), id: make([]tsn.BridgeID, n), transit: make([]bool, n), first: make([]int32, n+1)}
	halves := 0
	for u := range t.nodes {
		a := &t.nodes[u]
		g.system[u], g.id[u], g.transit[u] = a.system, a.bridgeID, !a.overload
		halves += len(a.links)
		if !slices.IsSortedFunc(a.links, compareLinks) {
			a.links = slices.Clone(a.links) // the node's reader has them too
			slices.SortFunc(a.links, compareLinks)
		}
	}
	joints := make([]joint, 0, halves/2+1)
	for u := range t.nodes {
		joints = t.jointsOf(int32(u), joints)
	}
	for _, j := range joints {
		g.first[j.near+1]++
		g.first[j.to+1]++
	}
	for u := range n {
		g.first[u+1] += g.first[u]
	}
	// Joints come by near end, then far end. So every node meets its
	// neighbours ascending, the lower ones first.
	g.edges = make([]edge, 2*len(joints))
	next := slices.Clone(g.first)
	for _, j := range joints {
		g.edges[next[j.near]] = j.edge
		next[j.near]++
		g.edges[next[j.to]] = edge{to: j.near, metric: j.metric, port: j.farPort, farPort: j.port}
		next[j.to]++
	}
	t.graph = g
}

// jointsOf appends the links between u and nodes with a higher number.
func (t *topology) jointsOf(u int32, out []joint) []joint {
	a := &t.nodes[u]
	for links := a.links; len(links) > 0; {
		k := 1
		for k < len(links) && links[k].to == links[0].to {
			k++
		}
		ours := links[:k]
		links = links[k:]
		if compareMAC(ours[0].to, a.system) <= 0 || !a.spb {
			continue
		}
		v := t.findNode(ours[0].to)
		if v < 0 || !t.nodes[v].spb {
			continue
		}
		if e, ok := bestLink(a, &t.nodes[v], ours); ok {
			e.to = v
			out = append(out, joint{u, e})
		}
	}
	return out
}

func compareLinks(a, b halfLink) int {
	if c := compareMAC(a.to, b.to); c != 0 {
		return c
	}
	return cmp.Or(cmp.Compare(a.metric, b.metric), cmp.Compare(a.port, b.port))
}

// linksTo is the part of a node's links that leads to a system.
func (n *node) linksTo(system tsn.MAC) []halfLink {
	want, from, hi := numberOf(system), 0, len(n.links)
	for from < hi { // by hand, as findNode
		mid := (from + hi) / 2
		if numberOf(n.links[mid].to) < want {
			from = mid + 1
		} else {
			hi = mid
		}
	}
	to := from
	for to < len(n.links) && n.links[to].to == system {
		to++
	}
	return n.links[from:to]
}

// bestLink picks one of the parallel links between a and b; ours are those
// that a advertises. The link's metric is the larger of both ends'; among the
// cheapest the lowest port of the bridge with the lower BridgeID counts.
func bestLink(a, b *node, ours []halfLink) (best edge, ok bool) {
	theirs := b.linksTo(a.system)
	if len(ours) > 1 {
		theirs = slices.Clone(theirs) // each is the other end of one link
	}
	aFirst := slices.Compare(a.bridgeID[:], b.bridgeID[:]) < 0
	rank := func(e edge) tsn.Port {
		if aFirst {
			return e.port
		}
		return e.farPort
	}
	for _, h := range ours {
		k := slices.IndexFunc(theirs, func(f halfLink) bool { return matches(h, f) })
		if k < 0 {
			continue
		}
		f := theirs[k]
		if len(ours) > 1 {
			theirs = slices.Delete(theirs, k, k+1)
		}
		e := edge{metric: max(h.metric, f.metric), port: h.port, farPort: f.port}
		if !ok || e.metric < best.metric || (e.metric == best.metric && rank(e) < rank(best)) {
			best, ok = e, true
		}
	}
	return best, ok
}

// matches tells whether two half links may be ends of one link. Without
// identifiers any two may be: then they pair up in order.
func matches(h, f halfLink) bool {
	return !h.hasIDs || !f.hasIDs || (h.local == f.remote && h.remote == f.local)
}
