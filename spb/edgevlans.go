package spb

import (
	"cmp"
	"slices"

	tsn "tsnswitch"
)

// SetEdgeVLANs is an event: the VLANs that edge ports are in beside those of
// their configuration, all of them, because stations have registered them there
// (MVRP). Stations behind the port are reachable in those of the fabric; the
// others stay within this bridge.
type SetEdgeVLANs struct{ Ports []EdgeVLANs }

// EdgeVLANs are the further VLANs of an edge port.
type EdgeVLANs struct {
	Port tsn.Port
	VIDs []tsn.VID // ascending
}

func (i *Instance) setEdgeVLANs(ev SetEdgeVLANs) {
	now := map[tsn.Port][]tsn.VID{}
	for _, p := range ev.Ports {
		at := slices.IndexFunc(i.cfg.Ports, func(c PortConfig) bool { return c.Port == p.Port && c.Role == tsn.RoleEdge })
		if at < 0 {
			continue
		}
		now[p.Port] = slices.DeleteFunc(slices.Clone(p.VIDs), func(v tsn.VID) bool { return !v.Valid() || v == i.cfg.Ports[at].PVID })
	}
	i.edgeVLANs = now
	i.own.dirty, i.top.dirty = true, true
}

// carries reports whether a port is in a Base VID, by configuration or because
// it is registered there.
func (i *Instance) carries(c PortConfig, vid tsn.VID) bool {
	return c.carries(vid) || slices.Contains(i.edgeVLANs[c.Port], vid)
}

// furtherVLANs adds to the VLANs of an edge port those that are none of the fabric.
func (i *Instance) furtherVLANs(p *tsn.BridgePort) {
	for _, v := range i.edgeVLANs[p.Port] {
		if !slices.ContainsFunc(p.VLANs, func(x tsn.PortVLAN) bool { return x.VID == v }) {
			p.VLANs = append(p.VLANs, tsn.PortVLAN{VID: v})
		}
	}
	slices.SortFunc(p.VLANs, func(a, b tsn.PortVLAN) int { return cmp.Compare(a.VID, b.VID) })
}
