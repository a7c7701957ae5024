package distlink

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"

	tsn "tsnswitch"
)

const (
	maxPacketRanges = 2 * maxAckRanges
	maxOrderRanges  = 8192 // messages that may be delivered past an unfinished one
	messageCost     = 64   // octets that a message takes here beside its own
)

// receiver turns packets into messages.
type receiver struct {
	lanes  [lanes]inLane
	latest int // lane of the last packet

	streams map[uint32]*inStream
	blocked []uint32 // streams whose first complete message waits for a fence
	orders  rangeSet // orders delivered

	window   uint64
	used     uint64 // sum of the highest offsets seen
	accepted uint64 // sum of the offsets taken in order
	unread   uint64 // offsets delivered and not yet read
	limit    uint64 // credit told to the peer
	held     int    // octets of messages begun and not delivered, and what they cost
}

// inLane is what came by a lane of the peer's.
type inLane struct {
	packets  rangeSet // numbers seen, without the lane; the lowest ranges are forgotten
	eliciter int      // packets since the last ACK that want one
	ackAt    tsn.Instant
	ackNow   bool
	newestAt tsn.Instant // when the highest number came
}

// inStream is the receiving half of a stream.
type inStream struct {
	next, high uint64     // next offset wanted; end of the highest segment seen
	pending    []*Segment // out of order, ascending, disjoint
	inMessage  bool
	message    inMessage   // being assembled
	complete   []inMessage // waiting for a fence
}

type inMessage struct {
	order, fence uint64
	data         []byte
}

func (r *receiver) init(cfg Config) {
	r.window, r.limit = cfg.Window, cfg.Window
	for i := range r.lanes {
		r.lanes[i].ackAt = tsn.Never
	}
	r.streams = map[uint32]*inStream{}
}

// fresh reports whether a packet number has not been seen. Below the ranges that
// are remembered none has: what is that late counts as lost.
func (r *receiver) fresh(number uint64) bool {
	l, n := &r.lanes[number>>laneShift], number&laneMask
	return !(len(l.packets) == maxPacketRanges && n < l.packets[0].Low) && !l.packets.has(n)
}

// packetNumber records a fresh number and reports whether it is its lane's highest.
func (r *receiver) packetNumber(number uint64) bool {
	r.latest = int(number >> laneShift)
	l, n := &r.lanes[r.latest], number&laneMask
	l.packets.add(n)
	if len(l.packets) > maxPacketRanges {
		l.packets = slices.Delete(l.packets, 0, 1)
	}
	return n == l.packets[len(l.packets)-1].High
}

// wantAck arms the ACK for a packet just recorded.
func (r *receiver) wantAck(now tsn.Instant, number uint64, delay int64) {
	l, n := &r.lanes[number>>laneShift], number&laneMask
	last := l.packets[len(l.packets)-1]
	l.eliciter++
	if l.eliciter >= 2 || n != last.High || (len(l.packets) > 1 && last.Low == n) {
		l.ackNow = true // the second packet, a late one, or one after a gap
	}
	if n == last.High {
		l.newestAt = now
	}
	l.ackAt = min(l.ackAt, now.Add(delay))
}

// wanted reports that an ACK waits, due that it is to go now.
func (l *inLane) wanted() bool             { return l.ackNow || l.ackAt != tsn.Never }
func (l *inLane) due(now tsn.Instant) bool { return l.ackNow || now >= l.ackAt }

func (l *inLane) ackLen() int { return ackFixedLen + ackRangeLen*min(len(l.packets), maxAckRanges) }

// makeAck returns a lane's ACK frame and disarms its timer.
func (r *receiver) makeAck(now tsn.Instant, lane int) *Ack {
	l := &r.lanes[lane]
	l.eliciter, l.ackNow, l.ackAt = 0, false, tsn.Never
	r.limit = r.credit()
	ranges := l.packets.ack()
	for i := range ranges {
		ranges[i].Low |= uint64(lane) << laneShift
		ranges[i].High |= uint64(lane) << laneShift
	}
	return &Ack{Delay: uint32(min(now.Sub(l.newestAt)/1000, 1<<32-1)), Limit: r.limit, Ranges: ranges}
}

func (r *receiver) credit() uint64 {
	return max(r.limit, r.accepted+r.window-min(r.unread, r.window))
}

func (r *receiver) read(n int) {
	r.unread -= min(r.unread, uint64(max(n, 0)))
	if l := &r.lanes[r.latest]; len(l.packets) > 0 && r.credit() >= r.limit+r.window/4 {
		l.ackNow = true
	}
}

