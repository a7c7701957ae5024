package srp

import (
	"math"
	"strings"
	"testing"

	"tsnswitch"
	"tsnswitch/srp/mrp"
)

// 802.1Q table 35-15, as the standard lays it out.
func TestMergeTable(t *testing.T) {
	const table = `
              ready         ready-failed  asking-failed  ignore
ready         ready         ready-failed  ready-failed   ready
ready-failed  ready-failed  ready-failed  ready-failed   ready-failed
asking-failed ready-failed  ready-failed  asking-failed  asking-failed
ignore        ready         ready-failed  asking-failed  ignore`
	param := map[string]mrp.Param{}
	for p := range mrp.Param(4) {
		param[strings.ReplaceAll(mrp.ListenerText(p), " ", "-")] = p
	}
	lines := strings.Split(strings.TrimSpace(table), "\n")
	columns := strings.Fields(lines[0])
	for _, line := range lines[1:] {
		row := strings.Fields(line)
		for i, cell := range row[1:] {
			if got := mergeTable[param[row[0]]][param[columns[i]]]; got != param[cell] {
				t.Errorf("%s with %s is %s, want %s", row[0], columns[i], mrp.ListenerText(got), cell)
			}
		}
	}
}

// 802.1Q 35.2.4.4: behind a port on which the talker failed nobody is ready.
func TestHeardBehind(t *testing.T) {
	for p, failed := range map[mrp.Param]mrp.Param{
		mrp.ListenerIgnore: mrp.ListenerIgnore, mrp.ListenerAskingFailed: mrp.ListenerAskingFailed,
		mrp.ListenerReady: mrp.ListenerAskingFailed, mrp.ListenerReadyFailed: mrp.ListenerAskingFailed,
	} {
		if heardBehind(p, true) != failed || heardBehind(p, false) != p {
			t.Errorf("%s", mrp.ListenerText(p))
		}
	}
}

