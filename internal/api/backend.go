package api

import (
	"context"

	"tsnswitch"
)

// Backend is what the daemon implements. Its methods are called from many
// goroutines at once. Errors should be *Error (see Refuse and friends); any
// other error is reported as CodeInternal.
type Backend interface {
	Switch
	Peer
	// Remote returns the switch of that name, reached in-band; the node's
	// own name returns itself. Unknown names are CodeUnknownNode. The
	// backend keeps and closes what it returns.
	Remote(ctx context.Context, node string) (Switch, error)
}

// Switch is what a person or a tool asks of one switch. Reads return
// snapshots that the caller may keep.
type Switch interface {
	Status(ctx context.Context) (*Status, error)
	Doctor(ctx context.Context) (*Doctor, error)
	Diff(ctx context.Context) (*Diff, error)
	KernelText(ctx context.Context) (*KernelText, error)
	Dist(ctx context.Context) (*Dist, error)

	Neighbours(ctx context.Context) ([]Neighbour, error)
	Database(ctx context.Context, q DatabaseQuery) ([]LSP, error)
	Nodes(ctx context.Context) ([]FabricNode, error)
	Paths(ctx context.Context, q PathQuery) ([]Path, error)
	// Why explains how a node, station, address or stream is reached, or
	// what keeps it from being reached.
	Why(ctx context.Context, q WhyQuery) (*Why, error)
	// Tree is the shortest path tree of a source under an ECT algorithm.
	Tree(ctx context.Context, q TreeQuery) (*Tree, error)
	// Records lists what cores publish through IS-IS, of one application or
	// (nil) of all.
	Records(ctx context.Context, application *uint16) ([]Record, error)
	Services(ctx context.Context) (*Services, error)
	// Edge lists the edge ports as the edge guard has them.
	Edge(ctx context.Context) ([]EdgePort, error)
	// Disjoint compares the paths of two Base VIDs between two ends.
	Disjoint(ctx context.Context, q DisjointQuery) (*Disjoint, error)
	// Drain keeps other bridges from sending through this one, or ends that.
	// It outlives a restart of the daemon.
	Drain(ctx context.Context, r DrainRequest) (*Drained, error)
	// Ping sends loopback messages along the data path to a bridge. reply is
	// called for each as it is answered or given up; the summary comes last.
	Ping(ctx context.Context, r PingRequest, reply func(PingReply) error) (*PingSummary, error)
	// Trace asks every bridge on the path in turn.
	Trace(ctx context.Context, r TraceRequest, hop func(TraceHop) error) (*TraceSummary, error)
	Topology(ctx context.Context) (*Topology, error)
	// WatchTopology calls emit with the topology, and again whenever it is
	// another one, until ctx ends or emit fails; it returns that error.
	WatchTopology(ctx context.Context, emit func(*Topology) error) error

	GPTP(ctx context.Context) (*GPTPStatus, error)
	// GPTPHistory is what has been recorded of a domain.
	GPTPHistory(ctx context.Context, q GPTPQuery) (*GPTPHistory, error)
	// WatchGPTP calls emit for each sample of a domain and each gPTP event, from
	// now on, until ctx ends or emit fails; it returns that error.
	WatchGPTP(ctx context.Context, q GPTPQuery, emit func(GPTPUpdate) error) error

	// AddStream admits a stream on the path SPB chose, at every system of
	// it, or at none. A refusal is CodeRefused with a FailureCode and a Hop.
	AddStream(ctx context.Context, r StreamRequest) (*StreamState, error)
	// RemoveStream and ShowStream take an id or an unambiguous name.
	RemoveStream(ctx context.Context, stream string) error
	ListStreams(ctx context.Context) ([]StreamState, error)
	ShowStream(ctx context.Context, stream string) (*StreamState, error)
	// FindStreams returns streams of every source with their state at each
	// bridge on their way, ascending by id; bridges that do not answer are left
	// out. An id or name that nobody knows is CodeNotFound.
	FindStreams(ctx context.Context, q StreamQuery) ([]StreamView, error)
	// RequestStream asks for a stream on behalf of end stations that speak no MSRP:
	// the bridges that they are attached to declare it for them, so that it goes
	// through bridges and to stations of others too. It is kept by this node until
	// WithdrawStream, which takes an id or an unambiguous name. What becomes of it
	// is told by FindStreams.
	RequestStream(ctx context.Context, r DemandRequest) (*Demand, error)
	WithdrawStream(ctx context.Context, stream string) (*Demand, error)
	Demands(ctx context.Context) ([]Demand, error)
	// ExplainStream says why a stream is not reserved, on which bridge and port,
	// and what would make it fit. It takes an id or an unambiguous name.
	ExplainStream(ctx context.Context, stream string) (*StreamWhy, error)
	// Registrations are the VLANs (mvrp) or groups (mmrp) of this node's ports.
	Registrations(ctx context.Context, application string) ([]Registration, error)
	// SRP is this node's stream reservation: its ports, classes and counters.
	SRP(ctx context.Context) (*SRP, error)
	// Declarations are the MRP attributes of this node's ports, by port,
	// application and value.
	Declarations(ctx context.Context, q DeclarationQuery) ([]Declaration, error)

	// PlanSchedule computes the gate lists of all streams known; it changes
	// nothing. Streams that do not fit are in the result with a reason.
	PlanSchedule(ctx context.Context, r PlanRequest) (*Schedule, error)
	// ApplySchedule plans, stages at every system, commits one base time and
	// waits until it runs. progress is called in order, from this call only.
	ApplySchedule(ctx context.Context, r ApplyRequest, progress func(Progress)) (*Schedule, error)
	// ConfirmSchedule keeps what was applied with a Confirm time; where it
	// runs this node takes part, whoever applied it.
	ConfirmSchedule(ctx context.Context, progress func(Progress)) (*Schedule, error)
	// RollBackSchedule starts again what ran before it, sooner than it would.
	RollBackSchedule(ctx context.Context, progress func(Progress)) (*Schedule, error)
	ShowSchedule(ctx context.Context) (*Schedule, error)

	// Events calls emit for each event from sequence number since on (0: only
	// new ones) until ctx ends or emit fails; it returns that error.
	Events(ctx context.Context, since uint64, emit func(Event) error) error
}

