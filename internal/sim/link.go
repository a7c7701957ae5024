package sim

import (
	"encoding/binary"
	"fmt"
	"slices"

	"tsnswitch"
	"tsnswitch/spb/ctlframe"
)

// LinkConfig joins two ports. Delay is one way in ns, the same in both
// directions; Jitter is added to it, uniformly from 0; Loss is per frame, 0..1.
// Frames of one direction never overtake each other.
type LinkConfig struct {
	A, B         string
	APort, BPort tsn.Port
	Rate         tsn.Rate // 0: frames take no time
	Delay        int64
	Jitter       int64
	Loss         float64
}

// frameOverhead is preamble, FCS and gap, in octets.
const frameOverhead = 24

// maxBacklog is for how long, ns, a link may be busy before its sender drops.
const maxBacklog = 50_000_000

// cable is what both directions of a link share.
type cable struct {
	cfg LinkConfig
	up  bool
	cut uint64 // counts the times it went down
}

// wire is one direction of a cable: from a port of the node that holds it to
// a port of the peer.
type wire struct {
	*cable
	peer     *Node
	peerPort tsn.Port
	free     tsn.Instant // when the last octet sent so far has left
	arrived  tsn.Instant // when the last octet sent so far arrives
}

// Connect lays a cable and brings it up.
func (n *Network) Connect(c LinkConfig) error {
	a, b := n.names[c.A], n.names[c.B]
	if a == nil || b == nil || a == b {
		return fmt.Errorf("sim: link %s-%s: want two nodes that exist", c.A, c.B)
	}
	if a.ports[c.APort] != nil || b.ports[c.BPort] != nil {
		return fmt.Errorf("sim: link %s:%d-%s:%d: port in use", c.A, c.APort, c.B, c.BPort)
	}
	shared := &cable{cfg: c}
	a.ports[c.APort] = &wire{cable: shared, peer: b, peerPort: c.BPort}
	b.ports[c.BPort] = &wire{cable: shared, peer: a, peerPort: c.APort}
	n.setLink(a, c.APort, true)
	return nil
}

// SetLink cuts or mends the cable at a port; both ends notice at once, and
// what was on its way is gone.
func (n *Network) SetLink(name string, port tsn.Port, up bool) error {
	d := n.names[name]
	if d == nil || d.ports[port] == nil {
		return fmt.Errorf("sim: no cable at %s:%d", name, port)
	}
	n.setLink(d, port, up)
	return nil
}

func (n *Network) setLink(d *Node, port tsn.Port, up bool) {
	w := d.ports[port]
	if w.up == up {
		return
	}
	w.up = up
	if !up {
		w.cut++
	}
	n.q.at(n.now, func() { n.carrier(d, port) })
	n.q.at(n.now, func() { n.carrier(w.peer, w.peerPort) })
}

// carrier tells a node's machines the state of a port, and lets its applier
// look: a schedule may have to be sent again.
func (n *Network) carrier(d *Node, port tsn.Port) {
	w := d.ports[port]
	ev := tsn.LinkChanged{Port: port, Up: w.up, Rate: w.cfg.Rate}
	n.step(d, Timing, ev)
	n.step(d, Control, ev)
	n.poke(d)
}

// send puts a frame on the cable, and answers its tag when the frame has left.
// Stamps are of the frame's start (802.1AS-2020 11.3.9).
func (n *Network) send(d *Node, which Machine, s tsn.Send) {
	w := d.ports[s.Port]
	if w == nil || !w.up {
		n.sent(d, which, s, n.now, n.now, false)
		return
	}
	start := max(n.now, w.free)
	if start.Sub(n.now) > maxBacklog {
		n.Counters.Full++
		n.sent(d, which, s, n.now, n.now, false)
		return
	}
	took := w.cfg.Rate.TransmitTime(len(s.Frame) + frameOverhead)
	w.free = start.Add(took)
	n.sent(d, which, s, start, w.free, true)
	if w.cfg.Loss > 0 && n.rng.Float64() < w.cfg.Loss {
		n.Counters.Lost++
		return
	}
	delay := w.cfg.Delay
	if w.cfg.Jitter > 0 {
		delay += n.rng.Int64N(w.cfg.Jitter)
	}
	in, cut := max(start.Add(delay), w.arrived), w.cut
	w.arrived = in.Add(took)
	frame := append([]byte(nil), s.Frame...)
	n.q.at(w.arrived, func() {
		if w.cut != cut || w.peer.stopped {
			n.Counters.Cut++
			return
		}
		n.receive(w.peer, w.peerPort, frame, in)
	})
}

// sent answers a tag at time done.
func (n *Network) sent(d *Node, which Machine, s tsn.Send, start, done tsn.Instant, stamped bool) {
	if s.Tag == 0 {
		return
	}
	life := d.life
	n.q.at(done, func() {
		if d.life == life {
			n.step(d, which, tsn.Sent{Port: s.Port, Tag: s.Tag, Egress: d.Clock.At(start), Stamped: stamped})
		}
	})
}

// Inject delivers a frame to a port as if it had come from the cable, now.
func (n *Network) Inject(name string, port tsn.Port, frame []byte) {
	d, in := n.names[name], n.now
	n.q.at(n.now, func() { n.receive(d, port, frame, in) })
}

const etherTypePTP = 0x88f7

// etherTypesMRP are those of MSRP, MVRP and MMRP.
var etherTypesMRP = []uint16{0x22ea, 0x88f5, 0x88f6}

// receive gives a frame to the machine it is for, as the sockets of a real
// switch do: gPTP by its EtherType, IS-IS because it is LLC, the control frames
// beside it by theirs, tagged or not, and those of MRP without a tag.
func (n *Network) receive(d *Node, port tsn.Port, frame []byte, in tsn.Instant) {
	n.Counters.Frames++
	if len(frame) < 14 {
		return
	}
	ev := tsn.Received{Port: port, Frame: frame, Ingress: d.Clock.At(in), Stamped: true}
	switch typ := binary.BigEndian.Uint16(frame[12:]); {
	case typ == etherTypePTP:
		n.step(d, Timing, ev)
	case typ <= 1500:
		n.step(d, Control, ev)
	default:
		_, inner, _, err := ctlframe.ParseEther(frame)
		if err == nil && (inner == ctlframe.EtherType || inner == ctlframe.EtherTypeCFM) || slices.Contains(etherTypesMRP, typ) {
			n.step(d, Control, ev)
		}
	}
}
