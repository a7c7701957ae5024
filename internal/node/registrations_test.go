package node

import (
	"slices"
	"testing"

	"tsnswitch"
	"tsnswitch/srp"
	"tsnswitch/srp/mrp"
)

// registrarLab is the bridge of msrpConfig with MVRP and MMRP on its edge ports,
// and a participant of each application behind them.
type registrarLab struct {
	*msrpLab
	apps []*mrp.Application
	on   map[string]map[tsn.Port]*mrp.Participant // by application
}

func newRegistrarLab(t *testing.T, change func(*Config)) *registrarLab {
	c := registrarConfig()
	if change != nil {
		change(&c)
	}
	l := &registrarLab{msrpLab: newMSRPLab(t, c), apps: []*mrp.Application{mrp.MVRP(), mrp.MMRP()}, on: map[string]map[tsn.Port]*mrp.Participant{}}
	for i, a := range l.apps {
		l.on[a.Name] = map[tsn.Port]*mrp.Participant{}
		for _, p := range c.Ports {
			x := mrp.NewParticipant(a, mrp.Config{PointToPoint: true, Seed: uint64(p) + uint64(i)<<8})
			x.Start(0)
			l.on[a.Name][p] = x
		}
	}
	return l
}

// registrarConfig is msrpConfig with MVRP and MMRP on the edge ports.
func registrarConfig() Config {
	c := msrpConfig()
	c.MVRP = &srp.MVRPConfig{Address: self, Always: []tsn.VID{2, vid}}
	c.MMRP = &srp.MMRPConfig{Address: self}
	for _, p := range c.SPB.Ports[1:] {
		fixed := []tsn.VID{2, vid}
		if p.Tagged != nil {
			fixed = p.Tagged
		}
		c.MVRP.Ports = append(c.MVRP.Ports, srp.MVRPPort{Port: p.Port, Fixed: fixed})
		c.MMRP.Ports = append(c.MMRP.Ports, srp.MMRPPort{Port: p.Port})
	}
	return c
}

// live lets ms milliseconds pass for all three applications.
func (l *registrarLab) live(ms int64) {
	l.t.Helper()
	for range ms {
		l.run(1)
		sent := l.took
		for _, a := range l.apps {
			for _, n := range l.ports {
				x := l.on[a.Name][n]
				for _, s := range sent {
					if pdu, ok := a.PDU(s.Frame); ok && s.Port == n {
						x.Receive(l.now, pdu)
					}
				}
				if x.Deadline() > l.now {
					continue
				}
				if pdu, _ := x.Tick(l.now); pdu != nil {
					l.step(tsn.Received{Port: n, Frame: a.Frame(tsn.MAC{2, 0, 0, 9, 0, byte(n)}, pdu)})
				}
			}
		}
	}
}

func (l *registrarLab) vlans(n tsn.Port) (out []tsn.VID) {
	for _, p := range l.last.State.Bridge.Ports {
		if p.Port == n {
			for _, v := range p.VLANs {
				out = append(out, v.VID)
			}
		}
	}
	return out
}

func (l *registrarLab) group(g tsn.MAC, v tsn.VID) []tsn.Port {
	for _, e := range l.groups() {
		if e.Group == g && e.VID == v {
			return e.Ports
		}
	}
	return nil
}

// A VLAN that a station registers is one of its port's, of the fabric or not, as
// long as it is registered; frames of the applications are kept back.
func TestMVRPUnderSPB(t *testing.T) {
	l := newRegistrarLab(t, func(c *Config) { c.MVRP.Ports[2].Forbidden = []tsn.VID{6} })
	l.live(400)
	if got := l.vlans(4); !slices.Equal(got, []tsn.VID{vid}) {
		t.Errorf("VLANs %v", got)
	}
	want := []tsn.ControlFrames{
		{Group: tsn.MAC{1, 0x80, 0xc2, 0, 0, 0x0e}, EtherType: 0x22ea}, {Group: tsn.MAC{1, 0x80, 0xc2, 0, 0, 0x20}}, {Group: tsn.MAC{1, 0x80, 0xc2, 0, 0, 0x21}},
	}
	if got := l.last.State.Bridge.KeptBack; !slices.Equal(got, want) {
		t.Errorf("kept back: %v", got)
	}
	far := l.on["MVRP"][4]
	for _, v := range []tsn.VID{2, 5, 6} {
		far.Join(l.now, mrp.VIDValue(v), 0, true)
	}
	l.live(400)
	if got := l.vlans(4); !slices.Equal(got, []tsn.VID{2, 5, vid}) {
		t.Errorf("VLANs %v", got)
	}
	if !l.SPB.CarriesVID(4, 2) {
		t.Error("spb does not know")
	}
	if _, ok := l.on["MVRP"][3].Registered(mrp.VIDValue(5)); !ok {
		t.Error("VLAN 5 is not declared on the other edge port")
	}
	far.Leave(l.now, mrp.VIDValue(2))
	far.Leave(l.now, mrp.VIDValue(5))
	l.live(1500)
	if got := l.vlans(4); !slices.Equal(got, []tsn.VID{vid}) {
		t.Errorf("VLANs %v", got)
	}
	if !slices.Contains(l.last.State.Bridge.OwnedVIDs, 5) {
		t.Error("what is left in VLAN 5 is nobody's")
	}
}

