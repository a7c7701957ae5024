package srp

import (
	"fmt"
	"slices"

	"tsnswitch"
)

// streamClasses are the traffic classes that take reservations, ascending.
var streamClasses = []tsn.TrafficClass{tsn.ClassSRB, tsn.ClassSRA, tsn.ClassScheduled}

// Refusal says why a set was not taken. Code is FailureNone for a request that
// is wrong in itself: its generation, its owner. Needed and Available are in
// kbit/s and set for codes 1 and 3: by how much the set's use of the port would
// grow, and what was left.
type Refusal struct {
	Code              tsn.FailureCode
	Stream            tsn.StreamID // zero if no single stream is at fault
	Port              tsn.Port
	Needed, Available tsn.Rate
	Reason            string
}

func (r *Refusal) Error() string {
	s := r.Reason
	if r.Port != tsn.NoPort {
		s = fmt.Sprintf("port %d: %s", r.Port, s)
	}
	if r.Stream != (tsn.StreamID{}) {
		s = fmt.Sprintf("stream %s: %s", r.Stream, s)
	}
	if r.Code != tsn.FailureNone {
		s = fmt.Sprintf("%s (%s, code %d)", s, r.Code, uint8(r.Code))
	}
	return s
}

func refuse(code tsn.FailureCode, id tsn.StreamID, p tsn.Port, format string, a ...any) *Refusal {
	return &Refusal{Code: code, Stream: id, Port: p, Reason: fmt.Sprintf(format, a...)}
}

// admit runs every check in the order of MSRP (802.1Q 35.2.4.2 and table
// 35-6) and returns the set in normal form. It changes nothing.
func (m *Instance) admit(ev PutReservations) ([]tsn.Reservation, *Refusal) {
	if r := m.checkRequest(ev); r != nil {
		return nil, r
	}
	set := normal(ev.Reservations)
	old := m.owners[ev.Owner]
	if old != nil && ev.Generation == old.generation {
		if !sameSet(set, old.set) {
			return nil, refuse(tsn.FailureNone, tsn.StreamID{}, 0,
				"owner %q: generation %d is in force with other reservations: send a higher one", ev.Owner, ev.Generation)
		}
		return set, nil
	}
	held := map[tsn.StreamID]tsn.Reservation{}
	if old != nil {
		for _, r := range old.set {
			held[r.Stream.ID] = r
		}
	}
	checks := []func([]tsn.Reservation, string, map[tsn.StreamID]tsn.Reservation) *Refusal{
		m.checkPorts, m.checkFirstValue, m.checkDestinations, m.checkIDs, m.checkStreams, m.checkLoads, m.checkResources,
	}
	for _, check := range checks {
		if r := check(set, ev.Owner, held); r != nil {
			return nil, r
		}
	}
	return set, nil
}

// checkRequest refuses what must not be looked at more closely.
func (m *Instance) checkRequest(ev PutReservations) *Refusal {
	none := tsn.StreamID{}
	switch old := m.owners[ev.Owner]; {
	case ev.Owner == "" || len(ev.Owner) > 255:
		return refuse(tsn.FailureNone, none, 0, "owner name of %d octets is outside 1..255", len(ev.Owner))
	case ev.Owner == MSRPOwner && m.msrp != nil:
		return refuse(tsn.FailureNone, none, 0, "owner %q: its streams are those of MSRP", ev.Owner)
	case old != nil && ev.Generation < old.generation:
		return refuse(tsn.FailureNone, none, 0, "owner %q: generation %d is older than %d, which is in force",
			ev.Owner, ev.Generation, old.generation)
	case old == nil && len(m.owners) >= m.cfg.MaxOwners && m.forgettable() == "":
		return refuse(tsn.FailureMSRPResources, none, 0, "%d owners hold reservations, no more are kept", len(m.owners))
	case len(ev.Reservations) > m.cfg.MaxStreams:
		return refuse(tsn.FailureMSRPResources, none, 0, "%d streams in one request, the table holds %d",
			len(ev.Reservations), m.cfg.MaxStreams)
	}
	for _, r := range ev.Reservations {
		if len(r.Ports) == 0 || len(r.Ports) > len(m.ports) {
			return refuse(tsn.FailureEgressNotAVB, r.Stream.ID, 0, "names %d ports, this system has %d", len(r.Ports), len(m.ports))
		}
	}
	return nil
}

