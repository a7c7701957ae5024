package daemon

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tsnswitch"
	"tsnswitch/internal/api"
)

// newKeeper is that of b1, with a path over b1, b2 and b3 to station 2.
func newKeeper(t *testing.T) (*keeper, *fakeFabric) {
	t.Helper()
	f := newFabric(1, 2, 3, 4)
	f.paths[station(2)] = hops(1, 2, 3)
	return &keeper{name: "b1", topo: f, peers: f, mem: &ownMemory{Generation: 10}, save: f.save}, f
}

// admit checks and adds, as AddStream does.
func (k *keeper) admit(ctx context.Context, s tsn.Stream) error {
	path, err := k.check(ctx, s)
	if err != nil {
		return err
	}
	return k.add(ctx, s, path)
}

func mustAdmit(t *testing.T, k *keeper, ids ...uint16) {
	t.Helper()
	for _, id := range ids {
		if err := k.admit(t.Context(), aStream(id)); err != nil {
			t.Fatalf("stream %d: %v", id, err)
		}
	}
}

// held compares what every bridge holds of b1.
func held(t *testing.T, f *fakeFabric, want map[byte][]uint16) {
	t.Helper()
	for n := byte(1); n <= 4; n++ {
		if d := cmp.Diff(want[n], f.peers[sys(n)].holds("b1")); d != "" {
			t.Errorf("b%d holds (-want +got):\n%s", n, d)
		}
	}
}

// 802.1Q 35.2.4: a stream is reserved on every port of its path, or refused.
func TestKeeperAdd(t *testing.T) {
	k, f := newKeeper(t)
	mustAdmit(t, k, 1, 2)
	held(t, f, map[byte][]uint16{1: {1, 2}, 2: {1, 2}, 3: {1, 2}})
	if f.saves != 2 || len(k.mem.Owned) != 2 || len(k.mem.Owed) != 0 {
		t.Errorf("%d saves, owned %d, owed %v", f.saves, len(k.mem.Owned), k.mem.Owed)
	}
	if err := k.remove(t.Context(), k.find(aStream(1).ID)); err != nil {
		t.Fatal(err)
	}
	held(t, f, map[byte][]uint16{1: {2}, 2: {2}, 3: {2}})
}

func TestKeeperRefuses(t *testing.T) {
	bad := aStream(9)
	bad.Interval = 0
	named := aStream(9)
	named.Name = "s1"
	elsewhere := aStream(9)
	elsewhere.Listener, elsewhere.DestinationAddress = station(7), station(7)
	full := api.Refuse(tsn.FailureBandwidth, aStream(9).ID, api.PathHop{Hop: hops(3)[0], Node: "b3", Ifname: "p1"}, "full")
	for _, c := range []struct {
		name    string
		stream  tsn.Stream
		dry     error
		code    string
		failure tsn.FailureCode
		node    string
	}{
		{"a field that cannot be", bad, nil, api.CodeBadRequest, 0, ""},
		{"the same id", aStream(1), nil, api.CodeRefused, tsn.FailureStreamIDInUse, "b1"},
		{"the same name", named, nil, api.CodeConflict, 0, ""},
		{"no path", elsewhere, nil, api.CodeRefused, tsn.FailureEgressNotAVB, "b1"},
		{"a hop that is full", aStream(9), full, api.CodeRefused, tsn.FailureBandwidth, "b3"},
		{"a hop that is silent", aStream(9), errors.New("connection refused"), api.CodeUnavailable, 0, "b3"},
	} {
		t.Run(c.name, func(t *testing.T) {
			k, f := newKeeper(t)
			mustAdmit(t, k, 1)
			f.took()
			f.peers[sys(3)].refuse["dry"] = c.dry
			err := k.admit(t.Context(), c.stream)
			var e *api.Error
			if !errors.As(err, &e) || e.Code != c.code || e.Failure != c.failure || e.Hop.Node != c.node {
				t.Errorf("%#v", err)
			}
			if log := f.took(); len(log) > 0 || len(k.mem.Owned) != 1 || f.saves != 1 {
				t.Errorf("something changed: %q, %d owned, %d saves", log, len(k.mem.Owned), f.saves)
			}
		})
	}
}

