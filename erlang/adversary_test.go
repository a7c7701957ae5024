package erlang_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"tsnswitch/distlink"
	"tsnswitch/distlink/beamtest"
)

// guarded answers how many processes the node has, its memory and what its door
// has seen.
const guarded = `register(guard, self()), io:format("ready~n"), F = fun F() -> receive {P, Ref} ->
 [erlang:garbage_collect(X) || X <- processes()], D = distlink:door(),
 P ! {Ref, [erlang:system_info(process_count), erlang:memory(total) div 1024 | [map_get(K, D) || K <- [accepted, retries, bad_tokens, full, resets, malformed]]]}, F() end end, F()`

// calling calls all the time, and on a line of input says how the calls since the
// last went and what the guard says.
func calling(peer string) string {
	return fmt.Sprintf(`pong = net_adm:ping('%[1]s'), P = self(), spawn(fun F() -> case io:get_line("") of eof -> ok; _ -> P ! report, F() end end), io:format("calling~n"),
 L = fun L(Times) -> receive report when Times =/= [] -> R = make_ref(), {guard, '%[1]s'} ! {self(), R}, receive {R, G} -> ok end,
   S = lists:sort(Times), {ok, #{duplicates := D, forged := Fg, moves := M}} = rpc:call('%[1]s', distlink, stats, [node()]),
   io:format("report ~0p~n", [{length(S), lists:nth(length(S) div 2 + 1, S), lists:nth(length(S) * 99 div 100 + 1, S), G, [D, Fg, M]}]), L([])
  after 0 -> T = erlang:monotonic_time(microsecond), ok = rpc:call('%[1]s', erlang, apply, [fun() -> ok end, []]),
   Took = erlang:monotonic_time(microsecond) - T, receive after 2 -> ok end, L([Took | Times]) end end, L([])`, peer)
}

// report is what the calling node says.
type report struct {
	calls, p50, p99                                       int // microseconds
	processes, kib                                        int
	accepted, retries, badTokens, full, resets, malformed int // of the door
	duplicates, forged, moves                             int // of the connection that is called by
}

func ask(t *testing.T, a *beamtest.Node) (r report) {
	t.Helper()
	a.Say("report")
	l := a.Expect("report {", patience)
	if _, err := fmt.Sscanf(l, "report {%d,%d,%d,[%d,%d,%d,%d,%d,%d,%d,%d],[%d,%d,%d]}", &r.calls, &r.p50, &r.p99, &r.processes, &r.kib,
		&r.accepted, &r.retries, &r.badTokens, &r.full, &r.resets, &r.malformed, &r.duplicates, &r.forged, &r.moves); err != nil {
		t.Fatalf("%s: %v", l, err)
	}
	return r
}

// calls waits for enough calls to compare with.
func calls(t *testing.T, a *beamtest.Node) (r report) {
	t.Helper()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for range 60 {
		<-tick.C
		if r = ask(t, a); r.calls >= 50 {
			return r
		}
	}
	t.Fatalf("%d calls in a second", r.calls)
	return r
}

// attacker has a socket, and counts what it sends and what comes back.
type attacker struct {
	*net.UDPConn
	sent, came int
}

func newAttacker(t *testing.T, from string, to netip.AddrPort) *attacker {
	t.Helper()
	c, err := net.DialUDP("udp4", &net.UDPAddr{IP: net.ParseIP(from)}, net.UDPAddrFromAddrPort(to))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return &attacker{UDPConn: c}
}

func (a *attacker) send(b []byte) {
	a.sent += len(b)
	_, _ = a.Write(b)
}

// next is the next datagram that comes within a time.
func (a *attacker) next(within time.Duration) []byte {
	_ = a.SetReadDeadline(time.Now().Add(within))
	b := make([]byte, 2000)
	n, err := a.Read(b)
	if err != nil {
		return nil
	}
	a.came += n
	return b[:n]
}

func (a *attacker) drain() {
	for a.next(50*time.Millisecond) != nil {
	}
}

func initPacket(id uint64, token []byte) []byte {
	return distlink.AppendPacket(nil, distlink.Packet{
		Type: distlink.TypeInit, Version: distlink.Version, Token: token,
		Params: distlink.Params{SourceID: id, MaxDatagram: 1472, Window: 1 << 20, AckDelay: 1000},
	})
}

// connect sets up a connection without security: the id that DATA goes to.
func (a *attacker) connect(t *testing.T, id uint64) (uint64, distlink.Code) {
	t.Helper()
	var token []byte
	for range 50 {
		a.send(initPacket(id, token))
		b := a.next(time.Second)
		p, _, err := distlink.ParsePacket(b)
		switch {
		case err != nil:
		case p.Type == distlink.TypeRetry && p.DestID == id:
			token = bytes.Clone(p.Token)
		case p.Type == distlink.TypeAccept && p.DestID == id:
			return p.Params.SourceID, 0
		case p.Type == distlink.TypeRefuse && p.DestID == id:
			return 0, p.Code
		}
	}
	t.Fatal("the door does not answer")
	return 0, 0
}

