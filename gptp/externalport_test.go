package gptp

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	tsn "tsnswitch"
	"tsnswitch/gptp/ptpmsg"
)

// external gives the first domain desired states.
func external(c *Config, states map[tsn.Port]PortState) {
	c.Domains[0].ExternalPortConfiguration, c.Domains[0].DesiredStates = true, states
}

// soloExternal has a slave port 1, a master port 2, a passive port 3 and a port
// 4 that nobody spoke of.
func soloExternal(t *testing.T) *solo {
	s := newSolo(t, 4, func(c *Config) {
		for i := range c.Ports {
			c.Ports[i].AllowedLostResponses = 250
		}
		external(c, map[tsn.Port]PortState{1: SlavePort, 2: MasterPort, 3: PassivePort})
	})
	for p := tsn.Port(1); p <= 4; p++ {
		s.capable(p)
	}
	s.wait(announceGap)
	s.out = nil
	return s
}

func (s *solo) states() (out []PortState) {
	for _, p := range s.Status().Ports {
		out = append(out, p.State)
	}
	return out
}

func (s *solo) wantStates(want ...PortState) {
	s.t.Helper()
	if got := s.states(); !slices.Equal(got, want) {
		s.t.Fatalf("%v, want %v", got, want)
	}
}

// 10.3.15.2.1: a port has its desired state while it is asCapable; without a
// word from the slave port there is no grand master, and nothing is announced.
func TestPortStateSettingExt(t *testing.T) {
	s := soloExternal(t)
	s.wantStates(SlavePort, MasterPort, PassivePort, DisabledPort)
	s.wait(5 * second)
	a, _ := take[*ptpmsg.Announce](s)
	if st := s.Status(); len(a) != 0 || st.GMPresent || st.IsGM || st.Synced || st.State != TimeFreeRunning || st.NotSyncedReason != "no-grand-master" || !st.ExternalPortConfiguration {
		t.Fatalf("%d Announces, %+v", len(a), st)
	}
	s.link(2, false)
	s.wantStates(SlavePort, DisabledPort, PassivePort, DisabledPort)
	if got := s.Status().NotSyncedReason; got != "no-grand-master" {
		t.Errorf("%q for the loss of a master port", got)
	}
	s.capable(2)
	s.wantStates(SlavePort, MasterPort, PassivePort, DisabledPort)

	edge := newSolo(t, 2, func(c *Config) {
		c.Ports[1].MasterOnly = true
		external(c, nil)
	})
	edge.capable(1)
	edge.capable(2)
	edge.wantStates(DisabledPort, MasterPort)
	if st := edge.Status(); !st.IsGM || st.State != TimeGrandMaster {
		t.Errorf("a node without a slave port: %+v", st)
	}
}

// 10.3.14.2.1: the grand master is whoever the slave port hears, however bad;
// what other ports hear counts for nothing.
func TestPortAnnounceInformationExt(t *testing.T) {
	s := soloExternal(t)
	for p := tsn.Port(2); p <= 4; p++ {
		s.receive(p, announceFrom(1, 0, neighbour.Clock))
		if s.Status().GMPresent || s.portCounters(p).AnnounceDiscarded != 1 {
			t.Fatalf("port %d: %+v", p, s.Status())
		}
	}
	a := announceFrom(254, 3, ptpmsg.ClockIdentity{1}, neighbour.Clock)
	a.GrandMaster, a.TimeSource = ptpmsg.ClockIdentity{1}, 0x20
	s.receive(1, a)
	self := s.sys.cfg.ClockIdentity
	st := s.Status()
	if st.GrandMaster != a.GrandMaster || st.StepsRemoved != 4 || st.TimeSource != 0x20 || st.State != TimeAcquiring ||
		!slices.Equal(st.PathTrace, []ptpmsg.ClockIdentity{{1}, neighbour.Clock, self}) {
		t.Fatalf("%+v", st)
	}
	out, at := take[*ptpmsg.Announce](s)
	if len(out) != 1 || at[0].port != 2 || out[0].GrandMaster != a.GrandMaster || out[0].StepsRemoved != 4 {
		t.Fatalf("%+v %+v", at, out)
	}
	s.syncFrom(1, 1, s.at, 1)
	if _, at := take[*ptpmsg.Sync](s); len(at) != 1 || at[0].port != 2 {
		t.Fatalf("%+v", at)
	}
	a.Priority1 = 100 // a better one and a worse one are both the truth
	s.receive(1, a)
	a.Priority1, a.GrandMaster = 253, ptpmsg.ClockIdentity{2}
	s.receive(1, a)
	if got := s.GrandMaster(); got != a.GrandMaster {
		t.Errorf("%v", got)
	}
	s.wantStates(SlavePort, MasterPort, PassivePort, DisabledPort)
}

