package schedule

import tsn "tsnswitch"

// NodeID and LinkID are indices into Problem.Nodes and Problem.Links.
type (
	NodeID int32
	LinkID int32
)

// Problem is a network and what it shall carry.
type Problem struct {
	Name    string
	Nodes   []Node
	Links   []Link
	Streams []Stream

	SyncError int64 // largest difference between two systems' clocks
	Jitter    int64 // how far a transmission may be from its planned time, either way
	Isolation Isolation
	MaxCycle  int64 // limit of the hyperperiod; 0: DefaultMaxCycle
}

// DefaultMaxCycle is the longest cycle software taprio takes, in ns.
const DefaultMaxCycle = 1<<31 - 1

// Isolation is how streams share a queue.
type Isolation uint8

// The ways to share a queue.
const (
	IsolateFrames Isolation = iota // one stream's frames at a time
	InOrder                        // first in, first out
)

// Node is a bridge or an end station.
type Node struct {
	Name   string
	System tsn.MAC // zero in a plan that no daemon will run
	Bridge bool    // forwards; an end station only begins and ends routes
}

// Link is one direction of a full-duplex link: the egress port FromPort of
// From, the medium, and the way through To to its queues.
type Link struct {
	From, To         NodeID
	FromPort         tsn.Port // NoPort if it has no number
	Rate             tsn.Rate
	PropagationDelay int64
	ProcessingDelay  int64 // of To: last octet in until the frame is in the next queue

	Queues    int          // of From's port, 1..8
	Scheduled tsn.GateMask // the queues that scheduled streams may use
	// GuardOctets is the longest frame of any other queue that may be in the way
	// when a window opens; 0: no guard band. See Guard for single queues.
	GuardOctets int
	// Preemptible are the queues of other traffic whose frames are cut when a
	// window opens (802.1Q 6.7.2).
	Preemptible tsn.GateMask
	// MaxSDU is the longest frame that each queue of other traffic may send, in
	// octets on the medium; 0: no limit. The port drops longer ones.
	MaxSDU [tsn.MaxTrafficClasses]int
	// Control is a queue that must be able to send a frame of ControlOctets in
	// every cycle of the port. ControlOctets 0: there is none.
	Control       tsn.TrafficClass
	ControlOctets int

	MaxEntries  int   // of the gate control list; 0: no limit
	MinInterval int64 // of a gate entry; 0: 1
	// Software is software taprio: the list ends in a guard entry of
	// MinInterval, no window reaches into it or over the end of the cycle, and a
	// control frame fits within one entry.
	Software bool
}

// UncutOctets is the longest part of a preemptible frame that has to be sent
// whole: a fragment of 64 octets is not cut, nor one that leaves less than 64
// (802.3 99.4.4); with preamble and gap.
const UncutOctets = 64 + 63 + 8 + 12

// Guard is how much of a frame of queue q may be in the way when a window opens,
// in octets: at most GuardOctets, MaxSDU, and what preemption leaves.
func (l *Link) Guard(q tsn.TrafficClass) int {
	g := l.GuardOctets
	if l.MaxSDU[q] > 0 {
		g = min(g, l.MaxSDU[q])
	}
	if l.Preemptible.Has(q) {
		g = min(g, UncutOctets)
	}
	return g
}

// Stream is a talker's demand. Its number in the Problem is its index; ID is
// what its owner calls it.
type Stream struct {
	ID        int // unique
	Name      string
	StreamID  tsn.StreamID // zero in a plan that no daemon will run
	Talker    NodeID
	Listeners []NodeID // at least one, distinct
	Size      int      // octets of the longest frame
	MinSize   int      // octets of the shortest; 0: all are of Size
	Frames    int      // in each period; 0: 1
	Period    int64
	Deadline  int64 // for the latency
	// Jitter is how much latency may differ between periods beside the margins.
	// 0: as much as the deadline allows.
	Jitter int64
	// Release is when in the period the first transmission may start, earliest
	// to latest. Latest 0: Period-1.
	Release [2]int64
	// Routes are the trees it may take, each its links with the parent before
	// the child; nil: any.
	Routes [][]LinkID
	// Rank says who yields when not all fit: the higher number first.
	Rank int
}
