package dataplane_test

import (
	"maps"
	"testing"

	tsn "tsnswitch"
)

// What was learned in a VLAN on a port is forgotten; static entries, other ports
// and other VLANs are left alone.
func testFlushLearned(t *testing.T) {
	l := newLab(t)
	k := open(t, l.sw, realConfig())
	d := fabricState()
	v := []tsn.PortVLAN{{VID: 10, PVID: true, Untagged: true}, {VID: 20}}
	for i := range d.Bridge.Ports {
		d.Bridge.Ports[i] = tsn.BridgePort{Port: ports[i], Learning: true, BcastFlood: true, VLANs: v}
	}
	d.Bridge.FDB, d.Bridge.MDB = []tsn.FDBEntry{{MAC: macC, VID: 10, Port: 3, Sticky: true}}, nil
	set(t, k, d)
	other := tsn.MAC{2, 0, 0, 0, 7, 1}
	send(t, socket(t, l.host[1], "h0"), frame(tsn.Broadcast, macB, 0, 0, 1))
	send(t, socket(t, l.host[2], "h0"), frame(tsn.Broadcast, macA, 0, 0, 1), frame(tsn.Broadcast, other, 20, 0, 2))
	w := watch(t, l)
	await(t, "all are learned", func() bool {
		return maps.Equal(w.now(), map[tsn.MAC]tsn.Port{macA: 3, macC: 3, other: 3})
	})
	if err := k.FlushLearned(10, []tsn.Port{3}); err != nil {
		t.Fatal(err)
	}
	await(t, "one is forgotten", func() bool { return maps.Equal(w.now(), map[tsn.MAC]tsn.Port{macC: 3, other: 3}) })
	if err := k.FlushLearned(0, []tsn.Port{1, 3}); err != nil {
		t.Fatal(err)
	}
	await(t, "the other too", func() bool { return maps.Equal(w.now(), map[tsn.MAC]tsn.Port{macC: 3}) })
}
