package spb

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	tsn "tsnswitch"
	"tsnswitch/spb/ctlframe"
	"tsnswitch/spb/isispdu"
)

// lanLab is a lab whose edge ports are on LANs: a cable is a LAN of two, a
// bridge of somebody else's one of many.
type lanLab struct {
	*lab
	lans []*lan
	sent int // probes
	// oneWay, if set, is how long a loop may live, ns, between ports of which only
	// one hears the other.
	oneWay int64
	loops  map[[2]lanPort]tsn.Instant
	// lose tells which probe, counted over all, gets lost.
	lose func(n int) bool
}

type lan struct {
	ports []lanPort
	// hears tells whether frames of one port reach another. nil: all do.
	hears func(from, to int) bool
}

type lanPort struct {
	node int
	port tsn.Port
}

func newLANLab(t testing.TB, n int, change func(k int, c *Config)) *lanLab {
	l := &lanLab{lab: newLab(t, n, ring(max(n, 2))[:n-1], func(k int, c *Config) {
		c.EdgeGuard = EdgeGuardConfig{}
		if change != nil {
			change(k, c)
		}
	})}
	l.loops = map[[2]lanPort]tsn.Instant{}
	l.tap = l.probe
	l.carries = func(node int, port tsn.Port) bool { return l.at(lanPort{node, port}) != nil }
	l.allUp()
	l.run(second)
	l.after = l.noLoop
	return l
}

func (l *lanLab) at(p lanPort) *lan {
	for _, x := range l.lans {
		if slices.Contains(x.ports, p) {
			return x
		}
	}
	return nil
}

// probe delivers what an edge port sends.
func (l *lanLab) probe(from int, s tsn.Send) bool {
	x := l.at(lanPort{from, s.Port})
	if x == nil {
		return true
	}
	if l.sent++; l.lose != nil && l.lose(l.sent) {
		return false
	}
	me := slices.Index(x.ports, lanPort{from, s.Port})
	for k, p := range x.ports {
		if k == me && x.hears == nil || x.hears != nil && !x.hears(me, k) {
			continue
		}
		l.push(l.now.Add(wireDelay), p.node, tsn.Received{Port: p.port, Frame: slices.Clone(s.Frame)})
	}
	return false
}

func (l *lanLab) forwards(p lanPort) bool { return len(l.nodes[p.node].bridgePort(p.port).VLANs) > 0 }

// noLoop fails if frames of a port that forwards reach another one that does.
func (l *lanLab) noLoop() {
	l.t.Helper()
	for _, x := range l.lans {
		for a, p := range x.ports {
			for b, q := range x.ports {
				pair := [2]lanPort{p, q}
				if a == b || x.hears != nil && !x.hears(a, b) || !l.forwards(p) || !l.forwards(q) {
					delete(l.loops, pair)
					continue
				}
				if l.loops[pair] == 0 {
					l.loops[pair] = l.now
				}
				if x.hears == nil || x.hears(b, a) || l.oneWay == 0 || l.now.Sub(l.loops[pair]) > l.oneWay {
					l.t.Fatalf("at %d ms: %v and %v both forward:\n%v", l.now/1_000_000, p, q, l.log)
				}
			}
		}
	}
}

func (l *lanLab) join(x *lan) {
	l.lans = append(l.lans, x)
	for _, p := range x.ports {
		l.step(p.node, tsn.LinkChanged{Port: p.port, Up: true, Rate: tsn.Gbps})
	}
}

func (l *lanLab) states(x *lan) (out []string) {
	for _, p := range x.ports {
		for _, e := range l.nodes[p.node].EdgePorts() {
			if e.Port == p.port {
				out = append(out, e.State)
			}
		}
	}
	return out
}

// An edge port with a host behind it forwards after its probes went unheard:
// not a frame before, all frames after.
func TestEdgeListens(t *testing.T) {
	l := newLANLab(t, 2, nil)
	x := &lan{ports: []lanPort{{0, edgePort}}}
	if l.forwards(x.ports[0]) || l.nodes[1].fdbPort(vidA, stationMAC(0)) == tsn.NoPort {
		t.Error("a port without a link forwards, or its station is not known elsewhere")
	}
	l.join(x)
	l.run(149 * millisecond)
	if l.forwards(x.ports[0]) {
		t.Error("it forwards before it has listened")
	}
	l.run(2 * millisecond)
	if !l.forwards(x.ports[0]) || l.nodes[0].fdbPort(vidA, stationMAC(0)) != edgePort || !l.nodes[0].bridgePort(edgePort).BcastFlood {
		t.Errorf("after 150 ms: %+v", l.nodes[0].EdgePorts())
	}
	l.step(0, tsn.LinkChanged{Port: edgePort})
	l.noLoop()
	if l.forwards(x.ports[0]) || l.nodes[0].EdgePorts()[0].State != "down" {
		t.Errorf("without a link: %+v", l.nodes[0].EdgePorts()[0])
	}
}

