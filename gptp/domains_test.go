package gptp

import (
	"testing"

	tsn "tsnswitch"
	"tsnswitch/gptp/ptpmsg"
)

var fourDomains = []uint8{0, 20, 40, 127}

// inDomains gives a node those domains; best is the one in which it is the best
// grand master.
func inDomains(best int, domains ...uint8) func(*Config) {
	return func(c *Config) {
		c.Domains = nil
		for k, d := range domains {
			dc := DomainConfig{Domain: d}
			if k == best {
				dc.Priority1 = 100
			}
			c.Domains = append(c.Domains, dc)
		}
	}
}

// fourNodes is a chain in which node k is grand master of domain k; each has a
// time of its own.
func fourNodes(t *testing.T, common bool) (*sim, []*simNode) {
	s := newSim(t, 31)
	n := s.chain(4, func(i int, c *Config) {
		inDomains(i, fourDomains...)(c)
		c.CommonLinkDelay = common
	})
	for i, x := range n {
		x.hardware().clock(int64(i)*1000*second, float64(20*i-30))
	}
	return s, n
}

func (x *simNode) domain(k int) *Instance { return x.sys.Instance(fourDomains[k]) }

// follows reports whether all nodes but those left out follow gm in domain k.
func follows(n []*simNode, k int, gm *simNode, without ...*simNode) bool {
	for _, x := range n {
		left := false
		for _, w := range without {
			left = left || w == x
		}
		if i := x.domain(k); !left && (!i.Synced() || i.GrandMaster() != gm.sys.cfg.ClockIdentity) {
			return false
		}
	}
	return true
}

// 8.1: four domains on every port, each with a grand master and a time of its
// own; with the first domain measuring by itself and with all on the common
// service.
func TestFourDomainsFourGrandMasters(t *testing.T) {
	for _, common := range []bool{false, true} {
		s, n := fourNodes(t, common)
		s.run(8 * second)
		for k := range fourDomains {
			if !follows(n, k, n[k]) {
				t.Fatalf("common %v: domain %d is not that of %s", common, fourDomains[k], n[k].name)
			}
			gm := n[k].domain(k).Relation()
			for _, x := range n {
				i := x.domain(k)
				if e := i.Relation().At(x.at(s.now)).NS - gm.At(n[k].at(s.now)).NS; e > 500 || e < -500 || i.Relation().PTP.Domain != fourDomains[k] {
					t.Errorf("common %v, domain %d, %s: off by %d ns", common, fourDomains[k], x.name, e)
				}
				p := x.Status().Ports[0]
				if p.CommonLinkDelay != common {
					t.Errorf("%+v", p)
				}
			}
		}
		// Only the first domain is the edge's.
		for _, r := range n[2].relation {
			if r.Target != (r.Domain == 0) {
				t.Fatalf("%+v", r)
			}
		}
	}
}

// A domain whose grand master goes, and one whose frames are lost, do not touch
// the others: no notice, no step, no change of state.
func TestTroubleStaysInItsDomain(t *testing.T) {
	s, n := fourNodes(t, true)
	s.run(10 * second)
	type snapshot struct {
		announceTimeouts, syncTimeouts uint64
		state                          PortState
	}
	look := func(k int) (out []snapshot) {
		for _, x := range n {
			for _, p := range x.domain(k).Status().Ports {
				out = append(out, snapshot{p.Counters.AnnounceReceiptTimeouts, p.Counters.SyncReceiptTimeouts, p.State})
			}
		}
		return out
	}
	var before [4][]snapshot
	for k := range before {
		before[k] = look(k)
	}
	for _, x := range n {
		x.notices, x.relation = nil, nil
	}
	s.fate = func(f []byte) []int64 { // nothing of domain 20 gets through
		if f[14+4] == fourDomains[1] {
			return nil
		}
		return []int64{0}
	}
	s.run(20 * second)
	if follows(n, 1, n[1]) {
		t.Fatal("domain 20 lives without a message")
	}
	for _, k := range []int{0, 2, 3} {
		if !follows(n, k, n[k]) {
			t.Errorf("domain %d is lost", fourDomains[k])
		}
		for i, v := range look(k) {
			if v != before[k][i] {
				t.Errorf("domain %d, port %d: %+v, was %+v", fourDomains[k], i, v, before[k][i])
			}
		}
	}
	for _, x := range n {
		for _, r := range x.relation {
			if r.Domain != fourDomains[1] && !r.Synced {
				t.Errorf("%s: domain %d was not synced", x.name, r.Domain)
			}
		}
		if p := x.domain(1).Status().Ports; p[0].Up && p[0].AsCapableReason != ReasonNotGptpCapable {
			t.Errorf("%s: %v", x.name, p[0].AsCapableReason)
		}
	}
	s.fate = nil
	s.run(6 * second)
	if !follows(n, 1, n[1]) {
		t.Error("domain 20 did not come back")
	}
}

