package mrp

import (
	"cmp"
	"slices"

	tsn "tsnswitch"
)

// Config of a Participant; zero values mean the default.
type Config struct {
	Timers Timers
	// PointToPoint is operPointToPointMAC: one other system on the LAN.
	PointToPoint bool
	// ApplicantOnly: this system declares and registers nothing (10.6 c).
	ApplicantOnly bool
	// Mode is a value's Administrative Control; nil: all are Normal.
	Mode func(Value) Mode
	// MaxAttributes bounds what others can make it remember; default 1024.
	MaxAttributes int
	MaxPDU        int    // octets from ProtocolVersion on; default 1500
	Seed          uint64 // of LeaveAll's and shared media's random times
}

// IndicationKind is what a Participant tells its application.
type IndicationKind uint8

// MAD_Join.indication, the same for a new declaration, and MAD_Leave.indication (10.2).
const (
	IndicateJoin IndicationKind = iota
	IndicateNew
	IndicateLeave
)

// Indication is a change of what others declare. A Param that changes while
// the value is registered is indicated as another Join.
type Indication struct {
	Kind  IndicationKind
	Value Value
	Param Param
}

// Counters of a Participant.
type Counters struct {
	Received, Sent uint64            // PDUs
	Malformed      uint64            // PDUs with a fault, used up to it
	Dropped        uint64            // values for which there was no room
	Events         [numEvents]uint64 // received
	LeaveAlls      [2]uint64         // sent, received
	Vectors        uint64            // received
}

// Participant is one port's part in one application: an Applicant and a
// Registrar for each attribute, one LeaveAll and one PeriodicTransmission.
// It is not a tsn.Machine, but a piece of one, and obeys its rules.
type Participant struct {
	app      *Application
	cfg      Config
	attrs    map[Value]*attribute
	leaveAll leaveAll
	periodic periodic
	started  bool
	// Transmit opportunities: when the next is due, and when the last three were.
	due      tsn.Instant
	sentAt   [3]tsn.Instant
	random   uint64
	counters Counters
	told     []Indication
}

// attribute is what is known of one value.
type attribute struct {
	value   Value
	app     applicant
	reg     registration
	declare Param // of our declaration
	param   Param // of the registration
}

// NewParticipant returns a Participant that declares and registers nothing.
func NewParticipant(app *Application, cfg Config) *Participant {
	cfg.Timers = cfg.Timers.withDefaults()
	if cfg.MaxAttributes <= 0 {
		cfg.MaxAttributes = 1024
	}
	if cfg.MaxPDU <= 0 {
		cfg.MaxPDU = 1500
	}
	if cfg.Mode == nil {
		cfg.Mode = func(Value) Mode { return Normal }
	}
	p := &Participant{app: app, cfg: cfg, attrs: map[Value]*attribute{}, due: tsn.Never, random: cfg.Seed}
	p.leaveAll.timer, p.periodic.timer = tsn.Never, tsn.Never
	for i := range p.sentAt {
		p.sentAt[i] = tsn.Never
	}
	return p
}

// Start begins to take part: the port has come up. All attributes are declared anew.
func (p *Participant) Start(now tsn.Instant) {
	p.started = true
	p.leaveAll.timer = now.Add(p.leaveAllTime())
	if p.app.Periodic {
		p.periodic.enable(now, p.cfg.Timers.Periodic)
	}
	p.each(func(a *attribute) { a.app = a.app.after(causeLeft, p.cfg.PointToPoint) })
	p.request(now)
}

// Stop ends it: the port has gone down. What others declared is left
// (Flush!, 10.7.5.2); what we declare is declared again after Start.
func (p *Participant) Stop() []Indication {
	p.told = p.told[:0]
	p.started, p.due = false, tsn.Never
	p.leaveAll.timer, p.periodic.timer, p.leaveAll.active = tsn.Never, tsn.Never, false
	p.each(p.gone)
	return p.told
}

// Join declares a value (MAD_Join.request); isNew says that it is a new one,
// which others have to act on at once. A declared value whose param differs is
// declared again with the new one.
func (p *Participant) Join(now tsn.Instant, v Value, param Param, isNew bool) {
	a := p.attribute(v)
	c := causeJoin
	if isNew || a.app.declares() && a.declare != param {
		c = causeNew
	}
	a.declare = param
	p.apply(now, a, c)
}

