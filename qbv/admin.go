package qbv

import (
	"fmt"
	"slices"

	"tsnswitch"
)

// AdminConfig is fixed for the life of an Instance. Times are ns; zero values
// mean the default.
type AdminConfig struct {
	Ports []AdminPort // ascending port

	StageTimeout   int64 // a stage that is not committed is dropped; default 60 s
	MinLead        int64 // a base time is at least this far ahead; default 200 ms
	MaxLead        int64 // and at most this far; default 10 min
	ApplyTimeout   int64 // how long the data plane may take; default 5 s
	SettleTime     int64 // from a base time to the first look at the kernel; default 20 ms
	ConfirmTimeout int64 // how long the kernel may then take to run the list; default 3 s
	// BaseTolerance is how far, modulo the cycle, a base time read back may be
	// from the one wanted: the gate clock follows gPTP only so well. Default 100 us.
	BaseTolerance int64
}

// AdminPort is one port and what it can execute. If Limits.Rate is 0 the
// link's rate is used. Software lists get their guard entry (ForSoftwareTaprio).
type AdminPort struct {
	Port     tsn.Port
	Limits   Limits
	Software bool
}

func (c AdminConfig) withDefaults() AdminConfig {
	const ms = 1_000_000
	for _, d := range []struct {
		v   *int64
		def int64
	}{
		{&c.StageTimeout, 60_000 * ms},
		{&c.MinLead, 200 * ms},
		{&c.MaxLead, 600_000 * ms},
		{&c.ApplyTimeout, 5_000 * ms},
		{&c.SettleTime, 20 * ms},
		{&c.ConfirmTimeout, 3_000 * ms},
		{&c.BaseTolerance, 100_000},
	} {
		if *d.v <= 0 {
			*d.v = d.def
		}
	}
	return c
}

// Instance is the administrative side of the gates of one system: the
// ListConfig state machine of 802.1Q 8.6.9.3 for each port, as far as it is
// not the kernel's, with stage and commit over all ports in front of it.
//
// CycleTimer (8.6.9.1), ListExecute (8.6.9.2) and SetGateStates are the
// kernel's. ListConfig here never computes a later ConfigChangeTime for a base
// time in the past: such a base is refused, so that all systems of a network
// start together or none does. One change is in progress at a time; one that
// waits for its base time can be taken back (Abort).
type Instance struct {
	cfg        AdminConfig
	ports      []*portState // ascending
	clock      Clock
	clockAt    tsn.Instant
	staged     *stage
	change     *change
	generation uint64
	effects    []tsn.Effect
}

var _ tsn.Machine = (*Instance)(nil)

type stage struct {
	id       string
	lists    []PortList
	deadline tsn.Instant
}

// change is a commit in progress, from Commit until every port is confirmed.
type change struct {
	id       string
	base     tsn.PTPTime
	requests []uint64 // Commits to be answered when all is applied
}

// New returns an Instance with all gates open on every port.
func New(cfg AdminConfig) (*Instance, error) {
	m := &Instance{cfg: cfg.withDefaults()}
	for i, p := range cfg.Ports {
		if p.Port == tsn.NoPort || (i > 0 && p.Port <= cfg.Ports[i-1].Port) {
			return nil, fmt.Errorf("qbv: port %d: ports must be ascending and start at 1", p.Port)
		}
		if p.Limits.Classes < 1 || p.Limits.Classes > tsn.MaxTrafficClasses {
			return nil, fmt.Errorf("qbv: port %d: %d traffic classes are outside 1..8", p.Port, p.Limits.Classes)
		}
		m.ports = append(m.ports, &portState{AdminPort: p, fresh: true, deadline: tsn.Never})
	}
	return m, nil
}

