package daemon

import (
	"path/filepath"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"tsnswitch"
	"tsnswitch/internal/api"
	"tsnswitch/internal/config"
	"tsnswitch/internal/node"
	"tsnswitch/internal/nodeconfig"
	"tsnswitch/srp"
	"tsnswitch/srp/mrp"
)

const edge3 = `role: bridge
name: b1
systemId: 02:00:00:00:00:01
management: {vid: 100, address: 10.0.0.1/24}
ports:
  - {port: 1, ifname: p1, role: fabric}
  - {port: 2, ifname: p2, role: edge, tagged: [2], guard: false, stations: [{mac: 02:00:00:01:00:02, name: h2}]}
  - {port: 3, ifname: p3, role: edge, tagged: [2], guard: false, stations: [{mac: 02:00:00:01:00:03, name: h3}]}
spb: {baseVids: [{vid: 100}, {vid: 2, ect: 2}]}
srp: {msrp: true}
`

// msrpBridge is a daemon that speaks MSRP, as far as its control machine goes:
// links are up, and all ports keep time. It runs in a synctest bubble.
func msrpBridge(t *testing.T, stateDir string) *Daemon {
	t.Helper()
	c, err := config.ParseDaemon("b1", []byte(edge3))
	if err != nil {
		t.Fatal(err)
	}
	nc, err := nodeconfig.Of(c)
	if err != nil {
		t.Fatal(err)
	}
	m, err := node.NewControl(nc)
	if err != nil {
		t.Fatal(err)
	}
	d := &Daemon{
		cfg: c, machine: m, events: newEvents("b1"), log: quiet, kernel: &kernel{}, ops: make(chan struct{}, 1), changed: make(chan struct{}, 1),
		answers: map[uint64]chan error{}, heldStore: store[heldMemory]{filepath.Join(stateDir, "held.json")},
	}
	d.control = newLoop("control", m, func() tsn.Instant { return 0 }, func(e tsn.Effect) {
		if r, ok := e.(srp.Result); ok {
			d.effect(r)
		}
	})
	d.fabric = &fabric{cfg: c, control: d.control, machine: m, self: d}
	d.demands = demands{name: "b1", peers: d.fabric, store: store[demandMemory]{filepath.Join(stateDir, "demands.json")}, told: map[tsn.MAC]toldProxies{}}
	if d.demands.mem, err = d.demands.store.load(); err != nil {
		t.Fatal(err)
	}
	if d.held, err = d.heldStore.load(); err != nil {
		t.Fatal(err)
	}
	d.publish()
	go d.control.run(t.Context())
	for _, p := range c.Ports {
		d.step(t, tsn.LinkChanged{Port: p.Port, Up: true, Rate: 100 * tsn.Mbps})
		d.step(t, srp.SetASCapable{Port: p.Port, Capable: true})
	}
	return d
}

func (d *Daemon) step(t *testing.T, ev tsn.Event) {
	t.Helper()
	if err := d.control.call(t.Context(), func() { d.control.step(ev) }); err != nil {
		t.Fatal(err)
	}
}

// says is what a station declares: values and their parameters.
func says(mac tsn.MAC, values map[mrp.Value]mrp.Param) tsn.Received {
	app := mrp.MSRP()
	p := mrp.NewParticipant(app, mrp.Config{PointToPoint: true})
	p.Start(0)
	for v, param := range values {
		p.Join(0, v, param, true)
	}
	pdu, _ := p.Tick(0)
	return tsn.Received{Frame: app.Frame(mac, pdu)}
}

func classA(unique uint16) mrp.Talker {
	return mrp.Talker{
		StreamID: tsn.MakeStreamID(station(2), unique), DestinationAddress: tsn.MAC{0x91, 0xe0, 0xf0, 0, 0, byte(unique)}, VID: 2,
		MaxFrameSize: 224, MaxIntervalFrames: 1, DataFramePriority: 3, Rank: 1,
	}
}

// A talker at port 2 offers two streams, one of them in a priority that is no
// class's; a listener at port 3 asks for both.
func TestStreamsOfMSRP(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := msrpBridge(t, t.TempDir())
		good, bad := classA(1), classA(2)
		bad.DataFramePriority = 4
		talker := says(station(2), map[mrp.Value]mrp.Param{good.Value(): 0, bad.Value(): 0})
		listener := says(station(3), map[mrp.Value]mrp.Param{
			mrp.ListenerValue(good.StreamID): mrp.ListenerReady, mrp.ListenerValue(bad.StreamID): mrp.ListenerReady,
			{Type: mrp.TypeDomain, Octet: "\x06\x03\x00\x02"}: 0,
		})
		talker.Port, listener.Port = 2, 3
		d.step(t, talker)
		d.step(t, listener)
		v, err := d.FindStreams(t.Context(), api.StreamQuery{})
		if err != nil || len(v) != 2 {
			t.Fatalf("%v %+v", err, v)
		}
		s := v[0]
		if s.State != api.StreamReserved || s.Class != "A" || s.Stream.Bandwidth() != 17024 || s.Talker == nil || s.Talker.Ifname != "p2" || s.Latency != 445_000 {
			t.Errorf("%+v", s)
		}
		want := []api.StreamPort{
			{Port: 3, Ifname: "p3", Edge: true, Neighbour: "h3", Talker: "advertise", Latency: 445_000, Listener: "ready", Reserved: true},
		}
		if diff := cmp.Diff(want, s.Bridges[0].Out); diff != "" {
			t.Error(diff)
		}
		s = v[1]
		if s.State != api.StreamFailed || s.Failure != tsn.FailurePriorityNotSR || s.FailureAt != "b1" || s.Class != "none" {
			t.Errorf("%+v", s)
		}
		if _, err := d.FindStreams(t.Context(), api.StreamQuery{Stream: "nothing"}); api.ErrorCode(err) != api.CodeNotFound {
			t.Errorf("%v", err)
		}

		r, err := d.SRP(t.Context())
		if err != nil || len(r.Ports) != 3 || r.Reserved != 1 {
			t.Fatalf("%v %+v", err, r)
		}
		boundary := ""
		for _, p := range r.Ports {
			for _, c := range p.Classes {
				if c.Boundary {
					boundary += p.Ifname + ": " + c.Why
				}
			}
		}
		if boundary != "p3: its neighbour does not have class B" {
			t.Error(boundary)
		}

		decl, err := d.Declarations(t.Context(), api.DeclarationQuery{Port: 3})
		if err != nil {
			t.Fatal(err)
		}
		text := ""
		for _, x := range decl {
			text += x.Attribute + " " + x.Value + " " + x.Registrar + " " + x.Heard + "\n"
		}
		want3 := `talker advertise 02-00-00-01-00-02:0001 to 91:e0:f0:00:00:01 vlan 2 pcp 3 rank 1, 1 x 224, 445000 ns MT 
talker failed 02-00-00-01-00-02:0002 to 91:e0:f0:00:00:02 vlan 2 pcp 4 rank 1, 1 x 224, 0 ns; code 13 at 8000.020000000001: requested priority is not a stream class MT 
listener 02-00-00-01-00-02:0001 IN ready
listener 02-00-00-01-00-02:0002 IN ready
domain class B priority 2 vlan 2 MT 
domain class A priority 3 vlan 2 IN 
`
		if diff := cmp.Diff(want3, text); diff != "" {
			t.Error(diff)
		}
		if _, err := d.Declarations(t.Context(), api.DeclarationQuery{Port: 9}); api.ErrorCode(err) != api.CodeNotFound {
			t.Errorf("%v", err)
		}
	})
}
