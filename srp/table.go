package srp

import (
	"bytes"
	"cmp"
	"slices"

	"tsnswitch"
)

// owner is what one owner has reserved: the unit of replacement. An owner who
// gave everything back is remembered for the sake of its generation.
type owner struct {
	generation uint64
	changed    uint64 // value of Instance.puts at the last replacement
	set        []tsn.Reservation
}

// destination identifies the frames of a stream to the bridge. A group address
// in a VLAN belongs to one stream. A unicast destination is the listener's own
// address, which several talkers may send to in several priorities, so these
// are part of it.
type destination struct {
	address tsn.MAC
	vid     tsn.VID
	talker  tsn.MAC // zero for groups, as is pcp
	pcp     tsn.PCP
}

func destinationOf(s tsn.Stream) destination {
	d := destination{address: s.DestinationAddress, vid: s.VID}
	if !s.DestinationAddress.IsGroup() {
		d.talker, d.pcp = s.Talker, s.PCP
	}
	return d
}

func compareStreamID(a, b tsn.StreamID) int { return bytes.Compare(a[:], b[:]) }

// normal returns a copy of set in ascending stream id, ports ascending.
func normal(set []tsn.Reservation) []tsn.Reservation {
	out := make([]tsn.Reservation, len(set))
	for i, r := range set {
		out[i] = tsn.Reservation{Stream: r.Stream, Ports: slices.Compact(slices.Sorted(slices.Values(r.Ports)))}
	}
	slices.SortStableFunc(out, func(a, b tsn.Reservation) int { return compareStreamID(a.Stream.ID, b.Stream.ID) })
	return out
}

func sameSet(a, b []tsn.Reservation) bool {
	return slices.EqualFunc(a, b, func(a, b tsn.Reservation) bool {
		return a.Stream == b.Stream && slices.Equal(a.Ports, b.Ports)
	})
}

// replace puts an admitted set in force.
func (m *Instance) replace(name string, generation uint64, set []tsn.Reservation) {
	if o := m.owners[name]; o != nil && o.generation == generation {
		return // the same set again: admit has compared it
	}
	if m.owners[name] == nil && len(m.owners) >= m.cfg.MaxOwners {
		m.forgetOwner()
	}
	m.puts++
	m.owners[name] = &owner{generation: generation, changed: m.puts, set: set}
}

// forgettable returns the owner without reservations that has been silent for
// longest, or "".
func (m *Instance) forgettable() (name string) {
	for n, o := range m.owners {
		if len(o.set) == 0 && (name == "" || o.changed < m.owners[name].changed) {
			name = n
		}
	}
	return name
}

func (m *Instance) forgetOwner() { delete(m.owners, m.forgettable()) }

// load is what is reserved on one port, by traffic class.
type load [tsn.MaxTrafficClasses]tsn.Rate

// within is what counts towards the limit of a class. SR class B has its own
// share and what class A leaves of A's (802.1Q 34.3.1).
func (l load) within(c tsn.TrafficClass) tsn.Rate {
	if c == tsn.ClassSRB {
		return l[tsn.ClassSRB] + l[tsn.ClassSRA]
	}
	return l[c]
}

// loads sums the reservations on every port, those of owner name replaced by set.
func (m *Instance) loads(name string, set []tsn.Reservation) map[tsn.Port]load {
	out := map[tsn.Port]load{}
	add := func(set []tsn.Reservation) {
		for _, r := range set {
			for _, p := range r.Ports {
				l := out[p]
				l[m.cfg.ClassMap[r.Stream.PCP&7]] += r.Stream.Bandwidth()
				out[p] = l
			}
		}
	}
	for n, o := range m.owners { // sums: the order does not matter
		if n != name {
			add(o.set)
		}
	}
	add(set)
	return out
}

// longest is the longest frame of the streams on one port, in octets on the
// medium, by traffic class.
type longest [tsn.MaxTrafficClasses]int

func (l *longest) add(c tsn.TrafficClass, octets int) { l[c] = max(l[c], octets) }

// longestFrames are those of every port, but for the reservations of an owner.
func (m *Instance) longestFrames(except string) map[tsn.Port]longest {
	out := map[tsn.Port]longest{}
	m.others(except, func(r tsn.Reservation, _ string) {
		for _, p := range r.Ports {
			l := out[p]
			l.add(m.cfg.ClassMap[r.Stream.PCP&7], r.Stream.WireOctets())
			out[p] = l
		}
	})
	return out
}

// reserved is the desired state of the table as it stands.
func (m *Instance) reserved() Reserved {
	loads := m.loads("", nil)
	frames := m.longestFrames("")
	out := Reserved{Slopes: m.slopes(func(i int) (load, longest) { return loads[m.ports[i].Port], frames[m.ports[i].Port] })}
	var groups []tsn.Reservation
	for _, o := range m.owners {
		for _, r := range o.set {
			if r.Stream.DestinationAddress.IsGroup() {
				groups = append(groups, r)
			}
		}
	}
	slices.SortFunc(groups, func(a, b tsn.Reservation) int { return compareEntries(entryOf(a), entryOf(b)) })
	for _, r := range groups {
		out.MDB, out.Talkers = append(out.MDB, entryOf(r)), append(out.Talkers, r.Stream.Talker)
	}
	if m.msrp != nil {
		out.Idle = m.msrp.idle()
	}
	return out
}

