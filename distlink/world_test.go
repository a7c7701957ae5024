package distlink

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"net/netip"
	"testing"

	tsn "tsnswitch"
)

// What happens to a link while it is used. Each is survived, whatever comes
// together.
var mishaps = []struct {
	name string
	do   func(s *sim, rng *rand.Rand)
}{
	{"loss", func(s *sim, rng *rand.Rand) { s.wire.loss = rng.Float64() * 0.15 }},
	{"bursts of loss", func(s *sim, rng *rand.Rand) { s.wire.burst = rng.Float64() * 0.02 }},
	{"duplication", func(s *sim, rng *rand.Rand) { s.wire.dup = rng.Float64() * 0.2 }},
	{"reordering", func(s *sim, rng *rand.Rand) { s.wire.jitter = 1 + rng.Int64N(4_000_000) }},
	{"corruption", func(s *sim, rng *rand.Rand) { s.wire.corrupt = rng.Float64() * 0.05 }},
	{"a longer way", func(s *sim, rng *rand.Rand) { s.wire.delay = 10_000 + rng.Int64N(30_000_000) }},
	{"a narrower path", func(s *sim, rng *rand.Rand) { s.tooLong = 1200 + rng.IntN(272) }},
	{"the narrowest path", func(s *sim, _ *rand.Rand) { s.tooLong = 1200 }},
	{"a wider path", func(s *sim, _ *rand.Rand) { s.tooLong = 0 }},
	{"a slower line", func(s *sim, rng *rand.Rand) {
		s.line(5_000+rng.IntN(50_000), 1_000_000+rng.Int64N(20_000_000))
	}},
	{"a line with long queues", func(s *sim, rng *rand.Rand) {
		s.line(10_000+rng.IntN(50_000), 50_000_000+rng.Int64N(100_000_000))
	}},
	{"a fast line", func(s *sim, _ *rand.Rand) { s.wire.rate = 0 }},
	{"a short outage", func(s *sim, rng *rand.Rand) {
		was := s.wire
		s.wire.loss = 1
		s.idle(rng.Int64N(400_000_000))
		s.wire = was
		s.together()
	}},
	{"another address", func(s *sim, rng *rand.Rand) {
		s.move(netip.AddrPortFrom(clientAddr.Addr(), uint16(5000+rng.IntN(1000))))
	}},
	{"a pause of the client", func(s *sim, rng *rand.Rand) { s.pause(0, rng.Int64N(500_000_000)); s.together() }},
	{"a pause of the server", func(s *sim, rng *rand.Rand) { s.pause(1, rng.Int64N(500_000_000)); s.together() }},
	{"all stand still", func(s *sim, rng *rand.Rand) { s.now = s.now.Add(rng.Int64N(3_000_000_000)) }},
	{"other lanes", func(s *sim, rng *rand.Rand) {
		side := rng.IntN(2)
		s.effects(side, s.conn[side].Step(s.now, Touch{&Config{Rate: s.conn[side].cfg.Rate, Lanes: someLanes(rng)}}))
	}},
	{"a slow reader", func(s *sim, _ *rand.Rand) { s.autoRead = false }},
	{"a quick reader", func(s *sim, _ *rand.Rand) { s.catchUp() }},
}

// line sets what the line carries; it is never less than what is reserved.
func (s *sim) line(kbit int, queue int64) {
	s.wire.rate, s.wire.queue = max(tsn.Rate(kbit), s.conn[0].cfg.Rate*11/10), queue
}

// together waits until both have heard each other: the next outage is another.
func (s *sim) together() {
	start := s.now
	s.run(func() bool {
		return !s.alive() || s.conn[0].live.heardAt > start && s.conn[1].live.heardAt > start
	}, 10e9)
}

func (s *sim) idle(ns int64) { s.run(func() bool { return false }, ns) }

// catchUp reads what has come and not been read.
func (s *sim) catchUp() {
	s.autoRead = true
	for side, c := range s.conn {
		s.effects(side, c.Step(s.now, Read{int(c.recv.unread)}))
	}
}

