package dataplane_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	tsn "tsnswitch"
	"tsnswitch/internal/dataplane"
	"tsnswitch/internal/dataplane/fake"
	"tsnswitch/internal/kerneltest"
)

// manyEntries is fabricState with n stations in VLAN 10, on port.
func manyEntries(n int, port tsn.Port) tsn.DesiredState {
	d := fabricState()
	d.Bridge.MDB = nil
	d.Bridge.FDB = nil
	for i := range n {
		d.Bridge.FDB = append(d.Bridge.FDB, tsn.FDBEntry{MAC: tsn.MAC{2, 1, 0, 0, byte(i >> 8), byte(i)}, VID: 10, Port: port})
	}
	return d
}

// 4,000 entries are one batch: made, moved and removed in one system call each.
// What is in a VLAN that is not ours stays.
func testFourThousand(t *testing.T) {
	l := newLab(t)
	k := open(t, l.sw, realConfig())
	d := manyEntries(0, 1)
	d.Bridge.OwnedVIDs = []tsn.VID{10}
	set(t, k, d)
	foreign := tsn.FDBEntry{MAC: tsn.MAC{2, 0, 0, 0, 9, 9}, VID: 20, Port: 1}
	addForeign(t, l, foreign)
	for _, step := range []struct {
		name string
		n    int
		port tsn.Port
	}{{"made", 4000, 1}, {"moved", 4000, 2}, {"removed", 0, 1}} {
		d := manyEntries(step.n, step.port)
		d.Bridge.OwnedVIDs = []tsn.VID{10}
		sends, begun := k.Sends(), time.Now()
		r := set(t, k, d)
		t.Logf("4000 entries %s in %v", step.name, time.Since(begun))
		if len(r.Applied) != 4000 || k.Sends()-sends != 1 {
			t.Errorf("%s: %d steps in %d system calls, want 4000 in one", step.name, len(r.Applied), k.Sends()-sends)
		}
		have := read(t, k).Bridge.FDB
		if !slices.Equal(have, append(d.Bridge.FDB, foreign)) {
			t.Errorf("%s: %d entries are in the kernel", step.name, len(have))
		}
	}
}

func addForeign(t *testing.T, l *lab, e tsn.FDBEntry) {
	t.Helper()
	h := l.sw.Netlink()
	p, err := h.LinkByName(config().Ports[e.Port-1].Ifname)
	if err != nil {
		t.Fatal(err)
	}
	n := &netlink.Neigh{
		LinkIndex: p.Attrs().Index, Family: unix.AF_BRIDGE, State: netlink.NUD_NOARP, Flags: netlink.NTF_MASTER,
		Vlan: int(e.VID), HardwareAddr: e.MAC[:],
	}
	if err := h.NeighAdd(n); err != nil {
		t.Fatal(err)
	}
}

// A step that the kernel refuses in the middle of a batch is named; the others
// of its batch are done, what was to follow is not, and another Set goes on. A
// Set that had planned from memory does so itself: the kernel may have been
// another than it thought.
func testFailedBatch(t *testing.T) {
	l := newLab(t)
	k := open(t, l.sw, realConfig())
	d := manyEntries(0, 1)
	set(t, k, d)
	d = manyEntries(100, 1)
	d.Bridge.MDB = []tsn.MDBEntry{{Group: grp, VID: 10, Ports: []tsn.Port{1}}}
	k.Forget()
	r, err := k.SetSpoilt(bounded(t), d, 50)
	if err == nil || !strings.Contains(err.Error(), "02:01:00:00:00:32 dev p1 vlan 4000") || !strings.Contains(err.Error(), "99 steps done, 2 left") {
		t.Errorf("%v", err)
	}
	if len(r.Applied) != 99 || len(r.Left) != 2 || !strings.Contains(r.Left[1].Text, "mdb add") {
		t.Errorf("%d applied, left %v", len(r.Applied), r.Left)
	}
	if r := set(t, k, d); len(r.Applied) != 2 {
		t.Errorf("the next Set did %d steps", len(r.Applied))
	}
	d = manyEntries(100, 2)
	if r, err := k.SetSpoilt(bounded(t), d, 50); err != nil || len(r.Left) > 0 || !slices.Equal(read(t, k).Bridge.FDB, d.Bridge.FDB) {
		t.Errorf("from memory: %v, left %v", err, r.Left)
	}
}