// Two edge ports cabled together carry not one frame; the one with the higher
// {system id, port} is blocked and says by whom, and opens when the cable has
// gone. On one bridge and on two.
func TestEdgeCable(t *testing.T) {
	for name, far := range map[string]lanPort{"two bridges": {1, emptyPort}, "one bridge": {0, emptyPort}} {
		t.Run(name, func(t *testing.T) {
			l := newLANLab(t, 2, nil)
			x := &lan{ports: []lanPort{{0, edgePort}, far}}
			l.join(x)
			l.run(5 * second)
			if got := l.states(x); got[0] != "forwarding" || got[1] != "blocked" {
				t.Fatalf("%v", got)
			}
			e := l.nodes[far.node].EdgePorts()[1]
			if e.PeerSystem != nodeMAC(0) || e.PeerPort != edgePort || e.Blocks != 1 || e.Reason == "" {
				t.Errorf("the blocked port says %+v", e)
			}
			l.lans = nil
			l.lans = []*lan{{ports: []lanPort{far}}} // a host instead
			l.run(7 * second)
			if !l.forwards(far) {
				t.Errorf("the cable has gone: %+v", l.nodes[far.node].EdgePorts()[1])
			}
		})
	}
}

// A station behind a blocked port is not advertised, and comes back.
func TestEdgeBlockedStation(t *testing.T) {
	l := newLANLab(t, 2, nil)
	x := &lan{ports: []lanPort{{0, emptyPort}, {1, edgePort}}}
	l.join(x)
	l.run(second)
	if got := l.states(x); got[1] != "blocked" || l.nodes[0].fdbPort(vidA, stationMAC(1)) != tsn.NoPort {
		t.Fatalf("%v, entry at port %d", got, l.nodes[0].fdbPort(vidA, stationMAC(1)))
	}
	l.lans = []*lan{{ports: []lanPort{{1, edgePort}}}}
	l.run(8 * second)
	if l.nodes[0].fdbPort(vidA, stationMAC(1)) == tsn.NoPort {
		t.Error("the station of the port that opened is not known")
	}
}

// Frames that get through in one direction only make a loop too: the port that
// hears is blocked, whichever it is.
func TestEdgeOneWay(t *testing.T) {
	for from := range 2 {
		l := newLANLab(t, 2, nil)
		x := &lan{ports: []lanPort{{0, edgePort}, {1, edgePort}}, hears: func(a, b int) bool { return a == from && b != from }}
		l.join(x)
		l.run(10 * second)
		if got := l.states(x); got[from] != "forwarding" || got[1-from] != "blocked" {
			t.Errorf("only port %d is heard: %v", from, got)
		}
		x.hears = nil
		l.run(10 * second)
		if got := l.states(x); got[from] != "forwarding" || got[1-from] != "blocked" {
			t.Errorf("repaired, port %d was first: %v", from, got)
		}
	}
}

// A port that sends into itself is blocked as long as its probes come back.
func TestEdgeReflection(t *testing.T) {
	l := newLANLab(t, 1, nil)
	x := &lan{ports: []lanPort{{0, edgePort}}, hears: func(int, int) bool { return true }}
	l.join(x)
	l.run(20 * second)
	if got := l.states(x); got[0] != "blocked" {
		t.Errorf("%v", got)
	}
	if n := l.nodes[0].EdgePorts()[0].Blocks; n != 1 {
		t.Errorf("blocked %d times by one loop", n)
	}
}

// A port that joins a LAN where another one forwards is blocked, lower or not,
// and the one that forwards goes on.
func TestEdgeIncumbent(t *testing.T) {
	for first := range 2 {
		l := newLANLab(t, 2, nil)
		x := &lan{ports: []lanPort{{first, edgePort}}}
		l.join(x)
		l.run(second)
		opened := l.nodes[first].EdgePorts()[0].SinceNS
		late := lanPort{1 - first, edgePort}
		x.ports = append(x.ports, late)
		l.step(late.node, tsn.LinkChanged{Port: late.port, Up: true})
		l.run(10 * second)
		if got := l.states(x); got[0] != "forwarding" || got[1] != "blocked" || l.nodes[first].EdgePorts()[0].SinceNS != opened {
			t.Errorf("b%d was first: %v", first+1, got)
		}
	}
}

