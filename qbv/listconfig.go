package qbv

import (
	"fmt"
	"slices"

	"tsnswitch"
)

// portPhase is where a port is on the way from Admin to Oper.
type portPhase uint8

const (
	phaseIdle     portPhase = iota // Oper is what runs
	phaseApplying                  // the data plane has the Admin list, no answer yet
	phaseWaiting                   // the kernel has it, its base time is ahead
	phaseChecking                  // the base time has passed, ReadBack is asked for
)

func (p portPhase) String() string {
	return [...]string{"idle", "applying", "waiting", "checking"}[p]
}

// The kinds of tsn.Notice.
const (
	noticeConfigChanged  = "gates-running"
	noticeNotConfirmed   = "gates-not-confirmed"
	noticeGatesDiffer    = "gates-differ"
	noticeStageExpired   = "stage-expired"
	noticeAppliedTooLate = "gates-apply-timeout"
	noticeAdopted        = "gates-adopted"
)

// confirmRetries is how often ConfirmTimeout is used to look at the kernel.
const confirmRetries = 4

// portState is the ListConfig state of a port (802.1Q 8.6.9.4).
type portState struct {
	AdminPort
	linkRate tsn.Rate

	admin, oper *tsn.GateControlList // AdminControlList and its kin; nil: GateEnabled FALSE
	changeTime  tsn.PTPTime          // ConfigChangeTime
	errors      uint64               // ConfigChangeError
	before      *tsn.GateControlList // Oper before the change in progress
	changing    bool                 // part of the change in progress
	fresh       bool                 // nothing has been committed or adopted yet

	phase      portPhase
	generation uint64
	deadline   tsn.Instant
	giveUp     tsn.Instant // of phaseChecking
	seen       *ReadBack   // last answer in phaseChecking
}

func (p *portState) limits() Limits {
	l := p.Limits
	if l.Rate == 0 {
		l.Rate = p.linkRate
	}
	return l
}

// want makes list, moved by base, the Admin list of a port.
func (m *Instance) want(now tsn.Instant, p *portState, list *tsn.GateControlList, base tsn.PTPTime) {
	p.admin, p.changeTime = clone(list), m.ptpNow(now)
	if list != nil {
		p.admin.BaseTime = base.Add(list.BaseTime.NS)
		p.changeTime = p.admin.BaseTime
	}
	p.before, p.changing, p.fresh = p.oper, true, false
	p.phase, p.deadline = phaseApplying, now.Add(m.cfg.ApplyTimeout)
	m.desire(p, p.admin)
}

func (m *Instance) desire(p *portState, list *tsn.GateControlList) {
	m.generation++
	p.generation = m.generation
	m.emit(GatesChanged{p.Port, p.generation, clone(list)})
}

func (m *Instance) applied(now tsn.Instant, ev Applied) {
	p := m.port(ev.Port)
	if p == nil || p.phase != phaseApplying || p.generation != ev.Generation {
		return
	}
	if ev.Refused != "" {
		p.errors++
		m.undo(refuse(RefusedByKernel, p.Port, "the list was not taken, all ports are put back: %s", ev.Refused))
		return
	}
	p.phase = phaseWaiting
	m.rearm(now)
	for _, q := range m.ports {
		if q.phase == phaseApplying {
			return
		}
	}
	m.answerCommit(nil)
}

func (m *Instance) answerCommit(r *Refusal) {
	if m.change == nil {
		return
	}
	for _, request := range m.change.requests {
		m.answer(request, r)
	}
	m.change.requests = nil
}

// undo puts every port of the change in progress back to what it ran before,
// and as it did: the data plane knows that the list runs.
func (m *Instance) undo(r *Refusal) {
	for _, p := range m.ports {
		if p.changing {
			p.idle()
			p.changing = false
			p.oper, p.admin = p.before, clone(p.before)
			m.desire(p, p.oper)
		}
	}
	m.answerCommit(r)
	m.change = nil
}

func (p *portState) idle() {
	p.phase, p.deadline, p.seen = phaseIdle, tsn.Never, nil
}

// rearm sets the deadlines of ports that wait for their base time; gPTP time
// may have moved against the monotonic clock.
func (m *Instance) rearm(now tsn.Instant) {
	for _, p := range m.ports {
		if p.phase == phaseWaiting {
			wait := p.changeTime.NS - m.ptpNow(now).NS + m.cfg.SettleTime
			p.deadline = now.Add(max(wait, 0))
		}
	}
}

// timers acts on every deadline that has passed.
func (m *Instance) timers(now tsn.Instant) {
	if s := m.staged; s != nil && now >= s.deadline {
		m.staged = nil
		m.emit(tsn.Notice{Kind: noticeStageExpired, Detail: fmt.Sprintf("%q was staged and never committed", s.id)})
	}
	for _, p := range m.ports {
		if now < p.deadline {
			continue
		}
		switch p.phase {
		case phaseApplying:
			p.errors++
			m.emit(tsn.Notice{Kind: noticeAppliedTooLate, Port: p.Port, Detail: "the data plane gave no answer"})
			m.undo(refuse(RefusedByKernel, p.Port, "the data plane gave no answer in time, all ports are put back"))
		case phaseWaiting:
			p.phase, p.giveUp = phaseChecking, now.Add(m.cfg.ConfirmTimeout)
			m.look(now, p)
		case phaseChecking:
			if now >= p.giveUp {
				m.notConfirmed(p)
			} else {
				m.look(now, p)
			}
		}
	}
}

