package srp

import (
	"cmp"
	"slices"

	"tsnswitch"
	"tsnswitch/srp/mrp"
)

// attributeMap is MAP (802.1Q 10.3) of one context of MVRP or MMRP: what is
// registered on a port of the active topology is declared on all others of it.
//
// A loop in that topology would keep a registration alive for ever: what a port
// says comes back on another. So a context's active ports must form a tree.
type attributeMap struct {
	app   *mrp.Application
	ports []mapPort
	// always are values that are registered behind no port, but here or beyond:
	// they are declared on all ports.
	always map[mrp.Value]bool
	// room is whether the filtering database can take a value that is not in it.
	// A registration for which it has none fails and goes no further (11.2.1).
	room func(mrp.Value) bool
	// known is whether a value means something.
	known func(mrp.Value) bool

	registered map[mrp.Value][]int // ports, ascending
	waiting    []valueAt           // registrations that failed, in the order of their arrival
	changes    []mapChange         // since they were last taken
	counters   MAPCounters
}

// MAPCounters count what became of registrations since the construction.
type MAPCounters struct {
	Registered uint64 // registrations and
	Left       uint64 // their ends, by port
	New        uint64 // declarations that were new
	Failed     uint64 // registrations for which there was no room
	Unknown    uint64 // registrations of values that mean nothing, like VLAN 4095
}

// mapPort is a port in a context.
type mapPort struct {
	*mrp.Participant
	started, blocked bool
	fixed            map[mrp.Value]bool // always registered
	silent           map[mrp.Value]bool // never declared
	declared         map[mrp.Value]bool
}

func newMapPort(p *mrp.Participant) mapPort {
	return mapPort{Participant: p, fixed: map[mrp.Value]bool{}, silent: map[mrp.Value]bool{}, declared: map[mrp.Value]bool{}}
}

func (p *mapPort) active() bool { return p.started && !p.blocked }

type valueAt struct {
	value mrp.Value
	port  int
}

// mapChange is a registration that has come, ended, or was declared anew.
type mapChange struct {
	valueAt
	kind mrp.IndicationKind
}

func newAttributeMap(app *mrp.Application) *attributeMap {
	return &attributeMap{
		app: app, always: map[mrp.Value]bool{}, registered: map[mrp.Value][]int{},
		room: func(mrp.Value) bool { return true }, known: func(mrp.Value) bool { return true },
	}
}

func (m *attributeMap) deadline() tsn.Instant {
	d := tsn.Never
	for i := range m.ports {
		d = min(d, m.ports[i].Deadline())
	}
	return d
}

// receive takes a PDU that came in on a port.
func (m *attributeMap) receive(now tsn.Instant, i int, pdu []byte) {
	m.indicated(now, i, m.ports[i].Receive(now, pdu))
}

// tick handles timers; send is called for each PDU to be sent.
func (m *attributeMap) tick(now tsn.Instant, send func(i int, pdu []byte)) {
	for i := range m.ports {
		if now < m.ports[i].Deadline() {
			continue
		}
		pdu, told := m.ports[i].Tick(now)
		if pdu != nil {
			send(i, pdu)
		}
		m.indicated(now, i, told)
	}
}

// link starts or ends a port's part.
func (m *attributeMap) link(now tsn.Instant, i int, up bool) {
	p := &m.ports[i]
	switch {
	case up && !p.started:
		p.started = true
		p.Start(now)
	case !up && p.started:
		p.started = false
		m.indicated(now, i, p.Stop())
	default:
		return
	}
	m.topologyChanged(now, i)
}

// block says whether a port is up but does not forward.
func (m *attributeMap) block(now tsn.Instant, i int, blocked bool) {
	if p := &m.ports[i]; p.blocked != blocked {
		p.blocked = blocked
		m.topologyChanged(now, i)
	}
}

// topologyChanged is called when a port has joined or left the active topology.
// What is declared because of it is new, on both of its sides: others learned
// their addresses in another topology.
func (m *attributeMap) topologyChanged(now tsn.Instant, i int) {
	for _, v := range m.values() {
		m.propagate(now, v, func(q int) bool { return q == i || m.registeredOn(i, v) })
	}
}

// values lists all that is registered anywhere, ascending.
func (m *attributeMap) values() []mrp.Value {
	set := map[mrp.Value]bool{}
	for v := range m.registered {
		set[v] = true
	}
	for v := range m.always {
		set[v] = true
	}
	for i := range m.ports {
		for v := range m.ports[i].fixed {
			set[v] = true
		}
	}
	return sortedValues(set)
}

func sortedValues(set map[mrp.Value]bool) []mrp.Value {
	out := make([]mrp.Value, 0, len(set))
	for v := range set {
		out = append(out, v)
	}
	slices.SortFunc(out, compareValue)
	return out
}