// checkPorts: code 8. A port that this stream already holds may be down: its
// owner will move the stream, and must be able to move another one first.
func (m *Instance) checkPorts(set []tsn.Reservation, _ string, held map[tsn.StreamID]tsn.Reservation) *Refusal {
	for _, r := range set {
		for _, n := range r.Ports {
			p := m.port(n)
			if p == nil {
				return refuse(tsn.FailureEgressNotAVB, r.Stream.ID, n, "there is no such port")
			}
			if (!p.up || p.rate() == 0) && !slices.Contains(held[r.Stream.ID].Ports, n) {
				return refuse(tsn.FailureEgressNotAVB, r.Stream.ID, n, "the link is down")
			}
		}
	}
	return nil
}

// checkFirstValue: code 16. What a stream is cannot change while it is held;
// where it goes can, and so can its label.
func (m *Instance) checkFirstValue(set []tsn.Reservation, _ string, held map[tsn.StreamID]tsn.Reservation) *Refusal {
	for _, r := range set {
		h, ok := held[r.Stream.ID]
		h.Stream.Name = r.Stream.Name
		if ok && h.Stream != r.Stream {
			return refuse(tsn.FailureFirstValueChanged, r.Stream.ID, 0, "is held with other parameters: remove it first")
		}
	}
	return nil
}

// checkDestinations: code 5.
func (m *Instance) checkDestinations(set []tsn.Reservation, owner string, _ map[tsn.StreamID]tsn.Reservation) *Refusal {
	users := map[destination]tsn.StreamID{}
	m.others(owner, func(r tsn.Reservation, _ string) { users[destinationOf(r.Stream)] = r.Stream.ID })
	for _, r := range set {
		d := destinationOf(r.Stream)
		if user, ok := users[d]; ok && user != r.Stream.ID {
			return refuse(tsn.FailureDestinationInUse, r.Stream.ID, 0, "stream %s already sends to %s in VLAN %d", user, d.address, d.vid)
		}
		users[d] = r.Stream.ID
	}
	return nil
}

// checkIDs: code 4.
func (m *Instance) checkIDs(set []tsn.Reservation, owner string, _ map[tsn.StreamID]tsn.Reservation) *Refusal {
	users := map[tsn.StreamID]string{}
	m.others(owner, func(r tsn.Reservation, name string) { users[r.Stream.ID] = name })
	for i, r := range set {
		if user, ok := users[r.Stream.ID]; ok {
			return refuse(tsn.FailureStreamIDInUse, r.Stream.ID, 0, "the id belongs to owner %q", user)
		}
		if i > 0 && set[i-1].Stream.ID == r.Stream.ID {
			return refuse(tsn.FailureStreamIDInUse, r.Stream.ID, 0, "the id occurs twice in the request")
		}
	}
	return nil
}

// others visits the reservations of all owners but one, in no order.
func (m *Instance) others(except string, visit func(tsn.Reservation, string)) {
	for name, o := range m.owners {
		if name == except {
			continue
		}
		for _, r := range o.set {
			visit(r, name)
		}
	}
}

// checkStreams: codes 13 and 14, and 2 for a stream that means nothing (table
// 35-6 has no code for it).
func (m *Instance) checkStreams(set []tsn.Reservation, _ string, _ map[tsn.StreamID]tsn.Reservation) *Refusal {
	for _, r := range set {
		s := r.Stream
		if s.PCP > 7 || !slices.Contains(streamClasses, m.cfg.ClassMap[s.PCP]) {
			return refuse(tsn.FailurePriorityNotSR, s.ID, 0, "priority %d belongs to no stream class", s.PCP)
		}
		for _, n := range r.Ports {
			if p := m.port(n); s.MaxFrameSize > p.MaxFrameSize {
				return refuse(tsn.FailureMaxFrameSize, s.ID, n, "frames of %d octets, the port takes %d", s.MaxFrameSize, p.MaxFrameSize)
			}
		}
		if err := s.Validate(); err != nil {
			return refuse(tsn.FailureResources, s.ID, 0, "cannot be meant: %v", err)
		}
	}
	return nil
}

