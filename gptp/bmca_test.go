package gptp

import (
	"bytes"
	"slices"
	"testing"

	"pgregory.net/rapid"

	tsn "tsnswitch"
	"tsnswitch/gptp/ptpmsg"
)

// 10.3.5: vectors compare as the concatenation of their parts.
func TestPriorityVectorOrder(t *testing.T) {
	gen := rapid.Custom(func(t *rapid.T) priorityVector {
		small := rapid.Uint8Range(0, 2)
		return priorityVector{
			root: makeSystemIdentity(small.Draw(t, "p1"), ptpmsg.ClockQuality{
				Class:    small.Draw(t, "class"),
				Accuracy: small.Draw(t, "accuracy"), OffsetScaledLogVariance: uint16(small.Draw(t, "variance")) << 7,
			},
				small.Draw(t, "p2"), ptpmsg.ClockIdentity{7: small.Draw(t, "id")}),
			steps:  uint16(small.Draw(t, "steps")) << 7,
			source: ptpmsg.PortIdentity{Clock: ptpmsg.ClockIdentity{0: small.Draw(t, "source")}, Port: uint16(small.Draw(t, "source port")) << 7},
			port:   tsn.Port(small.Draw(t, "port")) << 7,
		}
	})
	flat := func(v priorityVector) []byte {
		b := append([]byte{}, v.root[:]...)
		b = append(b, byte(v.steps>>8), byte(v.steps))
		b = append(b, v.source.Clock[:]...)
		return append(b, byte(v.source.Port>>8), byte(v.source.Port), byte(v.port>>8), byte(v.port))
	}
	rapid.Check(t, func(t *rapid.T) {
		v, w := gen.Draw(t, "v"), gen.Draw(t, "w")
		if got, want := v.compare(w), bytes.Compare(flat(v), flat(w)); got != want {
			t.Fatalf("%d, want %d", got, want)
		}
	})
}

// 10.3.11.2.1: Announces that do not qualify, and that one that does suffices.
func TestPortAnnounceReceive(t *testing.T) {
	self := ptpmsg.ClockIdentityFromMAC(tsn.MAC{2, 0, 0, 0, 0, 1})
	own := announceFrom(1, 0)
	own.Source.Clock = self
	for _, c := range []struct {
		name string
		a    *ptpmsg.Announce
		want PortState
	}{
		{"better", announceFrom(100, 0, neighbour.Clock), SlavePort},
		{"254 steps", announceFrom(100, 254, neighbour.Clock), SlavePort},
		{"without path trace", &ptpmsg.Announce{Header: head(neighbour, 0, 1, 0), Priority1: 1, GrandMaster: neighbour.Clock}, SlavePort},
		{"worse", announceFrom(254, 0, neighbour.Clock), MasterPort},
		{"255 steps", announceFrom(100, 255, neighbour.Clock), MasterPort},
		{"our own", own, MasterPort},
		{"own identity in the path", announceFrom(100, 3, neighbour.Clock, self), MasterPort},
		{"not GM capable", announceFrom(255, 0, neighbour.Clock), MasterPort},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSolo(t, 2, nil)
			s.link(1, true)
			s.receive(1, c.a)
			if got := s.port(1).info.state; got != DisabledPort {
				t.Fatalf("%v before asCapable", got)
			}
			s.link(1, false)
			s.capable(1)
			s.capable(2)
			s.receive(1, c.a)
			if got := s.port(1).info.state; got != c.want {
				t.Fatalf("%v, want %v", got, c.want)
			}
		})
	}
}

// 10.3.16 and 10.6.3: a relay announces the grand master, not itself, one step
// further and with itself at the end of the path; at once, then every second.
func TestPortAnnounceTransmit(t *testing.T) {
	s := newSolo(t, 2, patient)
	s.capable(1)
	s.capable(2)
	s.wait(announceGap)
	a := announceFrom(100, 4, ptpmsg.ClockIdentity{1}, neighbour.Clock)
	a.Flags |= ptpmsg.FlagCurrentUtcOffsetValid | ptpmsg.FlagTimeTraceable
	a.CurrentUtcOffset, a.TimeSource, a.GrandMaster = 37, 0x20, ptpmsg.ClockIdentity{1}
	s.receive(1, a)
	got, at := take[*ptpmsg.Announce](s)
	if len(got) != 1 || at[0].port != 2 || at[0].tag != 0 {
		t.Fatalf("%+v", got)
	}
	m := got[0]
	path, _ := m.PathTrace(nil)
	self := s.sys.cfg.ClockIdentity
	if m.GrandMaster != a.GrandMaster || m.Priority1 != 100 || m.StepsRemoved != 5 || m.Flags != a.Flags || m.CurrentUtcOffset != 37 ||
		m.TimeSource != 0x20 || !slices.Equal(path, []ptpmsg.ClockIdentity{{1}, neighbour.Clock, self}) || m.Source.Clock != self {
		t.Fatalf("%+v path %v", m, path)
	}
	for range 20 { // the neighbour lives on
		s.wait(500 * millisecond)
		s.receive(1, a)
	}
	if got, _ := take[*ptpmsg.Announce](s); len(got) != 10 {
		t.Errorf("%d Announces in 10 s", len(got))
	}
}

