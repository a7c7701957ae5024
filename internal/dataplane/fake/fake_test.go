package fake_test

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

	tsn "tsnswitch"
	"tsnswitch/internal/dataplane"
	"tsnswitch/internal/dataplane/fake"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// states are a switch's life: each golden file shows the steps from the state
// before, then the kernel as text.
var states = []struct {
	name string
	d    tsn.DesiredState
}{
	{"1-fabric", fabric(nil)},
	{"2-stream", stream(fabric(nil))},
	{"3-gates", stream(fabric(&tsn.GateControlList{
		BaseTime: tsn.PTPTime{NS: 1_000_000_000}, CycleTime: 1_000_000,
		Entries: []tsn.GateEntry{{Gates: 0x18, Interval: 300_000}, {Gates: 0x17, Interval: 690_000}, {Gates: 0x10, Interval: 10_000}},
	}))},
	{"4-rerouted", rerouted(fabric(nil))},
	{"5-filtered", filtered(stream(fabric(nil)), true)},
	{"6-policed", filtered(stream(fabric(nil)), false)},
	{"7-edge", tsn.DesiredState{Bridge: &tsn.BridgeState{OwnedVIDs: []tsn.VID{101}, Ports: []tsn.BridgePort{
		{Port: 1, Learning: true, Flood: true, McastFlood: true, BcastFlood: true, VLANs: []tsn.PortVLAN{{VID: 101, PVID: true, Untagged: true}}},
	}}}},
	{"8-guarded", guarded(fabric(nil))},
}

func fabric(g *tsn.GateControlList) tsn.DesiredState {
	v := []tsn.PortVLAN{{VID: 101}}
	return tsn.DesiredState{
		Bridge: &tsn.BridgeState{
			OwnedVIDs: []tsn.VID{101}, SelfVLANs: []tsn.VID{101},
			Ports: []tsn.BridgePort{
				{Port: 1, Role: tsn.RoleFabric, Locked: true, BcastFlood: true, VLANs: v},
				{Port: 2, Role: tsn.RoleFabric, Locked: true, BcastFlood: true, VLANs: v},
			},
			FDB: []tsn.FDBEntry{{MAC: tsn.MAC{2, 0, 0, 0, 0, 1}, VID: 101, Port: 1}, {MAC: tsn.MAC{2, 0, 0, 0, 0, 2}, VID: 101, Port: 2}},
		},
		Egress: []tsn.PortEgress{{Port: 1, ClassMap: tsn.DefaultClassMap, Gates: g}, {Port: 2, ClassMap: tsn.DefaultClassMap}},
	}
}

func stream(d tsn.DesiredState) tsn.DesiredState {
	d.Bridge.MDB = []tsn.MDBEntry{{Group: tsn.MAC{0x91, 0xe0, 0xf0, 0, 0x0e, 0x80}, VID: 101, Ports: []tsn.Port{1}}}
	d.Egress[0].IdleSlope[1] = 20 * tsn.Mbps
	return d
}

// filtered polices two talkers behind port 2, one of them in its window.
func filtered(d tsn.DesiredState, gate bool) tsn.DesiredState {
	s := tsn.Stream{
		ID: tsn.StreamID{2, 0, 0, 0, 0, 2, 0, 1}, Talker: tsn.MAC{2, 0, 0, 0, 0, 2}, DestinationAddress: tsn.MAC{0x91, 0xe0, 0xf0, 0, 0x0e, 0x80},
		VID: 101, PCP: 6, Interval: 1_000_000, MaxFrameSize: 100, MaxIntervalFrames: 1,
	}
	d.Filters = []tsn.StreamFilter{tsn.NewStreamFilter(2, s)}
	s.ID[7], s.DestinationAddress, s.PCP = 2, tsn.MAC{2, 0, 0, 0, 0, 1}, 3
	if d.Filters = append(d.Filters, tsn.NewStreamFilter(2, s)); gate {
		d.Filters[0].Gate = tsn.NewStreamGate(tsn.PTPTime{NS: 1_000_000_000}, s.Interval, tsn.Span{Start: 300_000, End: 500_000})
	}
	return d
}

// guarded leaves SR queues to streams, of which port 2 lets one in.
func guarded(d tsn.DesiredState) tsn.DesiredState {
	held := []tsn.StreamHandle{{Address: tsn.MAC{0x91, 0xe0, 0xf0, 0, 0x0e, 0x80}, VID: 101, PCP: 3}}
	d.Priorities = []tsn.PriorityRules{{Port: 1, Guarded: 0b1100, Leaving: held}, {Port: 2, Guarded: 0b1100, Regenerated: 0b1100, Entering: held}}
	return d
}

func rerouted(d tsn.DesiredState) tsn.DesiredState {
	d = stream(d)
	d.Bridge.MDB[0].Ports = []tsn.Port{2}
	d.Bridge.FDB[0].Port = 2
	d.Egress[0].IdleSlope, d.Egress[1].IdleSlope = d.Egress[1].IdleSlope, d.Egress[0].IdleSlope
	return d
}

func TestGolden(t *testing.T) {
	k, err := fake.New(dataplane.Config{
		Bridge: "br0", CreateBridge: true, ClassMap: tsn.DefaultClassMap,
		Ports:     []dataplane.PortConfig{{Port: 1, Ifname: "sw1p1", Rate: tsn.Gbps}, {Port: 2, Ifname: "sw1p2", Rate: tsn.Gbps}},
		PTPToGate: func(_ tsn.Port, t tsn.PTPTime) (int64, error) { return t.NS, nil },
	}, fake.Software)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range states {
		t.Run(s.name, func(t *testing.T) {
			diff, err := k.Diff(s.d)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := k.Set(t.Context(), s.d); err != nil {
				t.Fatal(err)
			}
			got := "-- steps --\n"
			for _, c := range diff {
				got += c.Text + "\n"
			}
			got += "-- state --\n" + k.String()
			for _, p := range []tsn.Port{1, 2} {
				if err := k.AwaitOper(t.Context(), p); err != nil {
					t.Fatal(err)
				}
			}
			file := filepath.Join("testdata", s.name+".golden")
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("%s differs (-update rewrites it); got:\n%s", file, got)
			}
		})
	}
}
