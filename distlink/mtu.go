package distlink

import tsn "tsnswitch"

const (
	baseDatagram = 1200            // octets that every path carries
	mtuGrain     = 16              // octets closer than this are close enough
	mtuTries     = 3               // probes of a size until it counts as too long
	mtuAgain     = 600_000_000_000 // ns until the search starts anew (RFC 8899, PMTU_RAISE_TIMER)
	blackHole    = 6               // long packets lost in a row until the path counts as narrower
)

// pathMTU searches for the longest datagram that the path carries (RFC 8899).
type pathMTU struct {
	size   int // of datagrams now
	most   int // what both sides take
	high   int // longest that may still be carried
	probe  int // size of the probe on its way; 0: none
	number uint64
	tries  int
	at     tsn.Instant // next probe, or when the one on its way counts as lost
	// Long packets lost in a row, and the least of them: what is shorter says
	// nothing when it gets through.
	bigLost, lostLeast int
	// One above the highest of the longest packets acknowledged, and their size.
	bigAck     uint64
	bigAckSize int
}

func (m *pathMTU) start(now tsn.Instant, most int) {
	*m = pathMTU{size: min(baseDatagram, most), most: most, high: most, at: now}
	if m.size == most {
		m.at = tsn.Never
	}
}

// next is the size to probe: the longest, then half-way.
func (m *pathMTU) next() int {
	if m.high == m.most {
		return m.high
	}
	return (m.size + m.high + 1) / 2
}

// due reports that a probe is to be sent.
func (m *pathMTU) due(now tsn.Instant) bool { return m.probe == 0 && now >= m.at }

func (m *pathMTU) sent(now tsn.Instant, number uint64, patience int64) {
	m.probe, m.number, m.at = m.next(), number, now.Add(patience)
}

// settle decides what comes after a probe's end.
func (m *pathMTU) settle(now tsn.Instant, wait int64) {
	m.probe, m.at = 0, now.Add(wait)
	if m.high-m.size < mtuGrain {
		m.high, m.tries, m.at = m.most, 0, now.Add(mtuAgain)
	}
	if m.size == m.most {
		m.at = tsn.Never
	}
}

func (m *pathMTU) acked(now tsn.Instant, number uint64, size int) {
	if size > baseDatagram && size >= m.lostLeast {
		m.bigLost, m.lostLeast = 0, 0
	}
	if size > baseDatagram && size >= m.bigAckSize {
		m.bigAck, m.bigAckSize = max(m.bigAck, number+1), size
	}
	if m.probe > 0 && number == m.number {
		m.size, m.tries = m.probe, 0
		m.settle(now, 0)
	}
}

// lost is told of a packet lost; wait is when to try again. It reports whether
// the path has become narrower.
func (m *pathMTU) lost(now tsn.Instant, number uint64, size int, wait int64) bool {
	if m.probe > 0 && number == m.number {
		if m.tries++; m.tries >= mtuTries {
			m.high, m.tries = m.probe-1, 0
		}
		m.settle(now, wait)
		return false
	}
	if size <= baseDatagram || size > m.size || number < m.bigAck && size <= m.bigAckSize {
		return false // short, a probe that was given up, or overtaken by one as long
	}
	if m.lostLeast == 0 || size < m.lostLeast {
		m.lostLeast = size
	}
	if m.bigLost++; m.bigLost < blackHole {
		return false
	}
	m.size, m.high, m.probe, m.tries = baseDatagram, m.most, 0, 0
	m.bigLost, m.lostLeast, m.bigAckSize = 0, 0, 0
	m.at = now.Add(8 * wait)
	return true
}