func dataPacket(dest, number uint64, frames ...distlink.Frame) []byte {
	var b []byte
	for _, f := range frames {
		b = distlink.AppendFrame(b, f)
	}
	return distlink.AppendPacket(nil, distlink.Packet{Type: distlink.TypeData, Version: distlink.Version, DestID: dest, PacketNumber: number, Frames: b})
}

// A BEAM node's door and a peer's connection under all that strangers send: nothing is
// answered with more than came, nothing is kept, and calls go on.
func TestAdversary(t *testing.T) {
	port := beamtest.Port(t, addrA, addrB)
	b := beamtest.Start(t, "distlink", "b@"+addrB, port, guarded, "-distlink_ip", addrB)
	a := beamtest.Start(t, "distlink", "a@"+addrA, port, calling(b.Name), "-distlink_ip", addrA)
	b.Expect("ready", patience)
	a.Expect("calling", patience)
	door := netip.AddrPortFrom(netip.MustParseAddr(addrB), uint16(port))
	rng := rand.New(rand.NewPCG(1, 1))
	before := calls(t, a)
	golden := goldenPackets(t)

	t.Run("floods", func(t *testing.T) {
		sources := make([]*attacker, 50) // addresses that are not the sender's, for all the node knows
		for i := range sources {
			sources[i] = newAttacker(t, fmt.Sprintf("127.66.%d.%d", i/250, 1+i%250), door)
		}
		for i := range 20_000 {
			s := sources[i%len(sources)]
			switch i % 4 {
			case 0:
				s.send(initPacket(rng.Uint64()|1, nil))
			case 1:
				s.send(initPacket(rng.Uint64()|1, bytes.Repeat([]byte{byte(i)}, 24)))
			case 2:
				s.send(dataPacket(rng.Uint64(), rng.Uint64(), &distlink.Ping{}, &distlink.CloseFrame{Code: 3}))
			default:
				s.send(changed(rng, golden))
			}
		}
		sent, came := 0, 0
		for _, s := range sources {
			s.drain()
			sent, came = sent+s.sent, came+s.came
			if s.came > s.sent {
				t.Errorf("%d octets came back for %d", s.came, s.sent)
			}
		}
		after := ask(t, a)
		t.Logf("%d octets sent, %d came back, calls meanwhile %.2f times as long; %+v", sent, came, float64(after.p50)/float64(before.p50), after)
		if after.retries == before.retries || after.badTokens == before.badTokens || after.resets == before.resets || after.malformed == before.malformed {
			t.Errorf("not counted: %+v", after)
		}
		same(t, before, after)
	})

	t.Run("connections without a handshake", func(t *testing.T) {
		refused, tried := 0, 0
		for ; refused < 16 && tried < 500; tried++ { // a connection's socket takes all that comes from where its peer is
			if _, code := newAttacker(t, "127.66.9.9", door).connect(t, uint64(1000+tried)); code == distlink.CodeResources {
				refused++
			}
		}
		// Another address is not refused.
		if _, code := newAttacker(t, "127.66.9.10", door).connect(t, 5); code != 0 {
			t.Errorf("another address is refused: %v", code)
		}
		during := ask(t, a)
		if refused < 16 || tried < 64+16 || during.full-before.full != refused {
			t.Errorf("%d of %d were refused, %+v", refused, tried, during)
		}
		t.Logf("%d of %d were refused, %d KiB for the others", refused, tried, during.kib-before.kib)
		gone(t, a, before)
	})

	// Each of these is a peer that is let in and goes mad.
	for name, frames := range map[string]func(i int) []distlink.Frame{
		"too many streams": func(i int) []distlink.Frame {
			return []distlink.Frame{&distlink.Segment{Stream: uint32(i), First: true, Last: true, Order: uint64(i)}}
		},
		"credit": func(i int) []distlink.Frame {
			return []distlink.Frame{&distlink.Segment{Stream: 1, Offset: 1 << 61, Data: []byte("x")}}
		},
		"an ACK of what was not sent": func(int) []distlink.Frame {
			return []distlink.Frame{&distlink.Ack{Ranges: []distlink.AckRange{{Low: 0, High: 1 << 40}}}}
		},
		"orders with gaps": func(i int) []distlink.Frame {
			return []distlink.Frame{&distlink.Segment{Stream: 1, Offset: uint64(i), First: true, Last: true, Order: uint64(2*i + 2)}}
		},
		"a message within a message": func(i int) []distlink.Frame {
			return []distlink.Frame{&distlink.Segment{Stream: 1, Offset: uint64(i), First: true, Data: []byte("x")}}
		},
		"a handshake that is none": func(i int) []distlink.Frame {
			return []distlink.Frame{&distlink.Segment{Stream: 0, Offset: uint64(4 * i), First: true, Last: true, Order: uint64(i), Data: []byte("XXX")}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newAttacker(t, "127.66.9.11", door)
			id, code := s.connect(t, rng.Uint64()|1)
			if code != 0 {
				t.Fatal(code)
			}
			ended := false
			for i := 0; !ended && i < 9000; i++ {
				s.send(dataPacket(id, uint64(i), frames(i)...))
				if i%16 == 0 {
					for d := s.next(time.Millisecond); d != nil && !ended; d = s.next(time.Millisecond) {
						ended = ends(d)
					}
				}
			}
			for range 40 {
				ended = ended || ends(s.next(500*time.Millisecond))
				if ended {
					break
				}
			}
			if !ended {
				t.Error("it is still there")
			}
		})
	}
	gone(t, a, before)

	after := ask(t, a)
	rest := calls(t, a)
	t.Logf("calls: p50 %d us before, %d us in the end: ratio %.2f", before.p50, rest.p50, float64(rest.p50)/float64(before.p50))
	same(t, before, after)
}