// 10.3.1.3: time-outs change no state, but the time is not synchronized, status
// says why, and what comes next brings it back.
func TestExternalPortTimeouts(t *testing.T) {
	s := soloExternal(t)
	seq := uint16(0)
	follow := func(ns int64, announce bool) {
		for end := s.at + ns; s.at < end; {
			if seq++; announce && seq%8 == 1 {
				s.receive(1, announceFrom(100, 0, neighbour.Clock))
			}
			s.syncFrom(1, seq, s.at, 1)
			s.wait(125 * millisecond)
		}
	}
	lost := func(why string) {
		t.Helper()
		st := s.Status()
		if st.Synced || st.GMPresent || st.IsGM || st.State != TimeHoldover || st.NotSyncedReason != why || s.rel[len(s.rel)-1].Synced {
			t.Fatalf("%+v", st)
		}
		s.wantStates(SlavePort, MasterPort, PassivePort, DisabledPort)
	}
	synced := func() {
		t.Helper()
		if st := s.Status(); !st.Synced || st.State != TimeSynchronized || st.NotSyncedReason != "" {
			t.Fatalf("%+v", st)
		}
	}
	follow(5*second, true)
	synced()
	s.wait(300 * millisecond)
	lost(NoticeSyncTimeout)
	s.out = nil
	s.wait(1500 * millisecond)
	if a, _ := take[*ptpmsg.Announce](s); len(a) != 0 {
		t.Fatalf("announces who is gone: %+v", a)
	}
	s.receive(1, announceFrom(100, 0, neighbour.Clock))
	lost(NoticeSyncTimeout) // an Announce is no Sync
	follow(2*second, false)
	synced()
	if a, _ := take[*ptpmsg.Announce](s); len(a) == 0 {
		t.Fatal("never announces again")
	}
	follow(2*second, false)
	lost(NoticeAnnounceTimeout)
	follow(5*second, true)
	synced()
	s.link(1, false)
	if st := s.Status(); st.Synced || st.NotSyncedReason != NoticeNotAsCapable || st.State != TimeHoldover {
		t.Fatalf("%+v", st)
	}
	s.wantStates(DisabledPort, MasterPort, PassivePort, DisabledPort)
}

