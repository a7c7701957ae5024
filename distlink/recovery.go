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
func (c *Conn) probeTimeout(l *lane) int64 { return c.probeTimeoutAfter(l, l.rtt.probes) }

func (c *Conn) probeTimeoutAfter(l *lane, probes int) int64 {
	srtt, rttvar := l.rtt.smoothed, l.rtt.variance
	if srtt == 0 {
		srtt, rttvar = initialRTT, initialRTT/2
	}
	t := srtt + max(4*rttvar, c.cfg.ProbeFloor) + l.rtt.peerAckDelay
	return min(t<<min(probes, 16), max(c.cfg.KeepAlive/4, c.cfg.ProbeFloor))
}

// ack applies an ACK frame, which is of one lane.
func (c *Conn) ack(now tsn.Instant, a *Ack) {
	l := &c.lanes[a.Ranges[0].High>>laneShift]
	largest := a.Ranges[0].High & laneMask
	if largest >= l.next() {
		c.close(now, CodeProtocol, fmt.Sprintf("ACK of packet %d, never sent", largest))
		return
	}
	newest, newly := tsn.Instant(-1), false
	for _, r := range a.Ranges {
		low, high := r.Low&laneMask, r.High&laneMask
		if high < l.base {
			break
		}
		for n := max(low, l.base); n <= high; n++ {
			p := &l.sent[n-l.base]
			if p.eliciting && !p.done && n == largest {
				newest = p.at
			}
			newly = c.acked(now, l, n, p) || newly
		}
	}
	if newest >= 0 {
		delay := int64(a.Delay) * 1000
		l.rtt.sample(now.Sub(newest), delay)
		l.cong.sample(now, max(1, now.Sub(newest)-min(delay, l.rtt.peerAckDelay)), largest, l.next())
	}
	if newly {
		l.rtt.probes, l.extra = 0, 0
	}
	if a.Limit > c.send.limit {
		c.send.limit = a.Limit
		c.live.progress = now
	}
	c.detectLoss(now, l, largest)
	l.trim()
}

// acked marks one packet and reports whether that was news.
func (c *Conn) acked(now tsn.Instant, l *lane, n uint64, p *sentPacket) bool {
	if p.done {
		return false
	}
	p.done = true
	l.cong.acked(p.piped, p.at)
	l.mtu.acked(now, n, p.size)
	l.cong.packet = l.mtu.size
	for _, seg := range p.segments {
		if !seg.acked {
			seg.acked = true
			c.send.classes[seg.class].inFlight -= int(seg.span())
			c.live.progress = now
		}
	}
	p.segments = nil
	return true
}

// detectLoss declares lost what RFC 9002 6.1 says, given the largest number
// acknowledged, and arms the timer for what is nearly so. Packets of other lanes
// say nothing: they go by another queue.
func (c *Conn) detectLoss(now tsn.Instant, l *lane, largest uint64) {
	l.largestAcked = max(l.largestAcked, largest)
	wait := max(max(l.rtt.smoothed, l.rtt.latest)*9/8, timeGranularity)
	l.rtt.lossAt = 0
	for i := range l.sent {
		n, p := l.base+uint64(i), &l.sent[i]
		if n >= l.largestAcked {
			break
		}
		if p.done {
			continue
		}
		if n+packetThreshold <= l.largestAcked || now >= p.at.Add(wait) {
			p.done = true
			l.cong.lost(now, p.at, p.piped)
			c.tooLong(now, l, n, p.size)
			c.sendAgain(n, p)
		} else if at := p.at.Add(wait); l.rtt.lossAt == 0 || at < l.rtt.lossAt {
			l.rtt.lossAt = at
		}
	}
}

// giveUp queues again what packet n carries, as its lane ends.
func (c *Conn) giveUp(l *lane, n uint64, p *sentPacket) {
	if !p.done {
		p.done = true
		l.cong.pipe -= p.piped
		c.sendAgain(n, p)
	}
}

