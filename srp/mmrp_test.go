package srp

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"tsnswitch"
	"tsnswitch/srp/mrp"
)

// groupStar is one MMRP with a station on each of n ports, all in VLAN 10
// without a tag and in VLAN 20 with one.
func groupStar(t testing.TB, n int, change func(*MMRPConfig)) (*mapLab, *MMRP, []*talker) {
	cfg := MMRPConfig{Address: tsn.MAC{2, 0, 0, 0, 0xb, 1}}
	var members SetMembers
	for i := range n {
		p := tsn.Port(i + 1)
		cfg.Ports = append(cfg.Ports, MMRPPort{Port: p})
		members.Ports = append(members.Ports, PortMembers{p, []tsn.PortVLAN{{VID: 10, PVID: true, Untagged: true}, {VID: 20}}})
	}
	if change != nil {
		change(&cfg)
	}
	m, err := NewMMRP(cfg)
	if err != nil {
		t.Fatal(err)
	}
	l := &mapLab{t: t}
	l.add(m)
	l.step(0, members)
	var stations []*talker
	for i := range n {
		s := newTalker(mrp.MMRP(), byte(i+1))
		stations = append(stations, s)
		l.connect(mapEnd{0, tsn.Port(i + 1)}, mapEnd{l.add(s), 1})
	}
	return l, m, stations
}

// groupsText is "vid/last octet:port,port ... vid/port:all,unregistered".
func groupsText(r RegisteredGroups) string {
	var out []string
	for _, g := range r.Groups {
		out = append(out, fmt.Sprintf("%d/%02x:%s", g.VID, g.Group[5], strings.Trim(strings.ReplaceAll(fmt.Sprint(g.Ports), " ", ","), "[]")))
	}
	for _, q := range r.Requirements {
		s := fmt.Sprintf("%d/p%d:", q.VID, q.Port)
		if q.AllGroups {
			s += "all"
		}
		if q.UnregisteredGroups {
			s += "unregistered"
		}
		out = append(out, s)
	}
	return strings.Join(out, " ")
}

func (l *mapLab) wantGroups(want string) {
	l.t.Helper()
	if got := groupsText(l.nodes[0].groups); got != want {
		l.t.Errorf("registered %q, want %q", got, want)
	}
}

func groupNo(n byte) mrp.Value { return mrp.MACValue(tsn.MAC{0x91, 0xe0, 0xf0, 0, 1, n}) }

// 10.9: a group goes to the ports behind which it is declared; the others hear of it.
func TestMMRPGroups(t *testing.T) {
	l, _, s := groupStar(t, 3, nil)
	s[0].Join(l.now, groupNo(1), 0, false)
	s[2].Join(l.now, groupNo(1), 0, false)
	s[2].Join(l.now, groupNo(2), 0, false)
	l.run(400 * millisecond)
	l.wantGroups("10/01:1,3 10/02:3")
	if !s[1].heard(groupNo(1)) || !s[0].heard(groupNo(1)) || s[2].heard(groupNo(2)) {
		t.Error("declared on the wrong ports")
	}
	s[2].Leave(l.now, groupNo(1))
	l.run(1500 * millisecond)
	l.wantGroups("10/01:1 10/02:3")
	l.setLink(2, false)
	l.wantGroups("10/01:1")
}

// 10.9.3: service requirements are registered beside groups, and propagated.
func TestMMRPRequirements(t *testing.T) {
	l, m, s := groupStar(t, 2, nil)
	s[0].Join(l.now, mrp.AllGroups.Value(), 0, false)
	s[0].Join(l.now, mrp.UnregisteredGroups.Value(), 0, false)
	s[1].Join(l.now, mrp.UnregisteredGroups.Value(), 0, false)
	l.run(400 * millisecond)
	l.wantGroups("10/p1:allunregistered 10/p2:unregistered")
	if !s[1].heard(mrp.AllGroups.Value()) {
		t.Error("not declared elsewhere")
	}
	all := slices.ContainsFunc(m.Registrations(), func(r Registration) bool {
		return r.Port == 1 && r.VID == 10 && r.Group.IsZero() && r.Require == mrp.AllGroups && r.Registered
	})
	if !all {
		t.Errorf("not shown: %+v", m.Registrations())
	}
}

