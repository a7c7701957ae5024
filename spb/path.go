package spb

import (
	"fmt"
	"slices"

	tsn "tsnswitch"
)

// Resolve turns a MAC address, a host name or an end station's name into an
// address. A name that two systems use is an error.
func (i *Instance) Resolve(name string) (tsn.MAC, error) {
	if m, err := tsn.ParseMAC(name); err == nil {
		return m, nil
	}
	var found []tsn.MAC
	for _, n := range i.top.nodes {
		if n.hostName == name {
			found = append(found, n.system)
		}
		for _, s := range n.records {
			if s.Name == name && !slices.Contains(found, s.MAC) {
				found = append(found, s.MAC)
			}
		}
	}
	switch len(found) {
	case 0:
		return tsn.MAC{}, fmt.Errorf("no bridge or end station is called %q: see the list of nodes and stations, or use an address", name)
	case 1:
		return found[0], nil
	}
	return tsn.MAC{}, fmt.Errorf("%d systems are called %q (%v): use an address", len(found), name, found)
}

// place is where an address is: at a bridge, and if it is a station's, behind
// a port of it.
type place struct {
	node    int32
	station bool
	port    tsn.Port
}

func (i *Instance) locate(vid tsn.VID, m tsn.MAC) (place, error) {
	t := &i.top
	if k := t.findNode(m); k >= 0 {
		return place{node: k}, nil
	}
	owners := t.owned[vid]
	at, ok := slices.BinarySearchFunc(owners, m, func(o owner, m tsn.MAC) int { return compareMAC(o.mac, m) })
	if !ok {
		return place{}, fmt.Errorf("%s is neither a bridge nor an end station advertised in VLAN %d", m, vid)
	}
	p := place{node: owners[at].node, station: true}
	for _, s := range t.nodes[p.node].records {
		if s.MAC == m {
			p.port = s.Port
		}
	}
	if p.port == tsn.NoPort {
		return p, fmt.Errorf("bridge %s advertises %s but not the port it is on", t.name(p.node), m)
	}
	return p, nil
}

func (t *topology) name(k int32) string {
	if n := t.nodes[k]; n.hostName != "" {
		return n.hostName + " (" + n.system.String() + ")"
	}
	return t.nodes[k].system.String()
}

func (i *Instance) baseVID(vid tsn.VID) (BaseVID, error) {
	for _, b := range i.cfg.BaseVIDs {
		if b.VID == vid {
			return b, nil
		}
	}
	return BaseVID{}, fmt.Errorf("VLAN %d is not a base VID of this fabric", vid)
}

// Path lists the egress hops of a frame in a Base VID from a bridge or end
// station to another. It starts at the bridge of from (the sending station's
// own port is the caller's business) and ends, if to is a station, with the
// edge port towards it. The error says what is missing.
func (i *Instance) Path(vid tsn.VID, from, to tsn.MAC) ([]tsn.Hop, error) {
	fail := func(err error) ([]tsn.Hop, error) {
		return nil, fmt.Errorf("path from %s to %s: %w", from, to, err)
	}
	b, err := i.baseVID(vid)
	if err != nil {
		return fail(err)
	}
	if from == to {
		return fail(fmt.Errorf("both ends are the same"))
	}
	src, err := i.locate(vid, from)
	if err != nil {
		return fail(err)
	}
	dst, err := i.locate(vid, to)
	if err != nil {
		return fail(err)
	}
	t := &i.top
	tr := t.graph.tree(t.graph.shortest(src.node), b.Algorithm)
	if tr.dist[dst.node] == unreachable {
		return fail(fmt.Errorf("no path between bridges %s and %s: check adjacencies and link metrics", t.name(src.node), t.name(dst.node)))
	}
	var hops []tsn.Hop
	if dst.station {
		hops = append(hops, tsn.Hop{System: t.nodes[dst.node].system, Port: dst.port})
	}
	for v := dst.node; tr.parent[v] >= 0; v = tr.parent[v] {
		hops = append(hops, tsn.Hop{System: t.nodes[tr.parent[v]].system, Port: t.graph.edges[tr.link[v]].port})
	}
	slices.Reverse(hops)
	return hops, nil
}

// TreeNode is one bridge in a shortest path tree.
type TreeNode struct {
	SystemID   tsn.MAC    `json:"systemId"`
	Parent     tsn.MAC    `json:"parent"`     // zero at the root
	ParentPort tsn.Port   `json:"parentPort"` // of this bridge, towards the root
	Ports      []tsn.Port `json:"ports"`      // of this bridge, towards its children
	Cost       uint64     `json:"cost"`
	Hops       int        `json:"hops"`
}

// Tree is the shortest path tree of a Base VID rooted at a bridge, or at the
// bridge of an end station, by system id. Bridges out of reach are not in it.
func (i *Instance) Tree(vid tsn.VID, root tsn.MAC) ([]TreeNode, error) {
	b, err := i.baseVID(vid)
	if err != nil {
		return nil, fmt.Errorf("tree of %s: %w", root, err)
	}
	return i.TreeUnder(vid, root, b.Algorithm)
}

// TreeUnder is Tree with another ECT algorithm than that of the Base VID.
func (i *Instance) TreeUnder(vid tsn.VID, root tsn.MAC, algorithm uint8) ([]TreeNode, error) {
	p, err := i.locate(vid, root)
	if err == nil && algorithm > 16 {
		err = fmt.Errorf("ECT algorithm %d is outside 1..16", algorithm)
	}
	if err != nil {
		return nil, fmt.Errorf("tree of %s: %w", root, err)
	}
	t := &i.top
	tr := t.graph.tree(t.graph.shortest(p.node), algorithm)
	children := make([][]tsn.Port, len(t.nodes))
	var out []TreeNode
	for _, v := range tr.settled {
		if u := tr.parent[v]; u >= 0 {
			children[u] = append(children[u], t.graph.edges[tr.link[v]].port)
		}
	}
	reached := slices.Clone(tr.settled)
	slices.Sort(reached)
	for _, v := range reached {
		n := TreeNode{SystemID: t.nodes[v].system, Ports: append([]tsn.Port{}, children[v]...), Cost: tr.dist[v].cost(), Hops: tr.dist[v].hops()}
		slices.Sort(n.Ports)
		if u := tr.parent[v]; u >= 0 {
			n.Parent, n.ParentPort = t.nodes[u].system, t.graph.edges[tr.link[v]].farPort
		}
		out = append(out, n)
	}
	return out, nil
}
