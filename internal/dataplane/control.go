package dataplane

import (
	"slices"

	tsn "tsnswitch"
)

// In every VLAN of a port each of tsn.ControlGroups has a group entry with the
// bridge itself as its only member. So a frame that comes in reaches no other
// port, whatever its protocol and whichever port floods; a switch chip that
// offloads group entries hands it to the CPU. What the daemon receives it takes
// from the port, before the bridge sees the frame.

// mrpGroups are those of MMRP and MVRP, which only a bridge keeps back that takes
// part in them; see keepback.go.
var mrpGroups = []tsn.MAC{{0x01, 0x80, 0xc2, 0, 0, 0x20}, {0x01, 0x80, 0xc2, 0, 0, 0x21}}

// IsControlGroup reports whether the bridge keeps frames to this group back.
// Its entries belong to the data plane in every VLAN, owned or not.
func IsControlGroup(m tsn.MAC) bool {
	return tsn.IsControlGroup(m) || slices.Contains(mrpGroups, m)
}

// keepBack adds the entries of the control groups to the target.
func (t *Target) keepBack(mrp []tsn.ControlFrames) {
	groups := slices.Clone(tsn.ControlGroups)
	for _, f := range mrp {
		if slices.Contains(mrpGroups, f.Group) {
			groups = append(groups, f.Group)
		}
	}
	var vids []tsn.VID
	for _, p := range t.Bridge.Ports {
		for _, v := range p.VLANs {
			vids = append(vids, v.VID)
		}
	}
	slices.Sort(vids)
	for _, v := range slices.Compact(vids) {
		for _, g := range groups {
			t.Bridge.MDB = append(t.Bridge.MDB, GroupPort{Group: g, VID: v})
		}
	}
}

// planControl adds what keeps control frames back in VLANs that ports are
// about to enter.
func planControl(have *State, t *Target, do func(Op)) {
	for _, g := range t.Bridge.MDB {
		if _, ok := slices.BinarySearchFunc(have.Bridge.MDB, g, compareGroup); !ok && IsControlGroup(g.Group) {
			do(AddMDB{g})
		}
	}
}

// planUncontrol removes those of VLANs that no port is in any more.
func planUncontrol(have *State, t *Target, do func(Op)) {
	for _, g := range slices.Clone(have.Bridge.MDB) {
		if _, wanted := slices.BinarySearchFunc(t.Bridge.MDB, g, compareGroup); !wanted && IsControlGroup(g.Group) {
			do(DelMDB{g})
		}
	}
}