// world is a random configuration on a random network; how it is used follows
// from the seed, too.
func world(t *testing.T, seed uint64) (*sim, *rand.Rand, []byte) {
	rng := rand.New(rand.NewPCG(seed, 3))
	cfg := Config{
		Window: []uint64{0, 0, 2000, 20_000, 1 << 20}[rng.IntN(5)], Rate: []tsn.Rate{0, 0, 4 * tsn.Mbps, 100 * tsn.Mbps}[rng.IntN(4)],
		MaxDatagram: []int{0, 0, 1200, 9000}[rng.IntN(4)], AckDelay: []int64{0, 100_000, 20_000_000}[rng.IntN(3)],
	}
	certificates := false
	switch rng.IntN(4) {
	case 0, 1:
		cfg.Keys = testKeys
	case 2:
		certificates = true
	}
	if rng.IntN(3) == 0 {
		cfg.Lanes = someLanes(rng)
	}
	// Set-up packets come late and again.
	w := wire{loss: rng.Float64() * 0.3, dup: rng.Float64(), delay: 1 + rng.Int64N(2_000_000), jitter: 1 + rng.Int64N(300_000_000)}
	if rng.IntN(2) == 0 {
		w.jitter = 1 + rng.Int64N(1_000_000)
	}
	var s *sim
	if certificates {
		s = certSim(t, seed, w, cfg, alice, bob)
		s.sealed = true
	} else {
		s = newSim(t, seed, w, cfg)
	}
	s.trace = fnv.New64a()
	var early [][]byte // what the client sent until it was up
	s.tap = func(from int, data []byte) {
		if from == 0 {
			early = append(early, bytes.Clone(data))
		}
	}
	if !s.run(func() bool { return s.up[0] && s.conn[1] != nil || s.closed[0] != nil }, 60e9) || !s.up[0] {
		if s.closed[0] != nil && s.closed[0].Code == CodeSetupTimeout && w.loss > 0.15 {
			return nil, nil, nil // that can be
		}
		t.Fatalf("not connected: %+v %+v", s.closed[0], s.closed[1])
	}
	s.tap = nil
	s.run(func() bool { return s.conn[1].live.patience == 0 }, 5e9)
	s.wire = wire{loss: 0.02, delay: w.delay, jitter: 1 + w.jitter%3_000_000}
	return s, rng, bytes.Join(early, nil)
}

// live writes messages both ways, lets things happen, and looks at what came.
func live(t *testing.T, seed uint64) uint64 {
	s, rng, early := world(t, seed)
	if s == nil {
		return 0
	}
	const n, each = 120, 4
	var want [2][]Message
	payload, happened := 0, []string{}
	for side := range want {
		want[side] = randomMessages(rng, n, 20, 200, 3000, 30_000)
		for i := range want[side] {
			want[side][i].Class = Class(rng.IntN(int(classes)))
			payload += len(want[side][i].Data)
		}
	}
	classOfStream(want[0])
	classOfStream(want[1])
	start := [2]Stats{s.conn[0].Stats(), s.conn[1].Stats()}
	for i := 0; i < n && s.alive(); i += each {
		for side := range want {
			s.write(side, want[side][i:i+each]...)
			s.idle(rng.Int64N(3_000_000))
		}
		if rng.IntN(3) == 0 {
			m := mishaps[rng.IntN(len(mishaps))]
			happened = append(happened, m.name)
			m.do(s, rng)
		}
		if rng.IntN(10) == 0 && len(early) > 0 { // an old packet comes again
			p, rest, err := ParsePacket(early)
			s.arrive(item{to: 1, data: bytes.Clone(early[:len(early)-len(rest)])})
			if early = rest; err != nil {
				t.Fatal(p, err)
			}
		}
		if !s.alive() {
			break
		}
	}
	if s.alive() {
		s.catchUp()
		s.wire.loss, s.wire.burst = min(s.wire.loss, 0.05), 0
	}
	s.run(func() bool { return !s.alive() || len(s.got[1]) == n && len(s.got[0]) == n }, 60e9)
	if !s.alive() {
		t.Fatalf("closed: %+v %+v after %q (no such thing kills a link)", s.closed[0], s.closed[1], happened)
	}
	if len(s.got[0]) != n || len(s.got[1]) != n {
		t.Fatalf("%d and %d of %d came: %+v, %+v after %q", len(s.got[1]), len(s.got[0]), n, s.conn[0].Stats(), s.conn[1].Stats(), happened)
	}
	checkOrder(t, want[0], s.got[1])
	checkOrder(t, want[1], s.got[0])
	s.checkQuiet(happened)
	s.checkCost(start, payload, happened)
	return s.trace.Sum64()
}

// classOfStream gives all messages of a stream one class: that is how classes
// are used.
func classOfStream(ms []Message) {
	class := map[uint32]Class{}
	for i, m := range ms {
		if c, ok := class[m.Stream]; ok {
			ms[i].Class = c
		}
		class[m.Stream] = ms[i].Class
	}
}

func (s *sim) alive() bool { return s.closed[0] == nil && s.closed[1] == nil }