// SetPortStates changes all or nothing.
func TestSetPortStates(t *testing.T) {
	s := soloExternal(t)
	s.receive(1, announceFrom(100, 0, neighbour.Clock))
	for _, c := range []struct {
		ev   SetPortStates
		want string
	}{
		{SetPortStates{Domain: 5}, "no domain 5"},
		{SetPortStates{States: map[tsn.Port]PortState{1: MasterPort, 9: MasterPort}}, "port 9"},
		{SetPortStates{States: map[tsn.Port]PortState{1: MasterPort, 2: SlavePort, 3: SlavePort}}, "ports 2 and 3"},
		{SetPortStates{States: map[tsn.Port]PortState{1: 7}}, "no such state"},
	} {
		before := len(s.notices)
		s.step(c.ev)
		if n := s.notices[before:]; len(n) != 1 || n[0].Kind != NoticeConfigRefused || !strings.Contains(n[0].Detail, c.want) {
			t.Errorf("%v: %v", c.ev, n)
		}
		s.wantStates(SlavePort, MasterPort, PassivePort, DisabledPort)
	}
	states := map[tsn.Port]PortState{1: MasterPort, 2: SlavePort, 4: PassivePort}
	s.step(SetPortStates{States: states})
	maps.Copy(states, map[tsn.Port]PortState{3: MasterPort}) // the event's map is not kept
	s.link(4, false)
	s.wantStates(MasterPort, SlavePort, DisabledPort, DisabledPort)
	if s.Status().GMPresent {
		t.Error("it still follows what port 1 said")
	}
	s.receive(2, announceFrom(200, 0, neighbour.Clock))
	if st := s.Status(); !st.GMPresent || st.GrandMaster != neighbour.Clock {
		t.Errorf("%+v", st)
	}
	s.step(SetPortStates{States: map[tsn.Port]PortState{1: MasterPort}})
	if !s.IsGrandMaster() {
		t.Errorf("%+v", s.Status())
	}

	elected := newSolo(t, 1, nil)
	elected.step(SetPortStates{States: map[tsn.Port]PortState{1: MasterPort}})
	if elected.noticed(NoticeConfigRefused) != 1 {
		t.Error("states for a domain that elects its grand master")
	}
}

// externalChain is a chain whose grand master at the near end has the worst
// priority of all.
func externalChain(t testing.TB, seed int64, n int) (*sim, []*simNode) {
	s := newSim(t, seed)
	nodes := s.chain(n, func(i int, c *Config) {
		c.Domains[0].Priority1 = uint8(254 - i)
		external(c, map[tsn.Port]PortState{1: SlavePort, 2: MasterPort})
		if i == 0 {
			external(c, map[tsn.Port]PortState{2: MasterPort})
		}
	})
	for i, x := range nodes {
		x.hardware().clock(int64(i)*1_000_003_017, float64(40*(i%3)-50))
	}
	return s, nodes
}

func (s *sim) allFollow(gm *simNode, nodes []*simNode) func() bool {
	return func() bool {
		return !slices.ContainsFunc(nodes, func(x *simNode) bool { return !x.Synced() || x.GrandMaster() != gm.sys.cfg.ClockIdentity })
	}
}

// Cold start with external port configuration: synchronized within 2 s of link
// up, at the end of four hops too.
func TestExternalPortColdStart(t *testing.T) {
	for seed := range int64(10) {
		s, n := externalChain(t, seed, 5)
		took := s.until(2*second, s.allFollow(n[0], n))
		if seed == 0 {
			t.Logf("4 hops synchronized %d ms after link up", took/millisecond)
		}
		s.run(5 * second)
		if _, _, largest := s.measure(5*second, n[4], n[0]); largest > microsecond {
			t.Errorf("%d ns off", largest)
		}
	}
}

// The tree is turned round at run time, node by node in any order, and all
// follow the other end.
func TestExternalPortsTurnedRound(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		s, n := externalChain(t, 1, 4)
		s.run(3 * second)
		for _, i := range rapid.Permutation([]int{0, 1, 2, 3}).Draw(rt, "order") {
			states := map[tsn.Port]PortState{1: MasterPort, 2: SlavePort}
			if i == 3 {
				states = map[tsn.Port]PortState{1: MasterPort}
			}
			n[i].step(SetPortStates{States: states})
			s.run(rapid.Int64Range(0, 1500).Draw(rt, "pause ms") * millisecond)
		}
		s.run(8 * second)
		if !s.allFollow(n[3], n)() {
			for _, x := range n {
				rt.Logf("%s: %+v", x.name, x.Status())
			}
			rt.Fatal("not all follow the new end")
		}
	})
}
