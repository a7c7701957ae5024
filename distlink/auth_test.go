package distlink

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"strings"
	"testing"

	tsn "tsnswitch"
)

// testIdentity is one whose certificate is a name and its public key, which the
// key's seed makes. Peers are trusted by name.
func testIdentity(name string, trusts ...string) *Identity {
	private := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{name[0]}, ed25519.SeedSize))
	return &Identity{
		Chain: [][]byte{append([]byte(private.Public().(ed25519.PublicKey)), name...)},
		Sign:  func(content []byte) ([]byte, error) { return ed25519.Sign(private, content), nil },
		Verify: func(chain [][]byte, content, signature []byte) error {
			c := chain[0]
			if len(c) < ed25519.PublicKeySize || !strings.Contains(strings.Join(trusts, " "), string(c[ed25519.PublicKeySize:])) {
				return errors.New("certificate of an unknown authority")
			}
			if !ed25519.Verify(ed25519.PublicKey(c[:ed25519.PublicKeySize]), content, signature) {
				return errors.New("bad signature")
			}
			return nil
		},
	}
}

func as(i *Identity) func() (*Identity, error) { return func() (*Identity, error) { return i, nil } }

var (
	alice = testIdentity("alice", "bob")
	bob   = testIdentity("bob", "alice")
)

// certSim has a client and a server with an identity each.
func certSim(t *testing.T, seed uint64, w wire, cfg Config, client, server *Identity) *sim {
	t.Helper()
	cfg.Identity = as(client)
	s := newSim(t, seed, w, cfg)
	cfg.Identity = as(server)
	s.listener = NewListener(cfg, random(seed+1000))
	return s
}

// Both sides prove themselves, under loss too; what was written before that
// arrives after it, and each knows the other's certificates.
func TestCertificates(t *testing.T) {
	for seed := range uint64(20) {
		s := certSim(t, seed, wire{loss: 0.15, dup: 0.1, delay: 100_000, jitter: 2_000_000}, Config{SetupTimeout: 60e9, Window: 3000}, alice, bob)
		s.write(0, Message{Stream: 3, Data: []byte("early")})
		s.run(func() bool { return s.conn[1] != nil }, 60e9)
		s.write(1, Message{Stream: 4, Data: []byte("early, too")})
		if !s.run(func() bool { return len(s.got[0])+len(s.got[1]) == 2 && s.up[0] && s.up[1] }, 60e9) {
			t.Fatalf("seed %d: up %v, closed %v %v", seed, s.up, s.closed[0], s.closed[1])
		}
		if string(s.got[1][0].Data) != "early" || string(s.got[0][0].Data) != "early, too" {
			t.Fatalf("%q %q", s.got[1][0].Data, s.got[0][0].Data)
		}
		for side, peer := range []*Identity{bob, alice} {
			if got := s.conn[side].Peer(); len(got) != 1 || !bytes.Equal(got[0], peer.Chain[0]) {
				t.Errorf("side %d: peer %q", side, got)
			}
			if s.conn[side].Stats().Security != SecurityCertificate {
				t.Error(s.conn[side].Stats())
			}
		}
	}
}

// refuses runs a set-up that must fail: nothing is delivered to or established
// at the side that refuses, and both learn why.
func refuses(t *testing.T, s *sim, side int, code Code, text string) {
	t.Helper()
	s.write(0, Message{Stream: 1, Data: []byte("data")})
	s.run(func() bool { return s.closed[0] != nil && s.closed[1] != nil }, 20e9)
	for _, e := range s.closed {
		if e == nil || e.Code != code || !strings.Contains(e.Text, text) {
			t.Fatalf("%s: closed %+v %+v", text, s.closed[0], s.closed[1])
		}
	}
	if s.closed[side].Remote || !s.closed[1-side].Remote {
		t.Errorf("%s: it was the other side that refused", text)
	}
	if s.up[side] || len(s.got[side]) > 0 || s.conn[side].Peer() != nil {
		t.Errorf("%s: established %v, %d messages", text, s.up[side], len(s.got[side]))
	}
}

// A peer that is not trusted, or not who its certificate says, is refused by
// either side.
func TestCertificatesAreRefused(t *testing.T) {
	mallory := testIdentity("mallory", "bob", "alice")
	thief := *mallory // has a certificate, but not its key
	for side := range 2 {
		for text, bad := range map[string]*Identity{"unknown authority": mallory, "bad signature": &thief} {
			ends := [2]*Identity{alice, bob}
			thief.Chain = ends[1-side].Chain
			ends[1-side] = bad
			refuses(t, certSim(t, 3, wire{delay: 1000}, Config{}, ends[0], ends[1]), side, CodeSecurity, text)
		}
	}
}

