package srptest

import (
	"fmt"
	"slices"
	"testing"

	"github.com/vishvananda/netlink"

	"tsnswitch"
	"tsnswitch/internal/avbstation"
	"tsnswitch/internal/kerneltest"
	"tsnswitch/srp/mrp"
)

// newHub makes a LAN of n ends without a bridge that knows MSRP: all hear all. The
// ends are in namespaces of their own, each named s0.
func newHub(t testing.TB, n int) (ends []*kerneltest.NetNS) {
	t.Helper()
	hub := kerneltest.NewNetNS(t)
	h := hub.Netlink()
	mask := uint16(1 << 0xe) // else it keeps the frames to MSRP's group to itself
	br := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "hub"}, GroupFwdMask: &mask}
	if err := h.LinkAdd(br); err != nil {
		t.Skipf("bridges are missing in this kernel: %v", err)
	}
	for i := range n {
		ns := kerneltest.NewNetNS(t)
		port := fmt.Sprintf("h%d", i+1)
		kerneltest.VethPair(t, 1, kerneltest.End{NS: hub, Name: port}, kerneltest.End{NS: ns, Name: "s0"})
		l, err := h.LinkByName(port)
		if err != nil {
			t.Fatal(err)
		}
		if err := h.LinkSetMaster(l, br); err != nil {
			t.Fatal(err)
		}
		ends = append(ends, ns)
	}
	if err := h.LinkSetUp(br); err != nil {
		t.Fatal(err)
	}
	return ends
}

// Three stations and a bridge on one LAN, and a station behind the bridge: what
// one of several declares stands when another takes it back (10.7.5.9: a Lv makes
// the others say so).
func TestSharedMedium(t *testing.T) {
	need(t)
	t.Parallel()
	ends := newHub(t, 4)
	behind := kerneltest.NewNetNS(t)
	kerneltest.VethPair(t, 1, kerneltest.End{NS: ends[3], Name: "b2"}, kerneltest.End{NS: behind, Name: "s0"})
	timers := mrp.ProAV()
	b := startBare(t, ends[3], bareConfig{timers: timers, shared: true}, "s0", "b2")
	shared := avbstation.StationConfig{Timers: timers, Shared: true, Domains: classAB}
	x, y, z := open(t, ends[0], "s0", shared), open(t, ends[1], "s0", shared), open(t, ends[2], "s0", shared)
	far := open(t, behind, "s0", shared)

	// A talker on the LAN: its neighbours hear it themselves, the far one through the bridge.
	near := stream(x, 1, 224)
	for _, s := range []*avbstation.Station{y, z, far} {
		s.Listen(near.StreamID)
	}
	x.Talk(near)
	until(t, far, "talker behind the bridge", func(v avbstation.Seen) bool { return v.Talkers[near.StreamID].AccumulatedLatency > 0 })
	until(t, z, "talker on the LAN", func(v avbstation.Seen) bool {
		got, ok := v.Talkers[near.StreamID]
		return ok && got.AccumulatedLatency == 0
	})
	until(t, x, "listeners", func(v avbstation.Seen) bool { return v.Listeners[near.StreamID] == mrp.ListenerReady })
	b.until(t, "an entry away from the LAN only", func() bool {
		return slices.Equal(b.group(2, near.DestinationAddress), []tsn.Port{2})
	})

	// A talker behind the bridge: the LAN keeps the stream until its last listener goes.
	away := stream(far, 7, 224)
	y.Listen(away.StreamID)
	z.Listen(away.StreamID)
	far.Talk(away)
	entry := func() bool { return slices.Equal(b.group(2, away.DestinationAddress), []tsn.Port{1}) }
	b.until(t, "an entry to the LAN", entry)
	until(t, far, "listeners on the LAN", func(v avbstation.Seen) bool { return v.Listeners[away.StreamID] == mrp.ListenerReady })
	kept := true
	y.Unlisten(away.StreamID)
	start := b.now()
	b.until(t, "the leave time and one more", func() bool {
		kept = kept && entry()
		return !kept || b.now().Sub(start) > timers.Leave*6/5
	})
	if !kept {
		t.Error("one listener left, and the other lost the stream")
	}
	z.Unlisten(away.StreamID)
	b.until(t, "nobody on the LAN", func() bool { return b.group(2, away.DestinationAddress) == nil })
	until(t, far, "no listener", func(v avbstation.Seen) bool { _, ok := v.Listeners[away.StreamID]; return !ok })
	if !slices.Equal(b.group(2, near.DestinationAddress), []tsn.Port{2}) {
		t.Error("the other stream has no entry any more")
	}
}
