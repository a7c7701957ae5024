package node

import (
	"encoding/binary"
	"slices"

	"tsnswitch"
	"tsnswitch/spb"
	"tsnswitch/srp"
)

// MVRP and MMRP, between themselves and with the rest of the switch:
//
//	srp.RegisteredVLANs ─> spb.SetEdgeVLANs ─> spb.Forwarding: ports' VLANs
//	        VLANs of ports ─> srp.SetMembers: in which VLANs MMRP runs
//	srp.RegisteredGroups ─> group entries; with the VLANs ─> srp.SetRegistrations
//
// A group that is registered at an edge port goes, of the edge ports, only to
// those where it is, and over the fabric where broadcast goes. In a VLAN where
// nobody registers it, it is flooded as ever.

// registrar is what Control remembers for that.
type registrar struct {
	vlans      srp.RegisteredVLANs
	groups     srp.RegisteredGroups
	members    []srp.PortMembers
	once       []tsn.VID // all that were ever registered, ascending: entries in them are ours
	moved      bool      // since the others were told
	vlansMoved bool
}

// The EtherTypes of MVRP and MMRP (802.1Q table 10-2), and their groups.
const (
	etherTypeMVRP = 0x88f5
	etherTypeMMRP = 0x88f6
	etherTypeTag  = 0x8100
)

// keptBack are the frames of the MRP applications that the switch takes part in.
func (c *Control) keptBack() (out []tsn.ControlFrames) {
	if c.takesMSRP {
		out = append(out, tsn.ControlFrames{Group: tsn.MAC{0x01, 0x80, 0xc2, 0, 0, 0x0e}, EtherType: etherTypeMSRP})
	}
	if c.MMRP != nil {
		out = append(out, tsn.ControlFrames{Group: tsn.MAC{0x01, 0x80, 0xc2, 0, 0, 0x20}})
	}
	if c.MVRP != nil {
		out = append(out, tsn.ControlFrames{Group: tsn.MAC{0x01, 0x80, 0xc2, 0, 0, 0x21}})
	}
	return out
}

// newRegistrar makes MVRP and MMRP if they are configured.
func (c *Control) newRegistrar(cfg Config) (err error) {
	if m := cfg.MVRP; m != nil {
		if c.MVRP, err = srp.NewMVRP(*m); err != nil {
			return err
		}
		for _, p := range m.Ports {
			if len(p.Forbidden) > 0 {
				c.forbidden = append(c.forbidden, srp.PortVLANs{Port: p.Port, VIDs: p.Forbidden})
			}
		}
	}
	if m := cfg.MMRP; m != nil {
		c.MMRP, err = srp.NewMMRP(*m)
	}
	return err
}

// mrpType is the EtherType of a frame behind its tag, if it has one.
func mrpType(frame []byte) uint16 {
	if len(frame) < 18 {
		return 0
	}
	if t := binary.BigEndian.Uint16(frame[12:]); t != etherTypeTag {
		return t
	}
	return binary.BigEndian.Uint16(frame[16:])
}

// register gives an event to MVRP and MMRP.
func (c *Control) register(now tsn.Instant, ev tsn.Event) (changed bool) {
	if c.MVRP != nil {
		changed = c.take(c.MVRP.Step(now, ev))
	}
	if c.MMRP != nil {
		changed = c.take(c.MMRP.Step(now, ev)) || changed
	}
	return changed
}

// settleRegistrations tells the cores of registrations and memberships until
// none of them has news. It ends: each is told of the next in this order, and
// nothing comes back.
func (c *Control) settleRegistrations(now tsn.Instant) (changed bool) {
	r := &c.registrar
	if c.MVRP == nil && c.MMRP == nil {
		return false
	}
	if r.vlansMoved {
		r.vlansMoved = false
		for _, p := range r.vlans.Ports {
			r.own(p.VIDs...)
		}
		if c.SPB != nil {
			changed = c.take(c.SPB.Step(now, spb.SetEdgeVLANs{Ports: edgeVLANs(r.vlans)}))
		}
	}
	if members := c.memberships(); !slices.EqualFunc(members, r.members, sameMembers) {
		r.members, r.moved = members, true
		if c.MMRP != nil {
			changed = c.take(c.MMRP.Step(now, srp.SetMembers{Ports: members})) || changed
		}
	}
	if r.moved {
		r.moved = false
		for _, g := range r.groups.Groups {
			r.own(g.VID)
		}
		changed = c.take(c.SRP.Step(now, c.registrations())) || changed
	}
	return changed
}

func edgeVLANs(r srp.RegisteredVLANs) (out []spb.EdgeVLANs) {
	for _, p := range r.Ports {
		out = append(out, spb.EdgeVLANs{Port: p.Port, VIDs: p.VIDs})
	}
	return out
}