// slopes are those of ports that carry so much, by index.
func (m *Instance) slopes(carries func(i int) (load, longest)) (out []PortSlopes) {
	for i, p := range m.ports {
		s := PortSlopes{Port: p.Port}
		l, frames := carries(i)
		for _, c := range []tsn.TrafficClass{tsn.ClassSRB, tsn.ClassSRA} {
			s.IdleSlope[c], s.MaxFrame[c] = l[c], frames[c]
		}
		if s.IdleSlope != (load{}) {
			out = append(out, s)
		}
	}
	return out
}

// entryOf is the group entry of a reservation.
func entryOf(r tsn.Reservation) tsn.MDBEntry {
	return tsn.MDBEntry{Group: r.Stream.DestinationAddress, VID: r.Stream.VID, Ports: slices.Clone(r.Ports)}
}

func compareEntries(a, b tsn.MDBEntry) int {
	return cmp.Or(cmp.Compare(a.VID, b.VID), bytes.Compare(a.Group[:], b.Group[:]))
}

// tell emits a desired state if it is another one than before.
func (m *Instance) tell(r Reserved) {
	if !r.equal(m.desired) {
		m.desired = r
		m.emit(r)
	}
}

func (r Reserved) equal(o Reserved) bool {
	return slices.Equal(r.Slopes, o.Slopes) && slices.Equal(r.Talkers, o.Talkers) && sameEntries(r.MDB, o.MDB) && sameEntries(r.Idle, o.Idle)
}

func sameEntries(a, b []tsn.MDBEntry) bool {
	return slices.EqualFunc(a, b, func(a, b tsn.MDBEntry) bool {
		return a.Group == b.Group && a.VID == b.VID && slices.Equal(a.Ports, b.Ports)
	})
}

// StreamState is one stream in the table.
type StreamState struct {
	Owner      string     `json:"owner"`
	Generation uint64     `json:"generation"`
	Stream     tsn.Stream `json:"stream"`
	Ports      []tsn.Port `json:"ports"`
	Class      uint8      `json:"class"` // traffic class
	Guarantee  Guarantee  `json:"guarantee"`
	Bandwidth  tsn.Rate   `json:"bandwidthKbps"` // on each port
}

// Guarantee is what keeps a stream's latency bounded.
type Guarantee string

const (
	// GuaranteeWindows: the gates of each port open for its frames (802.1Q 8.6.8.4).
	// Bandwidth is accounted for here, windows are planned by qbv.
	GuaranteeWindows Guarantee = "windows"
	// GuaranteeClass: a credit-based shaper gives its class the sum of what its
	// streams reserved (802.1Q 8.6.8.2), which bounds what one waits for others.
	GuaranteeClass Guarantee = "class"
)

func guaranteeOf(c tsn.TrafficClass) Guarantee {
	if c == tsn.ClassScheduled {
		return GuaranteeWindows
	}
	return GuaranteeClass
}

// Streams returns the table in ascending stream id.
func (m *Instance) Streams() []StreamState {
	out := []StreamState{}
	for name, o := range m.owners {
		for _, r := range o.set {
			c := m.cfg.ClassMap[r.Stream.PCP&7]
			out = append(out, StreamState{
				Owner: name, Generation: o.generation, Stream: r.Stream, Ports: slices.Clone(r.Ports),
				Class: uint8(c), Guarantee: guaranteeOf(c), Bandwidth: r.Stream.Bandwidth(),
			})
		}
	}
	slices.SortFunc(out, func(a, b StreamState) int { return compareStreamID(a.Stream.ID, b.Stream.ID) })
	return out
}

// PortState is what a port has given and has left. Rates are in kbit/s.
type PortState struct {
	Port      tsn.Port     `json:"port"`
	Up        bool         `json:"up"`
	Rate      tsn.Rate     `json:"rateKbps"`
	Reserved  tsn.Rate     `json:"reservedKbps"`
	Limit     tsn.Rate     `json:"limitKbps"`
	Available tsn.Rate     `json:"availableKbps"`
	Classes   []ClassState `json:"classes"` // the stream classes, ascending
}

// ClassState is the share of one traffic class. Available is also bounded by
// what the port as a whole has left.
type ClassState struct {
	Class     uint8    `json:"class"`
	Reserved  tsn.Rate `json:"reservedKbps"`
	Limit     tsn.Rate `json:"limitKbps"`
	Available tsn.Rate `json:"availableKbps"`
}

// Ports returns the state of every port, ascending.
func (m *Instance) Ports() []PortState {
	loads := m.loads("", nil)
	out := make([]PortState, 0, len(m.ports))
	for i := range m.ports {
		p := &m.ports[i]
		l := loads[p.Port]
		s := PortState{Port: p.Port, Up: p.up, Rate: p.rate(), Limit: m.limit(p, m.cfg.TotalPercent)}
		s.Reserved = l[tsn.ClassSRB] + l[tsn.ClassSRA] + l[tsn.ClassScheduled]
		s.Available = left(s.Limit, s.Reserved)
		for _, c := range streamClasses {
			limit := m.classLimit(p, c)
			available := min(left(limit, l.within(c)), s.Available)
			if c == tsn.ClassSRA { // what B has been lent is not taken back
				available = min(available, left(m.classLimit(p, tsn.ClassSRB), l.within(tsn.ClassSRB)))
			}
			s.Classes = append(s.Classes, ClassState{Class: uint8(c), Reserved: l[c], Limit: limit, Available: available})
		}
		out = append(out, s)
	}
	return out
}

// Counters returns the counters.
func (m *Instance) Counters() Counters { return m.counters }
