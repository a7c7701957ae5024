package mrp

import tsn "tsnswitch"

// Config of a Participant; zero values mean the default.
type Config struct {
	Timers Timers
	// PointToPoint is operPointToPointMAC: one other system on the LAN.
	PointToPoint bool
	// ApplicantOnly: this system declares, registers nothing and asks nobody to
	// declare again (10.6 c).
	ApplicantOnly bool
	// Mode is a value's Administrative Control; nil: all are Normal.
	Mode func(Value) Mode
	// MaxAttributes bounds what others can make it remember; default 1024.
	MaxAttributes int
	MaxPDU        int // octets from ProtocolVersion on; default 1500, at least 320
	// MaxBurst is how many PDUs may leave at one transmit opportunity; default 64.
	// What a LeaveAll makes this system say again has to be said within the
	// others' LeaveTime, for which a few PDUs are too few on a port of many streams.
	MaxBurst int
	Seed     uint64 // of LeaveAll's and shared media's random times
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
	attrs    *table
	leaveAll leaveAll
	periodic periodic
	started  bool
	version  uint8 // spoken
	neighbor uint8 // highest ProtocolVersion heard since Start
	greets   bool  // the first PDU after Start is still to be sent
	// Transmit opportunities: when the next is due, and when the last three were.
	due      tsn.Instant
	sentAt   [3]tsn.Instant
	out      [][]byte // PDUs of the last one that have not left yet
	random   uint64
	counters Counters
	told     []Indication
	askedBy  uint64 // the PDU that is read: types with a LeaveAllEvent so far
}

// leastPDU holds a LeaveAll of every type, and any one value.
const leastPDU = 320

// NewParticipant returns a Participant that declares and registers nothing.
func NewParticipant(app *Application, cfg Config) *Participant {
	cfg.Timers = cfg.Timers.withDefaults()
	if cfg.MaxAttributes <= 0 {
		cfg.MaxAttributes = 1024
	}
	if cfg.MaxPDU <= 0 {
		cfg.MaxPDU = 1500
	}
	cfg.MaxPDU = max(cfg.MaxPDU, leastPDU)
	if cfg.MaxBurst <= 0 {
		cfg.MaxBurst = 64
	}
	if cfg.Mode == nil {
		cfg.Mode = func(Value) Mode { return Normal }
	}
	p := &Participant{app: app, cfg: cfg, attrs: newTable(), due: tsn.Never, random: cfg.Seed}
	p.leaveAll.timer, p.periodic.timer = tsn.Never, tsn.Never
	for i := range p.sentAt {
		p.sentAt[i] = tsn.Never
	}
	return p
}

// Start begins to take part: the port has come up. All attributes are declared
// anew. The first PDU has a LeaveAll, too, before the declarations: a system
// that starts again beside others whose links never went down hears from them
// within their JoinTime what it forgot, and not only at their next LeaveAll.
func (p *Participant) Start(now tsn.Instant) {
	p.started = true
	if !p.cfg.ApplicantOnly {
		p.leaveAll.timer, p.greets = now.Add(p.leaveAllTime()), true
	}
	if p.app.Periodic && p.cfg.Timers.Periodic > 0 {
		p.periodic.enable(now, p.cfg.Timers.Periodic)
	}
	p.attrs.each(func(a *attribute) { p.leftAll(now, a) })
	p.request(now, 0)
}

// Restore registers a value that others had declared before Start, as far as an
// earlier run remembers. It lasts for a leave time if they do not declare it again.
func (p *Participant) Restore(now tsn.Instant, v Value, param Param) []Indication {
	p.told = p.told[:0]
	if t := p.app.attributeType(v.Type); t == nil || t.Length != len(v.Octet) {
		return nil
	}
	a := p.attrs.byValue[v]
	if a == nil {
		a = p.admit(v.Type, []byte(v.Octet), true)
	}
	if a != nil {
		p.register(now, a, JoinIn, param, true)
		a.reg.left(now.Add(p.cfg.Timers.Leave))
		p.attrs.update(a)
	}
	return p.told
}

