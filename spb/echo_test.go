package spb

import (
	"fmt"
	"testing"

	tsn "tsnswitch"
	"tsnswitch/spb/ctlframe"
)

const echoInterval = 10 * millisecond

// echoLab is a ring of 4 with fast echo on every link, settled.
func echoLab(t testing.TB, change func(k int, c *Config)) *lab {
	l := newLab(t, 4, ring(4), func(k int, c *Config) {
		for n := range c.Ports {
			if c.Ports[n].Role == tsn.RoleFabric {
				c.Ports[n].Echo.Interval = echoInterval
			}
		}
		if change != nil {
			change(k, c)
		}
	})
	l.allUp()
	l.run(2 * second)
	return l
}

// silence loses what leaves by the ends of a link that lost says.
func (l *lab) silence(link int, lost func(side int, frame []byte) bool) {
	x := l.links[link]
	l.tap = func(from int, s tsn.Send) bool {
		for side := range 2 {
			if from == x.node[side] && s.Port == x.port[side] && lost(side, s.Frame) {
				return false
			}
		}
		return true
	}
}

func isEcho(frame []byte) bool {
	_, body, err := ctlframe.Parse(frame)
	_, ok := body.(*ctlframe.Echo)
	return err == nil && ok
}

// used tells whether both ends have a link in use.
func (l *lab) used(link int) (out [2]bool) {
	x := l.links[link]
	for side, k := range x.node {
		out[side] = l.nodes[k].port(x.port[side]).inUse()
	}
	return out
}

// neighbourAt is what an end of a link says.
func (l *lab) neighbourAt(link, side int) Neighbour {
	x := l.links[link]
	for _, n := range l.nodes[x.node[side]].Neighbours() {
		if n.Port == x.port[side] {
			return n
		}
	}
	return Neighbour{}
}

// A link that keeps its carrier and loses every frame, both ways or one way,
// is out of use at both ends within 50 ms, and paths avoid it.
func TestEchoSilentLoss(t *testing.T) {
	for name, lost := range map[string]func(side int, _ []byte) bool{
		"both ways": func(int, []byte) bool { return true },
		"one way":   func(side int, _ []byte) bool { return side == 0 },
		"other way": func(side int, _ []byte) bool { return side == 1 },
	} {
		t.Run(name, func(t *testing.T) {
			l := echoLab(t, nil)
			if e := l.neighbourAt(0, 0).Echo; e.State != "Up" || e.IntervalNS != echoInterval || e.DetectNS != 3*echoInterval {
				t.Fatalf("before: %+v", e)
			}
			l.silence(0, lost)
			l.run(50 * millisecond)
			if got := l.used(0); got != [2]bool{} {
				t.Fatalf("after 50 ms: %v", got)
			}
			if n := l.noticed(NoticeAdjacencyDown); n != 2 {
				t.Errorf("%d adjacencies went down", n)
			}
			for k := range l.nodes {
				for to := range l.nodes {
					if k != to {
						l.unicast(vidA, k, stationMAC(k), stationMAC(to))
					}
				}
			}
			if l.noticed(NoticeEchoLost) == 0 || l.neighbourAt(0, 0).Mismatch+l.neighbourAt(0, 1).Mismatch == "" && name != "both ways" {
				t.Errorf("nobody says so: %v", l.log)
			}
			l.run(10 * second)
			if got := l.used(0); got != [2]bool{} {
				t.Errorf("after 10 s: %v", got)
			}
			l.tap = nil
			l.run(5 * second)
			if got := l.used(0); got != [2]bool{true, true} {
				t.Errorf("repaired: %v, %+v", got, l.neighbourAt(0, 0))
			}
			l.sameDatabases()
			l.checkForwarding()
		})
	}
}

// Hellos alone do not bring a link back that lost its echo, and the first echo
// does not either.
func TestEchoNotByHellos(t *testing.T) {
	l := echoLab(t, nil)
	l.silence(0, func(_ int, frame []byte) bool { return isEcho(frame) })
	l.run(20 * second)
	n := l.neighbourAt(0, 0)
	if got := l.used(0); got != [2]bool{} || n.State != "Up" || n.Mismatch == "" || n.Metric != 1<<24-1 {
		t.Fatalf("with hellos: %v %+v", got, n)
	}
	l.tap = nil
	l.run(echoRecovery - 10*millisecond)
	if got := l.used(0); got != [2]bool{} || l.neighbourAt(0, 0).Echo.State != "Up" {
		t.Errorf("with the first echoes: %v %+v", got, l.neighbourAt(0, 0))
	}
	l.run(500 * millisecond)
	if got := l.used(0); got != [2]bool{true, true} {
		t.Errorf("at last: %v", got)
	}
}

