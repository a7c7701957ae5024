package distlink

import (
	"testing"

	tsn "tsnswitch"
)

// order runs messages through a link on which the first datagram after the
// set-up is lost, and returns the streams in the order of delivery.
func order(t *testing.T, messages ...Message) (before, after []uint32) {
	t.Helper()
	s := connected(t, wire{delay: 1_000_000}, Config{})
	s.tooLong = 400 // drops what carries the first, long message; nothing else
	s.write(0, messages[0])
	s.run(func() bool { return false }, 100_000)
	s.tooLong = 0
	for _, m := range messages[1:] {
		s.write(0, m)
		s.run(func() bool { return false }, 100_000) // a datagram each
	}
	s.run(func() bool { return false }, 2_000_000) // before anything is repaired
	n := len(s.got[1])
	s.run(func() bool { return len(s.got[1]) == len(messages) }, 1e9)
	var streams []uint32
	for _, m := range s.got[1] {
		streams = append(streams, m.Stream)
	}
	if len(streams) != len(messages) {
		t.Fatalf("%d of %d came", len(streams), len(messages))
	}
	return streams[:n], streams[n:]
}

// PROTOCOL.md, Order and fence, rule by rule: message 1 is lost on its way, the
// others are there. What has to wait for it waits, and nothing else does.
func TestOrderRules(t *testing.T) {
	lost := Message{Stream: 1, Data: make([]byte, 450)}
	small := func(stream uint32, f Fence) Message { return Message{Stream: stream, Fence: f, Data: []byte("x")} }
	for name, c := range map[string]struct {
		then []Message
		wait int // how many of all wait for the lost one, itself included
	}{
		"another stream goes past":                  {[]Message{small(2, NoFence)}, 1},
		"the same stream waits":                     {[]Message{small(1, NoFence), small(2, NoFence)}, 2},
		"after all waits on any stream":             {[]Message{small(2, AfterAll)}, 2},
		"what comes behind after-all does not wait": {[]Message{small(2, AfterAll), small(3, NoFence)}, 2},
		"but on its stream it does":                 {[]Message{small(2, AfterAll), small(2, NoFence), small(3, NoFence)}, 3},
		"a barrier holds all behind it":             {[]Message{small(2, Barrier), small(3, NoFence), small(4, NoFence)}, 4},
		"two barriers":                              {[]Message{small(2, Barrier), small(3, Barrier), small(1, NoFence)}, 4},
	} {
		before, after := order(t, append([]Message{lost}, c.then...)...)
		if len(after) != c.wait || after[0] != 1 {
			t.Errorf("%s: before the repair came %d, after it %d", name, before, after)
		}
	}
}

// A driver that steps but sends nothing, or a fault in here, does not look like
// a living connection: the link goes down with a reason, and that is counted.
func TestStarvationTakesLinkDown(t *testing.T) {
	s := connected(t, wire{delay: 100_000}, Config{})
	c := s.conn[0]
	s.write(0, Message{Data: make([]byte, 10)})
	s.run(func() bool { return len(s.got[1]) == 1 }, 1e9)
	// The fault: a stream that nobody takes a turn for.
	c.send.classes[Bulk].queued += 1000
	for i := 0; s.closed[0] == nil && i < 4000; i++ {
		s.now = s.now.Add(1_000_000)
		c.live.heard(s.now)
		c.lanes[0].rtt.lastSent = s.now
		c.live.watch(c, s.now, false)
		if c.state == closed {
			break
		}
	}
	if st := c.Stats(); c.state != closed || st.Starved != 1 {
		t.Fatalf("state %d, %+v", c.state, st)
	}
}

// A process that was away while something was queued has not starved it.
func TestAbsenceIsNotStarvation(t *testing.T) {
	s := connected(t, wire{delay: 20_000_000}, Config{Window: 10_000})
	c := s.conn[0]
	s.write(0, Message{Data: make([]byte, 100_000)})
	for range 6 {
		s.now = s.now.Add(1_000_000)
		c.live.watch(c, s.now, false) // steps in which the window lets nothing go
	}
	s.now = s.now.Add(5_000_000_000)
	c.live.watch(c, s.now, false)
	if st := c.Stats(); c.state == closed || st.Starved != 0 {
		t.Fatalf("state %d, %+v", c.state, st)
	}
}

// A peer that is slow, or a process that does not run for long, is not dead; a
// peer that is gone is, in less than a second, busy or idle (PROTOCOL.md, liveness).
func TestDeathIsFastAndNeverFalse(t *testing.T) {
	// Pauses of either side just under the keep-alive time, with and without load.
	for _, busy := range []bool{false, true} {
		s := connected(t, wire{delay: 100_000, loss: 0.05}, Config{})
		for i := range 50 {
			if busy {
				s.write(i%2, Message{Stream: 1, Data: make([]byte, 20_000)})
			}
			s.run(func() bool { return false }, 100_000_000)
			s.pause(i%2, 600_000_000)
			if s.closed[0] != nil || s.closed[1] != nil {
				t.Fatalf("pause %d: %+v %+v", i, s.closed[0], s.closed[1])
			}
		}
	}
}

// pause lets one side not run for a while; what came for it waits.
func (s *sim) pause(side int, ns int64) {
	s.paused = [2]bool{}
	s.paused[side] = true
	s.run(func() bool { return false }, ns)
	s.paused = [2]bool{}
	held := s.held
	s.held = nil
	for _, it := range held {
		s.arrive(it)
	}
}

var _ tsn.Machine = (*Conn)(nil)