// The check let it pass, and then the third hop refuses: another owner was
// faster. The first two are put back.
func TestKeeperRollsBack(t *testing.T) {
	k, f := newKeeper(t)
	mustAdmit(t, k, 1)
	f.took()
	f.peers[sys(3)].refuse["put"] = api.Refuse(tsn.FailureBandwidth, aStream(2).ID, api.PathHop{}, "full")
	err := k.admit(t.Context(), aStream(2))
	var e *api.Error
	if !errors.As(err, &e) || e.Failure != tsn.FailureBandwidth || e.Hop.Node != "b3" {
		t.Errorf("%#v", err)
	}
	if d := cmp.Diff([]string{"b1 holds 2", "b2 holds 2", "b1 holds 1", "b2 holds 1"}, f.took()); d != "" {
		t.Error(d)
	}
	if len(k.mem.Owned) != 1 {
		t.Errorf("%d owned", len(k.mem.Owned))
	}
	// The third could not even be told that it holds nothing new: it is owed.
	if !slices.Equal(k.mem.Owed, []tsn.MAC{sys(3)}) {
		t.Errorf("owed %v", k.mem.Owed)
	}
}

// A hop took the stream and its answer got lost: nobody may believe that it
// holds nothing. The caller has gone away, too, which must not stop the undoing.
func TestKeeperUndoesLostAnswer(t *testing.T) {
	k, f := newKeeper(t)
	f.peers[sys(2)].lost = true
	if err := k.admit(t.Context(), aStream(1)); api.ErrorCode(err) != api.CodeUnavailable {
		t.Errorf("%v", err)
	}
	held(t, f, map[byte][]uint16{})
	if !slices.Equal(k.mem.Owed, []tsn.MAC{sys(2)}) {
		t.Errorf("owed %v", k.mem.Owed)
	}

	k, f = newKeeper(t)
	ctx, cancel := context.WithCancel(t.Context())
	path, err := k.check(ctx, aStream(1))
	if err != nil {
		t.Fatal(err)
	}
	saved := 0
	k.save = func() error { saved++; return nil }
	f.peers[sys(2)].refuse["put"] = errLost
	k.peers = cancelAt{f, sys(2), cancel}
	if err := k.add(ctx, aStream(1), path); err == nil {
		t.Fatal("added")
	}
	held(t, f, map[byte][]uint16{})
	if saved < 2 {
		t.Errorf("saved %d times", saved)
	}
}

// cancelAt ends the caller's context when a system is first asked for.
type cancelAt struct {
	*fakeFabric
	at     tsn.MAC
	cancel func()
}

func (c cancelAt) Peer(ctx context.Context, s tsn.MAC) (api.Peer, error) {
	if s == c.at {
		c.cancel()
	}
	return c.fakeFabric.Peer(ctx, s)
}

// A full disk: what could not be promised is not asked for.
func TestKeeperDiskFull(t *testing.T) {
	k, f := newKeeper(t)
	mustAdmit(t, k, 1)
	f.took()
	f.disk = errors.New("no space left on device")
	if err := k.admit(t.Context(), aStream(2)); api.ErrorCode(err) != api.CodeInternal || !strings.Contains(err.Error(), "was not added: no space left") {
		t.Errorf("%v", err)
	}
	if err := k.remove(t.Context(), 0); api.ErrorCode(err) != api.CodeInternal || !strings.Contains(err.Error(), "was not removed: no space left") {
		t.Errorf("%v", err)
	}
	if log := f.took(); len(log) > 0 || len(k.mem.Owned) != 1 {
		t.Errorf("something changed: %q, %d owned", log, len(k.mem.Owned))
	}
}

// Make before break: the new systems take the stream, then the old lose it.
func TestKeeperReroute(t *testing.T) {
	k, f := newKeeper(t)
	mustAdmit(t, k, 1)
	f.took()
	if m := k.reroute(t.Context()); len(m) > 0 || len(f.took()) > 0 {
		t.Fatalf("moved for nothing: %v", m)
	}
	f.paths[station(2)] = hops(1, 4, 3)
	moves := k.reroute(t.Context())
	if len(moves) != 1 || moves[0].Err != nil || !slices.Equal(moves[0].From, hops(1, 2, 3)) || !slices.Equal(moves[0].To, hops(1, 4, 3)) {
		t.Errorf("%+v", moves)
	}
	if d := cmp.Diff([]string{"b1 holds 1", "b4 holds 1", "b3 holds 1", "b2 holds 0"}, f.took()); d != "" {
		t.Error(d)
	}
}

