package srp

import (
	"slices"

	"tsnswitch"
)

// SetRegistrations is an event: what MVRP, MMRP and the configuration say of the
// VLANs and groups of all ports. A port that is not among them has nothing registered.
type SetRegistrations struct{ Ports []PortRegistrations }

// PortRegistrations is what is registered on a port. Talker pruning looks at
// VLANs and groups, failure codes 11, 17 and 18 at the rest.
type PortRegistrations struct {
	Port  tsn.Port
	VLANs []tsn.VID // of which it is a member
	// Forbidden: its registration is forbidden (802.1Q 10.7.2), streams in it fail
	// with code 17. Untagged: it is a member whose frames lose their tag, and with
	// it their priority; they fail with code 18.
	Forbidden, Untagged []tsn.VID
	Groups              []Group
	AllGroups           []tsn.VID // in which somebody requires all groups (802.1Q 10.12.1.3)
	// GroupsFull: MMRP has had no room for some groups; with talker pruning, streams
	// to a group that is not registered fail with code 11 instead of being pruned.
	GroupsFull bool
}

// Group is a group address in a VLAN.
type Group struct {
	VID     tsn.VID
	Address tsn.MAC
}

func (b *bridge) setRegistrations(ev SetRegistrations) {
	for i := range b.ports {
		p := &b.ports[i]
		p.registered = PortRegistrations{}
		n := b.Instance.ports[i].Port
		if at := slices.IndexFunc(ev.Ports, func(r PortRegistrations) bool { return r.Port == n }); at >= 0 {
			p.registered = ev.Ports[at]
		}
		p.groups = map[Group]bool{}
		for _, g := range p.registered.Groups {
			p.groups[g] = true
		}
	}
	b.touchAll()
}

// pruned reports whether a talker is not declared on a port because nobody there
// has asked for its VLAN or its destination (802.1Q 35.2.4.3.1).
func (b *bridge) pruned(t *talkerAt, q int) bool {
	p := &b.ports[q]
	if b.cfg.TalkerVLANPruning && !slices.Contains(p.registered.VLANs, t.VID) {
		return true
	}
	return b.cfg.TalkerPruning && !b.groupRegistered(t, p) && !p.registered.GroupsFull
}

// unknownGroup reports whether the group may be one that MMRP had no room for.
func (b *bridge) unknownGroup(t *talkerAt, q int) bool {
	p := &b.ports[q]
	return b.cfg.TalkerPruning && p.registered.GroupsFull && !b.groupRegistered(t, p)
}

func (b *bridge) groupRegistered(t *talkerAt, p *bridgePort) bool {
	return p.groups[Group{t.VID, t.DestinationAddress}] || slices.Contains(p.registered.AllGroups, t.VID)
}
