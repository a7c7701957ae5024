package srp

import (
	"tsnswitch"
	"tsnswitch/srp/mrp"
)

// SetRegistrations is an event: what the configuration, MVRP and MMRP say of the
// VLANs and groups of all ports. Talker pruning looks at it, and failure codes
// 11, 17 and 18.
type SetRegistrations struct {
	// Members are the VLANs of each port, by configuration or MVRP; nil: nobody
	// knows. Streams in one that leaves untagged, and so without priority, fail with
	// code 18, those for a listener on a port that is not in theirs with code 17.
	Members []PortMembers
	// Registered are the VLANs that MVRP has registered, which is all that is known
	// if Members is nil.
	Registered []PortVLANs
	// Forbidden are VLANs whose registration is forbidden (802.1Q 10.7.2): streams
	// in them fail with code 17.
	Forbidden []PortVLANs
	Groups    RegisteredGroups
	// GroupsFull: MMRP has had no room for some groups. With talker pruning streams
	// to a group that is not registered then fail with code 11 instead of being pruned.
	GroupsFull bool
}

// group is a group address at a port, by index. The VLAN does not matter: stations
// register in that of their untagged frames what they hear in another.
type group struct {
	port    int
	address tsn.MAC // zero: all of them
}

// registrations is SetRegistrations by what is asked of it.
type registrations struct {
	members, untagged, forbidden map[portVLAN]bool
	groups                       map[group]bool
	full, known                  bool
}

type portVLAN struct {
	port int
	vid  tsn.VID
}

func (b *bridge) setRegistrations(ev SetRegistrations) {
	r := registrations{map[portVLAN]bool{}, map[portVLAN]bool{}, map[portVLAN]bool{}, map[group]bool{}, ev.GroupsFull, ev.Members != nil}
	for _, p := range ev.Members {
		for _, v := range p.VLANs {
			at := portVLAN{b.index(p.Port), v.VID}
			r.members[at], r.untagged[at] = true, v.Untagged
		}
	}
	for _, p := range ev.Registered {
		for _, v := range p.VIDs {
			r.members[portVLAN{b.index(p.Port), v}] = true
		}
	}
	for _, p := range ev.Forbidden {
		for _, v := range p.VIDs {
			r.forbidden[portVLAN{b.index(p.Port), v}] = true
		}
	}
	for _, g := range ev.Groups.Groups {
		for _, n := range g.Ports {
			r.groups[group{b.index(n), g.Group}] = true
		}
	}
	for _, q := range ev.Groups.Requirements {
		if q.AllGroups {
			r.groups[group{port: b.index(q.Port)}] = true
		}
	}
	b.registered = r
	b.touchAll()
}

// outside reports whether a listener is on a port that is not in the stream's
// VLAN. One who has not answered yet may register it before.
func (b *bridge) outside(t *talkerAt, q int) bool {
	s := b.streams[t.StreamID]
	return b.registered.known && s != nil && s.out[q].asked() != mrp.ListenerIgnore && !b.registered.members[portVLAN{q, t.VID}]
}

// pruned reports whether a talker is not declared on a port because nobody there
// has asked for its VLAN or its destination (802.1Q 35.2.4.3.1). A proxied
// listener has asked.
func (b *bridge) pruned(t *talkerAt, q int) bool {
	if s := b.streams[t.StreamID]; s != nil && s.out[q].proxy != nil {
		return false
	}
	if b.cfg.TalkerVLANPruning && !b.Instance.ports[q].NoPruning && !b.registered.members[portVLAN{q, t.VID}] {
		return true
	}
	return b.prunes(q) && !b.registered.full && !b.groupRegistered(t, q)
}

func (b *bridge) prunes(q int) bool { return b.cfg.TalkerPruning && !b.Instance.ports[q].NoPruning }

// lostGroup reports whether the group may be one that MMRP had no room for.
func (b *bridge) lostGroup(t *talkerAt, q int) bool {
	return b.prunes(q) && b.registered.full && !b.groupRegistered(t, q)
}

func (b *bridge) groupRegistered(t *talkerAt, q int) bool {
	return b.registered.groups[group{q, t.DestinationAddress}] || b.registered.groups[group{port: q}]
}
