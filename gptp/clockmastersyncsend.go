package gptp

import (
	"fmt"

	tsn "tsnswitch"
	"tsnswitch/gptp/ptpmsg"
)

// clockMasterSyncSend is ClockMasterSyncSend with ClockMasterSyncOffset (10.2.9,
// 10.2.10): while this node is grand master it starts a Sync every interval.
//
// Taking over from another grand master, the node goes on with the time it had,
// at the mean rate it had (holdover): nothing jumps for those that follow it.
type clockMasterSyncSend struct {
	in       *Instance
	next     tsn.Instant
	source   tsn.ClockRelation
	active   bool
	holdover bool

	directed     bool    // hot standby: the time comes from the primary domain,
	directedRate float64 // which has this mean rate, ppb

	timeBaseIndicator uint16
	lastPhaseChange   ptpmsg.ScaledNS
	lastFreqChange    ptpmsg.ScaledRate
}

func (m *clockMasterSyncSend) init(i *Instance) {
	m.in, m.source, m.next = i, i.sys.cfg.Source, tsn.Never
	m.source.PTP.Domain = i.cfg.Domain
}

// interval is clockMasterSyncInterval: that of the fastest port (10.7.2.4).
func (m *clockMasterSyncSend) interval() int64 {
	log := int8(maxLogInterval)
	for _, p := range m.in.ports {
		log = min(log, p.intervals.sync.current)
	}
	return intervalNS(log)
}

// begin makes this node the source of time.
func (m *clockMasterSyncSend) begin() {
	if m.active {
		return
	}
	m.active, m.next = true, m.in.sys.now
	i := m.in
	if rel, ok := i.slave.holdover(i.sys.localNow()); ok {
		m.holdover = true
		m.timeBaseIndicator++
		m.lastPhaseChange = ptpmsg.ScaledNS{}
		m.lastFreqChange = ptpmsg.ScaledRateFromRatio(1 + (rel.RatePPB-i.slave.relation.RatePPB)*1e-9)
		i.slave.relation = rel
	} else {
		i.slave.relation = m.source
	}
	i.setSynced(true)
	i.publish(0)
}

func (m *clockMasterSyncSend) end() {
	m.active, m.holdover, m.directed, m.next = false, false, false, tsn.Never
}

func (m *clockMasterSyncSend) setSource(ev SetSource) {
	ev.Relation.PTP.Domain = m.in.cfg.Domain
	m.source = ev.Relation
	if !m.active || m.directed || (m.holdover && !ev.Jump) {
		return
	}
	m.holdover = false
	m.change(m.source, ev.Relation.Local)
}

// change goes over to another time; at is about now. A phase change is told to
// everyone (9.2.2, 11.4.4.3).
func (m *clockMasterSyncSend) change(to tsn.ClockRelation, at tsn.LocalTime) {
	i := m.in
	old := i.slave.relation
	i.slave.relation = to
	phase := to.At(at).NS - old.At(at).NS
	if phase > i.sys.cfg.StepThreshold || phase < -i.sys.cfg.StepThreshold {
		m.timeBaseIndicator++
		m.lastPhaseChange = ptpmsg.ScaledFromNS(phase)
		m.lastFreqChange = ptpmsg.ScaledRateFromRatio(1 + (to.RatePPB-old.RatePPB)*1e-9)
		i.notice(NoticeSourceChanged, tsn.NoPort, fmt.Sprintf("%d ns", phase))
	}
	i.publish(0)
}

func (m *clockMasterSyncSend) timer() {
	if !m.active || m.in.sys.now < m.next {
		return
	}
	if m.next = m.next.Add(m.interval()); m.next <= m.in.sys.now {
		m.next = m.in.sys.now.Add(m.interval())
	}
	if h := m.in.sys.standby; h != nil {
		h.direct(m)
	}
	m.in.siteSyncSync(portSyncSync{
		rateRatio:           1 + m.in.slave.relation.RatePPB*1e-9,
		gmTimeBaseIndicator: m.timeBaseIndicator,
		lastGmPhaseChange:   m.lastPhaseChange,
		lastGmFreqChange:    m.lastFreqChange,
	})
}