// Step handles Clock, Stage, Commit, Abort, Restore, Applied, ReadBack,
// tsn.LinkChanged and tsn.Timeout.
func (m *Instance) Step(now tsn.Instant, ev tsn.Event) []tsn.Effect {
	m.effects = m.effects[:0]
	switch ev := ev.(type) {
	case Clock:
		m.clock, m.clockAt = ev, now
		if ev.Synced {
			m.rearm(now)
		}
	case Stage:
		m.answer(ev.RequestID, m.stage(now, ev))
	case Commit:
		m.commit(now, ev)
	case Abort:
		m.answer(ev.RequestID, m.abort(ev))
	case Restore:
		m.restore(now, ev)
	case Applied:
		m.applied(now, ev)
	case ReadBack:
		m.readBack(now, ev)
	case tsn.LinkChanged:
		if p := m.port(ev.Port); p != nil && ev.Up {
			p.linkRate = ev.Rate
		}
	}
	m.timers(now)
	return m.effects
}

// Deadline is the earliest time-out of a stage or a port.
func (m *Instance) Deadline() tsn.Instant {
	d := tsn.Never
	if m.staged != nil {
		d = m.staged.deadline
	}
	for _, p := range m.ports {
		d = min(d, p.deadline)
	}
	return d
}

func (m *Instance) emit(e tsn.Effect) { m.effects = append(m.effects, e) }

// answer keeps a nil *Refusal from becoming a non-nil error.
func (m *Instance) answer(request uint64, r *Refusal) {
	var err error
	if r != nil {
		err = r
	}
	m.emit(Result{request, err})
}

func (m *Instance) port(n tsn.Port) *portState {
	i, ok := slices.BinarySearchFunc(m.ports, n, func(p *portState, n tsn.Port) int { return int(p.Port) - int(n) })
	if !ok {
		return nil
	}
	return m.ports[i]
}

// ptpNow is gPTP time at now, carried on from the last Clock.
func (m *Instance) ptpNow(now tsn.Instant) tsn.PTPTime { return m.clock.Now.Add(now.Sub(m.clockAt)) }

func (m *Instance) stage(now tsn.Instant, ev Stage) *Refusal {
	if ev.ID == "" || len(ev.ID) > maxStageID {
		return refuse(RefusedMalformed, 0, "a stage id of %d octets is outside 1..%d", len(ev.ID), maxStageID)
	}
	if m.change != nil {
		return refuse(RefusedBusy, 0, "change %q is not running yet: wait for it or abort it", m.change.id)
	}
	lists, r := m.check(ev.Lists)
	if r != nil {
		return r
	}
	if s := m.staged; s != nil {
		same := s.id == ev.ID && slices.EqualFunc(s.lists, lists, func(a, b PortList) bool {
			return a.Port == b.Port && sameGates(a.List, b.List) && (a.List == nil || a.List.BaseTime == b.List.BaseTime)
		})
		if !same {
			return refuse(RefusedBusy, 0, "%q is staged: commit or abort it first", s.id)
		}
	}
	m.staged = &stage{ev.ID, lists, now.Add(m.cfg.StageTimeout)}
	return nil
}

// check validates lists and returns copies as the kernel shall get them.
func (m *Instance) check(in []PortList) ([]PortList, *Refusal) {
	if len(in) == 0 || len(in) > len(m.ports) {
		return nil, refuse(RefusedMalformed, 0, "%d lists for %d ports", len(in), len(m.ports))
	}
	out := slices.Clone(in)
	slices.SortStableFunc(out, func(a, b PortList) int { return int(a.Port) - int(b.Port) })
	for i := range out {
		n := out[i].Port
		p := m.port(n)
		if p == nil {
			return nil, refuse(RefusedUnknownPort, n, "there is no such port")
		}
		if i > 0 && out[i-1].Port == n {
			return nil, refuse(RefusedMalformed, n, "has two lists")
		}
		out[i].List = clone(out[i].List)
		if p.Software {
			out[i].List = ForSoftwareTaprio(out[i].List, p.Limits.MinInterval)
		}
		if err := Validate(out[i].List, p.limits()); err != nil {
			return nil, &Refusal{RefusedList, n, "the list cannot be executed", err}
		}
		if l := out[i].List; l != nil && (l.BaseTime.NS < 0 || l.BaseTime.NS > maxBaseOffset) {
			return nil, refuse(RefusedMalformed, n, "the list's offset from the base time, %d ns, is outside 0..%d", l.BaseTime.NS, maxBaseOffset)
		}
	}
	return out, nil
}

