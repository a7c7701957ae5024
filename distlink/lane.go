package distlink

import (
	"slices"

	tsn "tsnswitch"
)

const (
	laneShift = 62 // of a packet number: above it is the lane
	laneMask  = 1<<laneShift - 1
	lanes     = 1 + int(classes)

	// NumLanes is how many lanes there can be (Transmit.Lane).
	NumLanes = lanes
)

// lane is the way of some classes: lane 0 of all that have none of their own,
// lane 1 + class of one that does, as it has a socket of its own and with it
// another priority or VLAN. Its datagrams may overtake those of others, so that
// all that is known of a path, packet numbers included, is known of a lane.
type lane struct {
	index int
	rate  tsn.Rate // reserved; 0: congestion control
	wire  int      // octets of a datagram on the wire besides its own

	sent         []sentPacket // sent[i] has packet number base+i
	base         uint64
	largestAcked uint64
	asked        uint64 // number of the last ACK alone that asked for one
	ping         bool   // a PING is due
	extra        int    // packets that probes may send beyond the window
	tokens       int64
	// tokensAt is when tokens was right; tokens are octets times 8e6 (bits at
	// kbit/s and ns), so that no rounding is lost.
	tokensAt tsn.Instant

	rtt  rttEstimate
	mtu  pathMTU
	cong congestion
}

// number of the next packet, without the lane.
func (l *lane) next() uint64 { return l.base + uint64(len(l.sent)) }

// numbered is a number as packets carry it.
func (l *lane) numbered(n uint64) uint64 { return uint64(l.index)<<laneShift | n }

// unacked reports whether packet n was sent and is not acknowledged.
func (l *lane) unacked(n uint64) bool {
	return n >= l.base && n-l.base < uint64(len(l.sent)) && !l.sent[n-l.base].done
}

// windowSize is the congestion window, 0 where a rate is reserved.
func (l *lane) windowSize() int {
	if l.rate > 0 {
		return 0
	}
	return l.cong.window
}

// lane is that of a class.
func (c *Conn) lane(k Class) *lane { return &c.lanes[c.ways[k]] }

// chooseLanes finds the lane of each class.
func (c *Conn) chooseLanes() {
	for k := range classes {
		c.ways[k] = 0
		if _, own := c.cfg.Lanes[k]; own && c.capabilities&CapLanes != 0 {
			c.ways[k] = 1 + int(k)
		}
	}
}

// laneOfAck is ours for what acknowledges a lane of the peer's: the one that
// carries the same class, and control's for the one that carries several.
func (c *Conn) laneOfAck(peers int) *lane {
	if peers == 0 {
		return c.lane(Control)
	}
	return c.lane(Class(peers - 1))
}

// carries reports whether a class goes by the lane.
func (c *Conn) carries(l *lane, k Class) bool { return c.ways[k] == l.index }

// startLanes begins with each lane that is used, on a path not yet known.
func (c *Conn) startLanes(now tsn.Instant) {
	c.chooseLanes()
	for i := range c.lanes {
		l := &c.lanes[i]
		l.index, l.rate, l.wire, l.tokens, l.tokensAt = i, c.cfg.Rate, c.cfg.overhead(), 0, now
		if i > 0 {
			l.rate = c.cfg.Lanes[Class(i-1)]
		}
		peerDelay := l.rtt.peerAckDelay
		l.rtt = rttEstimate{peerAckDelay: peerDelay, lastSent: l.rtt.lastSent, lossAt: l.rtt.lossAt}
		l.mtu.start(now, c.most)
		l.cong.reset(l.mtu.size)
		if !slices.Contains(c.ways[:], i) {
			l.mtu.at = tsn.Never
		}
	}
}

// change gives classes other lanes. What is on its way by the old ones is
// sent again, as nobody waits for it there any more.
func (c *Conn) change(now tsn.Instant, rate tsn.Rate, own map[Class]tsn.Rate) {
	same := len(own) == len(c.cfg.Lanes)
	for k := range own {
		_, was := c.cfg.Lanes[k]
		same = same && was
	}
	c.cfg.Rate, c.cfg.Lanes = rate, own
	if same || c.state != open {
		return
	}
	for i := range c.lanes {
		l := &c.lanes[i]
		for j := range l.sent {
			c.giveUp(l, l.base+uint64(j), &l.sent[j])
		}
		l.rtt.lossAt, l.ping = 0, false
		l.trim()
	}
}