// Peer is what daemons ask of each other, over TLS only. PeerName(ctx) is the
// name in the caller's certificate.
type Peer interface {
	// PutReservations replaces everything owner holds here. All of it is
	// admitted or, with CodeRefused, nothing changes. A generation older than
	// the one held is CodeConflict. The server has checked that owner is the
	// caller.
	PutReservations(ctx context.Context, p Reservations) error
	// PutProxies replaces the end stations that this system speaks MSRP for on
	// behalf of owner; all are taken or none. Generation is as in PutReservations.
	PutProxies(ctx context.Context, p Proxies) error
	// StageSchedule checks gate lists against this system and keeps them on
	// disk; nothing is changed in the kernel. Another one staged, pending or
	// unconfirmed is CodeConflict.
	StageSchedule(ctx context.Context, r StageRequest) (*ScheduleState, error)
	// CommitSchedule gives the staged lists to the kernel. No such id staged,
	// or too late for its base time, is CodeWrongOrder.
	CommitSchedule(ctx context.Context, id string) (*ScheduleState, error)
	// AbortSchedule forgets what is staged, and takes back what is committed
	// before the time to commit is over; an unknown id is no error.
	AbortSchedule(ctx context.Context, id string) (*ScheduleState, error)
	// TrialSchedule is a step of a committed schedule's way. An unknown id is CodeNotFound.
	TrialSchedule(ctx context.Context, r TrialRequest) (*ScheduleState, error)
	ScheduleState(ctx context.Context) (*ScheduleState, error)
	// Node is the status of this node, for views of the whole fabric.
	Node(ctx context.Context) (*Status, error)
}

// PathQuery selects paths. From and To are names or addresses of nodes or
// stations; empty From is this node, empty To every node, VLAN 0 every Base VID.
type PathQuery struct {
	VLAN     tsn.VID
	From, To string
}

// DatabaseQuery selects LSPs: by LSP ID, by system id or by node name; empty
// is all. Detail asks for a line for each TLV.
type DatabaseQuery struct {
	LSP    string
	Detail bool
}