// Two of three frames may be lost, on and on.
func TestEchoTolerates(t *testing.T) {
	l := echoLab(t, nil)
	n := 0
	l.silence(0, func(side int, frame []byte) bool {
		if side == 1 || !isEcho(frame) {
			return false
		}
		n++
		return n%3 != 0
	})
	l.run(20 * second)
	if l.noticed(NoticeEchoLost) != 0 || l.nodes[1].Counters().Control.EchoMissing < 1000 {
		t.Errorf("%d losses, %d frames missing", l.noticed(NoticeEchoLost), l.nodes[1].Counters().Control.EchoMissing)
	}
}

// RFC 5880 s6.8.7: the slower of what one sends and the other takes; s6.8.4:
// the receiver's clock runs by the sender's multiplier.
func TestEchoIntervals(t *testing.T) {
	l := echoLab(t, func(k int, c *Config) {
		if k == 1 {
			for n := range c.Ports {
				if c.Ports[n].Echo.Interval != 0 {
					c.Ports[n].Echo = EchoConfig{Interval: 40 * millisecond, Multiplier: 5}
				}
			}
		}
	})
	a, b := l.neighbourAt(0, 0).Echo, l.neighbourAt(0, 1).Echo
	if a.IntervalNS != 40*millisecond || a.DetectNS != 200*millisecond || b.IntervalNS != 40*millisecond || b.DetectNS != 120*millisecond {
		t.Errorf("%+v and %+v", a, b)
	}
}

// A neighbour without echo says so, and hellos decide as always.
func TestEchoOneEnd(t *testing.T) {
	l := echoLab(t, func(k int, c *Config) {
		if k == 1 {
			for n := range c.Ports {
				c.Ports[n].Echo = EchoConfig{}
			}
		}
	})
	l.run(10 * second)
	if got := l.used(0); got != [2]bool{true, true} || l.noticed(NoticeEchoLost) != 0 {
		t.Errorf("%v, %v", got, l.log)
	}
	if sent := l.nodes[1].Counters().Control.EchoSent; sent == 0 || sent > 300 {
		t.Errorf("the end without echo sent %d frames", sent)
	}
	l.checkForwarding()
}

// A daemon that is stopped in order and comes back with what it knew goes
// unnoticed; one that is killed costs its links, and they come back.
func TestEchoRestart(t *testing.T) {
	for _, killed := range []bool{false, true} {
		l := echoLab(t, func(_ int, c *Config) { c.StartupHold = 0 })
		before, sets := stateText(l.nodes[0].state), l.nodes[0].Counters().ForwardingSets
		if !killed {
			l.step(1, PauseEcho{})
			l.run(millisecond)
		}
		l.nodes[1].dead = true
		l.run(200 * millisecond)
		if got := l.used(0)[0]; got == killed {
			t.Errorf("killed %t: the neighbour has the link in use: %t", killed, got)
		}
		l.nodes[1].cfg.StartupHold = 3 * second
		l.start(1)
		for _, n := range []int{0, 1} {
			x := l.links[n]
			l.step(1, tsn.LinkChanged{Port: x.port[1-n], Up: true, Rate: tsn.Gbps})
		}
		l.run(6 * second)
		if got := l.used(0); got != [2]bool{true, true} || l.neighbourAt(0, 0).Echo.State != "Up" {
			t.Errorf("killed %t: %v %+v", killed, got, l.neighbourAt(0, 0))
		}
		if got := stateText(l.nodes[0].state); got != before || !killed && l.nodes[0].Counters().ForwardingSets != sets {
			t.Errorf("killed %t: %d forwarding states, the last\n%s\nbefore\n%s", killed, l.nodes[0].Counters().ForwardingSets-sets, got, before)
		}
		l.checkForwarding()
	}
}

// Each loss makes the wait longer, up to a limit; a calm time forgets it.
func TestEchoBackoff(t *testing.T) {
	l := echoLab(t, nil)
	wait := func() int64 {
		l.silence(0, func(_ int, frame []byte) bool { return isEcho(frame) })
		l.run(100 * millisecond)
		l.tap = nil
		from := l.now
		for n := 0; l.used(0) != [2]bool{true, true}; n++ {
			if l.run(10 * millisecond); n > 10_000 {
				t.Fatal("the link stays out of use")
			}
		}
		return l.now.Sub(from) / (500 * millisecond)
	}
	got := []int64{wait(), wait(), wait(), wait(), wait(), wait()}
	l.run(70 * second)
	if got = append(got, wait()); fmt.Sprint(got) != "[2 4 8 16 32 32 2]" {
		t.Errorf("half seconds: %v", got)
	}
}