// A port that forwards and is not heard by one that comes up gives way before
// that one forwards.
func TestEdgeUnheard(t *testing.T) {
	for first := range 2 {
		l := newLANLab(t, 2, nil)
		x := &lan{ports: []lanPort{{first, edgePort}}}
		l.join(x)
		l.run(second)
		late := lanPort{1 - first, edgePort}
		x.ports, x.hears = append(x.ports, late), func(from, to int) bool { return from == 1 && to == 0 }
		l.step(late.node, tsn.LinkChanged{Port: late.port, Up: true})
		l.run(10 * second)
		if got := l.states(x); got[0] != "blocked" || got[1] != "forwarding" {
			t.Errorf("b%d was first: %v", first+1, got)
		}
	}
}

// Whichever one probe gets lost, there is no loop, and one port forwards.
func TestEdgeAnyProbeLost(t *testing.T) {
	for lost := 1; lost < 60; lost++ {
		l := newLANLab(t, 2, func(_ int, c *Config) { c.EdgeGuard.Interval = 200 * millisecond })
		l.lose = func(n int) bool { return n == lost }
		x := &lan{ports: []lanPort{{1, emptyPort}, {0, edgePort}, {0, emptyPort}}}
		l.join(x)
		l.run(2 * second)
		if got := l.states(x); got[1] != "forwarding" || got[0] != "blocked" || got[2] != "blocked" {
			t.Errorf("probe %d lost: %v", lost, got)
		}
	}
}

// Random LANs, ports that come and go: never a loop between two that hear each
// other, none for longer than the interval where only one does. If ports cannot
// send or receive at all (and not just to or from some others), then at rest
// each one forwards or hears one that does.
func TestEdgeRandom(t *testing.T) {
	for seed := range uint64(24) {
		r, physical := prng{seed}, seed%2 == 0
		l := newLANLab(t, 3, func(_ int, c *Config) { c.EdgeGuard.Interval = 200 * millisecond })
		l.oneWay = 200 * millisecond
		shut := map[[2]int]bool{}
		var all []lanPort
		for k := range 3 {
			all = append(all, lanPort{k, edgePort}, lanPort{k, emptyPort})
		}
		for a := range all {
			for b := range all {
				shut[[2]int{a, b}] = a == b || r.below(3) == 0
			}
		}
		if physical {
			var mute, deaf [6]bool
			for k := range all {
				mute[k], deaf[k] = r.below(4) == 0, r.below(4) == 0
			}
			for pair := range shut {
				shut[pair] = pair[0] == pair[1] || mute[pair[0]] || deaf[pair[1]]
			}
		}
		x := &lan{ports: all, hears: func(a, b int) bool { return !shut[[2]int{a, b}] }}
		l.lans = []*lan{x}
		for range 40 {
			p := all[r.below(int64(len(all)))]
			l.step(p.node, tsn.LinkChanged{Port: p.port, Up: r.below(3) > 0})
			l.run(r.below(300) * millisecond)
		}
		for _, p := range all {
			l.step(p.node, tsn.LinkChanged{Port: p.port, Up: true})
		}
		l.run(40 * second)
		for b, p := range all {
			heard := false
			for a, q := range all {
				heard = heard || x.hears(a, b) && l.forwards(q)
			}
			if physical && l.forwards(p) == heard {
				t.Errorf("seed %d: %v forwards: %t, hears one that does: %t; %v", seed, p, l.forwards(p), heard, l.states(x))
			}
		}
	}
}

// Hellos on an edge port mean that a fabric is behind it.
func TestEdgeHello(t *testing.T) {
	l := newLANLab(t, 2, nil)
	x := &lan{ports: []lanPort{{0, edgePort}}}
	l.join(x)
	l.run(second)
	iih := mustAppend(l.nodes[1].makeIIH(l.nodes[1].ports[0]))
	l.step(0, tsn.Received{Port: edgePort, Frame: isispdu.AppendFrame(nil, isispdu.AllISs, nodeMAC(1), iih)})
	l.run(2900 * millisecond)
	if got := l.states(x); got[0] != "blocked" || l.nodes[0].Counters().Drops.NotFabricPort != 1 {
		t.Fatalf("%v", got)
	}
	l.run(300 * millisecond)
	if got := l.states(x); got[0] != "forwarding" {
		t.Errorf("after the holding time of the hello: %v", got)
	}
}

