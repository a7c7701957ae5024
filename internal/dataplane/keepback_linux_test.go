package dataplane_test

import (
	"slices"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	tsn "tsnswitch"
	"tsnswitch/internal/dataplane"
	"tsnswitch/internal/kerneltest"
)

var (
	mvrpGroup = tsn.MAC{1, 0x80, 0xc2, 0, 0, 0x21}
	mmrpGroup = tsn.MAC{1, 0x80, 0xc2, 0, 0, 0x20}
	ownGroup  = tsn.MAC{0x91, 0xe0, 0xf0, 0, 0, 1}
	kept      = []tsn.ControlFrames{{Group: mmrpGroup}, {Group: mvrpGroup}, {Group: ownGroup, EtherType: etherType}}
)

// mrpFrames sends frames of each kind, 1 to 5, and 9 which is of none.
func mrpFrames(t *testing.T, fd int) {
	t.Helper()
	other := frame(ownGroup, macA, 0, 0, 5)
	other[13]++ // another type: receive does not count it, but the tap's reader may
	send(t, fd, frame(mvrpGroup, macA, 0, 0, 1), frame(mmrpGroup, macA, 0, 0, 2), frame(mvrpGroup, macA, 10, 0, 3),
		frame(ownGroup, macA, 0, 0, 4), other, frame(tsn.Broadcast, macA, 0, 0, 9))
}

// Frames of MRP applications reach another port of the bridge while nobody asks to
// keep them back, and none does after that; a socket on their port sees all of them.
// With that state another daemon finds nothing to do, and it is undone again.
func testKeepBack(t *testing.T) {
	l := newLab(t)
	k := open(t, l.sw, realConfig())
	d := fabricState()
	v := []tsn.PortVLAN{{VID: 10, PVID: true, Untagged: true}}
	for i := range d.Bridge.Ports {
		d.Bridge.Ports[i] = tsn.BridgePort{Port: ports[i], Flood: true, McastFlood: true, BcastFlood: true, VLANs: v}
	}
	d.Bridge.FDB, d.Bridge.MDB = nil, nil
	set(t, k, d)
	a, c, tap := socket(t, l.host[0], "h0"), socket(t, l.host[2], "h0"), socketOf(t, l.sw, "p1", unix.ETH_P_ALL)
	try := func(want ...byte) {
		t.Helper()
		mrpFrames(t, a)
		got := receive(t, c, 9)
		// A group that has lost its last member is taken down a little later.
		for range 200 {
			if slices.Equal(got, want) || len(got) > len(want) {
				break
			}
			receive(t, tap, 9)
			mrpFrames(t, a)
			got = receive(t, c, 9)
		}
		if !slices.Equal(got, want) {
			t.Errorf("the other port got %v, want %v", got, want)
		}
		if got := receive(t, tap, 9); !slices.Equal(got, []byte{1, 2, 3, 4, 9}) {
			t.Errorf("the port's socket got %v, want all", got)
		}
	}
	try(1, 2, 3, 4, 9)
	d.Bridge.KeptBack = kept
	set(t, k, d)
	try(9)
	again := open(t, l.sw, realConfig())
	set(t, again, d)
	if again.Writes() != 0 {
		t.Errorf("adoption wrote %d times", again.Writes())
	}
	// What somebody else has put in its place is replaced.
	h := l.sw.Netlink()
	p1, err := h.LinkByName("p1")
	if err != nil {
		t.Fatal(err)
	}
	drop := &netlink.MatchAll{FilterAttrs: netlink.FilterAttrs{LinkIndex: p1.Attrs().Index, Parent: netlink.HANDLE_MIN_INGRESS, Priority: 0x7400, Protocol: unix.ETH_P_ALL}}
	if err := h.FilterDel(&netlink.BpfFilter{FilterAttrs: drop.FilterAttrs}); err != nil {
		t.Fatal(err)
	}
	if err := h.FilterAdd(drop); err != nil {
		t.Fatal(err)
	}
	k.Forget()
	if r := set(t, k, d); len(r.Applied) != 2 {
		t.Errorf("after somebody else's filter: %v", r.Applied)
	}
	try(9)
	d.Bridge.KeptBack = nil
	set(t, k, d)
	try(1, 2, 3, 4, 9)
}

// The filter works on a bridge that knows no VLANs, and on a kernel with next to
// no classifiers: this one.
func TestKeepBackAlone(t *testing.T) {
	kerneltest.Run(t, kerneltest.Needs{}, func(t *testing.T) {
		l := newLab(t)
		h := l.sw.Netlink()
		br := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "br0"}}
		if err := h.LinkAdd(br); err != nil {
			t.Fatal(err)
		}
		if err := h.LinkSetUp(br); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"p1", "p2", "p3"} {
			p, err := h.LinkByName(name)
			if err != nil {
				t.Fatal(err)
			}
			if err := h.LinkSetMaster(p, br); err != nil {
				t.Fatal(err)
			}
		}
		a, c, tap := socket(t, l.host[0], "h0"), socket(t, l.host[2], "h0"), socketOf(t, l.sw, "p1", unix.ETH_P_ALL)
		send(t, a, frame(tsn.Broadcast, macA, 0, 0, 8)) // the port forwards
		receive(t, c, 8)
		receive(t, tap, 8)
		for _, round := range []struct {
			frames []tsn.ControlFrames
			want   []byte
		}{{nil, []byte{1, 2, 3, 4, 9}}, {kept, []byte{9}}, {kept[:1], []byte{1, 3, 4, 9}}, {nil, []byte{1, 2, 3, 4, 9}}} {
			l.sw.Do(func() {
				if err := dataplane.KeepBackOn("p1", round.frames); err != nil {
					t.Fatal(err)
				}
			})
			mrpFrames(t, a)
			if got := receive(t, c, 9); !slices.Equal(got, round.want) {
				t.Errorf("with %v the other port got %v, want %v", round.frames, got, round.want)
			}
			if got := receive(t, tap, 9); !slices.Equal(got, []byte{1, 2, 3, 4, 9}) {
				t.Errorf("the port's socket got %v, want all", got)
			}
		}
	})
}
