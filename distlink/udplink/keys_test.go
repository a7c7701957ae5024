package udplink_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tsnswitch/distlink"
	"tsnswitch/distlink/udplink"
)

const someKeys = "# the new one first\nnew 101112131415161718191a1b1c1d1e1f\n\nold 000102030405060708090a0b0c0d0e0f # goes\n"

func keyFile(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestReadKeys(t *testing.T) {
	keys, err := udplink.ReadKeys(keyFile(t, someKeys))
	if err != nil || len(keys) != 2 || keys[0].ID != "new" || keys[1].ID != "old" || len(keys[1].Secret) != 16 {
		t.Fatalf("%+v, %v", keys, err)
	}
	for text, want := range map[string]string{
		"# none\n":             "no key",
		"\none\n":              ":2: want a key id",
		"one 00zz\n":           ":1: key \"one\" is not hexadecimal",
		"one 0001\n":           "shorter than 16",
		"a b 0001020304050607": "want a key id",
	} {
		if _, err := udplink.ReadKeys(keyFile(t, text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	if _, err := udplink.ReadKeys(filepath.Join(t.TempDir(), "nothing")); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

// No keys have to be chosen; another side's choice is refused with a reason; and
// a link with keys goes on when its dialler changes sockets.
func TestKeysAndRebind(t *testing.T) {
	if _, err := udplink.Dial(within(t), "127.0.0.1:9", udplink.Config{}); !errors.Is(err, udplink.ErrInsecure) {
		t.Error(err)
	}
	keys, err := udplink.ReadKeys(keyFile(t, someKeys))
	if err != nil {
		t.Fatal(err)
	}
	cfg := udplink.Config{Config: distlink.Config{Keys: keys}}
	l, err := udplink.Listen(within(t), "127.0.0.1:0", cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	var down *udplink.DownError
	if _, err := udplink.Dial(within(t), l.Addr().String(), udplink.Config{Insecure: true}); !errors.As(err, &down) || down.Code != distlink.CodeSecurity {
		t.Errorf("error %v", err)
	}
	c, err := udplink.Dial(within(t), l.Addr().String(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	s, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	echo := func(text string) {
		t.Helper()
		if err := c.Send(distlink.Message{Data: []byte(text)}); err != nil {
			t.Fatal(err)
		}
		m, err := s.Recv()
		if err != nil || string(m.Data) != text {
			t.Fatalf("%q, %v", m.Data, err)
		}
		if err := s.Send(m); err != nil {
			t.Fatal(err)
		}
		if m, err = c.Recv(); err != nil || string(m.Data) != text {
			t.Fatalf("%q, %v", m.Data, err)
		}
	}
	echo("before")
	was := s.Remote()
	if err := c.Rebind(within(t), udplink.Config{Priority: 5}); err != nil {
		t.Fatal(err)
	}
	echo("after")
	if s.Remote() == was || s.Stats().Moves != 1 || s.Stats().Security != distlink.SecurityPSK {
		t.Errorf("the peer is at %v as before, %+v", s.Remote(), s.Stats())
	}
	if err := s.Rebind(within(t), udplink.Config{}); !errors.Is(err, udplink.ErrAccepted) {
		t.Error(err)
	}
}
