package gptp

import (
	tsn "tsnswitch"
	"tsnswitch/gptp/ptpmsg"
)

// RequestIntervals asks the neighbour at a port to send at other intervals
// (10.6.4.3, 10.6.4.5), as an event. Each is a logarithm to base 2 of seconds,
// or one of ptpmsg.IntervalLeave, IntervalInitial and IntervalStop: zero means
// one second, and LeaveIntervals leaves all as they are.
type RequestIntervals struct {
	Port                                       tsn.Port
	Domain                                     uint8
	LinkDelay, TimeSync, Announce, GptpCapable int8
}

// LeaveIntervals is a RequestIntervals that changes nothing, to start from.
func LeaveIntervals(p tsn.Port, domain uint8) RequestIntervals {
	const leave = ptpmsg.IntervalLeave
	return RequestIntervals{Port: p, Domain: domain, LinkDelay: leave, TimeSync: leave, Announce: leave, GptpCapable: leave}
}

// ourFlags is what a request of ours says beside the intervals.
const ourFlags = ptpmsg.FlagComputeNeighborRateRatio | ptpmsg.FlagComputeMeanLinkDelay | ptpmsg.FlagOneStepReceiveCapable

// requestIntervals sends one message for each TLV, as peers read only the
// first; that for the link delay goes to the service that measures.
func (s *System) requestIntervals(ev RequestIntervals) {
	l, i := s.link(ev.Port), s.Instance(ev.Domain)
	if l == nil || i == nil || !l.up {
		return
	}
	p := i.port(ev.Port)
	r := ptpmsg.IntervalRequest{LinkDelay: ev.LinkDelay, TimeSync: ev.TimeSync, Announce: ev.Announce, Flags: ourFlags}
	if p.delay.common() {
		if r.LinkDelay != ptpmsg.IntervalLeave {
			p.delay.signal(ptpmsg.IntervalRequest{
				LinkDelay: r.LinkDelay, TimeSync: ptpmsg.IntervalLeave, Announce: ptpmsg.IntervalLeave, Flags: ourFlags,
			}.TLV())
		}
		r.LinkDelay = ptpmsg.IntervalLeave
	}
	if r.LinkDelay != ptpmsg.IntervalLeave || r.TimeSync != ptpmsg.IntervalLeave || r.Announce != ptpmsg.IntervalLeave {
		p.signal(r.TLV())
	}
	if ev.GptpCapable != ptpmsg.IntervalLeave {
		p.signal(ptpmsg.GptpCapableIntervalRequest{LogInterval: ev.GptpCapable}.TLV())
	}
}

// signal sends a TLV to the neighbour in this domain.
func (p *port) signal(t ptpmsg.TLV) {
	p.signalSeq++
	p.sendGeneral(&ptpmsg.Signaling{
		Header: p.header(0, p.signalSeq, 5, ptpmsg.LogIntervalNone), Target: ptpmsg.AnyPort, TLVs: []ptpmsg.TLV{t},
	})
}

// signal sends a TLV to the service at the other end of the link.
func (d *linkDelay) signal(t ptpmsg.TLV) {
	d.signalSeq++
	d.send(&ptpmsg.Signaling{
		Header: d.header(0, d.signalSeq, ptpmsg.LogIntervalNone), Target: ptpmsg.AnyPort, TLVs: []ptpmsg.TLV{t},
	}, false)
}

// signaling takes the TLVs of a Signaling message apart. What it asks for that
// is not known ends here: Signaling goes no further than one link.
func (p *port) signaling(m *ptpmsg.Signaling) {
	if !isFor(m.Target, p.id) || m.Source.Clock == p.id.Clock {
		p.count.Unexpected++
		return
	}
	if r, ok := m.IntervalRequest(); ok {
		p.syncIntervalSetting(r.TimeSync)
		p.announceIntervalSetting(r.Announce)
		if !p.delay.common() {
			p.delay.linkDelayIntervalSetting(r)
		}
	}
	if r, ok := m.GptpCapableIntervalRequest(); ok {
		p.gptpCapableIntervalSetting(r.LogInterval)
	}
	if c, ok := m.GptpCapable(); ok {
		p.capableRx.received(c)
	}
}

// signaling of the Common Mean Link Delay Service.
func (d *linkDelay) signaling(m *ptpmsg.Signaling) {
	if !isFor(m.Target, d.id) || m.Source.Clock == d.id.Clock {
		d.l.count.Unexpected++
		return
	}
	if r, ok := m.IntervalRequest(); ok {
		d.linkDelayIntervalSetting(r)
	}
}

// isFor reports whether a target names a port, or any. An old sender leaves it
// zero.
func isFor(target, id ptpmsg.PortIdentity) bool {
	return target == ptpmsg.AnyPort || target == id || target == ptpmsg.PortIdentity{}
}

// ask sets one of this domain's intervals.
func (p *port) ask(what string, i *interval, v int8) (changed bool) {
	return p.link.ask(what, i, v, &p.count, p.in.notice)
}
