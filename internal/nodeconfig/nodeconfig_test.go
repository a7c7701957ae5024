package nodeconfig

import (
	"reflect"
	"testing"

	"tsnswitch"
	"tsnswitch/internal/config"
	"tsnswitch/spb"
)

// Every key of spb, of a bridge that sets them all, reaches the core; and the
// core finds nothing wrong with what the configuration lets pass.
func TestSPB(t *testing.T) {
	const doc = `role: bridge
name: b1
systemId: 02:00:00:00:00:01
ports:
  - {port: 1, ifname: p1, role: fabric, metric: 7, echo: {interval: 10ms, multiplier: 4}}
  - {port: 2, ifname: p2, role: edge, guard: false, locked: true, pvid: 100, untagged: true}
spb:
  priority: 0x9000
  areas: [49.0001, "4900.02"]
  baseVids: [{vid: 100}, {vid: 101, ect: 0}, {vid: 102, ect: 16}]
  strict: on
  overload: true
  overloadReason: being installed
  overloadOnStart: 5s
  suppressOnStart: 6s
  helloPadding: true
  spSourceId: 0x70001
  services: [{isid: 4096, vid: 102, transmit: false, ports: [2]}, {isid: 4097, vid: 100}]
  edgeGuard: {interval: 2s, fastInterval: 20ms, listenProbes: 4, holdIntervals: 5, fabricId: 6}
`
	c, err := config.ParseDaemon("b1", []byte(doc))
	if err != nil {
		t.Fatal(err)
	}
	n, err := Of(c)
	if err != nil {
		t.Fatal(err)
	}
	got := n.SPB
	if _, err := spb.New(*got); err != nil {
		t.Fatal(err)
	}
	for _, v := range []struct {
		key       string
		got, want any
	}{
		{"areas", got.AreaAddresses, [][]byte{{0x49, 0, 1}, {0x49, 0, 2}}},
		{"priority", got.Priority, uint16(0x9000)},
		{"baseVids", got.BaseVIDs, []spb.BaseVID{{VID: 100, Algorithm: 1}, {VID: 101}, {VID: 102, Algorithm: 16}}},
		{"strict", got.Strict, spb.StrictOn},
		{"overload", got.Overload, true},
		{"overloadReason", got.OverloadReason, "being installed"},
		{"overloadOnStart", got.OverloadOnStartup, int64(5e9)},
		{"suppressOnStart", got.SuppressOnStart, int64(6e9)},
		{"helloPadding", got.HelloPadding, true},
		{"compatIPv4", got.CompatIPv4, false},
		{"spSourceId", got.SPSourceID, uint32(0x70001)},
		{"services", got.Services, []spb.Service{
			{ISID: 4096, VID: 102, Receive: true, Ports: []tsn.Port{2}}, {ISID: 4097, VID: 100, Transmit: true, Receive: true},
		}},
		{"edgeGuard", got.EdgeGuard, spb.EdgeGuardConfig{Interval: 2e9, FastInterval: 20e6, ListenProbes: 4, HoldIntervals: 5, FabricID: 6}},
		{"guard", []bool{got.Ports[0].Unguarded, got.Ports[1].Unguarded}, []bool{false, true}},
		{"locked", got.Ports[1].Locked, true},
		{"echo", got.Ports[0].Echo, spb.EchoConfig{Interval: 10e6, Multiplier: 4}},
	} {
		if !reflect.DeepEqual(v.got, v.want) {
			t.Errorf("%s: %+v, want %+v", v.key, v.got, v.want)
		}
	}
}

// Defaults of the configuration and of the core are the same.
func TestSPBDefaults(t *testing.T) {
	c, err := config.LoadDaemon("../config/reference.yaml")
	if err != nil {
		t.Fatal(err)
	}
	n, err := Of(c)
	if err != nil {
		t.Fatal(err)
	}
	got := n.SPB
	want := spb.EdgeGuardConfig{Interval: 1e9, FastInterval: 50e6, ListenProbes: 3, HoldIntervals: 3}
	if got.AreaAddresses != nil || got.Strict != spb.StrictAuto || got.Overload || got.SPSourceID != 0 || got.EdgeGuard != want || got.Ports[1].Unguarded {
		t.Errorf("%+v", got)
	}
	if _, err := spb.New(*got); err != nil {
		t.Error(err)
	}
}
