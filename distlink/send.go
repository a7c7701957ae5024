package distlink

import (
	"slices"

	tsn "tsnswitch"
)

const (
	wireOverhead = 28 + tsn.FrameOverhead // UDP and IPv4 headers, then the frame's
	moreOfIPv6   = 20
	minPiece     = 64 // a message is not cut into less than this to fill a packet
	// After so many packets that are remembered, an ACK alone asks for an ACK; not
	// more often, or two ends would ask each other for ever.
	rememberedAlone = 256
)

// sender turns messages into packets.
type sender struct {
	streams map[uint32]*outStream
	classes [classes]outClass

	used, limit  uint64 // offsets used of the credit
	window       uint64 // the peer's first credit
	order, fence uint64 // of the next message
}

// outClass is what waits in a class: what was lost goes first.
type outClass struct {
	resend   []*outSegment // oldest first
	turn     []uint32      // streams with something to send, next first
	queued   int           // offsets not yet sent once
	inFlight int           // offsets sent and not acknowledged
	blocked  bool          // by the credit
}

func (k *outClass) idle() bool { return k.queued == 0 && k.inFlight == 0 }

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

func (s *sender) queued() (n int) {
	for i := range s.classes {
		n += s.classes[i].queued
	}
	return n
}

func (s *sender) inFlight() (n int) {
	for i := range s.classes {
		n += s.classes[i].inFlight
	}
	return n
}

// idle reports that nothing is queued or unacknowledged.
func (s *sender) idle() bool { return s.queued() == 0 && s.inFlight() == 0 }

// idle reports the same of the classes that go by a lane.
func (c *Conn) idle(l *lane) bool {
	for k := range classes {
		if c.carries(l, k) && !c.send.classes[k].idle() {
			return false
		}
	}
	return true
}

func (c *Conn) write(now tsn.Instant, m Message) {
	s := &c.send
	st := s.streams[m.Stream]
	if st == nil {
		st = &outStream{}
		s.streams[m.Stream] = st
	}
	if s.idle() {
		c.live.progress = now
	}
	m.Class = min(m.Class, classes-1)
	if l := c.lane(m.Class); c.idle(l) {
		l.rtt.lastSent = now
	}
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
	s.classes[m.Class].queued += len(m.Data) + 1
	c.stats.MessagesSent++
}

// flush sends all that credit, rates and congestion allow, the higher classes
// first, then ACKs that are due.
func (c *Conn) flush(now tsn.Instant) {
	was := c.stats.PacketsSent
	for i := range c.lanes {
		if l := &c.lanes[i]; l.mtu.due(now) && l.tokensReady(now) {
			c.probePath(now, l)
		}
	}
	for k := classes; k > 0; k-- {
		l := c.lane(k - 1)
		for (l.ping || c.pick(l) < classes && l.windowOpen()) && l.tokensReady(now) {
			c.sendPacket(now, l)
		}
	}
	for i := range c.recv.lanes {
		if c.recv.lanes[i].due(now) {
			c.sendAck(now, i)
		}
	}
	c.live.watch(c, now, c.stats.PacketsSent != was)
}

// sendAck sends an ACK of a lane of the peer's alone. Once in a while it asks for one: only that tells of
// packets that this side need not remember.
func (c *Conn) sendAck(now tsn.Instant, peers int) {
	l := c.laneOfAck(peers)
	frames := c.recv.makeAck(now, peers).append(nil)
	ask := l.next() >= max(l.asked, l.base)+rememberedAlone
	if ask {
		l.asked = l.next()
		frames = (&Ping{}).append(frames)
	}
	c.transmitData(now, l, Control, frames, nil, ask)
}

// windowOpen says whether congestion control lets a packet go.
func (l *lane) windowOpen() bool { return l.rate > 0 || l.extra > 0 || l.cong.room() }