// Leave withdraws a declaration (MAD_Leave.request).
func (p *Participant) Leave(now tsn.Instant, v Value) {
	if a := p.attrs[v]; a != nil {
		p.apply(now, a, causeLeave)
	}
}

// Redeclare handles Re-declare! (10.7.5.3): the topology behind the port changed.
func (p *Participant) Redeclare(now tsn.Instant) {
	p.each(func(a *attribute) {
		a.reg.left(now.Add(p.cfg.Timers.Leave))
		p.apply(now, a, causeLeft)
	})
}

// Receive takes a PDU, from ProtocolVersion on.
func (p *Participant) Receive(now tsn.Instant, pdu []byte) []Indication {
	p.told = p.told[:0]
	if !p.started {
		return nil
	}
	p.counters.Received++
	if err := p.app.Read(pdu, func(v *Vector) { p.vector(now, v) }); err != nil {
		p.counters.Malformed++
	}
	return p.told
}

func (p *Participant) vector(now tsn.Instant, v *Vector) {
	p.counters.Vectors++
	if v.LeaveAll {
		p.counters.LeaveAlls[1]++
		p.heardLeaveAll(now, v.Type)
	}
	p.app.Values(v, func(octets []byte, e Event, param Param) {
		p.counters.Events[e]++
		p.heard(now, Value{v.Type, string(octets)}, e, param)
	})
}

// heardLeaveAll handles rLA! for all attributes of a type.
func (p *Participant) heardLeaveAll(now tsn.Instant, kind uint8) {
	p.leaveAll.heard(now.Add(p.leaveAllTime()))
	p.each(func(a *attribute) {
		if a.value.Type == kind {
			a.reg.left(now.Add(p.cfg.Timers.Leave))
			p.leftAll(now, a)
		}
	})
}

// leftAll lets the Applicant know of rLA! or txLA!. One that neither declares
// nor has anything registered has no reason to speak (Avnu ProAV 8.3).
func (p *Participant) leftAll(now tsn.Instant, a *attribute) {
	if !a.app.declares() && a.reg.state == mt && a.app != la {
		return
	}
	p.apply(now, a, causeLeft)
}

// heard handles an AttributeEvent of one value.
func (p *Participant) heard(now tsn.Instant, v Value, e Event, param Param) {
	a := p.attrs[v]
	joins := e == New || e == JoinIn || e == JoinMt
	if a == nil {
		if !joins || p.cfg.ApplicantOnly {
			return
		}
		if len(p.attrs) >= p.cfg.MaxAttributes {
			p.counters.Dropped++
			return
		}
		a = p.attribute(v)
	}
	p.register(now, a, e, param, joins)
	switch e {
	case JoinIn:
		p.apply(now, a, causeJoinIn)
	case In:
		p.apply(now, a, causeIn)
	case JoinMt, Mt:
		p.apply(now, a, causeEmpty)
	case Lv:
		p.apply(now, a, causeLeft)
	}
}

func (p *Participant) register(now tsn.Instant, a *attribute, e Event, param Param, joins bool) {
	switch {
	case p.cfg.ApplicantOnly:
	case joins:
		changed := a.reg.registered() && a.param != param
		if told := a.reg.joined(e == New); told || changed && a.reg.registered() {
			a.param = param
			p.tell(a, e == New)
		}
		a.param = param
	case e == Lv && p.app.FastLeave && p.cfg.PointToPoint:
		p.gone(a)
	case e == Lv:
		a.reg.left(now.Add(p.cfg.Timers.Leave))
	}
}

func (p *Participant) tell(a *attribute, isNew bool) {
	k := IndicateJoin
	if isNew {
		k = IndicateNew
	}
	p.told = append(p.told, Indication{k, a.value, a.param})
}

// gone ends a registration.
func (p *Participant) gone(a *attribute) {
	if a.reg.gone() {
		p.told = append(p.told, Indication{IndicateLeave, a.value, a.param})
	}
}

// apply steps an Applicant and asks for a transmit opportunity if it wants one.
func (p *Participant) apply(now tsn.Instant, a *attribute, c cause) {
	a.app = a.app.after(c, p.cfg.PointToPoint)
	if p.cfg.ApplicantOnly && a.app == lo {
		a.app = vo
	}
	if a.app.wants() {
		p.request(now)
	}
}