// Probes of another fabric do not count; with the guard off nothing does.
func TestEdgeNotGuarded(t *testing.T) {
	for name, change := range map[string]func(k int, c *Config){
		"other fabric": func(k int, c *Config) { c.EdgeGuard.FabricID = uint32(k) },
		"off":          func(_ int, c *Config) { c.EdgeGuard.Interval = -1 },
		"port":         func(_ int, c *Config) { c.Ports[0].Unguarded = true },
	} {
		t.Run(name, func(t *testing.T) {
			l := newLANLab(t, 2, change)
			x := &lan{ports: []lanPort{{0, edgePort}, {1, edgePort}}, hears: func(a, b int) bool { return a != b }}
			l.after = nil
			l.join(x)
			l.run(5 * second)
			if got := fmt.Sprint(l.states(x)); got != "[forwarding forwarding]" {
				t.Error(got)
			}
			if l.log != nil && name != "other fabric" {
				for _, line := range l.log {
					if strings.Contains(line, NoticeEdgeBlocked) {
						t.Error(line)
					}
				}
			}
		})
	}
}

// A flap makes the hold longer, and a quiet time forgets that.
func TestEdgeBackoff(t *testing.T) {
	l := newLANLab(t, 1, func(_ int, c *Config) { c.EdgeGuard.Interval = 100 * millisecond })
	x := &lan{ports: []lanPort{{0, emptyPort}}}
	l.join(x)
	l.run(200 * millisecond)
	probe := &ctlframe.Probe{State: ctlframe.ProbeForwarding, Port: 1, Interval: 100_000}
	hold := func() int64 {
		from := l.now
		l.step(0, tsn.Received{Port: emptyPort, Frame: probe.Append(nil, nodeMAC(0), vidB)})
		if l.forwards(x.ports[0]) {
			t.Fatal("a probe of a lower port does not block")
		}
		for n := 0; !l.forwards(x.ports[0]); n++ {
			if l.run(millisecond); n > 20_000 {
				t.Fatal("it stays blocked")
			}
		}
		return l.now.Sub(from) / millisecond
	}
	got := []int64{hold(), hold(), hold()}
	l.run(30 * second)
	if got = append(got, hold()); fmt.Sprint(got) != "[450 750 1350 450]" {
		t.Errorf("held for %v ms", got)
	}
}

// A port that the kernel has kept open goes on after a restart, and the first
// forwarding state waits until it could have heard of a loop. One that has no
// link any more is closed.
func TestEdgeAdopted(t *testing.T) {
	l := newLANLab(t, 2, func(_ int, c *Config) { c.StartupHold = 0 })
	x := &lan{ports: []lanPort{{0, edgePort}, {1, edgePort}}}
	l.join(x)
	l.run(2 * second)
	for _, k := range []int{0, 1} {
		l.nodes[k].cfg.StartupHold = 3 * second
		before := l.nodes[k].state
		l.start(k)
		for _, link := range l.links {
			for side := range 2 {
				if link.node[side] == k {
					l.step(k, tsn.LinkChanged{Port: link.port[side], Up: true, Rate: tsn.Gbps})
				}
			}
		}
		l.step(k, tsn.LinkChanged{Port: edgePort, Up: true, Rate: tsn.Gbps})
		l.run(2 * second)
		if got := l.nodes[k].state; !sameState(got, before) {
			t.Errorf("b%d forwards\n%swant\n%s", k+1, stateText(got), stateText(before))
		}
		l.run(3 * second)
		if s := l.nodes[k].EdgePorts()[1].State; s != "down" {
			t.Errorf("b%d: the port without a link is %s", k+1, s)
		}
	}
}

// A LAN with more ports than are remembered is not opened, and not forgotten.
func TestEdgePeersCap(t *testing.T) {
	l := newLANLab(t, 1, nil)
	l.join(&lan{ports: []lanPort{{0, edgePort}}})
	for k := range 2 * maxEdgePeers {
		p := &ctlframe.Probe{State: ctlframe.ProbeBlocked, Port: 1, Interval: 1_000_000}
		l.step(0, tsn.Received{Port: edgePort, Frame: p.Append(nil, nodeMAC(100+k), 0)})
	}
	n := l.nodes[0]
	if len(n.ctl.edges[0].peers) != maxEdgePeers || n.Counters().Control.ProbesOverCap != maxEdgePeers || n.EdgePorts()[0].State != "blocked" {
		t.Errorf("%d remembered, %+v, %+v", len(n.ctl.edges[0].peers), n.Counters().Control, n.EdgePorts()[0])
	}
	l.run(8 * second)
	if s := n.EdgePorts()[0].State; s != "forwarding" {
		t.Errorf("when all are gone it is %s", s)
	}
}