// A neighbour that changes its mind with every frame makes a relay announce no
// faster than every announceGap, and in the end the last word.
func TestAnnouncesAreNotAmplified(t *testing.T) {
	s := newSolo(t, 2, patient)
	s.capable(1)
	s.capable(2)
	for i := range 100 {
		s.receive(1, announceFrom(uint8(100+i), 0, neighbour.Clock))
		s.wait(millisecond)
	}
	s.wait(100 * millisecond)
	got, _ := take[*ptpmsg.Announce](s)
	if n := len(got); n < 2 || n > 6 || got[n-1].Priority1 != 199 {
		t.Errorf("%d Announces, the last with priority %d", n, got[n-1].Priority1)
	}
}

// Time properties that change under the same priority are taken over (10.3.9).
func TestTimePropertiesAreRefreshed(t *testing.T) {
	s := newSolo(t, 1, patient)
	s.capable(1)
	a := announceFrom(100, 0, neighbour.Clock)
	s.receive(1, a)
	a.CurrentUtcOffset, a.Flags = 38, ptpmsg.FlagCurrentUtcOffsetValid
	s.receive(1, a)
	if st := s.Status(); st.CurrentUtcOffset != 38 || !st.CurrentUtcOffsetValid {
		t.Errorf("%+v", st)
	}
}

// 10.7.3.2: announceReceiptTimeout, in the sender's intervals.
func TestAnnounceReceiptTimeout(t *testing.T) {
	s := newSolo(t, 1, patient)
	s.capable(1)
	a := announceFrom(100, 0, neighbour.Clock)
	a.LogInterval = 1
	s.receive(1, a)
	s.wait(5990 * millisecond)
	if s.IsGrandMaster() {
		t.Fatal("gave up early")
	}
	s.wait(20 * millisecond)
	if !s.IsGrandMaster() || s.portCounters(1).AnnounceReceiptTimeouts != 1 {
		t.Fatal("did not give up")
	}
}

// patient makes ports that outlive a neighbour who only announces.
func patient(c *Config) {
	for i := range c.Ports {
		c.Ports[i].SyncReceiptTimeout, c.Ports[i].AllowedLostResponses = 255, 250
	}
}

func (s *solo) portCounters(p tsn.Port) Counters { return s.port(p).count }

// 8.6.2.1: a node of priority1 255 is never grand master and says nothing.
func TestNotGrandMasterCapable(t *testing.T) {
	s := newSolo(t, 1, func(c *Config) { c.Domains[0].Priority1 = 255 })
	s.capable(1)
	s.wait(5 * second)
	if a, _ := take[*ptpmsg.Announce](s); len(a) != 0 || s.IsGrandMaster() || s.Synced() || s.Status().GMPresent {
		t.Fatalf("%d Announces, %+v", len(a), s.Status())
	}
}

// UTC offset 0 is never announced as valid (10.3.9.13).
func TestUtcOffsetValid(t *testing.T) {
	for _, c := range []struct {
		offset int16
		want   bool
	}{{0, false}, {37, true}} {
		s := newSolo(t, 1, func(cfg *Config) {
			cfg.Domains[0].CurrentUtcOffset, cfg.Domains[0].CurrentUtcOffsetValid = c.offset, true
		})
		s.step(tsn.Timeout{})
		if got := s.Status().CurrentUtcOffsetValid; got != c.want {
			t.Errorf("offset %d: valid %v", c.offset, got)
		}
	}
}

