package distlink

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"

	tsn "tsnswitch"
)

// hostile is a peer that sends an open server what it likes.
type hostile struct {
	*sim
	server *Conn
	number uint64
}

func newHostile(t *testing.T, cfg Config) *hostile {
	s := connected(t, wire{delay: 1000}, cfg)
	return &hostile{sim: s, server: s.conn[1], number: s.conn[0].lane(Control).next()}
}

// say sends frames in one packet and returns the effects.
func (h *hostile) say(frames ...Frame) []tsn.Effect {
	var b []byte
	for _, f := range frames {
		b = f.append(b)
	}
	h.now = h.now.Add(10_000)
	p := AppendPacket(nil, Packet{Type: TypeData, Version: Version, DestID: h.server.localID, PacketNumber: h.number, Frames: b})
	h.number++
	effects := h.server.Step(h.now, Datagram{From: clientAddr, Data: p})
	h.effects(1, effects)
	return effects
}

func (h *hostile) ended(t *testing.T, code Code, within int, frames func(i int) []Frame) {
	t.Helper()
	for i := 0; h.closed[1] == nil && i < within; i++ {
		h.say(frames(i)...)
	}
	if e := h.closed[1]; e == nil || e.Code != code {
		t.Errorf("closed %+v, want code %d", e, code)
	}
}

// Each table that a peer fills has an end, and it is the peer that goes, with a
// reason.
func TestTablesHaveAnEnd(t *testing.T) {
	cfg := Config{MaxMessage: 10_000, MaxStreams: 100, Window: 20_000}
	for name, c := range map[string]struct {
		code   Code
		frames func(i int) []Frame
	}{
		"streams": {CodeProtocol, func(i int) []Frame {
			return []Frame{&Segment{Stream: uint32(i), First: true, Last: true, Order: uint64(i)}}
		}},
		"credit": {CodeProtocol, func(i int) []Frame {
			return []Frame{&Segment{Stream: 1, Offset: uint64(1000 + 1000*i), Data: make([]byte, 1000)}}
		}},
		"a message too long": {CodeTooLong, func(i int) []Frame {
			return []Frame{&Segment{Stream: 1, Offset: uint64(1000 * i), First: i == 0, Data: make([]byte, 1000)}}
		}},
		"unfinished messages on many streams": {CodeResources, func(i int) []Frame {
			return []Frame{&Segment{Stream: uint32(i % 100), Offset: uint64(i / 100 * 500), First: i < 100, Order: uint64(i), Data: make([]byte, 500)}}
		}},
		"empty messages behind a fence": {CodeResources, func(i int) []Frame {
			return []Frame{&Segment{Stream: 1, Offset: uint64(i), First: true, Last: true, Fenced: true, Order: uint64(i + 9), Fence: 5}}
		}},
		"an ACK of what was not sent": {CodeProtocol, func(int) []Frame { return []Frame{&Ack{Ranges: []AckRange{{0, 1 << 40}}}} }},
		"a message within another": {CodeProtocol, func(i int) []Frame {
			return []Frame{&Segment{Stream: 1, Offset: uint64(i), First: true, Data: []byte{1}}}
		}},
		"the end of none": {CodeProtocol, func(i int) []Frame {
			return []Frame{
				&Segment{Stream: 1, First: true, Last: true, Data: []byte("abc")},
				&Segment{Stream: 1, Offset: 2, Last: true, Data: []byte("defgh")},
			}
		}},
	} {
		t.Run(name, func(t *testing.T) { newHostile(t, cfg).ended(t, c.code, 5000, c.frames) })
	}
}

// Orders with gaps between them are remembered up to a number.
func TestOrderGapsHaveAnEnd(t *testing.T) {
	newHostile(t, Config{}).ended(t, CodeProtocol, maxOrderRanges+10, func(i int) []Frame {
		return []Frame{&Segment{Stream: 1, Offset: uint64(i), First: true, Last: true, Order: uint64(2*i + 2)}}
	})
}

