package distlink

import (
	"fmt"
	"slices"

	tsn "tsnswitch"
)

const (
	maxPacketRanges = 2 * maxAckRanges
	maxOrderRanges  = 8192 // messages that may be delivered past an unfinished one
)

// receiver turns packets into messages.
type receiver struct {
	packets  rangeSet // numbers seen; the lowest ranges are forgotten
	eliciter int      // packets since the last ACK that want one
	ackAt    tsn.Instant
	ackNow   bool
	newestAt tsn.Instant // when the highest number came

	streams map[uint32]*inStream
	blocked []uint32 // streams whose first complete message waits for a fence
	orders  rangeSet // orders delivered

	window   uint64
	used     uint64 // sum of the highest offsets seen
	accepted uint64 // sum of the offsets taken in order
	unread   uint64 // offsets delivered and not yet read
	limit    uint64 // credit told to the peer
	held     int    // octets of complete messages behind a fence
}

// inStream is the receiving half of a stream.
type inStream struct {
	next, high uint64     // next offset wanted; end of the highest segment seen
	pending    []*Segment // out of order, ascending
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
	r.ackAt = tsn.Never
	r.streams = map[uint32]*inStream{}
}

// fresh reports whether a packet number has not been seen. Below the ranges that
// are remembered none has: what is that late counts as lost.
func (r *receiver) fresh(n uint64) bool {
	return !(len(r.packets) == maxPacketRanges && n < r.packets[0].Low) && !r.packets.has(n)
}

// packetNumber records a fresh number and reports whether it is the highest.
func (r *receiver) packetNumber(n uint64) bool {
	r.packets.add(n)
	if len(r.packets) > maxPacketRanges {
		r.packets = slices.Delete(r.packets, 0, 1)
	}
	return n == r.packets[len(r.packets)-1].High
}

// wantAck arms the ACK for packet n, just recorded.
func (r *receiver) wantAck(now tsn.Instant, n uint64, delay int64) {
	last := r.packets[len(r.packets)-1]
	r.eliciter++
	if r.eliciter >= 2 || n != last.High || (len(r.packets) > 1 && last.Low == n) {
		r.ackNow = true // the second packet, a late one, or one after a gap
	}
	if n == last.High {
		r.newestAt = now
	}
	r.ackAt = min(r.ackAt, now.Add(delay))
}

// makeAck returns the ACK frame and disarms the timer.
func (r *receiver) makeAck(now tsn.Instant) *Ack {
	r.eliciter, r.ackNow, r.ackAt = 0, false, tsn.Never
	r.limit = r.credit()
	return &Ack{Delay: uint32(min(now.Sub(r.newestAt)/1000, 1<<32-1)), Limit: r.limit, Ranges: r.packets.ack()}
}

func (r *receiver) credit() uint64 {
	return max(r.limit, r.accepted+r.window-min(r.unread, r.window))
}

func (r *receiver) read(n int) {
	r.unread -= min(r.unread, uint64(max(n, 0)))
	if len(r.packets) > 0 && r.credit() >= r.limit+r.window/4 {
		r.ackNow = true
	}
}

// segment takes one segment into its stream.
func (c *Conn) segment(now tsn.Instant, s *Segment) {
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

// hold keeps a segment that came too early; of two that start alike the longer.
func (st *inStream) hold(s *Segment) {
	i, found := slices.BinarySearchFunc(st.pending, s.Offset, func(p *Segment, off uint64) int {
		return int(min(max(int64(p.Offset-off), -1), 1))
	})
	if !found {
		st.pending = slices.Insert(st.pending, i, s)
	} else if s.span() > st.pending[i].span() {
		st.pending[i] = s
	}
}

// take appends a segment that starts at or before the next offset wanted.
func (c *Conn) take(now tsn.Instant, st *inStream, s *Segment) {
	known := st.next - s.Offset
	if known >= s.span() {
		return
	}
	m := &st.message
	if known == 0 && s.First != !st.inMessage {
		c.close(now, CodeProtocol, "message boundaries do not match")
		return
	}
	if known == 0 && s.First {
		*m = inMessage{order: s.Order, fence: s.Fence}
		st.inMessage = true
	}
	if len(m.data)+len(s.Data) > c.cfg.MaxMessage {
		c.close(now, CodeTooLong, fmt.Sprintf("message over %d octets", c.cfg.MaxMessage))
		return
	}
	m.data = append(m.data, s.Data[min(known, uint64(len(s.Data))):]...)
	st.next += s.span() - known
	c.recv.accepted += s.span() - known
	if s.Last {
		st.inMessage = false
		st.complete = append(st.complete, *m)
		c.recv.held += len(m.data)
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
			return c.deliverStream(id, r.streams[id])
		})
		again = len(r.blocked) > 0 && r.deliveredBelow() != before
	}
	if len(r.orders) > maxOrderRanges || r.held > c.cfg.MaxMessage+16*int(r.window) {
		c.close(now, CodeProtocol, "too much behind a fence")
	}
}

// deliverStream delivers until a fence and reports whether nothing is left.
func (c *Conn) deliverStream(id uint32, st *inStream) bool {
	r := &c.recv
	for len(st.complete) > 0 {
		m := st.complete[0]
		if m.fence > r.deliveredBelow() {
			return false
		}
		st.complete[0] = inMessage{}
		st.complete = st.complete[1:]
		r.held -= len(m.data)
		r.orders.add(m.order)
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
