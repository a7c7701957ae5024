package spb

import (
	"testing"

	tsn "tsnswitch"
)

// Without the ingress check on a port nothing but the neighbour's word keeps
// frames out that it forwards by entries of an earlier life. Until it has said (V)
// that its kernel holds only what stands, the port is in no VLAN and no entry
// leads to it, although the adjacency is up.
func TestLinkWaitsForTheNeighboursKernel(t *testing.T) {
	l := newLab(t, 2, line(2), nil)
	l.nodes[1].kernelErr = "busy"
	l.run(millisecond)
	l.start(1)
	l.step(0, SetUnlocked{Ports: []tsn.Port{1}})
	l.allUp()
	open := func() bool {
		n := l.nodes[0]
		members := len(n.bridgePort(1).VLANs) > 0
		if !members && n.fdbPort(vidA, nodeMAC(1)) != tsn.NoPort {
			t.Error("an entry leads to a port that is in no VLAN")
		}
		return members
	}
	l.run(3 * second)
	if n := l.nodes[0].Neighbours()[0]; n.State != "Up" || open() {
		t.Fatalf("open with a neighbour whose kernel is not known to have followed (%s)", n.State)
	}
	l.nodes[1].kernelErr = ""
	h := l.nodes[1].history
	l.step(1, Applied{Generation: h[len(h)-1].Generation})
	l.run(3 * second)
	if !open() {
		t.Error("not open although the neighbour's kernel has followed")
	}
	l.nodes[1].kernelErr = "busy"
	l.setLink(0, false)
	l.setLink(0, true)
	l.run(100 * millisecond)
	if open() {
		t.Error("open at once when the link came back")
	}
}