// A group goes to the edge ports where it is registered and into the fabric, to
// ports that want all groups too, and everywhere when nobody registers it.
func TestMMRPUnderSPB(t *testing.T) {
	l := newRegistrarLab(t, func(c *Config) { c.FilterUnregistered = []tsn.Port{3} })
	l.live(400)
	g, ip := tsn.MAC{0x91, 0xe0, 0xf0, 0, 9, 1}, tsn.MAC{1, 0, 0x5e, 0, 0, 9}
	far := l.on["MMRP"]
	far[2].Join(l.now, mrp.MACValue(g), 0, true)
	far[2].Join(l.now, mrp.MACValue(ip), 0, true)
	l.live(400)
	fabric := slices.ContainsFunc(l.last.State.Bridge.Ports, func(p tsn.BridgePort) bool { return p.Role == tsn.RoleFabric && p.McastFlood })
	if got, want := l.group(g, vid), map[bool][]tsn.Port{true: {1, 2}, false: {2}}[fabric]; !slices.Equal(got, want) {
		t.Errorf("group to %v, want %v", got, want)
	}
	if got := l.group(ip, vid); got != nil {
		t.Errorf("the kernel would refuse the entry of an IP group: %v", got)
	}
	flood := func(n tsn.Port) bool {
		return slices.ContainsFunc(l.last.State.Bridge.Ports, func(p tsn.BridgePort) bool { return p.Port == n && p.McastFlood })
	}
	if !flood(2) || flood(3) {
		t.Errorf("unregistered groups: port 2 %t, port 3 %t", flood(2), flood(3))
	}
	far[3].Join(l.now, mrp.AllGroups.Value(), 0, true)
	l.live(400)
	if got := l.group(g, vid); !slices.Contains(got, 3) || !flood(3) {
		t.Errorf("group to %v, want port 3 too; unregistered ones %t", got, flood(3))
	}
	far[2].Leave(l.now, mrp.MACValue(g))
	l.live(1500)
	if got := l.group(g, vid); got != nil {
		t.Errorf("group to %v, want no entry", got)
	}
}

// Code 17: a listener is ready on a port that is not in the stream's VLAN. It is
// told so until it registers the VLAN.
func TestListenerOutsideVLAN(t *testing.T) {
	l := newRegistrarLab(t, nil)
	w := wish(tsn.MAC{2, 0, 0, 5, 0, 2}, 2)
	l.msrpLab.far[2].Join(l.now, w.Value(), 0, true)
	l.live(800)
	if got := l.heard(4, w.StreamID); got != "advertised" {
		t.Errorf("before it listens, the station hears %q", got)
	}
	l.msrpLab.far[4].Join(l.now, mrp.ListenerValue(w.StreamID), mrp.ListenerReady, true)
	l.live(800)
	if got := l.heard(4, w.StreamID); got != "failed 17 by "+self.String() {
		t.Errorf("outside the VLAN it hears %q", got)
	}
	if got := l.group(w.DestinationAddress, 2); !slices.Equal(got, []tsn.Port{tsn.NoPort}) { // it goes nowhere
		t.Errorf("group entries %v", l.groups())
	}
	l.on["MVRP"][4].Join(l.now, mrp.VIDValue(2), 0, true)
	l.live(800)
	if got := l.heard(4, w.StreamID); got != "advertised" {
		t.Errorf("in the VLAN it hears %q", got)
	}
	if got := l.group(w.DestinationAddress, 2); !slices.Equal(got, []tsn.Port{4}) {
		t.Errorf("group entries %v", l.groups())
	}
}

