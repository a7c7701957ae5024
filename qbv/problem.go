package qbv

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"

	"tsnswitch"
)

// Problem is a network and what it shall carry. Times are ns. The order of
// Links and Streams does not matter to the result.
type Problem struct {
	Links   []Link       `json:"links"`
	Streams []StreamPath `json:"streams"`

	ClassMap tsn.ClassMap `json:"classMap"` // the zero map means tsn.DefaultClassMap

	// GuardOctets is the longest frame of another class, on the medium, that
	// may be in the way when a window opens: the other gates close that long
	// before. 0 means MaxFrameOctets, negative means no guard band.
	GuardOctets int `json:"guardOctets"`
	// SyncError is the largest difference between two systems' clocks.
	SyncError int64 `json:"syncErrorNs"`
	// Jitter is how far a transmission may be from its planned time, either
	// way, because a kernel is not precise. SyncError+Jitter is added to
	// each side of every window, and twice to every latency. Delays of single
	// frames of a burst add up: it is the sum that must stay within Jitter.
	Jitter int64 `json:"jitterNs"`
	// ShortFrames says that frames may be shorter than MaxFrameSize. They
	// reach the next system early, and the windows of others are kept clear of
	// that. Without it a short frame may leave in an earlier window of its class.
	ShortFrames bool `json:"shortFrames,omitempty"`
	// HardwareGates says that no port runs software taprio. Otherwise every
	// list ends in a guard entry (see ForSoftwareTaprio), no window reaches
	// into it or over the end of the cycle, and control traffic fits within one
	// entry (see Limits.PerEntry). That costs room when windows are long
	// compared with the intervals.
	HardwareGates bool `json:"hardwareGates,omitempty"`

	// MinInterval is the shortest gate entry; 0 means 1. Software taprio takes
	// none shorter than a 60-octet frame: without HardwareGates that is
	// the least on each link.
	MinInterval int64 `json:"minIntervalNs"`
	MaxCycle    int64 `json:"maxCycleNs"` // limit of the hyperperiod; 0 means MaxSoftwareCycle
	Work        int   `json:"work"`       // comparisons to spend; 0 means DefaultWork
}

// DefaultWork bounds a plan: about a second on a slow machine.
const DefaultWork = 50_000_000

// Link is one direction of a full-duplex link.
type Link struct {
	From             tsn.Hop  `json:"from"` // egress port
	To               tsn.MAC  `json:"to"`   // receiving system
	Rate             tsn.Rate `json:"rateKbps"`
	PropagationDelay int64    `json:"propagationDelayNs"`
	// ProcessingDelay is To's: from a frame's last octet in to its first
	// octet out at the earliest (802.1Q dependent and independent bridge
	// delay). A listener's does not count towards the latency.
	ProcessingDelay int64 `json:"processingDelayNs"`
	MaxEntries      int   `json:"maxEntries"` // of From's gate control list; 0 means 65536
}

// StreamPath is a stream and its way: Path[0] is the talker's port, the last
// hop's link ends at the listener.
type StreamPath struct {
	Stream tsn.Stream `json:"stream"`
	Path   []tsn.Hop  `json:"path"`
}

// Schedule is a plan. All offsets count from the common base time, all
// GateControlLists have BaseTime 0: whoever commits them adds the base.
type Schedule struct {
	CycleTime int64            `json:"cycleTimeNs"` // hyperperiod of all streams; each port's cycle divides it
	Streams   []StreamSchedule `json:"streams"`     // ascending stream id
	Ports     []PortSchedule   `json:"ports"`       // ascending system, port; only ports with streams
}

// StreamSchedule says when a stream is sent.
type StreamSchedule struct {
	Stream tsn.Stream `json:"stream"`
	// InjectionOffset is when, in each interval, the talker's gate opens:
	// frames are to be in its queue by then, and not before the previous
	// window of the port has closed.
	InjectionOffset int64 `json:"injectionOffsetNs"`
	// WorstLatency is from InjectionOffset to the listener's last octet.
	WorstLatency int64  `json:"worstLatencyNs"`
	Slots        []Slot `json:"slots"` // one per hop, in path order
}

// Slot is a stream's window on one egress port, in its first interval and
// again in every other. Times may lie beyond the interval, in path order.
type Slot struct {
	Hop   tsn.Hop `json:"hop"`
	Start int64   `json:"startNs"` // of the first frame, as planned
	End   int64   `json:"endNs"`   // of the last frame, as planned
	Open  int64   `json:"openNs"`  // of the gate: Start less the margin
	Close int64   `json:"closeNs"`
}

// PortSchedule is the gate control list of one egress port.
type PortSchedule struct {
	Hop  tsn.Hop             `json:"hop"`
	List tsn.GateControlList `json:"list"`
}

// Infeasible says why there is no plan: at Link, for Stream, because of
// Blocking (ascending, at most 8). Link and Stream may be zero.
type Infeasible struct {
	Stream   tsn.StreamID
	Link     tsn.Hop
	Blocking []tsn.StreamID
	Reason   string
}

func (e *Infeasible) Error() string {
	var b strings.Builder
	b.WriteString("no schedule: ")
	if e.Stream != (tsn.StreamID{}) {
		fmt.Fprintf(&b, "stream %s ", e.Stream)
	}
	if e.Link != (tsn.Hop{}) {
		fmt.Fprintf(&b, "at %s port %d ", e.Link.System, e.Link.Port)
	}
	b.WriteString(e.Reason)
	for i, id := range e.Blocking {
		sep := ", "
		if i == 0 {
			sep = "; in the way: "
		}
		fmt.Fprintf(&b, "%s%s", sep, id)
	}
	return b.String()
}

