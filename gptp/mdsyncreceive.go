package gptp

import (
	tsn "tsnswitch"
	"tsnswitch/gptp/ptpmsg"
)

// mdSyncReceive is MDSyncReceive (11.2.14): it joins a Sync and its Follow_Up.
// The newest Sync waits; an older one's Follow_Up is too late.
type mdSyncReceive struct {
	p       *port
	waiting bool
	seq     uint16
	ingress tsn.LocalTime
	corr    float64
}

func (m *mdSyncReceive) reset() { m.waiting = false }

func (m *mdSyncReceive) sync(s *ptpmsg.Sync, at tsn.LocalTime, stamped bool) {
	c := &m.p.count
	switch {
	case s.Source != m.p.info.priority.source || m.p.info.is != infoReceived:
		c.Unexpected++ // not from the master port that announced itself here
		return
	case !stamped:
		c.LostReceiveStamps++
		return
	}
	if m.waiting {
		c.LostFollowUps++
	}
	if s.Flags&ptpmsg.FlagTwoStep == 0 {
		m.oneStep(s, at)
		return
	}
	m.waiting, m.seq, m.ingress, m.corr = true, s.SequenceID, at, s.Correction.NS()
}

// oneStep takes a Sync that carries its origin time and information itself
// (oneStepReceive, 11.2.14). From here on it is like any other: it is relayed
// with a Follow_Up.
func (m *mdSyncReceive) oneStep(s *ptpmsg.Sync, at tsn.LocalTime) {
	m.waiting, m.ingress, m.corr = false, at, 0
	m.p.count.OneStep++
	origin, err := s.Origin()
	if err != nil {
		m.p.count.Malformed++
		return
	}
	m.complete(&s.Header, origin, s.TLVs)
}

func (m *mdSyncReceive) followUp(f *ptpmsg.FollowUp) {
	if !m.waiting || f.SequenceID != m.seq || f.Source != m.p.info.priority.source {
		m.p.count.Unexpected++
		return
	}
	m.waiting = false
	m.complete(&f.Header, f.PreciseOrigin, f.TLVs)
}

// complete passes on what a Sync and its Follow_Up, or a one-step Sync, say;
// h is of the one with the origin time.
func (m *mdSyncReceive) complete(h *ptpmsg.Header, preciseOrigin ptpmsg.Timestamp, tlvs []ptpmsg.TLV) {
	info, ok := ptpmsg.FindFollowUpInformation(tlvs)
	if !ok {
		m.p.count.NoInformation++
		return
	}
	origin, ok := preciseOrigin.NS()
	if !ok {
		m.p.count.Malformed++
		return
	}
	m.p.receiveSync(portSyncSync{
		from:                m.p,
		preciseOrigin:       origin,
		followUpCorrection:  h.Correction.NS() + m.corr,
		logInterval:         h.LogInterval,
		ingress:             m.ingress,
		linkDelay:           m.p.linkDelayLocal(),
		rateRatio:           info.CumulativeScaledRateOffset.Ratio(),
		gmTimeBaseIndicator: info.GmTimeBaseIndicator,
		lastGmPhaseChange:   info.LastGmPhaseChange,
		lastGmFreqChange:    info.ScaledLastGmFreqChange,
		tlvs:                m.p.forwardable(tlvs),
	})
}

// linkDelayLocal is how long before its ingress a Sync left the neighbour, in
// ns of LocalClock: upstreamTxTime is ingress less this (11.2.14.2.1).
func (p *port) linkDelayLocal() float64 {
	return p.delay.req.link.meanDelay/p.delay.req.link.rateRatio + float64(p.cfg.DelayAsymmetry)
}
