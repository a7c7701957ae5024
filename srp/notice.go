package srp

import (
	"fmt"

	"tsnswitch"
	"tsnswitch/srp/mrp"
)

// Notices of MSRP. Details of those about a stream begin with its id.
const (
	NoticeReserved  = "stream-reserved"  // on a port
	NoticeReleased  = "stream-released"  // there, by its listener, talker, link or tree
	NoticePreempted = "stream-preempted" // there, by an emergency stream
	NoticeFailed    = "stream-failed"    // towards a port, here or before it came here
	NoticeMoved     = "stream-moved"     // its talker is at another port
	NoticeBoundary  = "srp-boundary"     // a port has become a boundary of a class, or is none any more
	NoticeTableFull = "srp-table-full"   // what others declare on a port is not registered
)

// portNews is what was last told of a port.
type portNews struct {
	why  []string // it is a boundary, by class
	full bool
}

// domainsMoved tells which classes a port has become a boundary of.
func (b *bridge) domainsMoved(i int) {
	p := &b.ports[i]
	if !p.started {
		p.told.why = nil // a new link is a new beginning
		return
	}
	var now []string
	for c := range b.cfg.Classes {
		now = append(now, b.boundaryText(i, c))
	}
	for c, why := range now {
		before := ""
		if p.told.why != nil {
			before = p.told.why[c]
		}
		name := className(b.cfg.Classes[c].ID)
		switch {
		case why == before:
		case why == "":
			b.notice(NoticeBoundary, i, fmt.Sprintf("inside the domain of class %s again", name))
		default:
			b.notice(NoticeBoundary, i, fmt.Sprintf("boundary of class %s: %s", name, why))
		}
	}
	p.told.why = now
}

// tableFull tells, once until there is room, that a port's participant had none.
func (b *bridge) tableFull(i int, dropped bool) {
	p := &b.ports[i]
	if dropped && !p.told.full {
		b.notice(NoticeTableFull, i, "others declare more than there is room for")
	}
	p.told.full = dropped
}

func (b *bridge) notice(kind string, i int, detail string) {
	b.emit(tsn.Notice{Kind: kind, Port: b.Instance.ports[i].Port, Detail: detail})
}

// tellFailed counts and tells of a stream that has come to fail towards a port,
// with a code of this system's or, if that is none, with its talker's.
func (b *bridge) tellFailed(s *streamState, q int, code tsn.FailureCode, d mrp.Talker) {
	o := &s.out[q]
	switch {
	case code != tsn.FailureNone && code != o.code:
		b.counters.Failed[int(code)%len(b.counters.Failed)]++
		b.notice(NoticeFailed, q, fmt.Sprintf("%s: code %d, %s", s.id, code, code))
	case code == tsn.FailureNone && d.Failed && !o.said.Failed:
		b.notice(NoticeFailed, q, fmt.Sprintf("%s: code %d at %s, %s", s.id, d.FailureCode, d.BridgeID, d.FailureCode))
	}
	o.code = code
}

// tellMoved tells of a stream whose talker is not where it was.
func (b *bridge) tellMoved(s *streamState, to int) {
	if s.last != none && s.last != to {
		b.notice(NoticeMoved, to, fmt.Sprintf("%s comes in here, no longer by port %d", s.id, b.Instance.ports[s.last].Port))
	}
	s.last = to
}
