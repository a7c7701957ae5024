package node

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"tsnswitch"
	"tsnswitch/spb"
	"tsnswitch/srp"
	"tsnswitch/srp/mrp"
)

// msrpConfig is a bridge under SPB: port 1 to another bridge, 2 and 3 to
// stations that are found by what they send, 4 to a configured one.
func msrpConfig() Config {
	c := config()
	c.Ports = []tsn.Port{1, 2, 3, 4}
	c.SPB.BaseVIDs = []spb.BaseVID{{VID: 2, Algorithm: 1}, {VID: vid, Algorithm: 2}}
	c.SPB.Ports = []spb.PortConfig{
		{Port: 1, Role: tsn.RoleFabric},
		{Port: 2, PVID: vid, Untagged: true, Learn: true, Unguarded: true},
		{Port: 3, PVID: vid, Untagged: true, Learn: true, Unguarded: true},
		{Port: 4, PVID: vid, Untagged: true, Tagged: []tsn.VID{vid}, Unguarded: true},
	}
	c.SPB.EndStations = []spb.EndStation{{MAC: hearer, Port: 4}}
	c.SRP = srp.Config{MSRP: &srp.MSRPConfig{BridgeID: tsn.MakeBridgeID(0x8000, self), Trees: true}}
	c.QBV.Ports = nil
	for _, p := range c.Ports {
		c.SRP.Ports = append(c.SRP.Ports, srp.PortConfig{Port: p, Rate: tsn.Gbps})
	}
	return c
}

// msrpLab is that bridge and what is behind its ports: a participant at each.
type msrpLab struct {
	*bench
	far  map[tsn.Port]*mrp.Participant
	out  []tsn.Send // by port 1, until somebody takes it
	took []tsn.Send // in the last millisecond
}

func newMSRPLab(t *testing.T, c Config) *msrpLab {
	l := &msrpLab{bench: newBench(t, c), far: map[tsn.Port]*mrp.Participant{}}
	for _, p := range c.Ports {
		l.far[p] = mrp.NewParticipant(mrp.MSRP(), mrp.Config{PointToPoint: true, MaxAttributes: 64, Seed: uint64(p)})
		l.far[p].Start(0)
		l.step(tsn.LinkChanged{Port: p, Up: true, Rate: tsn.Gbps})
	}
	return l
}

// run lets ms milliseconds pass.
func (l *msrpLab) run(ms int64) {
	l.t.Helper()
	app := mrp.MSRP()
	for until := l.now.Add(ms * millisecond); l.now < until; {
		l.now = l.now.Add(millisecond)
		if l.Deadline() <= l.now {
			l.step(tsn.Timeout{})
		}
		sent := l.sent
		l.took, l.sent = sent, nil
		for _, s := range sent {
			if s.Port == 1 {
				l.out = append(l.out, s)
			}
			if pdu, ok := app.PDU(s.Frame); ok {
				l.far[s.Port].Receive(l.now, pdu)
			}
		}
		for _, n := range l.ports {
			p := l.far[n]
			if p.Deadline() > l.now {
				continue
			}
			if pdu, _ := p.Tick(l.now); pdu != nil {
				l.step(tsn.Received{Port: n, Frame: app.Frame(tsn.MAC{2, 0, 0, 9, 0, byte(n)}, pdu)})
			}
		}
	}
}

// heard is what a port's neighbour has registered of a stream.
func (l *msrpLab) heard(n tsn.Port, id tsn.StreamID) string {
	for _, a := range l.far[n].Attributes() {
		if t, err := mrp.ParseTalker(a.Value); err == nil && t.StreamID == id && a.Registered {
			if t.Failed {
				return fmt.Sprintf("failed %d by %s", t.FailureCode, t.BridgeID.System())
			}
			return "advertised"
		}
	}
	if p, ok := l.far[n].Registered(mrp.ListenerValue(id)); ok {
		return mrp.ListenerText(p)
	}
	return ""
}

func wish(from tsn.MAC, v tsn.VID) mrp.Talker {
	return mrp.Talker{
		StreamID: tsn.MakeStreamID(from, 1), DestinationAddress: tsn.MAC{0x91, 0xe0, 0xf0, 0, 0, from[5]}, VID: v,
		MaxFrameSize: 200, MaxIntervalFrames: 1, DataFramePriority: 3, Rank: 1,
	}
}