// Packet numbers with gaps between them are remembered up to a number, and what
// is older counts as lost.
func TestNumberGapsHaveAnEnd(t *testing.T) {
	h := newHostile(t, Config{})
	for range 1000 {
		h.say(&Ping{})
		h.number++
	}
	if n := len(h.server.recv.lanes[0].packets); n > maxPacketRanges || h.closed[1] != nil {
		t.Errorf("%d ranges, closed %+v", n, h.closed[1])
	}
	before := h.server.Stats().Duplicates
	h.number = 7
	h.say(&Ping{})
	if h.server.Stats().Duplicates != before+1 {
		t.Error("a number from below the ranges was taken")
	}
}

// Many that ask whether we are here get one answer a packet.
func TestOneResponseForManyChallenges(t *testing.T) {
	h := newHostile(t, Config{})
	frames := make([]Frame, 100)
	for i := range frames {
		frames[i] = &Challenge{[8]byte{byte(i)}}
	}
	var out int
	for _, e := range h.say(frames...) {
		if e, ok := e.(Transmit); ok {
			out += len(e.Data)
		}
	}
	if out == 0 || out > 100 {
		t.Errorf("%d octets in answer to 100 challenges", out)
	}
}

// Packets that come twice, or so late that they are forgotten, are not answered:
// two ends would answer each other for ever.
func TestDuplicatesAreNotAnswered(t *testing.T) {
	s := connected(t, wire{delay: 100_000}, Config{})
	var ack []byte
	s.tap = func(from int, data []byte) {
		if from == 1 {
			ack = bytes.Clone(data)
		}
	}
	s.write(0, Message{Data: []byte("x")})
	s.idle(10_000_000)
	sent := s.conn[0].Stats().PacketsSent
	for range 100 {
		s.effects(0, s.conn[0].Step(s.now, Datagram{Data: bytes.Clone(ack)}))
	}
	if st := s.conn[0].Stats(); st.PacketsSent != sent || st.Duplicates != 100 {
		t.Errorf("%d packets in answer to duplicates, %+v", st.PacketsSent-sent, st)
	}
}

// Who only acknowledges does not remember it for ever, although something that it
// sent was lost.
func TestAcksAreForgotten(t *testing.T) {
	s := connected(t, wire{delay: 100_000, rate: 100 * tsn.Mbps, queue: 5e6}, Config{Window: 1 << 20})
	loss := s.wire.loss
	s.wire.loss = 1
	s.effects(1, s.conn[1].Step(s.now, Touch{nil})) // a PING, and it is lost
	s.wire.loss = loss
	most := 0
	for range 50 {
		s.write(0, Message{Stream: 1, Data: make([]byte, 1<<20)})
		s.idle(80_000_000)
		most = max(most, len(s.conn[1].lanes[0].sent))
	}
	if n := s.conn[1].Stats().PacketsSent; n < 2000 || most > 2*rememberedAlone {
		t.Errorf("%d packets remembered of %d", most, n)
	}
}

// The ACCEPT gets lost for long: the server waits as long as the client asks.
func TestServerWaitsForItsClient(t *testing.T) {
	s := newSim(t, 3, wire{delay: 100_000}, Config{})
	accepts := 0
	s.tap = func(from int, data []byte) {
		if p, _, err := ParsePacket(data); err == nil && from == 1 && p.Type == TypeAccept {
			if accepts++; accepts < 6 {
				data[0] = 0
			}
		}
	}
	if !s.run(func() bool { return s.up[0] }, 5e9) || s.now < 2e9 || len(s.ghosts) > 0 || s.closed[1] != nil {
		t.Fatalf("up %v at %d ms after %d ACCEPT, %d other connections, closed %+v", s.up[0], s.now/1e6, accepts, len(s.ghosts), s.closed[1])
	}
	s.write(1, Message{Data: []byte("welcome")})
	if !s.run(func() bool { return len(s.got[0]) == 1 }, 1e9) {
		t.Fatal("the connection does not work")
	}
}

