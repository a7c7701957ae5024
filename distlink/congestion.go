package distlink

import tsn "tsnswitch"

const (
	initialPackets = 10 // RFC 9002 7.2
	leastPackets   = 2
	// delayPackets bounds what delay alone may take: by noise in the RTT a
	// connection does not get slower than this many packets each round trip.
	delayPackets  = 8
	delayTarget   = 600_000       // ns of queue on the way that are left alone
	rivalDelay    = 2_000_000     // ns of queue that may be a rival's
	delayRound    = 10_000_000    // ns; a round is at least that long: a busy machine delays some packets, a queue all
	delaySamples  = 8             // in slow start that many are enough to see it
	baseWindow    = 5_000_000_000 // ns; the base RTT is the least of one to two of them
	futileRounds  = 8             // rounds of giving way to no effect
	rivalInterval = 5_000_000_000 // ns of plain NewReno then
	lossNumerator = 7             // of 10: what a loss leaves
)

// congestion is the window of a connection without a configured rate
// (PROTOCOL.md, Recovery): NewReno that also gives way to delay.
type congestion struct {
	window    int // octets
	threshold int // of slow start
	pipe      int // octets sent, neither acknowledged nor lost
	packet    int // octets of a full one

	recovery tsn.Instant // losses sent before this have been answered

	base, baseBefore int64 // least RTT of this base window and the one before
	baseEnd          tsn.Instant
	round            uint64 // ends when this packet is acknowledged, not before roundEnd
	roundEnd         tsn.Instant
	roundRTT         int64 // least of the round, 0: none
	samples          int
	lastQueue        int64 // delay of the round before
	futile           int
	gaveWay          int // the window when that began
	rivalUntil       tsn.Instant
	full             bool // the window was the limit in this round
}

func (g *congestion) reset(packet int) {
	*g = congestion{packet: packet, window: initialPackets * packet, threshold: 1 << 30, pipe: g.pipe}
}

// room reports whether a packet more may be sent. One always may: packets may
// have become longer than the window was.
func (g *congestion) room() bool {
	if g.pipe == 0 || g.pipe+g.packet <= g.window {
		return true
	}
	g.full = true
	return false
}

// acked takes a packet of that size off the wire.
func (g *congestion) acked(size int, at tsn.Instant) {
	g.pipe -= size
	if at < g.recovery || !g.full {
		return
	}
	if g.window < g.threshold {
		g.window += size
		return
	}
	g.window += max(1, g.packet*size/g.window)
}

// lost is told of packets sent at the given time, of which size octets went.
func (g *congestion) lost(now, at tsn.Instant, size int) {
	g.pipe -= size
	if size == 0 || at < g.recovery {
		return
	}
	g.recovery = now
	g.window = max(g.window*lossNumerator/10, leastPackets*g.packet)
	g.threshold = g.window
}

// sample takes an RTT without the peer's delay, and the numbers of the packet
// acknowledged and of the next to be sent.
func (g *congestion) sample(now tsn.Instant, rtt int64, acked, next uint64) {
	if now >= g.baseEnd {
		g.baseBefore, g.base, g.baseEnd = g.base, 0, now.Add(baseWindow)
	}
	g.base, g.roundRTT = least(g.base, rtt), least(g.roundRTT, rtt)
	g.samples++
	fast := g.window < g.threshold && g.samples >= delaySamples && g.queue() > delayTarget
	if acked >= g.round && now >= g.roundEnd || fast {
		g.endRound(now)
		g.roundEnd = now.Add(delayRound)
		g.round, g.roundRTT, g.samples, g.full = next, 0, 0, false
	}
}

// queue is the least delay of the round beyond the path's own.
func (g *congestion) queue() int64 { return g.roundRTT - least(g.base, g.baseBefore) }

func least(a, b int64) int64 {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// endRound gives way to delay: the window becomes what fills the path and the
// target, but not less than half of it in one round. Delay that this does not
// lessen is a rival's.
func (g *congestion) endRound(now tsn.Instant) {
	base, queue := least(g.base, g.baseBefore), g.queue()
	if queue > rivalDelay && queue > g.lastQueue*3/4 {
		g.futile++
	} else {
		g.futile, g.gaveWay = 0, g.window
	}
	g.lastQueue = queue
	switch {
	case now < g.rivalUntil || queue <= delayTarget:
		return
	case g.futile > futileRounds:
		// What was given away is taken back as fast as in slow start.
		g.futile, g.rivalUntil = 0, now.Add(rivalInterval)
		g.threshold = max(g.threshold, g.gaveWay)
		return
	}
	fits := int(int64(g.window) * (base + delayTarget) / (base + queue))
	g.window = min(g.window, max(fits, g.window/2, delayPackets*g.packet))
	g.threshold = g.window
}

// silence answers probes that stay unanswered: who comes back starts slowly.
func (g *congestion) silence() { g.window = leastPackets * g.packet }
