package node

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"tsnswitch"
	"tsnswitch/gptp"
	"tsnswitch/qbv"
	"tsnswitch/spb"
	"tsnswitch/srp"
)

const (
	millisecond = 1_000_000
	vid         = tsn.VID(100)
)

var (
	self    = tsn.MAC{2, 0, 0, 0, 0, 1}
	talker  = tsn.MAC{2, 0, 0, 1, 0, 1}
	hearer  = tsn.MAC{2, 0, 0, 1, 0, 2}
	groupA  = tsn.MAC{0x91, 0xe0, 0xf0, 0, 0, 0xa}
	groupB  = tsn.MAC{0x91, 0xe0, 0xf0, 0, 0, 0xb}
	ports   = []tsn.Port{1, 2, 3}
	allOpen = tsn.GateMask(1<<tsn.NumClasses - 1)
)

// config is a bridge: ports 1 and 2 to others, 3 to a station.
func config() Config {
	c := Config{
		SPB: &spb.Config{
			SystemID: self, BaseVIDs: []spb.BaseVID{{VID: vid, Algorithm: 1}},
			Ports:       []spb.PortConfig{{Port: 1, Role: tsn.RoleFabric}, {Port: 2, Role: tsn.RoleFabric}, {Port: 3, PVID: vid, Untagged: true}},
			EndStations: []spb.EndStation{{MAC: talker, Port: 3}},
			EdgeGuard:   spb.EdgeGuardConfig{Interval: -1},
		},
		GPTP: gptp.DefaultConfig(self, ports...), ClassMap: tsn.DefaultClassMap, Ports: ports, SelfVLANs: []tsn.VID{vid},
	}
	for _, p := range ports {
		c.QBV.Ports = append(c.QBV.Ports, qbv.AdminPort{Port: p, Limits: qbv.SoftwareLimits(tsn.Gbps)})
		c.SRP.Ports = append(c.SRP.Ports, srp.PortConfig{Port: p, Rate: tsn.Gbps})
	}
	return c
}

// endStation is the same with one port and no bridge.
func endStation() Config {
	c := config()
	c.SPB, c.Ports, c.SelfVLANs = nil, ports[:1], nil
	c.GPTP.Ports, c.QBV.Ports, c.SRP.Ports = c.GPTP.Ports[:1], c.QBV.Ports[:1], c.SRP.Ports[:1]
	return c
}

type bench struct {
	t *testing.T
	*Control
	now     tsn.Instant
	desired []Desired    // of the last step
	notices []tsn.Notice // of the last step
	results []string     // of the last step
	last    *Desired     // of any step
	sent    []tsn.Send
}

func newBench(t *testing.T, c Config) *bench {
	t.Helper()
	_, control, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return &bench{t: t, Control: control}
}

// step gives an event, and the kernel's answers to what the bridge then wants.
func (b *bench) step(ev tsn.Event) {
	b.t.Helper()
	b.notices, b.results = nil, nil
	desired := b.one(ev)
	for forward := uint64(0); len(b.desired) > 0 && b.desired[0].Forwarding > forward; {
		forward = b.desired[0].Forwarding
		if next := b.one(spb.Applied{Generation: forward}); next != nil {
			desired = next
		}
	}
	b.desired = desired
}

// one is a single step; it checks what each promises: at most one Desired, as
// the last effect, with everything in its order.
func (b *bench) one(ev tsn.Event) []Desired {
	b.t.Helper()
	b.desired = nil
	effects := b.Step(b.now, ev)
	for i, e := range effects {
		switch e := e.(type) {
		case Desired:
			if i != len(effects)-1 {
				b.t.Errorf("%T: Desired is effect %d of %d", ev, i, len(effects))
			}
			b.desired, b.last = append(b.desired, e), &e
		case tsn.Send:
			b.sent = append(b.sent, e)
		case tsn.Notice:
			b.notices = append(b.notices, e)
		case qbv.Result:
			b.results = append(b.results, fmt.Sprint(e.Err))
		case srp.Result:
			b.results = append(b.results, fmt.Sprint(e.Err))
		case spb.Forwarding, srp.Reserved, qbv.GatesChanged:
			b.t.Errorf("%T: a core's %T got out", ev, e)
		}
	}
	if len(b.desired) > 1 {
		b.t.Fatalf("%T: %d Desired in one step", ev, len(b.desired))
	}
	for _, d := range b.desired {
		b.checkOrder(d)
	}
	return b.desired
}

