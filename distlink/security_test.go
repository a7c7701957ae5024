package distlink

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"os"
	"strings"
	"testing"

	tsn "tsnswitch"
)

const securityFile = "testdata/security.txt"

// counting is a Random that fills with v, v+1 and so on.
func counting(v byte) Random {
	return func(b []byte) {
		for i := range b {
			b[i] = v
			v++
		}
	}
}

// setUp runs a set-up with known randomness and returns its INIT, its ACCEPT and
// both ends, which have sent nothing else.
func setUp(t *testing.T, client, server Config) (init, accept []byte, ends [2]*Conn) {
	t.Helper()
	c := NewClient(client, counting(1))
	listener := NewListener(server, counting(101))
	init = c.Step(1, tsn.Timeout{})[0].(Transmit).Data
	retry := listener.Step(2, Incoming{From: clientAddr, Data: init})[0].(Reply).Data
	init = c.Step(3, Datagram{Data: retry})[0].(Transmit).Data
	effects := listener.Step(4, Incoming{From: clientAddr, Data: init})
	if len(effects) != 2 {
		t.Fatal(effects)
	}
	accept = effects[0].(Reply).Data
	c.Step(5, Datagram{Data: accept})
	if c.state != open || c.seal == nil {
		t.Fatalf("not connected: %+v", c.Stats())
	}
	return init, accept, [2]*Conn{c, effects[1].(Accept).Conn}
}