// A disk that is full does not stop a move: paths can be computed again.
func TestKeeperRerouteDiskFull(t *testing.T) {
	k, f := newKeeper(t)
	mustAdmit(t, k, 1)
	f.disk = errors.New("no space left on device")
	f.paths[station(2)] = hops(1, 4, 3)
	if m := k.reroute(t.Context()); len(m) != 1 || m[0].Err != nil {
		t.Errorf("%+v", m)
	}
	held(t, f, map[byte][]uint16{1: {1}, 3: {1}, 4: {1}})
}

// The new path refuses: the stream stands nowhere and says why, once; trying
// again touches nobody until all would take it.
func TestKeeperRerouteRefused(t *testing.T) {
	k, f := newKeeper(t)
	mustAdmit(t, k, 1)
	f.took()
	f.paths[station(2)] = hops(1, 4, 3)
	full := api.Refuse(tsn.FailureBandwidth, aStream(1).ID, api.PathHop{Node: "b3"}, "full")
	f.peers[sys(3)].refuse["put"], f.peers[sys(3)].refuse["dry"] = full, full
	m := k.reroute(t.Context())
	if len(m) != 1 || m[0].To != nil || k.mem.Owned[0].Failure != tsn.FailureBandwidth || !strings.Contains(k.mem.Owned[0].Reason, "full") {
		t.Fatalf("%+v %+v", m, k.mem.Owned[0])
	}
	want := []string{"b1 holds 1", "b4 holds 1", "b1 holds 0", "b2 holds 0", "b4 holds 0"}
	if d := cmp.Diff(want, f.took()); d != "" {
		t.Error(d)
	}
	saves := f.saves
	for range 3 {
		if m := k.reroute(t.Context()); len(m) > 0 || len(f.took()) > 0 || f.saves != saves {
			t.Fatalf("a retry that failed did something: %+v", m)
		}
	}
	f.peers[sys(3)].refuse = map[string]error{}
	if m := k.reroute(t.Context()); len(m) != 1 || m[0].Err != nil || k.mem.Owned[0].Reason != "" || k.mem.Owned[0].Failure != 0 {
		t.Errorf("%+v %+v", m, k.mem.Owned[0])
	}
	held(t, f, map[byte][]uint16{1: {1}, 3: {1}, 4: {1}})
}

// The fabric is cut: no path. It is whole again: the stream stands again.
func TestKeeperNoPath(t *testing.T) {
	k, f := newKeeper(t)
	mustAdmit(t, k, 1, 2)
	f.paths = map[tsn.MAC][]tsn.Hop{}
	if m := k.reroute(t.Context()); len(m) != 2 || m[0].Err == nil {
		t.Fatalf("%+v", m)
	}
	held(t, f, map[byte][]uint16{})
	f.paths[station(2)] = hops(1, 2, 3)
	if m := k.reroute(t.Context()); len(m) != 2 || m[1].Err != nil {
		t.Fatalf("%+v", m)
	}
	held(t, f, map[byte][]uint16{1: {1, 2}, 2: {1, 2}, 3: {1, 2}})
}

