package schedule

import (
	"fmt"
	"slices"

	tsn "tsnswitch"
)

// Error is a fault of a Problem itself, named by where it is.
type Error struct {
	Where  string // "link 3 (a-b)", "stream 7"
	Reason string
}

func (e *Error) Error() string { return e.Where + ": " + e.Reason }

// The largest problem that is accepted.
const (
	MaxNodes   = 1 << 14
	MaxLinks   = 1 << 16
	MaxStreams = 1 << 17
	MaxFrames  = 1 << 10
	// MaxTime bounds every time of a problem, so that sums of some thousand of
	// them are far from overflow.
	MaxTime = int64(1) << 40
)

// Validate returns the first fault as an *Error.
func (p *Problem) Validate() error {
	bad := func(where, format string, a ...any) error { return &Error{where, fmt.Sprintf(format, a...)} }
	switch {
	case len(p.Nodes) > MaxNodes || len(p.Links) > MaxLinks || len(p.Streams) > MaxStreams:
		return bad("problem", "%d nodes, %d links and %d streams are more than %d, %d and %d",
			len(p.Nodes), len(p.Links), len(p.Streams), MaxNodes, MaxLinks, MaxStreams)
	case outside(p.SyncError, 0, MaxTime), outside(p.Jitter, 0, MaxTime), outside(p.MaxCycle, 0, MaxTime):
		return bad("problem", "sync error, jitter or longest cycle is outside 0..%d ns", MaxTime)
	case p.Isolation > InOrder:
		return bad("problem", "isolation %d does not exist", p.Isolation)
	}
	for i := range p.Links {
		if reason := p.linkFault(&p.Links[i]); reason != "" {
			return bad(p.LinkName(LinkID(i)), "%s", reason)
		}
	}
	seen := make(map[int]bool, len(p.Streams))
	for i := range p.Streams {
		s := &p.Streams[i]
		reason := p.streamFault(s)
		if seen[s.ID] {
			reason = "is there twice"
		}
		if seen[s.ID] = true; reason != "" {
			return bad(fmt.Sprintf("stream %d", s.ID), "%s", reason)
		}
	}
	return nil
}

func outside(v, least, most int64) bool { return v < least || v > most }

func (p *Problem) node(n NodeID) bool { return n >= 0 && int(n) < len(p.Nodes) }

// LinkName is "link 3 (a-b)".
func (p *Problem) LinkName(l LinkID) string {
	if l < 0 || int(l) >= len(p.Links) {
		return fmt.Sprintf("link %d", l)
	}
	name := func(n NodeID) string {
		if !p.node(n) {
			return "?"
		}
		return p.Nodes[n].Name
	}
	return fmt.Sprintf("link %d (%s-%s)", l, name(p.Links[l].From), name(p.Links[l].To))
}

func (p *Problem) linkFault(l *Link) string {
	all := tsn.GateMask(1<<max(min(l.Queues, tsn.MaxTrafficClasses), 0) - 1)
	switch {
	case !p.node(l.From) || !p.node(l.To) || l.From == l.To:
		return "does not join two nodes"
	case l.Rate == 0 || l.Rate.TransmitTime(1) > 1_000_000:
		return fmt.Sprintf("a rate of %d kbit/s is too low", uint64(l.Rate))
	case outside(l.PropagationDelay, 0, MaxTime) || outside(l.ProcessingDelay, 0, MaxTime) || outside(l.MinInterval, 0, MaxTime):
		return fmt.Sprintf("a delay or interval is outside 0..%d ns", MaxTime)
	case l.Queues < 1 || l.Queues > tsn.MaxTrafficClasses:
		return fmt.Sprintf("%d queues are outside 1..%d", l.Queues, tsn.MaxTrafficClasses)
	case l.Scheduled == 0 || l.Scheduled&^all != 0:
		return fmt.Sprintf("the queues for scheduled streams (%s) are none or not there: it has %d", l.Scheduled, l.Queues)
	case outside(int64(l.GuardOctets), 0, 1<<16) || outside(int64(l.ControlOctets), 0, 1<<16) || l.MaxEntries < 0:
		return "guard, control frame or list limit is out of range"
	case slices.ContainsFunc(l.MaxSDU[:], func(n int) bool { return outside(int64(n), 0, 1<<16) }):
		return "a max-SDU is out of range"
	case l.ControlOctets > 0 && all.Has(l.Control) && l.MaxSDU[l.Control] > 0 && l.ControlOctets > l.MaxSDU[l.Control]:
		return fmt.Sprintf("control frames of %d octets are longer than their queue's max-SDU of %d", l.ControlOctets, l.MaxSDU[l.Control])
	case l.ControlOctets > 0 && (!all.Has(l.Control) || l.Scheduled.Has(l.Control)):
		return fmt.Sprintf("control queue %d is not there or is a scheduled one", l.Control)
	}
	return ""
}

func (p *Problem) streamFault(s *Stream) string {
	switch {
	case !p.node(s.Talker):
		return "has no talker"
	case len(s.Listeners) == 0:
		return "has no listener"
	case s.Size < 1 || s.Size > 1<<16 || s.MinSize < 0 || s.MinSize > s.Size:
		return fmt.Sprintf("frames of %d to %d octets are outside 1..%d", s.MinSize, s.Size, 1<<16)
	case s.Frames < 0 || s.Frames > MaxFrames:
		return fmt.Sprintf("%d frames a period are outside 1..%d", s.Frames, MaxFrames)
	case outside(s.Period, 1, MaxTime) || outside(s.Deadline, 1, MaxTime) || outside(s.Jitter, 0, MaxTime):
		return fmt.Sprintf("period, deadline or jitter is outside 1..%d ns", MaxTime)
	case s.Release[0] < 0 || s.Release[1] < 0 || s.Release[1] >= s.Period || s.Release[1] != 0 && s.Release[0] > s.Release[1] || s.Release[0] >= s.Period:
		return fmt.Sprintf("release window %d..%d is not within its period of %d ns", s.Release[0], s.Release[1], s.Period)
	}
	seen := map[NodeID]bool{s.Talker: true}
	for _, n := range s.Listeners {
		if !p.node(n) || seen[n] {
			return "a listener does not exist, is named twice or is the talker"
		}
		seen[n] = true
	}
	for i, r := range s.Routes {
		if reason := p.RouteFault(s, r); reason != "" {
			return fmt.Sprintf("route %d: %s", i, reason)
		}
	}
	return ""
}

// RouteFault says why route is no tree from s's talker to exactly its
// listeners, parent before child; "" if it is one. Listeners may forward only
// if they are bridges.
func (p *Problem) RouteFault(s *Stream, route []LinkID) string {
	reached := map[NodeID]bool{s.Talker: true}
	leaf := map[NodeID]bool{}
	for _, id := range route {
		if id < 0 || int(id) >= len(p.Links) {
			return fmt.Sprintf("link %d does not exist", id)
		}
		l := &p.Links[id]
		switch {
		case !reached[l.From]:
			return p.LinkName(id) + " begins where the stream has not come yet"
		case reached[l.To]:
			return p.LinkName(id) + " comes back to a node"
		case l.From != s.Talker && !p.Nodes[l.From].Bridge:
			return p.LinkName(id) + " leaves an end station"
		}
		reached[l.To], leaf[l.To] = true, true
		delete(leaf, l.From)
	}
	for _, n := range s.Listeners {
		if !reached[n] || n == s.Talker {
			return "does not reach " + p.Nodes[n].Name
		}
		delete(leaf, n)
	}
	if len(leaf) > 0 {
		return "ends where there is no listener"
	}
	return ""
}
