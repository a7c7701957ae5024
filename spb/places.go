package spb

import (
	"slices"

	tsn "tsnswitch"
)

// position is where this bridge is in the tree of a root.
type position struct {
	parent tsn.Port // towards the root; NoPort at the root itself
	dist   distance
	source uint32 // SPSourceID of the root, which its group addresses contain
	// children are the ports towards the bridges below, ascending; only for
	// roots whose trees carry groups.
	children []tsn.Port
}

// claim is a station in a VLAN.
type claim struct {
	vid tsn.VID
	mac tsn.MAC
}

// newGraph compares the graph of an SPF run with the one before, and takes
// down what does not stand in it.
func (i *Instance) newGraph() {
	a, t := &i.agree, &i.top
	d := t.digest()
	changed := d != a.digest || !t.published
	a.digest = d
	if changed {
		if !a.pending {
			a.since, a.told = i.now, false
		}
		a.pending = true
	}
	if !t.published {
		i.adopt()
		return
	}
	if !a.pending { // same graph: groups may have come and gone
		i.placeAll()
		return
	}
	i.keepPlaces()
}

// keepPlaces leaves only what stands in the graph of now.
func (i *Instance) keepPlaces() {
	a, t := &i.agree, &i.top
	for _, alg := range i.algorithms {
		roots := i.groupRoots(alg)
		for mac, old := range a.standing[alg] {
			k := t.findNode(mac)
			now, ok := i.placeOf(alg, k)
			switch {
			case !ok:
				delete(a.standing[alg], mac)
			case now.parent != old.parent || now.dist != old.dist:
				delete(a.standing[alg], mac)
				a.flooding = false // its broadcast would travel by two trees
			case slices.Contains(roots, k) && now.source == old.source:
				children := i.childrenOf(alg, k)
				old.children = only(slices.Clone(old.children), children)
				a.standing[alg][mac] = old
			default:
				old.children, old.source = nil, now.source
				a.standing[alg][mac] = old
			}
		}
	}
	owners := i.ownersNow()
	for c, system := range a.owners {
		if owners[c] != system {
			delete(a.owners, c)
		}
	}
	a.floodPorts = only(a.floodPorts, i.checkedPorts())
	a.openPorts = only(a.openPorts, i.linkPorts())
}

// placeAll lets the places of now stand.
func (i *Instance) placeAll() {
	a, t := &i.agree, &i.top
	for _, alg := range i.algorithms {
		roots := i.groupRoots(alg)
		all := make(map[tsn.MAC]position, len(t.nodes))
		for k := range t.nodes {
			p, ok := i.placeOf(alg, int32(k))
			if !ok {
				continue
			}
			if slices.Contains(roots, int32(k)) {
				p.children = i.childrenOf(alg, int32(k))
			}
			all[t.nodes[k].system] = p
		}
		a.standing[alg] = all
	}
	a.flooding, a.floodPorts, a.openPorts, a.owners = true, i.checkedPorts(), i.linkPorts(), i.ownersNow()
}

// ownersNow is who owns each station in the graph of now.
func (i *Instance) ownersNow() map[claim]tsn.MAC {
	out := map[claim]tsn.MAC{}
	for _, b := range i.cfg.BaseVIDs {
		for _, o := range i.top.owned[b.VID] {
			out[claim{b.VID, o.mac}] = i.top.nodes[o.node].system
		}
	}
	return out
}

// owns reports whether it stands that a station belongs to a node.
func (a *agreement) owns(vid tsn.VID, station, system tsn.MAC) bool {
	return a.owners[claim{vid, station}] == system
}

// only leaves those of ports that are among the others.
func only(ports, others []tsn.Port) []tsn.Port {
	return slices.DeleteFunc(ports, func(p tsn.Port) bool { return !slices.Contains(others, p) })
}