// WhyQuery asks about a path. Subject is a node, station, address or stream;
// an empty From is this node, or the talker of a stream. VLAN 0 is every Base
// VID, a nil ECT the VLAN's own algorithm.
type WhyQuery struct {
	From, Subject string
	VLAN          tsn.VID
	ECT           *uint8
}

// TreeQuery asks for a tree: of a node or station (empty: this node), in a
// Base VID (0: the first), under its ECT algorithm or another one.
type TreeQuery struct {
	Source string
	VLAN   tsn.VID
	ECT    *uint8
}

// DisjointQuery asks about two ends, by name or address, and two Base VIDs. If
// both VLANs are 0 the pair is chosen that shares least.
type DisjointQuery struct {
	From, To string
	VLANs    [2]tsn.VID
}

// DrainRequest asks for a drain, or the end of one. Reason is for people.
type DrainRequest struct {
	On     bool
	Reason string
}

// PingRequest asks for a ping. To is a node or station by name or address. Zero
// means: the first Base VID, 5 messages, one a second, 1 s of patience.
type PingRequest struct {
	To                string
	VLAN              tsn.VID
	Count             int
	Interval, Timeout int64 // ns
	Size              int   // octets of data
}

// TraceRequest asks for a trace. Zero means: the first Base VID, 3 tries for a
// silent bridge, 500 ms of patience for each.
type TraceRequest struct {
	To      string
	VLAN    tsn.VID
	Tries   int
	Timeout int64 // ns
}

// GPTPQuery selects a domain (nil: the one the gates go by) and how far back to
// go, in ns (0: all there is).
type GPTPQuery struct {
	Domain *uint8
	Back   int64
}

// StreamRequest asks for a stream. Fields of Spec that may be left zero: ID
// (chosen from the talker's address), DestinationAddress (the listener's), VID
// (the configured stream VLAN). Talker and Listener name the stations by name
// or address and win over Spec's.
type StreamRequest struct {
	Talker, Listener string
	Spec             tsn.Stream
	DryRun           bool
}

// PlanRequest asks for a plan; CycleTime 0 lets the planner choose.
type PlanRequest struct {
	CycleTime int64 // ns
	// Replan: streams that are scheduled already may move.
	Replan bool
	// Solution is a schedule made elsewhere (qbv-solution/1) to be looked at
	// instead of one of our own, File its name for messages.
	File     string
	Solution []byte
}

// ApplyRequest asks for a running schedule; LeadTime 0 is the configured one.
type ApplyRequest struct {
	PlanRequest
	LeadTime int64 // ns from stage to base time
	// Confirm is how long, in ns, it runs until it is rolled back unless it
	// is confirmed. 0: it is confirmed as soon as it is seen to run everywhere.
	Confirm int64
	// Accept the Warnings of the plan; otherwise they are a refusal.
	Accept bool
}

// StageRequest is one system's part in a change of the network's gates, and
// its times. See qbv.Trial.
type StageRequest struct {
	ID      string
	Systems []tsn.MAC // all that take part, ascending
	StartBy, Base, KeepBy,
	RevertAt tsn.PTPTime
	Ports []PortGates // ports that are not here open all gates
	OldID string      // what ran before and runs again if it is not kept
	Old   []PortGates
}

// TrialRequest is a step of a schedule's way from commit to its end.
type TrialRequest struct {
	ID   string
	Step string      // TrialPrepare ...
	At   tsn.PTPTime // of TrialAdvance: when it is rolled back
	// Ballot is that of TrialPrepare and TrialWithdraw: a name of the caller's.
	Ballot string
}

// The steps of a TrialRequest.
const (
	TrialPrepare   = "prepare"   // vote to keep it
	TrialWithdraw  = "withdraw"  // take that back
	TrialStarted   = "started"   // news: all have committed
	TrialConfirmed = "confirmed" // news: all have voted to keep it
	TrialAsk       = "ask"       // tell how far it is, for good where that is decided
	TrialBar       = "bar"       // do not vote to keep it
	TrialAdvance   = "advance"   // roll it back at At instead
)

