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
	case s.Flags&ptpmsg.FlagTwoStep == 0:
		c.OneStep++
		return
	case !stamped:
		c.LostReceiveStamps++
		return
	}
	if m.waiting {
		c.LostFollowUps++
	}
	m.waiting, m.seq, m.ingress, m.corr = true, s.SequenceID, at, s.Correction.NS()
}

func (m *mdSyncReceive) followUp(f *ptpmsg.FollowUp) {
	if !m.waiting || f.SequenceID != m.seq || f.Source != m.p.info.priority.source {
		m.p.count.Unexpected++
		return
	}
	m.waiting = false
	info, ok := f.Information()
	if !ok {
		m.p.count.NoInformation++
		return
	}
	origin, ok := f.PreciseOrigin.NS()
	if !ok {
		m.p.count.Malformed++
		return
	}
	m.p.receiveSync(portSyncSync{
		from:                m.p,
		preciseOrigin:       origin,
		followUpCorrection:  f.Correction.NS() + m.corr,
		logInterval:         f.LogInterval,
		ingress:             m.ingress,
		linkDelay:           m.p.linkDelayLocal(),
		rateRatio:           info.CumulativeScaledRateOffset.Ratio(),
		gmTimeBaseIndicator: info.GmTimeBaseIndicator,
		lastGmPhaseChange:   info.LastGmPhaseChange,
		lastGmFreqChange:    info.ScaledLastGmFreqChange,
	})
}

// linkDelayLocal is how long before its ingress a Sync left the neighbour, in
// ns of LocalClock: upstreamTxTime is ingress less this (11.2.14.2.1).
func (p *port) linkDelayLocal() float64 {
	return p.delay.req.link.meanDelay/p.delay.req.link.rateRatio + float64(p.cfg.DelayAsymmetry)
}
