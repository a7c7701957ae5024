package dataplane

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	tsn "tsnswitch"
)

// What is planned for a bridge that others configure leaves their part alone.
func TestSharedBridge(t *testing.T) {
	group := tsn.MAC{0x91, 0xe0, 0xf0, 0, 0xfe, 1}
	other := tsn.MAC{0x91, 0xe0, 0xf0, 0, 0xfe, 9}
	flags := Flags{Learning: true, Flood: true, McastFlood: true, BcastFlood: true}
	untagged := tsn.PortVLAN{VID: 1, PVID: true, Untagged: true}
	have := func(aware bool, p1, p2 []tsn.PortVLAN, mdb ...GroupPort) State {
		return State{Bridge: &Bridge{
			Exists: true, Settings: BridgeSettings{Up: true, VLANFiltering: aware, McastSnooping: true, STP: true, DefaultPVID: 1},
			Self: []tsn.VID{1}, FDB: []tsn.FDBEntry{{MAC: tsn.MAC{2}, VID: 2, Port: 1}}, MDB: mdb,
			Ports: []BridgePort{{Port: 1, Enslaved: true, Flags: flags, VLANs: p1}, {Port: 2, Enslaved: true, Flags: flags, VLANs: p2}},
		}}
	}
	target := func(mdb ...GroupPort) *Target {
		wanted := []tsn.PortVLAN{{VID: 2}}
		return &Target{Shared: true, Owned: []tsn.VID{2, 7}, Classes: 5, State: State{Bridge: &Bridge{
			Exists: true, MDB: mdb,
			Ports: []BridgePort{{Port: 1, Enslaved: true, VLANs: wanted}, {Port: 2, Enslaved: true, VLANs: wanted}},
		}}}
	}
	outside := have(true, nil, []tsn.PortVLAN{{VID: 2}})
	outside.Bridge.Ports[0] = BridgePort{Port: 1}
	c := &Config{Bridge: "br0", Ports: []PortConfig{{Port: 1, Ifname: "p1"}, {Port: 2, Ifname: "p2"}}}
	for _, tc := range []struct {
		name   string
		have   State
		target *Target
		want   []string
	}{
		{
			"nothing to do", have(true, []tsn.PortVLAN{untagged, {VID: 2}}, []tsn.PortVLAN{{VID: 2, PVID: true, Untagged: true}}, GroupPort{group, 2, 2}, GroupPort{other, 5, 1}),
			target(GroupPort{group, 2, 2}), nil,
		},
		{
			"VLANs and entries", have(true, []tsn.PortVLAN{untagged, {VID: 7}, {VID: 9}}, []tsn.PortVLAN{{VID: 7, PVID: true}}, GroupPort{other, 2, 1}, GroupPort{other, 5, 1}),
			target(GroupPort{group, 2, 2}),
			[]string{
				"bridge mdb del dev br0 port p1 grp 91:e0:f0:00:fe:09 vid 2 permanent", "bridge vlan del vid 7 dev p1",
				"bridge vlan add vid 2 dev p1", "bridge vlan add vid 2 dev p2", "bridge mdb add dev br0 port p2 grp 91:e0:f0:00:fe:01 vid 2 permanent",
			},
		},
		{
			"a port that joins forwards as any other", outside,
			target(),
			[]string{
				"link set p1 master br0", "bridge link set dev p1 locked off learning on flood off mcast_flood off bcast_flood off",
				"bridge vlan add vid 2 dev p1", "bridge link set dev p1 locked off learning on flood on mcast_flood on bcast_flood on",
			},
		},
		{
			"one table for all VLANs", have(false, nil, nil, GroupPort{other, 0, 1}),
			target(GroupPort{group, 2, 1}, GroupPort{group, 2, 2}, GroupPort{group, 7, 2}),
			[]string{
				"bridge mdb del dev br0 port p1 grp 91:e0:f0:00:fe:09 vid 0 permanent", "bridge mdb add dev br0 port p1 grp 91:e0:f0:00:fe:01 vid 0 permanent",
				"bridge mdb add dev br0 port p2 grp 91:e0:f0:00:fe:01 vid 0 permanent",
			},
		},
	} {
		tc.have.Sort()
		tc.target.Sort()
		ops, refused := Plan(tc.have, tc.target)
		var got []string
		s := tc.have.Clone()
		for _, o := range ops {
			got = append(got, o.Text(c))
			o.Do(&s)
		}
		if d := cmp.Diff(tc.want, got); d != "" || len(refused) > 0 {
			t.Errorf("%s: %v (-want +got)\n%s", tc.name, refused, d)
		}
		if again, _ := Plan(s, tc.target); len(again) > 0 {
			t.Errorf("%s: then %s", tc.name, again[0].Text(c))
		}
		if !slices.Equal(s.Bridge.FDB, tc.have.Bridge.FDB) || s.Bridge.Settings != tc.have.Bridge.Settings {
			t.Errorf("%s: changed what is not ours", tc.name)
		}
	}
}
