package spb

import (
	"fmt"
	"strings"
	"testing"

	tsn "tsnswitch"
	"tsnswitch/spb/isispdu"
)

func topologies() map[string]func(testing.TB) *lab {
	m := map[string]func(testing.TB) *lab{
		"pair":     func(t testing.TB) *lab { return newLab(t, 2, line(2), nil) },
		"line4":    func(t testing.TB) *lab { return newLab(t, 4, line(4), nil) },
		"ring3":    func(t testing.TB) *lab { return newLab(t, 3, ring(3), nil) },
		"ring4":    func(t testing.TB) *lab { return newLab(t, 4, ring(4), nil) },
		"parallel": func(t testing.TB) *lab { return newLab(t, 3, [][2]int{{0, 1}, {0, 1}, {1, 0}, {1, 2}, {2, 1}}, nil) },
	}
	for seed := range uint64(4) {
		m[fmt.Sprintf("random30-%d", seed)] = func(t testing.TB) *lab {
			return newLab(t, 30, random(seed, 30, 30), func(k int, c *Config) {
				r := prng{seed*1000 + uint64(k)}
				c.Priority = uint16(r.below(4)) << 12
				for n := range c.Ports {
					c.Ports[n].Metric = uint32(r.below(3)+1) * 10
				}
			})
		}
	}
	return m
}

// From power on: adjacencies within milliseconds, equal databases, complete
// and loop-free forwarding, every broadcast exactly once, Path agrees with FDB.
func TestNetworkConverges(t *testing.T) {
	for name, make := range topologies() {
		t.Run(name, func(t *testing.T) {
			l := make(t)
			l.allUp()
			l.run(200 * millisecond)
			for k, n := range l.nodes {
				for _, nb := range n.Neighbours() {
					if nb.State != "Up" {
						t.Fatalf("b%d port %d is %s after 200 ms", k+1, nb.Port, nb.State)
					}
				}
			}
			l.sameDatabases()
			l.checkForwarding()
		})
	}
}

// Each link of each network is cut and repaired: forwarding is complete again
// at once, within milliseconds of the event, and nothing stays behind.
func TestNetworkReconverges(t *testing.T) {
	for _, name := range []string{"ring3", "ring4", "parallel", "random30-1"} {
		t.Run(name, func(t *testing.T) {
			l := topologies()[name](t)
			l.allUp()
			l.run(second)
			for n := range l.links {
				if n > 35 {
					break // enough of the large network
				}
				if n < len(l.nodes)-1 && name == "random30-1" {
					continue // a tree link: may part the network
				}
				l.setLink(n, false)
				cut := l.now
				l.run(500 * millisecond)
				l.sameDatabases()
				l.checkForwarding()
				for k := range l.nodes {
					if took := l.nodes[k].changedAt.Sub(cut); took > 10*millisecond {
						t.Errorf("link %d: b%d changed its forwarding %d us after the cut", n, k+1, took/1000)
					}
				}
				l.setLink(n, true)
				l.run(500 * millisecond)
				l.sameDatabases()
				l.checkForwarding()
			}
		})
	}
}

// A cut that the carrier does not show is found by the holding time.
func TestHoldingTime(t *testing.T) {
	l := newLab(t, 4, ring(4), nil)
	l.allUp()
	l.run(second)
	l.tap = func(from int, s tsn.Send) bool { // link 0 goes silent both ways
		link := l.links[0]
		return !(from == link.node[0] && s.Port == link.port[0]) && !(from == link.node[1] && s.Port == link.port[1])
	}
	l.run(3100 * millisecond)
	l.sameDatabases()
	if s := l.nodes[0].Neighbours()[0].State; s != "Down" {
		t.Fatalf("b1 port 1 is %s", s)
	}
	for _, nb := range []struct{ node, port int }{{0, 1}, {1, 1}} {
		p := l.nodes[nb.node].bridgePort(tsn.Port(nb.port))
		if p.BcastFlood || p.McastFlood || !p.Locked {
			t.Errorf("b%d port %d floods without an adjacency: %+v", nb.node+1, nb.port, p)
		}
	}
	l.unicast(vidA, 0, stationMAC(0), stationMAC(1))
}

