package daemon

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tsnswitch"
	"tsnswitch/internal/dataplane"
)

// What concerns a port without interface is left out; an entry of several
// ports keeps the others, and the bridge's own stay.
func TestOnlyPorts(t *testing.T) {
	d := tsn.DesiredState{
		Egress: []tsn.PortEgress{{Port: 1}, {Port: 2}}, Priorities: []tsn.PriorityRules{{Port: 1}, {Port: 2}},
		Bridge: &tsn.BridgeState{
			OwnedVIDs: []tsn.VID{100}, Ports: []tsn.BridgePort{{Port: 1}, {Port: 2}},
			FDB: []tsn.FDBEntry{{MAC: sys(9)}, {MAC: sys(1), Port: 1}, {MAC: sys(2), Port: 2}},
			MDB: []tsn.MDBEntry{{VID: 100, Ports: []tsn.Port{0, 1, 2}}, {VID: 101, Ports: []tsn.Port{2}}},
		},
	}
	want := tsn.DesiredState{
		Egress: []tsn.PortEgress{{Port: 1}}, Priorities: []tsn.PriorityRules{{Port: 1}},
		Bridge: &tsn.BridgeState{
			OwnedVIDs: []tsn.VID{100}, Ports: []tsn.BridgePort{{Port: 1}},
			FDB: []tsn.FDBEntry{{MAC: sys(9)}, {MAC: sys(1), Port: 1}}, MDB: []tsn.MDBEntry{{VID: 100, Ports: []tsn.Port{0, 1}}},
		},
	}
	if diff := cmp.Diff(want, onlyPorts(d, []tsn.Port{1})); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(d, onlyPorts(d, []tsn.Port{1, 2})); diff != "" {
		t.Errorf("with all ports: %s", diff)
	}
	if onlyPorts(tsn.DesiredState{}, nil).Bridge != nil {
		t.Error("an end station got a bridge")
	}
}

func TestKernelWithoutInterfaces(t *testing.T) {
	c := dataplane.Config{Bridge: "br0", Ports: []dataplane.PortConfig{{Port: 1, Ifname: "absent1"}, {Port: 2, Ifname: "absent2"}}}
	if _, err := openKernel(c); err == nil || !strings.Contains(err.Error(), "none of the interfaces absent1, absent2 exists here") {
		t.Errorf("%v", err)
	}
	k := &kernel{all: c, exists: func() (map[string]bool, error) { return nil, errors.New("no netlink") }}
	if _, err := k.Read(); err == nil || k.Features() != nil || k.Writes() != 0 || k.Close() != nil {
		t.Errorf("%v", err)
	}
}
