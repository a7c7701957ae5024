package main

import (
	"testing"

	"tsnswitch"
	"tsnswitch/internal/srptest"
	"tsnswitch/srp/mrp"
)

// Each protocol has its own switch, on plain interfaces and on a bridge.
func TestSRPProtocols(t *testing.T) {
	group := tsn.MAC{0x91, 0xe0, 0xf0, 0, 0x0e, 0x80}
	for _, bridge := range []string{"", "bridge: {name: sw0, create: true}\n"} {
		for name, on := range map[string][3]bool{"msrp": {true, false, false}, "mvrp": {false, true, false}, "mmrp": {false, false, true}} {
			t.Run(name, func(t *testing.T) {
				s := newSRPOnly(t, bridge+"srp: {"+name+": true}", nil)
				w := s.wish(1, 224, 1)
				s.stations[0].Talk(w)
				s.stations[0].JoinVLAN(5)
				s.stations[0].JoinGroup(group)
				passed := func(n srptest.Seen) [3]bool {
					_, talker := n.Talkers[w.StreamID]
					return [3]bool{talker, n.VLANs[5], n.Groups[group]}
				}
				s.until(1, "what the first declares", func(n srptest.Seen) bool { return passed(n) == on })
				if got := s.stations[1].Seen(); on[0] != got.Domains[mrp.Domain{ClassID: 6, Priority: 3, VID: 2}] {
					t.Errorf("domains %v", got.Domains)
				}
			})
		}
	}
}