// The two halves of a parted network keep their own forwarding; addresses of
// the other half are gone.
func TestPartition(t *testing.T) {
	l := newLab(t, 4, line(4), nil)
	l.allUp()
	l.run(second)
	l.setLink(1, false)
	l.run(second)
	if p := l.nodes[0].fdbPort(vidA, stationMAC(3)); p != tsn.NoPort {
		t.Errorf("h4 is still behind port %d", p)
	}
	l.unicast(vidA, 0, stationMAC(0), stationMAC(1))
	if _, err := l.nodes[0].Path(vidA, stationMAC(0), stationMAC(3)); err == nil {
		t.Error("there is a path into the other half")
	}
}

// A node that restarts with sequence number 1 takes over from its own stale
// LSP (ISO/IEC 10589 7.3.16.1).
func TestRestart(t *testing.T) {
	l := newLab(t, 4, ring(4), nil)
	l.allUp()
	l.run(second)
	for range 5 { // drive the sequence number up
		l.step(2, SetEndStations{})
		l.run(100 * millisecond)
		l.step(2, SetEndStations{Stations: l.nodes[2].cfg.EndStations})
		l.run(100 * millisecond)
	}
	before := l.nodes[2].Database()[2].SequenceNumber
	l.nodes[2].cfg.EndStations = []EndStation{{MAC: stationMAC(77), Port: emptyPort, Name: "new"}}
	l.start(2)
	for side := range 2 {
		link := l.links[1+side]
		l.step(2, tsn.LinkChanged{Port: link.port[1-side], Up: true, Rate: tsn.Gbps})
	}
	l.run(500 * millisecond)
	l.sameDatabases()
	for _, d := range l.nodes[0].Database() {
		if d.ID.System() == nodeMAC(2) && d.SequenceNumber <= before {
			t.Errorf("sequence number %d, was %d before the restart", d.SequenceNumber, before)
		}
	}
	if m, err := l.nodes[0].Resolve("new"); err != nil || m != stationMAC(77) {
		t.Errorf("%v %v", m, err)
	}
	l.unicast(vidA, 0, stationMAC(0), stationMAC(77))
}

// Frames are lost at random; retransmission and periodic CSNPs still make the
// databases equal (ISO/IEC 10589 7.3.15).
func TestLoss(t *testing.T) {
	l := newLab(t, 10, random(7, 10, 6), nil)
	r := prng{99}
	l.tap = func(int, tsn.Send) bool { return r.below(10) >= 3 }
	l.allUp()
	l.run(20 * second)
	l.tap = nil
	l.run(12 * second)
	l.sameDatabases()
	l.checkForwarding()
	var n uint64
	for _, node := range l.nodes {
		n += node.Counters().Retransmissions
	}
	if n == 0 {
		t.Error("nothing was sent again: the test lost nothing that mattered")
	}
}

// Overload: no path leads through the bridge, its own stations stay reachable.
func TestOverload(t *testing.T) {
	l := newLab(t, 4, ring(4), nil)
	l.allUp()
	l.run(second)
	l.step(1, SetOverload{On: true})
	l.run(second)
	path, err := l.nodes[0].Path(vidA, stationMAC(0), stationMAC(2))
	if err != nil || len(path) != 3 || path[1].System != nodeMAC(3) {
		t.Errorf("%v %v", path, err)
	}
	l.unicast(vidA, 0, stationMAC(0), stationMAC(1))
}

// A quiet network stays alive over hours: refreshes come in time, nothing ages
// out, nothing grows.
func TestRefresh(t *testing.T) {
	l := newLab(t, 3, ring(3), func(_ int, c *Config) { c.HelloInterval = 10 * second })
	l.allUp()
	l.run(3600 * second)
	l.sameDatabases()
	l.checkForwarding()
	for _, d := range l.nodes[0].Database() {
		if d.SequenceNumber < 4 || d.RemainingLifetime < 200 {
			t.Errorf("%s: sequence %d, lifetime %d after an hour", d.ID, d.SequenceNumber, d.RemainingLifetime)
		}
	}
	if len(l.queue) > 40 {
		t.Errorf("%d events are queued for 3 idle nodes", len(l.queue))
	}
	if n := l.nodes[0].Counters().Purges; n != 0 {
		t.Errorf("%d purges", n)
	}
}

