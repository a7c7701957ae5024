package srpsim

import (
	"encoding/binary"

	"tsnswitch"
	"tsnswitch/srp"
	"tsnswitch/srp/mrp"
)

// Begin has every stream talked about and listened to within some time.
func (n *Network) Begin(within int64) {
	for _, s := range n.streams {
		n.after(n.rand.Int64N(within), func() { n.talk(s, true) })
		for _, l := range s.listeners {
			n.after(n.rand.Int64N(within), func() { n.listen(l, s.wish.StreamID, true) })
		}
	}
}

// Disturb has things go wrong for some time: so many events, and a share of
// frames, in a thousand, that are lost, and that come twice.
func (n *Network) Disturb(d int64, events, loss, dup int) {
	n.loss, n.dup = loss, dup
	for range events {
		n.after(n.rand.Int64N(d), n.mishap)
	}
	n.after(d, n.calm)
}

// calm ends what goes wrong by itself, and mends links that have been cut but for
// one.
func (n *Network) calm() {
	n.loss, n.dup = 0, 0
	spare := true
	for _, l := range n.links {
		if !l.up && l.inner && spare {
			spare = false
			continue
		}
		n.setLink(l, true)
	}
	for _, s := range n.stations() {
		s.station.babble = false
	}
}

// mishap is one thing that may happen.
func (n *Network) mishap() {
	s := n.streams[n.rand.IntN(len(n.streams))]
	x := n.stations()[n.rand.IntN(n.Stations)]
	switch n.rand.IntN(20) {
	case 0, 1, 2, 3:
		n.talk(s, !s.talks)
	case 4, 5, 6, 7:
		l := s.listeners[n.rand.IntN(len(s.listeners))]
		n.listen(l, s.wish.StreamID, !l.station.wants[s.wish.StreamID])
	case 8, 9:
		n.changeMind(s)
	case 10, 11:
		n.flap(n.links[n.rand.IntN(len(n.links))], n.rand.IntN(3) == 0)
	case 12:
		n.slow(n.links[n.rand.IntN(len(n.links))])
	case 13, 14:
		n.restart(n.nodes[n.rand.IntN(n.Bridges)])
	case 15:
		n.losesTime(x)
	case 16:
		n.storm(x, 50)
	case 17, 18:
		n.babble(x, 100)
	case 19:
		n.fall(x)
	}
}

// changeMind lets a talker ask for something else under the same StreamID, as
// one that withdraws first, or as one that does not care.
func (n *Network) changeMind(s *stream) {
	if !s.talks {
		return
	}
	old := s.wish
	s.wish.MaxFrameSize = uint16(46 + n.rand.IntN(300))
	st := s.talker.station
	if n.rand.IntN(2) == 0 {
		st.talks[s.wish.StreamID] = s.wish
		st.Join(n.Now, s.wish.Value(), 0, true)
		n.after(ms+n.rand.Int64N(second), func() {
			if st.talks[s.wish.StreamID] != old {
				st.Leave(n.Now, old.Value())
				n.arm(s.talker, st.Deadline())
			}
		})
		n.arm(s.talker, st.Deadline())
		return
	}
	n.talk(s, true)
}

// flap takes a link down and, if it is not cut for good, up again.
func (n *Network) flap(l *link, cut bool) {
	n.flapped = true
	n.setLink(l, false)
	if cut && l.inner {
		return
	}
	n.after(ms+n.rand.Int64N(3*second), func() { n.setLink(l, true) })
}

// setLink tells both ends, one after the other.
func (n *Network) setLink(l *link, up bool) {
	if l.up == up {
		return
	}
	l.up = up
	for _, e := range l.ends {
		if e.node.station != nil {
			n.stationLink(e.node, up)
			continue
		}
		n.linkChanged(e.node, e.port, l)
	}
	n.changed()
}

// slow changes the rate of a link that stays up.
func (n *Network) slow(l *link) {
	n.flapped = true
	l.rate = rates[n.rand.IntN(len(rates))]
	for _, e := range l.ends {
		if e.node.bridge != nil && l.up {
			n.linkChanged(e.node, e.port, l)
		}
	}
}

// losesTime makes a station's bridge think that it cannot keep time, or that it can again.
func (n *Network) losesTime(x *node) {
	n.flapped = true
	l := x.links[0]
	b := l.far(x)
	b.node.incapable[b.port] = !b.node.incapable[b.port]
	n.step(b.node, srp.SetASCapable{Port: b.port, Capable: l.up && !b.node.incapable[b.port], LinkDelay: 500})
}

// fall makes a station forget that it is up: it is silent, and starts again.
func (n *Network) fall(x *node) {
	l := x.links[0]
	if !l.up {
		return
	}
	n.stationLink(x, false)
	n.after(n.rand.Int64N(20*second), func() {
		if l.up {
			n.stationLink(x, true)
		}
	})
}

// storm sends LeaveAll after LeaveAll.
func (n *Network) storm(x *node, times int) {
	if times == 0 {
		return
	}
	pdu := []byte{0}
	for _, t := range application.Types {
		pdu = append(pdu, t.Type, byte(t.Length))
		pdu = binary.BigEndian.AppendUint16(pdu, uint16(2+t.Length+2))
		pdu = binary.BigEndian.AppendUint16(pdu, 1<<13)
		pdu = append(pdu, make([]byte, t.Length+2)...)
	}
	n.send(x, 1, application.Frame(x.mac, append(pdu, 0, 0)))
	n.after(10*ms, func() { n.storm(x, times-1) })
}

// babble declares talkers and listeners at random, and withdraws them all in the end.
func (n *Network) babble(x *node, times int) {
	x.station.babble = true
	var said []mrp.Talker
	var again func(left int)
	again = func(left int) {
		if left == 0 || !x.station.babble {
			for _, t := range said {
				n.declare(x, t, false)
			}
			return
		}
		t := n.nonsense(x)
		said = append(said, t)
		n.declare(x, t, n.rand.IntN(4) > 0)
		n.after(ms+n.rand.Int64N(50*ms), func() { again(left - 1) })
	}
	again(times)
}

// nonsense is a talker that nobody needs: often it is too large, sometimes it takes
// the destination of another.
func (n *Network) nonsense(x *node) mrp.Talker {
	t := mrp.Talker{
		StreamID: tsn.MakeStreamID(x.mac, uint16(0x8000+n.rand.IntN(32))), DestinationAddress: tsn.MAC{0x91, 0xe0, 0xf0, 1, x.mac[5], byte(n.rand.IntN(32))},
		VID: tsn.VID(2 + n.rand.IntN(2)), MaxFrameSize: uint16(n.rand.IntN(1600)), MaxIntervalFrames: uint16(n.rand.IntN(4)),
		DataFramePriority: tsn.PCP(n.rand.IntN(8)), Rank: uint8(n.rand.IntN(2)), AccumulatedLatency: n.rand.Uint32(),
	}
	if n.rand.IntN(4) == 0 {
		t.DestinationAddress = n.streams[n.rand.IntN(len(n.streams))].wish.DestinationAddress
	}
	return t
}
