package gptp

import (
	tsn "tsnswitch"
	"tsnswitch/gptp/ptpmsg"
)

// mdSyncSend is MDSyncSend (11.2.15), two-step: Sync, its egress time,
// Follow_Up. Only the newest Sync waits for its time.
type mdSyncSend struct {
	p        *port
	seq      uint16
	tag      uint64 // 0: nothing waits
	s        portSyncSync
	lastSync tsn.Instant
	sentOnce bool
}

func (m *mdSyncSend) init(p *port, seq uint16) { m.p, m.seq = p, seq }

func (m *mdSyncSend) send(s portSyncSync) {
	m.seq++
	m.s, m.lastSync, m.sentOnce = s, m.p.in.sys.now, true
	m.tag = m.p.sendEvent(&ptpmsg.Sync{Header: m.p.header(ptpmsg.FlagTwoStep, m.seq, 0, s.logInterval)})
}

// sent is setFollowUp (11.2.15.2.3). The grand master gives the time of the
// egress itself; a relay leaves preciseOriginTimestamp as it is and adds to the
// correction how long ago, by the grand master's rate, the Sync left the node
// before it.
func (m *mdSyncSend) sent(egress tsn.LocalTime, stamped bool) {
	m.tag = 0
	if !stamped {
		return
	}
	s := &m.s
	f := &ptpmsg.FollowUp{Header: m.p.header(0, m.seq, 2, s.logInterval)}
	if s.from == nil {
		f.PreciseOrigin = ptpmsg.TimestampFromNS(m.p.in.slave.relation.At(egress).NS)
	} else {
		since := float64(egress.Sub(s.ingress)) + s.linkDelay
		f.PreciseOrigin = ptpmsg.TimestampFromNS(s.preciseOrigin)
		f.Correction = ptpmsg.IntervalFromNS(s.followUpCorrection + since*s.rateRatio)
	}
	f.TLVs = []ptpmsg.TLV{ptpmsg.FollowUpInformation{
		CumulativeScaledRateOffset: ptpmsg.ScaledRateFromRatio(s.rateRatio),
		GmTimeBaseIndicator:        s.gmTimeBaseIndicator,
		LastGmPhaseChange:          s.lastGmPhaseChange,
		ScaledLastGmFreqChange:     s.lastGmFreqChange,
	}.TLV()}
	m.p.sendGeneral(f)
}