// IS-IS and probes that enter a port reach no other one, tagged or not and
// whatever their protocol; any other group is flooded, which shows that the
// frames were there. The port's own sockets see all of them.
func testControlGroups(t *testing.T) {
	l := newLab(t)
	k := open(t, l.sw, realConfig())
	d := fabricState()
	v := []tsn.PortVLAN{{VID: 10, PVID: true, Untagged: true}, {VID: 20}, {VID: 40}} // 40 is not owned
	for i := range d.Bridge.Ports {
		d.Bridge.Ports[i] = tsn.BridgePort{Port: ports[i], Flood: true, McastFlood: true, BcastFlood: true, VLANs: v}
	}
	d.Bridge.FDB, d.Bridge.MDB = nil, nil
	set(t, k, d)
	a, c, tap := socket(t, l.host[0], "h0"), socket(t, l.host[2], "h0"), socketOf(t, l.sw, "p1", unix.ETH_P_ALL)
	serial := byte(0)
	for _, g := range []string{
		"01:80:c2:00:00:14", "01:80:c2:00:00:15", "01:80:c2:00:00:2e", "01:80:c2:00:00:2f", "09:00:2b:00:00:05", "03:54:53:4e:00:01",
	} {
		var group tsn.MAC
		if _, err := fmt.Sscanf(g, "%02x:%02x:%02x:%02x:%02x:%02x", &group[0], &group[1], &group[2], &group[3], &group[4], &group[5]); err != nil {
			t.Fatal(err)
		}
		for _, vid := range []tsn.VID{0, 10, 20, 40} {
			serial++
			send(t, a, frame(group, macA, vid, 0, serial))
		}
	}
	send(t, a, frame(tsn.MAC{3, 0x54, 0x53, 0x4e, 0, 2}, macA, 40, 0, 99))
	if got := receive(t, c, 99); !slices.Equal(got, []byte{99}) {
		t.Errorf("the bridge forwarded %v, want only 99", got)
	}
	if got := receive(t, tap, 99); len(got) != int(serial)+1 {
		t.Errorf("the port's socket got %v, want %d frames", got, serial+1)
	}
	if diff, err := k.Diff(d); err != nil || len(diff) > 0 {
		t.Errorf("%v, %v", diff, err)
	}
	d.Bridge.Ports[0].VLANs, d.Bridge.Ports[1].VLANs, d.Bridge.Ports[2].VLANs = v[:2], v[:2], v[:2]
	if r := set(t, k, d); len(r.Applied) != 3+6 {
		t.Errorf("leaving a VLAN: %v", r.Applied)
	}
}