// The LSPs of a dead node age out everywhere, and are forgotten ZeroAgeLifetime
// later (ISO/IEC 10589 7.3.16.4).
func TestAgeing(t *testing.T) {
	l := newLab(t, 3, line(3), func(_ int, c *Config) { c.HelloInterval = 10 * second })
	l.allUp()
	l.run(second)
	l.nodes[2].dead = true
	l.run(1201 * second)
	var got isispdu.LSPID
	for _, d := range l.nodes[0].Database() {
		if d.RemainingLifetime == 0 {
			got = d.ID
		}
	}
	if got != isispdu.MakeLSPID(nodeMAC(2), 0) {
		t.Errorf("purged: %s\n%s", got, l.databaseText(0))
	}
	l.sameDatabases()
	l.run(70 * second)
	if n := len(l.nodes[0].Database()); n != 2 {
		t.Errorf("%d LSPs are left:\n%s", n, l.databaseText(0))
	}
}

// More stations than one LSP holds: fragments, which go when the stations go.
func TestFragments(t *testing.T) {
	l := newLab(t, 2, line(2), nil)
	l.allUp()
	l.run(second)
	var many []EndStation
	for k := range 300 {
		many = append(many, EndStation{MAC: stationMAC(1000 + k), Port: edgePort, Name: fmt.Sprintf("station-%d", k)})
	}
	l.step(0, SetEndStations{Stations: many})
	l.run(second)
	l.sameDatabases()
	if n := l.nodes[1].Status().LSPs; n < 5 {
		t.Errorf("%d fragments", n)
	}
	if n := len(l.nodes[1].Stations()); n != 301 {
		t.Errorf("%d stations", n)
	}
	l.unicast(vidB, 1, stationMAC(1), stationMAC(1299))
	l.step(0, SetEndStations{Stations: many[:1]})
	l.run(second)
	l.sameDatabases()
	if n := l.nodes[1].Status().LSPs; n != 2 {
		t.Errorf("%d live fragments after shrinking", n)
	}
}

// StartupHold and RestartGrace: a restarted node says nothing until it knows
// the fabric again, then it says what it said before, and nobody else changes
// anything meanwhile: neither forwarding nor the content of an LSP.
func TestRestartUnnoticed(t *testing.T) {
	l := newLab(t, 4, ring(4), func(_ int, c *Config) { c.StartupHold = 3 * second })
	l.allUp()
	l.run(5 * second)
	l.checkForwarding()
	want := stateText(l.nodes[2].state)
	var before [4]Counters
	for k := range l.nodes {
		before[k] = l.nodes[k].Counters()
	}
	kernel := l.nodes[2].state
	l.nodes[2].cfg.Adopted = &kernel
	l.start(2)
	l.nodes[2].state = tsn.BridgeState{}
	restart := l.now
	for side := range 2 {
		l.step(2, tsn.LinkChanged{Port: l.links[1+side].port[1-side], Up: true, Rate: tsn.Gbps})
	}
	l.run(2 * second)
	l.sameDatabases()
	l.checkForwarding()
	if got := stateText(l.nodes[2].state); got != want {
		t.Errorf("after the restart:\n%s, before:\n%s", got, want)
	}
	if n := l.nodes[2].Counters().ForwardingSets; n != 1 {
		t.Errorf("%d states were handed out", n)
	}
	if took := l.nodes[2].changedAt.Sub(restart); took > 200*millisecond {
		t.Errorf("took %d ms", took/millisecond)
	}
	for _, k := range []int{0, 1, 3} {
		c := l.nodes[k].Counters()
		if c.ForwardingSets != before[k].ForwardingSets || c.Originations != before[k].Originations {
			t.Errorf("b%d: %d changes of forwarding, %d new LSPs", k+1, c.ForwardingSets-before[k].ForwardingSets, c.Originations-before[k].Originations)
		}
	}
	if n := l.nodes[0].Counters().SPFRuns - before[0].SPFRuns; n != 0 {
		t.Errorf("%d SPF runs across the ring", n)
	}
}

// A neighbour that restarts and does not come back is given up after the grace.
func TestRestartGraceEnds(t *testing.T) {
	l := newLab(t, 4, ring(4), nil)
	l.allUp()
	l.run(5 * second)
	before := l.nodes[0].Counters()
	l.start(1) // and its links say nothing
	l.nodes[1].dead = true
	hello := l.nodes[1].makeIIH(l.nodes[1].port(1))
	l.step(0, tsn.Received{Port: 1, Frame: isispdu.AppendFrame(nil, isispdu.AllISs, nodeMAC(1), mustAppend(hello))})
	if s := l.nodes[0].Neighbours()[0].State; s != "Initializing" || !l.nodes[0].bridgePort(1).BcastFlood {
		t.Errorf("%s, port %+v", s, l.nodes[0].bridgePort(1))
	}
	if n := l.nodes[0].Counters(); n.Originations != before.Originations {
		t.Error("the network was told")
	}
	l.run(1100 * millisecond)
	if n := l.nodes[0].Counters(); l.nodes[0].bridgePort(1).BcastFlood || n.Originations != before.Originations+1 {
		t.Errorf("after the grace: %+v, %d LSPs", l.nodes[0].bridgePort(1), n.Originations-before.Originations)
	}
}

