package spb

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	tsn "tsnswitch"
	"tsnswitch/spb/isispdu"
)

// RFC 6329 s16.3 and its figure 3: SPSourceID 0x70001, I-SID 1.
func TestGroupAddress(t *testing.T) {
	if got := GroupAddress(0x70001, 1); got.String() != "73:00:01:00:00:01" {
		t.Error(got)
	}
	if got := groupSource(GroupAddress(0xabcde, 0x123456)); got != 0xabcde {
		t.Errorf("%x", got)
	}
}

// RFC 6329 s16.1, 802.1Q 27.8: state for {source, I-SID} exists on the tree of
// each T source towards R receivers, and nowhere else; the oracle walks the
// path from the source to each receiver.
func TestGroupState(t *testing.T) {
	for seed := range uint64(6) {
		r := prng{seed}
		l := newLab(t, 9, random(seed, 9, 7), func(k int, c *Config) {
			for _, vid := range []tsn.VID{vidA, vidB} {
				s := Service{ISID: testISID, VID: vid, Transmit: r.below(2) == 0, Receive: r.below(2) == 0}
				if s.Receive {
					s.Ports = []tsn.Port{edgePort}
				}
				if s.Transmit || s.Receive {
					c.Services = append(c.Services, s)
				}
			}
		})
		l.allUp()
		l.run(4 * second)
		for _, vid := range []tsn.VID{vidA, vidB} {
			l.checkGroups(vid)
		}
		l.step(3, SetServices{})
		l.run(4 * second)
		l.checkGroups(vidA)
	}
}

func (l *lab) checkGroups(vid tsn.VID) {
	l.t.Helper()
	service := func(k int) Service {
		for _, s := range l.nodes[k].services {
			if s.VID == vid {
				return s
			}
		}
		return Service{}
	}
	for s := range l.nodes {
		want := make([]map[tsn.Port]bool, len(l.nodes))
		for d := range l.nodes {
			if d == s || !service(s).Transmit || !service(d).Receive {
				continue
			}
			path, err := l.nodes[s].Path(vid, nodeMAC(s), nodeMAC(d))
			if err != nil {
				l.t.Fatal(err)
			}
			for _, h := range append(path, tsn.Hop{System: nodeMAC(d), Port: edgePort}) {
				k := slices.IndexFunc(l.nodes, func(n *labNode) bool { return n.cfg.SystemID == h.System })
				if want[k] == nil {
					want[k] = map[tsn.Port]bool{}
				}
				want[k][h.Port] = true
			}
		}
		for k, n := range l.nodes {
			var ports []tsn.Port
			for _, p := range n.cfg.Ports {
				if want[k][p.Port] {
					ports = append(ports, p.Port)
				}
			}
			slices.Sort(ports)
			if k == s && service(s).Transmit && len(ports) == 0 {
				ports = []tsn.Port{tsn.NoPort}
			}
			var got []tsn.Port
			for _, e := range n.state.MDB {
				if e.VID == vid && e.Group == GroupAddress(l.nodes[s].sourceID.value, testISID) {
					got = e.Ports
				}
			}
			if !slices.Equal(got, ports) {
				l.t.Fatalf("vid %d: b%d for b%d: %v, want %v", vid, k+1, s+1, got, ports)
			}
		}
	}
}

// Without T a source keeps no state in the fabric: it is told whom to send
// copies to (head-end replication).
func TestHeadEndReplication(t *testing.T) {
	l := newLab(t, 4, ring(4), func(k int, c *Config) {
		c.Services = []Service{{ISID: testISID, VID: vidA, Transmit: k == 0, Receive: k != 3}}
	})
	l.allUp()
	l.run(3 * second)
	s := l.nodes[1].Services()[0]
	if !s.Replicate || !s.Group.IsZero() || !slices.Equal(s.Receivers, []tsn.MAC{nodeMAC(0), nodeMAC(2)}) {
		t.Errorf("%+v", s)
	}
	if len(s.Sources) != 1 || s.Sources[0].System != nodeMAC(0) {
		t.Errorf("%+v", s.Sources)
	}
	for k, n := range l.nodes {
		for _, e := range n.state.MDB {
			if e.Group != GroupAddress(l.nodes[0].sourceID.value, testISID) {
				t.Errorf("b%d has state for %s", k+1, e.Group)
			}
		}
	}
	if s := l.nodes[0].Services()[0]; s.Replicate || s.Group.IsZero() {
		t.Errorf("%+v", s)
	}
}