// pick returns the first class of a lane that could send a segment now, or
// classes. It drops what was acknowledged while it waited to be sent again.
func (c *Conn) pick(l *lane) Class {
	for i := classes; i > 0; i-- {
		if !c.carries(l, i-1) {
			continue
		}
		k := &c.send.classes[i-1]
		for len(k.resend) > 0 && k.resend[0].acked {
			k.resend = k.resend[1:]
		}
		if len(k.resend) > 0 {
			return i - 1
		}
		if len(k.turn) == 0 {
			continue
		}
		if c.credit(i-1) > 0 {
			k.blocked = false
			return i - 1
		}
		if !k.blocked {
			k.blocked = true
			c.stats.Blocked++
		}
	}
	return classes
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

// sendPacket fills one packet: ACKs, then class by class what was lost and a
// piece of each stream in turn until it is full.
func (c *Conn) sendPacket(now tsn.Instant, l *lane) {
	room := c.room(l)
	frames := c.appendAcks(now, l, make([]byte, 0, room), room)
	alone := l.ping && c.live.pings > 1 // where long packets do not get through, this one shall
	if l.ping {
		l.ping = false
		frames = (&Ping{}).append(frames)
	}
	var segments []*outSegment
	highest := Bulk
	for k := c.pick(l); k < classes && !alone; k = c.pick(l) {
		seg := c.segmentOf(&c.send.classes[k], room-len(frames))
		if seg == nil {
			break
		}
		seg.packet = l.next()
		segments = append(segments, seg)
		frames = seg.append(frames)
		highest = max(highest, k)
	}
	if len(segments) == 0 { // as long as a CHALLENGE, which may answer it
		frames, highest = append(frames, make([]byte, 16)...), Control
	}
	l.extra = max(0, l.extra-1)
	c.transmitData(now, l, highest, frames, segments, true)
}

// appendAcks adds those that wait and go by the lane, as far as there is room.
func (c *Conn) appendAcks(now tsn.Instant, l *lane, frames []byte, room int) []byte {
	for i := range c.recv.lanes {
		if r := &c.recv.lanes[i]; r.wanted() && c.laneOfAck(i) == l && len(frames)+1+r.ackLen() <= room {
			frames = c.recv.makeAck(now, i).append(frames)
		}
	}
	return frames
}

// room is the length of the frames in a full packet.
func (c *Conn) room(l *lane) int {
	room := l.mtu.size - dataHeaderLen
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
	k.inFlight += int(head.span()+tail.span()) - int(seg.span())
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
	k.queued -= span
	k.inFlight += span
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
func (c *Conn) probePath(now tsn.Instant, l *lane) {
	frames := (&Ping{}).append(make([]byte, 0, l.mtu.next()))
	frames = append(frames, make([]byte, c.room(l)-l.mtu.size+l.mtu.next()-len(frames))...)
	l.mtu.sent(now, l.next(), 4*c.probeTimeout(l))
	c.transmitData(now, l, Control, frames, nil, true)
}

// transmitData sends a packet whose highest class is k.
func (c *Conn) transmitData(now tsn.Instant, l *lane, k Class, frames []byte, segments []*outSegment, eliciting bool) {
	c.transmitTo(c.remote, l.index, k, c.sealData(now, l, frames, segments, eliciting))
}

// sealData makes a packet, which counts as sent.
func (c *Conn) sealData(now tsn.Instant, l *lane, frames []byte, segments []*outSegment, eliciting bool) []byte {
	var b []byte
	if n := l.numbered(l.next()); c.seal != nil {
		b = c.seal[l.index].seal(c.remoteID, n, frames)
	} else {
		b = append(appendDataHeader(make([]byte, 0, dataHeaderLen+len(frames)), c.remoteID, n, len(frames)), frames...)
	}
	p := sentPacket{at: now, segments: segments, size: len(b), eliciting: eliciting, done: !eliciting}
	if eliciting {
		l.rtt.lastSent = now
		if len(segments) > 0 { // a probe of the path that is lost is no congestion
			p.piped = len(b)
			l.cong.pipe += len(b)
		}
	}
	l.sent = append(l.sent, p)
	if l.rate > 0 {
		l.tokens -= int64(len(b)+l.wire) * 8_000_000
	}
	l.trim()
	return b
}

// trim forgets finished packets below the oldest that is waited for.
func (l *lane) trim() {
	n := 0
	for n < len(l.sent) && l.sent[n].done {
		n++
	}
	l.base += uint64(n)
	l.sent = slices.Delete(l.sent, 0, n)
}

// tokensReady refills the bucket (two datagrams or 1 ms of the rate deep) and
// reports whether a packet may go; it may then run into debt.
func (l *lane) tokensReady(now tsn.Instant) bool {
	if l.rate == 0 {
		return true
	}
	rate := int64(l.rate)
	depth := max(2*int64(l.mtu.size+l.wire)*8_000_000, rate*1_000_000)
	passed := min(now.Sub(l.tokensAt), 10_000_000_000)
	l.tokens = min(l.tokens+passed*rate, depth)
	l.tokensAt = now
	return l.tokens > 0
}

// paceDeadline is when a packet that waits for the rate may go.
func (c *Conn) paceDeadline(l *lane) tsn.Instant {
	if l.rate == 0 || l.tokens > 0 || !(l.ping || c.pick(l) < classes || l.mtu.due(l.tokensAt)) {
		return tsn.Never
	}
	return l.tokensAt.Add(-l.tokens/int64(l.rate) + 1)
}

// mtuDeadline leaves a probe that waits for the rate to paceDeadline.
func (l *lane) mtuDeadline() tsn.Instant {
	if l.rate > 0 && l.tokens <= 0 && l.mtu.due(l.tokensAt) {
		return tsn.Never
	}
	return l.mtu.at
}

// deadline is when the lane has something to do.
func (c *Conn) deadline(l *lane) tsn.Instant {
	at := min(c.probeAt(l), c.paceDeadline(l), l.mtuDeadline())
	if l.rtt.lossAt != 0 {
		at = min(at, l.rtt.lossAt)
	}
	return at
}
