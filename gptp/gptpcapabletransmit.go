package gptp

import (
	tsn "tsnswitch"
	"tsnswitch/gptp/ptpmsg"
)

// signalingGap is the least time between two gPTP-capable messages of a port,
// ns: whatever the neighbour does, it draws no more than that.
const signalingGap = 1_000_000_000 / 32

// gptpCapableTransmit is GptpCapableTransmit (10.4.2): it tells the neighbour
// that this domain is here, every interval and at once to one that says it is
// new.
type gptpCapableTransmit struct {
	p    *port
	next tsn.Instant
	last tsn.Instant
}

func (m *gptpCapableTransmit) init(p *port) { m.p, m.next = p, tsn.Never }

// start enters INITIALIZE when the link comes up.
func (m *gptpCapableTransmit) start() { m.next = m.p.in.sys.now }

// stop enters NOT_ENABLED.
func (m *gptpCapableTransmit) stop() { m.next = tsn.Never }

// soon brings the next message forward.
func (m *gptpCapableTransmit) soon() {
	if m.next != tsn.Never {
		m.rearm(0)
	}
}

// intervalChanged makes the next message come after the new interval.
func (m *gptpCapableTransmit) intervalChanged() {
	if m.p.link.up {
		m.rearm(m.p.intervals.gptpCapable.ns())
	}
}

// rearm sets the next message ns after the last, but not in the past.
func (m *gptpCapableTransmit) rearm(ns int64) {
	m.next = tsn.Never
	if ns != forever {
		m.next = max(m.p.in.sys.now, m.last.Add(max(ns, signalingGap)))
	}
}

// timer is TRANSMIT_TLV.
func (m *gptpCapableTransmit) timer() {
	now := m.p.in.sys.now
	if now < m.next {
		return
	}
	m.last = now
	m.rearm(m.p.intervals.gptpCapable.ns())
	m.p.signal(ptpmsg.GptpCapable{LogInterval: m.p.intervals.gptpCapable.current}.TLV())
}
