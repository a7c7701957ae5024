package api

import "tsnswitch"

// Tree is the shortest path tree of a source.
type Tree struct {
	Source tsn.MAC    `json:"source"` // the bridge at the root
	Name   string     `json:"name,omitempty"`
	VLAN   tsn.VID    `json:"vlan"`
	ECT    uint8      `json:"ect"`
	Nodes  []TreeNode `json:"nodes"` // by system; those out of reach are not in it
}

// TreeNode is a bridge in a tree.
type TreeNode struct {
	System tsn.MAC `json:"system"`
	Name   string  `json:"name,omitempty"`
	// Parent is the next bridge towards the root, ParentPort this bridge's
	// port to it; zero at the root.
	Parent     tsn.MAC    `json:"parent"`
	ParentPort tsn.Port   `json:"parentPort,omitempty"`
	Ports      []tsn.Port `json:"ports"` // towards its children
	Cost       uint64     `json:"cost"`
	Hops       int        `json:"hops"`
}

// Record is what a core of a node publishes through IS-IS (RFC 6823). Key and
// Value are in hexadecimal.
type Record struct {
	System      tsn.MAC `json:"system"`
	Name        string  `json:"name,omitempty"`
	Reachable   bool    `json:"reachable"`
	Application uint16  `json:"application"`
	Type        uint8   `json:"type"`
	Key         string  `json:"key"`
	Value       string  `json:"value"`
}

// Topology is the region as a node sees it.
type Topology struct {
	Node       string         `json:"node"`       // who says so
	Generation uint64         `json:"generation"` // of its paths
	Nodes      []TopologyNode `json:"nodes"`      // by system
	Links      []TopologyLink `json:"links"`      // by A, then B
}

// TopologyNode is a bridge.
type TopologyNode struct {
	System    tsn.MAC           `json:"system"`
	Name      string            `json:"name,omitempty"`
	BridgeID  string            `json:"bridgeId,omitempty"` // empty: takes no part in SPB
	Address   string            `json:"address,omitempty"`  // management
	Reachable bool              `json:"reachable"`
	Overload  bool              `json:"overload,omitempty"` // carries no transit
	Stations  []TopologyStation `json:"stations,omitempty"`
}

// TopologyStation is an end station and the bridge port it is on.
type TopologyStation struct {
	MAC  tsn.MAC  `json:"mac"`
	Name string   `json:"name,omitempty"`
	Port tsn.Port `json:"port"`
}

// TopologyLink is a link in use; of parallel ones the one that carries frames.
// A is the end with the lower system id.
type TopologyLink struct {
	A      tsn.MAC  `json:"a"`
	B      tsn.MAC  `json:"b"`
	PortA  tsn.Port `json:"portA"`
	PortB  tsn.Port `json:"portB"`
	Metric uint32   `json:"metric"`
}
