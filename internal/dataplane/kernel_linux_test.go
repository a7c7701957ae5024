package dataplane_test

import (
	"context"
	"os"
	"slices"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	tsn "tsnswitch"
	"tsnswitch/internal/dataplane"
	"tsnswitch/internal/dataplane/fake"
	"tsnswitch/internal/kerneltest"
)

// plane is what the real kernel and the fake have in common.
type plane interface {
	Set(context.Context, tsn.DesiredState) (dataplane.Report, error)
	Diff(tsn.DesiredState) ([]dataplane.Change, error)
	Read() (dataplane.State, error)
	AwaitOper(context.Context, tsn.Port) error
	Counters() ([]dataplane.Counters, error)
	Features() []dataplane.Feature
	GateLimits(tsn.Port) dataplane.GateLimits
	Config() *dataplane.Config
	Close() error
}

var (
	_ plane = (*dataplane.Kernel)(nil)
	_ plane = (*fake.Kernel)(nil)
)

// TestKernel is one test, so that the guest kernel boots once.
func TestKernel(t *testing.T) {
	needs := kerneltest.Needs{Taprio: true, CBS: true, Flower: true, VLANFiltering: true}
	kerneltest.Run(t, needs, func(t *testing.T) {
		t.Run("Features", testFeatures)
		t.Run("EqualAndAdopted", testEqualAndAdopted)
		t.Run("RandomWalk", testRandomWalk)
		t.Run("OwnAddress", testOwnAddress)
		t.Run("Locked", testLocked)
		t.Run("Multicast", testMulticast)
		t.Run("Ring", testRing)
		t.Run("ForwardedClass", testForwardedClass)
		t.Run("Gates", testGates)
		t.Run("Windows", testWindows)
		t.Run("ServiceOrder", testServiceOrder)
		t.Run("LinkDown", testLinkDown)
		t.Run("ManyEntries", testManyEntries)
		t.Run("ToolSees", testToolSees)
		t.Run("ControlGroups", testControlGroups)
		t.Run("KeepBack", testKeepBack)
		t.Run("FlushLearned", testFlushLearned)
		t.Run("FourThousand", testFourThousand)
		t.Run("FailedBatch", testFailedBatch)
		t.Run("Learning", testLearning)
		t.Run("EndStation", testEndStation)
		t.Run("StreamFilters", testStreamFilters)
		t.Run("Priorities", testPriorities)
		t.Run("FourClasses", testFourClasses)
		t.Run("LaunchHolds", testLaunchHolds)
		t.Run("Lock", testLock)
		t.Run("ClockSetBack", testClockSetBack) // the last: time is another afterwards
	})
}

var (
	macA = tsn.MAC{2, 0, 0, 0, 0, 1} // behind port 1
	macB = tsn.MAC{2, 0, 0, 0, 0, 2} // behind port 2
	macC = tsn.MAC{2, 0, 0, 0, 0, 3} // behind port 3
	grp  = tsn.MAC{0x73, 0, 0, 0, 0, 1}
)

// fabricState: ports 1 and 2 to bridges, port 3 to an end station.
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
			FDB: []tsn.FDBEntry{
				{MAC: macA, VID: 10, Port: 1},
				{MAC: macB, VID: 10, Port: 2},
				{MAC: macC, VID: 10, Port: 3},
				{MAC: tsn.MAC{2, 0, 0, 0, 0, 9}, VID: 10}, // the bridge itself
			},
			MDB: []tsn.MDBEntry{{Group: grp, VID: 10, Ports: []tsn.Port{0, 1, 3}}},
		},
		Egress: []tsn.PortEgress{
			{Port: 1, ClassMap: tsn.DefaultClassMap, IdleSlope: [8]tsn.Rate{tsn.ClassSRA: 20 * tsn.Mbps}, MaxSDU: [8]uint32{tsn.ClassScheduled: 500}},
			{Port: 2, ClassMap: tsn.DefaultClassMap},
			{Port: 3, ClassMap: tsn.DefaultClassMap},
		},
	}
}

