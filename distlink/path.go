package distlink

import (
	"net/netip"

	tsn "tsnswitch"
)

// pathCheck asks whether the peer is where its packets come from now
// (PROTOCOL.md, Moving).
type pathCheck struct {
	to   netip.AddrPort // zero: nothing asked
	data [8]byte
	next tsn.Instant
}

// touch makes itself heard from a new address, over a path not yet known.
func (c *Conn) touch(now tsn.Instant) {
	if c.state == open {
		c.newPath(now)
		c.send.ping = true
	}
}

// newPath forgets what was known of the old one.
func (c *Conn) newPath(now tsn.Instant) {
	c.rtt.smoothed, c.rtt.variance, c.rtt.least, c.rtt.probes = 0, 0, 0, 0
	c.mtu.start(now, c.mtu.most)
	c.cong.reset(c.mtu.size)
}

// challenge asks at an address from which a packet of size octets came.
func (c *Conn) challenge(now tsn.Instant, to netip.AddrPort, size int) {
	p := &c.path
	if now < p.next {
		return
	}
	if p.to != to {
		p.to = to
		c.random(p.data[:])
	}
	b := c.sealData(now, (&Challenge{p.data}).append(nil), nil, false)
	if len(b) > size {
		return // the number is spent, which harms nobody
	}
	p.next = now.Add(c.probeTimeoutAfter(0))
	c.transmitTo(to, b)
}

// response moves the connection if it answers the challenge.
func (c *Conn) response(now tsn.Instant, r *Response) {
	if !c.path.to.IsValid() || r.Data != c.path.data {
		return
	}
	c.remote = c.path.to
	c.path = pathCheck{}
	c.stats.Moves++
	c.newPath(now)
	c.out = append(c.out, Moved{To: c.remote})
}
