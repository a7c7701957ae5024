package spbsim

import (
	"strings"
	"testing"

	"tsnswitch"
	"tsnswitch/internal/dataplane"
	"tsnswitch/internal/dataplane/fake"
	"tsnswitch/spb"
)

// ringOf builds a settled ring of three bridges.
func ringOf(t *testing.T, board fake.Board) *Network {
	t.Helper()
	n := NewNetwork(1, []tsn.VID{100})
	for k := range byte(3) {
		n.AddNode(spb.Config{
			SystemID: tsn.MAC{2, 0, 0, 0, 0, k + 1}, BaseVIDs: []spb.BaseVID{{VID: 100, Algorithm: 1}},
			Ports:       []spb.PortConfig{{Port: stationPort}, {Port: emptyPort}},
			EndStations: []spb.EndStation{{MAC: tsn.MAC{2, 0xee, 0, 0, 0, k + 1}, Port: stationPort}},
		}, board)
	}
	for k := range 3 {
		n.Connect(n.Nodes[k], n.Nodes[(k+1)%3], 10*microsecond, 10, 10)
	}
	n.Watch(Promise{Unicast: true})
	for _, d := range n.Nodes {
		n.PowerOn(d)
	}
	for _, l := range n.Links {
		n.SetLink(l, true)
	}
	n.Run(tsn.Instant(5 * second))
	if err := n.Settled(); err != nil || len(n.Violations()) > 0 {
		t.Fatal(err, n.Violations())
	}
	return n
}

// next is the port of node k of the ring towards node k+1.
func (n *Network) next(k int) tsn.Port { return n.Links[k].A.Port }

func (n *Network) spoil(t *testing.T, k int, op dataplane.Op) {
	t.Helper()
	if err := n.write(n.Nodes[k], op); err != nil {
		t.Fatal(err)
	}
	n.kernelChanged(n.Nodes[k], op)
}

func (n *Network) mustSee(t *testing.T, what string) {
	t.Helper()
	for _, v := range n.Violations() {
		if strings.Contains(v.What, what) {
			return
		}
	}
	t.Errorf("nobody saw %q: %v", what, n.Violations())
}

// TestCheckerSees: wrong entries in kernels are found as what they are.
func TestCheckerSees(t *testing.T) {
	station := func(k byte) tsn.MAC { return tsn.MAC{2, 0xee, 0, 0, 0, k} }
	t.Run("a unicast loop", func(t *testing.T) {
		n := ringOf(t, fake.Felix)
		stray := tsn.MAC{2, 0xee, 0, 0, 0, 3}
		for k := range 3 {
			n.spoil(t, k, dataplane.SetFDB{Entry: tsn.FDBEntry{MAC: stray, VID: 100, Port: n.next(k)}})
		}
		n.mustSee(t, "02:ee:00:00:00:03: loop b")
	})
	t.Run("an ingress check that stops it", func(t *testing.T) {
		n := ringOf(t, fake.Software)
		for k := range 3 {
			n.spoil(t, k, dataplane.SetFDB{Entry: tsn.FDBEntry{MAC: station(3), VID: 100, Port: n.next(k)}})
		}
		for _, v := range n.Violations() {
			if strings.Contains(v.What, "to 02:ee:00:00:00:03: loop") {
				t.Errorf("frames to it would be discarded, yet: %v", v)
			}
		}
	})
	t.Run("a broadcast loop", func(t *testing.T) {
		n := ringOf(t, fake.Software)
		for k := range 3 { // taken from the one before: ports towards it
			n.spoil(t, (k+1)%3, dataplane.SetFDB{Entry: tsn.FDBEntry{MAC: station(1), VID: 100, Port: n.Links[k].B.Port}})
		}
		n.mustSee(t, "02:ee:00:00:00:01 to ff:ff:ff:ff:ff:ff: loop b")
	})
	t.Run("a second copy", func(t *testing.T) {
		n := ringOf(t, fake.Software)
		flags := dataplane.Flags{McastFlood: true, BcastFlood: true}
		for p := firstFabric; p < firstFabric+2; p++ { // b3 takes what comes
			n.spoil(t, 2, dataplane.SetFlags{Port: p, Flags: flags})
		}
		n.mustSee(t, "2 copies at b3")
	})
	t.Run("a group entry that closes a ring", func(t *testing.T) {
		n := ringOf(t, fake.Felix)
		group := tsn.MAC{0x91, 0xe0, 0xf0, 0, 0, 1}
		n.AddStream(Stream{VID: 100, Group: group, Talker: station(1)})
		for k := range 3 {
			n.spoil(t, k, dataplane.AddMDB{Entry: dataplane.GroupPort{Group: group, VID: 100, Port: n.next(k)}})
		}
		n.mustSee(t, "to 91:e0:f0:00:00:01: loop b")
	})
	t.Run("a frame that comes twice", func(t *testing.T) {
		n := ringOf(t, fake.Software)
		n.SendProbes(second)
		n.frames.send(flow{src: n.index[station(1)], dst: -1, group: tsn.Broadcast})
		n.Run(n.now.Add(15 * microsecond)) // it is between b2 and b3
		n.checker.violations = nil
		in := n.Links[1].B.Port
		n.spoil(t, 2, dataplane.SetFDB{Entry: tsn.FDBEntry{MAC: station(1), VID: 100, Port: in}})
		n.Run(n.now.Add(millisecond))
		n.mustSee(t, "reached b3:1 twice")
	})
}
