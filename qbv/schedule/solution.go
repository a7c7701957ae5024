package schedule

import tsn "tsnswitch"

// Solution is a schedule of some or all streams of a Problem.
type Solution struct {
	Cycle    int64       // the hyperperiod
	Streams  []Placement // ascending Stream
	Gates    []LinkGates // ascending Link; only links that carry scheduled streams
	Unplaced []Unplaced  // ascending Stream
	Cyclic   *Cyclic     // streams that are not in Streams; nil: none
}

// Cyclic is the part of a schedule that works by cyclic queuing and forwarding.
// Two of its cycles divide the hyperperiod.
type Cyclic struct {
	CycleTime int64
	Windows   []CyclicWindow // ascending Link
	Streams   []CyclicStream // ascending Stream
}

// CyclicWindow is open in cycle n from n*CycleTime+Offset on, for Queues[n%2].
type CyclicWindow struct {
	Link           LinkID
	Queues         [2]tsn.TrafficClass
	Offset, Length int64
}

// CyclicStream is sent by its talker in cycle Start of each of its periods, and
// by the link d links further one in cycle Start+d.
type CyclicStream struct {
	Stream      int      // index in Problem.Streams
	Route       []LinkID // parent before child
	Start       int64
	Worst, Best int64 // latency, over all listeners
}

// Placement is when and where a stream is sent.
type Placement struct {
	Stream int      // index in Problem.Streams
	Route  []LinkID // parent before child
	// Starts and Queues are parallel to Route: the first frame released in
	// [0, Period) starts on Route[h] at Starts[h] (later hops may lie beyond the
	// period), from queue Queues[h], and again every period. nil if Instances are given.
	Starts []int64
	Queues []tsn.TrafficClass
	// Instances are the periods of one hyperperiod, if they are not alike.
	Instances []Instance
}

// Instance is one period of a stream: K counts from 0, Starts are from the
// schedule's base.
type Instance struct {
	K      int
	Starts []int64
	Queues []tsn.TrafficClass
}

// LinkGates is the gate control list of a link's egress port, base time 0.
type LinkGates struct {
	Link LinkID
	List tsn.GateControlList
	// MaxSDU is, for each queue, the largest frame in octets on the medium that
	// can leave at all; 0: no limit (802.1Q 12.29.1.1 queueMaxSDU).
	MaxSDU [tsn.MaxTrafficClasses]int
}

// Unplaced says why a stream is not in the schedule.
type Unplaced struct {
	Stream   int
	Link     LinkID // where it fails most; -1: no single link
	Blocking []int  // streams in the way there, ascending, at most 8
	Reason   string
	Remedy   string // what would make room; may be empty
}