// Without SPB ports are equal; MVRP and MMRP work between all of them.
func TestRegistrationsWithoutSPB(t *testing.T) {
	l := newRegistrarLab(t, func(c *Config) {
		c.SPB, c.SRP.MSRP.Trees, c.MVRP.Always = nil, false, nil
		for i := range c.MVRP.Ports {
			c.MVRP.Ports[i].Fixed = nil
		}
	})
	g := tsn.MAC{0x91, 0xe0, 0xf0, 0, 9, 1}
	l.on["MVRP"][2].Join(l.now, mrp.VIDValue(5), 0, true)
	l.on["MMRP"][2].Join(l.now, mrp.MACValue(g), 0, true)
	l.live(800)
	if _, ok := l.on["MVRP"][4].Registered(mrp.VIDValue(5)); !ok {
		t.Error("the VLAN is not declared on the other port")
	}
	if _, ok := l.on["MMRP"][4].Registered(mrp.MACValue(g)); !ok {
		t.Error("the group is not declared on the other port")
	}
}

// On a bridge that others configure, what is registered comes on top: VLANs and
// group entries of ports, and frames are kept back.
func TestRegistrationsOnSharedBridge(t *testing.T) {
	l := newRegistrarLab(t, func(c *Config) {
		c.SPB, c.SRP.MSRP.Trees, c.MVRP.Always, c.Shared = nil, false, nil, &SharedBridge{VIDs: []tsn.VID{2}}
		for i := range c.MVRP.Ports {
			c.MVRP.Ports[i].Fixed = nil
		}
	})
	g := tsn.MAC{0x91, 0xe0, 0xf0, 0, 9, 1}
	l.on["MVRP"][2].Join(l.now, mrp.VIDValue(5), 0, true)
	l.on["MMRP"][2].Join(l.now, mrp.MACValue(g), 0, true)
	l.on["MMRP"][3].Join(l.now, mrp.AllGroups.Value(), 0, true)
	l.live(800)
	if a, b := l.vlans(2), l.vlans(4); !slices.Equal(a, []tsn.VID{2, 5}) || !slices.Equal(b, []tsn.VID{2}) {
		t.Errorf("VLANs %v and %v", a, b)
	}
	if got := l.group(g, 1); !slices.Equal(got, []tsn.Port{2, 3}) {
		t.Errorf("group to %v, entries %v", got, l.groups())
	}
	if n := len(l.last.State.Bridge.KeptBack); n != 3 {
		t.Errorf("%d kinds of frames are kept back", n)
	}
	l.on["MMRP"][2].Leave(l.now, mrp.MACValue(g))
	l.on["MVRP"][2].Leave(l.now, mrp.VIDValue(5))
	l.live(1500)
	if !slices.Contains(l.last.State.Bridge.OwnedVIDs, 1) {
		t.Error("the entry of the group would stay")
	}
	if got := l.groups(); len(got) != 0 || !slices.Equal(l.vlans(2), []tsn.VID{2}) {
		t.Errorf("entries %v, VLANs %v", got, l.vlans(2))
	}
}

// Talker pruning (802.1Q 35.2.4.3.1): a talker is offered on an edge port when its
// group has been registered there, or its VLAN; without SPB as under it.
func TestTalkerPruning(t *testing.T) {
	plain := func(c *Config) {
		c.SPB, c.SRP.MSRP.Trees, c.MVRP.Always = nil, false, nil
		for i := range c.MVRP.Ports {
			c.MVRP.Ports[i].Fixed = nil
		}
	}
	for name, change := range map[string]func(*Config){
		"groups": func(c *Config) { c.SRP.MSRP.TalkerPruning = true },
		"groups without SPB": func(c *Config) {
			plain(c)
			c.SRP.MSRP.TalkerPruning = true
		},
		"VLANs": func(c *Config) { c.SRP.MSRP.TalkerVLANPruning = true },
		"VLANs without SPB": func(c *Config) {
			plain(c)
			c.SRP.MSRP.TalkerVLANPruning = true
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := newRegistrarLab(t, change)
			w := wish(tsn.MAC{2, 0, 0, 5, 0, 2}, 2)
			l.msrpLab.far[2].Join(l.now, w.Value(), 0, true)
			l.on["MVRP"][2].Join(l.now, mrp.VIDValue(2), 0, true)
			l.live(800)
			if got := l.heard(4, w.StreamID); got != "" {
				t.Errorf("not registered, the station hears %q", got)
			}
			l.on["MVRP"][4].Join(l.now, mrp.VIDValue(2), 0, true)
			l.live(800)
			l.on["MMRP"][4].Join(l.now, mrp.MACValue(w.DestinationAddress), 0, true)
			l.live(800)
			if got := l.heard(4, w.StreamID); got != "advertised" {
				t.Errorf("registered, it hears %q", got)
			}
		})
	}
}