// A system that cannot be reached is owed its set, and gets it when it is back.
func TestKeeperResync(t *testing.T) {
	k, f := newKeeper(t)
	mustAdmit(t, k, 1, 2)
	f.peers[sys(2)].unknown = true
	if err := k.remove(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(k.mem.Owed, []tsn.MAC{sys(2)}) {
		t.Fatalf("owed %v", k.mem.Owed)
	}
	f.took()
	k.resync(t.Context(), false)
	if log := f.took(); len(log) > 0 || !slices.Equal(k.mem.Owed, []tsn.MAC{sys(2)}) {
		t.Errorf("%q, owed %v", log, k.mem.Owed)
	}
	f.peers[sys(2)].unknown = false
	k.resync(t.Context(), false)
	if d := cmp.Diff([]string{"b2 holds 1"}, f.took()); d != "" || len(k.mem.Owed) != 0 {
		t.Errorf("owed %v, %s", k.mem.Owed, d)
	}
	k.resync(t.Context(), true)
	if d := cmp.Diff([]string{"b1 holds 1", "b2 holds 1", "b3 holds 1"}, f.took()); d != "" {
		t.Error(d)
	}
}

// The daemon ends in the middle: streams are not lost over it.
func TestKeeperEnds(t *testing.T) {
	k, f := newKeeper(t)
	mustAdmit(t, k, 1)
	f.paths[station(2)] = hops(1, 4, 3)
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if m := k.reroute(gone); len(m) > 0 || !slices.Equal(k.mem.Owned[0].Path, hops(1, 2, 3)) {
		t.Errorf("%+v %+v", m, k.mem.Owned[0])
	}
	ctx, cancel := context.WithCancel(t.Context())
	k.peers = cancelAt{f, sys(4), cancel}
	if m := k.reroute(ctx); len(m) > 0 || !slices.Equal(k.mem.Owned[0].Path, hops(1, 2, 3)) || k.mem.Owned[0].Reason != "" {
		t.Errorf("%+v %+v", m, k.mem.Owned[0])
	}
	if !slices.Equal(k.mem.Owed, []tsn.MAC{sys(1), sys(4)}) {
		t.Errorf("owed %v", k.mem.Owed)
	}
}

// Each set has a generation above all that were sent before, in this run and
// in earlier ones, whatever the clock does.
func TestGenerations(t *testing.T) {
	k, f := newKeeper(t)
	last := k.mem.Generation
	for id := range uint16(3) {
		mustAdmit(t, k, id+1)
		for _, n := range []byte{1, 2, 3} {
			if g := f.peers[sys(n)].held["b1"].Generation; g <= last {
				t.Errorf("b%d got generation %d after %d", n, g, last)
			} else {
				last = g
			}
		}
	}
	now := time.Unix(1_800_000_000, 0)
	first := firstGeneration(0, now)
	if again := firstGeneration(first, now.Add(-time.Hour)); again <= first+1000 {
		t.Errorf("a clock that went back: %d after %d", again, first)
	}
	if g := firstGeneration(5, time.Unix(-1, 0)); g <= 5 || g > 1<<30 {
		t.Errorf("a clock before 1970: %d", g)
	}
}

// A stream that leaves one system by two ports holds both there.
func TestReservationsAt(t *testing.T) {
	o := ownedStream{Stream: aStream(1), Path: []tsn.Hop{{System: sys(1), Port: 3}, {System: sys(2), Port: 1}, {System: sys(1), Port: 2}}}
	want := []tsn.Reservation{{Stream: aStream(1), Ports: []tsn.Port{2, 3}}}
	if d := cmp.Diff(want, reservationsAt(sys(1), []ownedStream{o, {Stream: aStream(2)}})); d != "" {
		t.Error(d)
	}
}

// An end station finds the bridge that keeps a stream by its talker's name or
// address; what no bridge or two have is the gateway's to refuse.
func TestBridgeOf(t *testing.T) {
	mac := tsn.MAC{2, 0, 0, 1, 0, 2}
	nodes := []api.FabricNode{
		{Name: "b1", System: tsn.MAC{2, 0, 0, 0, 0, 1}, Stations: []api.Station{{Name: "A", MAC: tsn.MAC{2, 0, 0, 1, 0, 1}}, {Name: "twice"}}},
		{Name: "b2", System: tsn.MAC{2, 0, 0, 0, 0, 2}, Stations: []api.Station{{Name: "B", MAC: mac}, {Name: "twice"}}},
	}
	for station, want := range map[string]string{"A": "b1", "B": "b2", mac.String(): "b2", "b1": "b1", "C": "", "twice": "", "00:00:00:00:00:00": ""} {
		if got := bridgeOf(nodes, station); got != want {
			t.Errorf("%s is at %q, want %q", station, got, want)
		}
	}
}