// recorder is an identity whose last signature is kept.
func recorder(i *Identity, kept *[]byte) *Identity {
	c := *i
	c.Sign = func(content []byte) (b []byte, err error) {
		*kept, err = i.Sign(content)
		return *kept, err
	}
	return &c
}

// A signature is good for one connection and one role: not for another
// connection, and not sent back to who made it.
func TestSignatureIsOfItsConnection(t *testing.T) {
	var kept []byte
	s := certSim(t, 5, wire{delay: 1000}, Config{}, recorder(alice, &kept), bob)
	s.run(func() bool { return s.up[0] && s.up[1] }, 1e9)
	old := *alice
	old.Sign = func([]byte) ([]byte, error) { return kept, nil }
	refuses(t, certSim(t, 6, wire{delay: 1000}, Config{}, &old, bob), 1, CodeSecurity, "bad signature")

	// The server trusts itself here; the client says what the server said.
	self := testIdentity("bob", "bob")
	mirror := *self
	mirror.Sign = func([]byte) ([]byte, error) { return kept, nil }
	refuses(t, certSim(t, 7, wire{delay: 1000}, Config{}, &mirror, recorder(self, &kept)), 1, CodeSecurity, "bad signature")
}

// What is no AUTH is refused: too many certificates, one that is cut, no
// signature; and no prefix of a good one parses as it.
func TestBadAuth(t *testing.T) {
	good := append(appendChain(nil, [][]byte{[]byte("one"), []byte("two")}), "signature"...)
	for n := range len(good) {
		chain, signature, err := parseAuth(good[:n])
		if err == nil && (n < 12 || len(chain) != 2 || string(signature) == "signature") {
			t.Errorf("cut to %d: %q %q", n, chain, signature)
		}
	}
	chain := func(n int) [][]byte { return bytes.Split(bytes.Repeat([]byte{','}, n-1), []byte{','}) }
	for text, b := range map[string][]byte{
		"without certificates":     {0, 's'},
		"more than 4":              append(appendChain(nil, chain(5)), 's'),
		"cut":                      {1, 0, 9, 'x'},
		"signature of 0 octets":    appendChain(nil, chain(4)),
		"signature of 1000 octets": append(appendChain(nil, chain(1)), make([]byte, 1000)...),
	} {
		if _, _, err := parseAuth(b); !errors.Is(err, ErrMalformed) || !strings.Contains(err.Error(), text) {
			t.Errorf("%s: %v", text, err)
		}
		s := certSim(t, 3, wire{delay: 1000}, Config{}, alice, bob)
		s.conn[0].auth = nil // and what follows is written by hand
		s.write(0, Message{Data: b})
		s.run(func() bool { return s.closed[0] != nil }, 1e9)
		if e := s.closed[0]; e == nil || e.Code != CodeSecurity || !strings.Contains(e.Text, text) || len(s.got[1]) > 0 {
			t.Errorf("%s: closed %+v", text, e)
		}
	}
}

// An identity that no peer would take is not even tried, and says why.
func TestIdentityValid(t *testing.T) {
	broken := func() (*Identity, error) { return nil, errors.New("no such file") }
	for text, identity := range map[string]func() (*Identity, error){
		"no certificate":            as(&Identity{}),
		"5 certificates, at most 4": as(&Identity{Chain: make([][]byte, 5)}),
		"octets, at most":           as(&Identity{Chain: [][]byte{make([]byte, maxAuth)}}),
		"no such file":              broken,
	} {
		s := newSim(t, 1, wire{delay: 1000}, Config{Identity: identity})
		if e := s.closed[0]; e == nil || e.Code != CodeSecurity || !strings.Contains(e.Text, text) || s.sent > 0 {
			t.Errorf("%s: closed %+v", text, e)
		}
	}
	mute := *bob
	mute.Sign = func([]byte) ([]byte, error) { return nil, errors.New("secret things") }
	for _, identity := range []func() (*Identity, error){broken, as(&mute)} {
		s := certSim(t, 3, wire{delay: 1000}, Config{}, alice, bob)
		s.listener = NewListener(Config{Identity: identity}, random(7))
		s.run(func() bool { return s.closed[0] != nil }, 1e9)
		if e := s.closed[0]; e == nil || e.Code != CodeSecurity || !strings.Contains(e.Text, "cannot prove") || strings.Contains(e.Text, "secret") {
			t.Errorf("closed %+v", e)
		}
	}
}

