package erlang_test

import (
	"flag"
	"fmt"
	"strings"
	"testing"
	"time"

	"tsnswitch/distlink/beamtest"
)

var (
	meshed = flag.Int("mesh", 5, "how many nodes TestMesh connects with each other")
	rounds = flag.Int("bulk", 0, "how many rounds of 64 MiB messages TestBulkWithDrops sends; 0: one of 4 MiB")
	costs  = flag.Bool("costs", false, "run TestCosts: what connections cost in memory, beside TCP")
)

// small are flags for many VMs on few cores.
var small = []string{"+S", "1:1", "+SDcpu", "1:1", "+SDio", "1", "+A", "1", "+sbwt", "none", "+sbwtdcpu", "none", "+sbwtdio", "none"}

// A full mesh forms, is cut in the middle, and heals: make soak-mesh has 20 nodes.
func TestMesh(t *testing.T) {
	net := beamtest.NewNet(t, *meshed, beamtest.Link{})
	var names []string
	for i := range *meshed {
		names = append(names, "'"+net.Name(i)+"'")
	}
	// global would disconnect more nodes than are lost, and again while they return.
	args := append([]string{"-kernel", "prevent_overlapping_partitions", "false"}, small...)
	nodes := make([]*beamtest.Node, *meshed)
	for i := range nodes {
		nodes[i] = net.Start(i, "distlink_mesh:mesh(["+strings.Join(names, ",")+"])", args...)
	}
	all := func(what string) {
		t.Helper()
		start, lost := time.Now(), map[string]int{}
		for _, n := range nodes {
			for l := n.Line(3 * patience); l != what; l = n.Line(3 * patience) {
				if why, ok := strings.CutPrefix(l, "down "); ok {
					lost[why]++
				}
			}
		}
		t.Logf("%d nodes %s after %v; lost on the way: %v", *meshed, what, time.Since(start), lost)
	}
	all("complete")
	net.Cut()
	all("parted")
	net.Heal()
	all("complete")
	var sum, most int
	for _, n := range nodes {
		rss, _ := n.Memory()
		sum += rss
		most = max(most, rss)
	}
	t.Logf("memory of a node: %d KiB, at most %d", sum / *meshed, most)
}

// Large messages of two processes finish at 100 Mbit/s whatever is dropped:
// make soak-bulk sends 64 MiB ones.
func TestBulkWithDrops(t *testing.T) {
	octets, n := 4<<20, 1
	if *rounds > 0 {
		octets, n = 64<<20, *rounds
	}
	for _, loss := range []float64{1, 5} {
		t.Run(fmt.Sprintf("%v%%", loss), func(t *testing.T) {
			net := beamtest.NewNet(t, 2, beamtest.Link{Mbit: 100, Loss: loss})
			net.Start(1, sleep)
			a := net.Start(0, fmt.Sprintf("distlink_mesh:bulk('%s', %d, %d), %s", net.Name(1), octets, n, sleep))
			for i := range n {
				start := time.Now()
				a.Expect(fmt.Sprintf("round %d", i+1), 10*time.Minute)
				t.Logf("2 messages of %d MiB: %.1f Mbit/s", octets>>20, float64(2*octets*8)/1e6/time.Since(start).Seconds())
			}
			a.Expect("bulk ok", patience)
			if net.Dropped(1) == 0 {
				t.Error("nothing was dropped")
			}
		})
	}
}

// TestCosts prints what connections cost a node, over stock TCP and distlink.
func TestCosts(t *testing.T) {
	if !*costs {
		t.Skip("it is for -costs")
	}
	steps := []int{0, 1, 5, 19}
	for _, carrier := range []string{"inet_tcp", "distlink"} {
		net := beamtest.NewNet(t, 20, beamtest.Link{})
		args := func(i int) []string {
			if carrier == "distlink" {
				return append([]string{"-distlink_ip", net.Address(i)}, small...)
			}
			return append([]string{"-kernel", "inet_dist_use_interface", "{" + strings.ReplaceAll(net.Address(i), ".", ",") + "}"}, small...)
		}
		var peers []string
		for i := 1; i < 20; i++ {
			net.StartOver(carrier, i, sleep, append(args(i), "-kernel", "connect_all", "false")...)
			peers = append(peers, "'"+net.Name(i)+"'")
		}
		a := net.StartOver(carrier, 0, fmt.Sprintf("distlink_mesh:cost([%s], [0,1,5,19]), %s", strings.Join(peers, ","), sleep), append(args(0), "-kernel", "connect_all", "false")...)
		for range steps {
			l := a.Expect("cost", patience)
			rss, _ := a.Memory()
			t.Logf("%s: connections, VM's memory, controllers' (KiB): %s; resident %d KiB", carrier, strings.TrimPrefix(l, "cost "), rss)
			a.Say("")
		}
	}
}
