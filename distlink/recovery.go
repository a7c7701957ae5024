package distlink

import (
	"fmt"

	tsn "tsnswitch"
)

const (
	packetThreshold = 3         // RFC 9002 6.1.1
	timeGranularity = 1_000_000 // ns, RFC 9002 6.1.2
	initialRTT      = 20_000_000
)

// rttEstimate is RFC 9002 section 5, plus the timers that hang on it.
type rttEstimate struct {
	smoothed, variance, latest, least int64
	peerAckDelay                      int64
	lossAt                            tsn.Instant // when the time threshold passes; 0 is not armed
	lastSent                          tsn.Instant // last packet that asks for an ACK
	probes                            int         // in a row without an answer
}

func (r *rttEstimate) sample(rtt, delay int64) {
	rtt = max(rtt, 1)
	r.latest = rtt
	if r.smoothed == 0 {
		r.smoothed, r.variance, r.least = rtt, rtt/2, rtt
		return
	}
	r.least = min(r.least, rtt)
	if delay = min(delay, r.peerAckDelay); rtt-delay >= r.least {
		rtt -= delay
	}
	r.variance = (3*r.variance + abs(r.smoothed-rtt)) / 4
	r.smoothed = (7*r.smoothed + rtt) / 8
}

func abs(x int64) int64 { return max(x, -x) }

// probeTimeout is srtt + max(4 rttvar, floor) + the peer's delay, doubled for
// each probe without answer up to a quarter of the keep-alive.
func (c *Conn) probeTimeout() int64 {
	srtt, rttvar := c.rtt.smoothed, c.rtt.variance
	if srtt == 0 {
		srtt, rttvar = initialRTT, initialRTT/2
	}
	t := srtt + max(4*rttvar, c.cfg.ProbeFloor) + c.rtt.peerAckDelay
	return min(t<<min(c.rtt.probes, 16), max(c.cfg.KeepAlive/4, c.cfg.ProbeFloor))
}

// ack applies an ACK frame.
func (c *Conn) ack(now tsn.Instant, a *Ack) {
	s := &c.send
	if a.Ranges[0].High >= s.next() {
		c.close(now, CodeProtocol, fmt.Sprintf("ACK of packet %d, never sent", a.Ranges[0].High))
		return
	}
	newest, newly := tsn.Instant(-1), false
	for _, r := range a.Ranges {
		if r.High < s.base {
			break
		}
		for n := max(r.Low, s.base); n <= r.High; n++ {
			p := &s.sent[n-s.base]
			if p.eliciting && !p.done && n == a.Ranges[0].High {
				newest = p.at
			}
			newly = c.acked(now, p) || newly
		}
	}
	if newest >= 0 {
		c.rtt.sample(now.Sub(newest), int64(a.Delay)*1000)
	}
	if newly {
		c.rtt.probes = 0
	}
	if a.Limit > s.limit {
		s.limit = a.Limit
		c.live.progress = now
	}
	c.detectLoss(now, a.Ranges[0].High)
	s.trim()
}

// acked marks one packet and reports whether that was news.
func (c *Conn) acked(now tsn.Instant, p *sentPacket) bool {
	if p.done {
		return false
	}
	p.done = true
	for _, seg := range p.segments {
		if !seg.acked {
			seg.acked = true
			c.send.inFlight -= int(seg.span())
			c.live.progress = now
		}
	}
	p.segments = nil
	return true
}

// detectLoss declares lost what RFC 9002 6.1 says, given the largest number
// acknowledged, and arms the timer for what is nearly so.
func (c *Conn) detectLoss(now tsn.Instant, largest uint64) {
	s := &c.send
	s.largestAcked = max(s.largestAcked, largest)
	wait := max(max(c.rtt.smoothed, c.rtt.latest)*9/8, timeGranularity)
	c.rtt.lossAt = 0
	for i := range s.sent {
		n, p := s.base+uint64(i), &s.sent[i]
		if n >= s.largestAcked {
			break
		}
		if p.done {
			continue
		}
		if n+packetThreshold <= s.largestAcked || now >= p.at.Add(wait) {
			p.done = true
			c.sendAgain(n, p)
		} else if at := p.at.Add(wait); c.rtt.lossAt == 0 || at < c.rtt.lossAt {
			c.rtt.lossAt = at
		}
	}
}

// sendAgain queues the segments whose last packet was n.
func (c *Conn) sendAgain(n uint64, p *sentPacket) {
	for _, seg := range p.segments {
		if !seg.acked && seg.packet == n {
			c.send.resend = append(c.send.resend, seg)
		}
	}
}

// waiting reports that something must happen on the wire before more data can.
func (c *Conn) waiting() bool {
	s := &c.send
	return s.inFlight > 0 || len(s.turn) > 0 && s.used >= s.limit
}

func (c *Conn) probeAt() tsn.Instant {
	if !c.waiting() || len(c.send.resend) > 0 {
		return tsn.Never
	}
	return c.rtt.lastSent.Add(c.probeTimeout())
}

func (c *Conn) recoveryDeadline() tsn.Instant {
	if c.rtt.lossAt != 0 {
		return min(c.rtt.lossAt, c.probeAt())
	}
	return c.probeAt()
}

// timers does what is due before packets are built.
func (c *Conn) timers(now tsn.Instant) {
	if c.rtt.lossAt != 0 && now >= c.rtt.lossAt {
		c.detectLoss(now, c.send.largestAcked)
	}
	if now >= c.probeAt() {
		c.probe()
	}
	c.live.check(c, now)
	if c.state == open && now >= c.stallDeadline() {
		c.close(now, CodeStalled, fmt.Sprintf("%d octets queued, %d in flight", c.send.queued, c.send.inFlight))
	}
}

// probe queues the segments of the two oldest packets again, or a PING; the
// packets stay known, so that a late ACK still gives an RTT sample.
func (c *Conn) probe() {
	s := &c.send
	c.rtt.probes++
	c.stats.Probes++
	packets := 0
	for i := 0; i < len(s.sent) && packets < 2; i++ {
		if p := &s.sent[i]; !p.done && len(p.segments) > 0 {
			was := len(s.resend)
			c.sendAgain(s.base+uint64(i), p)
			if len(s.resend) > was {
				packets++
			}
		}
	}
	s.ping = len(s.resend) == 0
}

// stallDeadline is when lack of progress takes the link down.
func (c *Conn) stallDeadline() tsn.Instant {
	if c.send.idle() {
		return tsn.Never
	}
	return c.live.progress.Add(c.cfg.Stall)
}

// liveness knows when the peer was heard last. The peer is dead only when it
// did not answer three PINGs: time alone may be this side's own absence.
type liveness struct {
	heardAt, pingAt tsn.Instant
	pings           int
	progress        tsn.Instant // last time an octet was acknowledged or credit came
}

const deathPings = 3

func (l *liveness) heard(now tsn.Instant) {
	l.heardAt, l.pingAt, l.pings = now, now, 0
}

func (l *liveness) deadline(c *Conn) tsn.Instant { return l.pingAt.Add(c.cfg.KeepAlive / 4) }

func (l *liveness) check(c *Conn, now tsn.Instant) {
	if now < l.deadline(c) {
		return
	}
	if l.pings >= deathPings && now >= l.heardAt.Add(c.cfg.KeepAlive) {
		c.close(now, CodeKeepAlive, fmt.Sprintf("silent for %d ms", now.Sub(l.heardAt)/1_000_000))
		return
	}
	l.pings++
	l.pingAt = now
	c.send.ping = true
}
