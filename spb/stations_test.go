package spb

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	tsn "tsnswitch"
	"tsnswitch/spb/isispdu"
)

func hostMAC(n int) tsn.MAC { return tsn.MAC{2, 0xdd, 0, 0, byte(n >> 8), byte(n)} }

// learnLab is a line of bridges whose edge ports learn.
func learnLab(t testing.TB, n int, change func(k int, c *Config)) *lab {
	l := newLab(t, n, line(n), func(k int, c *Config) {
		c.Ports[0].Learn, c.Ports[1].Learn = true, true
		if change != nil {
			change(k, c)
		}
	})
	l.allUp()
	l.run(second)
	return l
}

// at is the port behind which each bridge has an address, as its kernel would.
func (l *lab) at(mac tsn.MAC) (out []tsn.Port) {
	for _, n := range l.nodes {
		out = append(out, n.fdbPort(vidA, mac))
	}
	return out
}

func (l *lab) noticed(kind string) (n int) {
	for _, line := range l.log {
		if strings.Contains(line, kind) {
			n++
		}
	}
	return n
}

// A station that is seen is reached from everywhere in the VLAN it was seen
// in, by its own bridge's learned entry there; when it has aged it is not.
func TestStationSeen(t *testing.T) {
	l := learnLab(t, 3, nil)
	if !l.nodes[2].bridgePort(emptyPort).Learning {
		t.Error("the port does not learn")
	}
	l.step(2, StationSeen{MAC: hostMAC(1), VID: vidA, Port: emptyPort})
	l.run(second)
	if got := fmt.Sprint(l.at(hostMAC(1)), l.nodes[0].fdbPort(vidB, hostMAC(1))); got != "[1 2 0] 0" {
		t.Errorf("seen: %v", got)
	}
	path, err := l.nodes[0].Path(vidA, nodeMAC(0), hostMAC(1))
	if err != nil || len(path) != 3 || path[2] != (tsn.Hop{System: nodeMAC(2), Port: emptyPort}) {
		t.Errorf("path %v %v", path, err)
	}
	all := l.nodes[0].Stations()
	if s := all[0]; len(all) != 4 || s.MAC != hostMAC(1) || !s.Learned || s.Bridge != nodeMAC(2) || all[1].Learned {
		t.Errorf("stations: %+v", all)
	}
	l.step(2, StationSeen{MAC: hostMAC(1), VID: vidB, Port: emptyPort})
	l.run(second)
	if got := l.nodes[0].fdbPort(vidB, hostMAC(1)); got != 1 {
		t.Errorf("in the other VLAN: port %d", got)
	}
	l.step(2, StationGone{MAC: hostMAC(1), VID: vidA, Port: edgePort}) // another port's
	l.step(2, StationGone{MAC: hostMAC(1), VID: vidA, Port: emptyPort})
	l.run(second)
	if got := fmt.Sprint(l.at(hostMAC(1)), l.nodes[0].fdbPort(vidB, hostMAC(1))); got != "[0 0 0] 1" {
		t.Errorf("gone from one VLAN: %v", got)
	}
	l.step(2, StationGone{MAC: hostMAC(1), VID: vidB, Port: emptyPort})
	l.run(second)
	if n := len(l.nodes[0].Stations()); n != 3 || len(l.nodes[2].LearnedStations()) != 0 {
		t.Errorf("gone: %d stations", n)
	}
}