// Progress is one step of a long operation.
type Progress struct {
	Node    string `json:"node,omitempty"`
	Step    string `json:"step"` // plan, stage, commit, wait, verify, confirm, revert
	Text    string `json:"text"`
	Elapsed int64  `json:"elapsedNs"`
}

// Event is an occurrence at a node: a Notice of a core, a link change, a call.
type Event struct {
	Seq    uint64   `json:"seq"`
	Time   int64    `json:"timeUnixNs"` // wall clock
	Node   string   `json:"node"`
	Kind   string   `json:"kind"`
	Port   tsn.Port `json:"port,omitempty"`
	Detail string   `json:"detail,omitempty"`
	Domain uint8    `json:"domain,omitempty"` // of a gPTP event
}

// Reservations is everything one owner holds at one system.
type Reservations struct {
	Owner        string // name of the node that asks, as in its certificate
	Generation   uint64
	Reservations []tsn.Reservation
	DryRun       bool
}

// PortGates is a gate control list for a port; its base time is set by commit.
// Arrivals are when the talkers of the port's streams send, where they are
// scheduled: what bridges may hold them to (802.1Qci).
type PortGates struct {
	Port     tsn.Port             `json:"port"`
	Gates    *tsn.GateControlList `json:"gates"`
	Arrivals []Window             `json:"arrivals,omitempty"`
}

// ScheduleState is one system's part in network-wide schedules.
type ScheduleState struct {
	StagedID  string         `json:"stagedId,omitempty"`
	RunningID string         `json:"runningId,omitempty"` // pending or running
	State     string         `json:"state"`               // ScheduleNone ...
	Base      tsn.PTPTime    `json:"baseTime"`
	Ports     []PortSchedule `json:"ports"`
	Clock     ClockState     `json:"clock"`
	Trial     *Trial         `json:"trial,omitempty"` // the last one
}

// ClockState is whose time a system's gates follow.
type ClockState struct {
	Domain      uint8  `json:"domain"`
	GrandMaster string `json:"grandMaster"`
	Now         int64  `json:"nowNs"`
	OffsetBound int64  `json:"offsetBoundNs"` // of gPTP to the gates
	Trouble     string `json:"trouble,omitempty"`
}

// Trial is how far a change of all gates is at a system.
type Trial struct {
	ID       string      `json:"id"`
	Phase    string      `json:"phase"` // staged, committed, started, prepared, confirmed, dropped, reverted
	RevertAt tsn.PTPTime `json:"revertAt"`
	RevertIn int64       `json:"revertInNs"` // from when this was asked
	Text     string      `json:"text"`
	// Final: the vote of this system cannot change. Doubt: the outcome is
	// decided and not known here.
	Final   bool      `json:"final"`
	Doubt   bool      `json:"doubt,omitempty"`
	Systems []tsn.MAC `json:"systems"`
}

// The phases of a Trial, as they travel.
const (
	PhaseConfirmed = "confirmed"
	PhaseDropped   = "dropped"
	PhaseReverted  = "reverted"
	PhasePrepared  = "prepared"
)

// Open reports whether it is not decided yet.
func (t *Trial) Open() bool {
	return t != nil && t.Phase != PhaseConfirmed && t.Phase != PhaseDropped && t.Phase != PhaseReverted
}

// Warning is a stream that a schedule makes worse off.
type Warning struct {
	Stream tsn.StreamID `json:"streamId"`
	Name   string       `json:"name,omitempty"`
	Kind   string       `json:"kind"`   // WarnLatency ...
	Before int64        `json:"before"` // ns, or kbit/s of a slope
	After  int64        `json:"after"`
	Text   string       `json:"text"`
}

// The kinds of Warning.
const (
	WarnLatency = "latency" // the worst case is worse
	WarnLost    = "lost"    // it had a window, and has none
	WarnSlope   = "slope"   // an SR class gets less on a port
)

// States of a schedule.
const (
	ScheduleNone    = "none"
	SchedulePlanned = "planned" // computed, nowhere staged
	ScheduleStaged  = "staged"
	SchedulePending = "pending" // committed, base time not reached
	ScheduleRunning = "running"
)
