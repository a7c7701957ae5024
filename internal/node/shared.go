package node

import (
	"slices"

	"tsnswitch"
)

// SharedBridge is an ordinary bridge, which others configure (tsn.BridgeState.Shared):
// MSRP and its like are all that this switch adds to it.
type SharedBridge struct {
	// VIDs (ascending) are VLANs of streams: all ports are in them, and their group
	// entries are ours.
	VIDs []tsn.VID
}

// sharedState is what comes on top of a shared bridge.
func (c *Control) sharedState(faults *[]tsn.Notice) *tsn.BridgeState {
	b := &tsn.BridgeState{Shared: true, OwnedVIDs: c.ownedVIDs(c.shared.VIDs), KeptBack: c.keptBack()}
	for _, p := range c.ports {
		var vlans []tsn.PortVLAN
		vids := slices.Sorted(slices.Values(append(c.registrar.vidsOf(p), c.shared.VIDs...)))
		for _, v := range slices.Compact(vids) {
			vlans = append(vlans, tsn.PortVLAN{VID: v})
		}
		b.Ports = append(b.Ports, tsn.BridgePort{Port: p, Role: tsn.RoleEdge, VLANs: vlans})
	}
	b.MDB = c.groups(nil, faults)
	for _, e := range b.MDB {
		b.OwnedVIDs = append(b.OwnedVIDs, e.VID)
	}
	slices.Sort(b.OwnedVIDs)
	b.OwnedVIDs = slices.Compact(b.OwnedVIDs)
	return b
}
