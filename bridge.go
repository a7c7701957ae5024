package tsn

import (
	"cmp"
	"fmt"
	"slices"
)

// PortRole says what is behind a bridge port.
type PortRole uint8

// The roles.
const (
	// RoleEdge: end stations. Frames are taken from anyone.
	RoleEdge PortRole = iota
	// RoleFabric: another bridge of the SPB region. Frames are taken only if
	// their source address is reached through this port (the ingress check of
	// 802.1aq, the kernel's `locked`).
	RoleFabric
	// RoleEndStation: the one port of an end station; there is no bridge.
	RoleEndStation
)

func (r PortRole) String() string {
	switch r {
	case RoleEdge:
		return "edge"
	case RoleFabric:
		return "fabric"
	case RoleEndStation:
		return "end-station"
	}
	return "unknown"
}

// BridgePort is the wanted bridging behaviour of a port.
type BridgePort struct {
	Port Port
	Role PortRole
	// Locked is the ingress check; Learning, Flood (unknown unicast),
	// McastFlood (unregistered groups) and BcastFlood are the kernel's flags.
	Locked, Learning, Flood, McastFlood, BcastFlood bool
	VLANs                                           []PortVLAN // ascending VID
}

// PortVLAN is membership of a port in a VLAN.
type PortVLAN struct {
	VID      VID
	PVID     bool // untagged frames received belong to this VLAN
	Untagged bool // frames leave without a tag
}

// FDBEntry is a static filtering entry: frames for MAC in VID leave on Port.
type FDBEntry struct {
	MAC  MAC
	VID  VID
	Port Port
	// Sticky keeps the entry where it is when a port with Learning receives
	// frames from MAC. Without it the kernel moves even a static entry there,
	// which is how a station is found again that has moved.
	Sticky bool
}

// MDBEntry is a static group entry: frames for Group in VID leave on Ports
// (ascending; NoPort stands for the bridge itself).
type MDBEntry struct {
	Group MAC
	VID   VID
	Ports []Port
}

// BridgeState is everything the bridge shall forward. The data plane makes
// the kernel equal to it; within OwnedVIDs (ascending) every static entry
// that is not here is removed, entries of other VIDs are left alone.
type BridgeState struct {
	// Shared: the bridge is an ordinary one that others configure. Settings, port
	// flags and the FDB stay as they are; Ports, MDB and KeptBack come on top.
	Shared    bool
	OwnedVIDs []VID
	// SelfVLANs (ascending) are the VLANs in which the bridge's own interface
	// takes part, tagged: the management VLAN.
	SelfVLANs []VID
	Ports     []BridgePort // ascending port
	// KeptBack are control frames that end at this bridge, from whichever port
	// they come; CompareControlFrames orders them.
	KeptBack []ControlFrames
	FDB      []FDBEntry // ascending VID, MAC
	MDB      []MDBEntry // ascending VID, Group
}

// ControlFrames are frames to a reserved group address: those of an MRP
// application, which a bridge that takes part in it does not relay and any other
// does (802.1Q 8.6.3, 10.5).
type ControlFrames struct {
	Group     MAC
	EtherType uint16 // 0: any
}

// ControlGroups are the destinations of control frames that end at the next
// daemon: a bridge that forwarded them would join neighbours that are none.
// IS-IS uses AllL1ISs, AllL2ISs, AllISs (RFC 6329 8) and the two that 802.1aq
// adds; the last is the probe by which edge ports find each other. The kernel
// itself keeps back only 01-80-C2-00-00-0X.
var ControlGroups = []MAC{
	{0x01, 0x80, 0xc2, 0x00, 0x00, 0x14},
	{0x01, 0x80, 0xc2, 0x00, 0x00, 0x15},
	{0x01, 0x80, 0xc2, 0x00, 0x00, 0x2e},
	{0x01, 0x80, 0xc2, 0x00, 0x00, 0x2f},
	{0x03, 0x54, 0x53, 0x4e, 0x00, 0x01},
	{0x09, 0x00, 0x2b, 0x00, 0x00, 0x05},
}

// IsControlGroup reports whether no bridge forwards frames to a group: those, and
// the reserved addresses 01-80-C2-00-00-0X.
func IsControlGroup(m MAC) bool {
	return slices.Contains(ControlGroups, m) || [5]byte(m[:5]) == [5]byte{0x01, 0x80, 0xc2} && m[5] < 0x10
}

// CompareControlFrames orders by group, then EtherType.
func CompareControlFrames(a, b ControlFrames) int {
	return cmp.Or(cmp.Compare(a.Group.Uint64(), b.Group.Uint64()), cmp.Compare(a.EtherType, b.EtherType))
}

func (f ControlFrames) String() string {
	if f.EtherType == 0 {
		return f.Group.String()
	}
	return fmt.Sprintf("%s/%04x", f.Group, f.EtherType)
}

// DesiredState is the whole wanted kernel state of one switch.
type DesiredState struct {
	// Bridge is nil for an end station.
	Bridge *BridgeState
	Egress []PortEgress // ascending port
	// Filters are all stream filters of the switch, as CompareStreamFilters
	// orders them.
	Filters []StreamFilter
	// Priorities are the rules of every port that has some, ascending.
	Priorities []PriorityRules
}