// 10.12.1: each VLAN is a context of its own; its frames carry its tag.
func TestMMRPContexts(t *testing.T) {
	l, m, s := groupStar(t, 2, nil)
	tagged := newTalker(mrp.MMRP(), 9)
	tagged.tag = 20
	tagged.Start(l.now)
	tagged.Join(l.now, groupNo(3), 0, false)
	for range 3 {
		pdu, _ := tagged.Tick(l.now)
		if pdu == nil {
			break
		}
		f := m.app.Frame(tagged.mac, pdu)
		l.step(0, tsn.Received{Port: 1, Frame: slices.Concat(f[:12], []byte{0x81, 0, 0xe0, 20}, f[12:])})
	}
	l.taped = true
	l.run(400 * millisecond)
	l.wantGroups("20/03:1")
	if s[1].heard(groupNo(3)) {
		t.Error("declared without a tag")
	}
	said := slices.ContainsFunc(l.frames, func(f []byte) bool {
		vid, plain := untag(f)
		pdu, ok := m.app.PDU(plain)
		found := false
		if ok && vid == 20 {
			err := m.app.Read(pdu, func(v *mrp.Vector) { found = found || string(v.First) == groupNo(3).Octet && len(v.Events) > 0 })
			found = found && err == nil
		}
		return found
	})
	if !said {
		t.Error("not declared with the tag")
	}
	f := m.app.Frame(tagged.mac, []byte{0, 0, 0})
	l.step(0, tsn.Received{Port: 1, Frame: slices.Concat(f[:12], []byte{0x81, 0, 0, 30}, f[12:])})
	if m.Counters().NoContext != 1 {
		t.Errorf("%+v", m.Counters())
	}
}

// A port that leaves a VLAN takes its registrations there with it, and a VLAN
// without ports all of them.
func TestMMRPMembers(t *testing.T) {
	l, _, s := groupStar(t, 2, nil)
	s[0].Join(l.now, groupNo(1), 0, false)
	l.run(400 * millisecond)
	l.wantGroups("10/01:1")
	v10 := []tsn.PortVLAN{{VID: 10, PVID: true, Untagged: true}}
	l.step(0, SetMembers{[]PortMembers{{2, v10}}})
	l.wantGroups("")
	l.step(0, SetMembers{[]PortMembers{{1, v10}, {2, v10}}})
	l.run(15 * int64(second))
	l.wantGroups("10/01:1")
	if !s[1].heard(groupNo(1)) {
		t.Error("not declared again")
	}
	l.step(0, SetMembers{})
	l.wantGroups("")
}

// Caps: groups, contexts, and values that no filtering entry can be for.
func TestMMRPCaps(t *testing.T) {
	l, m, s := groupStar(t, 2, func(c *MMRPConfig) { c.MaxGroups, c.MaxContexts = 2, 1 })
	if m.Counters().Refused != 1 {
		t.Errorf("%+v", m.Counters())
	}
	for _, v := range []mrp.Value{
		mrp.MACValue(tsn.Broadcast), mrp.MACValue(tsn.MAC{}), mrp.MACValue(m.app.Group), mrp.MACValue(tsn.MAC{1, 0x80, 0xc2}),
	} {
		s[0].Join(l.now, v, 0, false)
	}
	l.run(400 * millisecond)
	l.wantGroups("")
	if m.MAPCounters().Unknown != 4 {
		t.Errorf("%+v", m.MAPCounters())
	}
	for n := range byte(3) {
		s[1].Join(l.now, groupNo(n), 0, false)
	}
	l.run(400 * millisecond)
	l.wantGroups("10/00:2 10/01:2")
	if n := l.nodes[0].notices; len(n) != 3 || n[0].Kind != NoticeGroupRegistered || n[2].Kind != NoticeGroupsFull || m.MAPCounters().Failed != 1 {
		t.Errorf("notices %v, %+v", n, m.MAPCounters())
	}
	s[1].Leave(l.now, groupNo(0))
	l.run(1500 * millisecond)
	l.wantGroups("10/01:2 10/02:2")
}

