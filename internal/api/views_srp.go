package api

import "tsnswitch"

// SRP is one system's part in stream reservation.
type SRP struct {
	Node         string     `json:"node"`
	System       tsn.MAC    `json:"system"`
	Applications []string   `json:"applications"` // that run: msrp, mvrp, mmrp
	Classes      []SRPClass `json:"classes"`
	Ports        []SRPPort  `json:"ports"`
	// What MSRP did with streams on ports since the daemon started.
	Reserved  uint64       `json:"reserved"`
	Released  uint64       `json:"released"`
	Preempted uint64       `json:"preempted"`
	Failed    []SRPFailure `json:"failed,omitempty"` // ascending code
	// Degraded are sentences: what a reservation does not get here, and why.
	Degraded []string `json:"degraded,omitempty"`
}

// SRPClass is a stream reservation class.
type SRPClass struct {
	ID       uint8   `json:"id"`   // 6 is A, 5 is B
	Name     string  `json:"name"` // A, B
	Priority tsn.PCP `json:"priority"`
	VID      tsn.VID `json:"vlan"`
	Interval int64   `json:"intervalNs"`
}

// SRPFailure counts how often streams failed at this system with a code.
type SRPFailure struct {
	Code  tsn.FailureCode `json:"code"`
	Text  string          `json:"text"`
	Count uint64          `json:"count"`
}

// SRPPort is a port's bandwidth, its place in the SR domains and its MRP.
type SRPPort struct {
	Port      tsn.Port       `json:"port"`
	Ifname    string         `json:"ifname"`
	Role      string         `json:"role"`
	Up        bool           `json:"up"`
	Rate      tsn.Rate       `json:"rateKbps"`
	Reserved  tsn.Rate       `json:"reservedKbps"`
	Limit     tsn.Rate       `json:"limitKbps"`
	Free      tsn.Rate       `json:"freeKbps"`
	Classes   []SRPPortClass `json:"classes"` // the highest traffic class first
	Neighbour []SRPDomain    `json:"neighbourDomains,omitempty"`
	// Version is that of MSRP which the neighbour speaks; nil without MSRP.
	Version  *uint8         `json:"msrpVersion,omitempty"`
	Counters []NamedCounter `json:"counters,omitempty"`
}

// SRPPortClass is one class on a port. Free is bounded by what other classes
// leave, too.
type SRPPortClass struct {
	Class string   `json:"class"` // A, B, scheduled
	Limit tsn.Rate `json:"limitKbps"`
	Used  tsn.Rate `json:"usedKbps"`
	Free  tsn.Rate `json:"freeKbps"`
	// Boundary: the port is at the border of the class's SR domain: streams of
	// the class do not leave by it. Why says why it is, or is not.
	Boundary bool   `json:"boundary"`
	Why      string `json:"why,omitempty"`
	Latency  int64  `json:"latencyNs,omitempty"` // that the port adds
}

// SRPDomain is what a neighbour says of a class.
type SRPDomain struct {
	Class    string  `json:"class"`
	Priority tsn.PCP `json:"priority"`
	VID      tsn.VID `json:"vlan"`
}

// Declaration is an MRP attribute of a port: what we declare, what others do.
type Declaration struct {
	Port        tsn.Port `json:"port"`
	Ifname      string   `json:"ifname"`
	Application string   `json:"application"` // msrp, mvrp, mmrp
	Attribute   string   `json:"attribute"`   // talker advertise, listener, domain, vid ...
	Value       string   `json:"value"`
	Applicant   string   `json:"applicant"` // VO ... LO (802.1Q table 10-3)
	Registrar   string   `json:"registrar"` // IN, LV, MT (table 10-4)
	Declared    bool     `json:"declared"`
	Registered  bool     `json:"registered"`
	// Says and Heard are listeners' declarations: ready, ready failed, asking failed.
	Says  string `json:"says,omitempty"`
	Heard string `json:"heard,omitempty"`
}

// Registration is a VLAN (of MVRP), or a group address or service requirement in
// a VLAN (of MMRP), at a port.
type Registration struct {
	Port   tsn.Port `json:"port"`
	Ifname string   `json:"ifname"`
	VLAN   tsn.VID  `json:"vlan"`
	Group  string   `json:"group,omitempty"` // address, or service requirement in words
	Mode   string   `json:"mode"`            // normal, fixed, forbidden (802.1Q 8.8.2)
	// Registered: somebody wants it at the port. Declared: we say there that it is
	// wanted elsewhere. Failed: there was no room for it.
	Registered bool   `json:"registered"`
	Declared   bool   `json:"declared"`
	Failed     bool   `json:"failed,omitempty"`
	Applicant  string `json:"applicant"`
	Registrar  string `json:"registrar"`
}

// StreamWhy explains what became of a stream.
type StreamWhy struct {
	StreamView
	Reasons []BridgeWhy `json:"reasons"` // in the order of Bridges
}

