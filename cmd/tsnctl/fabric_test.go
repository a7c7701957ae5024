package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"tsnswitch"
	"tsnswitch/internal/api"
	"tsnswitch/internal/config"
)

// randomNetwork is a connected network of bridges with a host at each.
func randomNetwork(t *rapid.T) *config.Network {
	n := rapid.IntRange(2, 8).Draw(t, "bridges")
	var nodes, links strings.Builder
	for i := range n {
		fmt.Fprintf(&nodes, "  - {name: b%d}\n  - {name: h%d, kind: host}\n", i, i)
		fmt.Fprintf(&links, "  - {a: b%d, b: h%d}\n", i, i)
		if i > 0 {
			fmt.Fprintf(&links, "  - {a: b%d, b: b%d, metric: %d}\n", i, rapid.IntRange(0, i-1).Draw(t, "to"), rapid.IntRange(1, 3).Draw(t, "metric"))
		}
	}
	for range rapid.IntRange(0, n).Draw(t, "more") {
		a := rapid.IntRange(0, n-1).Draw(t, "a")
		b := (a + rapid.IntRange(1, n-1).Draw(t, "b")) % n
		fmt.Fprintf(&links, "  - {a: b%d, b: b%d, metric: %d}\n", a, b, rapid.IntRange(1, 3).Draw(t, "metric"))
	}
	net, err := config.ParseNetwork("n", []byte("nodes:\n"+nodes.String()+"links:\n"+links.String()))
	if err != nil {
		t.Fatal(err)
	}
	return net
}

// distances is the oracle: Floyd and Warshall over the bridges.
func distances(net *config.Network) map[[2]string]uint64 {
	const far = 1 << 40
	d := map[[2]string]uint64{}
	for _, a := range net.Nodes {
		for _, b := range net.Nodes {
			d[[2]string{a.Name, b.Name}] = far
		}
		d[[2]string{a.Name, a.Name}] = 0
	}
	for _, l := range net.Links {
		cost := uint64(l.Metric)
		if net.Node(l.B.Node).Kind == config.KindHost {
			cost = 0
		}
		for _, k := range [][2]string{{l.A.Node, l.B.Node}, {l.B.Node, l.A.Node}} {
			d[k] = min(d[k], cost)
		}
	}
	for _, k := range net.Nodes {
		for _, a := range net.Nodes {
			for _, b := range net.Nodes {
				ab := [2]string{a.Name, b.Name}
				d[ab] = min(d[ab], d[[2]string{a.Name, k.Name}]+d[[2]string{k.Name, b.Name}])
			}
		}
	}
	return d
}

// Paths offline are shortest and, systems in order, the same there and back
// (802.1aq: congruence and symmetry).
func TestOfflinePaths(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		net := randomNetwork(t)
		f, err := newFabric(net)
		if err != nil {
			t.Fatal(err)
		}
		paths, err := f.paths(api.PathQuery{})
		if err != nil {
			t.Fatal(err)
		}
		want := distances(net)
		systems := map[[2]string][]tsn.MAC{}
		for _, p := range paths {
			if p.Cost != want[[2]string{p.From, p.To}] {
				t.Fatalf("%s to %s costs %d, %d is possible", p.From, p.To, p.Cost, want[[2]string{p.From, p.To}])
			}
			for _, h := range p.Hops[1:] {
				systems[[2]string{p.From, p.To}] = append(systems[[2]string{p.From, p.To}], h.System)
			}
		}
		for k, there := range systems {
			back := slices.Clone(systems[[2]string{k[1], k[0]}])
			slices.Reverse(back)
			if !slices.Equal(there, back) {
				t.Fatalf("%v: %v there, %v back", k, there, back)
			}
		}
	})
}

// A network file's streams are planned on the paths its bridges choose, each
// from the talker's port on.
func TestPathRoutes(t *testing.T) {
	for _, name := range []string{"ring4", "line3"} {
		net, err := config.LoadNetwork("../../lab/" + name + ".yaml")
		if err != nil {
			t.Fatal(err)
		}
		f, err := newFabric(net)
		if err != nil {
			t.Fatal(err)
		}
		p, err := net.ScheduleProblem()
		if err == nil {
			err = f.pathRoutes(p)
		}
		if err != nil || len(p.Streams) != 2 {
			t.Fatalf("%d streams, %v", len(p.Streams), err)
		}
		for _, s := range p.Streams {
			hops, err := f.path(net.TSNStreams()[s.ID].VID, net.Streams[s.ID].From, net.Streams[s.ID].To[0])
			if err != nil || len(s.Routes) != 1 || len(s.Routes[0]) != len(hops) || p.Links[s.Routes[0][0]].From != s.Talker {
				t.Errorf("%s: %v for %v, %v", s.Name, s.Routes, hops, err)
			}
		}
	}
}