// RFC 7432 s7.7 in IS-IS: the bridge that saw a station last has it, also
// against the order of BridgeIDs; the one before withdraws.
func TestStationMoves(t *testing.T) {
	l := learnLab(t, 3, nil)
	for n, to := range []int{0, 2, 0, 1} {
		l.step(to, StationSeen{MAC: hostMAC(1), VID: vidA, Port: edgePort})
		l.run(second)
		want := [][]tsn.Port{{0, 1, 1}, {}, {1, 2, 0}}[to]
		if to == 1 {
			want = []tsn.Port{1, 0, 1}
		}
		if got := l.at(hostMAC(1)); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("move %d, to b%d: %v", n, to+1, got)
		}
		if s := l.nodes[1].Stations(); len(s) != 4 || s[0].Bridge != nodeMAC(to) {
			t.Errorf("move %d: advertised %+v", n, s)
		}
	}
	if s := l.nodes[0].LearnedStations(); len(s) != 1 || s[0].Claim != 0 || s[0].Refusal == "" {
		t.Errorf("the bridge before says %+v", s)
	}
	l.step(1, StationSeen{MAC: hostMAC(1), VID: vidA, Port: emptyPort}) // within the bridge
	l.run(second)
	if s := l.nodes[0].Stations(); s[0].Port != emptyPort || s[0].Bridge != nodeMAC(1) {
		t.Errorf("within the bridge: %+v", s[0])
	}
	// The bridge that had it crashes: whoever still sees it has it again.
	l.step(1, StationGone{MAC: hostMAC(1), VID: vidA, Port: emptyPort})
	l.run(second)
	if s := l.nodes[1].Stations(); len(s) != 4 || s[0].Bridge != nodeMAC(0) {
		t.Errorf("seen by two others before: %+v", s)
	}
}

// Random moves at random times: at rest every bridge sends to where the
// station was seen last.
func TestStationMovesRandom(t *testing.T) {
	for seed := range uint64(20) {
		r := prng{seed}
		l := learnLab(t, 4, nil)
		last := map[int]int{}
		for range 60 {
			h, to := int(r.below(8)), int(r.below(4))
			port := edgePort + tsn.Port(r.below(2))
			l.step(to, StationSeen{MAC: hostMAC(h), VID: vidA, Port: port})
			last[h] = to
			l.run(r.below(800) * millisecond)
		}
		l.run(60 * second) // longer than any address is frozen
		for h, to := range last {
			l.step(to, StationSeen{MAC: hostMAC(h), VID: vidA, Port: edgePort})
		}
		l.run(10 * second)
		l.sameDatabases()
		for h, to := range last {
			for k := range l.nodes {
				if k != to {
					l.unicastTo(k, to, hostMAC(h))
				}
			}
			if p := l.nodes[to].fdbPort(vidA, hostMAC(h)); p != tsn.NoPort {
				t.Errorf("seed %d: b%d has a static entry at port %d", seed, to+1, p)
			}
		}
	}
}

// unicastTo follows the FDB from a bridge to the one that has the station.
func (l *lab) unicastTo(from, to int, mac tsn.MAC) {
	l.t.Helper()
	for at := from; at != to; {
		next, _, up := l.peer(at, l.nodes[at].fdbPort(vidA, mac))
		if !up || from < to && next < at || from > to && next > at {
			l.t.Fatalf("%s from b%d to b%d: lost at b%d, port %d", mac, from+1, to+1, at+1, l.nodes[at].fdbPort(vidA, mac))
		}
		at = next
	}
}

// RFC 7432 s15.1: an address in two places does not keep the fabric busy.
func TestStationFlaps(t *testing.T) {
	l := learnLab(t, 3, nil)
	before := l.nodes[0].Counters().Originations + l.nodes[2].Counters().Originations
	for range 100 {
		for _, k := range []int{0, 2} {
			l.step(k, StationSeen{MAC: hostMAC(1), VID: vidA, Port: edgePort})
			l.run(100 * millisecond)
		}
	}
	if n := l.nodes[0].Counters().Originations + l.nodes[2].Counters().Originations - before; n > 40 {
		t.Errorf("%d LSPs in 20 s", n)
	}
	if l.noticed(NoticeStationFlapping) == 0 || l.nodes[0].Counters().Control.StationsFlapping+l.nodes[2].Counters().Control.StationsFlapping == 0 {
		t.Error("nobody says so")
	}
	l.run(60 * second)
	if s := l.nodes[1].Stations(); len(s) != 4 {
		t.Errorf("at rest %d stations are advertised", len(s))
	}
}