// 11.2.17: the common service measures once, however many domains use it; each
// domain costs its own Sync, Announce and gPTP-capable messages.
func TestPdelayDoesNotGrowWithDomains(t *testing.T) {
	count := func(common bool, domains ...uint8) (pdelay uint64, rest uint64) {
		s := newSim(t, 32)
		n := s.chain(2, func(i int, c *Config) {
			inDomains(-i, domains...)(c)
			c.CommonLinkDelay = common
		})
		s.run(10 * second)
		tx := func() (pdelay, rest uint64) {
			l := n[0].sys.link(2)
			pdelay = l.count.Tx.PdelayReq + l.count.Tx.PdelayResp + l.count.Tx.PdelayRespFollowUp
			for _, p := range l.ports {
				rest += p.count.Tx.Sync + p.count.Tx.FollowUp + p.count.Tx.Announce + p.count.Tx.Signaling
			}
			return pdelay, rest
		}
		p0, r0 := tx()
		s.run(20 * second)
		p1, r1 := tx()
		return p1 - p0, r1 - r0
	}
	one, _ := count(true, 0)
	four, _ := count(true, fourDomains...)
	two, _ := count(false, 0, 20)
	five, _ := count(false, 0, 20, 40, 60, 127)
	if one != four || one != 60 {
		t.Errorf("common service: %d with one domain, %d with four; want 60 in 20 s", one, four)
	}
	if two != five || two != 120 {
		t.Errorf("beside a domain of its own: %d with one, %d with four; want 120 in 20 s", two, five)
	}
}

// A neighbour that has only the common service: domain 0, which measures by
// itself, says no-response; the others work. And one that knows only domain 0
// without it: that works, the others say no-response. And one that has the
// service, but not the domain: not-gptp-capable.
func TestNeighborsOfLess(t *testing.T) {
	for _, c := range []struct {
		name   string
		other  func(*Config)
		common bool // of ours
		want   [3]Reason
	}{
		{"only the common service", func(c *Config) { inDomains(0, fourDomains[:3]...)(c); c.CommonLinkDelay = true }, false, [3]Reason{ReasonNoResponse, 0, 0}},
		{"only domain 0", inDomains(0, 0), false, [3]Reason{0, ReasonNoResponse, ReasonNoResponse}},
		{"only domain 0, by the common service", func(c *Config) { inDomains(0, 0)(c); c.CommonLinkDelay = true }, true, [3]Reason{0, ReasonNotGptpCapable, ReasonNotGptpCapable}},
		{"not the third domain", inDomains(0, fourDomains[:2]...), false, [3]Reason{0, 0, ReasonNotGptpCapable}},
	} {
		s := newSim(t, 33)
		a := s.node("a", 1, func(cfg *Config) { inDomains(-1, fourDomains[:3]...)(cfg); cfg.CommonLinkDelay = c.common })
		b := s.node("b", 1, c.other)
		s.connect(a, 1, b, 1, 500)
		s.run(15 * second)
		for k, want := range c.want {
			p := a.domain(k).Status().Ports[0]
			if p.AsCapableReason != want || p.AsCapable != (want == ReasonNone) {
				t.Errorf("%s, domain %d: asCapable %v, %q, want %q", c.name, fourDomains[k], p.AsCapable, p.AsCapableReason, want)
			}
			if p.AsCapable && (!a.domain(k).Synced() || a.domain(k).GrandMaster() != b.sys.cfg.ClockIdentity) && k == 0 {
				t.Errorf("%s, domain %d does not follow", c.name, fourDomains[k])
			}
		}
	}
}

