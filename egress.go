package tsn

import (
	"fmt"
	"math/bits"
	"strings"
)

// TrafficClass is a queue of an egress port; a higher number is served first
// (802.1Q 8.6.8). It is the standard's number: where a kernel orders queues
// the other way round, only the data plane knows.
type TrafficClass uint8

// MaxTrafficClasses is the standard's limit.
const MaxTrafficClasses = 8

// ClassMap gives the traffic class of each priority (802.1Q 8.6.6).
type ClassMap [8]TrafficClass

// The switch uses five classes on every port that may ever be gated. The map
// is fixed at port start: kernels refuse to change it on a live taprio.
//
//	class 4  priority 7     network control: IS-IS, gPTP, MRP, management
//	class 3  priority 5, 6  scheduled streams
//	class 2  priority 3     SR class A (credit-based)
//	class 1  priority 2     SR class B (credit-based)
//	class 0  the rest       best effort
const (
	ClassBestEffort TrafficClass = iota
	ClassSRB
	ClassSRA
	ClassScheduled
	ClassControl
	NumClasses = iota
)

// DefaultClassMap is the map above.
var DefaultClassMap = ClassMap{2: ClassSRB, 3: ClassSRA, 5: ClassScheduled, 6: ClassScheduled, 7: ClassControl}

// FourClassMap is for devices of four transmit queues: SR class B shares the queue
// of class A. A class keeps its number; ClassSRB has no priority.
var FourClassMap = ClassMap{2: ClassSRA, 3: ClassSRA, 5: ClassScheduled, 6: ClassScheduled, 7: ClassControl}

// Queues returns how many classes have a priority: each needs a queue.
func (m ClassMap) Queues() int { return bits.OnesCount8(uint8(m.used())) }

func (m ClassMap) used() (g GateMask) {
	for _, c := range m {
		g |= 1 << c
	}
	return g
}

// Unused are the classes below Classes that no priority has.
func (m ClassMap) Unused() GateMask { return (1<<m.Classes() - 1) &^ m.used() }

// Classes returns the number of classes up to the highest that the map uses.
func (m ClassMap) Classes() int {
	n := 0
	for _, c := range m {
		n = max(n, int(c)+1)
	}
	return n
}

// GateMask has bit c set when the gate of traffic class c is open.
type GateMask uint8

// Has reports whether the gate of class c is open.
func (g GateMask) Has(c TrafficClass) bool { return g&(1<<c) != 0 }

// String prints the gates from class 7 down to 0, o for open and C for
// closed, as 802.1Q examples do.
func (g GateMask) String() string {
	var b strings.Builder
	for c := 7; c >= 0; c-- {
		if g.Has(TrafficClass(c)) {
			b.WriteByte('o')
		} else {
			b.WriteByte('C')
		}
	}
	return b.String()
}

// GateEntry is one SetGateStates operation (802.1Q 8.6.8.4, table 8-7).
type GateEntry struct {
	Gates    GateMask `json:"gates"`
	Interval int64    `json:"intervalNs"` // TimeInterval, ns
}

// GateControlList is a schedule of one port. In an Admin list BaseTime is
// AdminBaseTime; cycle n of it starts at BaseTime + n*CycleTime.
type GateControlList struct {
	BaseTime           PTPTime     `json:"baseTime"`
	CycleTime          int64       `json:"cycleTimeNs"`                    // ns
	CycleTimeExtension int64       `json:"cycleTimeExtensionNs,omitempty"` // ns
	Entries            []GateEntry `json:"entries"`
}

// String prints the list on one line, for logs and golden files.
func (l *GateControlList) String() string {
	if l == nil {
		return "all-open"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "base %d cycle %d", l.BaseTime.NS, l.CycleTime)
	for _, e := range l.Entries {
		fmt.Fprintf(&b, " %02x/%d", uint8(e.Gates), e.Interval)
	}
	return b.String()
}

// LaunchTime makes the frames of a class leave when their talker says so with
// each (SO_TXTIME, CLOCK_TAI), in that order. A frame that comes without a launch
// time, or later than Delta before it, is dropped, and its talker told. The zero
// LaunchTime is none: frames leave as they come.
type LaunchTime struct {
	// Delta is how long before its launch time a frame leaves the queue, ns: what
	// the way to the medium takes, of which a device that launches by itself has
	// the rest wait. Without one the frame is early by it.
	Delta int64
	// Deadline: frames leave as soon as they can, and by their launch time.
	Deadline bool
}

// OpenTime returns how long the gate of c is open in one cycle: GateOpenTime of
// 802.1Q 8.6.8.2 f, in ns. Time after the last entry keeps its gates.
func (l *GateControlList) OpenTime(c TrafficClass) (open int64) {
	left := l.CycleTime
	for i, e := range l.Entries {
		interval := min(e.Interval, left)
		if i+1 == len(l.Entries) {
			interval = left
		}
		if left -= interval; e.Gates.Has(c) {
			open += interval
		}
	}
	return open
}

// PortEgress is what one egress port shall do: the composition of what qbv
// (gates), srp (idle slopes) and the configuration (class map, max SDU) want.
// The data plane turns it into one root qdisc and a classifier.
type PortEgress struct {
	Port     Port
	ClassMap ClassMap
	// Gates nil means one all-open entry.
	Gates *GateControlList
	// IdleSlope per class in kbit/s; 0 means strict priority, no shaper.
	IdleSlope [MaxTrafficClasses]Rate
	// MaxFrame is the longest frame of the streams of a class on the medium
	// (Stream.WireOctets), on which its credit depends; 0 means MaxFrameOctets.
	MaxFrame [MaxTrafficClasses]int
	// Launch per class; a class has an idle slope or launch times, never both.
	Launch [MaxTrafficClasses]LaunchTime
	// MaxSDU per class in octets behind the Ethernet header (802.1Q 12.29.1.1.1
	// queueMaxSDU, counted as kernels do: a tag belongs to it); 0 means no limit.
	MaxSDU [MaxTrafficClasses]uint32
	// Preemptible are the classes whose frames an express frame may interrupt
	// (802.1Q 6.7.2, framePreemptionStatusTable of 12.30.1.1.1).
	Preemptible [MaxTrafficClasses]bool
}
