package gptp

import (
	tsn "tsnswitch"
	"tsnswitch/gptp/ptpmsg"
)

// linkPort is a port of the machine: its link, what measures it, and the PTP
// Ports that use it, one for each domain.
type linkPort struct {
	sys    *System
	cfg    PortConfig
	up     bool         // portOper
	delays []*linkDelay // at most one of each kind
	ports  []*port      // ascending domain
	count  Counters
	asked  askedTold // when the neighbour's wishes were last told about
}

func newLinkPort(s *System, pc PortConfig, seed *uint64) *linkPort {
	l := &linkPort{sys: s, cfg: pc}
	first := s.cfg.Domains[0].Domain
	if !s.cfg.CommonLinkDelay {
		l.delays = append(l.delays, newLinkDelay(l, ptpmsg.MajorSdoID, first, seed))
	}
	if s.cfg.CommonLinkDelay || len(s.cfg.Domains) > 1 {
		l.delays = append(l.delays, newLinkDelay(l, ptpmsg.MajorSdoIDCommon, 0, seed))
	}
	return l
}

// delay is what a domain goes by.
func (l *linkPort) delay(common bool) *linkDelay {
	for _, d := range l.delays {
		if d.common() == common {
			return d
		}
	}
	return nil
}

func (l *linkPort) setUp(up bool) {
	if up == l.up || l.cfg.Disabled {
		l.up = up
		return
	}
	l.up = up
	for _, p := range l.ports {
		p.toldRefused = false
	}
	for _, p := range l.ports {
		p.linkChanged(up)
	}
	for _, d := range l.delays {
		d.resetInterval()
		if up {
			d.req.start()
		} else {
			d.req.stop(ReasonLinkDown)
			d.resp.tag = 0
		}
	}
}

func (l *linkPort) timer() tsn.Instant {
	next := tsn.Never
	for _, d := range l.delays {
		d.req.timer()
		next = min(next, d.req.next)
	}
	return next
}

// dispatch gives a message to its machine; false if it is for a domain or a
// service that is not here.
func (l *linkPort) dispatch(m ptpmsg.Message, at tsn.LocalTime, stamped bool) bool {
	h := m.Head()
	switch m := m.(type) {
	case *ptpmsg.Signaling:
		if d := l.delay(true); d != nil && h.MajorSdoID == d.sdo && h.Domain == d.domain {
			l.count.Rx.add(m.Type())
			d.signaling(m)
			return true
		}
	case *ptpmsg.PdelayReq, *ptpmsg.PdelayResp, *ptpmsg.PdelayRespFollowUp:
		for _, d := range l.delays {
			if d.sdo == h.MajorSdoID && d.domain == h.Domain {
				l.count.Rx.add(m.Type())
				d.dispatch(m, at, stamped)
				return true
			}
		}
		return false
	}
	for _, p := range l.ports {
		if h.MajorSdoID == ptpmsg.MajorSdoID && h.Domain == p.in.cfg.Domain {
			p.count.Rx.add(m.Type())
			p.dispatch(m, at, stamped)
			return true
		}
	}
	return false
}

// send puts a message on the wire; tag 0 if nobody needs its egress time.
func (l *linkPort) send(m ptpmsg.Message, tag uint64) {
	frame := ptpmsg.AppendFrame(make([]byte, 0, 128), l.sys.cfg.SystemMAC, m)
	l.sys.emit(tsn.Send{Port: l.cfg.Port, Frame: frame, Priority: gptpPriority, Tag: tag})
}

func (l *linkPort) newTag() uint64 {
	l.sys.tag++
	return l.sys.tag
}

// linkDelay measures a link for those that go by it: the first domain alone
// (instance-specific, 11.2.19), or all that use the Common Mean Link Delay
// Service (11.2.17), whose messages have a majorSdoId of their own.
type linkDelay struct {
	l      *linkPort
	id     ptpmsg.PortIdentity
	sdo    uint8
	domain uint8
	req    mdPdelayReq
	resp   mdPdelayResp
	users  []*port

	interval  interval
	wishes    NeighborWishes
	signalSeq uint16
}

func newLinkDelay(l *linkPort, sdo, domain uint8, seed *uint64) *linkDelay {
	d := &linkDelay{l: l, sdo: sdo, domain: domain, id: ptpmsg.PortIdentity{Clock: l.sys.cfg.ClockIdentity, Port: uint16(l.cfg.Port)}}
	d.resetInterval()
	d.req.init(d, uint16(splitMix(seed)))
	d.resp.d = d
	return d
}

// resetInterval forgets what the last neighbour asked for.
func (d *linkDelay) resetInterval() {
	l := d.l.cfg.LogPdelayReqInterval
	d.interval, d.wishes = interval{l, l}, NeighborWishes{}
}

func (d *linkDelay) common() bool { return d.sdo == ptpmsg.MajorSdoIDCommon }

func (d *linkDelay) dispatch(m ptpmsg.Message, at tsn.LocalTime, stamped bool) {
	switch m := m.(type) {
	case *ptpmsg.PdelayReq:
		d.resp.request(m, at, stamped)
	case *ptpmsg.PdelayResp:
		d.req.response(m, at, stamped)
	case *ptpmsg.PdelayRespFollowUp:
		d.req.followUp(m)
	}
}

// sent takes an egress time if it is of a message of this service.
func (d *linkDelay) sent(ev tsn.Sent) bool {
	switch ev.Tag {
	case d.req.tag:
		d.req.sent(ev.Egress, ev.Stamped)
	case d.resp.tag:
		d.resp.sent(ev.Egress, ev.Stamped)
	default:
		return false
	}
	return true
}

// capableChanged is called by MDPdelayReq: asCapableAcrossDomains is another.
func (d *linkDelay) capableChanged() {
	for _, p := range d.users {
		p.updateCapable()
	}
}

func (d *linkDelay) header(flags, seq uint16, logInterval int8) ptpmsg.Header {
	return ptpmsg.Header{
		MajorSdoID: d.sdo, MinorVersion: d.l.sys.cfg.MinorVersion, Domain: d.domain,
		Flags: flags, Source: d.id, SequenceID: seq, Control: 5, LogInterval: logInterval,
	}
}

// send sends a message, and returns the tag of its egress time if that is wanted.
func (d *linkDelay) send(m ptpmsg.Message, event bool) (tag uint64) {
	if event {
		tag = d.l.newTag()
	}
	d.l.count.Tx.add(m.Type())
	d.l.send(m, tag)
	return tag
}