func (b *bench) checkOrder(d Desired) {
	b.t.Helper()
	var egress []tsn.Port
	for _, e := range d.State.Egress {
		egress = append(egress, e.Port)
	}
	if !slices.Equal(egress, b.Control.ports) {
		b.t.Errorf("egress of ports %v, want %v", egress, b.Control.ports)
	}
	if !slices.IsSortedFunc(d.Gates, func(x, y GateChange) int { return int(x.Port) - int(y.Port) }) {
		b.t.Errorf("gate changes %v", d.Gates)
	}
	if s := d.State.Bridge; s != nil {
		var keys []string
		for _, m := range s.MDB {
			keys = append(keys, fmt.Sprintf("%04d %s", m.VID, m.Group))
		}
		if !slices.IsSorted(keys) || len(slices.Compact(slices.Clone(keys))) != len(keys) {
			b.t.Errorf("group entries %v", keys)
		}
	}
}

func (b *bench) want() tsn.DesiredState {
	b.t.Helper()
	if len(b.desired) != 1 {
		b.t.Fatalf("%d Desired, want one", len(b.desired))
	}
	return b.desired[0].State
}

func stream(unique uint16, dst tsn.MAC, v tsn.VID) tsn.Stream {
	return tsn.Stream{
		ID: tsn.MakeStreamID(talker, unique), Talker: talker, Listener: hearer, DestinationAddress: dst, VID: v, PCP: 3,
		Interval: millisecond, MaxFrameSize: 200, MaxIntervalFrames: 1, MaxLatency: 2 * millisecond,
	}
}

func put(id uint64, set ...tsn.Reservation) srp.PutReservations {
	return srp.PutReservations{RequestID: id, Owner: "o", Generation: id, Reservations: set}
}

// A bridge says what it wants at its first step, whole, and is silent when
// nothing changes.
func TestBridgeWantsItsState(t *testing.T) {
	b := newBench(t, config())
	b.step(tsn.Timeout{})
	d := b.want()
	if d.Bridge == nil || len(d.Bridge.Ports) != 3 || !slices.Equal(d.Bridge.SelfVLANs, []tsn.VID{vid}) || !slices.Equal(d.Bridge.OwnedVIDs, []tsn.VID{vid}) {
		t.Errorf("%+v", d.Bridge)
	}
	if !slices.Contains(d.Bridge.FDB, tsn.FDBEntry{MAC: talker, VID: vid, Port: 3}) {
		t.Errorf("no entry of the station: %v", d.Bridge.FDB)
	}
	for _, e := range d.Egress {
		if e.Gates != nil || e.ClassMap != tsn.DefaultClassMap || e.IdleSlope != [8]tsn.Rate{} {
			t.Errorf("%+v", e)
		}
	}
	if b.desired[0].Gates != nil {
		t.Errorf("gate changes %v", b.desired[0].Gates)
	}
	b.step(tsn.Timeout{})
	if b.desired != nil {
		t.Errorf("again: %+v", b.desired)
	}
}

// An end station has no bridge, but an egress from its first step on.
func TestEndStation(t *testing.T) {
	b := newBench(t, endStation())
	b.step(tsn.LinkChanged{Port: 1, Up: true, Rate: tsn.Gbps})
	if d := b.want(); d.Bridge != nil || len(d.Egress) != 1 || d.Egress[0].Port != 1 {
		t.Errorf("%+v", d)
	}
	b.step(tsn.Received{Port: 1, Frame: make([]byte, 60)})
	if b.desired != nil || b.Deadline() != tsn.Never {
		t.Errorf("%+v, deadline %d", b.desired, b.Deadline())
	}
	b.step(put(1, tsn.Reservation{Stream: stream(1, groupA, vid), Ports: ports[:1]}))
	if d := b.want(); d.Bridge != nil || d.Egress[0].IdleSlope[tsn.ClassSRA] == 0 {
		t.Errorf("%+v, results %v", d, b.results)
	}
	if _, err := b.Path(vid, talker, hearer); err == nil || !strings.Contains(err.Error(), "no bridge of the fabric") {
		t.Errorf("Path: %v", err)
	}
}