// A configured station stays where it is, here and elsewhere, and a bridge's
// address is nobody's; each is told and counted.
func TestStationRefused(t *testing.T) {
	l := learnLab(t, 3, nil)
	for n, mac := range []tsn.MAC{stationMAC(0), stationMAC(2), nodeMAC(1), nodeMAC(2), {}, tsn.Broadcast} {
		l.step(1, StationSeen{MAC: mac, VID: vidA, Port: emptyPort})
		l.step(1, StationSeen{MAC: mac, VID: vidA, Port: emptyPort})
		l.run(second)
		if c := l.nodes[1].Counters().Control.StationsRefused; c != uint64(min(n+1, 4)+2*max(n-3, 0)) {
			t.Errorf("%s: %d refused", mac, c)
		}
	}
	if n := l.noticed(NoticeStationRefused); n != 4 {
		t.Errorf("%d notices: %v", n, l.log)
	}
	if s := l.nodes[0].Stations(); len(s) != 3 {
		t.Errorf("stations %+v", s)
	}
	l.checkForwarding()
	// Seen where it is configured: nothing to say.
	l.step(1, StationSeen{MAC: stationMAC(1), VID: vidA, Port: edgePort})
	l.run(second)
	if l.noticed(NoticeStationRefused) != 4 || len(l.nodes[0].Stations()) != 3 {
		t.Error("a configured station in its place")
	}
	// A port that does not learn, and a VLAN that is not the fabric's.
	l.step(1, StationSeen{MAC: hostMAC(1), VID: 999, Port: edgePort})
	l.step(1, StationSeen{MAC: hostMAC(1), VID: vidA, Port: 1})
	if c := l.nodes[1].Counters().Control.StationsIgnored; c != 2 {
		t.Errorf("%d ignored", c)
	}
	// It is no longer configured there, and still seen here.
	l.step(2, SetEndStations{})
	l.run(second)
	if got := fmt.Sprint(l.at(stationMAC(2))); got != "[1 0 1]" {
		t.Errorf("no longer configured elsewhere: %s", got)
	}
}

// A flood of addresses fills the port's share, and is one LSP for many.
func TestStationsCap(t *testing.T) {
	l := learnLab(t, 2, func(_ int, c *Config) { c.Caps.MaxLearned = 300 })
	before := l.nodes[1].Counters().Originations
	for h := range 1000 {
		l.step(1, StationSeen{MAC: hostMAC(h), VID: vidA, Port: edgePort})
		l.run(10_000)
	}
	l.step(1, StationSeen{MAC: hostMAC(2000), VID: vidA, Port: emptyPort})
	l.run(2 * second)
	c := l.nodes[1].Counters()
	if s := l.nodes[0].Stations(); len(s) != 303 || c.Control.StationsOverCap != 700 || l.noticed(NoticeStationsFull) != 1 {
		t.Errorf("%d stations, %+v, %d notices", len(s), c.Control, l.noticed(NoticeStationsFull))
	}
	if n := c.Originations - before; n > 60 {
		t.Errorf("%d fragments built for 301 stations", n)
	}
	l.step(1, tsn.LinkChanged{Port: edgePort, Up: true})
	l.step(1, tsn.LinkChanged{Port: edgePort})
	l.run(5 * second)
	if s := l.nodes[0].Stations(); len(s) != 3 {
		t.Errorf("%d stations after the link went", len(s))
	}
}

// A receiver reads a record of a learned station only as it was written.
func FuzzLearned(f *testing.F) {
	f.Add(uint8(recordLearned), append([]byte{0, 0, 0, 7}, appendStation(nil, EndStation{MAC: stationMAC(1), Port: 3})...))
	f.Add(uint8(recordStation), appendStation(nil, EndStation{MAC: stationMAC(1), Port: 3, Name: "h1"}))
	f.Fuzz(func(t *testing.T, typ uint8, b []byte) {
		s, claim, ok := parseLearned(&isispdu.Raw{Type: typ, Value: b})
		if !ok || s.ManagementAddress.Unmap() != s.ManagementAddress {
			return
		}
		out := stationRecords([]localStation{{EndStation: s, claim: claim}})
		if r := out[0].(*isispdu.GenInfo).Records[0].(*isispdu.Raw); !bytes.Equal(r.Value, b) || s.Learned != (claim != 0) {
			t.Fatalf("%x came back as %x", b, r.Value)
		}
	})
}
