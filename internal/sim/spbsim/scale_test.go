package spbsim

import (
	"flag"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tsnswitch"
	"tsnswitch/internal/dataplane/fake"
	"tsnswitch/spb"
)

var (
	scaleFlag   = flag.Int("scale", 100, "bridges of TestScale")
	measureFlag = flag.Bool("measure", false, "TestScale lets every step take the CPU time that it took, instead of the table's")
)

// costs of a step at 500 bridges, ns, by what was done in it, as
// `-run TestScale -scale 500 -v` prints them. They are recorded here so that a
// run takes the same virtual time on every machine, and does the same.
var costs = map[string]int64{
	"LSP": 10_000, "own LSP": 90_000, "SNP": 25_000, "hello": 5_000, "SPF": 1_400_000, "agreement": 250_000, "other": 9_000,
}

// what tells what a step did, by the counters that moved.
func what(before, after spb.Counters) string {
	switch {
	case after.SPFRuns > before.SPFRuns:
		return "SPF"
	case after.Agreements > before.Agreements:
		return "agreement"
	case after.Originations > before.Originations:
		return "own LSP"
	case after.Received.LSP > before.Received.LSP:
		return "LSP"
	case after.Received.CSNP > before.Received.CSNP, after.Received.PSNP > before.Received.PSNP:
		return "SNP"
	case after.Received.IIH > before.Received.IIH:
		return "hello"
	}
	return "other"
}

type spent struct {
	steps int64
	cpu   time.Duration
	most  time.Duration
}

// cpuTime is what this thread has used: other load does not count.
func cpuTime() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t); err != nil {
		panic(err)
	}
	return time.Duration(t.Nano())
}

// accountant is Network.Cost.
type accountant struct {
	by      map[string]*spent
	measure bool
}

func newAccountant(measure bool) *accountant {
	return &accountant{by: map[string]*spent{}, measure: measure}
}

func (a *accountant) cost(d *Node, step func()) int64 {
	before := d.Inst.Counters()
	start := cpuTime()
	step()
	took := cpuTime() - start
	k := what(before, d.Inst.Counters())
	s := a.by[k]
	if s == nil {
		s = &spent{}
		a.by[k] = s
	}
	s.steps++
	s.cpu += took
	s.most = max(s.most, took)
	if a.measure {
		return int64(took)
	}
	return costs[k]
}

func (a *accountant) String() string {
	s := ""
	for _, k := range slices.Sorted(maps.Keys(a.by)) {
		v := a.by[k]
		s += fmt.Sprintf("\t%q: %d, // of %d steps, at most %v\n", k, int64(v.cpu)/v.steps, v.steps, v.most)
	}
	return s
}

// fabric builds n bridges with random links of 1 ms, three for each bridge.
func fabric(n int) *Network {
	net := NewNetwork(1, []tsn.VID{100, 200})
	net.Bulk = true
	net.Times = Times{Begin: 100 * microsecond, Write: 4 * microsecond, Carrier: 1}
	for k := range n {
		net.AddNode(spb.Config{
			SystemID: tsn.MAC{2, 0, 0, 0, byte(k >> 8), byte(k)}, Priority: 0x8000, Seed: uint64(k),
			BaseVIDs:    []spb.BaseVID{{VID: 100, Algorithm: 1}, {VID: 200, Algorithm: 2}},
			Ports:       []spb.PortConfig{{Port: stationPort}, {Port: emptyPort}},
			EndStations: []spb.EndStation{{MAC: tsn.MAC{2, 0xee, 0, 0, byte(k >> 8), byte(k)}, Port: stationPort}},
		}, fake.Software)
	}
	for k := 1; k < n; k++ {
		net.Connect(net.Nodes[net.rng.IntN(k)], net.Nodes[k], millisecond, 10, 10)
	}
	for len(net.Links) < 3*n {
		if a, b := net.rng.IntN(n), net.rng.IntN(n); a != b {
			m := uint32(10 * (1 + net.rng.IntN(3)))
			net.Connect(net.Nodes[a], net.Nodes[b], millisecond, m, m)
		}
	}
	return net
}

// TestScale: bridges hear of a link that failed, compute, and write their
// kernels, in virtual time, with links of 1 ms and the CPU time of every step.
// The bar is 100 ms for 500 bridges: make bench-scale.
func TestScale(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	bridges := *scaleFlag
	net := fabric(bridges)
	bringUp, begun := newAccountant(false), cpuTime()
	net.Cost = bringUp.cost
	for _, d := range net.Nodes {
		net.PowerOn(d)
	}
	net.Run(tsn.Instant(second))
	for _, l := range net.Links {
		net.SetLink(l, true)
	}
	net.Run(tsn.Instant(15 * second))
	for _, d := range net.Nodes {
		if s := d.Inst.Status(); s.NodesReached != bridges {
			t.Fatalf("%s reaches %d bridges", d.Name, s.NodesReached)
		}
	}
	t.Logf("%d bridges and %d links came up in %v of CPU for all; ns of a step by what was done:\n%s", bridges, len(net.Links), cpuTime()-begun, bringUp)
	cuts := newAccountant(*measureFlag)
	net.Cost = cuts.cost
	paths, kernels := fail(net, 10)
	t.Logf("%d failures: all bridges had their new paths after p50 %.1f ms, max %.1f ms; the last kernel write, agreement for groups included, p50 %.1f ms, max %.1f ms; ns of a step:\n%s",
		len(paths), ms(paths[len(paths)/2]), ms(paths[len(paths)-1]), ms(kernels[len(paths)/2]), ms(kernels[len(paths)-1]), cuts)
	if worst := paths[len(paths)-1]; worst > 100*millisecond {
		t.Errorf("%.1f ms are more than 100", ms(worst))
	}
}

// fail cuts some links, one after the other, and returns, sorted, when the
// last bridge asked for its new paths, and when the last kernel entry was written.
func fail(net *Network, cuts int) (paths, kernels []int64) {
	for cut := range cuts {
		at := net.Now()
		first := map[*Node]bool{}
		last := at
		net.Wanted = func(d *Node, _ spb.Forwarding) {
			if !first[d] {
				first[d], last = true, net.Now()
			}
		}
		net.SetLink(net.Links[cut*len(net.Links)/cuts], false)
		net.Run(at.Add(2 * second))
		paths, kernels = append(paths, last.Sub(at)), append(kernels, net.Counts.LastWrite.Sub(at))
	}
	slices.Sort(paths)
	slices.Sort(kernels)
	return paths, kernels
}

func ms(ns int64) float64 { return float64(ns) / 1e6 }