// Slopes and group entries of srp, gates of qbv and the bridge of spb come
// together, whichever changed last; a change of one keeps the others.
func TestComposition(t *testing.T) {
	c := config()
	c.SPB.Ports[1].Role = tsn.RoleEdge
	b := newBench(t, c)
	b.step(tsn.Timeout{})
	for _, p := range ports {
		b.step(tsn.LinkChanged{Port: p, Up: true, Rate: tsn.Gbps})
	}
	b.step(put(1,
		tsn.Reservation{Stream: stream(2, groupB, vid), Ports: []tsn.Port{2}},
		tsn.Reservation{Stream: stream(1, groupA, vid), Ports: []tsn.Port{1, 2}}))
	d := b.want()
	// Port 1 leads to no bridge, so it is on no tree: the entry waits for one.
	wantMDB := []tsn.MDBEntry{{Group: groupA, VID: vid, Ports: []tsn.Port{2}}, {Group: groupB, VID: vid, Ports: []tsn.Port{2}}}
	if fmt.Sprint(d.Bridge.MDB) != fmt.Sprint(wantMDB) {
		t.Errorf("groups %v, want %v", d.Bridge.MDB, wantMDB)
	}
	one, two := d.Egress[0].IdleSlope[tsn.ClassSRA], d.Egress[1].IdleSlope[tsn.ClassSRA]
	if one == 0 || two != 2*one || d.Egress[2].IdleSlope[tsn.ClassSRA] != 0 {
		t.Errorf("slopes %v", d.Egress)
	}

	b.step(qbv.Clock{Now: tsn.PTPTime{NS: 1000}, Synced: true})
	list := &tsn.GateControlList{CycleTime: millisecond, Entries: []tsn.GateEntry{{Gates: allOpen, Interval: 600_000}, {Gates: 23, Interval: 400_000}}}
	b.step(qbv.Stage{RequestID: 2, ID: "s", Lists: []qbv.PortList{{Port: 2, List: list}, {Port: 1, List: list}}})
	if b.desired != nil {
		t.Error("a stage changed the desired state")
	}
	b.step(qbv.Commit{RequestID: 3, ID: "s", Base: tsn.PTPTime{NS: 1_000_000_000}})
	d = b.want()
	if d.Egress[0].Gates == nil || d.Egress[1].Gates == nil || d.Egress[2].Gates != nil || d.Egress[0].Gates.BaseTime.NS != 1_000_000_000 {
		t.Errorf("gates %v", d.Egress)
	}
	if g := b.desired[0].Gates; len(g) != 2 || g[0].Port != 1 || g[1].Port != 2 || g[0].Generation == 0 {
		t.Errorf("gate changes %v", g)
	}
	if fmt.Sprint(d.Bridge.MDB) != fmt.Sprint(wantMDB) || d.Egress[1].IdleSlope[tsn.ClassSRA] != two {
		t.Error("the gates drove out the reservations")
	}

	// Both ports are refused: their gates are open again, and that is told.
	b.step(qbv.Applied{Port: 1, Generation: b.gates[1].Generation, Refused: "no room"})
	if d = b.want(); d.Egress[0].Gates != nil || d.Egress[1].Gates != nil {
		t.Errorf("gates %v", d.Egress)
	}
	if len(b.results) != 1 || !strings.Contains(b.results[0], "no room") {
		t.Errorf("results %q", b.results)
	}

	before := d.Bridge.FDB
	b.step(spb.SetEndStations{})
	b.now += 20 * millisecond
	for range 10 {
		if b.desired == nil {
			b.now = max(b.now, b.Deadline())
			b.step(tsn.Timeout{})
		}
	}
	if d = b.want(); len(d.Bridge.FDB) >= len(before) || fmt.Sprint(d.Bridge.MDB) != fmt.Sprint(wantMDB) || d.Egress[1].IdleSlope[tsn.ClassSRA] != two {
		t.Errorf("after the station left: %+v", d)
	}
	b.step(put(4))
	if d = b.want(); len(d.Bridge.MDB) != 0 || d.Egress[1].IdleSlope[tsn.ClassSRA] != 0 {
		t.Errorf("after the streams left: %+v", d)
	}
}

// What came before the bridge is known waits for it and is not lost.
func TestReservationsWaitForTheBridge(t *testing.T) {
	c := config()
	c.SPB.StartupHold = 1000 * millisecond
	b := newBench(t, c)
	b.step(tsn.Timeout{})
	b.step(tsn.LinkChanged{Port: 1, Up: true, Rate: tsn.Gbps})
	b.step(put(1, tsn.Reservation{Stream: stream(1, groupA, vid), Ports: []tsn.Port{1}}))
	if b.desired != nil {
		t.Fatal("a state without the bridge would empty it")
	}
	for range 100 {
		if b.desired != nil {
			break
		}
		b.now = b.Deadline()
		b.step(tsn.Timeout{})
	}
	if d := b.want(); len(d.Bridge.MDB) != 1 || b.now < 1000*millisecond {
		t.Errorf("at %d: %+v", b.now, d.Bridge)
	}
}

