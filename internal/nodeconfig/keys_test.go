package nodeconfig

import (
	"fmt"
	"testing"
	"time"

	"tsnswitch/internal/config"
	"tsnswitch/spb"
)

func day(n int) config.Time {
	return config.Time{Time: time.Date(2027, 1, n, 0, 0, 0, 0, time.UTC)}
}

// text says of each key whether it signs (s) and whether it is acceptable (a).
func text(c spb.KeyChain) string {
	s := ""
	for _, k := range c.Keys {
		s += fmt.Sprint(k.ID)
		if k.Send {
			s += "s"
		}
		if k.Accept {
			s += "a"
		}
		s += " "
	}
	return s
}

// A roll-over by the clock: the new key becomes acceptable, signs, is alone.
// Outside of all times the last key goes on (RFC 8177 s4).
func TestKeysByTime(t *testing.T) {
	auth := config.Auth{Keys: []config.AuthKey{
		{ID: 2, Algorithm: spb.HMACSHA256, Secret: "b", SendFrom: day(10), SendUntil: day(20), AcceptFrom: day(9), AcceptUntil: day(21)},
		{ID: 1, Algorithm: spb.HMACMD5, Secret: "a", SendFrom: day(2), SendUntil: day(11), AcceptFrom: day(1), AcceptUntil: day(12)},
	}}
	for _, c := range []struct {
		at      config.Time
		want    string
		next    config.Time
		expired bool
	}{
		{config.Time{}, "2sa 1 ", day(1), true}, // none has begun: the first
		{day(1), "2sa 1a ", day(2), true},
		{day(2), "2 1sa ", day(9), false},
		{day(9), "2a 1sa ", day(10), false},
		{day(10), "2sa 1a ", day(11), false},
		{day(11), "2sa 1a ", day(12), false},
		{day(12), "2sa 1 ", day(20), false},
		{day(20), "2sa 1 ", day(21), true},
		{day(30), "2sa 1 ", config.Time{}, true}, // the one that was over last
	} {
		got, next := Keys(auth, c.at.Time)
		if text(got.LSP) != c.want || text(got.Hello) != c.want || !next.Equal(c.next.Time) {
			t.Errorf("%s: %q %q until %s, want %q until %s", c.at, text(got.LSP), text(got.Hello), next, c.want, c.next)
		}
		if err := got.Validate(); err != nil {
			t.Errorf("%s: %v", c.at, err)
		}
		if e := KeysExpired(auth, c.at.Time); e != c.expired {
			t.Errorf("%s: expired %t", c.at, e)
		}
	}
}

// By hand: the list says what signs, all of it is acceptable. Hellos may have
// keys of their own.
func TestKeysByHand(t *testing.T) {
	auth := config.Auth{
		Keys:      []config.AuthKey{{ID: 1, Algorithm: spb.HMACMD5, Secret: "a"}, {ID: 2, Algorithm: spb.HMACSHA512, Secret: "b"}},
		HelloKeys: []config.AuthKey{{ID: 9, Algorithm: spb.HMACSHA1, Secret: "c"}},
		SendOnly:  true,
	}
	got, next := Keys(auth, day(5).Time)
	if text(got.LSP) != "1sa 2a " || text(got.Hello) != "9sa " || !next.IsZero() || !got.LSP.SendOnly || !got.Hello.SendOnly {
		t.Errorf("%q %q %s", text(got.LSP), text(got.Hello), next)
	}
	if string(got.LSP.Keys[1].Secret) != "b" || got.LSP.Keys[1].Algorithm != spb.HMACSHA512 {
		t.Error("the key is another")
	}
	if got, _ := Keys(config.Auth{}, day(5).Time); len(got.Hello.Keys)+len(got.LSP.Keys) != 0 || got.Validate() != nil {
		t.Error("no keys are some")
	}
}

// The configuration of a daemon carries the keys into the core's.
func TestKeysOfDaemon(t *testing.T) {
	c, err := config.ParseDaemon("d", []byte(`role: bridge
name: b1
systemId: 02:00:00:00:00:01
ports:
  - {port: 1, ifname: p1, role: fabric}
spb: {baseVids: [{vid: 100}], auth: {keys: [{id: 7, algorithm: hmac-sha-384, secret: xyzzy}]}}
`))
	if err != nil {
		t.Fatal(err)
	}
	n, err := Of(c)
	if err != nil {
		t.Fatal(err)
	}
	k := n.SPB.Authentication.LSP.Keys
	if len(k) != 1 || k[0].ID != 7 || k[0].Algorithm != spb.HMACSHA384 || string(k[0].Secret) != "xyzzy" || !k[0].Send || !k[0].Accept {
		t.Errorf("%+v", k)
	}
	if err := n.SPB.Validate(); err != nil {
		t.Error(err)
	}
}