func TestServicesRefused(t *testing.T) {
	good := Service{ISID: 300, VID: vidA, Receive: true, Ports: []tsn.Port{edgePort}}
	l := newLab(t, 2, line(2), nil)
	l.allUp()
	l.run(second)
	l.step(0, SetServices{[]Service{good}})
	for name, c := range map[string]struct {
		change func(*Service)
		text   string
	}{
		"low":       {func(s *Service) { s.ISID = 255 }, "256"},
		"high":      {func(s *Service) { s.ISID = 0xffffff }, "outside"},
		"vlan":      {func(s *Service) { s.VID = 999 }, "base VID"},
		"port":      {func(s *Service) { s.Ports = []tsn.Port{1} }, "edge port"},
		"no port":   {func(s *Service) { s.Ports = []tsn.Port{77} }, "edge port"},
		"senseless": {func(s *Service) { s.Receive = false }, "without receive"},
	} {
		bad := good
		c.change(&bad)
		l.log = nil
		l.step(0, SetServices{[]Service{bad}})
		if len(l.log) != 1 || !strings.Contains(l.log[0], c.text) || !strings.Contains(l.log[0], NoticeBadServices) {
			t.Errorf("%s: %q", name, l.log)
		}
	}
	if s := l.nodes[0].Services(); len(s) != 1 || s[0].ISID != 300 {
		t.Errorf("%+v", s)
	}
}

// A neighbour that advertises more services than the cap: the rest is counted.
func TestServicesCap(t *testing.T) {
	l := newLab(t, 2, line(2), func(k int, c *Config) {
		if c.Caps.MaxServices = 50; k == 1 {
			for n := range 120 {
				c.Services = append(c.Services, Service{ISID: 1000 + uint32(n), VID: vidA, Receive: true})
			}
		}
	})
	l.allUp()
	l.run(2 * second)
	n := 0
	for _, x := range l.nodes[0].top.nodes {
		n += len(x.services)
	}
	if n != 50 || l.nodes[0].Counters().Drops.ServicesOverCap == 0 {
		t.Errorf("%d services, %+v", n, l.nodes[0].Counters().Drops)
	}
}

// RFC 6329 s4.5, s14.1: SPSourceIDs are unique in the end; a configured one
// stays, of two automatic ones the higher BridgeID gives way, and of two
// configured ones the loser sends to no group.
func TestSourceIDs(t *testing.T) {
	t.Run("automatic", func(t *testing.T) {
		l := serviceLab(t, 4, ring(4), func(k int, c *Config) {
			c.SystemID = tsn.MAC{2, byte(k), 0, 5, 5, 5} // the same low 20 bits
		})
		l.allUp()
		l.run(5 * second)
		seen := map[uint32]bool{}
		for k, n := range l.nodes {
			if v := n.sourceID.value; v == 0 || seen[v] || k == 0 && v != 0x50505 {
				t.Errorf("b%d has %05x", k+1, v)
			} else {
				seen[v] = true
			}
			if n.Agreement().Pending {
				t.Errorf("b%d: %+v", k+1, n.Agreement())
			}
		}
		if c := l.nodes[0].Counters(); c.SourceIDChanges != 0 {
			t.Error("the lowest BridgeID gave way")
		}
	})
	t.Run("configured", func(t *testing.T) {
		l := serviceLab(t, 3, line(3), func(k int, c *Config) {
			if k > 0 {
				c.SPSourceID = 1 // b1's automatic one
			}
		})
		l.allUp()
		l.run(5 * second)
		if v := l.nodes[0].sourceID.value; v == 1 || v == 0 {
			t.Errorf("b1 has %05x", v)
		}
		if !l.nodes[1].sourceID.usable() || l.nodes[2].sourceID.usable() || l.nodes[2].sourceID.conflict != nodeMAC(1) {
			t.Errorf("%+v %+v", l.nodes[1].sourceID, l.nodes[2].sourceID)
		}
		if s := l.nodes[2].Services()[0]; !s.Replicate || !s.Group.IsZero() {
			t.Errorf("%+v", s)
		}
		if !strings.Contains(fmt.Sprint(l.log), NoticeSourceID) {
			t.Errorf("%q", l.log)
		}
	})
	// What is left of a bridge out of reach is no reason to be silent.
	t.Run("out of reach", func(t *testing.T) {
		l := serviceLab(t, 3, line(3), nil)
		l.allUp()
		l.run(5 * second)
		l.setLink(1, false)
		l.run(5 * second)
		l.nodes[0].cfg.SPSourceID = l.nodes[2].sourceID.value
		l.start(0)
		l.step(0, tsn.LinkChanged{Port: l.links[0].port[0], Up: true, Rate: tsn.Gbps})
		l.run(5 * second)
		if got := l.group(1, 0); !slices.Equal(got, []tsn.Port{edgePort}) {
			t.Errorf("b2 delivers what b1 sends at %v", got)
		}
	})
	t.Run("V bit", func(t *testing.T) {
		for _, configured := range []uint32{0, 0x777} {
			p := newPeer(t, func(c *Config) { c.SPSourceID = configured })
			for _, tlv := range p.inst.ownTLVs() {
				c, ok := tlv.(*isispdu.MTCapability)
				if !ok {
					continue
				}
				if s, ok := isispdu.Find[*isispdu.SPBInst](c.SubTLVs); ok && (s.Source&isispdu.SourceAuto != 0) != (configured == 0) {
					t.Errorf("%x: %x", configured, s.Source)
				}
			}
		}
	})
}