// linkPorts are the ports of the links that this bridge has in the graph.
func (i *Instance) linkPorts() []tsn.Port {
	t := &i.top
	var out []tsn.Port
	if self := t.findNode(i.cfg.SystemID); self >= 0 {
		for _, e := range t.graph.edges[t.graph.first[self]:t.graph.first[self+1]] {
			out = append(out, e.port)
		}
	}
	return out
}

// checkedPorts are the ports of the links that this bridge has in the graph,
// towards bridges that check what they take. One that cannot would take a
// broadcast from every side.
func (i *Instance) checkedPorts() []tsn.Port {
	t := &i.top
	self := t.findNode(i.cfg.SystemID)
	if self < 0 {
		return nil
	}
	var out []tsn.Port
	for _, e := range t.graph.edges[t.graph.first[self]:t.graph.first[self+1]] {
		if !t.nodes[e.to].bare {
			out = append(out, e.port)
		}
	}
	return out
}

// adopt begins with the places that the kernel holds already, of an earlier
// life: what is as this graph wants it stands, all else is withdrawn.
func (i *Instance) adopt() {
	a := &i.agree
	a.owners = map[claim]tsn.MAC{}
	for _, alg := range i.algorithms {
		a.standing[alg] = map[tsn.MAC]position{}
	}
	if i.cfg.Adopted == nil {
		return
	}
	i.placeAll()
	kernel := i.cfg.Adopted
	has := map[tsn.FDBEntry]bool{}
	for _, e := range kernel.FDB {
		e.Sticky = false
		has[e] = true
	}
	for _, b := range i.cfg.BaseVIDs {
		for mac, p := range a.standing[b.Algorithm] {
			if p.parent != tsn.NoPort && !has[tsn.FDBEntry{MAC: mac, VID: b.VID, Port: p.parent}] {
				delete(a.standing[b.Algorithm], mac)
				a.flooding = false
			}
		}
	}
	for c, system := range a.owners {
		if port := i.portTowards(c, system); port != tsn.NoPort && !has[tsn.FDBEntry{MAC: c.mac, VID: c.vid, Port: port}] {
			delete(a.owners, c)
		}
	}
	for _, p := range kernel.Ports {
		if len(p.VLANs) == 0 {
			a.openPorts = slices.DeleteFunc(a.openPorts, func(q tsn.Port) bool { return q == p.Port })
		}
		if !p.BcastFlood && slices.Contains(a.floodPorts, p.Port) {
			if !slices.Contains(i.unlocked, p.Port) { // which never floods
				a.flooding = false // the earlier life was waiting for agreement
			}
			a.floodPorts = slices.DeleteFunc(a.floodPorts, func(q tsn.Port) bool { return q == p.Port })
		}
	}
	i.adoptGroups(kernel)
}

// portTowards is the port by which this bridge reaches a station of a node.
func (i *Instance) portTowards(c claim, system tsn.MAC) tsn.Port {
	b, err := i.baseVID(c.vid)
	if err != nil {
		return tsn.NoPort
	}
	if system == i.cfg.SystemID {
		return i.stationPort(c.mac)
	}
	p, _ := i.placeOf(b.Algorithm, i.top.findNode(system))
	return p.parent
}

// placeOf is this bridge's place in the tree of node k now, without children.
func (i *Instance) placeOf(alg uint8, k int32) (position, bool) {
	tr := i.top.trees[alg]
	if k < 0 || tr == nil || tr.dist[k] == unreachable {
		return position{}, false
	}
	return position{parent: i.top.towards[alg][k], dist: tr.dist[k], source: i.top.nodes[k].source}, true
}

// stands reports whether the place for a root does.
func (a *agreement) stands(alg uint8, root tsn.MAC) bool {
	_, ok := a.standing[alg][root]
	return ok
}

// reachable tells whether frames to and from a root may pass: unicast follows
// the graph at once, unless the strict mode is on; a new root must wait while
// its broadcast would be flooded.
func (i *Instance) reachable(alg uint8, root tsn.MAC) bool {
	return i.agree.stands(alg, root) || (!i.strict() && !i.agree.flooding)
}
