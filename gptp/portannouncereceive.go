package gptp

import (
	"fmt"
	"slices"

	tsn "tsnswitch"
	"tsnswitch/gptp/ptpmsg"
)

// maxStepsRemoved: an Announce from further away is not qualified (10.3.11.2.1).
const maxStepsRemoved = 255

// receiveAnnounce is PortAnnounceReceive (10.3.11): it passes qualified
// Announces on. One suffices; 1588's foreign master list is not used.
func (p *port) receiveAnnounce(a *ptpmsg.Announce) {
	self := p.id.Clock
	path, _ := a.PathTrace(nil)
	switch {
	case !p.asCapable:
		p.count.Unexpected++
	case p.cfg.MasterOnly:
		p.refuse(a)
	case a.Source.Clock == self, a.StepsRemoved >= maxStepsRemoved, a.Priority1 == 255:
		p.count.AnnounceDiscarded++
	case slices.Contains(path, self):
		p.count.AnnounceDiscarded++
		if !p.announceLoop {
			p.announceLoop = true
			p.in.notice(NoticeAnnounceLoop, p.cfg.Port, a.Source.String())
		}
	default:
		p.announceLoop = false
		rcvInfo := p.info.received
		if p.in.ext.enabled {
			rcvInfo = p.info.receivedExt
		}
		rcvInfo(p.messageVector(a), announceInfo{
			path:        path,
			tlvs:        p.forwardable(a.TLVs),
			properties:  timeProperties{flags: a.Flags & timeFlags, utcOffset: a.CurrentUtcOffset, timeSource: a.TimeSource},
			logInterval: a.LogInterval,
		})
	}
}

// messageVector is messagePriorityVector (10.3.5.2) of an Announce.
func (p *port) messageVector(a *ptpmsg.Announce) priorityVector {
	return priorityVector{
		root:   makeSystemIdentity(a.Priority1, a.Quality, a.Priority2, a.GrandMaster),
		steps:  a.StepsRemoved,
		source: a.Source,
		port:   tsn.Port(p.id.Port),
	}
}

// refuse drops an Announce on a port that accepts no grand master. Hosts that
// have not heard of the grand master announce themselves; only one that would
// win is told about, the first since link up.
func (p *port) refuse(a *ptpmsg.Announce) {
	p.count.AnnounceRefused++
	if p.toldRefused || p.messageVector(a).compare(p.in.bmca.gm) >= 0 {
		return
	}
	p.toldRefused = true
	p.in.notice(NoticeAnnounceRefused, p.cfg.Port, fmt.Sprintf("grand master %s with priority1 %d, from %s", a.GrandMaster, a.Priority1, a.Source))
}