// attribute returns what is known of v, made if need be.
func (p *Participant) attribute(v Value) *attribute {
	a := p.attrs[v]
	if a == nil {
		a = &attribute{value: v, reg: registration{mode: p.cfg.Mode(v), leave: tsn.Never}}
		p.attrs[v] = a
	}
	return a
}

// each visits all attributes in ascending order.
func (p *Participant) each(visit func(*attribute)) {
	for _, a := range p.sorted() {
		visit(a)
	}
}

func (p *Participant) sorted() []*attribute {
	out := make([]*attribute, 0, len(p.attrs))
	for _, a := range p.attrs {
		out = append(out, a)
	}
	slices.SortFunc(out, func(a, b *attribute) int {
		return cmp.Or(cmp.Compare(a.value.Type, b.value.Type), cmp.Compare(a.value.Octet, b.value.Octet))
	})
	return out
}

// Deadline is when to call Tick.
func (p *Participant) Deadline() tsn.Instant {
	d := min(p.due, p.leaveAll.timer, p.periodic.timer)
	for _, a := range p.attrs { // a minimum: the order does not matter
		d = min(d, a.reg.leave)
	}
	return d
}

// Tick handles the timers that have run out and, at a transmit opportunity,
// returns the PDU to send, or nil.
func (p *Participant) Tick(now tsn.Instant) (pdu []byte, told []Indication) {
	p.told = p.told[:0]
	if !p.started {
		return nil, nil
	}
	p.each(func(a *attribute) {
		if now >= a.reg.leave {
			p.gone(a)
		}
	})
	if now >= p.leaveAll.timer {
		p.leaveAll.expire(now.Add(p.leaveAllTime()))
		p.request(now)
	}
	if now >= p.periodic.timer {
		p.periodic.timer = now.Add(p.cfg.Timers.Periodic)
		p.each(func(a *attribute) { p.apply(now, a, causePeriodic) })
	}
	if now >= p.due {
		pdu = p.transmit(now)
	}
	p.forget()
	return pdu, p.told
}

// forget drops attributes of which nothing is known any more.
func (p *Participant) forget() {
	for v, a := range p.attrs { // deletion: the order does not matter
		if a.reg.state == mt && a.reg.mode == Normal && (a.app == vo || a.app == ao || a.app == qo) {
			delete(p.attrs, v)
		}
	}
}

// request asks for a transmit opportunity (10.7.5.24): on a point-to-point LAN at once,
// but at most three in one and a half JoinTimes; else at a random time within JoinTime.
func (p *Participant) request(now tsn.Instant) {
	if !p.started || p.due != tsn.Never {
		return
	}
	if !p.cfg.PointToPoint {
		p.due = now.Add(1 + int64(p.next()%uint64(p.cfg.Timers.Join)))
		return
	}
	p.due = now
	if oldest := p.sentAt[0]; oldest != tsn.Never {
		p.due = max(now, oldest.Add(p.cfg.Timers.Join*3/2))
	}
}

// leaveAllTime is random, from LeaveAllTime to half as much again (10.7.4.3).
func (p *Participant) leaveAllTime() int64 {
	t := p.cfg.Timers.LeaveAll
	return t + int64(p.next()%uint64(t/2+1))
}

// next is a splitmix64 generator.
func (p *Participant) next() uint64 {
	p.random += 0x9e3779b97f4a7c15
	z := p.random
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// Attribute is what is known of a value, as people are shown it.
type Attribute struct {
	Value      Value
	Applicant  string // "VO" ... "LO"
	Registrar  string // "MT", "IN", "LV"
	Declared   bool
	Declare    Param
	Registered bool
	Param      Param
}

// Attributes returns what is known, ascending.
func (p *Participant) Attributes() []Attribute {
	out := make([]Attribute, 0, len(p.attrs))
	p.each(func(a *attribute) {
		out = append(out, Attribute{
			a.value, a.app.String(), a.reg.state.String(), a.app.declares(), a.declare, a.reg.registered(), a.param,
		})
	})
	return out
}

// Registered returns the param under which v is registered.
func (p *Participant) Registered(v Value) (Param, bool) {
	a := p.attrs[v]
	if a == nil || !a.reg.registered() {
		return 0, false
	}
	return a.param, true
}

// Counters returns the counters.
func (p *Participant) Counters() Counters { return p.counters }