// BridgeWhy is what one bridge says of a stream.
type BridgeWhy struct {
	Node string `json:"node"`
	// Problem keeps the bridge from passing the stream on at all.
	Problem string    `json:"problem,omitempty"`
	Ports   []PortWhy `json:"ports,omitempty"`
}

// PortWhy is what became of a stream at a port by which it leaves, or would.
type PortWhy struct {
	Port   tsn.Port        `json:"port"`
	Ifname string          `json:"ifname"`
	Code   tsn.FailureCode `json:"failureCode,omitempty"`
	Here   bool            `json:"here"` // it is this bridge that failed it
	Text   string          `json:"text"`
	Remedy string          `json:"remedy,omitempty"` // what would make it fit
	// For want of bandwidth: what is needed, what is left, and who has the rest,
	// the most important first.
	Needed    tsn.Rate     `json:"neededKbps,omitempty"`
	Available tsn.Rate     `json:"availableKbps,omitempty"`
	Holders   []StreamHold `json:"holders,omitempty"`
}

// StreamHold is a stream that holds bandwidth of a port.
type StreamHold struct {
	Stream    tsn.StreamID `json:"streamId"`
	Owner     string       `json:"owner"`
	Class     string       `json:"class"`
	Rank      uint8        `json:"rank"`
	Bandwidth tsn.Rate     `json:"bandwidthKbps"`
}

// DeclarationQuery selects declarations: of a port (0: all), of an application
// (empty: all).
type DeclarationQuery struct {
	Port        tsn.Port
	Application string
}

// StreamQuery selects streams: by id or name (empty: all). Here asks only for
// what this bridge knows. A daemon that is asked by another one says no more than
// that either, unless Fabric is set: the other one is an end station.
type StreamQuery struct {
	Stream       string
	Here, Fabric bool
}

// StreamView is a stream, what became of it, and where.
type StreamView struct {
	StreamState
	Source    string `json:"source"` // SourceMSRP, SourceManaged
	Class     string `json:"class"`  // A, B, scheduled, none
	Rank      uint8  `json:"rank"`   // 0: emergency
	Guarantee string `json:"guarantee"`
	// Where it comes from and goes to, if known. Text of Listeners is what they declare.
	Talker    *StreamEnd  `json:"talkerPort,omitempty"`
	Listeners []StreamEnd `json:"listenerPorts,omitempty"`
	// FailureAt is the bridge that failed it, by name or bridge id.
	FailureAt string     `json:"failureAt,omitempty"`
	Bridges   []StreamAt `json:"bridges,omitempty"` // the talker's first
}

// Sources of a StreamView: who asked for it.
const (
	SourceMSRP    = "msrp"    // end stations, by MSRP
	SourceManaged = "managed" // tsnctl, distlink or another client of the API
)

// StreamEnd is a port at which a stream enters or leaves the bridges.
type StreamEnd struct {
	PathHop
	Text    string `json:"text"` // what is declared there
	Latency int64  `json:"latencyNs,omitempty"`
}

// StreamAt is a stream at one bridge.
type StreamAt struct {
	Node   string      `json:"node"`
	System tsn.MAC     `json:"system"`
	In     *StreamPort `json:"in,omitempty"` // nil: no talker is registered
	// Answer is what this bridge declares towards the talker.
	Answer string       `json:"answer,omitempty"`
	Out    []StreamPort `json:"out,omitempty"` // ascending port
}

// StreamPort is a stream at a port.
type StreamPort struct {
	Port   tsn.Port `json:"port"`
	Ifname string   `json:"ifname"`
	Edge   bool     `json:"edge"` // no other bridge of the fabric is behind it
	// Neighbour is who is behind it, if known: a bridge or a configured station.
	Neighbour string `json:"neighbour,omitempty"`
	// Talker is the talker's declaration that was registered (of In) or made (of
	// Out): TalkerAdvertise, TalkerFailed or empty.
	Talker    string          `json:"talker,omitempty"`
	Latency   int64           `json:"latencyNs,omitempty"` // accumulated
	Failure   tsn.FailureCode `json:"failureCode,omitempty"`
	Text      string          `json:"failure,omitempty"`   // the code in words
	FailureAt string          `json:"failureAt,omitempty"` // bridge, by name or id
	Listener  string          `json:"listener,omitempty"`  // of Out: what listeners declare
	// Proxied: the talker (of In) or a listener (of Out) is one that the bridge
	// speaks for, by RequestStream.
	Proxied  bool `json:"proxied,omitempty"`
	Reserved bool `json:"reserved,omitempty"` // of Out
}

// The talker's declarations.
const (
	TalkerAdvertise = "advertise"
	TalkerFailed    = "failed"
)

// More states of a stream, of those that MSRP makes.
const (
	StreamOffered = "offered" // a talker, and no listener
	StreamPartly  = "partly"  // some listeners have it, some cannot
	StreamAwaited = "awaited" // a listener, and no talker
)
