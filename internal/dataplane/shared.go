package dataplane

import (
	"cmp"
	"slices"

	tsn "tsnswitch"
)

// A shared bridge (tsn.BridgeState.Shared) is an ordinary one that others
// configure: what is not in the wanted state stays as it is.
//
//	                  read            │ wanted
//	settings          as they are     │ a bridge that is missing is made: VLANs if
//	                                  │ the kernel can filter them, PVID 1, no STP
//	port flags, FDB   as they are     │
//	VLANs of a port   not in Owned    │ those wanted: tagged, or as they are
//	group entries     not in Owned    │ those wanted
//
// A bridge without VLAN filtering has one table for all VLANs, VID 0: group
// entries of several VLANs for one address become one, and those that are there
// already are all ours.

// over is the target on top of what the kernel has.
func (t *Target) over(have State) *Target {
	if !t.Shared || have.Bridge == nil {
		return t
	}
	out := *t
	b := *t.Bridge
	out.Bridge = &b
	b.Settings, b.Self, b.FDB, b.Ports = have.Bridge.Settings, have.Bridge.Self, have.Bridge.FDB, slices.Clone(t.Bridge.Ports)
	aware := have.Bridge.Settings.VLANFiltering
	for i := range b.Ports {
		w, h := &b.Ports[i], have.Bridge.port(b.Ports[i].Port)
		w.Flags, w.VLANs = h.Flags, out.vlansOver(h.VLANs, w.VLANs, aware)
		if !h.Enslaved {
			w.Flags = newPortFlags
		}
	}
	if !aware {
		out.Owned = []tsn.VID{0}
		b.MDB = slices.Clone(t.Bridge.MDB)
		for i := range b.MDB {
			b.MDB[i].VID = 0
		}
		slices.SortFunc(b.MDB, compareGroup)
		b.MDB = slices.Compact(b.MDB)
	}
	return &out
}

// vlansOver is the VLANs that a port shall be in, ascending.
func (t *Target) vlansOver(have, want []tsn.PortVLAN, aware bool) []tsn.PortVLAN {
	if !aware {
		return have
	}
	in := func(list []tsn.PortVLAN, v tsn.PortVLAN) bool {
		return slices.ContainsFunc(list, func(o tsn.PortVLAN) bool { return o.VID == v.VID })
	}
	var out []tsn.PortVLAN
	for _, v := range have {
		if !slices.Contains(t.Owned, v.VID) || in(want, v) || v.PVID || v.Untagged {
			out = append(out, v)
		}
	}
	for _, v := range want {
		if !in(have, v) {
			out = append(out, v)
		}
	}
	slices.SortFunc(out, func(a, b tsn.PortVLAN) int { return cmp.Compare(a.VID, b.VID) })
	return out
}
