package distlink

import "encoding/binary"

// Frame types (PROTOCOL.md, Frames in DATA).
const (
	framePad       = 0x00
	framePing      = 0x01
	frameAck       = 0x02
	frameClose     = 0x03
	frameChallenge = 0x04
	frameResponse  = 0x05
	frameSegment   = 0x10

	segFirst  = 0x01
	segLast   = 0x02
	segFenced = 0x04

	maxAckRanges  = 32
	ackFixedLen   = 1 + 8 + 4 + 8 + 1
	ackRangeLen   = 8
	segFixedLen   = 1 + 4 + 8 + 2
	maxSegmentLen = segFixedLen + 16
)

// Frame is one frame: *Ping, *Ack, *CloseFrame, *Challenge, *Response or *Segment.
type Frame interface{ append(b []byte) []byte }

// Ping asks for an ACK.
type Ping struct{}

// Ack acknowledges packets and moves the credit limit.
type Ack struct {
	Delay  uint32     // microseconds the ACK for the largest number was held
	Limit  uint64     // offsets, over all streams, that the peer may use
	Ranges []AckRange // descending, disjoint, not adjacent; 1..32
}

// AckRange is a run of packet numbers, both ends included.
type AckRange struct{ Low, High uint64 }

// CloseFrame ends the connection.
type CloseFrame struct {
	Code Code
	Text string
}

// Challenge asks whether the peer is at the address it is sent to.
type Challenge struct{ Data [8]byte }

// Response answers a Challenge with its octets.
type Response struct{ Data [8]byte }

// Segment is a piece of a message.
type Segment struct {
	Stream              uint32
	Offset              uint64
	First, Last, Fenced bool
	Order, Fence        uint64 // with First; Fence with Fenced too
	Data                []byte // aliases the input after parsing
}

// span is how many offsets the segment covers: the end of a message takes one.
func (s *Segment) span() uint64 {
	n := uint64(len(s.Data))
	if s.Last {
		n++
	}
	return n
}

func (s *Segment) end() uint64 { return s.Offset + s.span() }

// from is the segment without what lies before an offset; nil if nothing is left.
func (s *Segment) from(offset uint64) *Segment {
	switch {
	case offset <= s.Offset:
		return s
	case offset >= s.end():
		return nil
	}
	return &Segment{Stream: s.Stream, Offset: offset, Last: s.Last, Data: s.Data[offset-s.Offset:]}
}

func (s *Segment) headerLen() int {
	n := segFixedLen
	if s.First {
		n += 8
		if s.Fenced {
			n += 8
		}
	}
	return n
}

// ParseFrames calls yield for each frame of a DATA packet until it returns
// false; it stops with an error at the first frame that does not parse.
func ParseFrames(b []byte, yield func(Frame) bool) error {
	for len(b) > 0 {
		var f Frame
		var err error
		switch t := b[0]; {
		case t == framePad:
			return nil
		case t == framePing:
			f, b = &Ping{}, b[1:]
		case t == frameAck:
			f, b, err = parseAck(b)
		case t == frameClose:
			c := &CloseFrame{}
			c.Code, c.Text, b, err = parseReason(b[1:])
			f = c
		case t == frameChallenge && len(b) >= 9:
			f, b = &Challenge{[8]byte(b[1:])}, b[9:]
		case t == frameResponse && len(b) >= 9:
			f, b = &Response{[8]byte(b[1:])}, b[9:]
		case t&^7 == frameSegment:
			f, b, err = parseSegment(b)
		default:
			err = malformed("frame type %#02x", t)
		}
		if err != nil {
			return err
		}
		if !yield(f) {
			return nil
		}
	}
	return nil
}

