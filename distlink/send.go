package distlink

import (
	"slices"

	tsn "tsnswitch"
)

const (
	wireOverhead = 28 + tsn.FrameOverhead // UDP and IPv4 headers, then the frame's
	minPiece     = 64                     // a message is not cut into less than this to fill a packet
)

// sender turns messages into packets.
type sender struct {
	streams map[uint32]*outStream
	classes [classes]outClass

	used, limit  uint64 // offsets used of the credit
	window       uint64 // the peer's first credit
	order, fence uint64 // of the next message
	queued       int
	inFlight     int
	blocked      bool

	sent         []sentPacket // sent[i] has packet number base+i
	base         uint64
	largestAcked uint64
	ping         bool        // a PING is due
	extra        int         // packets that probes may send beyond the window
	sentAt       tsn.Instant // last packet of any kind
	tokens       int64
	// tokensAt is when tokens was right; tokens are octets times 8e6 (bits at
	// kbit/s and ns), so that no rounding is lost.
	tokensAt tsn.Instant
}

// outClass is what waits in a class: what was lost goes first.
type outClass struct {
	resend []*outSegment // oldest first
	turn   []uint32      // streams with something to send, next first
}

type outStream struct {
	messages []outMessage
	pos      int    // octets of messages[0] already cut
	offset   uint64 // of the next octet
}

type outMessage struct {
	data         []byte
	class        Class
	order, fence uint64
}

// outSegment is a segment on its way; packet is the last number it went by.
type outSegment struct {
	Segment
	class  Class
	packet uint64
	acked  bool
	queued bool // to be sent again
}

type sentPacket struct {
	at        tsn.Instant
	segments  []*outSegment
	size      int // octets
	piped     int // octets that count for the congestion window
	eliciting bool
	done      bool // acknowledged, lost or asks for nothing
}

func (s *sender) init() { s.streams = map[uint32]*outStream{} }

// unacked reports whether packet n was sent and is not acknowledged.
func (s *sender) unacked(n uint64) bool {
	return n >= s.base && n-s.base < uint64(len(s.sent)) && !s.sent[n-s.base].done
}

// next is the number of the next packet.
func (s *sender) next() uint64 { return s.base + uint64(len(s.sent)) }

// idle reports that nothing is queued or unacknowledged.
func (s *sender) idle() bool { return s.queued == 0 && s.inFlight == 0 }

func (c *Conn) write(now tsn.Instant, m Message) {
	s := &c.send
	st := s.streams[m.Stream]
	if st == nil {
		st = &outStream{}
		s.streams[m.Stream] = st
	}
	if s.idle() {
		c.live.progress, c.rtt.lastSent = now, now
	}
	m.Class = min(m.Class, classes-1)
	fence := s.fence
	if m.Fence != NoFence {
		fence = s.order
	}
	if len(st.messages) == 0 {
		turn := &s.classes[m.Class].turn
		*turn = append(*turn, m.Stream)
	}
	st.messages = append(st.messages, outMessage{data: m.Data, class: m.Class, order: s.order, fence: fence})
	s.order++
	if m.Fence == Barrier {
		s.fence = s.order
	}
	s.queued += len(m.Data) + 1
	c.stats.MessagesSent++
}

// flush sends all that credit, rate and congestion allow, then an ACK if one is due.
func (c *Conn) flush(now tsn.Instant) {
	s := &c.send
	was := s.next()
	if c.mtu.due(now) && c.tokensReady(now) {
		c.probePath(now)
	}
	for (s.ping || c.pick() != nil && c.windowOpen()) && c.tokensReady(now) {
		c.sendPacket(now)
	}
	if c.recv.ackNow || now >= c.recv.ackAt {
		c.transmitData(now, c.recv.makeAck(now).append(nil), nil, false)
	}
	c.live.watch(c, now, s.next() != was)
}

// windowOpen says whether congestion control lets a packet go.
func (c *Conn) windowOpen() bool {
	return c.cfg.Rate > 0 || c.send.extra > 0 || c.cong.room()
}