// mayRegister reports whether a station behind a port that forwards can still
// register a VLAN, so that streams in it are offered to it.
func (c *Control) mayRegister(p tsn.Port, vid tsn.VID) bool {
	if c.MVRP == nil || c.bridge == nil || !c.MVRP.Registrable(p, vid) {
		return false
	}
	return slices.ContainsFunc(c.bridge.Ports, func(b tsn.BridgePort) bool { return b.Port == p && len(b.VLANs) > 0 })
}

func sameMembers(a, b srp.PortMembers) bool {
	return a.Port == b.Port && slices.Equal(a.VLANs, b.VLANs)
}

// memberships are the VLANs of all ports: under SPB as it wants them; without,
// the registered ones beside the VLAN of untagged frames, which MMRP calls 1.
func (c *Control) memberships() (out []srp.PortMembers) {
	if c.SPB != nil {
		if c.bridge == nil {
			return nil
		}
		for _, p := range c.bridge.Ports {
			out = append(out, srp.PortMembers{Port: p.Port, VLANs: p.VLANs})
		}
		return out
	}
	for _, p := range c.ports {
		m := srp.PortMembers{Port: p, VLANs: []tsn.PortVLAN{{VID: 1, PVID: true, Untagged: true}}}
		for _, v := range c.registrar.vidsOf(p) {
			if v != 1 {
				m.VLANs = append(m.VLANs, tsn.PortVLAN{VID: v})
			}
		}
		out = append(out, m)
	}
	return out
}

// own takes note of VLANs in which there may be entries of registrations.
func (r *registrar) own(vids ...tsn.VID) {
	r.once = append(r.once, vids...)
	slices.Sort(r.once)
	r.once = slices.Compact(r.once)
}

func (r *registrar) vidsOf(p tsn.Port) []tsn.VID {
	for _, v := range r.vlans.Ports {
		if v.Port == p {
			return v.VIDs
		}
	}
	return nil
}

// registrations is what MSRP is told. Without SPB the VLANs of ports are the
// kernel's, and known are those that MVRP has registered.
func (c *Control) registrations() srp.SetRegistrations {
	out := srp.SetRegistrations{Registered: c.registrar.vlans.Ports, Groups: c.registrar.groups, GroupsFull: c.registrar.groups.Full, Forbidden: c.forbidden}
	if c.SPB != nil {
		out.Members = c.registrar.members
	}
	return out
}

// registeredGroups adds to the group entries what MMRP has registered. Other
// owners keep their keys: a stream goes to its listeners, whoever else asks.
func (c *Control) registeredGroups(entries []tsn.MDBEntry) []tsn.MDBEntry {
	for _, g := range c.registrar.groups.Groups {
		taken := slices.ContainsFunc(entries, func(e tsn.MDBEntry) bool { return e.Group == g.Group && e.VID == g.VID })
		if taken || unstorable(g.Group) || !g.Group.IsGroup() {
			continue
		}
		ports := append(slices.Clone(g.Ports), c.alsoWanted(g.VID)...)
		slices.Sort(ports)
		entries = append(entries, tsn.MDBEntry{Group: g.Group, VID: g.VID, Ports: slices.Compact(ports)})
	}
	return entries
}

// alsoWanted are the ports that get every group of a VLAN: those that have asked
// for it, and those between bridges that flood.
func (c *Control) alsoWanted(vid tsn.VID) (out []tsn.Port) {
	for _, q := range c.registrar.groups.Requirements {
		if q.VID == vid && q.AllGroups {
			out = append(out, q.Port)
		}
	}
	if c.bridge == nil {
		return out
	}
	for _, p := range c.bridge.Ports {
		in := slices.ContainsFunc(p.VLANs, func(v tsn.PortVLAN) bool { return v.VID == vid })
		if _, bare := slices.BinarySearch(c.unlocked, p.Port); in && !bare && p.Role == tsn.RoleFabric && p.McastFlood {
			out = append(out, p.Port)
		}
	}
	return out
}

// unstorable tells groups for which the bridge can have no entry: it looks up
// those of IP by IP address, and some end here in any case.
func unstorable(m tsn.MAC) bool { return isIPGroup(m) || tsn.IsControlGroup(m) }

// ownedVIDs adds the VLANs that were registered here.
func (c *Control) ownedVIDs(vids []tsn.VID) []tsn.VID {
	out := slices.Concat(vids, c.registrar.once)
	slices.Sort(out)
	return slices.Compact(out)
}

// filtersUnregistered says of a port whether groups that nobody registered are
// kept from it (802.1Q 8.8.6): so it is configured, and it has not asked for them.
func (c *Control) filtersUnregistered(p tsn.Port) bool {
	return slices.Contains(c.filterUnregistered, p) &&
		!slices.ContainsFunc(c.registrar.groups.Requirements, func(q srp.Requirement) bool { return q.Port == p })
}
