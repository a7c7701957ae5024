package srp

import (
	"fmt"
	"slices"

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

// Notices of MVRP and MMRP.
const (
	NoticeVLANRegistered  = "vlan-registered" // somebody at a port wants a VLAN
	NoticeVLANLeft        = "vlan-left"       // nobody does any more
	NoticeGroupRegistered = "group-registered"
	NoticeGroupLeft       = "group-left"
)

// vlanNews tells the registrations that before and now differ in.
func vlanNews(before, now RegisteredVLANs) (out []tsn.Effect) {
	of := func(r RegisteredVLANs, p tsn.Port) []tsn.VID {
		for _, v := range r.Ports {
			if v.Port == p {
				return v.VIDs
			}
		}
		return nil
	}
	tell := func(kind string, in, missing RegisteredVLANs) {
		for _, p := range in.Ports {
			for _, vid := range p.VIDs {
				if !slices.Contains(of(missing, p.Port), vid) {
					out = append(out, tsn.Notice{Kind: kind, Port: p.Port, Detail: fmt.Sprintf("VLAN %d", vid)})
				}
			}
		}
	}
	tell(NoticeVLANLeft, before, now)
	tell(NoticeVLANRegistered, now, before)
	return out
}

// groupNews is vlanNews of groups.
func groupNews(before, now RegisteredGroups) (out []tsn.Effect) {
	type at struct {
		vid   tsn.VID
		group tsn.MAC
		port  tsn.Port
	}
	all := func(r RegisteredGroups) map[at]bool {
		set := map[at]bool{}
		for _, g := range r.Groups {
			for _, p := range g.Ports {
				set[at{g.VID, g.Group, p}] = true
			}
		}
		return set
	}
	tell := func(kind string, in RegisteredGroups, missing map[at]bool) {
		for _, g := range in.Groups {
			for _, p := range g.Ports {
				if !missing[at{g.VID, g.Group, p}] {
					out = append(out, tsn.Notice{Kind: kind, Port: p, Detail: fmt.Sprintf("%s in VLAN %d", g.Group, g.VID)})
				}
			}
		}
	}
	tell(NoticeGroupLeft, before, all(now))
	tell(NoticeGroupRegistered, now, all(before))
	return out
}