// RFC 5880 s6.8.6, the table of states, and the checks before it.
func TestEchoStates(t *testing.T) {
	const down, init, up, admin = ctlframe.EchoDown, ctlframe.EchoInit, ctlframe.EchoUp, ctlframe.EchoAdminDown
	for _, tt := range []struct {
		was, heard, want ctlframe.EchoState
		fault            bool
	}{
		{down, admin, down, false},
		{down, down, init, false},
		{down, init, up, false},
		{down, up, down, false},
		{init, admin, down, false},
		{init, down, init, false},
		{init, init, up, false},
		{init, up, up, false},
		{up, admin, down, false},
		{up, down, down, true},
		{up, init, up, false},
		{up, up, up, false},
	} {
		p := newPeer(t, func(c *Config) { c.Ports[0].Echo.Interval = echoInterval })
		port := p.inst.port(1)
		rx := func(src tsn.MAC, f ctlframe.Echo) {
			f.Multiplier, f.Interval, f.Port = 3, 10_000, 9
			p.inst.Step(p.now, tsn.Received{Port: 1, Frame: f.Append(nil, src)})
		}
		hears := func(s ctlframe.EchoState) ctlframe.Echo {
			return ctlframe.Echo{State: s, HeardID: nodeMAC(0), HeardPort: 1}
		}
		switch tt.was {
		case init:
			rx(nodeMAC(1), hears(down))
		case up:
			rx(nodeMAC(1), hears(init))
		}
		if port.echo.state != tt.was {
			t.Fatalf("cannot get to %s: %s", tt.was, port.echo.state)
		}
		ignored := p.inst.Counters().Control.EchoIgnored
		rx(nodeMAC(0), hears(init)) // its own frame
		rx(tsn.Broadcast, hears(init))
		if port.echo.state != tt.was || p.inst.Counters().Control.EchoIgnored != ignored+2 {
			t.Fatalf("%s: a frame that is no neighbour's: %s", tt.was, port.echo.state)
		}
		rx(nodeMAC(1), hears(tt.heard))
		if port.echo.state != tt.want || (port.echo.fault != "") != tt.fault {
			t.Errorf("%s, heard %s: %s (fault %q), want %s", tt.was, tt.heard, port.echo.state, port.echo.fault, tt.want)
		}
		if tt.want == up {
			rx(nodeMAC(1), ctlframe.Echo{State: up, HeardID: nodeMAC(7), HeardPort: 1})
			if port.echo.state != down || port.echo.fault == "" {
				t.Errorf("the neighbour hears another one: %s", port.echo.state)
			}
		}
	}
}

// An end that was not stepped for longer than the silence that means a loss
// reads what has come in before it decides.
func TestEchoStall(t *testing.T) {
	for _, alive := range []bool{true, false} {
		p := newPeer(t, func(c *Config) { c.Ports[0].Echo.Interval = echoInterval })
		rx := func() {
			f := ctlframe.Echo{State: ctlframe.EchoInit, Multiplier: 3, Interval: 10_000, Port: 9, HeardID: nodeMAC(0), HeardPort: 1}
			p.inst.Step(p.now, tsn.Received{Port: 1, Frame: f.Append(nil, nodeMAC(1))})
		}
		rx()
		p.now = p.now.Add(100 * millisecond)
		p.inst.Step(p.now, tsn.Timeout{})
		if e := p.inst.port(1).echo; e.state != ctlframe.EchoUp || p.inst.Counters().Control.EchoStalls != 1 {
			t.Fatalf("at once: %s", e.state)
		}
		if alive {
			rx()
		}
		p.wait(15 * millisecond)
		if e := p.inst.port(1).echo; (e.state == ctlframe.EchoUp) != alive {
			t.Errorf("frames waited: %t, then %s", alive, e.state)
		}
	}
}

// What a neighbour announces is bounded, and configuration is checked.
func TestEchoBounds(t *testing.T) {
	for _, c := range []EchoConfig{{Interval: 1}, {Interval: 11 * second}, {Interval: second, Multiplier: 1}, {Interval: -1}} {
		cfg := peerConfig()
		cfg.Ports[0].Echo = c
		if _, err := New(cfg); err == nil {
			t.Errorf("%+v is taken", c)
		}
	}
	p := newPeer(t, func(c *Config) { c.Ports[0].Echo.Interval = echoInterval })
	f := ctlframe.Echo{State: ctlframe.EchoDown, Multiplier: 255, Interval: 1<<32 - 1, MinReceive: 1<<32 - 1, Port: 9}
	p.inst.Step(p.now, tsn.Received{Port: 1, Frame: f.Append(nil, nodeMAC(1))})
	if d := p.inst.port(1).echo.detect.Sub(p.now); d != 255*echoMaxInterval {
		t.Errorf("%d s of silence", d/second)
	}
}
