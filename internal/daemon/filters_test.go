package daemon

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tsnswitch"
	"tsnswitch/internal/api"
	"tsnswitch/internal/config"
	"tsnswitch/internal/dataplane"
	"tsnswitch/internal/node"
)

// Where gates are missing talkers are still policed, where filters are they are
// not; what was wanted and is not there is told.
func TestFitFilters(t *testing.T) {
	missing := func(p tsn.Port, name string) dataplane.Feature {
		return dataplane.Feature{Name: name, Port: p, State: dataplane.FeatureMissing, Why: "not built"}
	}
	features := []dataplane.Feature{
		missing(1, dataplane.FeatureStreamGate), missing(2, dataplane.FeatureStreamFilter), missing(2, dataplane.FeatureStreamGate),
		{Name: dataplane.FeatureStreamGate, Port: 3},
		missing(4, dataplane.FeatureLaunchTime),
	}
	nc := node.Config{Classes: []node.PortClasses{{Port: 1, Filters: node.FilterGate}, {Port: 2, Filters: node.FilterGate}, {Port: 3, Filters: node.FilterGate}, {Port: 4}}}
	nc.Classes[3].Launch[2].Delta = 1
	fitFilters(&nc, features)
	for i, want := range []node.FilterMode{node.FilterPolice, node.FilterOff, node.FilterGate, node.FilterOff} {
		if c := nc.Classes[i]; c.Filters != want || c.Launch[2].Delta != 0 {
			t.Errorf("port %d: %+v, want mode %d", i+1, c, want)
		}
	}

	c := &config.Daemon{Role: config.RoleBridge, SPB: config.SPB{Enabled: true}, QBV: config.QBV{Filters: config.FilterGate}, Ports: []config.Port{{Port: 1, Role: "edge"}, {Port: 2, Role: "fabric"}, {Port: 3, Role: "edge"}}}
	if got := filtersDegraded(c, features); len(got) != 1 || !strings.HasPrefix(got[0], "port 1: stream-gate is missing: not built") {
		t.Errorf("%q", got)
	}
	c.QBV.Filters = config.FilterPolice
	if got := filtersDegraded(c, features); len(got) != 0 {
		t.Errorf("%q", got)
	}
	end := &config.Daemon{Role: config.RoleEndStation, Ports: []config.Port{{Port: 4, Role: config.RoleEndStation, Launch: &config.Launch{}}}}
	if got := filtersDegraded(end, features); len(got) != 1 || !strings.Contains(got[0], dataplane.FeatureLaunchTime) {
		t.Errorf("%q", got)
	}
}

// A port that is not there takes its filters along.
func TestOnlyPortsFilters(t *testing.T) {
	d := tsn.DesiredState{Filters: []tsn.StreamFilter{{Port: 1}, {Port: 2}}}
	if got := onlyPorts(d, []tsn.Port{2}).Filters; len(got) != 1 || got[0].Port != 2 {
		t.Errorf("%+v", got)
	}
}

// The windows of a talker's own port are what the bridge behind it goes by.
func TestStreamGates(t *testing.T) {
	talker, bridge := tsn.MAC{2, 0, 0, 0, 0, 0xa}, tsn.MAC{2, 0, 0, 0, 0, 1}
	id, other := tsn.MakeStreamID(talker, 1), tsn.MakeStreamID(talker, 2)
	at := func(system tsn.MAC, port tsn.Port, windows ...api.Window) api.PortSchedule {
		p := api.PortSchedule{Windows: windows, Admin: &tsn.GateControlList{CycleTime: 1_000_000, BaseTime: tsn.PTPTime{NS: 100}}}
		p.System, p.Port = system, port
		return p
	}
	s := &api.Schedule{Ports: []api.PortSchedule{
		at(talker, 1, api.Window{Stream: id, Start: 10_000, End: 30_000}, api.Window{Stream: id, Start: 510_000, End: 530_000}, api.Window{Stream: other, Start: 1, End: 2}),
		at(bridge, 1, api.Window{Stream: id, Start: 40_000, End: 60_000}),
		at(tsn.MAC{2, 0, 0, 0, 0, 2}, 1, api.Window{Stream: id, Start: 70_000, End: 90_000}),
	}}
	lists := gatesAt(s, bridge)
	if len(lists) != 1 || len(lists[0].Arrivals) != 2 || lists[0].Arrivals[0].Start != 10_000 || lists[0].Arrivals[1].Start != 510_000 {
		t.Fatalf("%+v", lists)
	}
	if a := gatesAt(s, talker)[0].Arrivals; len(a) != 0 {
		t.Errorf("at the talker itself: %+v", a)
	}
	h := &heldSchedule{Base: tsn.PTPTime{NS: 5_000_000}, Ports: lists}
	want := []node.StreamGate{{ID: id, Gate: tsn.NewStreamGate(tsn.PTPTime{NS: 5_000_100}, 1_000_000, tsn.Span{Start: 9000, End: 31_000}, tsn.Span{Start: 509_000, End: 531_000})}}
	if d := cmp.Diff(want, streamGates(h, 1000)); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
	if got := streamGates(nil, 1000); got != nil {
		t.Errorf("without a schedule: %+v", got)
	}
}

// A port without gates takes no list, and part in a schedule of other ports.
func TestUngatedPort(t *testing.T) {
	d := &Daemon{cfg: &config.Daemon{Name: "b1", Ports: []config.Port{{Port: 1}, {Port: 2, Offload: config.OffloadUngated}}}}
	gates := &tsn.GateControlList{}
	if lists, err := d.lists([]api.PortGates{{Port: 1, Gates: gates}}); err != nil || len(lists) != 2 || lists[0].List != gates || lists[1].List != nil {
		t.Errorf("%+v, %v", lists, err)
	}
	if _, err := d.lists([]api.PortGates{{Port: 2, Gates: gates}}); err == nil || !strings.Contains(err.Error(), "ungated") {
		t.Errorf("%v", err)
	}
}
