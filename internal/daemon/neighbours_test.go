package daemon

import (
	"maps"
	"net/netip"
	"testing"
	"time"

	"tsnswitch"
	"tsnswitch/spb"
)

// A station's record has one address: the better kind takes its place at once,
// one of the same kind only when the old has not been heard for a while.
func TestNoteOfAddresses(t *testing.T) {
	var n neighbours
	begun := time.Unix(1000, 0)
	for i, c := range []struct {
		address string
		after   time.Duration
		news    bool
	}{
		{"fe80::1", 0, true},
		{"fe80::1", time.Second, false},
		{"fd00::1", time.Second, true},
		{"fe80::1", time.Hour, false},
		{"10.0.0.1", time.Hour, true},
		{"10.0.0.2", time.Hour + time.Second, false},
		{"10.0.0.1", time.Hour + 50*time.Second, false},
		{"10.0.0.2", time.Hour + 100*time.Second, false},
		{"10.0.0.2", time.Hour + 111*time.Second, true},
	} {
		if news := n.note(station(1), netip.MustParseAddr(c.address), begun.Add(c.after)); news != c.news {
			t.Errorf("%d: %s: news %t", i, c.address, news)
		}
	}
	n.forget(station(1))
	if !n.note(station(1), netip.MustParseAddr("fe80::1"), begun) {
		t.Error("a station that was gone is not news")
	}
	for i := range maxSayings + 10 {
		n.note(tsn.MAC{2, 9, 0, 0, byte(i >> 8), byte(i)}, netip.MustParseAddr("10.0.0.1"), begun)
	}
	if _, c := n.counters(); len(n.said) != maxSayings || c.TableFull != 11 {
		t.Errorf("%d noted, %+v", len(n.said), c)
	}
}

// Only stations that another bridge reaches are answered for; the owner of an
// address is its first, and a configured station comes before a learned one.
func TestElsewhere(t *testing.T) {
	s := func(n byte, bridge byte, a string, reachable, learned bool) spb.Station {
		return spb.Station{
			EndStation: spb.EndStation{MAC: station(n), ManagementAddress: netip.MustParseAddr(a), Learned: learned},
			Bridge:     sys(bridge), Reachable: reachable,
		}
	}
	got := elsewhere([]spb.Station{
		s(1, 1, "10.0.0.1", true, false), // here
		s(2, 2, "10.0.0.2", true, true),
		s(2, 3, "10.0.0.22", true, true), // not its owner
		s(3, 3, "10.0.0.3", false, true),
		s(4, 3, "10.0.0.5", true, true), // claims the address of 5
		s(5, 3, "10.0.0.5", true, false),
		s(6, 3, "::ffff:10.0.0.6", true, false),
		{EndStation: spb.EndStation{MAC: station(7)}, Bridge: sys(2), Reachable: true},
	}, sys(1))
	want := map[netip.Addr]tsn.MAC{
		netip.MustParseAddr("10.0.0.2"): station(2), netip.MustParseAddr("10.0.0.5"): station(5), netip.MustParseAddr("10.0.0.6"): station(6),
	}
	if !maps.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}