func testFeatures(t *testing.T) {
	l := newLab(t)
	k := open(t, l.sw, realConfig())
	_, why := k.Order()
	t.Logf("class order: %s", why)
	for _, f := range k.Features() {
		want := dataplane.FeatureOK
		switch f.Name {
		case dataplane.FeatureTimestamping:
			want = dataplane.FeatureDegraded
		case dataplane.FeaturePHC, dataplane.FeatureMACMerge, dataplane.FeatureOffload:
			want = dataplane.FeatureMissing
		case dataplane.FeatureStreamGate:
			want = f.State // the kernel of a distribution may have been built without it
		}
		if f.State != want || f.State != dataplane.FeatureOK && f.Why == "" {
			t.Errorf("%+v, want %v on veth", f, want)
		}
	}
	c := realConfig()
	c.NumQueues = 9
	_, err := open(t, l.sw, c).Set(t.Context(), fabricState())
	isErr(t, err, dataplane.ErrNotSupported)
}

// After Set the kernel holds the state; a second Set, and the first Set of a
// new process, make no modifying request; what is in other VLANs survives.
func testEqualAndAdopted(t *testing.T) {
	l := newLab(t)
	k := open(t, l.sw, realConfig())
	d := fabricState()
	set(t, k, d)
	s := read(t, k)
	text := s.Text(k.Config())
	if golden := "testdata/kernel.golden"; *update {
		if err := os.WriteFile(golden, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if want, err := os.ReadFile(golden); err != nil || string(want) != text {
		t.Errorf("%s differs (-update rewrites it): %v\n%s", golden, err, text)
	}
	if k.Writes() == 0 {
		t.Error("no write was counted")
	}
	n := k.Writes()
	set(t, k, d)
	if k.Writes() != n {
		t.Errorf("a second Set wrote %d times", k.Writes()-n)
	}

	h := l.sw.Netlink()
	p1, err := h.LinkByName("p1")
	if err != nil {
		t.Fatal(err)
	}
	foreign := &netlink.Neigh{
		LinkIndex: p1.Attrs().Index, Family: unix.AF_BRIDGE, State: netlink.NUD_NOARP, Flags: netlink.NTF_MASTER,
		Vlan: 20, HardwareAddr: []byte{2, 0, 0, 0, 9, 9},
	}
	if err := h.NeighAdd(foreign); err != nil {
		t.Fatal(err)
	}
	d.Bridge.OwnedVIDs = []tsn.VID{10} // 20 is somebody else's now
	again := open(t, l.sw, realConfig())
	set(t, again, d)
	if again.Writes() != 0 {
		t.Errorf("adoption wrote %d times", again.Writes())
	}
	if s := read(t, again); !slices.Contains(s.Bridge.FDB, tsn.FDBEntry{MAC: tsn.MAC{2, 0, 0, 0, 9, 9}, VID: 20, Port: 1}) {
		t.Error("the foreign entry is gone")
	}
	d.Bridge.OwnedVIDs = vids
	set(t, again, d)
	if again.Writes() != 1 {
		t.Errorf("%d writes to remove one entry", again.Writes())
	}
}

// From any state, also one that others have meddled with, to any other.
func testRandomWalk(t *testing.T) {
	l := newLab(t)
	k := open(t, l.sw, realConfig())
	h := l.sw.Netlink()
	for seed := range 5 {
		d := rapid.Custom(func(rt *rapid.T) tsn.DesiredState { return drawDesired(rt, 0) }).Example(seed)
		for i := range d.Egress {
			if g := d.Egress[i].Gates; g != nil {
				g.BaseTime.NS += tai(t) + lead
			}
		}
		if seed == 3 {
			p2, err := h.LinkByName("p2")
			if err != nil {
				t.Fatal(err)
			}
			prio := netlink.NewPrio(netlink.QdiscAttrs{LinkIndex: p2.Attrs().Index, Handle: netlink.MakeHandle(5, 0), Parent: netlink.HANDLE_ROOT})
			if err := h.QdiscReplace(prio); err != nil {
				t.Fatal(err)
			}
			if err := h.LinkSetNoMaster(p2); err != nil {
				t.Fatal(err)
			}
		}
		r, err := k.Set(bounded(t), d)
		if err != nil {
			t.Fatalf("seed %d: %v\n%v", seed, err, r)
		}
		awaitAll(t, k)
		s := read(t, k)
		checkEqual(t, s, d)
		set(t, k, d) // shapers need do for the schedules before no more
		n := k.Writes()
		set(t, k, d)
		if k.Writes() != n {
			t.Fatalf("seed %d: a second Set wrote %d times", seed, k.Writes()-n)
		}
	}
}

// The bridge's own address is an entry that the kernel makes: it counts as
// there, and it stays when it is not wanted any more.
func testOwnAddress(t *testing.T) {
	l := newLab(t)
	c := realConfig()
	c.SystemID = tsn.MAC{2, 0, 0, 0, 0, 8}
	k := open(t, l.sw, c)
	d := fabricState()
	d.Bridge.FDB[3].MAC = c.SystemID
	set(t, k, d)
	br, err := l.sw.Netlink().LinkByName("br0")
	if err != nil || !slices.Equal(br.Attrs().HardwareAddr, c.SystemID[:]) {
		t.Fatalf("bridge %v, %v", br, err)
	}
	n := k.Writes()
	d.Bridge.FDB = d.Bridge.FDB[:3]
	set(t, k, d)
	if k.Writes() != n {
		t.Errorf("%d writes", k.Writes()-n)
	}
	d.Bridge.SelfVLANs = append(d.Bridge.SelfVLANs, 20)
	d.Bridge.FDB = append(d.Bridge.FDB, tsn.FDBEntry{MAC: c.SystemID, VID: 20})
	if r := set(t, k, d); len(r.Applied) != 1 {
		t.Errorf("steps %v, want the VLAN only", r.Applied)
	}
}

// 802.1aq's ingress check: a source is taken only where its entry points.
func testLocked(t *testing.T) {
	l := newLab(t)
	set(t, open(t, l.sw, realConfig()), fabricState())
	a, c := socket(t, l.host[0], "h0"), socket(t, l.host[2], "h0")
	send(t, a,
		frame(macC, macB, 10, 0, 1),                   // B is behind port 2
		frame(macC, tsn.MAC{2, 0, 0, 0, 7}, 10, 0, 2), // nobody knows this one
		frame(tsn.Broadcast, macB, 10, 0, 3),
		frame(grp, macB, 10, 0, 4),
		frame(macC, macA, 20, 0, 5), // port 3 is not in VLAN 20
		frame(macC, macA, 10, 0, 9))
	if got := receive(t, c, 9); !slices.Equal(got, []byte{9}) {
		t.Errorf("frames %v came through, want only 9", got)
	}
}

// A group entry confines its group; with snooping on, a group without an entry
// is still flooded to ports with mcast_flood, and to no other.
func testMulticast(t *testing.T) {
	l := newLab(t)
	set(t, open(t, l.sw, realConfig()), fabricState())
	a, b, c := socket(t, l.host[0], "h0"), socket(t, l.host[1], "h0"), socket(t, l.host[2], "h0")
	send(t, a,
		frame(grp, macA, 10, 0, 1),
		frame(tsn.MAC{0x73, 0, 0, 0, 0, 7}, macA, 10, 0, 2),
		frame(tsn.MAC{1, 0, 0x5e, 1, 1, 1}, macA, 10, 0, 3),
		frame(tsn.MAC{0x33, 0x33, 0, 0, 1, 1}, macA, 10, 0, 4),
		frame(tsn.Broadcast, macA, 10, 0, 9))
	if got := receive(t, c, 9); !slices.Equal(got, []byte{1, 2, 3, 4, 9}) {
		t.Errorf("the edge port got %v, want all", got)
	}
	if got := receive(t, b, 9); !slices.Equal(got, []byte{9}) {
		t.Errorf("the fabric port without an entry got %v, want only the broadcast", got)
	}
}

// Broadcast over a ring of three bridges reaches each host once: reverse path.
func testRing(t *testing.T) {
	var sw, host [3]*kerneltest.NetNS
	for i := range sw {
		sw[i], host[i] = kerneltest.NewNetNS(t), kerneltest.NewNetNS(t)
		kerneltest.VethPair(t, 8, kerneltest.End{NS: sw[i], Name: "p3"}, kerneltest.End{NS: host[i], Name: "h0"})
	}
	for i := range sw { // port 1 to the next, port 2 from the one before
		kerneltest.VethPair(t, 8, kerneltest.End{NS: sw[i], Name: "p1"}, kerneltest.End{NS: sw[(i+1)%3], Name: "p2"})
	}
	macs := []tsn.MAC{macA, macB, macC}
	var fd [3]int
	var ks [3]*dataplane.Kernel
	for i := range sw {
		awaitUp(t, sw[i], "p1", "p2", "p3")
		d := fabricState()
		d.Bridge.MDB = nil
		d.Bridge.FDB = nil
		for j, m := range macs {
			d.Bridge.FDB = append(d.Bridge.FDB, tsn.FDBEntry{MAC: m, VID: 10, Port: [3]tsn.Port{3, 1, 2}[(j-i+3)%3]})
		}
		ks[i] = open(t, sw[i], realConfig())
		set(t, ks[i], d)
		fd[i] = socket(t, host[i], "h0")
	}
	const n = 20
	var want []byte
	for i := range byte(n) {
		send(t, fd[0], frame(tsn.Broadcast, macA, 0, 0, i))
		want = append(want, i)
	}
	for i := 1; i < 3; i++ {
		if got := receive(t, fd[i], n-1); !slices.Equal(got, want) {
			t.Errorf("host %d got %v, want each frame once", i, got)
		}
	}
	send(t, fd[1], frame(macA, macB, 0, 0, n)) // and nothing came back to the sender before this
	if got := receive(t, fd[0], n); len(got) != 1 {
		t.Errorf("the sender got %v back", got)
	}
}

// One port and no bridge.
func testEndStation(t *testing.T) {
	l := newLab(t)
	c := realConfig()
	c.Bridge, c.Ports = "", c.Ports[:1]
	k := open(t, l.sw, c)
	d := tsn.DesiredState{Egress: []tsn.PortEgress{{Port: 1, ClassMap: tsn.DefaultClassMap, IdleSlope: [8]tsn.Rate{tsn.ClassSRA: 5 * tsn.Mbps}}}}
	set(t, k, d)
	n := k.Writes()
	set(t, k, d)
	if k.Writes() != n {
		t.Error("the second Set wrote")
	}
}

// One owner for an interface, in each namespace.
func testLock(t *testing.T) {
	l := newLab(t)
	lock := func(ns *kerneltest.NetNS, c dataplane.Config) (o *dataplane.Ownership, err error) {
		ns.Do(func() { o, err = dataplane.Lock(c) })
		return o, err
	}
	first, err := lock(l.sw, config())
	if err != nil {
		t.Fatal(err)
	}
	other := config()
	other.Bridge, other.Ports = "br1", other.Ports[2:]
	_, err = lock(l.sw, other)
	isErr(t, err, dataplane.ErrBusy)
	t.Log(err)
	elsewhere, err := lock(l.host[0], config())
	if err != nil {
		t.Errorf("the same names in another namespace: %v", err)
	} else {
		elsewhere.Release()
	}
	first.Release()
	second, err := lock(l.sw, other)
	if err != nil {
		t.Fatalf("after the release: %v", err)
	}
	second.Release()
}
