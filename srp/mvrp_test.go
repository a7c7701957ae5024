package srp

import (
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"tsnswitch"
	"tsnswitch/srp/mrp"
)

const millisecond = 1_000_000

// vlanBridge is an MVRP of n ports, changed.
func vlanBridge(t testing.TB, n int, seed uint64, change func(*MVRPConfig)) *MVRP {
	t.Helper()
	cfg := MVRPConfig{Address: tsn.MAC{2, 0, 0, 0, 0xb, byte(seed)}, Seed: seed << 40}
	for i := range n {
		cfg.Ports = append(cfg.Ports, MVRPPort{Port: tsn.Port(i + 1)})
	}
	if change != nil {
		change(&cfg)
	}
	m, err := NewMVRP(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// star is one bridge with a station on each of its ports: node 0, and 1...
func star(t testing.TB, n int, change func(*MVRPConfig)) (*mapLab, *MVRP, []*talker) {
	l := &mapLab{t: t}
	b := vlanBridge(t, n, 1, change)
	l.add(b)
	var stations []*talker
	for i := range n {
		s := newTalker(mrp.MVRP(), byte(i+1))
		stations = append(stations, s)
		l.connect(mapEnd{0, tsn.Port(i + 1)}, mapEnd{l.add(s), 1})
	}
	return l, b, stations
}

func (l *mapLab) wantVLANs(n int, want string) {
	l.t.Helper()
	if got := vlansText(l.nodes[n].vlans); got != want {
		l.t.Errorf("node %d: registered %q, want %q", n, got, want)
	}
}

// vlansText is "port:vid,vid port:vid".
func vlansText(r RegisteredVLANs) string {
	var out []string
	for _, p := range r.Ports {
		out = append(out, fmt.Sprintf("%d:%s", p.Port, strings.Trim(strings.ReplaceAll(fmt.Sprint(p.VIDs), " ", ","), "[]")))
	}
	return strings.Join(out, " ")
}

// 11.2.1, 10.3: a port is a member while a VLAN is declared behind it; all other
// ports declare it, and that one does not unless somebody else wants it too.
func TestMVRPMembership(t *testing.T) {
	l, _, s := star(t, 3, nil)
	vid := mrp.VIDValue(5)
	s[0].Join(l.now, vid, 0, false)
	l.run(400 * millisecond)
	l.wantVLANs(0, "1:5")
	if s[0].heard(vid) || !s[1].heard(vid) || !s[2].heard(vid) {
		t.Error("declared on the wrong ports")
	}
	s[1].Join(l.now, vid, 0, false)
	l.run(400 * millisecond)
	l.wantVLANs(0, "1:5 2:5")
	if !s[0].heard(vid) {
		t.Error("not declared to the first")
	}
	s[0].Leave(l.now, vid)
	l.run(1500 * millisecond)
	l.wantVLANs(0, "2:5")
	if !s[2].heard(vid) || s[1].heard(vid) {
		t.Error("declared on the wrong ports after a leave")
	}
	s[1].Leave(l.now, vid)
	l.run(1500 * millisecond)
	l.wantVLANs(0, "")
}

// 10.7.5.2: a link that goes down ends what was registered there at once.
func TestMVRPLinkDown(t *testing.T) {
	l, _, s := star(t, 2, nil)
	s[0].Join(l.now, mrp.VIDValue(5), 0, false)
	l.run(400 * millisecond)
	l.setLink(0, false)
	l.wantVLANs(0, "")
	l.run(1500 * millisecond)
	if s[1].heard(mrp.VIDValue(5)) {
		t.Error("still declared elsewhere")
	}
	l.setLink(0, true)
	l.run(400 * millisecond)
	l.wantVLANs(0, "1:5")
}

// 10.7.2: what is Fixed on a port is declared on the others and is no news;
// what is Forbidden is not registered, whatever is said.
func TestMVRPAdministrativeControl(t *testing.T) {
	l, b, s := star(t, 3, func(c *MVRPConfig) {
		c.Ports[0].Fixed, c.Ports[1].Forbidden = []tsn.VID{7}, []tsn.VID{8}
		c.Ports[2].Silent = []tsn.VID{7}
	})
	l.run(400 * millisecond)
	if s[0].heard(mrp.VIDValue(7)) || !s[1].heard(mrp.VIDValue(7)) {
		t.Error("VLAN 7, fixed on port 1, is to be declared on port 2 only")
	}
	if s[2].heard(mrp.VIDValue(7)) {
		t.Error("VLAN 7 is declared on port 3, which is no participant of it")
	}
	s[0].Join(l.now, mrp.VIDValue(7), 0, false)
	s[1].Join(l.now, mrp.VIDValue(8), 0, false)
	s[1].Join(l.now, mrp.VIDValue(9), 0, false)
	l.run(400 * millisecond)
	l.wantVLANs(0, "2:9")
	if s[0].heard(mrp.VIDValue(8)) {
		t.Error("VLAN 8 went further from a port where it is forbidden")
	}
	modes := map[string]RegistrationMode{}
	for _, r := range b.Registrations() {
		modes[fmt.Sprint(r.Port, " ", r.VID, " ", r.Registered)] = r.Mode
	}
	for k, want := range map[string]RegistrationMode{"1 7 true": mrp.Fixed, "2 9 true": mrp.Normal} {
		if got, ok := modes[k]; !ok || got != want {
			t.Errorf("%s: %v, %t; all: %v", k, got, ok, modes)
		}
	}
}

// 11.2.3.2.3: with Restricted_VLAN_Registration nobody makes a new VLAN.
func TestMVRPRestricted(t *testing.T) {
	l, _, s := star(t, 2, func(c *MVRPConfig) {
		c.Always = []tsn.VID{100}
		c.Ports[0].Restricted = true
	})
	s[0].Join(l.now, mrp.VIDValue(5), 0, false)
	s[0].Join(l.now, mrp.VIDValue(100), 0, false)
	l.run(400 * millisecond)
	l.wantVLANs(0, "1:100")
}

// VLANs that reach the rest of the network without MVRP are declared everywhere,
// and what was given back is no longer.
func TestMVRPAlways(t *testing.T) {
	l, _, s := star(t, 2, func(c *MVRPConfig) { c.Always = []tsn.VID{100, 101} })
	l.run(400 * millisecond)
	for _, x := range s {
		if !x.heard(mrp.VIDValue(100)) || !x.heard(mrp.VIDValue(101)) {
			t.Error("not declared")
		}
	}
	l.step(0, SetAlways{[]tsn.VID{101, 102}})
	l.run(1500 * millisecond)
	for _, x := range s {
		if x.heard(mrp.VIDValue(100)) || !x.heard(mrp.VIDValue(101)) || !x.heard(mrp.VIDValue(102)) {
			t.Error("not those of the second time")
		}
	}
	l.wantVLANs(0, "")
}

// 11.2.5: a new declaration empties what was learned in its VLAN on the other
// ports, and is new to those that hear of it.
func TestMVRPNewFlushes(t *testing.T) {
	l, b, s := star(t, 3, nil)
	s[0].Join(l.now, mrp.VIDValue(5), 0, false)
	l.run(400 * millisecond)
	if n := len(l.nodes[0].flushed); n != 0 {
		t.Errorf("%d flushes for what is not new", n)
	}
	s[1].Join(l.now, mrp.VIDValue(5), 0, true)
	before := s[0].Counters().Events[mrp.New]
	l.run(400 * millisecond)
	if f := l.nodes[0].flushed; len(f) == 0 || f[0].VID != 5 || !slices.Equal(f[0].Ports, []tsn.Port{1, 3}) {
		t.Errorf("flushed %v", f)
	}
	if s[0].Counters().Events[mrp.New] == before {
		t.Error("the other station heard of nothing new")
	}
	if b.MAPCounters().New == 0 {
		t.Error("not counted")
	}
}

// 10.3: ports outside the active topology neither declare nor are a reason to;
// what is registered there stays, and a port that comes in brings it as new.
func TestMVRPBlocked(t *testing.T) {
	l, _, s := star(t, 3, nil)
	vid := mrp.VIDValue(5)
	l.step(0, SetBlocked{[]tsn.Port{1}})
	s[0].Join(l.now, vid, 0, false)
	s[1].Join(l.now, mrp.VIDValue(6), 0, false)
	l.run(400 * millisecond)
	l.wantVLANs(0, "1:5 2:6")
	if s[1].heard(vid) || s[0].heard(mrp.VIDValue(6)) || !s[2].heard(mrp.VIDValue(6)) {
		t.Error("declared over a blocked port")
	}
	before := s[1].Counters().Events[mrp.New]
	l.step(0, SetBlocked{})
	l.run(400 * millisecond)
	if !s[1].heard(vid) || !s[0].heard(mrp.VIDValue(6)) || s[1].Counters().Events[mrp.New] == before {
		t.Error("not declared as new after the port came in")
	}
	l.step(0, SetBlocked{[]tsn.Port{1}})
	l.run(1500 * millisecond)
	if s[1].heard(vid) {
		t.Error("still declared")
	}
}

// 11.2.1: without room a registration fails, goes no further and says so; when
// there is room again it is made up for.
func TestMVRPFull(t *testing.T) {
	l, b, s := star(t, 2, func(c *MVRPConfig) {
		c.MaxVLANs = 2
		c.Always = []tsn.VID{100}
	})
	for _, v := range []tsn.VID{5, 6, 7, 100} {
		s[0].Join(l.now, mrp.VIDValue(v), 0, false)
	}
	l.run(400 * millisecond)
	l.wantVLANs(0, "1:5,6,100")
	if s[1].heard(mrp.VIDValue(7)) || b.MAPCounters().Failed == 0 {
		t.Error("VLAN 7 was not refused")
	}
	if n := l.nodes[0].notices; len(n) != 4 || n[0] != (tsn.Notice{Kind: NoticeVLANRegistered, Port: 1, Detail: "VLAN 5"}) || n[3].Kind != NoticeVLANsFull || n[3].Port != 1 {
		t.Errorf("notices %v", n)
	}
	failed := slices.ContainsFunc(b.Registrations(), func(r Registration) bool { return r.VID == 7 && r.Failed && !r.Registered })
	if !failed {
		t.Error("the failure does not show")
	}
	s[0].Leave(l.now, mrp.VIDValue(5))
	l.run(1500 * millisecond)
	l.wantVLANs(0, "1:6,7,100")
	if !s[1].heard(mrp.VIDValue(7)) {
		t.Error("VLAN 7 is not declared although there is room")
	}
}

// A station that declares every VLAN there is takes no more than its share.
func TestMVRPEverything(t *testing.T) {
	l, b, s := star(t, 3, nil)
	for v := range tsn.VID(4096) {
		s[0].Join(l.now, mrp.VIDValue(v), 0, true)
	}
	s[1].Join(l.now, mrp.VIDValue(4000), 0, false)
	l.run(15 * int64(second))
	n := 0
	for _, p := range l.nodes[0].vlans.Ports {
		n = max(n, len(p.VIDs))
	}
	if n != 64 || b.MAPCounters().Failed == 0 || b.MAPCounters().Unknown == 0 {
		t.Errorf("%d VLANs, %+v", n, b.MAPCounters())
	}
	if c := b.PortCounters()[0]; c.Dropped == 0 {
		t.Errorf("%+v", c)
	}
}

func TestMVRPConfig(t *testing.T) {
	for want, cfg := range map[string]MVRPConfig{
		"port 2: ports must be ascending": {Ports: []MVRPPort{{Port: 3}, {Port: 2}}},
		"port 0: ports must be ascending": {Ports: []MVRPPort{{}}},
		"VLAN 4095 is outside 1..4094":    {Ports: []MVRPPort{{Port: 1, Fixed: []tsn.VID{4095}}}},
		"VLAN 0 is outside 1..4094":       {Ports: []MVRPPort{{Port: 1}}, Always: []tsn.VID{0}},
	} {
		if _, err := NewMVRP(cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

// In any tree of bridges, whatever was declared, withdrawn and lost before: once
// it is quiet, a VLAN is registered exactly on the ports behind which it is declared.
func TestMVRPTrees(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		l := &mapLab{t: t}
		n := rapid.IntRange(1, 6).Draw(rt, "bridges")
		parent := make([]int, n)
		used := make([]tsn.Port, n)
		for i := range n {
			l.add(vlanBridge(t, 2*n+4, uint64(i+1), nil))
		}
		behind := map[mapEnd]int{} // the node at the other end
		link := func(a, b int, pb tsn.Port) {
			used[a]++
			l.connect(mapEnd{a, used[a]}, mapEnd{b, pb})
			behind[mapEnd{a, used[a]}], behind[mapEnd{b, pb}] = b, a
		}
		for i := 1; i < n; i++ {
			parent[i] = rapid.IntRange(0, i-1).Draw(rt, "parent")
			used[i]++
			link(parent[i], i, used[i])
		}
		var stations []*talker
		var at []int
		for i := range rapid.IntRange(1, 4).Draw(rt, "stations") {
			s := newTalker(mrp.MVRP(), byte(i+1))
			stations, at = append(stations, s), append(at, l.add(s))
			link(rapid.IntRange(0, n-1).Draw(rt, "bridge"), at[i], 1)
		}
		percent := uint64(rapid.IntRange(0, 40).Draw(rt, "loss"))
		random := rapid.Uint64().Draw(rt, "seed")
		l.loss = func() bool {
			random = random*6364136223846793005 + 1442695040888963407
			return random>>33%100 < percent
		}
		declared := make([]map[tsn.VID]bool, len(stations))
		for range rapid.IntRange(1, 20).Draw(rt, "steps") {
			i := rapid.IntRange(0, len(stations)-1).Draw(rt, "who")
			vid := tsn.VID(rapid.IntRange(1, 4).Draw(rt, "vid"))
			if declared[i] == nil {
				declared[i] = map[tsn.VID]bool{}
			}
			switch rapid.IntRange(0, 3).Draw(rt, "what") {
			case 0:
				stations[i].Leave(l.now, mrp.VIDValue(vid))
				delete(declared[i], vid)
			case 1:
				k := rapid.IntRange(0, len(l.links)-1).Draw(rt, "link")
				l.setLink(k, false)
				l.run(int64(rapid.IntRange(0, 2000).Draw(rt, "down")) * millisecond)
				l.setLink(k, true)
			default:
				stations[i].Join(l.now, mrp.VIDValue(vid), 0, rapid.Bool().Draw(rt, "new"))
				declared[i][vid] = true
			}
			l.run(int64(rapid.IntRange(0, 3000).Draw(rt, "wait")) * millisecond)
		}
		percent = 0
		l.run(40 * int64(second))
		var reaches func(from, via int, vid tsn.VID) bool // is vid declared beyond via, seen from from
		reaches = func(from, via int, vid tsn.VID) bool {
			if i := slices.Index(at, via); i >= 0 {
				return declared[i][vid]
			}
			for p := tsn.Port(1); p <= used[via]; p++ {
				if next, ok := behind[mapEnd{via, p}]; ok && next != from && reaches(via, next, vid) {
					return true
				}
			}
			return false
		}
		for b := range n {
			var want RegisteredVLANs
			for p := tsn.Port(1); p <= used[b]; p++ {
				var vids []tsn.VID
				for vid := tsn.VID(1); vid <= 4; vid++ {
					if reaches(b, behind[mapEnd{b, p}], vid) {
						vids = append(vids, vid)
					}
				}
				if vids != nil {
					want.Ports = append(want.Ports, PortVLANs{p, vids})
				}
			}
			if got := l.nodes[b].vlans; vlansText(got) != vlansText(want) {
				rt.Fatalf("bridge %d: %s, want %s", b, vlansText(got), vlansText(want))
			}
		}
	})
}

// The frames are what others read: tshark finds nothing wrong with them.
func TestMVRPTshark(t *testing.T) {
	l, _, s := star(t, 2, func(c *MVRPConfig) { c.Always = []tsn.VID{100, 101, 102, 4094} })
	l.taped = true
	for _, v := range []tsn.VID{1, 2, 3, 9} {
		s[0].Join(l.now, mrp.VIDValue(v), 0, true)
	}
	l.run(500 * millisecond)
	s[0].Leave(l.now, mrp.VIDValue(2))
	l.run(16 * int64(second))
	sharkAgrees(t, l.frames, "mrp-mvrp")
}

// sharkAgrees has tshark dissect frames: all are of the protocol, none malformed.
func sharkAgrees(t *testing.T, frames [][]byte, proto string) {
	t.Helper()
	path, err := exec.LookPath("tshark")
	if err != nil {
		t.Skip("no tshark: install the package tshark")
	}
	file := filepath.Join(t.TempDir(), "frames.pcap")
	if err := os.WriteFile(file, pcap(frames), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, "-r", file, "-T", "fields", "-e", "frame.protocols", "-e", "_ws.malformed")
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir())
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	if len(lines) != len(frames) {
		t.Fatalf("%d frames, %d lines", len(frames), len(lines))
	}
	for i, line := range lines {
		if !strings.Contains(line, proto) || strings.Contains(strings.ToLower(line), "malformed") {
			t.Errorf("frame %d, %x: %s", i, frames[i], line)
		}
	}
}

// pcap is a classic capture file of Ethernet frames.
func pcap(frames [][]byte) []byte {
	b := []byte{0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1, 0, 0, 0}
	for i, f := range frames {
		for _, v := range []uint32{uint32(i), 0, uint32(len(f)), uint32(len(f))} {
			b = binary.LittleEndian.AppendUint32(b, v)
		}
		b = append(b, f...)
	}
	return b
}

// Any frames and events, in any order: no panic, no deadline in the past that
// stays, and what is told is in order.
func FuzzMVRP(f *testing.F) {
	f.Add([]byte{0, 1, 2, 1, 2, 0, 3, 0, 5, 0x6c, 0, 0, 0, 0})
	f.Add([]byte("\x03\x01\x02\x20\x00\x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		m := vlanBridge(t, 3, 1, func(c *MVRPConfig) {
			c.MaxVLANs, c.Ports[1].Restricted, c.Ports[2].Forbidden = 3, true, []tsn.VID{5}
		})
		fuzzMachine(t, m, mrp.MVRP(), b, func(e tsn.Effect) {
			if r, ok := e.(RegisteredVLANs); ok {
				for _, p := range r.Ports {
					if !slices.IsSorted(p.VIDs) || len(p.VIDs) > 3 || slices.Contains(p.VIDs, 0) || p.Port == 2 || p.Port == 3 && slices.Contains(p.VIDs, 5) {
						t.Errorf("%v", r)
					}
				}
			}
		})
	})
}