// 11.2.17, 10.6.2.2: the messages of the service have majorSdoId 2 and domain
// 0, those of a domain 1 and its number; each port answers both services.
func TestCommonServiceOnTheWire(t *testing.T) {
	s := newSolo(t, 1, inDomains(0, 0, 20))
	s.link(1, true)
	reqs, at := take[*ptpmsg.PdelayReq](s)
	if len(reqs) != 2 || reqs[0].MajorSdoID != 1 || reqs[1].MajorSdoID != 2 || reqs[0].Domain != 0 || reqs[1].Domain != 0 || at[1].raw[0] != 0x22 {
		t.Fatalf("%+v", reqs)
	}
	for sdo := uint8(1); sdo <= 2; sdo++ {
		m := &ptpmsg.PdelayReq{Header: head(neighbour, 0, 5, 0)}
		m.MajorSdoID = sdo
		s.receive(1, m)
		resp, at := take[*ptpmsg.PdelayResp](s)
		if len(resp) != 1 || resp[0].MajorSdoID != sdo || resp[0].Domain != 0 {
			t.Fatalf("%+v", resp)
		}
		s.step(tsn.Sent{Port: 1, Tag: at[0].tag, Egress: tsn.LocalTime(s.at), Stamped: true})
		if fup, _ := take[*ptpmsg.PdelayRespFollowUp](s); len(fup) != 1 || fup[0].MajorSdoID != sdo {
			t.Fatalf("%+v", fup)
		}
		s.wait(2 * second) // no request counts as too soon
		s.out = nil
	}
	m := &ptpmsg.PdelayReq{Header: head(neighbour, 0, 5, 0)}
	m.MajorSdoID, m.Domain = 1, 20
	before := s.port(1).link.count.OtherDomain
	if s.receive(1, m); s.port(1).link.count.OtherDomain != before+1 {
		t.Error("a Pdelay_Req of domain 20 was taken: that measures by the service")
	}
}

// 8.3: delayAsymmetry is the link's, and holds in every domain; and the
// intervals of DefaultPort.
func TestAsymmetryInEveryDomain(t *testing.T) {
	const asymmetry = 300
	for _, known := range []bool{false, true} {
		s := newSim(t, 34)
		a := s.node("a", 1, inDomains(-1, 0, 20))
		b := s.node("b", 1, func(c *Config) {
			inDomains(-1, 0, 20)(c)
			c.Domains[0].Priority1, c.Domains[1].Priority1 = 250, 250
			if known {
				c.Ports[0].DelayAsymmetry = asymmetry
			}
		})
		s.connect(a, 1, b, 1, 500)
		a.links[1].delay, b.links[1].delay = 500+asymmetry, 500-asymmetry
		s.run(8 * second)
		want := int64(-asymmetry)
		if known {
			want = 0
		}
		for k := range 2 {
			i := b.domain(k)
			e := i.Relation().At(b.at(s.now)).NS - a.domain(k).Relation().At(a.at(s.now)).NS
			if i.IsGrandMaster() || !i.Synced() || e < want-5 || e > want+5 {
				t.Errorf("known %v, domain %d: synced %v, off by %d ns, want %d", known, fourDomains[k], i.Synced(), e, want)
			}
		}
	}
	if p := DefaultPort(3); p.LogSyncInterval != -3 || p.LogAnnounceInterval != 0 || p.LogPdelayReqInterval != 0 || p.LogGptpCapableMessageInterval != 0 {
		t.Errorf("%+v", p)
	}
}