// ProblemError is a fault of the input itself.
type ProblemError struct{ Reason string }

func (e *ProblemError) Error() string { return "schedule problem: " + e.Reason }

// Lists returns the gate control lists of one system, ascending port: what its
// Stage event takes. Ports that carry no stream are not in it; a port that had
// gates under the schedule before and is not in it now needs a nil list.
func (s *Schedule) Lists(system tsn.MAC) []PortList {
	var out []PortList
	for _, p := range s.Ports {
		if p.Hop.System == system {
			out = append(out, PortList{p.Hop.Port, clone(&p.List)})
		}
	}
	return out
}

func compareHop(a, b tsn.Hop) int {
	return cmp.Or(bytes.Compare(a.System[:], b.System[:]), cmp.Compare(a.Port, b.Port))
}

func compareID(a, b tsn.StreamID) int { return bytes.Compare(a[:], b[:]) }

// normalized returns a copy of p with defaults filled in and everything in
// ascending order, or a *ProblemError.
func (p Problem) normalized() (Problem, error) {
	if p.ClassMap == (tsn.ClassMap{}) {
		p.ClassMap = tsn.DefaultClassMap
	}
	if p.GuardOctets == 0 {
		p.GuardOctets = MaxFrameOctets
	}
	p.GuardOctets = max(p.GuardOctets, 0)
	p.MinInterval = max(p.MinInterval, 1)
	if p.MaxCycle <= 0 {
		p.MaxCycle = MaxSoftwareCycle
	}
	if p.Work <= 0 {
		p.Work = DefaultWork
	}
	p.Links = slices.Clone(p.Links)
	slices.SortFunc(p.Links, func(a, b Link) int { return compareHop(a.From, b.From) })
	p.Streams = slices.Clone(p.Streams)
	slices.SortFunc(p.Streams, func(a, b StreamPath) int { return compareID(a.Stream.ID, b.Stream.ID) })
	return p, p.validate()
}

// maxTime bounds every delay given, so that sums along a path cannot overflow.
const maxTime = 10_000_000_000

func (p Problem) validate() error {
	bad := func(format string, a ...any) error { return &ProblemError{fmt.Sprintf(format, a...)} }
	for _, v := range []int64{p.SyncError, p.Jitter, p.MinInterval} {
		if v < 0 || v > maxTime {
			return bad("sync error, jitter and minimum interval must be 0..10 s, not %d ns", v)
		}
	}
	if p.GuardOctets > 1<<16 {
		return bad("a guard band of %d octets is longer than any frame", p.GuardOctets)
	}
	for i, l := range p.Links {
		switch {
		case i > 0 && p.Links[i-1].From == l.From:
			return bad("link %s port %d is given twice", l.From.System, l.From.Port)
		case l.Rate == 0:
			return bad("link %s port %d has no rate", l.From.System, l.From.Port)
		case min(l.PropagationDelay, l.ProcessingDelay) < 0 || max(l.PropagationDelay, l.ProcessingDelay) > maxTime:
			return bad("link %s port %d: delays must be 0..10 s", l.From.System, l.From.Port)
		}
	}
	for i, s := range p.Streams {
		if i > 0 && p.Streams[i-1].Stream.ID == s.Stream.ID {
			return bad("stream %s is given twice", s.Stream.ID)
		}
		if err := p.validateStream(s); err != nil {
			return bad("stream %s: %v", s.Stream.ID, err)
		}
	}
	return nil
}

func (p Problem) validateStream(s StreamPath) error {
	if err := s.Stream.Validate(); err != nil {
		return err
	}
	if c := p.ClassMap[s.Stream.PCP]; c != tsn.ClassScheduled {
		return fmt.Errorf("priority %d is in class %d, only class %d is scheduled", s.Stream.PCP, c, tsn.ClassScheduled)
	}
	if len(s.Path) == 0 || len(s.Path) > 64 {
		return fmt.Errorf("a path of %d hops is outside 1..64", len(s.Path))
	}
	for i, h := range s.Path {
		l := p.link(h)
		if l < 0 {
			return fmt.Errorf("hop %d: there is no link at %s port %d", i+1, h.System, h.Port)
		}
		if i+1 < len(s.Path) && p.Links[l].To != s.Path[i+1].System {
			return fmt.Errorf("hop %d: %s port %d leads to %s, the path goes on at %s", i+1, h.System, h.Port, p.Links[l].To, s.Path[i+1].System)
		}
		if slices.Contains(s.Path[:i], h) {
			return fmt.Errorf("hop %d: the path uses %s port %d twice", i+1, h.System, h.Port)
		}
	}
	return nil
}

// link returns the index of the link at h, or -1. Links are sorted.
func (p Problem) link(h tsn.Hop) int {
	i, ok := slices.BinarySearchFunc(p.Links, h, func(l Link, h tsn.Hop) int { return compareHop(l.From, h) })
	if !ok {
		return -1
	}
	return i
}

// minInterval is the shortest gate entry of a link's port.
func (p Problem) minInterval(l Link) int64 {
	if p.HardwareGates {
		return p.MinInterval
	}
	return max(p.MinInterval, l.Rate.TransmitTime(60))
}

// margin is added to each side of a window.
func (p Problem) margin() int64 { return p.SyncError + p.Jitter }
