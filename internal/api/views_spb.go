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
	// Blocked are the edge ports of Node that the edge guard keeps closed.
	Blocked  []EdgePort `json:"blocked,omitempty"`
	Services []Service  `json:"services,omitempty"` // of Node
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
	MAC     tsn.MAC  `json:"mac"`
	Name    string   `json:"name,omitempty"`
	Port    tsn.Port `json:"port"`
	Learned bool     `json:"learned,omitempty"` // seen, not configured
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

// EdgePort is an edge port as the edge guard has it.
type EdgePort struct {
	Port    tsn.Port `json:"port"`
	Ifname  string   `json:"ifname"`
	LinkUp  bool     `json:"linkUp"`
	Guarded bool     `json:"guarded"`
	State   string   `json:"state"` // down, listening, forwarding, blocked
	Reason  string   `json:"reason,omitempty"`
	// Peer is the bridge and port that it is blocked for.
	Peer     string   `json:"peer,omitempty"`
	PeerPort tsn.Port `json:"peerPort,omitempty"`
	For      int64    `json:"forNs"`  // in this state
	Blocks   uint64   `json:"blocks"` // how often it was blocked
	Stations int      `json:"stations"`
	// Learned are the stations seen on the port.
	Learned []LearnedStation `json:"learned,omitempty"`
}

// LearnedStation is a station that was seen. Refused says why it is not told
// to the fabric.
type LearnedStation struct {
	MAC     tsn.MAC   `json:"mac"`
	VLANs   []tsn.VID `json:"vlans"`
	Address string    `json:"address,omitempty"`
	Refused string    `json:"refused,omitempty"`
}

// Disjoint says how independent the paths of two Base VIDs are.
type Disjoint struct {
	From     string      `json:"from"`
	To       string      `json:"to"`
	VLANs    [2]tsn.VID  `json:"vlans"`
	Disjoint bool        `json:"disjoint"` // no link and no bridge but the ends in common
	Paths    [2][]string `json:"paths"`    // bridges
	// Shared links, as "b1 port 2 - b2 port 1", and bridges but the ends.
	SharedLinks   []string `json:"sharedLinks,omitempty"`
	SharedBridges []string `json:"sharedBridges,omitempty"`
	// Best is the pair of Base VIDs that shares least, Least what any two
	// paths must share in this topology.
	Best  Sharing  `json:"best"`
	Least Sharing  `json:"least"`
	Lines []string `json:"lines"` // the same for people
}

// Sharing counts what two paths have in common.
type Sharing struct {
	VLANs   [2]tsn.VID `json:"vlans"` // 0 0: any
	Links   int        `json:"links"`
	Bridges int        `json:"bridges"` // but for the ends
}

// WhyDetail is why one path was chosen in one VLAN. Bridges are named, or by
// address if they have no name.
type WhyDetail struct {
	VLAN  tsn.VID   `json:"vlan"`
	ECT   uint8     `json:"ect"`
	Mask  string    `json:"mask"` // two hexadecimal digits; empty for the spanning tree
	Cost  uint64    `json:"cost"`
	Hops  int       `json:"hops"`
	Steps []WhyStep `json:"steps"`
	// Paths are those equal in cost and hops, the winner first; Truncated says
	// that there are more.
	Paths     []WhyPath `json:"paths"`
	Truncated bool      `json:"truncated,omitempty"`
}

// WhyStep is one rule: cost, hops, or for the spanning tree "parent of NAME".
type WhyStep struct {
	Rule    string      `json:"rule"`
	Best    uint64      `json:"best"`
	Options []WhyOption `json:"options"`
}

// WhyOption is the best path over one neighbour. Lost says why it is out.
type WhyOption struct {
	Via  string   `json:"via"`
	Port tsn.Port `json:"port"`
	Cost uint64   `json:"cost"`
	Hops int      `json:"hops"`
	Lost string   `json:"lost,omitempty"`
}

// WhyPath is one of the equal paths. PathID is compared entry by entry; the
// entries are masked BridgeIDs, and PathIDOf whose they are.
type WhyPath struct {
	Bridges  []string `json:"bridges"`
	PathID   []string `json:"pathId"`
	PathIDOf []string `json:"pathIdOf"`
	Chosen   bool     `json:"chosen"`
	// DecidedAt is the first entry, from 1, at which it lost to the winner.
	DecidedAt int `json:"decidedAt,omitempty"`
}
