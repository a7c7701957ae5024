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
func (c *Conn) probeTimeout() int64 { return c.probeTimeoutAfter(c.rtt.probes) }

func (c *Conn) probeTimeoutAfter(probes int) int64 {
	srtt, rttvar := c.rtt.smoothed, c.rtt.variance
	if srtt == 0 {
		srtt, rttvar = initialRTT, initialRTT/2
	}
	t := srtt + max(4*rttvar, c.cfg.ProbeFloor) + c.rtt.peerAckDelay
	return min(t<<min(probes, 16), max(c.cfg.KeepAlive/4, c.cfg.ProbeFloor))
}

// ack applies an ACK frame.
func (c *Conn) ack(now tsn.Instant, a *Ack) {
	s := &c.send
	largest := a.Ranges[0].High
	if largest >= s.next() {
		c.close(now, CodeProtocol, fmt.Sprintf("ACK of packet %d, never sent", largest))
		return
	}
	newest, newly := tsn.Instant(-1), false
	for _, r := range a.Ranges {
		if r.High < s.base {
			break
		}
		for n := max(r.Low, s.base); n <= r.High; n++ {
			p := &s.sent[n-s.base]
			if p.eliciting && !p.done && n == largest {
				newest = p.at
			}
			newly = c.acked(now, n, p) || newly
		}
	}
	if newest >= 0 {
		delay := int64(a.Delay) * 1000
		c.rtt.sample(now.Sub(newest), delay)
		c.cong.sample(now, max(1, now.Sub(newest)-min(delay, c.rtt.peerAckDelay)), largest, s.next())
	}
	if newly {
		c.rtt.probes, s.extra = 0, 0
	}
	if a.Limit > s.limit {
		s.limit = a.Limit
		c.live.progress = now
	}
	c.detectLoss(now, largest)
	s.trim()
}

// acked marks one packet and reports whether that was news.
func (c *Conn) acked(now tsn.Instant, n uint64, p *sentPacket) bool {
	if p.done {
		return false
	}
	p.done = true
	c.cong.acked(p.piped, p.at)
	c.mtu.acked(now, n, p.size)
	c.cong.packet = c.mtu.size
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
			c.cong.lost(now, p.at, p.piped)
			c.tooLong(now, n, p.size)
			c.sendAgain(n, p)
		} else if at := p.at.Add(wait); c.rtt.lossAt == 0 || at < c.rtt.lossAt {
			c.rtt.lossAt = at
		}
	}
}

// tooLong tells the path's MTU of a packet lost.
func (c *Conn) tooLong(now tsn.Instant, n uint64, size int) {
	if c.mtu.lost(now, n, size, c.probeTimeout()) {
		c.stats.BlackHoles++
		c.cong.packet = c.mtu.size
	}
}

// sendAgain queues the segments whose last packet was n.
func (c *Conn) sendAgain(n uint64, p *sentPacket) {
	for _, seg := range p.segments {
		if !seg.acked && !seg.queued && seg.packet == n {
			seg.queued = true
			k := &c.send.classes[seg.class]
			k.resend = append(k.resend, seg)
		}
	}
}

// probeAt is when silence is answered by a probe. Whenever something is
// queued or on its way, this or the rate's timer is armed.
func (c *Conn) probeAt() tsn.Instant {
	if c.send.idle() {
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
		c.probe(now)
	}
	if c.mtu.probe > 0 && now >= c.mtu.at {
		c.tooLong(now, c.mtu.number, 0)
	}
	c.live.check(c, now)
	if c.state == open && now >= c.stallDeadline() {
		c.close(now, CodeStalled, fmt.Sprintf("%d octets queued, %d in flight", c.send.queued, c.send.inFlight))
	}
}

