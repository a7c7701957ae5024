package spb

import (
	"cmp"
	"slices"

	tsn "tsnswitch"
)

// StreamRoot names a stream whose frames follow the tree of its talker.
type StreamRoot struct {
	VID    tsn.VID
	Talker tsn.MAC // an end station, or a bridge
}

// SetStreamRoots tells, all of them, which talkers' trees carry streams.
type SetStreamRoots struct{ Roots []StreamRoot }

// StreamTree says where frames of a talker may leave this bridge now: fabric
// ports towards bridges below it in the tree, as far as that place stands.
// Edge ports are not in it: they lead out of every tree.
type StreamTree struct {
	StreamRoot
	Stands bool
	Ports  []tsn.Port // ascending
}

func compareStreamRoot(a, b StreamRoot) int {
	return cmp.Or(cmp.Compare(a.VID, b.VID), compareMAC(a.Talker, b.Talker))
}

func (i *Instance) setStreamRoots(roots []StreamRoot) {
	roots = slices.Clone(roots)
	slices.SortFunc(roots, compareStreamRoot)
	if roots = slices.Compact(roots); slices.Equal(roots, i.streamRoots) {
		return
	}
	i.streamRoots, i.top.dirty = roots, true
}

// groupRoots are the nodes whose trees carry groups under an algorithm, ascending.
func (i *Instance) groupRoots(alg uint8) []int32 { return i.top.roots[alg] }

// findGroupRoots lists them after an SPF run: bridges that transmit to a
// service, and bridges of stream talkers.
func (i *Instance) findGroupRoots() {
	t := &i.top
	t.roots = [17][]int32{}
	for _, b := range i.cfg.BaseVIDs {
		for k := range t.nodes {
			n := &t.nodes[k]
			if n.source != 0 && slices.ContainsFunc(n.services, func(s nodeService) bool { return s.transmit && s.vid == b.VID }) {
				t.roots[b.Algorithm] = append(t.roots[b.Algorithm], int32(k))
			}
		}
		for _, r := range i.streamRoots {
			if r.VID != b.VID {
				continue
			}
			if p, err := i.locate(r.VID, r.Talker); err == nil {
				t.roots[b.Algorithm] = append(t.roots[b.Algorithm], p.node)
			}
		}
	}
	for alg := range t.roots {
		slices.Sort(t.roots[alg])
		t.roots[alg] = slices.Compact(t.roots[alg])
		if len(t.roots[alg]) > 0 {
			t.groves[alg] = t.forest(t.roots[alg], uint8(alg), i.cfg.Parallel)
		}
	}
}

// childrenOf are the ports of this bridge towards the bridges below it in the
// tree of a group root, ascending.
func (i *Instance) childrenOf(alg uint8, root int32) []tsn.Port {
	t := &i.top
	self := t.findNode(i.cfg.SystemID)
	if self < 0 {
		return nil
	}
	if c := t.groves[alg].at(root, self).child; c != nil {
		return c
	}
	return []tsn.Port{}
}

// portsTowards are the children that lead to any of the receivers.
func (i *Instance) portsTowards(alg uint8, root int32, receivers []int32) []tsn.Port {
	self := i.top.findNode(i.cfg.SystemID)
	var out []tsn.Port
	for _, r := range receivers {
		if p := i.top.groves[alg].behind(root, self, r); p != tsn.NoPort && !slices.Contains(out, p) {
			out = append(out, p)
		}
	}
	slices.Sort(out)
	return out
}

// groups are the group entries of all services. One that does not stand keeps
// only the bridge itself (NoPort): a group without an entry would be flooded.
func (i *Instance) groups() []tsn.MDBEntry {
	t := &i.top
	self := t.findNode(i.cfg.SystemID)
	if self < 0 {
		return nil
	}
	var out, gone []tsn.MDBEntry // gone: of sources out of reach
	for _, b := range i.cfg.BaseVIDs {
		for _, root := range i.groupRoots(b.Algorithm) {
			n := &t.nodes[root]
			for _, s := range n.services {
				if s.vid != b.VID || !s.transmit || n.source == 0 {
					continue
				}
				if ports, on := i.groupPorts(b, root, s.isid); on || root == self {
					e := tsn.MDBEntry{Group: GroupAddress(n.source, s.isid), VID: b.VID, Ports: ports}
					if t.connected[root] {
						out = append(out, e)
					} else {
						gone = append(gone, e)
					}
				}
			}
		}
	}
	slices.SortFunc(out, compareGroupEntry)
	// Two sources with one SPSourceID: nobody can tell their frames apart, so
	// neither's are forwarded until one has another number.
	for k := 1; k < len(out); k++ {
		if compareGroupEntry(out[k-1], out[k]) == 0 {
			out[k-1].Ports, out[k].Ports = []tsn.Port{tsn.NoPort}, []tsn.Port{tsn.NoPort}
		}
	}
	// What a source out of reach says of itself may be old: it takes nothing from
	// one that is here. Of two entries for a group the first stays.
	out = append(out, gone...)
	slices.SortStableFunc(out, compareGroupEntry)
	return slices.CompactFunc(out, func(a, b tsn.MDBEntry) bool { return compareGroupEntry(a, b) == 0 })
}

