package srptest

import (
	"slices"
	"testing"

	"tsnswitch"
	"tsnswitch/internal/avbstation"
	"tsnswitch/internal/kerneltest"
	"tsnswitch/srp/mrp"
)

// links connects each of n namespaces, s0 in each, to b1, b2 ... of one for the bridge.
func links(t testing.TB, n int) (bridge *kerneltest.NetNS, stations []*kerneltest.NetNS) {
	t.Helper()
	bridge = kerneltest.NewNetNS(t)
	for i := range n {
		s := kerneltest.NewNetNS(t)
		kerneltest.VethPair(t, 1, kerneltest.End{NS: bridge, Name: "b" + string(rune('1'+i))}, kerneltest.End{NS: s, Name: "s0"})
		stations = append(stations, s)
	}
	return bridge, stations
}

// A talker, two listeners and a VLAN on a bridge that is only cores: the Station
// says and hears what the other tests rely on.
func TestStation(t *testing.T) {
	need(t)
	t.Parallel()
	bridge, ns := links(t, 3)
	b := startBare(t, bridge, bareConfig{}, "b1", "b2", "b3")
	var s []*avbstation.Station
	for _, n := range ns {
		s = append(s, open(t, n, "s0", avbstation.StationConfig{Domains: classAB}))
	}
	talker := stream(s[0], 1, 224)
	s[1].Listen(talker.StreamID)
	s[2].Listen(talker.StreamID)
	s[0].Talk(talker)
	until(t, s[0], "listeners ready", func(v avbstation.Seen) bool { return v.Listeners[talker.StreamID] == mrp.ListenerReady })
	until(t, s[1], "talker, later", func(v avbstation.Seen) bool {
		return v.Talkers[talker.StreamID].AccumulatedLatency > 0 && len(v.Domains) == 2
	})
	b.until(t, "entry on both ports", func() bool {
		return slices.Equal(b.group(2, talker.DestinationAddress), []tsn.Port{2, 3})
	})

	// Too large for the rest of 75 Mbit/s: failed, by this bridge.
	big := stream(s[0], 2, 1100)
	s[1].Listen(big.StreamID)
	s[0].Talk(big)
	until(t, s[1], "no bandwidth", func(v avbstation.Seen) bool {
		got := v.Talkers[big.StreamID]
		return got.Failed && short(got.FailureCode) && got.BridgeID.System() == tsn.MAC{2, 0, 0, 0, 0xb, 1}
	})
	until(t, s[0], "asking failed", func(v avbstation.Seen) bool { return v.Listeners[big.StreamID] == mrp.ListenerAskingFailed })

	s[1].Unlisten(talker.StreamID)
	b.until(t, "entry on one port", func() bool {
		return slices.Equal(b.group(2, talker.DestinationAddress), []tsn.Port{3})
	})
	s[0].Quiet(talker.StreamID)
	until(t, s[2], "talker gone", func(v avbstation.Seen) bool { _, ok := v.Talkers[talker.StreamID]; return !ok })
	b.until(t, "no entry", func() bool { return b.group(2, talker.DestinationAddress) == nil })

	s[0].JoinVLAN(2)
	until(t, s[2], "VLAN", func(v avbstation.Seen) bool { return v.VLANs[2] })
	s[0].LeaveVLAN(2)
	until(t, s[2], "VLAN gone", func(v avbstation.Seen) bool { return !v.VLANs[2] })
}
