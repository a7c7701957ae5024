package gptp

import (
	tsn "tsnswitch"
	"tsnswitch/gptp/ptpmsg"
)

// announceGap is the least time between two Announces of a port, ns: a
// neighbour that changes its mind with every frame is not amplified.
const announceGap = 1_000_000_000 / 32

// portAnnounceTransmit is PortAnnounceTransmit (10.3.16): a master port
// announces at once when it has something new to say, and every interval.
type portAnnounceTransmit struct {
	p       *port
	seq     uint16
	next    tsn.Instant
	pending bool // newInfo
	last    tsn.Instant
	soonest tsn.Instant // announceGap after the last one
	again   int         // how often the first is to be said again soon
}

// A port that became a master repeats itself announceAgain times after
// announceSoon ns: the neighbour is seldom asCapable at the same moment, what it
// hears before is lost on it, and it would wait for a whole interval.
const announceAgain, announceSoon = 2, 250_000_000

func (m *portAnnounceTransmit) init(p *port, seq uint16) { m.p, m.seq, m.next = p, seq, tsn.Never }

func (m *portAnnounceTransmit) newInfo() { m.pending = true }

func (m *portAnnounceTransmit) stateChanged() {
	m.again = announceAgain
	if m.p.info.state != MasterPort {
		m.pending, m.next = false, tsn.Never
	}
}

func (m *portAnnounceTransmit) timer() {
	now := m.p.in.sys.now
	if !m.p.in.bmca.gmPresent {
		m.next = tsn.Never // nothing to announce; newInfo stays pending
		return
	}
	if m.p.info.state != MasterPort || (!m.pending && now < m.next) {
		return
	}
	if m.p.intervals.announce.ns() == forever {
		m.next = tsn.Never
		return
	}
	if now < m.soonest {
		m.next = m.soonest
		return
	}
	m.pending, m.soonest = false, now.Add(announceGap)
	m.last = now
	m.arm()
	m.again = max(0, m.again-1)
	m.transmit()
}

// arm sets the next Announce an interval after the last, but not in the past.
func (m *portAnnounceTransmit) arm() {
	m.next = tsn.Never
	if ns := m.p.intervals.announce.ns(); ns != forever {
		if m.again > 0 {
			ns = min(ns, announceSoon)
		}
		m.next = max(m.p.in.sys.now, m.last.Add(ns))
	}
}

// intervalChanged is told by AnnounceIntervalSetting.
func (m *portAnnounceTransmit) intervalChanged() {
	if m.p.info.state == MasterPort && m.p.in.bmca.gmPresent {
		m.arm()
	}
}

// transmit is txAnnounce (10.3.16.2.1).
func (m *portAnnounceTransmit) transmit() {
	b := &m.p.in.bmca
	m.seq++
	a := &ptpmsg.Announce{
		Header:           m.p.header(b.properties.flags, m.seq, 5, m.p.intervals.announce.current),
		CurrentUtcOffset: b.properties.utcOffset,
		Priority1:        b.gm.root.priority1(),
		Quality:          b.gm.root.quality(),
		Priority2:        b.gm.root.priority2(),
		GrandMaster:      b.gm.root.clock(),
		StepsRemoved:     b.gm.steps,
		TimeSource:       b.properties.timeSource,
	}
	if len(b.path) <= ptpmsg.MaxPathTrace {
		a.TLVs = []ptpmsg.TLV{ptpmsg.PathTraceTLV(b.path)}
	}
	if b.slavePort != nil && b.slavePort.info.info.tlvs != nil {
		a.TLVs = m.p.forward(a.TLVs, b.slavePort.info.info.tlvs, ptpmsg.MaxMessageLen-ptpmsg.Length(a))
	}
	m.p.sendGeneral(a)
}
