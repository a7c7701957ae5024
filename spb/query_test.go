package spb

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	tsn "tsnswitch"
)

func ring4(t *testing.T) *lab {
	l := newLab(t, 4, ring(4), func(k int, c *Config) {
		c.ManagementAddresses = []netip.Addr{netip.AddrFrom4([4]byte{10, 0, 0, byte(k + 1)}), netip.MustParseAddr("fd00::1")}
		c.EndStations[0].ManagementAddress = netip.AddrFrom4([4]byte{10, 0, 1, byte(k + 1)})
	})
	l.allUp()
	l.run(second)
	return l
}

// Any node resolves any station and bridge by name, and knows where it is.
func TestNames(t *testing.T) {
	l := ring4(t)
	n := l.nodes[3]
	if m, err := n.Resolve("h2"); err != nil || m != stationMAC(1) {
		t.Errorf("h2: %v %v", m, err)
	}
	if m, err := n.Resolve("b2"); err != nil || m != nodeMAC(1) {
		t.Errorf("b2: %v %v", m, err)
	}
	if m, err := n.Resolve("02:00:00:00:00:07"); err != nil || m[5] != 7 {
		t.Errorf("address: %v %v", m, err)
	}
	if _, err := n.Resolve("nobody"); err == nil {
		t.Error("nobody is somebody")
	}
	s := n.Stations()
	if len(s) != 4 || s[1].Name != "h2" || s[1].Bridge != nodeMAC(1) || s[1].Port != edgePort || s[1].ManagementAddress.String() != "10.0.1.2" || !s[1].Reachable {
		t.Errorf("%+v", s)
	}
	if d := n.Nodes()[1]; d.HostName != "b2" || len(d.Addresses) != 2 || d.Addresses[1].String() != "fd00::1" || len(d.Links) != 2 || d.BridgeID != "8000.020000000002" {
		t.Errorf("%+v", d)
	}
}

// Across the ring both ways are equal: algorithm 1 goes by the lower BridgeID,
// algorithm 2 (mask ff) by the higher one.
func TestPathTreeWhy(t *testing.T) {
	l := ring4(t)
	n := l.nodes[0]
	for vid, via := range map[tsn.VID]int{vidA: 1, vidB: 3} {
		path, err := n.Path(vid, stationMAC(0), stationMAC(2))
		if err != nil || len(path) != 3 || path[0].System != nodeMAC(0) || path[1].System != nodeMAC(via) || path[2] != (tsn.Hop{System: nodeMAC(2), Port: edgePort}) {
			t.Errorf("vid %d: %v %v", vid, path, err)
		}
		tree, err := n.Tree(vid, stationMAC(0))
		if err != nil || len(tree) != 4 || tree[2].Parent != nodeMAC(via) || !tree[0].Parent.IsZero() || len(tree[0].Ports) != 2 || tree[2].Cost != 40000 {
			t.Errorf("vid %d: %+v %v", vid, tree, err)
		}
		why, err := n.Why(vid, nodeMAC(0), stationMAC(2), 0)
		if err != nil || len(why.Paths) != 2 || !why.Paths[0].Chosen || why.Paths[0].Bridges[1] != nodeMAC(via) || !strings.Contains(why.Text, "wins") {
			t.Errorf("vid %d: %+v %v", vid, why, err)
		}
	}
	if why, err := n.Why(vidA, nodeMAC(0), nodeMAC(2), 2); err != nil || why.Paths[0].Bridges[1] != nodeMAC(3) || why.Mask != "ff" {
		t.Errorf("%+v %v", why, err)
	}
	for _, c := range []struct {
		vid      tsn.VID
		from, to tsn.MAC
		want     string
	}{
		{7, stationMAC(0), stationMAC(1), "not a base VID"},
		{vidA, stationMAC(0), stationMAC(0), "the same"},
		{vidA, stationMAC(0), stationMAC(9), "neither a bridge nor an end station"},
	} {
		if _, err := n.Path(c.vid, c.from, c.to); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, want %q", err, c.want)
		}
	}
	if hops, err := n.Path(vidA, stationMAC(0), nodeMAC(0)); err != nil || len(hops) != 0 {
		t.Errorf("to the own bridge: %v %v", hops, err)
	}
}

// All answers print as JSON without losing anything a person needs.
func TestQueriesAsJSON(t *testing.T) {
	n := ring4(t).nodes[0]
	why, _ := n.Why(vidA, nodeMAC(0), nodeMAC(2), 0)
	tree, _ := n.Tree(vidA, nodeMAC(0))
	b, err := json.Marshal([]any{n.Neighbours(), n.Database(), n.Nodes(), n.Stations(), n.Status(), n.Counters(), why, tree})
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(b), "null") {
		t.Errorf("a list is null in\n%s", b)
	}
	for _, want := range []string{
		`"state":"Up"`, `"hostName":"b3"`, `"id":"0200.0000.0003.00-00"`, `spb-inst priority 8000`, `"managementAddress":"10.0.1.4"`,
		`"adjacencies":2`, `"nodesReached":4`, `"malformed":0`, `"parentPort":`, `"pathId":["8000.020000000002"]`,
	} {
		if !strings.Contains(string(b), want) {
			t.Errorf("no %s in\n%s", want, b)
		}
	}
}

