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
	Reason    string            `json:"reason,omitempty"`   // of Overload
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

// Services is what this bridge sends to and receives from groups.
type Services struct {
	Node     string    `json:"node"`
	Services []Service `json:"services"` // by VLAN and I-SID
}

// Service is an attachment to a backbone service (I-SID).
type Service struct {
	ISID     uint32     `json:"isid"`
	VLAN     tsn.VID    `json:"vlan"`
	Transmit bool       `json:"transmit"`
	Receive  bool       `json:"receive"`
	Ports    []tsn.Port `json:"ports,omitempty"` // none: the bridge's own interface
	// Group is the address to send to, empty if there is none. With Replicate
	// a frame must be sent to each of Receivers by unicast.
	Group     string          `json:"group,omitempty"`
	Replicate bool            `json:"replicate,omitempty"`
	Receivers []ServiceBridge `json:"receivers,omitempty"`
	Sources   []ServiceBridge `json:"sources,omitempty"`
}

// ServiceBridge is another bridge with the service; Group is what it sends to.
type ServiceBridge struct {
	System tsn.MAC `json:"system"`
	Name   string  `json:"name,omitempty"`
	Group  string  `json:"group,omitempty"`
}

// Drained is a bridge after a drain, or after the end of one.
type Drained struct {
	Node     string `json:"node"`
	Overload bool   `json:"overload"`
	Reason   string `json:"reason,omitempty"` // all of them
}

// PingStep is a message of a ping: a reply, or last the summary.
type PingStep struct {
	Reply   *PingReply   `json:"reply,omitempty"`
	Summary *PingSummary `json:"summary,omitempty"`
}

// PingReply is one loopback message that was answered, or not.
type PingReply struct {
	Sequence int     `json:"sequence"` // from 1
	From     tsn.MAC `json:"from"`
	Name     string  `json:"name,omitempty"`
	Lost     bool    `json:"lost,omitempty"`
	RTT      int64   `json:"rttNs,omitempty"`
}

// PingSummary ends a ping.
type PingSummary struct {
	To string `json:"to"` // as asked for
	// Target is the bridge that was asked: an end station has no one who would
	// answer, so its bridge does.
	Target   tsn.MAC `json:"target"`
	Name     string  `json:"name,omitempty"`
	VLAN     tsn.VID `json:"vlan"`
	Sent     int     `json:"sent"`
	Received int     `json:"received"`
	Min      int64   `json:"minNs"`
	Avg      int64   `json:"avgNs"`
	Max      int64   `json:"maxNs"`
}

// TraceStep is a message of a trace: a hop, or last the summary.
type TraceStep struct {
	Hop     *TraceHop     `json:"hop,omitempty"`
	Summary *TraceSummary `json:"summary,omitempty"`
}

// TraceHop is a bridge on the path.
type TraceHop struct {
	Hop      int      `json:"hop"` // from 1
	System   tsn.MAC  `json:"system"`
	Name     string   `json:"name,omitempty"`
	Port     tsn.Port `json:"port"` // by which the bridge before it sends
	Answered bool     `json:"answered"`
	Tries    int      `json:"tries"`
	RTT      int64    `json:"rttNs,omitempty"`
}

// TraceSummary ends a trace. Reached: the last bridge answered. If not, After
// is the last one that did before the first silent one.
type TraceSummary struct {
	To      string  `json:"to"`
	Target  tsn.MAC `json:"target"`
	Name    string  `json:"name,omitempty"`
	VLAN    tsn.VID `json:"vlan"`
	Hops    int     `json:"hops"`
	Reached bool    `json:"reached"`
	After   string  `json:"after,omitempty"`
}