// ends reports whether a datagram has a CLOSE in it, or says that the connection
// is not known any more.
func ends(b []byte) (yes bool) {
	p, _, err := distlink.ParsePacket(b)
	if err == nil && p.Type == distlink.TypeReset {
		return true
	}
	_ = distlink.ParseFrames(p.Frames, func(f distlink.Frame) bool {
		_, yes = f.(*distlink.CloseFrame)
		return !yes
	})
	return yes
}

// same: nothing has stayed, and the connection that is called by is as it was.
func same(t *testing.T, before, after report) {
	t.Helper()
	if after.processes > before.processes+3 || after.kib > before.kib+30_000 {
		t.Errorf("%d processes and %d KiB before, %d and %d after", before.processes, before.kib, after.processes, after.kib)
	}
	if after.calls == 0 || after.moves != before.moves {
		t.Errorf("calls %d, moves %d", after.calls, after.moves)
	}
}

// gone waits until the node has no more processes than before.
func gone(t *testing.T, a *beamtest.Node, before report) {
	t.Helper()
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	var r report
	for range 120 {
		if r = ask(t, a); r.processes <= before.processes+3 {
			same(t, before, r)
			return
		}
		<-tick.C
	}
	t.Errorf("%d processes before, still %d", before.processes, r.processes)
}

// What was recorded of a connection and comes again, from its own address or from
// another, does nothing; nor do packets that are made up with what was seen.
func TestReplayedSession(t *testing.T) {
	for name, keys := range map[string]bool{"no keys": false, "keys": true} {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			args := []string{"-distlink_security", "none"}
			if keys {
				needCrypto(t)
				args = []string{"-distlink_psk", keyFile(t, keyOne)}
			}
			port := beamtest.Port(t, addrA, addrB, addrRelay)
			name := "b@" + addrRelay
			relay := beamtest.NewRelay(t, fmt.Sprintf("%s:%d", addrRelay, port), fmt.Sprintf("%s:%d", addrB, port), &beamtest.Relay{Record: 300})
			b := beamtest.Start(t, "distlink", name, port, guarded, append(args, "-distlink_ip", addrB)...)
			b.Expect("ready", patience)
			a := beamtest.Start(t, "distlink", "a@"+addrA, port, calling(name), append(args, "-distlink_ip", addrA)...)
			a.Expect("calling", patience)
			relay.Recorded(t) // until there is enough
			before := ask(t, a)
			stranger := newAttacker(t, "127.66.9.12", netip.AddrPortFrom(netip.MustParseAddr(addrB), uint16(port)))
			var forged int
			for i, d := range relay.Recorded(t) {
				stranger.send(d)
				relay.Again(d)
				p, _, err := distlink.ParsePacket(d)
				if err != nil || p.Type != distlink.TypeData {
					continue
				}
				// A number not yet used, an end that is not the peer's.
				if keys {
					relay.Again(dataPacket(p.DestID, uint64(100_000+i), &distlink.CloseFrame{Code: 0, Text: "forged"}))
					forged++
				}
				relay.Again(distlink.AppendPacket(nil, distlink.Packet{Type: distlink.TypeReset, Version: distlink.Version, ResetID: p.DestID, PacketNumber: 1 << 40}))
				bad := bytes.Clone(d)
				binary.BigEndian.PutUint64(bad[4:], p.DestID+1)
				relay.Again(bad)
			}
			stranger.drain()
			after := ask(t, a)
			t.Logf("%+v", after)
			if after.duplicates-before.duplicates < 100 || after.forged-before.forged < forged/2 || stranger.came > stranger.sent {
				t.Errorf("before %+v, after %+v; %d octets came back for %d", before, after, stranger.came, stranger.sent)
			}
			same(t, before, after)
		})
	}
}