// Two bridges claim one address: the lower BridgeID has it, everywhere, and
// the fabric says so.
func TestDuplicateStation(t *testing.T) {
	l := newLab(t, 3, line(3), func(k int, c *Config) {
		if k == 2 {
			c.EndStations = []EndStation{{MAC: stationMAC(0), Port: edgePort}}
		}
	})
	l.allUp()
	l.run(second)
	if hops := l.unicast(vidA, 1, stationMAC(1), stationMAC(0)); len(hops) != 2 || hops[1].System != nodeMAC(0) {
		t.Errorf("%v", hops)
	}
	if p := l.nodes[2].fdbPort(vidA, stationMAC(0)); p == edgePort {
		t.Error("the loser forwards to its own port")
	}
	if !strings.Contains(strings.Join(l.log, "\n"), NoticeDuplicateStation) {
		t.Error("nobody said so")
	}
}

func TestEdgePortOptions(t *testing.T) {
	p := newPeer(t, func(c *Config) {
		c.Ports[2].PVID, c.Ports[2].Untagged, c.Ports[2].Locked = 10, true, true
		c.Ports = append(c.Ports, PortConfig{Port: 50, PVID: vidA, Untagged: true})
	})
	want := "  port 1 fabric locked vid 100\n  port 2 fabric locked vid 100\n" +
		"  port 50 edge mcast_flood bcast_flood vid 100 pvid untagged\n" +
		"  port 100 edge locked mcast_flood bcast_flood vid 10 pvid untagged vid 100\n"
	if got := stateText(p.inst.top.wanted); got != want {
		t.Errorf("\n%s, want\n%s", got, want)
	}
}

// A station is advertised, and has an entry, only in the VLANs of its port.
func TestEdgePortVLANs(t *testing.T) {
	for _, c := range []struct {
		tagged []tsn.VID
		vlans  string
		fdb    int
	}{
		{nil, "vid 100 vid 200", 2},
		{[]tsn.VID{200}, "vid 200", 1},
		{[]tsn.VID{}, "", 0},
	} {
		station := tsn.MAC{2, 0, 0, 0, 9, 9}
		p := newPeer(t, func(cfg *Config) {
			cfg.BaseVIDs = []BaseVID{{vidA, 1}, {vidB, 2}}
			cfg.Ports = append(cfg.Ports, PortConfig{Port: 50, Tagged: c.tagged})
			cfg.EndStations = []EndStation{{MAC: station, Port: 50}}
		})
		fdb, vlans := 0, ""
		for _, e := range p.inst.top.wanted.FDB {
			if e.MAC == station {
				fdb++
			}
		}
		for _, b := range p.inst.top.wanted.Ports {
			if b.Port == 50 {
				for _, v := range b.VLANs {
					vlans += fmt.Sprintf(" vid %d", v.VID)
				}
			}
		}
		if strings.TrimSpace(vlans) != c.vlans || fdb != c.fdb {
			t.Errorf("tagged %v: port in%s, %d entries; want %s, %d", c.tagged, vlans, fdb, c.vlans, c.fdb)
		}
	}
}

func TestConfigErrors(t *testing.T) {
	for want, change := range map[string]func(*Config){
		"system id":         func(c *Config) { c.SystemID = tsn.MAC{1} },
		"base VIDs":         func(c *Config) { c.BaseVIDs = nil },
		"given twice":       func(c *Config) { c.BaseVIDs = []BaseVID{{5, 1}, {5, 2}} },
		"ECT algorithm 17":  func(c *Config) { c.BaseVIDs[0].Algorithm = 17 },
		"role end-station":  func(c *Config) { c.Ports[0].Role = tsn.RoleEndStation },
		"has no PVID":       func(c *Config) { c.Ports[0].PVID = 5 },
		"metric":            func(c *Config) { c.Ports[0].Metric = 1 << 24 },
		"port 1: given":     func(c *Config) { c.Ports[1].Port = 1 },
		"not an edge port":  func(c *Config) { c.EndStations = []EndStation{{MAC: stationMAC(1), Port: 1}} },
		"hello interval":    func(c *Config) { c.HelloInterval = 1 },
		"refresh interval":  func(c *Config) { c.RefreshInterval = 1200 * second },
		"host name":         func(c *Config) { c.HostName = strings.Repeat("x", 65) },
		"bridge's own addr": func(c *Config) { c.EndStations = []EndStation{{MAC: nodeMAC(0), Port: edgePort}} },
	} {
		c := peerConfig()
		change(&c)
		if _, err := New(c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// A list of end stations that does not validate changes nothing.
func TestSetEndStationsRefused(t *testing.T) {
	p := newPeer(t, nil).up()
	p.wait(second)
	digest := p.inst.DatabaseDigest()
	p.step(SetEndStations{Stations: []EndStation{{MAC: stationMAC(1), Port: edgePort}, {MAC: stationMAC(1), Port: edgePort}}})
	if len(p.notices) != 1 || p.notices[0].Kind != NoticeBadEndStations || p.inst.DatabaseDigest() != digest {
		t.Errorf("%+v", p.notices)
	}
}

// A refresh is no change: no new Forwarding, no TopologyChanged.
func TestRefreshIsQuiet(t *testing.T) {
	p := newPeer(t, nil).up()
	p.receive(1, p.lsp(5, 3, "b6"))
	p.wait(second)
	runs := p.inst.Counters().SPFRuns
	p.receive(1, p.lsp(5, 4, "b6"))
	p.wait(second)
	if n := p.inst.Counters().SPFRuns; n != runs {
		t.Errorf("%d SPF runs for a refresh", n-runs)
	}
}