func compareValue(a, b mrp.Value) int {
	return cmp.Or(cmp.Compare(a.Type, b.Type), cmp.Compare(a.Octet, b.Octet))
}

func (m *attributeMap) registeredOn(i int, v mrp.Value) bool {
	return m.ports[i].fixed[v] || slices.Contains(m.registered[v], i)
}

// indicated takes what a port's participant tells.
func (m *attributeMap) indicated(now tsn.Instant, i int, told []mrp.Indication) {
	for _, n := range told {
		at := valueAt{n.Value, i}
		switch {
		case n.Kind == mrp.IndicateLeave:
			m.left(now, at)
		case !m.known(n.Value):
			m.counters.Unknown++
		case slices.Contains(m.waiting, at):
		default:
			m.joined(now, at, n.Kind)
		}
	}
}

func (m *attributeMap) joined(now tsn.Instant, at valueAt, kind mrp.IndicationKind) {
	ports := m.registered[at.value]
	if len(ports) == 0 && !m.room(at.value) {
		m.counters.Failed++
		m.waiting = append(m.waiting, at)
		return
	}
	k, again := slices.BinarySearch(ports, at.port)
	if !again {
		m.registered[at.value] = slices.Insert(ports, k, at.port)
		m.counters.Registered++
	}
	isNew := kind == mrp.IndicateNew
	if isNew {
		m.counters.New++
	}
	if !again || isNew {
		m.changes = append(m.changes, mapChange{at, kind})
	}
	m.propagate(now, at.value, func(q int) bool { return isNew && q != at.port && m.ports[at.port].active() })
}

func (m *attributeMap) left(now tsn.Instant, at valueAt) {
	m.waiting = slices.DeleteFunc(m.waiting, func(w valueAt) bool { return w == at })
	ports := m.registered[at.value]
	k, there := slices.BinarySearch(ports, at.port)
	if !there {
		return
	}
	if ports = slices.Delete(ports, k, k+1); len(ports) == 0 {
		delete(m.registered, at.value)
	} else {
		m.registered[at.value] = ports
	}
	m.counters.Left++
	m.changes = append(m.changes, mapChange{at, mrp.IndicateLeave})
	m.propagate(now, at.value, func(int) bool { return false })
}

// retry gives registrations that failed the room that there is now.
func (m *attributeMap) retry(now tsn.Instant) {
	for i := 0; i < len(m.waiting); {
		at := m.waiting[i]
		if len(m.registered[at.value]) == 0 && !m.room(at.value) {
			i++
			continue
		}
		m.waiting = slices.Delete(m.waiting, i, i+1)
		m.joined(now, at, mrp.IndicateJoin)
	}
}

// propagate declares v where it is to be, and nowhere else. isNew says of a port
// whether the declaration there is a new one.
func (m *attributeMap) propagate(now tsn.Instant, v mrp.Value, isNew func(q int) bool) {
	for q := range m.ports {
		p := &m.ports[q]
		wanted := p.active() && !p.silent[v] && m.elsewhere(q, v)
		switch {
		case wanted && (!p.declared[v] || isNew(q)):
			p.declared[v] = true
			p.Join(now, v, 0, isNew(q))
		case !wanted && p.declared[v]:
			delete(p.declared, v)
			p.Leave(now, v)
		}
	}
}

// elsewhere reports whether v is registered on another port than q.
func (m *attributeMap) elsewhere(q int, v mrp.Value) bool {
	if m.always[v] {
		return true
	}
	for p := range m.ports {
		if p != q && m.ports[p].active() && m.registeredOn(p, v) {
			return true
		}
	}
	return false
}

// take returns the changes since the last time.
func (m *attributeMap) take() []mapChange {
	out := m.changes
	m.changes = nil
	return out
}

// declareAlways makes these the values that are declared on all ports.
func (m *attributeMap) declareAlways(now tsn.Instant, values []mrp.Value) {
	before := m.values()
	clear(m.always)
	for _, v := range values {
		m.always[v] = true
	}
	after := append(before, values...)
	slices.SortFunc(after, compareValue)
	for _, v := range slices.Compact(after) {
		m.propagate(now, v, func(int) bool { return false })
	}
}

// attributes are what a port's participant knows, and the fixed values of which
// nobody has spoken, ascending.
func (m *attributeMap) attributes(i int) []mrp.Attribute {
	p := &m.ports[i]
	out := p.Attributes()
	for v := range p.fixed {
		if !slices.ContainsFunc(out, func(a mrp.Attribute) bool { return a.Value == v }) {
			out = append(out, mrp.Attribute{Value: v, Applicant: "VO", Registrar: "MT"})
		}
	}
	slices.SortFunc(out, func(a, b mrp.Attribute) int { return compareValue(a.Value, b.Value) })
	return out
}