func compareGroupEntry(a, b tsn.MDBEntry) int {
	return cmp.Or(cmp.Compare(a.VID, b.VID), compareMAC(a.Group, b.Group))
}

// groupPorts is where frames of {root, I-SID} leave this bridge. on: it is
// between the source and a receiver, or a receiver itself.
func (i *Instance) groupPorts(b BaseVID, root int32, isid uint32) (ports []tsn.Port, on bool) {
	t := &i.top
	self := t.findNode(i.cfg.SystemID)
	var receivers []int32
	local := false
	for k := range t.nodes {
		if int32(k) == root {
			continue
		}
		for _, s := range t.nodes[k].services {
			if s.isid == isid && s.vid == b.VID && s.receive {
				local = local || int32(k) == self
				receivers = append(receivers, int32(k))
				break
			}
		}
	}
	downstream := i.portsTowards(b.Algorithm, root, receivers)
	at, stands := i.agree.standing[b.Algorithm][t.nodes[root].system]
	if stands {
		for _, p := range downstream {
			if slices.Contains(at.children, p) && !i.closed(p) {
				ports = append(ports, p)
			}
		}
		if local {
			ports = append(ports, i.deliverTo(b.VID, isid)...)
		}
	}
	if len(ports) == 0 {
		ports = []tsn.Port{tsn.NoPort}
	}
	slices.Sort(ports)
	return slices.Compact(ports), local || len(downstream) > 0
}

// deliverTo are the ports on which a service is delivered here.
func (i *Instance) deliverTo(vid tsn.VID, isid uint32) []tsn.Port {
	for _, s := range i.services {
		if s.ISID == isid && s.VID == vid && s.Receive && len(s.Ports) > 0 {
			return s.Ports
		}
	}
	return []tsn.Port{tsn.NoPort}
}

// streamTrees answers all stream roots.
func (i *Instance) streamTrees() []StreamTree {
	var out []StreamTree
	for _, r := range i.streamRoots {
		st := StreamTree{StreamRoot: r}
		if b, err := i.baseVID(r.VID); err == nil {
			if p, err := i.locate(r.VID, r.Talker); err == nil {
				system := i.top.nodes[p.node].system
				pl := i.agree.standing[b.Algorithm][system]
				if pl.children != nil && (!p.station || i.agree.owns(r.VID, r.Talker, system)) {
					st.Stands, st.Ports = true, slices.DeleteFunc(slices.Clone(pl.children), i.closed)
				}
			}
		}
		out = append(out, st)
	}
	return out
}

// adoptGroups lets the children stand only where the kernel's group entries
// are the ones of now.
func (i *Instance) adoptGroups(kernel *tsn.BridgeState) {
	have := map[rootGroup][]tsn.Port{}
	for _, e := range kernel.MDB {
		have[rootGroup{e.VID, e.Group}] = e.Ports
	}
	for _, e := range i.groups() {
		old, known := have[rootGroup{e.VID, e.Group}]
		if known && slices.Equal(old, e.Ports) {
			continue
		}
		for _, b := range i.cfg.BaseVIDs {
			if b.VID == e.VID {
				i.forgetChildren(b, e.Group, old)
			}
		}
	}
}

type rootGroup struct {
	vid   tsn.VID
	group tsn.MAC
}

// forgetChildren keeps of a source's children only ports that the kernel has.
func (i *Instance) forgetChildren(b BaseVID, group tsn.MAC, old []tsn.Port) {
	for _, root := range i.groupRoots(b.Algorithm) {
		n := &i.top.nodes[root]
		if GroupAddress(n.source, 0) != GroupAddress(groupSource(group), 0) {
			continue
		}
		if p, ok := i.agree.standing[b.Algorithm][n.system]; ok {
			p.children = slices.DeleteFunc(slices.Clone(p.children), func(c tsn.Port) bool { return !slices.Contains(old, c) })
			i.agree.standing[b.Algorithm][n.system] = p
		}
	}
}

// groupSource is the SPSourceID in a group address.
func groupSource(m tsn.MAC) uint32 { return uint32(m[0]>>4)<<16 | uint32(m[1])<<8 | uint32(m[2]) }
