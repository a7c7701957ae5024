package gptp

import (
	"errors"

	tsn "tsnswitch"
	"tsnswitch/gptp/ptpmsg"
)

// port is one PTP Port: its link and the state machines that run on it.
type port struct {
	in           *Instance
	cfg          PortConfig
	id           ptpmsg.PortIdentity
	up           bool // portOper
	announceLoop bool // told about it
	count        Counters

	req      mdPdelayReq
	resp     mdPdelayResp
	rx       mdSyncReceive
	tx       mdSyncSend
	info     portAnnounceInformation
	announce portAnnounceTransmit
}

func newPort(i *Instance, pc PortConfig, seed *uint64) *port {
	p := &port{in: i, cfg: pc, id: ptpmsg.PortIdentity{Clock: i.cfg.ClockIdentity, Port: uint16(pc.Port)}}
	p.req.init(p, uint16(splitMix(seed)))
	p.resp.p = p
	p.rx.p = p
	p.tx.init(p, uint16(splitMix(seed)))
	p.info.init(p)
	p.announce.init(p, uint16(splitMix(seed)))
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

func (p *port) setUp(up bool) {
	if up == p.up || p.cfg.Disabled {
		p.up = up
		return
	}
	p.up = up
	if up {
		p.req.start()
	} else {
		p.req.stop(ReasonLinkDown)
		p.resp.tag = 0
	}
}

// asCapableChanged is called by MDPdelayReq.
func (p *port) asCapableChanged() {
	if p.req.asCapable {
		p.in.notice(NoticeAsCapable, p.cfg.Port, "")
	} else {
		p.in.notice(NoticeNotAsCapable, p.cfg.Port, p.req.reason.String())
		p.rx.reset()
		p.tx.tag = 0
	}
	p.info.capableChanged()
}

// header is a header of this port with what all messages share (10.6.2.2).
func (p *port) header(flags, seq uint16, control uint8, logInterval int8) ptpmsg.Header {
	return ptpmsg.Header{
		MajorSdoID: ptpmsg.MajorSdoID, MinorVersion: p.in.cfg.MinorVersion, Domain: p.in.cfg.Domain,
		Flags: flags, Source: p.id, SequenceID: seq, Control: control, LogInterval: logInterval,
	}
}

// sendGeneral sends a message whose egress time nobody needs.
func (p *port) sendGeneral(m ptpmsg.Message) { p.send(m, 0) }

// sendEvent sends a message and returns the tag its egress time will have.
func (p *port) sendEvent(m ptpmsg.Message) uint64 {
	p.in.tag++
	p.send(m, p.in.tag)
	return p.in.tag
}

func (p *port) send(m ptpmsg.Message, tag uint64) {
	p.count.Tx.add(m.Type())
	frame := ptpmsg.AppendFrame(make([]byte, 0, 128), p.in.cfg.SystemMAC, m)
	p.in.emit(tsn.Send{Port: p.cfg.Port, Frame: frame, Priority: gptpPriority, Tag: tag})
}

// received decodes a frame and gives it to the machine that waits for it.
func (i *Instance) received(ev tsn.Received) {
	p := i.port(ev.Port)
	if p == nil {
		return
	}
	if !p.up || p.cfg.Disabled {
		p.count.Unexpected++
		return
	}
	_, payload, err := ptpmsg.ParseFrame(ev.Frame)
	if err != nil {
		p.count.NotGPTP++
		return
	}
	m, err := i.dec.Decode(payload)
	if err != nil {
		if errors.Is(err, ptpmsg.ErrType) {
			p.count.NotGPTP++
		} else {
			p.count.Malformed++
		}
		return
	}
	if h := m.Head(); h.MajorSdoID != ptpmsg.MajorSdoID || h.Domain != i.cfg.Domain {
		p.count.OtherDomain++
		return
	}
	p.count.Rx.add(m.Type())
	if ev.Stamped {
		i.stamped(ev.Ingress)
	}
	p.dispatch(m, ev.Ingress, ev.Stamped)
}

func (p *port) dispatch(m ptpmsg.Message, at tsn.LocalTime, stamped bool) {
	switch m := m.(type) {
	case *ptpmsg.PdelayReq:
		p.resp.request(m, at, stamped)
	case *ptpmsg.PdelayResp:
		p.req.response(m, at, stamped)
	case *ptpmsg.PdelayRespFollowUp:
		p.req.followUp(m)
	case *ptpmsg.Sync:
		p.rx.sync(m, at, stamped)
	case *ptpmsg.FollowUp:
		p.rx.followUp(m)
	case *ptpmsg.Announce:
		p.receiveAnnounce(m)
	}
}

// sent gives an egress time to the machine that sent the frame. A time that
// comes after its machine went on costs that one message.
func (i *Instance) sent(ev tsn.Sent) {
	p := i.port(ev.Port)
	if p == nil || ev.Tag == 0 {
		return
	}
	if ev.Stamped {
		i.stamped(ev.Egress)
	} else {
		p.count.LostTransmitStamps++
	}
	switch ev.Tag {
	case p.req.tag:
		p.req.sent(ev.Egress, ev.Stamped)
	case p.resp.tag:
		p.resp.sent(ev.Egress, ev.Stamped)
	case p.tx.tag:
		p.tx.sent(ev.Egress, ev.Stamped)
	default:
		if ev.Stamped {
			p.count.LateTransmitStamps++
		}
	}
}