// checkQuiet: when all has arrived nothing is left over, on either side.
func (s *sim) checkQuiet(happened []string) {
	s.t.Helper()
	s.wire.loss, s.wire.corrupt = 0, 0
	if !s.run(func() bool { return s.conn[0].send.idle() && s.conn[1].send.idle() }, 5e9) {
		s.t.Fatalf("not acknowledged: %+v, %+v after %q", s.conn[0].Stats(), s.conn[1].Stats(), happened)
	}
	s.idle(2e9)
	for side, c := range s.conn {
		held := 0
		for _, st := range c.recv.streams {
			held += len(st.pending) + len(st.complete)
		}
		for i := range c.lanes {
			if l := &c.lanes[i]; l.cong.pipe != 0 && len(l.sent) == 0 || len(l.sent) > 2*rememberedAlone {
				s.t.Fatalf("side %d, lane %d is left with %d octets in the pipe, %d packets, %+v after %q", side, i, l.cong.pipe, len(l.sent), c.Stats(), happened)
			}
		}
		if !c.send.idle() || c.recv.held != 0 || held != 0 || len(c.recv.blocked) != 0 {
			s.t.Fatalf("side %d is left with %d octets held, %d pieces, %+v after %q", side, c.recv.held, held, c.Stats(), happened)
		}
	}
}

// checkCost: what is sent is in proportion to what is said. Nothing is sent
// again and again.
func (s *sim) checkCost(start [2]Stats, payload int, happened []string) {
	octets, packets := 0, 0
	for side, c := range s.conn {
		octets += int(c.stats.OctetsSent - start[side].OctetsSent)
		packets += int(c.stats.PacketsSent - start[side].PacketsSent)
	}
	if octets > 4*payload+1_000_000 {
		s.t.Errorf("%d octets in %d packets for %d of messages: %+v, %+v after %q", octets, packets, payload, s.conn[0].Stats(), s.conn[1].Stats(), happened)
	}
}

// Whatever happens to a link that a link survives: everything arrives, once, in
// its order; nothing is left over; what is kept has bounds; what is sent is in
// proportion; and all that is sent follows from the seed.
func TestDeliveryInAnyWorld(t *testing.T) {
	for seed := range uint64(*seeds) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			sum := live(t, seed)
			if seed%16 == 0 && live(t, seed) != sum {
				t.Error("the same seed sent other octets")
			}
		})
	}
}

// A link that is cut for longer than the keep-alive goes down on both sides, with
// a reason and in time, and what had arrived until then was in order.
func TestDeliveryUntilCut(t *testing.T) {
	for seed := range uint64(*seeds) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			s, rng, _ := world(t, seed)
			if s == nil {
				return
			}
			var want [2][]Message
			for side := range want {
				want[side] = randomMessages(rng, 100, 20, 3000, 30_000)
				s.write(side, want[side]...)
			}
			s.idle(rng.Int64N(300_000_000))
			s.wire.loss = 1
			cut := s.now
			if !s.run(func() bool { return s.closed[0] != nil && s.closed[1] != nil }, 10e9) {
				t.Fatalf("still up: %+v %+v", s.conn[0].Stats(), s.conn[1].Stats())
			}
			for side, e := range s.closed {
				if e.Code != CodeKeepAlive {
					t.Errorf("side %d closed: %+v", side, e)
				}
			}
			if took := s.now.Sub(cut); took > 1_200_000_000 {
				t.Errorf("took %d ms", took/1e6)
			}
			checkPrefix(t, want[0], s.got[1])
			checkPrefix(t, want[1], s.got[0])
		})
	}
}

// checkPrefix is checkOrder for what came of a connection that ended.
func checkPrefix(t *testing.T, want, got []Message) {
	t.Helper()
	came := make([]bool, len(want))
	next := map[uint32]uint32{}
	for _, m := range got {
		order := int(binary.BigEndian.Uint32(m.Data[8:]))
		if index := binary.BigEndian.Uint32(m.Data[4:]); index != next[m.Stream] || came[order] || !bytes.Equal(m.Data, want[order].Data) {
			t.Fatalf("stream %d: message %d came, %d is next", m.Stream, index, next[m.Stream])
		}
		for o, w := range want {
			if o < order && !came[o] && (want[order].Fence != NoFence || w.Fence == Barrier) || o > order && came[o] && w.Fence != NoFence {
				t.Fatalf("message %d and %d were delivered in the wrong order", o, order)
			}
		}
		next[m.Stream]++
		came[order] = true
	}
}