// What the kernel does when a station shows up on a port that learns: a sticky
// entry stays where it is, a static one moves there, and so does a learned one.
// What is no longer wanted there as a static entry goes on as a learned one,
// and a learned one is not touched.
func testLearning(t *testing.T) {
	l := newLab(t)
	k := open(t, l.sw, realConfig())
	d := fabricState()
	d.Bridge.Ports[2].Learning = true
	sticky, moves := tsn.FDBEntry{MAC: macA, VID: 10, Port: 1, Sticky: true}, tsn.FDBEntry{MAC: macB, VID: 10, Port: 1}
	d.Bridge.FDB, d.Bridge.MDB = []tsn.FDBEntry{sticky, moves}, nil
	set(t, k, d)
	c := socket(t, l.host[2], "h0")
	send(t, c, frame(tsn.Broadcast, macA, 0, 0, 1), frame(tsn.Broadcast, macB, 0, 0, 2), frame(tsn.Broadcast, macC, 0, 0, 3))
	moved := moves
	moved.Port = 3
	await(t, "the station has moved in the FDB", func() bool {
		return slices.Equal(read(t, k).Bridge.FDB, []tsn.FDBEntry{sticky, moved})
	})
	d.Bridge.FDB = []tsn.FDBEntry{sticky}
	if r := set(t, k, d); len(r.Applied) != 1 || !strings.Contains(r.Applied[0].Text, "dynamic") {
		t.Errorf("%v", r.Applied)
	}
	w := watch(t, l)
	want := func(what string, m map[tsn.MAC]tsn.Port) {
		t.Helper()
		await(t, what, func() bool { return maps.Equal(w.now(), m) })
	}
	want("what is there", map[tsn.MAC]tsn.Port{macB: 3, macC: 3})
	d.Bridge.FDB = []tsn.FDBEntry{sticky, moves} // elsewhere, says the fabric
	if r := set(t, k, d); len(r.Applied) != 1 {
		t.Errorf("%v", r.Applied)
	}
	want("one is elsewhere", map[tsn.MAC]tsn.Port{macC: 3})
	send(t, c, frame(tsn.Broadcast, macB, 0, 0, 4))
	want("it comes back", map[tsn.MAC]tsn.Port{macB: 3, macC: 3})
	var flood [][]byte // more than the table takes
	for i := range byte(30) {
		flood = append(flood, frame(tsn.Broadcast, tsn.MAC{2, 0, 0, 7, 0, i}, 0, 0, i))
	}
	send(t, c, flood...)
	await(t, "the table is full", func() bool { return w.watch.Counters().TableFull > 10 && len(w.now()) > 10 })
	h := l.sw.Netlink()
	if p, err := h.LinkByName("p3"); err != nil || h.LinkSetDown(p) != nil {
		t.Fatal(err)
	}
	await(t, "all have gone with the link, but for the static entry", func() bool { return maps.Equal(w.now(), map[tsn.MAC]tsn.Port{macB: 3}) })
}

// watched is what a StationWatch has told.
type watched struct {
	watch *dataplane.StationWatch
	mu    sync.Mutex
	table map[tsn.MAC]tsn.Port
}

// now is the table without what the host's kernel says in its own name.
func (w *watched) now() map[tsn.MAC]tsn.Port {
	w.mu.Lock()
	defer w.mu.Unlock()
	m := maps.Clone(w.table)
	maps.DeleteFunc(m, func(m tsn.MAC, _ tsn.Port) bool { return [3]byte(m[:3]) != [3]byte{2} })
	return m
}

func watch(t *testing.T, l *lab) *watched {
	w := &watched{table: map[tsn.MAC]tsn.Port{}}
	l.sw.Do(func() {
		var err error
		w.watch, err = dataplane.WatchStations(dataplane.StationConfig{
			Bridge: "br0", Ports: realConfig().Ports[2:], Max: 20,
			Seen: func(s dataplane.Station) { w.mu.Lock(); w.table[s.MAC] = s.Port; w.mu.Unlock() },
			Gone: func(s dataplane.Station) { w.mu.Lock(); delete(w.table, s.MAC); w.mu.Unlock() },
		})
		if err != nil {
			t.Fatal(err)
		}
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- w.watch.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		_ = w.watch.Close()
	})
	return w
}

