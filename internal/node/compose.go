package node

import (
	"cmp"
	"fmt"
	"slices"

	"tsnswitch"
	"tsnswitch/spb"
)

// Kinds of tsn.Notice that Control gives on top of its cores'.
const (
	// NoticeNoIngressCheck: a fabric port whose driver has no `locked`. The
	// reverse path check is what keeps flooded frames from looping, so without
	// it nothing is flooded over the port: broadcast ends at this bridge. While
	// the fabric converges a unicast frame may circle, too.
	NoticeNoIngressCheck = "no-ingress-check"
	// NoticeGroupEntry: a reserved group entry that belongs to somebody else.
	// The stream's frames go where the owner's entry says.
	NoticeGroupEntry = "group-entry-refused"
)

// compose emits the whole desired state, and what it could not compose as the
// cores want it if that is news.
func (c *Control) compose() {
	var faults []tsn.Notice
	var d tsn.DesiredState
	if c.bridge != nil {
		d.Bridge = c.bridgeState(&faults)
	}
	if c.shared != nil {
		d.Bridge = c.sharedState(&faults)
	}
	for _, f := range faults {
		if !slices.Contains(c.faults, f) {
			c.effects = append(c.effects, f)
		}
	}
	c.faults = faults
	var gates []GateChange
	for _, p := range c.ports {
		if slices.Contains(c.unshaped, p) {
			continue
		}
		e := tsn.PortEgress{Port: p, ClassMap: c.classMap}
		if g, ok := c.gates[p]; ok {
			e.Gates = g.List
			gates = append(gates, GateChange{Port: p, Generation: g.Generation})
		}
		for _, l := range c.classes {
			if l.Port == p {
				e.MaxSDU, e.Preemptible, e.Launch = l.MaxSDU, l.Preemptible, l.Launch
			}
		}
		for _, s := range c.reserved.Slopes {
			if s.Port == p {
				e.IdleSlope, e.MaxFrame = s.IdleSlope, s.MaxFrame
			}
		}
		d.Egress = append(d.Egress, e)
	}
	d.Filters, d.Priorities = c.filters, c.priorityRules()
	c.effects = append(c.effects, Desired{State: d, Forwarding: c.forward, Gates: gates})
}

func (c *Control) setUnlocked(ports []tsn.Port) (changed bool) {
	ports = slices.Sorted(slices.Values(ports))
	changed = !slices.Equal(ports, c.unlocked)
	c.unlocked = ports
	return changed
}

// bridgeState is what spb wants, with the reserved group entries, and without
// what the ports cannot do.
func (c *Control) bridgeState(faults *[]tsn.Notice) *tsn.BridgeState {
	b := *c.bridge
	b.SelfVLANs = c.self
	b.OwnedVIDs, b.KeptBack = c.ownedVIDs(b.OwnedVIDs), c.keptBack()
	b.Ports = slices.Clone(b.Ports)
	for i := range b.Ports {
		p := &b.Ports[i]
		p.McastFlood = p.McastFlood && !c.filtersUnregistered(p.Port)
		if _, bare := slices.BinarySearch(c.unlocked, p.Port); !bare {
			continue
		}
		if p.Role == tsn.RoleFabric {
			p.Flood, p.McastFlood, p.BcastFlood = false, false, false
		}
		if p.Locked {
			p.Locked = false
			*faults = append(*faults, tsn.Notice{
				Kind: NoticeNoIngressCheck, Port: p.Port, Detail: fmt.Sprintf("the %s port cannot be locked", p.Role),
			})
		}
	}
	b.MDB = c.groups(b.MDB, faults)
	return &b
}

// streamRoots are the talkers of the reserved groups.
func (c *Control) streamRoots() []spb.StreamRoot {
	var out []spb.StreamRoot
	for k, e := range c.reserved.MDB {
		out = append(out, spb.StreamRoot{VID: e.VID, Talker: c.reserved.Talkers[k]})
	}
	return out
}

// onTree leaves of a reserved entry the edge ports, and those fabric ports
// that lead away from the talker in the tree which stands now. While the
// fabric changes, a reservation still follows the old path; frames must not.
// Without the ingress check on fabric ports nothing tells the copies of the old
// and the new path apart: then the edge ports wait too. An entry that has
// nothing left keeps the bridge itself, since a group without an entry would be
// flooded.
func (c *Control) onTree(e tsn.MDBEntry, talker tsn.MAC) []tsn.Port {
	at := slices.IndexFunc(c.streams, func(s spb.StreamTree) bool { return s.VID == e.VID && s.Talker == talker })
	bare := c.shared == nil && len(c.unlocked) > 0 && (at < 0 || !c.streams[at].Stands)
	out := slices.DeleteFunc(slices.Clone(e.Ports), func(p tsn.Port) bool {
		if bare || c.shared != nil {
			return bare && p != tsn.NoPort
		}
		fabric := slices.ContainsFunc(c.bridge.Ports, func(b tsn.BridgePort) bool { return b.Port == p && b.Role == tsn.RoleFabric })
		return fabric && (at < 0 || !slices.Contains(c.streams[at].Ports, p))
	})
	if len(out) == 0 {
		return []tsn.Port{tsn.NoPort}
	}
	return out
}

// owns reports whether group entries in a VLAN are this switch's.
func (c *Control) owns(vid tsn.VID) bool {
	return slices.Contains(c.registrar.once, vid) || c.shared != nil && slices.Contains(c.shared.VIDs, vid) ||
		c.bridge != nil && slices.Contains(c.bridge.OwnedVIDs, vid)
}

// groups merges the reserved entries into those of spb. A key has one owner:
// spb keeps what it has.
func (c *Control) groups(entries []tsn.MDBEntry, faults *[]tsn.Notice) []tsn.MDBEntry {
	out := slices.Clone(entries)
	for k, e := range c.reserved.MDB {
		e.Ports = c.onTree(e, c.reserved.Talkers[k])
		why := ""
		switch {
		case slices.ContainsFunc(entries, func(x tsn.MDBEntry) bool { return x.Group == e.Group && x.VID == e.VID }):
			why = "belongs to the fabric"
		case unstorable(e.Group):
			why = "can have no entry: the kernel looks it up by IP address, or it is a control group"
		}
		if why != "" {
			*faults = append(*faults, tsn.Notice{Kind: NoticeGroupEntry, Detail: fmt.Sprintf("group %s in VLAN %d %s", e.Group, e.VID, why)})
			continue
		}
		out = append(out, e)
	}
	for _, e := range c.reserved.Idle {
		if c.owns(e.VID) && !unstorable(e.Group) && !slices.ContainsFunc(out, func(x tsn.MDBEntry) bool { return x.Group == e.Group && x.VID == e.VID }) {
			out = append(out, e)
		}
	}
	out = c.registeredGroups(out)
	slices.SortFunc(out, func(a, b tsn.MDBEntry) int {
		return cmp.Or(cmp.Compare(a.VID, b.VID), slices.Compare(a.Group[:], b.Group[:]))
	})
	return out
}
