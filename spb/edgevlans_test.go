package spb

import (
	"slices"
	"testing"

	tsn "tsnswitch"
)

// An edge port is in the VLANs that are registered there on top of those of its
// configuration; a station seen in one of the fabric's is reached from everywhere,
// and no longer when the registration is over.
func TestEdgeVLANs(t *testing.T) {
	l := learnLab(t, 2, func(_ int, c *Config) {
		c.Ports[1].Tagged, c.Ports[1].PVID = []tsn.VID{vidA}, vidA
	})
	vids := func() (out []tsn.VID) {
		for _, v := range l.nodes[1].bridgePort(emptyPort).VLANs {
			out = append(out, v.VID)
		}
		return out
	}
	l.step(1, StationSeen{MAC: hostMAC(1), VID: vidB, Port: emptyPort})
	l.run(second)
	if got := vids(); !slices.Equal(got, []tsn.VID{vidA}) || l.nodes[0].fdbPort(vidB, hostMAC(1)) != 0 {
		t.Errorf("before: VLANs %v", got)
	}
	local := vidB + 1000
	l.step(1, SetEdgeVLANs{[]EdgeVLANs{{emptyPort, []tsn.VID{vidA, vidB, local}}, {77, []tsn.VID{vidB}}}})
	l.run(second)
	if got := vids(); !slices.Equal(got, []tsn.VID{vidA, vidB, local}) {
		t.Errorf("registered: VLANs %v", got)
	}
	if !l.nodes[1].CarriesVID(emptyPort, vidB) || l.nodes[0].fdbPort(vidB, hostMAC(1)) == 0 {
		t.Error("the station is not reached in the VLAN")
	}
	pvid := slices.ContainsFunc(l.nodes[1].bridgePort(emptyPort).VLANs, func(v tsn.PortVLAN) bool { return v.VID == vidA && v.PVID })
	if !pvid {
		t.Error("the port has lost its PVID")
	}
	l.step(1, SetEdgeVLANs{})
	l.run(second)
	if got := vids(); !slices.Equal(got, []tsn.VID{vidA}) || l.nodes[0].fdbPort(vidB, hostMAC(1)) != 0 {
		t.Errorf("after: VLANs %v", got)
	}
}
