package srpsim

import (
	"slices"

	"tsnswitch"
	"tsnswitch/srp"
)

// pathKey names a tree: its root, and what breaks ties.
type pathKey struct {
	root *node
	vid  tsn.VID
}

// path is a tree over the bridges that its root reaches.
type path struct {
	up   []*link   // by bridge: towards the root; nil at the root and out of reach
	down [][]*link // by bridge: away from it
	in   []bool    // by bridge: reached
}

// treeOf returns the tree of the topology as it is.
func (n *Network) treeOf(root *node, vid tsn.VID) *path {
	if !n.Trees {
		vid = 0
	}
	k := pathKey{root, vid}
	if n.paths[k] == nil {
		if n.paths == nil {
			n.paths = map[pathKey]*path{}
		}
		n.paths[k] = n.grow(root, vid)
	}
	return n.paths[k]
}

// grow finds shortest paths, by hops; the VLAN says which neighbour comes first.
// Without Trees only links of the spanning tree count.
func (n *Network) grow(root *node, vid tsn.VID) *path {
	p := &path{up: make([]*link, n.Bridges), down: make([][]*link, n.Bridges), in: make([]bool, n.Bridges)}
	p.in[root.id] = true
	for todo := []*node{root}; len(todo) > 0; todo = todo[1:] {
		b := todo[0]
		links := slices.Clone(b.links)
		if vid%2 == 1 {
			slices.Reverse(links)
		}
		for _, l := range links {
			to := l.far(b).node
			if !l.up || !l.inner || p.in[to.id] || !n.Trees && root.id != n.lowest(root) && !n.forwards(l) {
				continue
			}
			p.in[to.id], p.up[to.id] = true, l
			p.down[b.id] = append(p.down[b.id], l)
			todo = append(todo, to)
		}
	}
	return p
}

// lowest is the lowest bridge that has a way to b: the root of its spanning tree.
func (n *Network) lowest(b *node) int {
	if n.low == nil {
		n.low = make([]int, n.Bridges)
		for i := n.Bridges - 1; i >= 0; i-- { // the lowest has the last word
			n.spread(n.nodes[i])
		}
	}
	return n.low[b.id]
}

// spread makes a bridge the lowest of all that it reaches.
func (n *Network) spread(from *node) {
	seen := map[*node]bool{from: true}
	for todo := []*node{from}; len(todo) > 0; todo = todo[1:] {
		n.low[todo[0].id] = from.id
		for _, l := range todo[0].links {
			if to := l.far(todo[0]).node; l.up && l.inner && !seen[to] {
				seen[to] = true
				todo = append(todo, to)
			}
		}
	}
}

// forwards reports whether a link belongs to the spanning tree.
func (n *Network) forwards(l *link) bool {
	b := l.ends[0].node
	t := n.treeOf(n.nodes[n.lowest(b)], 0)
	return t.up[b.id] == l || t.up[l.far(b).node.id] == l
}

// blocked lists the ports of a bridge that the spanning tree does not need. Of the
// two ends of such a link only the higher bridge's is one: the other forwards,
// and declares what nobody takes.
func (n *Network) blocked(b *node) (out []tsn.Port) {
	for i, l := range b.links {
		if l.inner && l.up && !n.forwards(l) && l.far(b).node.id < b.id {
			out = append(out, tsn.Port(i+1))
		}
	}
	return out
}

// hop is a port by which a bridge sends, or would.
type hop struct {
	bridge *node
	port   tsn.Port
}

// hops lists the ports between a talker's bridge and a listener; nil if there is no way.
func (p *path) hops(root *node, listener *node) (out []hop) {
	last := listener.links[0]
	b := last.far(listener)
	if !p.in[b.node.id] || !last.up {
		return nil
	}
	out = append(out, hop{b.node, b.port})
	for x := b.node; x != root; {
		e := p.up[x.id].far(x)
		out = append(out, hop{e.node, e.port})
		x = e.node
	}
	return out
}

// tree is what a bridge is told of a talker's tree; ok is false if it has no way to it.
func (n *Network) tree(b *node, k srp.TreeKey) (t srp.Tree, ok bool) {
	t.TreeKey = k
	talker := n.stationOf(k.Talker)
	if talker == nil {
		return t, false
	}
	at := talker.links[0].far(talker)
	p := n.treeOf(at.node, k.VID)
	if !p.in[b.id] {
		return t, false
	}
	if t.Ingress = []tsn.Port{at.port}; b != at.node {
		t.Ingress = []tsn.Port{p.up[b.id].near(b).port}
	}
	t.Egress = p.egress(b, talker)
	return t, true
}

// egress lists the ports by which a talker's streams leave a bridge, ascending.
func (p *path) egress(b *node, talker *node) (out []tsn.Port) {
	for _, l := range p.down[b.id] {
		out = append(out, l.near(b).port)
	}
	for i, l := range b.links {
		if !l.inner && l.far(b).node != talker {
			out = append(out, tsn.Port(i+1))
		}
	}
	slices.Sort(out)
	return out
}

// changed: the topology is another one, of which each bridge hears some time later.
func (n *Network) changed() {
	n.paths, n.low = nil, nil
	for _, b := range n.bridges() {
		n.tell(b)
	}
}

// tell gives a bridge the trees it wants, or its blocked ports, in a while.
func (n *Network) tell(b *node) {
	if b.telling {
		return
	}
	b.telling = true
	n.after(ms+n.rand.Int64N(50*ms), func() {
		b.telling = false
		if !n.Trees {
			n.step(b, srp.SetBlocked{Ports: n.blocked(b)})
			return
		}
		var set srp.SetTrees
		for _, k := range b.wanted {
			if t, ok := n.tree(b, k); ok {
				set.Trees = append(set.Trees, t)
			}
		}
		n.step(b, set)
	})
}

func (n *Network) stationOf(m tsn.MAC) *node {
	i := n.Bridges + int(m[4])<<8 + int(m[5])
	if i >= len(n.nodes) || n.nodes[i].mac != m {
		return nil
	}
	return n.nodes[i]
}
