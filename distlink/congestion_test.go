package distlink

import (
	"slices"
	"testing"

	tsn "tsnswitch"
)

// Without a configured rate a transfer fills the link and still leaves its
// queue short: small messages beside it do not wait.
func TestBulkLeavesQueuesShort(t *testing.T) {
	for _, buffer := range []int64{5e6, 20e6, 200e6} {
		s := connected(t, wire{delay: 100_000, rate: 100 * tsn.Mbps, queue: buffer}, Config{Window: 1 << 20, MaxMessage: 1 << 30})
		start, before := s.now, s.conn[0].stats.OctetsSent
		s.write(0, Message{Stream: 1, Data: make([]byte, 64<<20)})
		var took []int64
		for s.now < start.Add(3e9) {
			sent, n := s.now, len(s.got[1])
			s.write(0, Message{Stream: 2, Data: []byte("call")})
			if !s.run(func() bool { return len(s.got[1]) > n }, 2e9) {
				t.Fatal("lost")
			}
			took = append(took, s.now.Sub(sent))
			s.run(func() bool { return false }, 2_000_000)
		}
		slices.Sort(took)
		mbit := int64(s.conn[0].stats.OctetsSent-before) * 8000 / s.now.Sub(start)
		p50, p99 := took[len(took)/2], took[len(took)*99/100]
		t.Logf("buffer %d ms: p50 %d us, p99 %d us, %d Mbit/s", buffer/1e6, p50/1000, p99/1000, mbit)
		if p50 > 3e6 || p99 > 10e6 || mbit < 85 {
			t.Errorf("buffer %d ms: p50 %d us, p99 %d us, %d Mbit/s", buffer/1e6, p50/1000, p99/1000, mbit)
		}
	}
}

// Two connections through one bottleneck share it, whoever came first.
func TestTwoShareABottleneck(t *testing.T) {
	var pipe tsn.Instant
	var ends [2]*sim
	for i := range ends {
		ends[i] = newSim(t, uint64(20+i), wire{delay: 200_000, rate: 100 * tsn.Mbps, queue: 10e6}, Config{Window: 1 << 20, MaxMessage: 1 << 30})
		ends[i].pipe = &pipe
	}
	run := func(until tsn.Instant) {
		for {
			a, b := ends[0].nextAt(), ends[1].nextAt()
			if min(a, b) >= until {
				return
			}
			if a <= b {
				ends[0].step(until)
			} else {
				ends[1].step(until)
			}
		}
	}
	run(1e8)
	ends[0].write(0, Message{Stream: 1, Data: make([]byte, 512<<20)})
	run(2e9)
	ends[1].now = max(ends[1].now, 2e9)
	ends[1].write(0, Message{Stream: 1, Data: make([]byte, 512<<20)})
	run(4e9) // time to come together
	var before, got [2]uint64
	for i, s := range ends {
		before[i] = s.conn[0].stats.OctetsSent
	}
	run(14e9)
	for i, s := range ends {
		got[i] = (s.conn[0].stats.OctetsSent - before[i]) * 8 / 10e6
	}
	t.Logf("%d and %d Mbit/s", got[0], got[1])
	if got[0]+got[1] < 85 || min(got[0], got[1])*3 < max(got[0], got[1]) {
		t.Errorf("%d and %d Mbit/s of 100", got[0], got[1])
	}
}

// Losses halve nothing but the window: a link with 1 % of random loss is used.
func TestRandomLossIsSurvived(t *testing.T) {
	s := connected(t, wire{delay: 100_000, rate: 100 * tsn.Mbps, queue: 20e6, loss: 0.01}, Config{MaxMessage: 1 << 30})
	start := s.now
	s.write(0, Message{Stream: 1, Data: make([]byte, 20<<20)})
	if !s.run(func() bool { return len(s.got[1]) == 1 }, 20e9) {
		t.Fatalf("not finished: %+v", s.conn[0].Stats())
	}
	if mbit := 8 * (20 << 20) * 1000 / s.now.Sub(start); mbit < 60 {
		t.Errorf("%d Mbit/s", mbit)
	}
}

// A control message goes before configured streams, these before bulk, and
// streams of a class take turns.
func TestClasses(t *testing.T) {
	s := connected(t, wire{delay: 100_000, rate: 100 * tsn.Mbps, queue: 100e6}, Config{Rate: 90 * tsn.Mbps, Window: 1 << 20})
	for i := range 10 { // all at once
		s.write(0, Message{Stream: uint32(10 + i), Data: make([]byte, 1<<20)})
	}
	s.run(func() bool { return false }, 50_000_000)
	s.write(0, Message{Stream: 3, Class: Configured, Data: make([]byte, 200_000)})
	s.write(0, Message{Stream: 4, Class: Configured, Data: make([]byte, 200_000)})
	s.write(0, Message{Stream: 2, Class: Control, Data: make([]byte, 100_000)})
	if !s.run(func() bool { return len(s.got[1]) == 13 }, 5e9) {
		t.Fatalf("%+v", s.conn[0].Stats())
	}
	var order []uint32
	for _, m := range s.got[1] {
		order = append(order, m.Stream)
	}
	if order = order[:3]; order[0] != 2 || min(order[1], order[2]) != 3 || max(order[1], order[2]) != 4 {
		t.Errorf("first came %d, want 2 and then 3 and 4", order)
	}
}

// Bulk that the peer's reader does not take leaves credit for control.
func TestBulkLeavesCredit(t *testing.T) {
	s := connected(t, wire{delay: 100_000}, Config{Window: 16 << 10})
	s.autoRead = false
	for range 20 {
		s.write(0, Message{Stream: 1, Data: make([]byte, 2000)})
	}
	s.run(func() bool { return false }, 100_000_000)
	n := len(s.got[1])
	s.write(0, Message{Stream: 2, Class: Control, Data: []byte("now")})
	if !s.run(func() bool { return len(s.got[1]) > n }, 1e9) || s.got[1][n].Stream != 2 {
		t.Errorf("control waits for bulk: %+v", s.conn[0].Stats())
	}
}

// A window that was enough for short packets does not hold up long ones for ever.
func TestWindowShorterThanAPacket(t *testing.T) {
	s := connected(t, wire{delay: 100_000}, Config{MaxDatagram: 9000})
	c := s.conn[0]
	l := c.lane(Bulk)
	if l.mtu.size != 9000 {
		t.Fatalf("datagrams of %d octets", l.mtu.size)
	}
	l.cong.window, l.cong.threshold = 8400, 8400 // as after a loss among packets of 1200
	s.write(0, Message{Data: make([]byte, 100_000)})
	if !s.run(func() bool { return len(s.got[1]) == 1 }, 1e9) {
		t.Errorf("nothing came: %+v", c.Stats())
	}
}

// Packets sent again whose segments arrived by the first ones, and that are lost:
// nobody waits for them but the window, and it does not wait long.
func TestWindowFullOfNothing(t *testing.T) {
	s := connected(t, wire{delay: 100_000}, Config{})
	l := s.conn[0].lane(Bulk)
	l.cong.window, l.cong.threshold = 3600, 3600
	for range 2 {
		l.sent = append(l.sent, sentPacket{at: s.now, segments: []*outSegment{{acked: true}}, size: 1472, piped: 1472, eliciting: true})
		l.cong.pipe += 1472
	}
	s.write(0, Message{Data: make([]byte, 100_000)})
	if !s.run(func() bool { return len(s.got[1]) == 1 }, 100_000_000) {
		t.Errorf("nothing came: %+v", s.conn[0].Stats())
	}
}