// A stream outside the fabric's VLANs, or to a group that the kernel cannot
// store, would make the kernel refuse everything: it is not admitted, and what
// stood before stands.
func TestReservationsTheBridgeCannotKeep(t *testing.T) {
	b := newBench(t, config())
	b.step(tsn.Timeout{})
	b.step(tsn.LinkChanged{Port: 1, Up: true, Rate: tsn.Gbps})
	good := tsn.Reservation{Stream: stream(2, groupB, vid), Ports: []tsn.Port{1}}
	b.step(put(1, good))
	b.want()
	for _, tt := range []struct {
		bad  tsn.Stream
		text string
	}{
		{stream(1, groupA, 999), "VLAN 999"},
		{stream(1, hearer, 999), "VLAN 999"},
		{stream(1, tsn.MAC{1, 0, 0x5e, 1, 2, 3}, vid), "another group"},
		{stream(1, tsn.MAC{0x33, 0x33, 0, 0, 0, 1}, vid), "another group"},
	} {
		b.step(put(2, good, tsn.Reservation{Stream: tt.bad, Ports: []tsn.Port{1}}))
		if b.desired != nil || len(b.results) != 1 || !strings.Contains(b.results[0], tt.text) {
			t.Errorf("%v %v, want a refusal with %q", b.desired, b.results, tt.text)
		}
	}
	if got := b.SRP.Streams(); len(got) != 1 || got[0].Stream.ID != good.Stream.ID {
		t.Errorf("%+v", got)
	}
	// An end station has no table of groups.
	e := newBench(t, endStation())
	e.step(tsn.LinkChanged{Port: 1, Up: true, Rate: tsn.Gbps})
	e.step(put(1, tsn.Reservation{Stream: stream(1, groupA, 999), Ports: ports[:1]}))
	if len(e.results) != 1 || e.results[0] != "<nil>" {
		t.Errorf("%v", e.results)
	}
}

// spb owns what it has: the same key from srp is refused, not merged.
func TestGroupEntryHasOneOwner(t *testing.T) {
	c := &Control{bridge: &tsn.BridgeState{OwnedVIDs: []tsn.VID{vid}, MDB: []tsn.MDBEntry{{Group: groupB, VID: vid, Ports: []tsn.Port{1}}}}}
	c.reserved.MDB = []tsn.MDBEntry{{Group: groupA, VID: vid, Ports: []tsn.Port{2}}, {Group: groupB, VID: vid, Ports: []tsn.Port{2}}}
	c.reserved.Talkers = []tsn.MAC{talker, talker}
	c.compose()
	if len(c.effects) != 2 {
		t.Fatalf("%v", c.effects)
	}
	if n := c.effects[0].(tsn.Notice); n.Kind != NoticeGroupEntry {
		t.Errorf("%v", n)
	}
	want := []tsn.MDBEntry{{Group: groupA, VID: vid, Ports: []tsn.Port{2}}, {Group: groupB, VID: vid, Ports: []tsn.Port{1}}}
	if got := c.effects[1].(Desired).State.Bridge.MDB; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if len(c.bridge.MDB) != 1 {
		t.Error("composing changed what spb wants")
	}
}

// Ports without the ingress check flood nothing over the fabric.
// What the configuration says of classes is in every state that is wanted.
func TestPortClasses(t *testing.T) {
	c := endStation()
	c.Classes = []PortClasses{{Port: c.Ports[0], MaxSDU: [8]uint32{0: 1500}, Preemptible: [8]bool{0: true}}}
	b := newBench(t, c)
	b.step(tsn.LinkChanged{Port: c.Ports[0], Up: true, Rate: tsn.Gbps})
	if e := b.want().Egress[0]; e.MaxSDU[0] != 1500 || !e.Preemptible[0] {
		t.Errorf("wanted %+v", e)
	}
}

func TestUnlocked(t *testing.T) {
	b := newBench(t, config())
	b.step(tsn.Timeout{})
	b.step(SetUnlocked{Ports: []tsn.Port{3, 1}})
	notices := b.notices
	d := b.want()
	for _, p := range d.Bridge.Ports {
		if p.Port == 1 && (p.Locked || p.BcastFlood || p.McastFlood || p.Flood) || p.Port == 2 && !p.Locked || p.Port == 3 && !p.BcastFlood {
			t.Errorf("%+v", p)
		}
	}
	if len(notices) != 1 || notices[0].Port != 1 {
		t.Errorf("notices %v", notices)
	}
	b.step(SetUnlocked{Ports: []tsn.Port{1, 3}})
	if b.desired != nil {
		t.Error("the same ports again made a new state")
	}
	b.step(SetUnlocked{})
	if d := b.want(); !d.Bridge.Ports[0].Locked {
		t.Errorf("%+v", d.Bridge.Ports[0])
	}
}

func TestConfigRefused(t *testing.T) {
	for what, change := range map[string]func(*Config){
		"ascending": func(c *Config) { c.Ports = []tsn.Port{2, 1, 3} },
		"once":      func(c *Config) { c.Ports = []tsn.Port{1, 1, 3} },
		"qbv":       func(c *Config) { c.QBV.Ports[0].Limits.Classes = 0 },
		"spb":       func(c *Config) { c.SPB.SystemID = tsn.MAC{} },
		"gptp":      func(c *Config) { c.GPTP.Ports[0].Port = 0 },
		"srp":       func(c *Config) { c.SRP.Ports[1].Port = 1 },
	} {
		c := config()
		change(&c)
		if _, _, err := New(c); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%s: %v", what, err)
		}
	}
}
