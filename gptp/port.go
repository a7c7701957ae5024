package gptp

import (
	tsn "tsnswitch"
	"tsnswitch/gptp/ptpmsg"
)

// port is one PTP Port: a link port in one domain, and the state machines that
// run there.
type port struct {
	in           *Instance
	link         *linkPort
	delay        *linkDelay
	cfg          PortConfig
	id           ptpmsg.PortIdentity
	asCapable    bool
	announceLoop bool // told about it
	toldRefused  bool // a better grand master, since link up
	count        Counters
	intervals    portIntervals
	signalSeq    uint16

	rx       mdSyncReceive
	tx       mdSyncSend
	info     portAnnounceInformation
	announce portAnnounceTransmit

	capableTx gptpCapableTransmit
	capableRx gptpCapableReceive
}

// portIntervals are how often a PTP Port sends what it sends by itself.
type portIntervals struct{ sync, announce, gptpCapable interval }

// linkChanged starts and stops what goes by the link alone; intervals that the
// last neighbour asked for are forgotten (INITIALIZE of their settings).
func (p *port) linkChanged(up bool) {
	c := &p.cfg
	p.intervals = portIntervals{
		sync:        interval{c.LogSyncInterval, c.LogSyncInterval},
		announce:    interval{c.LogAnnounceInterval, c.LogAnnounceInterval},
		gptpCapable: interval{c.LogGptpCapableMessageInterval, c.LogGptpCapableMessageInterval},
	}
	if up {
		p.capableTx.start()
		return
	}
	p.capableTx.stop()
	p.capableRx.stop()
}

// timer sends what is due and returns when more will be.
func (p *port) timer() tsn.Instant {
	p.announce.timer()
	p.capableTx.timer()
	return min(p.info.announceTimeout, p.info.syncTimeout, p.announce.next, p.capableTx.next, p.capableRx.timeout)
}

func newPort(i *Instance, l *linkPort, d *linkDelay, seed *uint64) *port {
	p := &port{
		in: i, link: l, delay: d, cfg: l.cfg,
		id: ptpmsg.PortIdentity{Clock: i.sys.cfg.ClockIdentity, Port: uint16(l.cfg.Port)},
	}
	l.ports = append(l.ports, p)
	d.users = append(d.users, p)
	p.rx.p = p
	p.tx.init(p, uint16(splitMix(seed)))
	p.info.init(p)
	p.announce.init(p, uint16(splitMix(seed)))
	p.capableTx.init(p)
	p.capableRx.init(p)
	p.linkChanged(false)
	return p
}

// splitMix is the SplitMix64 generator.
func splitMix(s *uint64) uint64 {
	*s += 0x9e3779b97f4a7c15
	z := *s
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// updateCapable derives asCapable (10.2.5.1): the link is good and, for a
// domain that goes by the common service, the neighbour has said that this
// domain is gPTP-capable. Who measures by itself may have a neighbour of
// 802.1AS-2011, which cannot say so.
func (p *port) updateCapable() {
	v := p.delay.req.asCapable && p.neighborCapable()
	if v == p.asCapable {
		return
	}
	p.asCapable = v
	if v {
		p.in.notice(NoticeAsCapable, p.cfg.Port, "")
	} else {
		p.in.notice(NoticeNotAsCapable, p.cfg.Port, p.reason().String())
		p.rx.reset()
		p.tx.tag = 0
	}
	p.info.capableChanged()
}

// neighborCapable is the domain's part in asCapable.
func (p *port) neighborCapable() bool { return p.capableRx.capable || !p.delay.common() }

// reason is why the port is not asCapable.
func (p *port) reason() Reason {
	if p.delay.req.asCapable && !p.neighborCapable() {
		return ReasonNotGptpCapable
	}
	return p.delay.req.reason
}

// header is a header of this port with what all messages share (10.6.2.2).
func (p *port) header(flags, seq uint16, control uint8, logInterval int8) ptpmsg.Header {
	return ptpmsg.Header{
		MajorSdoID: ptpmsg.MajorSdoID, MinorVersion: p.in.sys.cfg.MinorVersion, Domain: p.in.cfg.Domain,
		Flags: flags, Source: p.id, SequenceID: seq, Control: control, LogInterval: logInterval,
	}
}

// sendGeneral sends a message whose egress time nobody needs.
func (p *port) sendGeneral(m ptpmsg.Message) {
	p.count.Tx.add(m.Type())
	p.link.send(m, 0)
}

// sendEvent sends a message and returns the tag its egress time will have.
func (p *port) sendEvent(m ptpmsg.Message) uint64 {
	p.count.Tx.add(m.Type())
	tag := p.link.newTag()
	p.link.send(m, tag)
	return tag
}

func (p *port) dispatch(m ptpmsg.Message, at tsn.LocalTime, stamped bool) {
	switch m := m.(type) {
	case *ptpmsg.Sync:
		p.rx.sync(m, at, stamped)
	case *ptpmsg.FollowUp:
		p.rx.followUp(m)
	case *ptpmsg.Announce:
		p.receiveAnnounce(m)
	case *ptpmsg.Signaling:
		p.signaling(m)
	}
}