// A talker at an edge port that learns makes its station known, is offered at
// the other edge ports of its VLAN, and the stream's group entry follows the
// listener. When the talker leaves, so does the station.
func TestMSRPUnderSPB(t *testing.T) {
	l := newMSRPLab(t, msrpConfig())
	w := wish(tsn.MAC{2, 0, 0, 5, 0, 2}, 2)
	l.far[2].Join(l.now, w.Value(), 0, true)
	l.run(1000)
	for n, want := range map[tsn.Port]string{1: "", 3: "advertised", 4: ""} {
		if got := l.heard(n, w.StreamID); got != want {
			t.Errorf("port %d hears %q, want %q", n, got, want)
		}
	}
	l.far[3].Join(l.now, mrp.ListenerValue(w.StreamID), mrp.ListenerReady, true)
	l.run(1000)
	if got := l.heard(2, w.StreamID); got != "ready" {
		t.Errorf("the talker hears %q", got)
	}
	if !slices.ContainsFunc(l.groups(), func(e tsn.MDBEntry) bool {
		return e.Group == w.DestinationAddress && e.VID == 2 && slices.Equal(e.Ports, []tsn.Port{3})
	}) {
		t.Errorf("group entries %v", l.groups())
	}
	if at, ok := l.SPB.Learned(2, w.StreamID.Source()); !ok || at != 2 {
		t.Errorf("the station is on port %d, %v", at, ok)
	}
	// That its frames have aged is no news while it declares.
	l.step(spb.StationGone{MAC: w.StreamID.Source(), VID: 2, Port: 2})
	if _, ok := l.SPB.Learned(2, w.StreamID.Source()); !ok {
		t.Error("the station is gone")
	}
	l.far[2].Leave(l.now, w.Value())
	l.run(1000)
	if _, ok := l.SPB.Learned(2, w.StreamID.Source()); ok {
		t.Error("the station stays")
	}
	if got := l.heard(3, w.StreamID); got != "" {
		t.Errorf("the listener hears %q", got)
	}
	if slices.ContainsFunc(l.groups(), func(e tsn.MDBEntry) bool { return e.Group == w.DestinationAddress }) {
		t.Errorf("group entries %v", l.groups())
	}
}

// A station that the driver sees, too, stays when it ends its stream; one seen
// no more meanwhile goes.
func TestMSRPStationSeenToo(t *testing.T) {
	for _, ages := range []bool{false, true} {
		l := newMSRPLab(t, msrpConfig())
		w := wish(tsn.MAC{2, 0, 0, 5, 0, 2}, 2)
		mac := w.StreamID.Source()
		l.step(spb.StationSeen{MAC: mac, VID: 2, Port: 2})
		l.far[2].Join(l.now, w.Value(), 0, true)
		l.run(1000)
		if ages {
			l.step(spb.StationGone{MAC: mac, VID: 2, Port: 2})
		}
		l.far[2].Leave(l.now, w.Value())
		l.run(1000)
		if _, ok := l.SPB.Learned(2, mac); ok == ages {
			t.Errorf("aged %v: known %v", ages, ok)
		}
	}
}

// A VLAN that the fabric does not carry is said to be blocked, at the edge.
func TestMSRPForeignVLAN(t *testing.T) {
	l := newMSRPLab(t, msrpConfig())
	w := wish(tsn.MAC{2, 0, 0, 5, 0, 2}, 7)
	l.far[2].Join(l.now, w.Value(), 0, true)
	l.run(1000)
	want := "failed 17 by " + self.String()
	for n, want := range map[tsn.Port]string{1: "", 3: want, 4: want} {
		if got := l.heard(n, w.StreamID); got != want {
			t.Errorf("port %d hears %q, want %q", n, got, want)
		}
	}
}

// At a port that does not learn a talker has to be configured.
func TestMSRPConfiguredStation(t *testing.T) {
	l := newMSRPLab(t, msrpConfig())
	own, other := wish(hearer, vid), wish(tsn.MAC{2, 0, 0, 5, 0, 4}, vid)
	for _, w := range []mrp.Talker{own, other} {
		l.far[4].Join(l.now, w.Value(), 0, true)
	}
	l.run(1000)
	if got := l.heard(3, own.StreamID); got != "advertised" {
		t.Errorf("the configured one: %q", got)
	}
	if got := l.heard(3, other.StreamID); got != "" {
		t.Errorf("the other one: %q", got)
	}
}

// groups are the entries last wanted.
func (l *msrpLab) groups() []tsn.MDBEntry {
	if l.last == nil {
		return nil
	}
	return l.last.State.Bridge.MDB
}

// A reservation takes bandwidth that other owners see, and the other way round.
func TestMSRPSharesTheAccount(t *testing.T) {
	l := newMSRPLab(t, msrpConfig())
	w := wish(tsn.MAC{2, 0, 0, 5, 0, 2}, 2)
	l.far[2].Join(l.now, w.Value(), 0, true)
	l.far[3].Join(l.now, mrp.ListenerValue(w.StreamID), mrp.ListenerReady, true)
	l.run(1500)
	s := tsn.Stream{
		ID: w.StreamID, Talker: w.StreamID.Source(), Listener: hearer, DestinationAddress: groupA, VID: 2, PCP: 3,
		Interval: 125_000, MaxFrameSize: 200, MaxIntervalFrames: 1, MaxLatency: 1e6,
	}
	put := func(s tsn.Stream) string {
		l.step(srp.PutReservations{RequestID: 1, Owner: "b1", Generation: uint64(l.now), Reservations: []tsn.Reservation{{Stream: s, Ports: []tsn.Port{3}}}})
		return l.results[0]
	}
	if got := put(s); !strings.Contains(got, srp.MSRPOwner) {
		t.Errorf("the same stream id: %s", got)
	}
	s.ID[7]++
	s.DestinationAddress = w.DestinationAddress
	if got := put(s); !strings.Contains(got, w.StreamID.String()) {
		t.Errorf("the same destination: %s", got)
	}
	s.DestinationAddress, s.MaxFrameSize, s.MaxIntervalFrames = groupA, 1458, 8 // 96000 octets in 125 us are 768 Mbit/s
	if got := put(s); !strings.Contains(got, "bandwidth") {
		t.Errorf("too much: %s", got)
	}
}

