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
//
// The grand master drifts while its Sync is under way: after 64 relays of 10 ms
// a rate ratio that each took at its ingress would be 0.6 s old, and wrong by 1
// ppm. So a relay passes on the ratio at its egress, by the drift that its own
// servo sees between the grand master and LocalClock.
func (m *mdSyncSend) sent(egress tsn.LocalTime, stamped bool) {
	m.tag = 0
	if !stamped {
		return
	}
	s := &m.s
	f := &ptpmsg.FollowUp{Header: m.p.header(0, m.seq, 2, s.logInterval)}
	ratio := s.rateRatio
	if s.from == nil {
		f.PreciseOrigin = ptpmsg.TimestampFromNS(m.p.in.slave.relation.At(egress).NS)
	} else {
		since := float64(egress.Sub(s.ingress)) + s.linkDelay
		f.PreciseOrigin = ptpmsg.TimestampFromNS(s.preciseOrigin)
		gain := s.rateDrift * max(0, min(since, 1e9)) * 1e-9
		f.Correction = ptpmsg.IntervalFromNS(s.followUpCorrection + since*(s.rateRatio+gain/2))
		ratio += gain
	}
	f.TLVs = []ptpmsg.TLV{ptpmsg.FollowUpInformation{
		CumulativeScaledRateOffset: ptpmsg.ScaledRateFromRatio(ratio),
		GmTimeBaseIndicator:        s.gmTimeBaseIndicator,
		LastGmPhaseChange:          s.lastGmPhaseChange,
		ScaledLastGmFreqChange:     s.lastGmFreqChange,
	}.TLV()}
	f.TLVs = m.p.forward(f.TLVs, s.tlvs, maxForwarded)
	m.p.sendGeneral(f)
}