// Alone in the world a node waits no longer than it was told to.
func TestStartupHoldAlone(t *testing.T) {
	p := newPeer(t, func(c *Config) { c.StartupHold = 3 * second })
	p.wait(2900 * millisecond)
	if p.state != nil {
		t.Error("too early")
	}
	p.wait(200 * millisecond)
	if p.state == nil {
		t.Error("nothing after the hold")
	}
}

// Two bridges with one system id, not neighbours: each keeps overtaking the
// other's LSP, ever more slowly, and says so.
func TestDuplicateSystemID(t *testing.T) {
	l := newLab(t, 3, line(3), func(k int, c *Config) {
		if k == 2 {
			c.SystemID = nodeMAC(0)
		}
	})
	l.allUp()
	l.run(60 * second)
	var n uint64
	for _, k := range []int{0, 2} {
		n += l.nodes[k].Counters().Originations
	}
	if n < 10 || n > 80 {
		t.Errorf("%d LSPs in a minute", n)
	}
	if !strings.Contains(strings.Join(l.log, "\n"), NoticeOwnLSPNewer) {
		t.Error("nobody said so")
	}
}

// Links flap, frames get lost, daemons restart, all at random; once it is
// quiet again everything is as if nothing had happened.
func TestChaos(t *testing.T) {
	for seed := range uint64(4) {
		r := &prng{seed}
		l := newLab(t, 8, random(seed, 8, 6), nil)
		l.tap = func(int, tsn.Send) bool { return r.below(20) > 0 }
		for range 200 {
			switch r.below(8) {
			case 0:
				k := int(r.below(int64(len(l.nodes))))
				l.start(k)
				for _, link := range l.links {
					for side := range 2 {
						if link.node[side] == k && link.up {
							l.step(k, tsn.LinkChanged{Port: link.port[side], Up: true, Rate: tsn.Gbps})
						}
					}
				}
			default:
				n := int(r.below(int64(len(l.links))))
				l.setLink(n, !l.links[n].up)
			}
			l.run(r.below(300 * millisecond))
		}
		l.tap = nil
		l.allUp()
		l.run(16 * second) // a CSNP and an overtaking LSP at its slowest
		l.sameDatabases()
		l.checkForwarding()
	}
}

// How long may a frame circle after a cut or a repair? In every state until
// it is quiet, follow the bridges' next hops towards each station: a cycle is
// a transient loop, for broadcast too. The ingress check does not prevent it
// (the agreement digest of 802.1aq would), so it has to be short.
func TestTransientLoops(t *testing.T) {
	for name, limit := range map[string]int64{"ring4": 3 * wireDelay, "random30-1": 6 * millisecond} {
		l := topologies()[name](t)
		l.allUp()
		l.run(second)
		worst := int64(0)
		for n := len(l.links) - 4; n < len(l.links); n++ {
			for _, up := range []bool{false, true} {
				l.setLink(n, up)
				from := l.now
				for l.now < from.Add(60*millisecond) {
					if len(l.queue) == 0 || l.queue[0].at > from.Add(60*millisecond) {
						break
					}
					l.run(l.queue[0].at.Sub(l.now))
					if l.looping() {
						worst = max(worst, l.now.Sub(from))
					}
				}
				l.run(second)
			}
		}
		t.Logf("%s: a loop was possible until %d us after an event", name, worst/1000)
		if worst > limit {
			t.Errorf("%s: a loop was possible %d us after an event", name, worst/1000)
		}
	}
}

// looping reports whether next hops towards some station form a cycle.
func (l *lab) looping() bool {
	for dst := range l.nodes {
		for from := range l.nodes {
			at := from
			for steps := 0; at != dst; steps++ {
				if steps > len(l.nodes) {
					return true
				}
				next, _, up := l.peer(at, l.nodes[at].fdbPort(vidA, stationMAC(dst)))
				if !up {
					break
				}
				at = next
			}
		}
	}
	return false
}
