package daemon

import (
	"fmt"
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

// All addresses of a station are in its record, as many as there is room for;
// one that has not been heard for a while gives way.
func TestAllAddresses(t *testing.T) {
	var n neighbours
	begun := time.Unix(1000, 0)
	say := func(a string, after time.Duration) bool {
		n.note(station(1), netip.MustParseAddr(a), begun.Add(after))
		return n.noteAll(station(1), netip.MustParseAddr(a), begun.Add(after))
	}
	if !say("10.0.0.1", 0) || n.record(station(1)) != nil {
		t.Error("one address is in the station's own record")
	}
	if say("10.0.0.1", 1) || !say("fd00::1", 2) {
		t.Error("the second is news, the first is not")
	}
	r, ok := n.record(station(1)).(spb.PublishRecord)
	if !ok || tsn.MAC(r.Key) != station(1) || len(r.Value) != 32 {
		t.Errorf("%+v", r)
	}
	for i := range maxAddresses - 2 {
		say(fmt.Sprintf("fd00::1:%d", i), 3)
	}
	if say("fd00::99", time.Second) {
		t.Error("there was no room")
	}
	if !say("fd00::99", sayingKept+time.Second) {
		t.Error("the oldest should have given way")
	}
	m, unsaved := n.save()
	var again neighbours
	again.load(m)
	if !unsaved || again.addressOf(station(1)) != netip.MustParseAddr("10.0.0.1") || len(again.all[station(1)]) != maxAddresses {
		t.Errorf("%+v", m)
	}

	// Other bridges answer from it, if it is the owner's.
	s := spb.Station{EndStation: spb.EndStation{MAC: station(1), ManagementAddress: netip.MustParseAddr("10.0.0.1"), Learned: true}, Bridge: sys(2), Reachable: true}
	by := func(bridge byte, value []byte) []spb.NodeRecords {
		m := station(1)
		return []spb.NodeRecords{{SystemID: sys(bridge), Records: []spb.NodeRecord{{Type: recordAddresses, Key: m[:], Value: value}}}}
	}
	for name, c := range map[string]struct {
		records []spb.NodeRecords
		want    int
	}{
		"the owner's": {by(2, r.Value), 2}, "another's": {by(3, r.Value), 0}, "cut short": {by(2, r.Value[:20]), 0}, "too long": {by(2, make([]byte, 16*9)), 0},
	} {
		if got := said([]spb.Station{s}, c.records); len(got) != c.want {
			t.Errorf("%s: %+v", name, got)
		}
	}
	stations := append([]spb.Station{s}, said([]spb.Station{s}, by(2, r.Value))...)
	if table := elsewhere(stations, sys(1)); len(table) != 2 || table[netip.MustParseAddr("fd00::1")] != station(1) {
		t.Errorf("%v", table)
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