func parseAck(b []byte) (*Ack, []byte, error) {
	if len(b) < ackFixedLen {
		return nil, nil, malformed("ACK of %d octets", len(b))
	}
	high := binary.BigEndian.Uint64(b[1:])
	a := &Ack{Delay: binary.BigEndian.Uint32(b[9:]), Limit: binary.BigEndian.Uint64(b[13:])}
	n := int(b[21])
	b = b[ackFixedLen:]
	if n < 1 || n > maxAckRanges || len(b) < n*ackRangeLen {
		return nil, nil, malformed("ACK with %d ranges in %d octets", n, len(b))
	}
	a.Ranges = make([]AckRange, n)
	for i := range n {
		gap, run := uint64(binary.BigEndian.Uint32(b)), uint64(binary.BigEndian.Uint32(b[4:]))
		b = b[ackRangeLen:]
		if i > 0 {
			low := a.Ranges[i-1].Low
			if gap == 0 || low&laneMask < gap+1 {
				return nil, nil, malformed("ACK gap %d below %d", gap, low)
			}
			high = low - gap - 1
		}
		if run == 0 || run-1 > high&laneMask || (i == 0 && gap != 0) {
			return nil, nil, malformed("ACK gap %d run %d at %d", gap, run, high)
		}
		a.Ranges[i] = AckRange{Low: high - run + 1, High: high}
	}
	return a, b, nil
}

func parseSegment(b []byte) (*Segment, []byte, error) {
	s := &Segment{First: b[0]&segFirst != 0, Last: b[0]&segLast != 0, Fenced: b[0]&segFenced != 0}
	if (s.Fenced && !s.First) || len(b) < s.headerLen() {
		return nil, nil, malformed("SEGMENT %#02x with %d octets", b[0], len(b))
	}
	s.Stream = binary.BigEndian.Uint32(b[1:])
	s.Offset = binary.BigEndian.Uint64(b[5:])
	n := int(binary.BigEndian.Uint16(b[13:]))
	if s.First {
		s.Order = binary.BigEndian.Uint64(b[segFixedLen:])
	}
	if s.Fenced {
		s.Fence = binary.BigEndian.Uint64(b[segFixedLen+8:])
	}
	b = b[s.headerLen():]
	if len(b) < n || s.Offset > 1<<62 || s.Fenced && s.Fence > s.Order || n == 0 && !s.Last {
		return nil, nil, malformed("SEGMENT length %d offset %d fence %d order %d", n, s.Offset, s.Fence, s.Order)
	}
	s.Data = b[:n:n]
	return s, b[n:], nil
}

func (*Ping) append(b []byte) []byte { return append(b, framePing) }

func (c *Challenge) append(b []byte) []byte {
	return append(append(b, frameChallenge), c.Data[:]...)
}

func (r *Response) append(b []byte) []byte {
	return append(append(b, frameResponse), r.Data[:]...)
}

func (c *CloseFrame) append(b []byte) []byte {
	return appendReason(append(b, frameClose), c.Code, c.Text)
}

func (a *Ack) append(b []byte) []byte {
	b = append(b, frameAck)
	b = binary.BigEndian.AppendUint64(b, a.Ranges[0].High)
	b = binary.BigEndian.AppendUint32(b, a.Delay)
	b = binary.BigEndian.AppendUint64(b, a.Limit)
	b = append(b, byte(len(a.Ranges)))
	for i, r := range a.Ranges {
		gap := uint64(0)
		if i > 0 {
			gap = a.Ranges[i-1].Low - r.High - 1
		}
		b = binary.BigEndian.AppendUint32(b, uint32(gap))
		b = binary.BigEndian.AppendUint32(b, uint32(r.High-r.Low+1))
	}
	return b
}

func (s *Segment) append(b []byte) []byte {
	t := byte(frameSegment)
	if s.First {
		t |= segFirst
	}
	if s.Last {
		t |= segLast
	}
	if s.First && s.Fenced {
		t |= segFenced
	}
	b = append(b, t)
	b = binary.BigEndian.AppendUint32(b, s.Stream)
	b = binary.BigEndian.AppendUint64(b, s.Offset)
	b = binary.BigEndian.AppendUint16(b, uint16(len(s.Data)))
	if s.First {
		b = binary.BigEndian.AppendUint64(b, s.Order)
		if s.Fenced {
			b = binary.BigEndian.AppendUint64(b, s.Fence)
		}
	}
	return append(b, s.Data...)
}

// AppendFrame appends a frame, the inverse of ParseFrames.
func AppendFrame(b []byte, f Frame) []byte { return f.append(b) }