// A peer that has not proved itself gets nothing but its AUTH in: data is
// refused, in pieces too many to keep as well, and silence ends.
func TestUnproven(t *testing.T) {
	mad := func(frames ...Frame) *sim {
		s := certSim(t, 3, wire{delay: 1000}, Config{SetupTimeout: 2e9}, alice, bob)
		c := s.conn[0]
		c.auth = nil
		s.run(func() bool { return s.up[0] && s.conn[1] != nil }, 1e9)
		for _, f := range frames {
			s.effects(0, []tsn.Effect{Transmit{Data: c.sealData(s.now, c.lane(Control), f.append(nil), nil, false)}})
		}
		start := s.now
		s.run(func() bool { return s.closed[1] != nil }, 10e9)
		if e := s.closed[1]; e == nil || e.Remote || s.up[1] || len(s.got[1]) > 0 {
			t.Fatalf("closed %+v", e)
		}
		if frames == nil && s.now.Sub(start) > 2_100_000_000 {
			t.Errorf("silence took %d ms", s.now.Sub(start)/1e6)
		}
		return s
	}
	if s := mad(); s.closed[1].Code != CodeSetupTimeout {
		t.Errorf("silence: %+v", s.closed[1])
	}
	segment := func(stream uint32, offset uint64, n int) Frame {
		return &Segment{Stream: stream, Offset: offset, First: offset == 0, Data: make([]byte, n)}
	}
	var crumbs, heaps []Frame
	for i := range 100 {
		crumbs = append(crumbs, segment(0, uint64(10+2*i), 1))
		heaps = append(heaps, segment(0, uint64(10+1300*i), 1300))
	}
	for name, frames := range map[string][]Frame{
		"another stream": {segment(1, 0, 10)},
		"too long":       {segment(0, maxAuth, 10)},
		"crumbs":         crumbs,
		"heaps":          heaps,
	} {
		if s := mad(frames...); s.closed[1].Code != CodeSecurity || !strings.Contains(s.closed[1].Text, "but data") {
			t.Errorf("%s: %+v", name, s.closed[1])
		}
	}
}

// The door takes no more that have not proved themselves than its driver wants.
func TestFullDoor(t *testing.T) {
	s := certSim(t, 3, wire{loss: 1}, Config{}, alice, bob)
	init := s.conn[0].Step(s.now.Add(200_000_000), tsn.Timeout{})[0].(Transmit).Data
	retry := s.listener.Step(s.now, Incoming{From: clientAddr, Data: init, Full: true})[0].(Reply).Data
	init = s.conn[0].Step(s.now.Add(201_000_000), Datagram{Data: retry})[0].(Transmit).Data
	effects := s.listener.Step(s.now, Incoming{From: clientAddr, Data: init, Full: true})
	if len(effects) != 1 || s.listener.Stats().Full != 1 {
		t.Fatalf("%+v %+v", effects, s.listener.Stats())
	}
	s.effects(0, s.conn[0].Step(s.now, Datagram{Data: effects[0].(Reply).Data}))
	if e := s.closed[0]; e == nil || e.Code != CodeResources {
		t.Errorf("closed %+v", e)
	}
}

func FuzzAuth(f *testing.F) {
	f.Add(append(appendChain(nil, [][]byte{[]byte("one"), []byte("two")}), "signature"...))
	f.Fuzz(func(t *testing.T, b []byte) {
		chain, signature, err := parseAuth(b)
		if err == nil && !bytes.Equal(append(appendChain(nil, chain), signature...), b) {
			t.Errorf("%x became %q %q", b, chain, signature)
		}
	})
}

// FuzzUnproven lets a peer that has only done the set-up talk to a server with
// certificates: nothing ever comes out.
func FuzzUnproven(f *testing.F) {
	_, packets := vectors()
	for _, p := range packets[10:] {
		f.Add(p[dataHeaderLen:])
	}
	f.Add((&Segment{First: true, Last: true, Data: append(appendChain(nil, alice.Chain), make([]byte, 64)...)}).append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		s := certSim(t, 3, wire{delay: 1000}, Config{}, alice, bob)
		c := s.conn[0]
		c.auth = nil
		s.run(func() bool { return s.up[0] && s.conn[1] != nil }, 1e9)
		for _, frames := range bytes.Split(b, []byte{0xff}) {
			s.effects(1, s.conn[1].Step(s.now, Datagram{From: clientAddr, Data: c.sealData(s.now, c.lane(Control), frames, nil, false)}))
		}
		s.run(func() bool { return s.closed[1] != nil }, 20e9)
		if s.up[1] || len(s.got[1]) > 0 {
			t.Fatal(fmt.Sprint("a stranger is in: ", s.up, s.got))
		}
	})
}
