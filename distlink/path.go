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

	asked *Challenge // the peer's, in the packet at hand
}

// touch makes itself heard from a new address or socket, over paths not yet known.
func (c *Conn) touch(now tsn.Instant) {
	if c.state == open {
		c.startLanes(now)
		c.lane(Control).ping = true
	}
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
	l := c.lane(Control)
	b := c.sealData(now, l, (&Challenge{p.data}).append(nil), nil, false)
	if len(b) > size {
		return // the number is spent, which harms nobody
	}
	p.next = now.Add(min(c.probeTimeoutAfter(l, 0), c.cfg.KeepAlive/16)) // who moves is not heard meanwhile
	c.transmitTo(to, l.index, Control, b)
}

// response moves the connection if it answers the challenge.
func (c *Conn) response(now tsn.Instant, r *Response) {
	if !c.path.to.IsValid() || r.Data != c.path.data {
		return
	}
	c.remote = c.path.to
	c.path = pathCheck{asked: c.path.asked}
	c.stats.Moves++
	c.startLanes(now)
	c.out = append(c.out, Moved{To: c.remote})
}