// A process that was away for long gives its peer all of the keep-alive from then
// on, not what was left of it.
func TestAbsenceThenPause(t *testing.T) {
	s := connected(t, wire{delay: 100_000}, Config{})
	for range 20 {
		s.now = s.now.Add(3e9) // nobody ran
		s.pause(1, 600_000_000)
		s.idle(20_000_000)
		if !s.alive() {
			t.Fatalf("closed: %+v %+v", s.closed[0], s.closed[1])
		}
	}
}

// A path that becomes narrower than full datagrams, but not than all that are
// longer than the least, is found out although these get through.
func TestBlackHoleForTheLongest(t *testing.T) {
	for _, rate := range []tsn.Rate{0, 100 * tsn.Mbps} {
		s := connected(t, wire{delay: 100_000}, Config{Rate: rate})
		s.tooLong = 1300
		for range 200 {
			s.write(0, Message{Stream: 1, Data: make([]byte, 1400)})
			s.idle(500_000)
			s.write(0, Message{Stream: 2, Data: make([]byte, 1210)})
			s.idle(500_000)
		}
		if !s.run(func() bool { return len(s.got[1]) == 400 || !s.alive() }, 5e9) || s.conn[0].Stats().BlackHoles == 0 || s.conn[0].Stats().Retransmitted > 12 {
			t.Errorf("%d of 400 came, %+v, closed %+v", len(s.got[1]), s.conn[0].Stats(), s.closed[0])
		}
	}
}

// Segments of a stream that are cut anyhow, overlap, and come in any order and
// often make the messages that were cut.
func TestAnySegments(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		h := newHostile(t, Config{Window: 4096})
		h.t = t
		sizes := rapid.SliceOfN(rapid.IntRange(0, 300), 1, 6).Draw(rt, "sizes")
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "seed"), 1))
		var want []Message
		var all []*Segment
		offset := uint64(0)
		for order, n := range sizes {
			m := message(1, order, order, NoFence, n, rng)
			want = append(want, m)
			all = append(all, pieces(rng, m, uint64(order), offset)...)
			offset += uint64(len(m.Data)) + 1
		}
		rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		for _, s := range all {
			h.say(s)
			if h.closed[1] != nil {
				rt.Fatalf("closed: %+v", h.closed[1])
			}
		}
		checkOrder(t, want, h.got[1])
	})
}

// pieces are some of a message that overlap anyhow, and what these leave out.
func pieces(rng *rand.Rand, m Message, order, offset uint64) (out []*Segment) {
	span := len(m.Data) + 1 // its end is the last offset
	have := make([]bool, span)
	piece := func(from, to int) {
		s := &Segment{Stream: 1, Offset: offset + uint64(from), First: from == 0, Last: to == span, Data: m.Data[from:min(to, len(m.Data))]}
		if s.First {
			s.Order = order
		}
		out = append(out, s)
		for i := from; i < to; i++ {
			have[i] = true
		}
	}
	for range rng.IntN(6) {
		from := rng.IntN(span)
		piece(from, from+1+rng.IntN(span-from))
	}
	for from := 0; from < span; from++ {
		to := from
		for to < span && !have[to] {
			to++
		}
		if to > from {
			piece(from, to)
		}
	}
	return out
}

// Of datagrams that came joined, one that does not parse takes none behind it
// along; without joining it takes the rest of its datagram.
func TestJoinedDatagrams(t *testing.T) {
	for segment, want := range map[int]int{0: 1, 1: 2} {
		h := newHostile(t, Config{})
		var joined []byte
		size := 0
		for i := range 3 {
			b := (&Segment{Stream: uint32(i), First: true, Last: true, Order: uint64(i), Data: []byte("message")}).append(nil)
			p := AppendPacket(nil, Packet{Type: TypeData, Version: Version, DestID: h.server.localID, PacketNumber: h.number + uint64(i), Frames: b})
			if size = len(p); i == 1 {
				p[0] = 0
			}
			joined = append(joined, p...)
		}
		h.effects(1, h.server.Step(h.now, Datagram{From: clientAddr, Data: joined, Segment: segment * size}))
		if len(h.got[1]) != want || h.server.Stats().Malformed != 1 {
			t.Errorf("segment %d: %d of 3 came, %+v", segment, len(h.got[1]), h.server.Stats())
		}
	}
}