// tooLong tells the path's MTU of a packet lost.
func (c *Conn) tooLong(now tsn.Instant, l *lane, n uint64, size int) {
	if l.mtu.lost(now, n, size, c.probeTimeout(l)) {
		c.stats.BlackHoles++
		l.cong.packet = l.mtu.size
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
func (c *Conn) probeAt(l *lane) tsn.Instant {
	if c.idle(l) {
		return tsn.Never
	}
	return l.rtt.lastSent.Add(c.probeTimeout(l))
}

// timers does what is due before packets are built.
func (c *Conn) timers(now tsn.Instant) {
	for i := range c.lanes {
		c.laneTimers(now, &c.lanes[i])
	}
	c.live.check(c, now)
	if c.state == open && now >= c.stallDeadline() {
		c.close(now, CodeStalled, fmt.Sprintf("%d octets queued, %d in flight", c.send.queued(), c.send.inFlight()))
	}
}

func (c *Conn) laneTimers(now tsn.Instant, l *lane) {
	if l.rtt.lossAt != 0 && now >= l.rtt.lossAt {
		c.detectLoss(now, l, l.largestAcked)
	}
	if now >= c.probeAt(l) {
		c.probe(now, l)
	}
	if l.mtu.probe > 0 && now >= l.mtu.at {
		c.tooLong(now, l, l.mtu.number, 0)
	}
}

// probe queues the segments of the two oldest packets again, or a PING; the
// packets stay known, so that a late ACK still gives an RTT sample.
func (c *Conn) probe(now tsn.Instant, l *lane) {
	l.rtt.lastSent = now
	if c.pick(l) < classes && !c.inFlight(l) && (l.rate > 0 || l.cong.room()) {
		return // only the rate holds it back
	}
	l.rtt.probes++
	c.stats.Probes++
	// The newest tells whether long ones get through now.
	for i := len(l.sent) - 1; i >= 0; i-- {
		if p := &l.sent[i]; !p.done && len(p.segments) > 0 {
			c.tooLong(now, l, l.base+uint64(i), p.size)
			break
		}
	}
	packets := 0
	for i := 0; i < len(l.sent) && packets < 2; i++ {
		if p := &l.sent[i]; !p.done && len(p.segments) > 0 {
			c.sendAgain(l.base+uint64(i), p)
			packets++
		}
	}
	l.extra, l.ping = 2, c.pick(l) == classes
	if l.rtt.probes == 3 {
		l.cong.silence()
	}
}

// inFlight reports whether anything of the lane's classes is.
func (c *Conn) inFlight(l *lane) bool {
	for k := range classes {
		if c.carries(l, k) && c.send.classes[k].inFlight > 0 {
			return true
		}
	}
	return false
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
	patience        int64       // ns; server: instead of the keep-alive until the client is there
	progress        tsn.Instant // last time an octet was acknowledged or credit came
	lookedAt        tsn.Instant // when watch looked last
	starved         int64       // ns that something has been queued and nothing sent
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
		return l.pingAt.Add(min(c.probeTimeoutAfter(c.lane(Control), 0), c.cfg.KeepAlive/16))
	}
	if l.pings > 0 { // the first was not answered
		return l.pingAt.Add(c.cfg.KeepAlive / 16)
	}
	return l.pingAt.Add(c.cfg.KeepAlive / 4)
}

func (l *liveness) check(c *Conn, now tsn.Instant) {
	late := now.Sub(l.deadline(c))
	if late < 0 {
		return
	}
	if late > c.cfg.KeepAlive/16 { // this side did not run: that is not the peer's silence
		l.heardAt = l.heardAt.Add(late)
	}
	switch {
	case l.pings >= deathPings && l.suspected:
		c.close(now, CodeReset, "peer does not know this connection")
		return
	case l.pings >= deathPings && now >= l.heardAt.Add(max(c.cfg.KeepAlive, l.patience)):
		c.close(now, CodeKeepAlive, fmt.Sprintf("silent for %d ms", now.Sub(l.heardAt)/1_000_000))
		return
	}
	l.pings++
	l.pingAt = now
	c.lane(Control).ping = true
}

// watch takes the link down when something is queued and nothing is sent: that
// cannot be, and must not look like a living connection if it is.
func (l *liveness) watch(c *Conn, now tsn.Instant, sent bool) {
	if sent || c.send.queued() == 0 {
		l.lookedAt, l.starved = now, 0
		return
	}
	limit := int64(starvedLeast)
	for i := range c.lanes {
		w := &c.lanes[i]
		pace := int64(0)
		if w.rate > 0 {
			pace = 4 * w.rate.TransmitTime(w.mtu.size+w.wire)
		}
		limit = max(limit, max(starvedRounds*w.rtt.smoothed, c.cfg.KeepAlive)+pace)
	}
	l.starved += min(now.Sub(l.lookedAt), limit/starvedSteps) // time in which this side did not run is no more than that
	l.lookedAt = now
	if l.starved > limit {
		c.stats.Starved++
		c.close(now, CodeStalled, fmt.Sprintf("%d octets queued and nothing sent for %d ms", c.send.queued(), l.starved/1_000_000))
	}
}