// After a restart streams go by the trees of the run before until SPB knows its
// own; the neighbours hear of them at once.
func TestMSRPRestart(t *testing.T) {
	l := newMSRPLab(t, msrpConfig())
	w := wish(tsn.MAC{2, 0, 0, 5, 0, 2}, 2)
	l.far[2].Join(l.now, w.Value(), 0, true)
	l.far[3].Join(l.now, mrp.ListenerValue(w.StreamID), mrp.ListenerReady, true)
	l.run(1500)
	memory, _ := l.SRP.Memory(l.now)
	if len(memory.Held) != 1 || len(memory.Trees) != 1 {
		t.Fatalf("%+v", memory)
	}
	// What is behind port 1 remembers the other run: a stream from over there.
	remote := wish(tsn.MAC{2, 0, 0, 6, 0, 6}, 2)
	memory.Registrations = append([]srp.RememberedValue{{Port: 1, Type: mrp.TypeTalkerAdvertise, Octets: []byte(remote.Value().Octet)}}, memory.Registrations...)
	memory.Trees = append(memory.Trees, srp.Tree{TreeKey: srp.TreeKey{VID: 2, Talker: remote.StreamID.Source()}, Ingress: []tsn.Port{1}, Egress: []tsn.Port{2, 3}})
	c := msrpConfig()
	c.SPB.StartupHold, c.SPB.Adopted = 3000*millisecond, &tsn.BridgeState{}
	next := newBench(t, c)
	next.now = l.now
	l.bench = next
	l.step(srp.Restore{Memory: memory})
	for _, p := range c.Ports {
		l.step(tsn.LinkChanged{Port: p, Up: true, Rate: tsn.Gbps})
	}
	if l.last != nil {
		t.Error("SPB says how it forwards before it knows")
	}
	l.run(20)
	if got := l.heard(3, remote.StreamID); got != "advertised" {
		t.Errorf("the stream of another bridge: %q", got)
	}
	if at, ok := l.SPB.Learned(2, w.StreamID.Source()); !ok || at != 2 {
		t.Errorf("the station is on port %d, %v", at, ok)
	}
	l.run(4000)
	if got := l.heard(3, remote.StreamID); got != "" {
		t.Errorf("nobody has its talker: %q", got)
	}
	for n, want := range map[tsn.Port]string{2: "ready", 3: "advertised"} {
		if got := l.heard(n, w.StreamID); got != want {
			t.Errorf("port %d hears %q, want %q", n, got, want)
		}
	}
	if s := l.SRP.Streams(); len(s) != 1 || s[0].Stream.ID != w.StreamID || len(l.groups()) == 0 {
		t.Errorf("%+v, groups %v", s, l.groups())
	}
}

// A declaration takes no station away from another bridge that has it, but is
// heard once that has lost it.
func TestMSRPTalkerElsewhere(t *testing.T) {
	here, there := newMSRPLab(t, msrpConfig()), msrpConfig()
	there.SPB.SystemID, there.SPB.EndStations = tsn.MAC{2, 0, 0, 0, 0, 9}, nil
	far := newMSRPLab(t, there)
	both := []*msrpLab{here, far}
	run := func(ms int) {
		for range ms {
			var sent [2][]tsn.Send
			for i, l := range both {
				l.run(1)
				sent[i] = l.out
				l.out = nil
			}
			for i, l := range both {
				for _, s := range sent[1-i] {
					l.step(tsn.Received{Port: 1, Frame: slices.Clone(s.Frame)})
				}
			}
		}
	}
	w := wish(tsn.MAC{2, 0, 0, 5, 0, 2}, 2)
	mac := w.StreamID.Source()
	far.step(spb.StationSeen{MAC: mac, VID: 2, Port: 3})
	run(3000)
	if at, err := here.SPB.PlaceInTree(2, mac); err != nil || at.Root || at.Parent != 1 {
		t.Fatalf("%+v, %v", at, err)
	}
	here.far[2].Join(here.now, w.Value(), 0, true)
	run(1000)
	if at, err := here.SPB.PlaceInTree(2, mac); err != nil || at.Root || here.heard(3, w.StreamID) != "" {
		t.Errorf("the station was taken: %+v, %v; the next port hears %q", at, err, here.heard(3, w.StreamID))
	}
	far.step(spb.StationGone{MAC: mac, VID: 2, Port: 3})
	run(1000)
	if at, err := here.SPB.PlaceInTree(2, mac); err != nil || !at.Root || here.heard(3, w.StreamID) != "advertised" {
		t.Errorf("the station is nobody's: %+v, %v; the next port hears %q", at, err, here.heard(3, w.StreamID))
	}
	if got := far.heard(3, w.StreamID); got != "advertised" {
		t.Errorf("at the other bridge: %q", got)
	}
}