// Stop ends it: the port has gone down. What others declared is left
// (Flush!, 10.7.5.2); what we declare is declared again after Start.
func (p *Participant) Stop() []Indication {
	p.told = p.told[:0]
	p.started, p.due, p.out, p.neighbor = false, tsn.Never, nil, 0
	p.leaveAll, p.greets, p.periodic.timer = leaveAll{timer: tsn.Never}, false, tsn.Never
	p.attrs.each(func(a *attribute) {
		p.gone(a)
		if !a.app.declares() { // there is nobody to take leave of
			a.app = vo
		}
		p.attrs.update(a)
	})
	p.attrs.forget()
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
	if a := p.attrs.byValue[v]; a != nil {
		p.apply(now, a, causeLeave)
		p.attrs.forget()
	}
}

// SetVersion says which ProtocolVersion is spoken from now on, at most the
// application's. Attributes of later versions must not be declared.
func (p *Participant) SetVersion(v uint8) { p.version = min(v, p.app.ProtocolVersion) }

// NeighborVersion is neighborProtocolVersion: the highest ProtocolVersion that
// was heard since Start, 0 before any.
func (p *Participant) NeighborVersion() uint8 { return p.neighbor }

// Redeclare handles Re-declare! (10.7.5.3): the topology behind the port changed.
func (p *Participant) Redeclare(now tsn.Instant) {
	p.attrs.each(func(a *attribute) {
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
	if len(pdu) > 0 {
		p.neighbor = max(p.neighbor, pdu[0])
	}
	p.askedBy = 0
	if err := p.app.Read(pdu, func(v *Vector) { p.vector(now, v) }); err != nil {
		p.counters.Malformed++
	}
	p.attrs.forget()
	return p.told
}

func (p *Participant) vector(now tsn.Instant, v *Vector) {
	p.counters.Vectors++
	if v.LeaveAll {
		p.counters.LeaveAlls[1]++
		p.heardLeaveAll(now, v.Type)
	}
	four := p.app.attributeType(v.Type).Four
	p.app.Values(v, func(octets []byte, e Event, param Param) {
		if four && param == 0 && e != Lv { // only fills a gap in the vector (35.2.2.7.2)
			return
		}
		p.counters.Events[e]++
		p.heard(now, v.Type, octets, e, param)
	})
}

// heardLeaveAll handles rLA! for all attributes of a type, once for a PDU: there
// are systems that set the LeaveAllEvent in each vector of a message, and what one
// vector has just declared the next does not take back.
func (p *Participant) heardLeaveAll(now tsn.Instant, kind uint8) {
	bit := uint64(1) << (kind & 63)
	if p.askedBy&bit != 0 {
		return
	}
	p.askedBy |= bit
	if !p.cfg.ApplicantOnly {
		p.leaveAll.heard(now.Add(p.leaveAllTime()))
	}
	p.attrs.each(func(a *attribute) {
		if a.value.Type == kind {
			a.reg.left(now.Add(p.cfg.Timers.Leave))
			p.leftAll(now, a)
		}
	})
}

// leftAll lets the Applicant know of rLA!, or that a port has come up.
func (p *Participant) leftAll(now tsn.Instant, a *attribute) {
	if !a.silent() {
		p.apply(now, a, causeLeft)
	}
}

// heard handles an AttributeEvent of one value.
func (p *Participant) heard(now tsn.Instant, kind uint8, octets []byte, e Event, param Param) {
	a := p.attrs.byValue[Value{kind, string(octets)}]
	joins := e == New || e == JoinIn || e == JoinMt
	if a == nil {
		if a = p.admit(kind, octets, joins); a == nil {
			return
		}
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
	default:
		p.attrs.update(a)
	}
}

// admit makes a place for a value that others declare, or returns nil.
func (p *Participant) admit(kind uint8, octets []byte, joins bool) *attribute {
	if !joins || p.cfg.ApplicantOnly {
		return nil
	}
	v := Value{kind, string(octets)}
	mode := p.cfg.Mode(v)
	switch {
	case mode == Forbidden:
		return nil
	case len(p.attrs.byValue) >= p.cfg.MaxAttributes:
		p.counters.Dropped++
		return nil
	}
	return p.attrs.add(v, mode)
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
	case e == In && p.app.FastLeave && p.cfg.PointToPoint && a.reg.state == lv && !a.app.declares() && a.app != la:
		// It says that it has registered what we do not declare: it is its own. End
		// stations that say In for JoinIn keep their streams through a LeaveAll.
		a.reg.joined(false)
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
	p.attrs.update(a)
	if a.app.wants() {
		p.request(now, 0)
	}
}

// attribute returns what is known of v, made if need be.
func (p *Participant) attribute(v Value) *attribute {
	if a := p.attrs.byValue[v]; a != nil {
		return a
	}
	return p.attrs.add(v, p.cfg.Mode(v))
}

// Deadline is when to call Tick.
func (p *Participant) Deadline() tsn.Instant {
	if len(p.out) > 0 {
		return p.sentAt[len(p.sentAt)-1]
	}
	return min(p.due, p.leaveAll.timer, p.periodic.timer, p.attrs.leaving.next.reg.leave)
}

// Tick handles the timers that have run out and, at a transmit opportunity,
// returns the PDU to send, or nil. If there are more the Deadline has passed
// already.
func (p *Participant) Tick(now tsn.Instant) (pdu []byte, told []Indication) {
	p.told = p.told[:0]
	if !p.started {
		return nil, nil
	}
	for _, a := range p.attrs.expired(now) {
		p.gone(a)
		p.attrs.update(a)
	}
	if now >= p.leaveAll.timer {
		p.leaveAll.expire(now.Add(p.leaveAllTime()))
		p.request(now, 0)
	}
	if now >= p.periodic.timer {
		p.periodic.timer = now.Add(p.cfg.Timers.Periodic)
		p.attrs.each(func(a *attribute) { p.apply(now, a, causePeriodic) })
	}
	if len(p.out) == 0 && now >= p.due {
		p.transmit(now)
	}
	if len(p.out) > 0 {
		pdu, p.out = p.out[0], p.out[1:]
		p.counters.Sent++
	}
	p.attrs.forget()
	return pdu, p.told
}

// request asks for a transmit opportunity after some time (10.7.5.24): on a
// point-to-point LAN at once, but at most three in one and a half JoinTimes;
// else at a random time within JoinTime.
func (p *Participant) request(now tsn.Instant, after int64) {
	switch {
	case !p.started:
	case p.cfg.PointToPoint:
		at := now.Add(after)
		if oldest := p.sentAt[0]; oldest != tsn.Never {
			at = max(at, oldest.Add(p.cfg.Timers.Join*3/2))
		}
		p.due = min(p.due, at)
	case p.due == tsn.Never:
		p.due = now.Add(1 + int64(p.next()%uint64(p.cfg.Timers.Join)))
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
	out := make([]Attribute, 0, len(p.attrs.byValue))
	p.attrs.each(func(a *attribute) {
		out = append(out, Attribute{
			a.value, a.app.String(), a.reg.state.String(), a.app.declares(), a.declare, a.reg.registered(), a.param,
		})
	})
	return out
}

// Registered returns the param under which v is registered.
func (p *Participant) Registered(v Value) (Param, bool) {
	a := p.attrs.byValue[v]
	if a == nil {
		return 0, !p.cfg.ApplicantOnly && p.cfg.Mode(v) == Fixed
	}
	return a.param, a.reg.registered()
}

// Counters returns the counters.
func (p *Participant) Counters() Counters { return p.counters }
