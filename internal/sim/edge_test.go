package sim_test

import (
	"testing"

	"tsnswitch"
	"tsnswitch/gptp"
	"tsnswitch/internal/config"
	"tsnswitch/internal/nodeconfig"
	"tsnswitch/internal/sim"
	"tsnswitch/qbv"
	"tsnswitch/spb"
	"tsnswitch/srp"
)

// spare is an edge port of every bridge of edgeLab with nothing on it.
const spare = tsn.Port(50)

// edgeLab is a ring of three bridges with a host each and the spare ports.
func edgeLab(t *testing.T) *lab {
	c := parse(t, `
name: edge
nodes: [{name: b1}, {name: b2}, {name: b3}, {name: h1, kind: host}, {name: h2, kind: host}, {name: h3, kind: host}]
links: [{a: b1, b: b2}, {a: b2, b: b3}, {a: b3, b: b1}, {a: b1, b: h1}, {a: b2, b: h2}, {a: b3, b: h3}]
gptp: {grandMaster: b1}
`)
	n := sim.New(1)
	for _, x := range c.Nodes {
		dc, err := c.DaemonConfig(x.Name, config.Dirs{})
		if err != nil {
			t.Fatal(err)
		}
		cfg, err := nodeconfig.Of(dc)
		if err != nil {
			t.Fatal(err)
		}
		if s := cfg.SPB; s != nil {
			s.Ports = append(s.Ports, spb.PortConfig{Port: spare, PVID: s.BaseVIDs[0].VID, Untagged: true})
			cfg.Ports = append(cfg.Ports, spare)
			cfg.GPTP.Ports = append(cfg.GPTP.Ports, gptp.DefaultPort(spare))
			cfg.SRP.Ports = append(cfg.SRP.Ports, srp.PortConfig{Port: spare, Rate: tsn.Gbps})
			cfg.QBV.Ports = append(cfg.QBV.Ports, qbv.AdminPort{Port: spare, Limits: qbv.SoftwareLimits(tsn.Gbps)})
		}
		if _, err := n.Add(x.Name, sim.NodeConfig{Node: cfg}); err != nil {
			t.Fatal(err)
		}
	}
	l := &lab{n, t, c, 300 * millisecond}
	for _, k := range c.Links {
		l.cable(k.A.Node, k.A.Port, k.B.Node, k.B.Port)
	}
	l.settle()
	return l
}

func (l *lab) cable(a string, p tsn.Port, b string, q tsn.Port) {
	l.t.Helper()
	if err := l.Connect(sim.LinkConfig{A: a, APort: p, B: b, BPort: q, Rate: tsn.Gbps, Delay: 500}); err != nil {
		l.t.Fatal(err)
	}
}

// once runs, and fails if at any millisecond a broadcast of a host circles,
// or comes to a host twice.
func (l *lab) once(ns int64) {
	l.t.Helper()
	for range ns / millisecond {
		l.Run(millisecond)
		p := l.Plane()
		for _, h := range []string{"h1", "h2", "h3"} {
			r, err := p.Send(h, sim.Frame{Src: l.mac(h), Dst: tsn.Broadcast})
			if err != nil {
				l.t.Fatalf("at %d ms: %v", l.Now()/millisecond, err)
			}
			for at, n := range r.Edge {
				if n > 1 {
					l.t.Fatalf("at %d ms: a broadcast of %s leaves %d times at %v", l.Now()/millisecond, h, n, at)
				}
			}
		}
	}
}

func (l *lab) edgeState(node string) string {
	for _, e := range l.Node(node).Control.SPB.EdgePorts() {
		if e.Port == spare {
			return e.State
		}
	}
	return ""
}

// A cable between edge ports of two bridges closes a ring that IS-IS does not
// see. No frame goes round it: not when it is plugged, not while daemons
// restart beside it, one dead for so long that the fabric has cut it off, and not when it is pulled and plugged again.
func TestEdgeCable(t *testing.T) {
	l := edgeLab(t)
	l.cable("b1", spare, "b3", spare)
	l.once(2 * second)
	l.checkPlane()
	if a, b := l.edgeState("b1"), l.edgeState("b3"); a != "forwarding" || b != "blocked" {
		t.Fatalf("the ports are %s and %s", a, b)
	}
	for _, x := range []struct {
		name string
		down int64
	}{{"b3", second}, {"b1", second}, {"b1", 12 * second}} {
		name := x.name
		l.Stop(name)
		l.once(x.down)
		if err := l.Start(name); err != nil {
			t.Fatal(err)
		}
		l.once(16 * second) // what restarts may keep its kernel for 15 s
		l.checkPlane()
		if a, b := l.edgeState("b1"), l.edgeState("b3"); a == "forwarding" == (b == "forwarding") {
			t.Errorf("after a restart of %s the ports are %s and %s", name, a, b)
		}
	}
	for _, up := range []bool{false, true} {
		if err := l.SetLink("b1", spare, up); err != nil {
			t.Fatal(err)
		}
		l.once(second)
		l.checkPlane()
	}
}
