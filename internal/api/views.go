package api

import "tsnswitch"

// The views: what a switch says of itself. Their JSON is what `-o json`
// prints, so a field's name is part of the interface. Slices are sorted by
// the backend (port, then name or id).

// Status is one page about a node.
type Status struct {
	Node     string         `json:"node"`
	System   tsn.MAC        `json:"system"`
	Role     string         `json:"role"` // bridge, end-station
	Version  string         `json:"version"`
	Uptime   int64          `json:"uptimeNs"`
	Ports    []PortStatus   `json:"ports"`
	SPB      SPBStatus      `json:"spb"`
	GPTP     GPTPSummary    `json:"gptp"`
	Schedule ScheduleBrief  `json:"schedule"`
	Streams  StreamCounts   `json:"streams"`
	SRP      *SRPBrief      `json:"srp,omitempty"` // nil: no MRP application runs
	Kernel   KernelStatus   `json:"kernel"`
	Degraded []string       `json:"degraded,omitempty"` // each a sentence: what and why
	Counters []NamedCounter `json:"counters,omitempty"`
}

// PortStatus is a port on the status page.
type PortStatus struct {
	Port   tsn.Port `json:"port"`
	Ifname string   `json:"ifname"`
	Role   string   `json:"role"`
	Up     bool     `json:"up"`
	Rate   tsn.Rate `json:"rateKbps"`
	// Neighbour is the adjacent node or station, by name or address.
	Neighbour string `json:"neighbour,omitempty"`
	// Reserved is the sum of stream bandwidth that leaves by the port.
	Reserved tsn.Rate `json:"reservedKbps"`
	Gated    bool     `json:"gated"`
	// Offload: the device runs the gates, not the kernel.
	Offload bool `json:"gateOffload,omitempty"`
}

// SPBStatus counts what IS-IS-SPB knows. LSDBDigest is equal on two nodes
// exactly if their databases are.
type SPBStatus struct {
	Adjacencies int    `json:"adjacencies"`
	Nodes       int    `json:"nodes"`
	LSPs        int    `json:"lsps"`
	LSDBDigest  string `json:"lsdbDigest"`
	SPFRuns     uint64 `json:"spfRuns"`
	// Overload says why this bridge asks others not to send through it; empty
	// if it does not.
	Overload string `json:"overload,omitempty"`
	// Keys says how IS-IS is authenticated; empty: not at all.
	Keys      string    `json:"keys,omitempty"`
	Agreement Agreement `json:"agreement"`
	// Convergence is how long changes took at this bridge.
	Convergence Convergence `json:"convergence"`
}

// Convergence is the time from a path computation until the neighbours had
// agreed and the kernel held what was wanted.
type Convergence struct {
	Changes uint64 `json:"changes"`
	Last    int64  `json:"lastNs"`
	Max     int64  `json:"maxNs"`
}

// Agreement is how far the neighbours are with the topology of now: entries
// that could loop wait for them.
type Agreement struct {
	Pending bool `json:"pending"`
	// For is how long it has been pending, ns.
	For      int64    `json:"forNs,omitempty"`
	Waiting  []string `json:"waiting,omitempty"` // neighbours that have not agreed
	Flooding bool     `json:"flooding"`          // broadcast may pass
	Strict   bool     `json:"strict"`            // unicast waits, too
	Withheld int      `json:"withheld"`          // tree positions that wait
}

// GPTPSummary is gPTP in one line.
type GPTPSummary struct {
	Synchronized  bool   `json:"synchronized"`
	Grandmaster   string `json:"grandmaster"` // name, else clock identity
	IsGrandmaster bool   `json:"isGrandmaster"`
	Offset        int64  `json:"offsetNs"`
	State         string `json:"state"`         // GPTPGrandMaster ...
	Off           bool   `json:"off,omitempty"` // gptp.enabled is false
}

// ScheduleBrief is the schedule in one line.
type ScheduleBrief struct {
	ID    string      `json:"id,omitempty"`
	State string      `json:"state"`
	Base  tsn.PTPTime `json:"baseTime"`
	Cycle int64       `json:"cycleTimeNs"`
	// Trial says what may become of it, if that is open; Doubt: it is decided,
	// but not known here.
	Trial string `json:"trial,omitempty"`
	Doubt bool   `json:"doubt,omitempty"`
}

// StreamCounts counts streams by what became of them.
type StreamCounts struct {
	Owned     int `json:"owned"` // asked for at this node
	Here      int `json:"here"`  // holding a reservation at this node
	Scheduled int `json:"scheduled"`
	Failed    int `json:"failed"`
}

// SRPBrief counts streams of MSRP at a bridge. Failed are those that at least
// one listener cannot have, Waiting those without a talker or a listener.
type SRPBrief struct {
	Applications []string `json:"applications"`
	Reserved     int      `json:"reserved"`
	Failed       int      `json:"failed"`
	Waiting      int      `json:"waiting"`
}