func (m *Instance) commit(now tsn.Instant, ev Commit) {
	if c := m.change; c != nil && c.id == ev.ID && c.base == ev.Base && len(c.requests) < maxRequestsPerCommit {
		if len(c.requests) == 0 { // already applied
			m.answer(ev.RequestID, nil)
		} else {
			c.requests = append(c.requests, ev.RequestID)
		}
		return
	}
	if r := m.checkCommit(now, ev); r != nil {
		m.answer(ev.RequestID, r)
		return
	}
	m.change = &change{ev.ID, ev.Base, []uint64{ev.RequestID}}
	for _, l := range m.staged.lists {
		m.want(now, m.port(l.Port), l.List, ev.Base)
	}
	m.staged = nil
}

func (m *Instance) checkCommit(now tsn.Instant, ev Commit) *Refusal {
	switch {
	case m.change != nil:
		return refuse(RefusedBusy, 0, "change %q is not running yet: wait for it or abort it", m.change.id)
	case m.staged == nil || m.staged.id != ev.ID:
		return refuse(RefusedUnknownStage, 0, "nothing is staged under %q: it expired or was never there, stage it again", ev.ID)
	case opens(m.staged.lists):
		return nil // takes effect at once: no time is needed for it
	case !m.clock.Synced:
		return refuse(RefusedNotSynced, 0, "gPTP is not synchronized, so a base time means nothing")
	case m.clock.Exceeded:
		return refuse(RefusedNotSynced, 0, "gPTP and the gate clock differ by more than the configured bound")
	case ev.Base.Domain != m.clock.Now.Domain:
		return refuse(RefusedBaseTime, 0, "base time is in gPTP domain %d, this system follows domain %d", ev.Base.Domain, m.clock.Now.Domain)
	}
	ptp := m.ptpNow(now)
	switch lead := ev.Base.NS - ptp.NS; {
	case lead < m.cfg.MinLead:
		return refuse(RefusedBaseTime, 0, "base time %d is %d ns ahead of gPTP time, at least %d are needed: use %d or later",
			ev.Base.NS, lead, m.cfg.MinLead, ptp.NS+m.cfg.MinLead)
	case lead > m.cfg.MaxLead:
		return refuse(RefusedBaseTime, 0, "base time %d is %d ns ahead of gPTP time, at most %d are allowed", ev.Base.NS, lead, m.cfg.MaxLead)
	}
	return nil
}

// openCycle is the cycle of a list that opens every gate at a base time, ns.
const openCycle = 1_000_000

func (m *Instance) restore(now tsn.Instant, ev Restore) {
	lists, r := m.check(ev.Lists)
	if r != nil {
		m.answer(ev.RequestID, r)
		return
	}
	m.staged = nil
	m.answerCommit(refuse(RefusedAborted, 0, "another schedule is put back: %q", ev.ID))
	m.change = &change{ev.ID, ev.Base, []uint64{ev.RequestID}}
	ahead := ev.Base.NS > m.ptpNow(now).NS
	for _, l := range lists {
		p := m.port(l.Port)
		if l.List == nil && ahead && p.oper != nil {
			l.List = Opened(openCycle)
			if p.Software {
				l.List = ForSoftwareTaprio(l.List, p.Limits.MinInterval)
			}
		}
		m.want(now, p, l.List, ev.Base)
	}
}

// opens reports whether lists do nothing but open every gate.
func opens(lists []PortList) bool {
	return !slices.ContainsFunc(lists, func(l PortList) bool { return l.List != nil })
}

func (m *Instance) abort(ev Abort) *Refusal {
	switch {
	case m.staged != nil && m.staged.id == ev.ID:
		m.staged = nil
		return nil
	case m.change != nil && m.change.id == ev.ID:
		m.undo(refuse(RefusedAborted, 0, "change %q was aborted", ev.ID))
		return nil
	}
	return refuse(RefusedUnknownStage, 0, "nothing is staged or waiting under %q", ev.ID)
}