// fuzzMachine feeds a machine events that are drawn from b.
func fuzzMachine(t *testing.T, m tsn.Machine, app *mrp.Application, b []byte, check func(tsn.Effect)) {
	now := tsn.Instant(0)
	step := func(ev tsn.Event) {
		for _, e := range m.Step(now, ev) {
			check(e)
		}
	}
	for p := range tsn.Port(3) {
		step(tsn.LinkChanged{Port: p + 1, Up: true, Rate: tsn.Gbps})
	}
	for len(b) > 2 {
		kind, port, n := b[0]%8, tsn.Port(b[1]%5), min(int(b[2]), len(b)-3)
		pdu := b[3 : 3+n]
		b = b[3+n:]
		now = now.Add(int64(n) * 10 * millisecond)
		switch kind {
		case 0, 1, 2:
			step(tsn.Received{Port: port, Frame: app.Frame(tsn.MAC{2}, pdu)})
		case 3:
			step(tsn.Received{Port: port, Frame: slices.Clone(pdu)})
		case 4:
			step(tsn.LinkChanged{Port: port, Up: n%2 == 0})
		case 5:
			step(SetBlocked{Ports: []tsn.Port{port}})
		default:
			step(tsn.Timeout{})
		}
		for range 100 {
			if m.Deadline() > now {
				break
			}
			step(tsn.Timeout{})
		}
		if m.Deadline() <= now {
			t.Fatalf("the deadline %v stays before %v", m.Deadline(), now)
		}
	}
}
