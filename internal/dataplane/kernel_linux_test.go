package dataplane_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	tsn "tsnswitch"
	"tsnswitch/internal/dataplane"
	"tsnswitch/internal/kerneltest"
)

var needs = kerneltest.Needs{Taprio: true, CBS: true, Flower: true, VLANFiltering: true, VLANDevices: true}

// lab is a switch with three ports, each to a host's namespace.
type lab struct {
	sw   *kerneltest.NetNS
	host [3]*kerneltest.NetNS // interface h0
}

func newLab(t *testing.T) *lab {
	l := &lab{sw: kerneltest.NewNetNS(t)}
	for i := range l.host {
		l.host[i] = kerneltest.NewNetNS(t)
		kerneltest.VethPair(t, 8, kerneltest.End{NS: l.sw, Name: config().Ports[i].Ifname}, kerneltest.End{NS: l.host[i], Name: "h0"})
	}
	return l
}

func (l *lab) open(t *testing.T, cfg dataplane.Config) (k *dataplane.Kernel) {
	t.Helper()
	l.sw.Do(func() {
		var err error
		if k, err = dataplane.Open(cfg); err != nil {
			t.Fatal(err)
		}
	})
	t.Cleanup(func() { k.Close() })
	return k
}

// realConfig is config with gate clock and PTP time the same.
func realConfig() dataplane.Config {
	c := config()
	c.PTPToGate = func(_ tsn.Port, t tsn.PTPTime) (int64, error) { return t.NS, nil }
	return c
}

func set(t *testing.T, k *dataplane.Kernel, d tsn.DesiredState) dataplane.Report {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	r, err := k.Set(ctx, d)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func fabricState() tsn.DesiredState {
	v := []tsn.PortVLAN{{VID: 10}, {VID: 20}}
	return tsn.DesiredState{
		Bridge: &tsn.BridgeState{
			OwnedVIDs: vids, SelfVLANs: []tsn.VID{10},
			Ports: []tsn.BridgePort{
				{Port: 1, Role: tsn.RoleFabric, Locked: true, BcastFlood: true, VLANs: v},
				{Port: 2, Role: tsn.RoleFabric, Locked: true, BcastFlood: true, VLANs: v},
				{Port: 3, Flood: true, McastFlood: true, BcastFlood: true, VLANs: []tsn.PortVLAN{{VID: 10, PVID: true, Untagged: true}}},
			},
			FDB: []tsn.FDBEntry{{MAC: tsn.MAC{2, 0, 0, 0, 0, 1}, VID: 10, Port: 1}, {MAC: tsn.MAC{2, 0, 0, 0, 0, 2}, VID: 10, Port: 2}, {MAC: tsn.MAC{2, 0, 0, 0, 0, 9}, VID: 10}},
			MDB: []tsn.MDBEntry{{Group: tsn.MAC{0x73, 0, 0, 0, 0, 1}, VID: 10, Ports: []tsn.Port{0, 1, 3}}},
		},
		Egress: []tsn.PortEgress{
			{Port: 1, ClassMap: tsn.DefaultClassMap, IdleSlope: [8]tsn.Rate{1: 20 * tsn.Mbps}, MaxSDU: [8]uint32{2: 500}},
			{Port: 2, ClassMap: tsn.DefaultClassMap},
			{Port: 3, ClassMap: tsn.DefaultClassMap},
		},
	}
}

// TestKernelEqualAndAdopted: after Set the kernel holds the state; a second
// Set, and the first Set of a new process, make no modifying request.
func TestKernelEqualAndAdopted(t *testing.T) {
	kerneltest.Run(t, needs, func(t *testing.T) {
		l := newLab(t)
		k := l.open(t, realConfig())
		order, why := k.Order()
		t.Logf("class order %v: %s", order, why)
		for _, f := range k.Features() {
			t.Logf("%+v", f)
		}
		d := fabricState()
		for _, c := range set(t, k, d).Applied {
			t.Log(c)
		}
		s, err := k.Read()
		if err != nil {
			t.Fatal(err)
		}
		t.Log("\n" + s.Text(k.Config()))
		if n := k.Writes(); n == 0 {
			t.Error("no write was counted")
		}
		n := k.Writes()
		set(t, k, d)
		if k.Writes() != n {
			t.Errorf("a second Set wrote %d times", k.Writes()-n)
		}
		again := l.open(t, realConfig())
		set(t, again, d)
		if again.Writes() != 0 {
			t.Errorf("adoption wrote %d times", again.Writes())
		}
		if c, err := again.Diff(tsn.DesiredState{Bridge: &tsn.BridgeState{OwnedVIDs: vids}}); err != nil || len(c) == 0 {
			t.Errorf("the diff to an empty state: %v, %v", c, err)
		}
	})
}

var (
	_ = errors.Is
	_ = slices.Equal[[]int]
	_ = netlink.LinkByName
)