// look asks what the kernel runs, and asks again until the time-out.
func (m *Instance) look(now tsn.Instant, p *portState) {
	p.deadline = min(p.giveUp, now.Add(m.cfg.ConfirmTimeout/confirmRetries))
	m.emit(VerifyGates{p.Port})
}

func (m *Instance) readBack(now tsn.Instant, ev ReadBack) {
	p := m.port(ev.Port)
	if p == nil {
		return
	}
	switch {
	case p.fresh:
		m.adopt(now, p, ev)
	case p.phase == phaseChecking && m.matches(p.admin, ev.Oper):
		p.oper = clone(p.admin)
		p.idle()
		m.emit(tsn.Notice{Kind: noticeConfigChanged, Port: p.Port, Detail: p.oper.String()})
		m.finish()
	case p.phase == phaseChecking:
		p.seen = &ev
	case p.phase == phaseIdle && !m.matches(p.oper, ev.Oper):
		m.emit(tsn.Notice{Kind: noticeGatesDiffer, Port: p.Port, Detail: fmt.Sprintf("wanted %s, the kernel runs %s", p.oper, ev.Oper)})
	}
}

// adopt takes over what an earlier process left in the kernel.
func (m *Instance) adopt(now tsn.Instant, p *portState, ev ReadBack) {
	p.fresh = false
	p.oper, p.admin = clone(ev.Oper), clone(ev.Oper)
	m.emit(tsn.Notice{Kind: noticeAdopted, Port: p.Port, Detail: p.oper.String()})
	if ev.Admin == nil {
		if p.oper != nil {
			m.desire(p, p.oper)
		}
		return
	}
	p.admin, p.changeTime, p.phase = clone(ev.Admin), ev.Admin.BaseTime, phaseWaiting
	p.before, p.changing = p.oper, true
	p.deadline = tsn.Never // until a Clock says how long
	if m.clock.Synced {
		m.rearm(now)
	}
	if m.change == nil {
		m.change = &change{id: "adopted"}
	}
	m.desire(p, p.admin)
}

// notConfirmed ends a change whose list the kernel does not run. What it was
// seen to run becomes Oper, so that status tells the truth.
func (m *Instance) notConfirmed(p *portState) {
	p.errors++
	detail := "the kernel did not answer"
	if p.seen != nil {
		p.oper = clone(p.seen.Oper)
		detail = fmt.Sprintf("wanted %s, the kernel runs %s", p.admin, p.oper)
	}
	p.idle()
	m.emit(tsn.Notice{Kind: noticeNotConfirmed, Port: p.Port, Detail: detail})
	m.finish()
}

// finish ends the change when its last port is done.
func (m *Instance) finish() {
	for _, p := range m.ports {
		if p.phase != phaseIdle {
			return
		}
	}
	for _, p := range m.ports {
		p.changing = false
	}
	m.answerCommit(nil)
	m.change = nil
}

// matches reports whether the kernel runs what is wanted: the same gates, in
// phase. No list is as good as one that never closes a gate.
func (m *Instance) matches(want, got *tsn.GateControlList) bool {
	if want == nil || got == nil {
		return allOpen(want) && allOpen(got)
	}
	if want.CycleTime <= 0 || !sameGates(want, got) {
		return false
	}
	d := mod(got.BaseTime.NS-want.BaseTime.NS, want.CycleTime)
	return min(d, want.CycleTime-d) <= m.cfg.BaseTolerance
}

// allOpen reports whether a list never closes a gate of the switch's classes.
func allOpen(l *tsn.GateControlList) bool {
	const all = tsn.GateMask(1)<<tsn.NumClasses - 1
	return l == nil || !slices.ContainsFunc(l.Entries, func(e tsn.GateEntry) bool { return e.Gates&all != all })
}

// Status is the state of an Instance.
type Status struct {
	Synced   bool         `json:"synced"`
	Exceeded bool         `json:"clockOffsetExceeded"`
	Staged   string       `json:"staged,omitempty"`  // id waiting for Commit
	Pending  string       `json:"pending,omitempty"` // id committed and not yet running
	Ports    []PortStatus `json:"ports"`
}

// PortStatus is a port in the terms of 802.1Q 12.29.1; a nil list is
// GateEnabled FALSE.
type PortStatus struct {
	Port              tsn.Port             `json:"port"`
	GateEnabled       bool                 `json:"gateEnabled"`
	Admin             *tsn.GateControlList `json:"admin"`
	Oper              *tsn.GateControlList `json:"oper"`
	ConfigPending     bool                 `json:"configPending"`
	ConfigChangeTime  tsn.PTPTime          `json:"configChangeTime"`
	ConfigChangeError uint64               `json:"configChangeError"`
	Phase             string               `json:"phase"` // idle, applying, waiting, checking
}

// Status returns a copy of the state.
func (m *Instance) Status() Status {
	s := Status{Synced: m.clock.Synced, Exceeded: m.clock.Exceeded, Ports: make([]PortStatus, 0, len(m.ports))}
	if m.staged != nil {
		s.Staged = m.staged.id
	}
	if m.change != nil {
		s.Pending = m.change.id
	}
	for _, p := range m.ports {
		s.Ports = append(s.Ports, PortStatus{
			Port: p.Port, GateEnabled: p.oper != nil, Admin: clone(p.admin), Oper: clone(p.oper),
			ConfigPending: p.phase != phaseIdle, ConfigChangeTime: p.changeTime, ConfigChangeError: p.errors, Phase: p.phase.String(),
		})
	}
	return s
}