// 10.3.13: in any connected network every node knows the best grand master at
// its true distance; every node but that one has exactly one slave port; every
// link has one master port, and slave ports point towards the root.
func TestPortStateSelectionAgainstOracle(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		s := newSim(t, 1)
		count := rapid.IntRange(2, 7).Draw(rt, "nodes")
		for i := range count {
			p1 := rapid.SampledFrom([]uint8{100, 246, 248, 255}).Draw(rt, "priority1")
			s.node(string(rune('a'+i)), count+2, func(c *Config) { c.Domains[0].Priority1 = p1 })
		}
		if s.nodes[0].sys.cfg.Domains[0].Priority1 == 255 {
			s.nodes[0].sys = mustNew(rt, s.nodes[0].sys.cfg, 246)
			s.nodes[0].Instance = s.nodes[0].sys.instances[0]
		}
		type edge struct{ a, b int }
		var edges []edge
		used := make([]tsn.Port, count)
		link := func(a, b int) {
			used[a]++
			used[b]++
			s.connect(s.nodes[a], used[a], s.nodes[b], used[b], 500)
			edges = append(edges, edge{a, b})
		}
		for i := 1; i < count; i++ {
			link(rapid.IntRange(0, i-1).Draw(rt, "parent"), i)
		}
		for range rapid.IntRange(0, 3).Draw(rt, "extra links") {
			a, b := rapid.IntRange(0, count-1).Draw(rt, "a"), rapid.IntRange(0, count-1).Draw(rt, "b")
			if a != b && int(max(used[a], used[b])) < count+1 {
				link(a, b)
			}
		}
		s.run(6 * second)

		best := s.nodes[0]
		for _, x := range s.nodes {
			if bytes.Compare(x.bmca.system[:], best.bmca.system[:]) < 0 {
				best = x
			}
		}
		dist := make([]int, count)
		for i := range dist {
			dist[i] = count
		}
		for range count {
			for i, x := range s.nodes {
				if x == best {
					dist[i] = 0
				}
			}
			for _, e := range edges {
				dist[e.a], dist[e.b] = min(dist[e.a], dist[e.b]+1), min(dist[e.b], dist[e.a]+1)
			}
		}
		for i, x := range s.nodes {
			st := x.Status()
			if st.GrandMaster != best.sys.cfg.ClockIdentity || int(st.StepsRemoved) != dist[i] || len(st.PathTrace) != dist[i]+1 {
				rt.Fatalf("%s: grand master %v at %d steps by %v, want %v at %d", x.name, st.GrandMaster, st.StepsRemoved, st.PathTrace, best.name, dist[i])
			}
			slaves := 0
			for p, l := range x.links {
				mine, theirs := x.port(p).info.state, l.peer.port(l.port).info.state
				if mine == SlavePort {
					slaves++
				}
				if (mine == MasterPort) == (theirs == MasterPort) {
					rt.Fatalf("%s port %d is %v, %s port %d is %v", x.name, p, mine, l.peer.name, l.port, theirs)
				}
			}
			if want := min(1, dist[i]); slaves != want {
				rt.Fatalf("%s has %d slave ports", x.name, slaves)
			}
		}
	})
}

func mustNew(t *rapid.T, c Config, priority1 uint8) *System {
	c.Domains[0].Priority1 = priority1
	in, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return in
}

// ring is four relays and two end stations on opposite ones; a is grand master.
func ring(t testing.TB) (s *sim, relays, hosts []*simNode) {
	s = newSim(t, 8)
	for _, name := range []string{"a", "b", "c", "d"} {
		relays = append(relays, s.node(name, 3, nil).hardware().clock(int64(len(name))*second, float64(len(s.nodes)*20)))
	}
	for _, name := range []string{"h1", "h2"} {
		hosts = append(hosts, s.node(name, 1, func(c *Config) { c.Domains[0].Priority1 = 255 }).hardware().clock(7, -60))
	}
	for i, x := range relays {
		s.connect(x, 2, relays[(i+1)%4], 1, 500)
	}
	s.connect(relays[0], 3, hosts[0], 1, 500)
	s.connect(relays[2], 3, hosts[1], 1, 500)
	return s, relays, hosts
}

// 10.3.13 on a ring of four with two hosts: one slave port on every node that is
// not the root, one passive port in the ring, all asCapable in 1 s, synced in 3.
func TestRingOfFour(t *testing.T) {
	s, relays, hosts := ring(t)
	all := append(slices.Clone(relays), hosts...)
	s.run(10 * millisecond)
	capable := s.until(second, func() bool {
		return !slices.ContainsFunc(all, func(x *simNode) bool {
			return slices.ContainsFunc(x.Status().Ports, func(p PortStatus) bool { return !p.AsCapable && p.AsCapableReason != ReasonLinkDown })
		})
	})
	synced := s.until(3*second, func() bool {
		return !slices.ContainsFunc(all, func(x *simNode) bool { return !x.Synced() || x.GrandMaster() != relays[0].sys.cfg.ClockIdentity })
	})
	t.Logf("asCapable after %d ms, synced after %d ms", capable/millisecond, synced/millisecond)
	want := [][]PortState{
		{MasterPort, MasterPort, MasterPort},
		{SlavePort, MasterPort, DisabledPort}, // nobody is there
		{SlavePort, PassivePort, MasterPort},  // from b, whose identity is lower than d's
		{MasterPort, SlavePort, DisabledPort},
		{SlavePort},
		{SlavePort},
	}
	for i, x := range all {
		if got := x.states(); !slices.Equal(got, want[i]) {
			t.Errorf("%s: %v, want %v", x.name, got, want[i])
		}
	}

	// A ring link is cut: c goes the other way, nothing jumps.
	s.run(5 * second)
	s.carrier(relays[0], 2, false)
	s.until(2*second, func() bool {
		return slices.Equal(relays[1].states(), []PortState{DisabledPort, SlavePort, DisabledPort})
	})
	s.run(second)
	if _, _, largest := s.measure(5*second, hosts[1], relays[0]); largest > microsecond {
		t.Errorf("host is %d ns off after the cut", largest)
	}
	for _, x := range all {
		if slices.Contains(x.notices, NoticeStep) {
			t.Errorf("%s stepped", x.name)
		}
	}
}