// pick returns the first class that could send a segment now, or nil. It drops
// what was acknowledged while it waited to be sent again.
func (c *Conn) pick() *outClass {
	s := &c.send
	for i := classes; i > 0; i-- {
		k := &s.classes[i-1]
		for len(k.resend) > 0 && k.resend[0].acked {
			k.resend = k.resend[1:]
		}
		if len(k.resend) > 0 {
			return k
		}
		if len(k.turn) == 0 {
			continue
		}
		if c.credit(i-1) > 0 {
			s.blocked = false
			return k
		}
		if !s.blocked {
			s.blocked = true
			c.stats.Blocked++
		}
	}
	return nil
}

// credit is how many offsets a class may use: the last eighth is not for bulk.
func (c *Conn) credit(k Class) uint64 {
	s := &c.send
	limit := s.limit
	if k == Bulk {
		limit -= s.window / 8
	}
	return limit - min(s.used, limit)
}

// sendPacket fills one packet: ACK, then class by class what was lost and a
// piece of each stream in turn until it is full.
func (c *Conn) sendPacket(now tsn.Instant) {
	s := &c.send
	room := c.room()
	frames := make([]byte, 0, room)
	if c.recv.ackAt != tsn.Never || c.recv.ackNow {
		frames = c.recv.makeAck(now).append(frames)
	}
	alone := s.ping && c.live.pings > 1 // where long packets do not get through, this one shall
	if s.ping {
		s.ping = false
		frames = (&Ping{}).append(frames)
	}
	var segments []*outSegment
	for k := c.pick(); k != nil && !alone; k = c.pick() {
		seg := c.segmentOf(k, room-len(frames))
		if seg == nil {
			break
		}
		seg.packet = s.next()
		segments = append(segments, seg)
		frames = seg.append(frames)
	}
	if len(segments) == 0 { // as long as a CHALLENGE, which may answer it
		frames = append(frames, make([]byte, 16)...)
	}
	s.extra = max(0, s.extra-1)
	c.transmitData(now, frames, segments, true)
}

// room is the length of the frames in a full packet.
func (c *Conn) room() int {
	room := c.mtu.size - dataHeaderLen
	if c.seal != nil {
		room -= tagLen
	}
	return room
}

// segmentOf takes a segment of at most room octets, header included, from a
// class that has one. It returns nil if none worthwhile fits.
func (c *Conn) segmentOf(k *outClass, room int) *outSegment {
	if len(k.resend) == 0 {
		return c.cut(k, room)
	}
	seg := k.resend[0]
	room -= seg.headerLen()
	if len(seg.Data) > room {
		if room < minPiece {
			return nil
		}
		seg = c.split(k, seg, room)
	} else {
		k.resend = k.resend[1:]
		seg.queued = false
	}
	c.stats.Retransmitted++
	return seg
}

// split cuts the first n octets off the first segment to be sent again.
func (c *Conn) split(k *outClass, seg *outSegment, n int) *outSegment {
	head := &outSegment{Segment: seg.Segment, class: seg.class}
	tail := &outSegment{Segment: seg.Segment, class: seg.class, packet: seg.packet, queued: true}
	head.Data, head.Last = seg.Data[:n], false
	tail.Data, tail.Offset, tail.First, tail.Fenced = seg.Data[n:], seg.Offset+uint64(n), false, false
	c.send.inFlight += int(head.span()+tail.span()) - int(seg.span())
	seg.acked = true
	k.resend[0] = tail
	return head
}