// checkLoads: codes 3 and 1. Only a port on which a class grows is checked, so
// that a link that became slower does not stop owners from giving back.
func (m *Instance) checkLoads(set []tsn.Reservation, owner string, held map[tsn.StreamID]tsn.Reservation) *Refusal {
	before, after := m.loads("", nil), m.loads(owner, set)
	for i := range m.ports {
		p := &m.ports[i]
		if r := m.checkBandwidth(p, after[p.Port], before[p.Port]); r != nil {
			r.Stream = firstNewcomer(set, held, p.Port)
			return r
		}
	}
	return nil
}

// firstNewcomer names the lowest stream that wants a port it does not hold.
func firstNewcomer(set []tsn.Reservation, held map[tsn.StreamID]tsn.Reservation, n tsn.Port) tsn.StreamID {
	for _, r := range set {
		if slices.Contains(r.Ports, n) && !slices.Contains(held[r.Stream.ID].Ports, n) {
			return r.Stream.ID
		}
	}
	return tsn.StreamID{}
}

// checkBandwidth compares a port's load with its limits (802.1Q 34.3).
func (m *Instance) checkBandwidth(p *port, now, before load) *Refusal {
	var total, totalBefore tsn.Rate
	for _, c := range slices.Backward(streamClasses) {
		total, totalBefore = total+now[c], totalBefore+before[c]
		used, usedBefore := now.within(c), before.within(c)
		if limit := m.classLimit(p, c); used > limit && used > usedBefore {
			return shortOf(tsn.FailureClassBandwidth, p, fmt.Sprintf("class %d", c), used, limit, usedBefore)
		}
	}
	if limit := m.limit(p, m.cfg.TotalPercent); total > limit && total > totalBefore {
		return shortOf(tsn.FailureBandwidth, p, "all stream classes", total, limit, totalBefore)
	}
	return nil
}

func shortOf(code tsn.FailureCode, p *port, who string, need, limit, before tsn.Rate) *Refusal {
	r := refuse(code, tsn.StreamID{}, p.Port, "%s: %d kbit/s more are needed, %d of %d kbit/s are left",
		who, need-before, left(limit, before), limit)
	r.Needed, r.Available = need-before, left(limit, before)
	return r
}

// checkResources: codes 10 (streams) and 12 (group entries).
func (m *Instance) checkResources(set []tsn.Reservation, owner string, _ map[tsn.StreamID]tsn.Reservation) *Refusal {
	streams, groups := len(set), 0
	count := func(r tsn.Reservation, _ string) {
		if r.Stream.DestinationAddress.IsGroup() {
			groups++
		}
	}
	for _, r := range set {
		count(r, owner)
	}
	m.others(owner, func(r tsn.Reservation, name string) { streams++; count(r, name) })
	if streams > m.cfg.MaxStreams {
		return refuse(tsn.FailureMSRPResources, tsn.StreamID{}, 0, "%d streams in all, the table holds %d", streams, m.cfg.MaxStreams)
	}
	if groups > m.cfg.MaxGroups {
		return refuse(tsn.FailureCannotStoreDA, tsn.StreamID{}, 0, "%d group entries in all, the bridge stores %d", groups, m.cfg.MaxGroups)
	}
	return nil
}

func (m *Instance) limit(p *port, percent int) tsn.Rate { return p.rate() * tsn.Rate(percent) / 100 }

func (m *Instance) classLimit(p *port, c tsn.TrafficClass) tsn.Rate {
	switch c {
	case tsn.ClassScheduled:
		return m.limit(p, m.cfg.ScheduledPercent)
	case tsn.ClassSRB:
		return m.limit(p, m.cfg.SRPercent+m.cfg.SRBPercent)
	}
	return m.limit(p, m.cfg.SRPercent)
}

func left(limit, used tsn.Rate) tsn.Rate { return limit - min(limit, used) }