// probe queues the segments of the two oldest packets again, or a PING; the
// packets stay known, so that a late ACK still gives an RTT sample.
func (c *Conn) probe(now tsn.Instant) {
	s := &c.send
	c.rtt.lastSent = now
	if s.inFlight == 0 && c.pick() != nil {
		return // only the rate holds it back
	}
	c.rtt.probes++
	c.stats.Probes++
	// The newest tells whether long ones get through now.
	for i := len(s.sent) - 1; i >= 0; i-- {
		if p := &s.sent[i]; !p.done && len(p.segments) > 0 {
			c.tooLong(now, s.base+uint64(i), p.size)
			break
		}
	}
	packets := 0
	for i := 0; i < len(s.sent) && packets < 2; i++ {
		if p := &s.sent[i]; !p.done && len(p.segments) > 0 {
			c.sendAgain(s.base+uint64(i), p)
			packets++
		}
	}
	s.extra, s.ping = 2, c.pick() == nil
	if c.rtt.probes == 3 {
		c.cong.silence()
	}
}

// stallDeadline is when lack of progress takes the link down.
func (c *Conn) stallDeadline() tsn.Instant {
	if c.send.idle() {
		return tsn.Never
	}
	return c.live.progress.Add(c.cfg.Stall)
}

// liveness knows when the peer was heard last. The peer is dead only when it
// did not answer several PINGs: time alone may be this side's own absence, and
// some get lost.
type liveness struct {
	heardAt, pingAt tsn.Instant
	pings           int
	suspected       bool        // somebody says that the peer does not know us
	progress        tsn.Instant // last time an octet was acknowledged or credit came
	starvedAt       tsn.Instant // since when something was queued and nothing sent; 0: no
	starvedSteps    int
}

const (
	deathPings = 8
	// Something queued, nothing sent for this many round trips and at least this
	// long, and looked at this often: a fault that is not to be waited out.
	starvedRounds = 64
	starvedLeast  = 500_000_000
	starvedSteps  = 4
)

func (l *liveness) heard(now tsn.Instant) {
	l.heardAt, l.pingAt, l.pings, l.suspected = now, now, 0, false
}

// suspect has the peer asked at once, and often.
func (l *liveness) suspect(now tsn.Instant) {
	if !l.suspected {
		l.suspected, l.pings, l.pingAt = true, 0, now
	}
}

func (l *liveness) deadline(c *Conn) tsn.Instant {
	if l.suspected {
		return l.pingAt.Add(min(c.probeTimeoutAfter(0), c.cfg.KeepAlive/16))
	}
	if l.pings > 0 { // the first was not answered
		return l.pingAt.Add(c.cfg.KeepAlive / 16)
	}
	return l.pingAt.Add(c.cfg.KeepAlive / 4)
}

func (l *liveness) check(c *Conn, now tsn.Instant) {
	if now < l.deadline(c) {
		return
	}
	switch {
	case l.pings >= deathPings && l.suspected:
		c.close(now, CodeReset, "peer does not know this connection")
		return
	case l.pings >= deathPings && now >= l.heardAt.Add(c.cfg.KeepAlive):
		c.close(now, CodeKeepAlive, fmt.Sprintf("silent for %d ms", now.Sub(l.heardAt)/1_000_000))
		return
	}
	l.pings++
	l.pingAt = now
	c.send.ping = true
}

// watch takes the link down when something is queued and nothing is sent: that
// cannot be, and must not look like a living connection if it is.
func (l *liveness) watch(c *Conn, now tsn.Instant, sent bool) {
	if sent || c.send.queued == 0 {
		l.starvedAt, l.starvedSteps = 0, 0
		return
	}
	limit := max(starvedRounds*c.rtt.smoothed, starvedLeast, c.cfg.KeepAlive)
	if c.cfg.Rate > 0 {
		limit += 4 * c.cfg.Rate.TransmitTime(c.mtu.size+wireOverhead)
	}
	if l.starvedAt == 0 {
		l.starvedAt = now
	}
	l.starvedSteps++
	if l.starvedSteps >= starvedSteps && now.Sub(l.starvedAt) > limit && now.Sub(c.send.sentAt) > limit {
		c.stats.Starved++
		c.close(now, CodeStalled, fmt.Sprintf("%d octets queued and nothing sent for %d ms", c.send.queued, now.Sub(c.send.sentAt)/1_000_000))
	}
}