// 10.12.2.3: nothing is registered where that is restricted.
func TestMMRPRestricted(t *testing.T) {
	l, _, s := groupStar(t, 2, func(c *MMRPConfig) { c.Ports[0].Restricted = true })
	s[0].Join(l.now, groupNo(1), 0, false)
	s[1].Join(l.now, groupNo(2), 0, false)
	l.run(400 * millisecond)
	l.wantGroups("10/02:2")
	if s[1].heard(groupNo(1)) || !s[0].heard(groupNo(2)) {
		t.Error("declared on the wrong ports")
	}
}

func TestMMRPConfig(t *testing.T) {
	if _, err := NewMMRP(MMRPConfig{Ports: []MMRPPort{{Port: 2}, {Port: 2}}}); err == nil {
		t.Error("a port twice is no error")
	}
}

// Whatever came before: once it is quiet, a group is registered on a port exactly
// if its station declares it and port and VLAN belong together.
func TestMMRPQuiescence(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		l, _, s := groupStar(t, 3, nil)
		random, percent := rapid.Uint64().Draw(rt, "seed"), uint64(rapid.IntRange(0, 50).Draw(rt, "loss"))
		l.loss = func() bool {
			random = random*6364136223846793005 + 1442695040888963407
			return random>>33%100 < percent
		}
		declared := [3]map[byte]bool{{}, {}, {}}
		member := [3]bool{true, true, true}
		for range rapid.IntRange(1, 20).Draw(rt, "steps") {
			i, n := rapid.IntRange(0, 2).Draw(rt, "who"), rapid.Byte().Draw(rt, "group")%3
			switch rapid.IntRange(0, 4).Draw(rt, "what") {
			case 0:
				s[i].Leave(l.now, groupNo(n))
				delete(declared[i], n)
			case 1:
				member[i] = !member[i]
				var m SetMembers
				for k, in := range member {
					if in {
						m.Ports = append(m.Ports, PortMembers{tsn.Port(k + 1), []tsn.PortVLAN{{VID: 10, PVID: true, Untagged: true}}})
					}
				}
				l.step(0, m)
			default:
				s[i].Join(l.now, groupNo(n), 0, false)
				declared[i][n] = true
			}
			l.run(int64(rapid.IntRange(0, 3000).Draw(rt, "wait")) * millisecond)
		}
		percent = 0
		l.run(40 * int64(second))
		var want RegisteredGroups
		for n := range byte(3) {
			g := RegisteredGroup{VID: 10, Group: tsn.MAC{0x91, 0xe0, 0xf0, 0, 1, n}}
			for i := range s {
				if member[i] && declared[i][n] {
					g.Ports = append(g.Ports, tsn.Port(i+1))
				}
			}
			if g.Ports != nil {
				want.Groups = append(want.Groups, g)
			}
		}
		if got := l.nodes[0].groups; groupsText(got) != groupsText(want) {
			rt.Fatalf("%s, want %s", groupsText(got), groupsText(want))
		}
	})
}

// The frames are what others read, with tag and without.
func TestMMRPTshark(t *testing.T) {
	l, _, s := groupStar(t, 2, nil)
	l.taped = true
	for n := range byte(5) {
		s[0].Join(l.now, groupNo(2*n), 0, true)
	}
	s[1].Join(l.now, mrp.AllGroups.Value(), 0, false)
	l.run(500 * millisecond)
	s[0].Leave(l.now, groupNo(2))
	l.run(16 * int64(second))
	sharkAgrees(t, l.frames, "mrp-mmrp")
}

// Any frames and events, in any order.
func FuzzMMRP(f *testing.F) {
	f.Add([]byte{0, 1, 16, 1, 1, 0, 1, 0, 0x6c, 0, 0, 2, 6, 0, 1, 1, 0, 0, 0, 0})
	f.Add([]byte("\x03\x01\x02\x20\x00\x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		_, m, _ := groupStar(t, 3, func(c *MMRPConfig) { c.MaxGroups = 3 })
		fuzzMachine(t, m, mrp.MMRP(), b, func(e tsn.Effect) {
			if r, ok := e.(RegisteredGroups); ok && len(r.Groups) > 3 {
				t.Errorf("%v", r)
			}
		})
	})
}