// segment takes one segment into its stream.
func (c *Conn) segment(now tsn.Instant, s *Segment) {
	if c.tooEarly(now, s) {
		return
	}
	r := &c.recv
	st := r.streams[s.Stream]
	if st == nil {
		if len(r.streams) >= c.cfg.MaxStreams {
			c.close(now, CodeProtocol, fmt.Sprintf("more than %d streams", c.cfg.MaxStreams))
			return
		}
		st = &inStream{}
		r.streams[s.Stream] = st
	}
	end := s.Offset + s.span()
	if end > st.high {
		if r.used+end-st.high > r.limit {
			c.close(now, CodeProtocol, "credit exceeded")
			return
		}
		r.used += end - st.high
		st.high = end
	}
	if end <= st.next {
		return // all of it is known
	}
	if s.Offset > st.next {
		st.hold(s)
		return
	}
	c.take(now, st, s)
	for len(st.pending) > 0 && st.pending[0].Offset <= st.next && c.state == open {
		s = st.pending[0]
		st.pending = slices.Delete(st.pending, 0, 1)
		c.take(now, st, s)
	}
	if c.state == open {
		c.deliver(now, s.Stream, st)
	}
}

// hold keeps of a segment that came too early what is not held already, so that
// what is held is never more than the credit.
func (st *inStream) hold(s *Segment) {
	i, _ := slices.BinarySearchFunc(st.pending, s.Offset+1, func(p *Segment, off uint64) int { return cmp.Compare(p.Offset, off) })
	if i > 0 {
		if s = s.from(st.pending[i-1].end()); s == nil {
			return
		}
	}
	j := i
	for j < len(st.pending) && st.pending[j].end() <= s.end() {
		j++
	}
	if j < len(st.pending) && st.pending[j].Offset < s.end() {
		s.Data, s.Last = s.Data[:st.pending[j].Offset-s.Offset], false
	}
	s.Data = bytes.Clone(s.Data) // a small piece does not keep a large datagram
	st.pending = slices.Replace(st.pending, i, j, s)
}

// take appends a segment that starts at or before the next offset wanted.
func (c *Conn) take(now tsn.Instant, st *inStream, s *Segment) {
	known := st.next - s.Offset
	if known >= s.span() {
		return
	}
	m := &st.message
	if known == 0 && s.First == st.inMessage || known > 0 && !st.inMessage {
		c.close(now, CodeProtocol, "message boundaries do not match")
		return
	}
	if known == 0 && s.First {
		*m = inMessage{order: s.Order, fence: s.Fence}
		st.inMessage = true
		c.recv.held += messageCost
	}
	if len(m.data)+len(s.Data) > c.cfg.MaxMessage {
		c.close(now, CodeTooLong, fmt.Sprintf("message over %d octets", c.cfg.MaxMessage))
		return
	}
	data := s.Data[min(known, uint64(len(s.Data))):]
	if c.recv.held += len(data); c.recv.held > c.cfg.heldMost() {
		c.close(now, CodeResources, "too much unfinished or behind a fence")
		return
	}
	m.data = append(m.data, data...)
	st.next += s.span() - known
	c.recv.accepted += s.span() - known
	if s.Last {
		st.inMessage = false
		st.complete = append(st.complete, *m)
		st.message = inMessage{}
	}
}

// deliver hands over what st and the streams behind a fence may give.
func (c *Conn) deliver(now tsn.Instant, id uint32, st *inStream) {
	r := &c.recv
	was := len(st.complete) > 0
	if was && !slices.Contains(r.blocked, id) {
		r.blocked = append(r.blocked, id)
	}
	for again := was; again; {
		again = false
		before := r.deliveredBelow()
		r.blocked = slices.DeleteFunc(r.blocked, func(id uint32) bool {
			return c.deliverStream(now, id, r.streams[id])
		})
		again = len(r.blocked) > 0 && r.deliveredBelow() != before
	}
	if c.state != open {
		return
	}
	if len(r.orders) > maxOrderRanges {
		c.close(now, CodeProtocol, "too much behind a fence")
	}
}

// deliverStream delivers until a fence and reports whether nothing is left.
func (c *Conn) deliverStream(now tsn.Instant, id uint32, st *inStream) bool {
	r := &c.recv
	for len(st.complete) > 0 && c.state == open {
		m := st.complete[0]
		if m.fence > r.deliveredBelow() {
			return false
		}
		st.complete[0] = inMessage{}
		st.complete = st.complete[1:]
		r.held -= len(m.data) + messageCost
		r.orders.add(m.order)
		if c.auth.unproven() {
			c.authenticate(now, m.data)
			continue
		}
		if c.auth.pending() { // who sends more than an AUTH has taken ours
			c.proved(now)
		}
		r.unread += uint64(len(m.data)) + 1
		c.stats.MessagesReceived++
		c.out = append(c.out, Deliver{Message{Stream: id, Data: m.data}})
	}
	st.complete = nil
	return true
}

// deliveredBelow is the order up to which everything has been delivered.
func (r *receiver) deliveredBelow() uint64 {
	if len(r.orders) == 0 || r.orders[0].Low != 0 {
		return 0
	}
	return r.orders[0].High + 1
}