func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for ctx := bounded(t); !ok(); {
		select {
		case <-ctx.Done():
			t.Fatalf("not in time: %s", what)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// The fake takes 4,000 entries as one batch too, on every board.
func TestFourThousandOnBoards(t *testing.T) {
	for _, b := range []fake.Board{fake.Software, fake.Felix, fake.LAN966x, fake.MV88E6xxx} {
		k := newFake(t, b)
		d := manyEntries(4000, 1)
		d.Egress = nil
		for i := range d.Bridge.Ports {
			if b.NoLocked {
				d.Bridge.Ports[i].Locked, d.Bridge.Ports[i].BcastFlood = false, false
			}
		}
		none := d
		br := *d.Bridge
		none.Bridge, br.FDB = &br, nil
		if _, err := k.Set(t.Context(), none); err != nil {
			t.Fatal(err)
		}
		batches := k.Batches
		if r, err := k.Set(t.Context(), d); err != nil || len(r.Applied) != 4000 || k.Batches-batches != 1 {
			t.Errorf("%s: %d steps in %d batches, %v", b.Name, len(r.Applied), k.Batches-batches, err)
		}
	}
}

// A Set that takes long says how far it is, after two seconds and then each
// second; a short one says nothing.
func TestProgress(t *testing.T) {
	var told []dataplane.Progress
	c := config()
	c.Progress = func(p dataplane.Progress) { told = append(told, p) }
	k, err := fake.New(c, fake.Software)
	if err != nil {
		t.Fatal(err)
	}
	d := manyEntries(10_000, 1)
	clock := time.Time{}
	step := time.Millisecond
	now := func() time.Time { clock = clock.Add(step); return clock }
	if _, err := dataplane.ReconcileAt(t.Context(), k, d, now); err != nil || len(told) != 0 {
		t.Errorf("%v, told %v", err, told)
	}
	d = manyEntries(10_000, 2)
	step = 1500 * time.Millisecond
	if _, err := dataplane.ReconcileAt(t.Context(), k, d, now); err != nil || len(told) == 0 {
		t.Fatalf("%v, told %v", err, told)
	}
	if p := told[0]; p.Done == 0 || p.Done >= p.Steps || p.Steps != 10_000 || p.Elapsed < dataplane.ProgressAfter {
		t.Errorf("%+v", p)
	}
}

// Batched against one by one, on whatever kernel this runs on:
//
//	bin/umlrun ./dataplane.test -test.run '^$' -test.bench FDB
func BenchmarkFDB(b *testing.B) {
	for _, n := range []int{100, 4000} {
		for _, one := range []bool{false, true} {
			b.Run(fmt.Sprintf("entries=%d/oneByOne=%t", n, one), func(b *testing.B) { benchFDB(b, n, one) })
		}
	}
}

func benchFDB(b *testing.B, n int, oneByOne bool) {
	needs := kerneltest.Needs{VLANFiltering: true}
	if why, err := kerneltest.Missing(needs); err != nil || why != "" {
		b.Skipf("%s %v", why, err)
	}
	ns, far := kerneltest.NewNetNS(b), kerneltest.NewNetNS(b)
	cfg := dataplane.Config{Bridge: "br0", CreateBridge: true, ClassMap: tsn.DefaultClassMap}
	for i := range 3 {
		cfg.Ports = append(cfg.Ports, dataplane.PortConfig{Port: tsn.Port(i + 1), Ifname: fmt.Sprintf("p%d", i+1)})
		kerneltest.VethPair(b, 8, kerneltest.End{NS: ns, Name: cfg.Ports[i].Ifname}, kerneltest.End{NS: far, Name: cfg.Ports[i].Ifname})
	}
	var k *dataplane.Kernel
	ns.Do(func() {
		var err error
		if k, err = dataplane.Open(cfg); err != nil {
			b.Fatal(err)
		}
	})
	b.Cleanup(func() { k.Close() })
	state := func(p tsn.Port) tsn.DesiredState {
		d := manyEntries(n, p)
		d.Egress = nil
		return d
	}
	if _, err := k.Set(b.Context(), state(1)); err != nil {
		b.Fatal(err)
	}
	if oneByOne {
		defer dataplane.OneByOne()()
	}
	b.ResetTimer()
	for i := range b.N {
		if _, err := k.Set(b.Context(), state(tsn.Port(2-i%2))); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/entry")
}
