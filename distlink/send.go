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
	turn    []uint32      // streams with something to send, next first
	resend  []*outSegment // lost, oldest first

	used, limit  uint64 // offsets used of the credit
	order, fence uint64 // of the next message
	queued       int
	inFlight     int
	blocked      bool

	sent         []sentPacket // sent[i] has packet number base+i
	base         uint64
	largestAcked uint64
	ping         bool // a PING is due
	tokens       int64
	// tokensAt is when tokens was right; tokens are octets times 8e6 (bits at
	// kbit/s and ns), so that no rounding is lost.
	tokensAt tsn.Instant
}

type outStream struct {
	messages []outMessage
	pos      int    // octets of messages[0] already cut
	offset   uint64 // of the next octet
}

type outMessage struct {
	data         []byte
	order, fence uint64
}

// outSegment is a segment on its way; packet is the last number it went by.
type outSegment struct {
	Segment
	packet uint64
	acked  bool
}

type sentPacket struct {
	at        tsn.Instant
	segments  []*outSegment
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
func (s *sender) idle() bool { return len(s.turn) == 0 && s.inFlight == 0 && len(s.resend) == 0 }

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
	if m.Barrier {
		s.fence = s.order
	}
	if len(st.messages) == 0 {
		s.turn = append(s.turn, m.Stream)
	}
	st.messages = append(st.messages, outMessage{data: m.Data, order: s.order, fence: s.fence})
	s.order++
	if m.Barrier {
		s.fence = s.order
	}
	s.queued += len(m.Data) + 1
	c.stats.MessagesSent++
}

// flush sends all that credit and rate allow, then an ACK if one is due.
func (c *Conn) flush(now tsn.Instant) {
	s := &c.send
	for (s.ping || c.sendable()) && c.tokensReady(now) {
		c.sendPacket(now)
	}
	if c.recv.ackNow || now >= c.recv.ackAt {
		c.transmitData(now, c.recv.makeAck(now).append(nil), nil, false)
	}
}

// sendable reports whether a segment could be sent now; it drops what was
// acknowledged while it waited to be sent again.
func (c *Conn) sendable() bool {
	s := &c.send
	for len(s.resend) > 0 && s.resend[0].acked {
		s.resend = s.resend[1:]
	}
	if len(s.resend) > 0 {
		return true
	}
	if len(s.turn) == 0 {
		return false
	}
	if s.used >= s.limit {
		if !s.blocked {
			s.blocked = true
			c.stats.Blocked++
		}
		return false
	}
	s.blocked = false
	return true
}

// sendPacket fills one packet: ACK, what was lost, then one piece of each
// stream in turn until it is full.
func (c *Conn) sendPacket(now tsn.Instant) {
	s := &c.send
	room := c.cfg.MaxDatagram - headerLen - 8
	frames := make([]byte, 0, room)
	if c.recv.ackAt != tsn.Never || c.recv.ackNow {
		frames = c.recv.makeAck(now).append(frames)
	}
	if s.ping {
		s.ping = false
		frames = (&Ping{}).append(frames)
	}
	var segments []*outSegment
	put := func(seg *outSegment) {
		seg.packet = s.next()
		segments = append(segments, seg)
		frames = seg.append(frames)
	}
	for c.sendable() {
		left := room - len(frames) - maxSegmentLen
		if left < 0 {
			break
		}
		if len(s.resend) == 0 {
			seg := c.cut(left)
			if seg == nil {
				break
			}
			put(seg)
			continue
		}
		seg := s.resend[0]
		if len(seg.Data) > left {
			if left < minPiece {
				break
			}
			seg = c.split(seg, left)
		} else {
			s.resend = s.resend[1:]
		}
		c.stats.Retransmitted++
		put(seg)
	}
	c.transmitData(now, frames, segments, true)
}

// split cuts the first n octets off the first segment to be sent again.
func (c *Conn) split(seg *outSegment, n int) *outSegment {
	head := &outSegment{Segment: seg.Segment}
	tail := &outSegment{Segment: seg.Segment, packet: seg.packet}
	head.Data, head.Last = seg.Data[:n], false
	tail.Data, tail.Offset, tail.First, tail.Fenced = seg.Data[n:], seg.Offset+uint64(n), false, false
	c.send.inFlight += int(head.span()+tail.span()) - int(seg.span())
	seg.acked = true
	c.send.resend[0] = tail
	return head
}

// cut takes up to room octets from the stream whose turn it is. It returns nil
// if a worthwhile piece does not fit any more.
func (c *Conn) cut(room int) *outSegment {
	s := &c.send
	id := s.turn[0]
	st := s.streams[id]
	m := &st.messages[0]
	rest := len(m.data) - st.pos
	n := min(rest, room)
	if credit := s.limit - s.used; uint64(n) >= credit {
		n = int(credit) // the end of the message needs one more
	}
	last := n == rest && s.used+uint64(n) < s.limit
	if !last && n < min(rest, minPiece) && n < int(s.limit-s.used) || !last && n == 0 {
		return nil
	}
	seg := &outSegment{Segment: Segment{
		Stream: id, Offset: st.offset, First: st.pos == 0, Last: last,
		Order: m.order, Fenced: st.pos == 0 && m.fence > 0, Fence: m.fence, Data: m.data[st.pos : st.pos+n],
	}}
	st.offset += seg.span()
	s.used += seg.span()
	s.queued -= int(seg.span())
	s.inFlight += int(seg.span())
	st.pos += n
	if last {
		st.pos = 0
		st.messages[0] = outMessage{}
		st.messages = st.messages[1:]
	}
	s.turn = s.turn[1:]
	if len(st.messages) > 0 {
		s.turn = append(s.turn, id)
	}
	return seg
}

func (c *Conn) transmitData(now tsn.Instant, frames []byte, segments []*outSegment, eliciting bool) {
	s := &c.send
	b := AppendPacket(make([]byte, 0, headerLen+8+len(frames)), Packet{
		Type: TypeData, Version: Version, DestID: c.remoteID, PacketNumber: s.next(), Frames: frames,
	})
	s.sent = append(s.sent, sentPacket{at: now, segments: segments, eliciting: eliciting, done: !eliciting})
	if eliciting {
		c.rtt.lastSent = now
	}
	if c.cfg.Rate > 0 {
		s.tokens -= int64(len(b)+wireOverhead) * 8_000_000
	}
	s.trim()
	c.transmit(b)
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
	depth := max(2*int64(c.cfg.MaxDatagram+wireOverhead)*8_000_000, rate*1_000_000)
	passed := min(now.Sub(s.tokensAt), 10_000_000_000)
	s.tokens = min(s.tokens+passed*rate, depth)
	s.tokensAt = now
	return s.tokens > 0
}

func (c *Conn) paceDeadline() tsn.Instant {
	s := &c.send
	if c.cfg.Rate == 0 || s.tokens > 0 || !(s.ping || c.sendable()) {
		return tsn.Never
	}
	return s.tokensAt.Add(-s.tokens/int64(c.cfg.Rate) + 1)
}
