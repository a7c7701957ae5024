package distlink

import (
	"testing"

	tsn "tsnswitch"
)

var ownLanes = map[Class]tsn.Rate{Bulk: 0, Configured: 0, Control: 0}

// flood keeps the queue of bulk full for two thirds of the time.
func (s *sim) flood(from int) {
	for range 30 {
		s.enqueue(from, 1+int(Bulk), func() {}, 1430)
	}
	s.after(5_400_000, func() { s.flood(from) })
}

// What a datagram of a higher class overtakes is not lost: nobody sends it again.
// In one lane the same is taken for loss.
func TestOvertakenIsNotLost(t *testing.T) {
	for name, own := range map[string]map[Class]tsn.Rate{"own lanes": ownLanes, "one lane, other queues": nil} {
		s := connected(t, wire{delay: 50_000, rate: 100 * tsn.Mbps, strict: true}, Config{Lanes: own, Window: 1 << 20})
		if own == nil { // some overtake others
			n := 0
			s.sort = func([]byte) int { n++; return map[bool]int{true: 3, false: 1}[n%12 < 4] }
		}
		s.flood(0)
		s.write(0, Message{Stream: 1, Class: Bulk, Data: make([]byte, 4<<20)})
		var slowest int64
		for i := range 200 {
			start := s.now
			s.write(0, message(2, i, i, NoFence, 64, s.rng).of(Control), message(3, i, i, NoFence, 2000, s.rng).of(Configured))
			s.run(func() bool { return s.count(1, 2) == i+1 }, 1e9)
			slowest = max(slowest, s.now.Sub(start))
			s.run(func() bool { return false }, 2_000_000)
		}
		if !s.run(func() bool { return s.count(1, 1) == 1 && s.count(1, 3) == 200 }, 60e9) {
			t.Fatalf("%s: not finished: %+v, %+v", name, s.conn[0].Stats(), s.closed[0])
		}
		st := s.conn[0].Stats()
		t.Logf("%s: %d datagrams by class %v, %d segments sent again, %d probes; control took up to %d us",
			name, st.PacketsSent, st.ClassSent, st.Retransmitted, st.Probes, slowest/1000)
		if spurious := st.Retransmitted; own != nil && spurious > 20 || own == nil && spurious < 100 {
			t.Errorf("%s: %d segments were sent again, and nothing was lost", name, spurious)
		}
		if own != nil && slowest > 500_000 {
			t.Errorf("control took %d us beside bulk", slowest/1000)
		}
	}
}

func (m Message) of(k Class) Message { m.Class = k; return m }

// count is how many messages of a stream a side has got.
func (s *sim) count(side int, stream uint32) (n int) {
	for _, m := range s.got[side] {
		if m.Stream == stream {
			n++
		}
	}
	return n
}
