package gptp

import (
	tsn "tsnswitch"
	"tsnswitch/gptp/ptpmsg"
)

// gptpCapableReceive is GptpCapableReceive (10.4.1): the neighbour is
// gPTP-capable in this domain while it says so often enough.
type gptpCapableReceive struct {
	p       *port
	capable bool        // neighborGptpCapable
	timeout tsn.Instant // Never unless capable
}

func (m *gptpCapableReceive) init(p *port) { m.p, m.timeout = p, tsn.Never }

// received enters RECEIVED_TLV.
func (m *gptpCapableReceive) received(c ptpmsg.GptpCapable) {
	m.timeout = m.p.in.sys.now.Add(int64(m.p.cfg.GptpCapableReceiptTimeout) * intervalNS(c.LogInterval))
	if !m.capable {
		m.p.capableTx.soon() // it may have missed ours
		m.set(true)
	}
}

// putOff moves the time-out by how long this node itself was stalled.
func (m *gptpCapableReceive) putOff(late int64) { m.timeout = m.timeout.Add(late) }

func (m *gptpCapableReceive) stop() {
	m.timeout = tsn.Never
	m.set(false)
}

func (m *gptpCapableReceive) set(v bool) {
	if v == m.capable {
		return
	}
	m.capable = v
	m.p.updateCapable()
}

func (m *gptpCapableReceive) timer() {
	if m.p.in.sys.now < m.timeout {
		return
	}
	m.p.count.GptpCapableTimeouts++
	m.stop()
}
