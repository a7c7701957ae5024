package gptp

import (
	tsn "tsnswitch"
	"tsnswitch/gptp/ptpmsg"
)

// portSyncSync is the PortSyncSync structure (10.2.2.3): one Sync's worth of
// synchronization information on its way through this node.
type portSyncSync struct {
	from                *port // nil: this node is the grand master
	preciseOrigin       int64 // ns
	followUpCorrection  float64
	logInterval         int8
	ingress             tsn.LocalTime
	linkDelay           float64 // upstreamTxTime = ingress - linkDelay
	rateRatio           float64 // grand master's frequency over LocalClock's, at ingress
	rateDrift           float64 // what that gains in a second
	gmTimeBaseIndicator uint16
	lastGmPhaseChange   ptpmsg.ScaledNS
	lastGmFreqChange    ptpmsg.ScaledRate
	tlvs                []ptpmsg.TLV // to pass on as they are
}

// receiveSync is PortSyncSyncReceive (10.2.8): the neighbour's rate is added to
// the cumulative one and the sync receipt time-out begins anew.
func (p *port) receiveSync(s portSyncSync) {
	if !p.asCapable {
		return
	}
	s.rateRatio += p.delay.req.link.ratio(s.ingress) - 1
	p.info.syncReceived(s.logInterval)
	p.in.siteSyncSync(s)
}