// cut takes up to room octets from the stream whose turn it is.
func (c *Conn) cut(k *outClass, room int) *outSegment {
	s := &c.send
	id := k.turn[0]
	st := s.streams[id]
	m := &st.messages[0]
	seg := &outSegment{class: m.class, Segment: Segment{
		Stream: id, Offset: st.offset, First: st.pos == 0,
		Order: m.order, Fenced: st.pos == 0 && m.fence > 0, Fence: m.fence,
	}}
	rest, credit := len(m.data)-st.pos, int(min(c.credit(m.class), 1<<20))
	n := min(rest, room-seg.headerLen(), credit)
	seg.Last = n == rest && n < credit // the end of the message needs one more
	if n < 0 || !seg.Last && (n == 0 || n < min(rest, minPiece) && n < credit) {
		return nil
	}
	seg.Data = m.data[st.pos : st.pos+n]
	span := int(seg.span())
	st.offset += uint64(span)
	s.used += uint64(span)
	s.queued -= span
	s.inFlight += span
	st.pos += n
	if seg.Last {
		st.pos = 0
		st.messages[0] = outMessage{}
		st.messages = st.messages[1:]
	}
	k.turn = k.turn[1:]
	if len(st.messages) > 0 {
		turn := &s.classes[st.messages[0].class].turn
		*turn = append(*turn, id)
	}
	return seg
}

// probePath sends a packet of the size that is to be tried.
func (c *Conn) probePath(now tsn.Instant) {
	frames := (&Ping{}).append(make([]byte, 0, c.mtu.next()))
	frames = append(frames, make([]byte, c.room()-c.mtu.size+c.mtu.next()-len(frames))...)
	c.mtu.sent(now, c.send.next(), 4*c.probeTimeout())
	c.transmitData(now, frames, nil, true)
}

func (c *Conn) transmitData(now tsn.Instant, frames []byte, segments []*outSegment, eliciting bool) {
	c.transmit(c.sealData(now, frames, segments, eliciting))
}

// sealData makes a packet, which counts as sent.
func (c *Conn) sealData(now tsn.Instant, frames []byte, segments []*outSegment, eliciting bool) []byte {
	s := &c.send
	var b []byte
	if n := s.next(); c.seal != nil {
		b = c.seal.seal(c.remoteID, n, frames)
	} else {
		b = append(appendDataHeader(make([]byte, 0, dataHeaderLen+len(frames)), c.remoteID, n, len(frames)), frames...)
	}
	p := sentPacket{at: now, segments: segments, size: len(b), eliciting: eliciting, done: !eliciting}
	s.sentAt = now
	if eliciting {
		c.rtt.lastSent = now
		if len(segments) > 0 { // a probe of the path that is lost is no congestion
			p.piped = len(b)
			c.cong.pipe += len(b)
		}
	}
	s.sent = append(s.sent, p)
	if c.cfg.Rate > 0 {
		s.tokens -= int64(len(b)+wireOverhead) * 8_000_000
	}
	s.trim()
	return b
}

// trim forgets finished packets below the oldest that is waited for.
func (s *sender) trim() {
	n := 0
	for n < len(s.sent) && s.sent[n].done {
		n++
	}
	s.base += uint64(n)
	s.sent = slices.Delete(s.sent, 0, n)
}

// tokensReady refills the bucket (two datagrams or 1 ms of the rate deep) and
// reports whether a packet may go; it may then run into debt.
func (c *Conn) tokensReady(now tsn.Instant) bool {
	s := &c.send
	if c.cfg.Rate == 0 {
		return true
	}
	rate := int64(c.cfg.Rate)
	depth := max(2*int64(c.mtu.size+wireOverhead)*8_000_000, rate*1_000_000)
	passed := min(now.Sub(s.tokensAt), 10_000_000_000)
	s.tokens = min(s.tokens+passed*rate, depth)
	s.tokensAt = now
	return s.tokens > 0
}

func (c *Conn) paceDeadline() tsn.Instant {
	s := &c.send
	if c.cfg.Rate == 0 || s.tokens > 0 || !(s.ping || c.pick() != nil || c.mtu.due(s.tokensAt)) {
		return tsn.Never
	}
	return s.tokensAt.Add(-s.tokens/int64(c.cfg.Rate) + 1)
}

// mtuDeadline leaves a probe that waits for the rate to paceDeadline.
func (c *Conn) mtuDeadline() tsn.Instant {
	if c.cfg.Rate > 0 && c.send.tokens <= 0 && c.mtu.due(c.send.tokensAt) {
		return tsn.Never
	}
	return c.mtu.at
}