// The keys follow from the set-up like this, in Go and in Erlang: a whole set-up
// with known randomness, and sealed packets of two epochs; one with certificates,
// and what is signed then.
func TestSecurityVectors(t *testing.T) {
	var b strings.Builder
	b.WriteString("# name, octets in hexadecimal; checked by the Go and the Erlang tests\n")
	line := func(name string, data []byte) { fmt.Fprintf(&b, "%s %s\n", name, hex.EncodeToString(data)) }
	init, accept, ends := setUp(t, Config{Keys: testKeys[1:]}, Config{Keys: testKeys})
	client, server := ends[0], ends[1]
	line("psk", testKeys[1].Secret)
	line("client-private", client.schedule.private.Bytes())
	line("server-private", server.schedule.private.Bytes())
	line("init", init)
	line("accept", accept)
	ping := (&Ping{}).append(nil)
	line("client-packet-7", client.seal[0].seal(client.remoteID, 7, ping))
	line("client-packet-epoch-1", client.seal[0].seal(client.remoteID, 1<<epochBits, ping))
	line("client-packet-lane-2-epoch-1", client.seal[2].seal(client.remoteID, 2<<laneShift|1<<epochBits, ping))
	line("server-packet-9", server.seal[0].seal(server.remoteID, 9, ping))

	var contents [][]byte
	keep := func(i *Identity) *Identity {
		c := *i
		c.Sign = func(content []byte) ([]byte, error) {
			contents = append(contents, content)
			return i.Sign(content)
		}
		return &c
	}
	init, accept, ends = setUp(t, Config{Identity: as(keep(alice))}, Config{Identity: as(keep(bob))})
	line("certificate-client-private", ends[0].schedule.private.Bytes())
	line("certificate-server-private", ends[1].schedule.private.Bytes())
	line("certificate-init", init)
	line("certificate-accept", accept)
	line("server-signs", contents[0])
	line("client-signs", contents[1])
	line("client-auth", ends[0].lane(Control).sent[1].segments[0].Data)
	line("client-packet-0", ends[0].seal[0].seal(ends[0].remoteID, 0, ping))
	if *update {
		if err := os.WriteFile(securityFile, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(securityFile)
	if err != nil {
		t.Fatal(err)
	}
	if string(want) != b.String() {
		t.Errorf("%s differs:\n%s", securityFile, b.String())
	}
}

// Of what is sent nothing is readable.
func TestSealedIsNotReadable(t *testing.T) {
	secret := []byte("a message that nobody else may read")
	s := newSim(t, 1, wire{delay: 1000}, Config{Keys: testKeys})
	found := false
	s.tap = func(_ int, data []byte) { found = found || bytes.Contains(data, secret[:8]) }
	s.run(func() bool { return s.up[0] }, 1e9)
	s.write(0, Message{Data: secret})
	s.run(func() bool { return len(s.got[1]) == 1 }, 1e9)
	if found || len(s.got[1]) != 1 {
		t.Errorf("readable %v, %d came", found, len(s.got[1]))
	}
}

// Another key, another id and another security than the server's are refused with
// a reason, after the address is known to be real.
func TestSecurityIsRefused(t *testing.T) {
	other := []Key{{ID: "new", Secret: []byte("xxxxxxxxxxxxxxxx")}}
	unknown := []Key{{ID: "who", Secret: testKeys[1].Secret}}
	psk := func(k []Key) Config { return Config{Keys: k} }
	certificate := Config{Identity: as(alice)}
	for _, c := range []struct {
		name           string
		client, server Config
	}{
		{"key is another", psk(other), psk(testKeys)},
		{"key id is unknown", psk(unknown), psk(testKeys)},
		{"wants a pre-shared key", Config{}, psk(testKeys)},
		{"this side has no keys", psk(testKeys), Config{}},
		{"wants a pre-shared key", certificate, psk(testKeys)},
		{"wants a certificate", psk(testKeys), certificate},
		{"wants a certificate", Config{}, certificate},
		{"this side has no keys", certificate, Config{}},
	} {
		name := c.name
		s := newSim(t, 1, wire{delay: 1000}, c.client)
		s.listener = NewListener(c.server, random(7))
		s.run(func() bool { return s.closed[0] != nil }, 10e9)
		if e := s.closed[0]; e == nil || e.Code != CodeSecurity || !strings.Contains(e.Text, name) {
			t.Errorf("%s: closed %+v", name, e)
		}
		if s.conn[1] != nil {
			t.Errorf("%s: the server made a connection", name)
		}
	}
}

// A client takes no ACCEPT that says another security than its own: nobody on
// the way talks it out of its key.
func TestNoDowngrade(t *testing.T) {
	s := newSim(t, 1, wire{delay: 1000}, Config{Keys: testKeys})
	id := s.conn[0].localID
	plain := Params{SourceID: 5, MaxDatagram: 1400, Window: 1000}
	s.conn[0].Step(s.now, Datagram{Data: AppendPacket(nil, Packet{Type: TypeAccept, Version: Version, DestID: id, Params: plain})})
	if s.conn[0].state != connecting || s.conn[0].Stats().Forged != 1 {
		t.Errorf("state %d, %+v", s.conn[0].state, s.conn[0].Stats())
	}
}

// Every octet of the set-up is covered: with any one changed on the way both
// sides never come to hold a connection that works.
func TestSetupIsCovered(t *testing.T) {
	psk, certificate := Config{Keys: testKeys}, Config{Identity: as(testIdentity("alice", "alice"))}
	for octet := range 300 {
		for which := range 4 { // the INIT with the token, the ACCEPT; with keys, with certificates
			cfg := []Config{psk, certificate}[which/2]
			which %= 2
			cfg.SetupTimeout = 300_000_000
			s := newSim(t, 2, wire{delay: 1000}, cfg)
			changed := false
			s.tap = func(from int, data []byte) {
				p, _, err := ParsePacket(data)
				hit := err == nil && (which == 0 && p.Type == TypeInit && len(p.Token) > 0 || which == 1 && p.Type == TypeAccept)
				if hit && octet < len(data) {
					data[octet] ^= 1
					changed = true
				}
			}
			s.run(func() bool { return s.closed[0] != nil || s.up[0] }, 2e9)
			if changed && s.up[0] {
				t.Fatalf("packet %d with octet %d changed makes a connection", which, octet)
			}
		}
	}
}

// Recorded packets that are sent again do nothing: no message twice, and
// nobody seems alive.
func TestReplay(t *testing.T) {
	s := connected(t, wire{delay: 100_000}, Config{Keys: testKeys})
	var recorded [][]byte
	s.tap = func(from int, data []byte) {
		if from == 0 {
			recorded = append(recorded, bytes.Clone(data))
		}
	}
	for i := range 500 {
		s.write(0, message(1, i, i, NoFence, 20, s.rng))
		s.run(func() bool { return len(s.got[1]) == i+1 }, 1e9)
	}
	s.tap = nil
	s.wire.loss = 1 // the client is cut off
	start, n := s.now, len(s.got[1])
	for i := 0; s.closed[1] == nil; i++ {
		s.effects(1, s.conn[1].Step(s.now, Datagram{From: clientAddr, Data: bytes.Clone(recorded[i%len(recorded)])}))
		s.run(func() bool { return s.closed[1] != nil }, 1_000_000)
		if s.now.Sub(start) > 2e9 {
			t.Fatal("kept alive by a recording")
		}
	}
	if len(s.got[1]) != n || s.closed[1].Code != CodeKeepAlive || s.conn[1].Stats().Duplicates == 0 {
		t.Errorf("%d messages more, closed %+v", len(s.got[1])-n, s.closed[1])
	}
}

// Any octet of a packet changed: it does nothing at all.
func TestTampered(t *testing.T) {
	s := connected(t, wire{delay: 100_000}, Config{Keys: testKeys})
	var packet []byte
	s.tap = func(_ int, data []byte) { packet = bytes.Clone(data) }
	s.wire.loss = 1
	s.write(0, Message{Data: []byte("pay 1 euro")})
	heard := s.conn[1].live.heardAt
	s.now += 1000
	for i := range packet {
		for bit := range 8 {
			b := bytes.Clone(packet)
			b[i] ^= 1 << bit
			for _, e := range s.conn[1].Step(s.now, Datagram{From: clientAddr, Data: b}) {
				t.Fatalf("octet %d, bit %d: %+v", i, bit, e)
			}
		}
	}
	if s.conn[1].live.heardAt != heard || s.conn[1].Stats().Forged == 0 {
		t.Error("a changed packet counts as heard")
	}
	if e := s.conn[1].Step(s.now, Datagram{From: clientAddr, Data: packet}); len(e) == 0 {
		t.Error("the packet as it was does nothing")
	}
}

// With keys a RESET is a hint: forged it harms nobody, from a restarted peer it
// is faster than the keep-alive.
func TestResetIsAHint(t *testing.T) {
	s := connected(t, wire{delay: 100_000}, Config{Keys: testKeys, KeepAlive: 60e9})
	s.wire.delay = 2_000_000
	s.write(0, Message{Data: make([]byte, 10)})
	forged := AppendPacket(nil, Packet{Type: TypeReset, Version: Version, ResetID: s.conn[0].remoteID, PacketNumber: s.conn[0].lanes[0].next() - 1})
	s.effects(0, s.conn[0].Step(s.now, Datagram{Data: forged}))
	if !s.conn[0].live.suspected {
		t.Fatal("the RESET was not taken as a hint")
	}
	s.run(func() bool { return false }, 1e9)
	if s.closed[0] != nil || s.conn[0].live.suspected {
		t.Fatalf("a forged RESET ended the connection: %+v", s.closed[0])
	}
	s.conn[1] = nil // restarted
	start := s.now
	s.write(0, Message{Data: make([]byte, 10)})
	s.run(func() bool { return s.closed[0] != nil }, 60e9)
	if s.closed[0] == nil || s.closed[0].Code != CodeReset || s.now.Sub(start) > 1e9 {
		t.Fatalf("closed %+v after %d ms", s.closed[0], s.now.Sub(start)/1e6)
	}
}

// Keys change with the packet number, and overtaken packets of the epoch
// before are still opened; each lane has its own.
func TestEpochs(t *testing.T) {
	testEpochs(t, nil, 0)
	testEpochs(t, ownLanes, 1+int(Configured))
}

func testEpochs(t *testing.T, own map[Class]tsn.Rate, lane int) {
	t.Helper()
	s := connected(t, wire{delay: 100_000, jitter: 2_000_000}, Config{Keys: testKeys, Lanes: own})
	for _, c := range s.conn {
		c.lanes[lane].base = 1<<epochBits - 50
	}
	// The peers have seen nothing between: numbers may have gaps.
	var want [2][]Message
	for side := range 2 {
		want[side] = randomMessages(s.rng, 200, 3000)
		s.write(side, want[side]...)
	}
	s.run(func() bool { return len(s.got[0]) == 200 && len(s.got[1]) == 200 }, 20e9)
	checkOrder(t, want[0], s.got[1])
	checkOrder(t, want[1], s.got[0])
	for i := range lanes {
		want := uint64(0)
		if i == lane {
			want = 1
		}
		if s.conn[0].seal[i].epoch != want || s.conn[1].open[i].epoch != want {
			t.Errorf("lane %d: epochs %d, %d", i, s.conn[0].seal[i].epoch, s.conn[1].open[i].epoch)
		}
	}
	if f := s.conn[0].Stats().Forged + s.conn[1].Stats().Forged; f != 0 {
		t.Errorf("%d packets could not be opened", f)
	}
}

func TestKeyValid(t *testing.T) {
	for _, k := range []Key{{ID: strings.Repeat("x", 33), Secret: make([]byte, 16)}, {ID: "short", Secret: make([]byte, 15)}} {
		if k.Valid() == nil {
			t.Errorf("%q is taken", k.ID)
		}
	}
}