// 802.1Q 6.6.4: SRPdomainBoundaryPort of class A, priority 3.
func TestDomainBoundary(t *testing.T) {
	a, b := mrp.Domain{ClassID: 6, Priority: 3, VID: 2}, mrp.Domain{ClassID: 5, Priority: 2, VID: 2}
	for _, c := range []struct {
		name    string
		capable bool
		heard   []mrp.Domain
		want    bool
	}{
		{"nothing heard", true, nil, false},
		{"keeps no time", false, []mrp.Domain{a, b}, true},
		{"the same", true, []mrp.Domain{b, a}, false},
		{"another VLAN", true, []mrp.Domain{{ClassID: 6, Priority: 3, VID: 7}}, false},
		{"another priority", true, []mrp.Domain{b, {ClassID: 6, Priority: 5, VID: 2}}, true},
		{"another priority from one of two", true, []mrp.Domain{a, {ClassID: 6, Priority: 5, VID: 2}}, true},
		{"only the other class", true, []mrp.Domain{b}, true},
	} {
		if got := boundary(DefaultSRClasses()[0], c.capable, c.heard); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

// One line for each failure code that the bridge finds, in the order in which it
// looks; each wish would also fail a later check where that can be arranged.
func TestFailureCodes(t *testing.T) {
	const bad = 0xffff // frames: for any bandwidth too many
	for _, c := range []struct {
		name string
		code tsn.FailureCode
		cfg  func(*Config)
		wish func(*mrp.Talker)
		then func(*lab, *labNode, *labNode) // lab, talker, bridge
	}{
		{"fits", 0, nil, nil, nil},
		{"first value changed", 16, nil, func(w *mrp.Talker) { w.DestinationAddress = tsn.MAC{} }, func(l *lab, n, _ *labNode) {
			n.station.Join(l.now, n.talker(1).Value(), 0, true) // the other wish still stands
			n.deadline = n.station.Deadline()
		}},
		{"no group", 9, nil, func(w *mrp.Talker) { w.DestinationAddress, w.DataFramePriority = tsn.MAC{0, 1, 2, 3, 4, 5}, 7 }, nil},
		{"broadcast", 9, nil, func(w *mrp.Talker) { w.DestinationAddress = tsn.Broadcast }, nil},
		{"destination in use", 5, nil, func(w *mrp.Talker) { w.DestinationAddress[5], w.DataFramePriority = 9, 7 }, nil},
		{"destination of another owner", 5, nil, func(w *mrp.Talker) {
			w.DestinationAddress, w.VID, w.DataFramePriority = stream(8).DestinationAddress, stream(8).VID, 7
		}, nil},
		{"id of another owner", 4, nil, func(w *mrp.Talker) { w.StreamID, w.DataFramePriority = stream(8).ID, 7 }, nil},
		{"priority", 13, func(c *Config) { c.MSRP.ASCapable = true }, func(w *mrp.Talker) { w.DataFramePriority = 6 }, nil},
		{"keeps no time", 8, func(c *Config) { c.MSRP.ASCapable = true }, func(w *mrp.Talker) { w.VID = 0 }, nil},
		{"no VLAN", 17, nil, func(w *mrp.Talker) { w.VID, w.MaxIntervalFrames = 4095, 0 }, nil},
		{"fan-in", 15, func(c *Config) { c.MSRP.MaxFanIn = 1 }, func(w *mrp.Talker) { w.MaxIntervalFrames = 0 }, nil},
		{"no frames", 2, nil, func(w *mrp.Talker) { w.MaxIntervalFrames, w.MaxFrameSize = 0, 1501 }, nil},
		{"frame size", 14, func(c *Config) { c.MaxStreams = 2 }, func(w *mrp.Talker) { w.MaxFrameSize = 1501 }, nil},
		{"streams", 10, func(c *Config) { c.MaxStreams, c.MaxGroups = 2, 2 }, func(w *mrp.Talker) { w.MaxIntervalFrames = bad }, nil},
		{"groups", 12, func(c *Config) { c.MaxGroups = 2 }, func(w *mrp.Talker) { w.MaxIntervalFrames = bad }, nil},
		{"no group, no entry", 0, func(c *Config) { c.MaxGroups = 2 }, func(w *mrp.Talker) { w.DestinationAddress = tsn.MAC{2, 9} }, nil},
		{"class", 3, func(c *Config) { c.SRPercent = 30 }, func(w *mrp.Talker) { w.MaxIntervalFrames = bad }, nil},
		{"all classes", 1, func(c *Config) { c.SRPercent = 100 }, func(w *mrp.Talker) { w.MaxIntervalFrames = 4 }, nil},
		{"to the last kbit/s", 0, func(c *Config) { c.SRPercent, c.TotalPercent = 100, 100 }, func(w *mrp.Talker) {
			w.MaxFrameSize, w.MaxIntervalFrames = 188, 5 // 73600 of the 100000 - 17024 - 1000 that are left
		}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			// Station 1 talks to station 3 by ports 1 and 2 of bridge 2; station 4 on
			// port 3 already does, and so does another owner.
			l := newLab(t, 1)
			n, b := l.addStation(false), l.addBridge(3, c.cfg)
			to, rival := l.addStation(false), l.addStation(false)
			for i, s := range []*labNode{n, to, rival} {
				l.connect(end{s, 1}, end{b, tsn.Port(i + 1)})
			}
			for p := tsn.Port(1); p <= 3 && c.name != "keeps no time"; p++ {
				l.step(b, SetASCapable{Port: p, Capable: true})
			}
			if r, _ := put(b.bridge, "other", 1, res(stream(8), 2)); r != nil {
				t.Fatal(r)
			}
			b.reserved = b.bridge.reserved()
			held := rival.talker(1)
			held.DestinationAddress = n.talker(9).DestinationAddress
			l.listen(to, held.StreamID, true)
			l.talk(rival, held)
			l.runFor(2)
			w := n.talker(1)
			if c.wish != nil {
				c.wish(&w)
			}
			l.talk(n, w)
			l.runFor(1)
			if c.then != nil {
				c.then(l, n, b)
				l.runFor(1)
			}
			offered := to.station.offered(w.StreamID)
			if offered == nil || offered.FailureCode != c.code || offered.Failed != (c.code != 0) || offered.Failed && offered.BridgeID != b.cfg.MSRP.BridgeID {
				t.Errorf("%+v, want code %d\n%s", offered, c.code, b.text())
			}
			if c.code != 0 && b.bridge.MSRPCounters().Failed[c.code] == 0 {
				t.Errorf("%+v", b.bridge.MSRPCounters())
			}
		})
	}
}

// 802.1Q 35.2.4.3: an emergency stream takes what others have, the youngest's
// first; they fail with code 6 and have it back when it leaves.
func TestPreemption(t *testing.T) {
	l, talker, b2, b3, far, _ := line(t, nil)
	code := func(unique byte) tsn.FailureCode {
		o := far.station.offered(talker.talker(unique).StreamID)
		if o == nil {
			t.Fatalf("stream %d is not offered", unique)
		}
		return o.FailureCode
	}
	for n := byte(1); n <= 4; n++ {
		l.listen(far, talker.talker(n).StreamID, true)
		l.talk(talker, talker.talker(n))
		l.runFor(1)
	}
	w := talker.talker(5)
	w.Rank = 0
	l.talk(talker, w)
	l.runFor(1)
	if code(4) != 0 || code(5) != 0 {
		t.Errorf("an offer alone takes nothing: codes %d, %d", code(4), code(5))
	}
	l.listen(far, w.StreamID, true)
	l.runFor(2)
	if code(3) != 0 || code(4) != tsn.FailurePreempted || code(5) != 0 || b3.bridge.MSRPCounters().Preempted != 1 {
		t.Errorf("codes %d, %d, %d\n%s", code(3), code(4), code(5), b2.text())
	}
	l.hush(talker, w.StreamID)
	l.runFor(2)
	if code(4) != 0 || len(b2.bridge.Streams()) != 4 {
		t.Errorf("code %d\n%s", code(4), b2.text())
	}
}

// 802.1Q 35.2.2.8.6: latency that grows under a reservation fails it with code 7
// until it is back or the listener has let go; a sum stops at the largest number.
func TestLatencyGrows(t *testing.T) {
	l, talker, b2, _, far, _ := line(t, nil)
	w := talker.talker(1)
	w.AccumulatedLatency = 1000
	l.listen(far, w.StreamID, true)
	l.talk(talker, w)
	l.runFor(2)
	offered := func(code tsn.FailureCode, latency uint32) {
		t.Helper()
		l.runFor(2)
		if o := far.station.offered(w.StreamID); o == nil || o.FailureCode != code || o.AccumulatedLatency != latency {
			t.Errorf("%+v, want code %d, %d ns\n%s", o, code, latency, b2.text())
		}
	}
	offered(0, 1000+2*445_000)
	w.AccumulatedLatency = 1001
	l.talk(talker, w)
	offered(tsn.FailureLatencyChanged, 1001+2*445_000)
	w.AccumulatedLatency = 999
	l.talk(talker, w)
	offered(0, 999+2*445_000)
	w.AccumulatedLatency = math.MaxUint32 - 1
	l.talk(talker, w)
	offered(tsn.FailureLatencyChanged, math.MaxUint32)
	l.listen(far, w.StreamID, false)
	l.runFor(2)
	l.listen(far, w.StreamID, true)
	offered(0, math.MaxUint32)
}

// A measured link delay is part of the latency, from the next time on that the
// port becomes capable: its jitter fails nothing.
func TestLinkDelay(t *testing.T) {
	l, talker, b2, _, far, _ := line(t, func(c *Config) { c.MSRP.ASCapable = true })
	w := talker.talker(1)
	l.listen(far, w.StreamID, true)
	l.talk(talker, w)
	for _, b := range sortedNodes(l, func(n *labNode) bool { return n.bridge != nil }) {
		for p := tsn.Port(1); p <= 3; p++ {
			l.step(b, SetASCapable{Port: p, Capable: true, LinkDelay: 500})
		}
	}
	l.runFor(2)
	l.step(b2, SetASCapable{Port: 2, Capable: true, LinkDelay: 900})
	l.runFor(2)
	if o := far.station.offered(w.StreamID); o == nil || o.Failed || o.AccumulatedLatency != 2*445_500 {
		t.Errorf("%+v\n%s", o, b2.text())
	}
	l.step(b2, SetASCapable{Port: 2})
	l.runFor(2)
	if o := far.station.offered(w.StreamID); o == nil || o.FailureCode != tsn.FailureEgressNotAVB || len(b2.bridge.Streams()) != 0 {
		t.Errorf("%+v\n%s", o, b2.text())
	}
}

// A link that gets slower without going down adds latency to all its streams:
// they have to be asked for anew. One whose rate is not known holds nothing.
func TestSlowerLink(t *testing.T) {
	for rate, code := range map[tsn.Rate]tsn.FailureCode{50 * tsn.Mbps: tsn.FailureLatencyChanged, 0: tsn.FailureClassBandwidth} {
		l, talker, b2, _, far, _ := line(t, nil)
		for n := byte(1); n <= 3; n++ {
			l.listen(far, talker.talker(n).StreamID, true)
			l.talk(talker, talker.talker(n))
		}
		l.runFor(2)
		l.step(b2, tsn.LinkChanged{Port: 2, Up: true, Rate: rate})
		if s := b2.bridge.Streams(); len(s) != 0 {
			t.Errorf("%s: holds %+v", rate, s)
		}
		l.runFor(2)
		for n := byte(1); n <= 3; n++ {
			if o := far.station.offered(talker.talker(n).StreamID); o == nil || o.FailureCode != code {
				t.Errorf("%s: %+v", rate, o)
			}
		}
		for n := byte(1); n <= 3; n++ {
			l.listen(far, talker.talker(n).StreamID, false)
			l.runFor(1)
			l.listen(far, talker.talker(n).StreamID, true)
		}
		l.runFor(2)
		if s := b2.bridge.Streams(); len(s) != int(rate/(25*tsn.Mbps)) {
			t.Errorf("%s: holds %+v", rate, s)
		}
	}
}

// 802.1Q 35.2.4.2: what failed farther up keeps its bridge and code.
func TestFailurePassesOn(t *testing.T) {
	l, talker, b2, b3, far, _ := line(t, nil)
	w := talker.talker(1)
	w.MaxIntervalFrames = 5
	l.listen(far, w.StreamID, true)
	l.talk(talker, w)
	l.runFor(2)
	o := far.station.offered(w.StreamID)
	if o == nil || o.FailureCode != tsn.FailureClassBandwidth || o.BridgeID != b2.cfg.MSRP.BridgeID {
		t.Errorf("%+v\n%s", o, b3.text())
	}
	if got := talker.station.answer[w.StreamID]; got != mrp.ListenerAskingFailed {
		t.Errorf("the talker hears %s", mrp.ListenerText(got))
	}
	if n := b3.bridge.MSRPCounters().Failed; n != [32]uint64{} {
		t.Errorf("b3 says it failed %v", n)
	}
}

// A port that is up and blocked neither takes nor makes declarations.
func TestBlocked(t *testing.T) {
	l, talker, b2, _, far, near := line(t, nil)
	w := talker.talker(1)
	l.listen(far, w.StreamID, true)
	l.listen(near, w.StreamID, true)
	l.talk(talker, w)
	l.runFor(2)
	for _, c := range []struct {
		blocked   []tsn.Port
		far, near bool
	}{{[]tsn.Port{2}, false, true}, {[]tsn.Port{1}, false, false}, {[]tsn.Port{3}, true, false}, {nil, true, true}} {
		l.step(b2, SetBlocked{c.blocked})
		l.runFor(2)
		if f, n := far.station.offered(w.StreamID) != nil, near.station.offered(w.StreamID) != nil; f != c.far || n != c.near {
			t.Errorf("blocked %v: offered %v, %v", c.blocked, f, n)
		}
	}
}

// 802.1Q 10.6: on a shared medium a reservation stands while one of its listeners does.
func TestSharedMedium(t *testing.T) {
	l := newLab(t, 3)
	talker := l.addStation(false)
	b := l.addBridge(2, func(c *Config) { c.Ports[1].Shared = true })
	one, two := l.addStation(true), l.addStation(true)
	l.connect(end{talker, 1}, end{b, 1})
	l.connect(end{b, 2}, end{one, 1}, end{two, 1})
	w := talker.talker(1)
	l.listen(one, w.StreamID, true)
	l.listen(two, w.StreamID, true)
	l.talk(talker, w)
	l.runFor(40) // several LeaveAlls
	l.listen(one, w.StreamID, false)
	l.runFor(40)
	if len(b.bridge.Streams()) != 1 || b.bridge.MSRPCounters().Released != 0 {
		t.Errorf("after one of two left: %+v\n%s", b.bridge.MSRPCounters(), b.text())
	}
	l.listen(two, w.StreamID, false)
	l.runFor(40)
	if len(b.bridge.Streams()) != 0 {
		t.Errorf("after both left: %s", b.text())
	}
}

// 802.1Q 35.2.4.1: the same StreamID from a second port is not taken over while the
// first stands, and is when it goes.
func TestTwoTalkersOneID(t *testing.T) {
	l, talker, b2, _, far, near := line(t, nil)
	w := talker.talker(1)
	l.listen(far, w.StreamID, true)
	l.talk(talker, w)
	l.runFor(1)
	l.talk(near, w)
	l.runFor(1)
	want(t, b2, `b2 02-00-00-00-01-01:0001 from port 1, says ready
   port 2: listener ready, advertised, 445000 ns, reserved
   port 3: listener ignore, advertised, 445000 ns
`)
	l.hush(talker, w.StreamID)
	l.runFor(1)
	want(t, b2, `b2 02-00-00-00-01-01:0001 from port 3, says ready
   port 1: listener ignore, advertised, 445000 ns
   port 2: listener ready, advertised, 445000 ns, reserved
`)
}

// MSRP and other owners share a port: neither takes what the other holds.
func TestOneAccount(t *testing.T) {
	l, talker, b2, _, far, _ := line(t, nil)
	heavy := with(stream(1), func(s *tsn.Stream) { s.MaxIntervalFrames = 70 }) // 70 Mbit/s
	w := talker.talker(1)
	w.Rank = 0 // not even in an emergency
	l.listen(far, w.StreamID, true)
	l.step(b2, PutReservations{Owner: "o", Generation: 1, Reservations: []tsn.Reservation{res(heavy, 2)}})
	l.talk(talker, w)
	l.runFor(2)
	if o := far.station.offered(w.StreamID); o == nil || o.FailureCode != tsn.FailureBandwidth {
		t.Errorf("%+v", o)
	}
	l.step(b2, PutReservations{Owner: "o", Generation: 2})
	l.runFor(2)
	if s := b2.bridge.Streams(); len(s) != 1 || s[0].Owner != MSRPOwner || s[0].Bandwidth != 17024 {
		t.Errorf("%+v", s)
	}
	if r, _ := put(b2.bridge, "o", 3, res(heavy, 2)); r == nil || r.Code != tsn.FailureBandwidth {
		t.Errorf("%v", r)
	}
	if r, _ := put(b2.bridge, MSRPOwner, 3); r == nil || r.Error() != `owner "msrp": its streams are those of MSRP` {
		t.Errorf("%v", r)
	}
}

// Trees that are not known, that come in elsewhere, or that have a fault.
func TestTrees(t *testing.T) {
	l, talker, b2, _, _, near := line(t, func(c *Config) { c.MSRP.Trees = true })
	w := talker.talker(1)
	l.talk(talker, w)
	l.runFor(1)
	key := TreeKey{2, talker.mac()}
	if len(b2.wanted) != 1 || b2.wanted[0] != key {
		t.Fatalf("wanted %v", b2.wanted)
	}
	for _, c := range []struct {
		name string
		tree Tree
		code int // -1: not offered
	}{
		{"unknown", Tree{}, -1},
		{"known", Tree{TreeKey: key, Ingress: []tsn.Port{1}, Egress: []tsn.Port{3}}, 0},
		{"own edge", Tree{TreeKey: key, Ingress: []tsn.Port{1, 3}, Egress: []tsn.Port{2, 3}}, 0},
		{"elsewhere", Tree{TreeKey: key, Ingress: []tsn.Port{2}, Egress: []tsn.Port{3}}, -1},
		{"not here", Tree{TreeKey: key, Ingress: []tsn.Port{1}, Egress: []tsn.Port{2}}, -1},
		{"no such VLAN", Tree{TreeKey: key, Ingress: []tsn.Port{1, 3}, Egress: []tsn.Port{1, 3}, Failure: tsn.FailureVLANBlocked}, 17},
	} {
		l.step(b2, SetTrees{[]Tree{c.tree}})
		l.runFor(1)
		got := -1
		if o := near.station.offered(w.StreamID); o != nil {
			got = int(o.FailureCode)
		}
		if got != c.code {
			t.Errorf("%s: %d, want %d\n%s", c.name, got, c.code, b2.text())
		}
	}
	l.hush(talker, w.StreamID)
	l.runFor(1)
	if len(b2.wanted) != 0 {
		t.Errorf("wanted %v", b2.wanted)
	}
}

// What cannot be meant is said at once.
func TestNewRefusesMSRP(t *testing.T) {
	for want, c := range map[string]MSRPConfig{
		"srp: the fan-in limit is negative": {MaxFanIn: -1},
		"srp: SR class 6: priority 6 is of no SR traffic class, or its interval of 125000 ns is none": {Classes: []SRClass{{6, 6, 2, 125_000}}},
		"srp: SR class 5: priority 2 is of no SR traffic class, or its interval of 0 ns is none":      {Classes: []SRClass{{5, 2, 2, 0}}},
	} {
		if _, err := New(Config{MSRP: &c}); err == nil || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

// Every code of the standard has a cause here. Which event gives it is tested by
// TestFailureCodes (0 to 5, 8 to 10, 12 to 17), TestPreemption (6), TestLatencyGrows
// (7), TestRegistrations (11, 17, 18), TestPriorityMismatch (19), TestEnhancedCodes
// (20 to 25) and TestMaxLatency (21), each with the bridge that is named.
func TestFailureCauses(t *testing.T) {
	causes := FailureCauses()
	for i, c := range causes {
		if int(c.Code) != i+1 || c.When == "" || c.Remedy == "" {
			t.Errorf("%+v", c)
		}
	}
	if len(causes) != tsn.NumFailureCodes-1 {
		t.Errorf("%d causes", len(causes))
	}
}

// 802.1Q 35.2.4.3.1: with talker pruning a talker is declared only where MMRP has
// its destination, or all groups, and with pruning by VLAN only where MVRP has
// that; a table of MMRP that is full is a failure and no silence. VLANs that are
// forbidden or untagged on a port fail there.
func TestRegistrations(t *testing.T) {
	prune := func(c *Config) { c.MSRP.TalkerPruning = true }
	member := func(untagged bool) []PortMembers {
		return []PortMembers{{Port: 3, VLANs: []tsn.PortVLAN{{VID: 2, Untagged: untagged}}}}
	}
	groups := func(change func(*RegisteredGroups)) (r RegisteredGroups) { change(&r); return r }
	for _, c := range []struct {
		name string
		cfg  func(*Config)
		ev   SetRegistrations
		code int // -1: not offered
	}{
		{"nothing", nil, SetRegistrations{}, 0},
		{"forbidden elsewhere", nil, SetRegistrations{Forbidden: []PortVLANs{{2, []tsn.VID{2}}}}, 0},
		{"forbidden", nil, SetRegistrations{Forbidden: []PortVLANs{{3, []tsn.VID{2}}}}, 17},
		{"untagged", nil, SetRegistrations{Members: member(true)}, 18},
		{"tagged", nil, SetRegistrations{Members: member(false)}, 0},
		{"pruned", prune, SetRegistrations{}, -1},
		{"registered elsewhere", prune, SetRegistrations{Groups: groups(func(r *RegisteredGroups) {
			r.Groups = []RegisteredGroup{{2, tsn.MAC{0x91, 0xe0, 0xf0, 0, 1, 1}, []tsn.Port{2}}}
		})}, -1},
		{"another group", prune, SetRegistrations{Groups: groups(func(r *RegisteredGroups) {
			r.Groups = []RegisteredGroup{{2, tsn.MAC{0x91, 0xe0, 0xf0, 0, 1, 2}, []tsn.Port{3}}}
		})}, -1},
		{"registered", prune, SetRegistrations{Groups: groups(func(r *RegisteredGroups) {
			r.Groups = []RegisteredGroup{{2, tsn.MAC{0x91, 0xe0, 0xf0, 0, 1, 1}, []tsn.Port{2, 3}}}
		})}, 0},
		{"all groups", prune, SetRegistrations{Groups: groups(func(r *RegisteredGroups) {
			r.Requirements = []Requirement{{VID: 2, Port: 3, AllGroups: true}}
		})}, 0},
		{"in another VLAN", prune, SetRegistrations{Groups: groups(func(r *RegisteredGroups) {
			r.Groups = []RegisteredGroup{{3, tsn.MAC{0x91, 0xe0, 0xf0, 0, 1, 1}, []tsn.Port{3}}}
		})}, 0},
		{"all unregistered groups", prune, SetRegistrations{Groups: groups(func(r *RegisteredGroups) {
			r.Requirements = []Requirement{{VID: 2, Port: 3, UnregisteredGroups: true}}
		})}, -1},
		{"full", prune, SetRegistrations{GroupsFull: true}, 11},
		{"never pruned", func(c *Config) { prune(c); c.Ports[2].NoPruning = true }, SetRegistrations{GroupsFull: true}, 0},
		{"no VLAN", func(c *Config) { c.MSRP.TalkerVLANPruning = true }, SetRegistrations{}, -1},
		{"VLAN", func(c *Config) { c.MSRP.TalkerVLANPruning = true }, SetRegistrations{Members: member(false)}, 0},
		{"VLAN by MVRP", func(c *Config) { c.MSRP.TalkerVLANPruning = true }, SetRegistrations{Registered: []PortVLANs{{3, []tsn.VID{2}}}}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			l, talker, b2, _, _, near := line(t, c.cfg)
			l.step(b2, c.ev)
			l.talk(talker, talker.talker(1))
			l.runFor(1)
			got := -1
			if o := near.station.offered(talker.talker(1).StreamID); o != nil {
				got = int(o.FailureCode)
			}
			if got != c.code {
				t.Errorf("code %d, want %d\n%s", got, c.code, b2.text())
			}
		})
	}
}

// Code 19: the station means something else by the priority.
func TestPriorityMismatch(t *testing.T) {
	l, talker, b2, _, _, near := line(t, nil)
	l.talk(talker, talker.talker(1))
	d := mrp.Domain{ClassID: 5, Priority: 3, VID: 2}.Value()
	talker.station.Join(l.now, d, 0, true)
	l.runFor(1)
	if o := near.station.offered(talker.talker(1).StreamID); o == nil || o.FailureCode != tsn.FailurePriorityMismatch {
		t.Errorf("%+v\n%s", o, b2.text())
	}
	talker.station.Leave(l.now, d)
	talker.deadline = talker.station.Deadline()
	l.runFor(1)
	if o := near.station.offered(talker.talker(1).StreamID); o == nil || o.Failed {
		t.Errorf("%+v\n%s", o, b2.text())
	}
}

// Talkers over a port's limit fail with code 10, and come in when others leave;
// another port has a limit of its own.
func TestTalkersOnAPort(t *testing.T) {
	l, talker, b2, _, _, near := line(t, func(c *Config) { c.MSRP.MaxTalkers = 2 })
	failed := func(want string) {
		t.Helper()
		l.runFor(1)
		got := ""
		for _, s := range b2.bridge.MSRPStreams() {
			for _, p := range s.Ports {
				if p.Port == 2 && p.Declared.FailureCode == tsn.FailureMSRPResources {
					got += string(rune('0' + s.ID[7]))
				}
			}
		}
		if got != want {
			t.Errorf("failed %s, want %s\n%s", got, want, b2.text())
		}
	}
	for n := byte(1); n <= 4; n++ {
		l.talk(talker, talker.talker(n))
		l.runFor(1)
	}
	l.talk(near, near.talker(1))
	failed("34")
	l.hush(talker, talker.talker(4).StreamID)
	failed("3")
	l.hush(talker, talker.talker(1).StreamID)
	failed("")
	l.talk(talker, talker.talker(4))
	failed("4")
	l.setLink(l.lans[0], false, 0)
	l.setLink(l.lans[0], true, 100*tsn.Mbps)
	failed("4")
}