// KernelStatus says whether the kernel is as desired.
type KernelStatus struct {
	InSync      bool   `json:"inSync"`
	Differences int    `json:"differences"`
	Error       string `json:"error,omitempty"` // of the last attempt
}

// NamedCounter is a drop or error counter that is not zero.
type NamedCounter struct {
	Name  string   `json:"name"`
	Port  tsn.Port `json:"port,omitempty"`
	Value uint64   `json:"value"`
}

// Doctor is what the machine under the switch can and cannot do.
type Doctor struct {
	Node   string       `json:"node"`
	Kernel string       `json:"kernel"` // release
	System []Check      `json:"system"`
	Ports  []DoctorPort `json:"ports"`
}

// DoctorPort is the checks of one port. Names of checks: stamps, phc, queues,
// taprio, cbs, locked, mac-merge.
type DoctorPort struct {
	Port   tsn.Port `json:"port"`
	Ifname string   `json:"ifname"`
	Checks []Check  `json:"checks"`
}

// Check is one finding. Detail says what was found; Why what is worse for it.
type Check struct {
	Name   string `json:"name"`
	State  string `json:"state"` // CheckOK, CheckDegraded, CheckMissing
	Detail string `json:"detail,omitempty"`
	Why    string `json:"why,omitempty"`
}

// States of a check.
const (
	CheckOK       = "OK"
	CheckDegraded = "degraded"
	CheckMissing  = "missing"
)

// Diff is desired against kernel state.
type Diff struct {
	Node    string      `json:"node"`
	InSync  bool        `json:"inSync"`
	Entries []DiffEntry `json:"entries"`
}

// DiffEntry is one difference; empty Want means it should not be there, empty
// Have that it is not there.
type DiffEntry struct {
	Kind string `json:"kind"` // port, vlan, fdb, mdb, egress
	Key  string `json:"key"`
	Want string `json:"want,omitempty"`
	Have string `json:"have,omitempty"`
}

// KernelText is kernel state read back, in the manner of `bridge` and `tc`.
type KernelText struct {
	Node     string        `json:"node"`
	Sections []TextSection `json:"sections"`
}

// TextSection is one table: vlan, fdb, mdb, qdisc, filter.
type TextSection struct {
	Title string `json:"title"`
	Text  string `json:"text"`
}

// Dist is the state of the distribution carrier at a node.
type Dist struct {
	Node  string     `json:"node"`
	Links []DistLink `json:"links"`
}

// DistLink is one Erlang node connection.
type DistLink struct {
	Local       string `json:"local"`
	Peer        string `json:"peer"`
	State       string `json:"state"`
	StreamID    string `json:"streamId,omitempty"` // empty: best effort
	RTT         int64  `json:"rttNs"`
	Sent        uint64 `json:"sentMessages"`
	Received    uint64 `json:"receivedMessages"`
	Retransmits uint64 `json:"retransmits"`
	// Carrier is what the carrier says of itself; nil where it does not.
	Carrier *DistCarrier `json:"carrier,omitempty"`
}

// DistCarrier is the queues of one end of a distlink connection.
type DistCarrier struct {
	Rate      uint64 `json:"rateKbps"` // 0: congestion control
	Queued    uint64 `json:"queuedOctets"`
	InFlight  uint64 `json:"inFlightOctets"`
	Streams   uint64 `json:"streams"` // senders with a stream of their own
	Suspended uint64 `json:"suspended"`
	Security  string `json:"security"`
	// Streams of each class that wait to send.
	Control    uint64 `json:"waitingControl"`
	Configured uint64 `json:"waitingConfigured"`
	Bulk       uint64 `json:"waitingBulk"`
}

// Neighbour is an IS-IS adjacency.
type Neighbour struct {
	Port       tsn.Port `json:"port"`
	Ifname     string   `json:"ifname"`
	System     tsn.MAC  `json:"system"`
	Name       string   `json:"name,omitempty"`
	State      string   `json:"state"` // Up, Initializing, Down
	RemotePort tsn.Port `json:"remotePort,omitempty"`
	Metric     uint32   `json:"metric"`
	Hold       int64    `json:"holdNs"`
	Up         int64    `json:"upNs"`
	// Mismatch says why SPB does not use the link, Restart what the neighbour
	// asked for: restarting, suppressed (RFC 8706).
	Mismatch string `json:"mismatch,omitempty"`
	Restart  string `json:"restart,omitempty"`
	// Echo is the state of the fast echo: Down, Init, Up; empty if it is off.
	Echo       string `json:"echo,omitempty"`
	EchoFault  string `json:"echoFault,omitempty"`
	EchoDetect int64  `json:"echoDetectNs,omitempty"` // silence that means a loss
	EchoLosses uint64 `json:"echoLosses,omitempty"`
}

