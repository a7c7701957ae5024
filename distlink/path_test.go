package distlink

import (
	"bytes"
	"net/netip"
	"testing"

	tsn "tsnswitch"
)

// A client that moves in the middle of a transfer is followed after one
// challenge, and what was under way arrives (PROTOCOL.md, Moving).
func TestPeerMoves(t *testing.T) {
	for _, keys := range [][]Key{nil, testKeys} {
		s := connected(t, wire{delay: 100_000}, Config{Keys: keys})
		want := make([]byte, 300_000)
		s.write(0, Message{Stream: 1, Data: want})
		s.write(1, Message{Stream: 1, Data: want})
		s.run(func() bool { return false }, 300_000)
		s.move(netip.MustParseAddrPort("10.0.0.9:999"))
		if !s.run(func() bool { return len(s.got[0]) == 1 && len(s.got[1]) == 1 }, 5e9) {
			t.Fatalf("not finished: %+v, %v %v", s.conn[1].Stats(), s.closed[0], s.closed[1])
		}
		if st := s.conn[1].Stats(); st.Moves != 1 || s.conn[1].remote != s.addr {
			t.Errorf("moves %d, peer at %v", st.Moves, s.conn[1].remote)
		}
		if !bytes.Equal(s.got[0][0].Data, want) {
			t.Error("content differs")
		}
	}
}

// A packet that came from elsewhere makes the server send there at most what
// came from there, and the connection stays where the peer is.
func TestSpoofedSourceGetsNoMoreThanItSent(t *testing.T) {
	s := connected(t, wire{delay: 100_000}, Config{Keys: testKeys})
	victim := netip.MustParseAddrPort("192.0.2.1:53")
	var in, out, packets int
	s.tap = func(from int, data []byte) {
		if from != 0 {
			return
		}
		packets++
		in += len(data) // every packet of the client comes a first time from the victim's address
		for _, e := range s.conn[1].Step(s.now, Datagram{From: victim, Data: bytes.Clone(data)}) {
			switch e := e.(type) {
			case Transmit:
				if e.To == victim {
					out += len(e.Data)
				}
			case Deliver:
				s.got[1] = append(s.got[1], e.Message)
			}
		}
	}
	for i := range 50 {
		s.write(0, message(1, i, i, NoFence, 20, s.rng))
		s.run(func() bool { return false }, 10_000_000)
	}
	if packets < 50 || out == 0 || out > in {
		t.Errorf("%d octets sent to the victim for %d in %d packets", out, in, packets)
	}
	if s.conn[1].remote != clientAddr || s.conn[1].Stats().Moves != 0 {
		t.Errorf("moved to %v", s.conn[1].remote)
	}
}

// The path's MTU is found, and found again when it shrinks, while data goes on
// arriving (RFC 8899).
func TestPathMTU(t *testing.T) {
	s := connected(t, wire{delay: 100_000}, Config{})
	if d := s.conn[0].Stats().Datagram; d != 1472 {
		t.Errorf("datagrams of %d octets on a path that takes all", d)
	}
	s = newSim(t, 4, wire{delay: 100_000, loss: 0.02}, Config{MaxDatagram: 9000})
	s.tooLong = 4000
	write := func(n int) {
		t.Helper()
		want := len(s.got[1]) + n
		for range n {
			s.write(0, Message{Stream: 1, Data: make([]byte, 20_000)})
		}
		if !s.run(func() bool { return len(s.got[1]) == want }, 20e9) {
			t.Fatalf("stuck: %+v %v", s.conn[0].Stats(), s.closed[0])
		}
	}
	s.run(func() bool { return s.up[0] }, 5e9)
	write(50)
	s.run(func() bool { return false }, 5e9)
	if d := s.conn[0].Stats().Datagram; d < 4000-mtuGrain || d > 4000 {
		t.Errorf("datagrams of %d octets, the path takes 4000", d)
	}
	s.tooLong = 2000
	write(50)
	s.run(func() bool { return false }, 5e9)
	write(50)
	s.run(func() bool { return false }, 20e9)
	if st := s.conn[0].Stats(); st.Datagram < 2000-mtuGrain || st.Datagram > 2000 || st.BlackHoles == 0 {
		t.Errorf("datagrams of %d octets, the path takes 2000 now, black holes %d", st.Datagram, st.BlackHoles)
	}
}

// Loss of everything that queues overflow with is no black hole.
func TestCongestionIsNoBlackHole(t *testing.T) {
	s := connected(t, wire{delay: 1_000_000, rate: 100 * tsn.Mbps, queue: 1e6}, Config{})
	s.write(0, Message{Stream: 1, Data: make([]byte, 20<<20)})
	if !s.run(func() bool { return len(s.got[1]) == 1 }, 10e9) {
		t.Fatal("not finished")
	}
	if st := s.conn[0].Stats(); st.BlackHoles != 0 || st.Datagram != 1472 || st.Retransmitted == 0 {
		t.Errorf("%+v", st)
	}
}
