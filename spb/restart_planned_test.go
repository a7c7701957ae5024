package spb

import (
	"testing"

	tsn "tsnswitch"
	"tsnswitch/spb/isispdu"
)

func (p *peer) plan(port tsn.Port, remaining uint16) *isispdu.IIH {
	h := p.restartHello(port, isispdu.Up, isispdu.Restart{Flags: isispdu.RestartPR, Fields: 1, RemainingTime: remaining})
	h.HoldingTime = 3
	return h
}

// RFC 8706 s3.2.3 a and b: the first hello with PR sets the holding time, later
// ones do not refresh it; each is acknowledged with what is left.
func TestPlannedRestartHelped(t *testing.T) {
	p := newPeer(t, nil).up()
	p.receive(1, p.plan(1, 60))
	if n := p.inst.Neighbours()[0]; n.State != "Up" || !n.Restarting || n.HoldRemainNS != 60*second {
		t.Errorf("%+v", n)
	}
	if r := p.restartSent(1); len(r) == 0 || *r[0] != (isispdu.Restart{Flags: isispdu.RestartPA, Fields: 2, RemainingTime: 60, NeighborSystemID: nodeMAC(1)}) {
		t.Errorf("%v", r)
	}
	p.wait(20 * second)
	p.receive(1, p.plan(1, 60))
	if r := p.restartSent(1); len(r) == 0 || r[0].RemainingTime != 40 || p.inst.Neighbours()[0].HoldRemainNS != 40*second {
		t.Errorf("%v, %+v", r, p.inst.Neighbours()[0])
	}
	// The restart: RR refreshes, and ends the planned state.
	rr := p.restartHello(1, isispdu.Initializing, isispdu.Restart{Flags: isispdu.RestartRR})
	rr.HoldingTime = 3
	p.receive(1, rr)
	if n := p.inst.Neighbours()[0]; n.State != "Up" || n.HoldRemainNS != 3*second {
		t.Errorf("restarted: %+v", n)
	}
}

// s3.2.3 a: a hello without PR and RR ends it, and so does the time.
func TestPlannedRestartEnds(t *testing.T) {
	p := newPeer(t, nil).up()
	p.receive(1, p.plan(1, 60))
	h := p.hello(1, isispdu.Up)
	h.HoldingTime = 3
	p.receive(1, h)
	if n := p.inst.Neighbours()[0]; n.HoldRemainNS != 3*second {
		t.Errorf("cancelled: %+v", n)
	}
	p.receive(1, p.plan(1, 10))
	p.wait(9 * second)
	if s := p.inst.Neighbours()[0].State; s != "Up" {
		t.Errorf("after 9 of 10 s: %s", s)
	}
	p.wait(2 * second)
	if s := p.inst.Neighbours()[0].State; s != "Down" {
		t.Errorf("after 11 of 10 s: %s", s)
	}
	p = newPeer(t, nil).up()
	p.receive(1, p.plan(1, 65535))
	if n := p.inst.Neighbours()[0]; n.HoldRemainNS != maxPlanned {
		t.Errorf("a request without measure: %+v", n)
	}
}

// The asking side: every hello says PR and how long, until it is taken back.
func TestPrepareRestart(t *testing.T) {
	p := newPeer(t, nil).up()
	p.step(PrepareRestart{Time: 30 * second})
	for port := tsn.Port(1); port <= 2; port++ {
		if r := p.restartSent(port); len(r) == 0 || *r[0] != (isispdu.Restart{Flags: isispdu.RestartPR, Fields: 1, RemainingTime: 30}) {
			t.Errorf("port %d: %v", port, r)
		}
	}
	if s := p.inst.Status().Restart; s != "planned" {
		t.Errorf("status %q", s)
	}
	p.wait(10 * second)
	last := p.restartSent(1)
	if r := last[len(last)-1]; r.Flags != isispdu.RestartPR || r.RemainingTime > 21 || r.RemainingTime < 20 {
		t.Errorf("10 s later: %v", r)
	}
	p.step(PrepareRestart{})
	if r := p.restartSent(1); len(r) == 0 || r[0].Flags != 0 || p.inst.Status().Restart != "" {
		t.Errorf("taken back: %v", r)
	}
}

// A daemon is away for longer than the holding time: unnoticed, if the fabric
// stays as it is; if it changes, the neighbours go on without that bridge.
func TestPlannedRestartInNetwork(t *testing.T) {
	for _, change := range []bool{false, true} {
		l := newLab(t, 4, ring(4), func(_ int, c *Config) { c.StartupHold = 3 * second })
		l.allUp()
		l.run(5 * second)
		changes := l.changesBut(2)
		l.step(2, PrepareRestart{Time: 60 * second})
		l.run(10 * millisecond)
		kernel := l.nodes[2].state
		l.nodes[2].dead = true
		l.run(20 * second)
		if got := l.changesBut(2); got != changes {
			t.Fatalf("%d adjacency changes while b3 is away", got-changes)
		}
		if change {
			l.setLink(0, false) // b1 to b2, far from b3
			l.run(5 * second)
			if got := l.changesBut(2) - changes; got != 4 { // both ends of the cut, and both neighbours of b3
				t.Errorf("%d adjacency changes after a cut", got)
			}
			l.setLink(0, true)
			l.run(5 * second)
		}
		l.nodes[2].cfg.Adopted = &kernel
		l.start(2)
		for side := range 2 {
			l.step(2, tsn.LinkChanged{Port: l.links[1+side].port[1-side], Up: true, Rate: tsn.Gbps})
		}
		l.run(6 * second)
		if got := l.changesBut(2); !change && got != changes {
			t.Errorf("%d adjacency changes when b3 was back", got-changes)
		}
		l.sameDatabases()
		l.checkForwarding()
	}
}