// LSP is a link-state PDU in the database.
type LSP struct {
	ID       string `json:"id"` // 0200.0000.0001.00-00
	Name     string `json:"name,omitempty"`
	Sequence uint32 `json:"sequence"`
	Lifetime uint16 `json:"lifetimeSeconds"`
	Checksum uint16 `json:"checksum"`
	Length   int    `json:"length"`
	Own      bool   `json:"own,omitempty"`
	Overload bool   `json:"overload,omitempty"`
	// Lines says what is in it, a line for each TLV; only if asked for.
	Lines []string `json:"lines,omitempty"`
}

// FabricNode is a node of the region, as its LSP tells.
type FabricNode struct {
	Name      string    `json:"name"`
	System    tsn.MAC   `json:"system"`
	Priority  uint16    `json:"priority"`
	Address   string    `json:"address,omitempty"` // management
	Reachable bool      `json:"reachable"`
	Cost      uint64    `json:"cost"`
	Overload  bool      `json:"overload,omitempty"` // carries no transit
	Reason    string    `json:"reason,omitempty"`   // of Overload, if the node says
	Stations  []Station `json:"stations,omitempty"`
}

// Station is an end station and where it is attached.
type Station struct {
	MAC     tsn.MAC `json:"mac"`
	Name    string  `json:"name,omitempty"`
	Learned bool    `json:"learned,omitempty"` // seen, not configured
}

// Path is the way SPB chose in one VLAN.
type Path struct {
	VLAN tsn.VID   `json:"vlan"`
	ECT  uint32    `json:"ect"`
	From string    `json:"from"`
	To   string    `json:"to"`
	Cost uint64    `json:"cost"`
	Hops []PathHop `json:"hops"`
}

// PathHop is a Hop with labels.
type PathHop struct {
	tsn.Hop
	Node   string `json:"node,omitempty"`
	Ifname string `json:"ifname,omitempty"`
}

// Why is an explanation, a sentence a line.
type Why struct {
	From      string   `json:"from,omitempty"`
	Subject   string   `json:"subject"`
	Reachable bool     `json:"reachable"`
	Lines     []string `json:"lines"`
	// Details is the same for programs, for each VLAN.
	Details []WhyDetail `json:"details,omitempty"`
}

// StreamState is a stream and what became of it.
type StreamState struct {
	Stream  tsn.Stream      `json:"stream"`
	Owner   string          `json:"owner"` // node that keeps it
	State   string          `json:"state"` // StreamScheduled ...
	Reason  string          `json:"reason,omitempty"`
	Failure tsn.FailureCode `json:"failureCode,omitempty"`
	Path    []PathHop       `json:"path,omitempty"`
	Latency int64           `json:"latencyNs,omitempty"` // worst case on Path
}

// States of a stream.
const (
	StreamScheduled = "scheduled" // reserved and with windows that run
	StreamReserved  = "reserved"  // reserved, unscheduled
	StreamFailed    = "failed"
)

// Schedule is a network-wide schedule, planned or running.
type Schedule struct {
	ID        string            `json:"id"`
	State     string            `json:"state"` // ScheduleNone ...
	Base      tsn.PTPTime       `json:"baseTime"`
	CycleTime int64             `json:"cycleTimeNs"`
	Ports     []PortSchedule    `json:"ports"`
	Streams   []ScheduledStream `json:"streams"`
	// Trial is how its way to being kept stands; nil if it was never committed.
	Trial *Trial `json:"trial,omitempty"`
	// Warnings are what a plan worsens against what runs.
	Warnings []Warning `json:"warnings,omitempty"`
	// Silent are nodes that may still run another schedule: they could not be
	// told of this one.
	Silent []string `json:"silent,omitempty"`
}

// PortSchedule is what a port shall do (Admin) and does (Oper, read back).
type PortSchedule struct {
	PathHop
	Admin         *tsn.GateControlList `json:"admin,omitempty"`
	Oper          *tsn.GateControlList `json:"oper,omitempty"`
	ConfigPending bool                 `json:"configPending,omitempty"`
	Reason        string               `json:"reason,omitempty"` // why Oper is not Admin
	Windows       []Window             `json:"windows,omitempty"`
}

// Window is when frames of a stream pass a port, from the start of the cycle:
// the gate is open from Start to End, the frames are planned from FrameStart
// to FrameEnd, and again after each Period.
type Window struct {
	Stream     tsn.StreamID `json:"streamId"`
	Start      int64        `json:"startNs"`
	End        int64        `json:"endNs"`
	FrameStart int64        `json:"frameStartNs"`
	FrameEnd   int64        `json:"frameEndNs"`
	Period     int64        `json:"periodNs"`
}

// ScheduledStream is one stream's outcome.
type ScheduledStream struct {
	ID         tsn.StreamID `json:"id"`
	Name       string       `json:"name,omitempty"`
	Scheduled  bool         `json:"scheduled"`
	Latency    int64        `json:"latencyNs"`
	MaxLatency int64        `json:"maxLatencyNs"`
	Reason     string       `json:"reason,omitempty"` // why not
}
