package spb

import (
	"bytes"
	"fmt"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	tsn "tsnswitch"
)

// The networks of the benchmarks: 1000 bridges, mean degree 6, metrics 10, 20
// and 30, so that ties are many.
const (
	benchNodes = 1000
	benchExtra = 2 * benchNodes
)

func benchPlan() ([]PlanBridge, []PlanLink) {
	r := prng{1}
	bridges := make([]PlanBridge, benchNodes)
	for k := range bridges {
		bridges[k] = PlanBridge{SystemID: tsn.MAC{2, 0, 0, 0, byte(k >> 8), byte(k)}, Priority: 0x8000}
	}
	var links []PlanLink
	for _, l := range random(1, benchNodes, benchExtra) {
		m := uint32(r.below(3)+1) * 10
		links = append(links, PlanLink{l[0], l[1], m, m})
	}
	return bridges, links
}

// pool is Config.Parallel on every core, as the daemon has it.
func pool(n int, f func(int)) {
	var group sync.WaitGroup
	next := make(chan int)
	for range min(n, runtime.GOMAXPROCS(0)) {
		group.Go(func() {
			for k := range next {
				f(k)
			}
		})
	}
	for k := range n {
		next <- k
	}
	close(next)
	group.Wait()
}

func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// perOp is the time of one round, for the ratios that later lines print.
func perOp(b *testing.B) float64 { return float64(b.Elapsed()) / float64(b.N) }

// BenchmarkTreesOfOneSource puts the peers side by side: all 16 trees of a
// source, another source each time. "x-plain" is how many times faster than the
// plain reference a line is. networkx computes the distances only, which is
// what it has.
func BenchmarkTreesOfOneSource(b *testing.B) {
	bridges, links := benchPlan()
	ref := newReference(bridges, links)
	plan, err := NewPlan(bridges, links)
	if err != nil {
		b.Fatal(err)
	}
	plain, root := 0.0, 0
	b.Run("plain", func(b *testing.B) {
		for b.Loop() {
			root = (root + 7) % benchNodes
			for _, a := range allAlgorithms[1:] {
				ref.tree(root, a)
			}
		}
		plain = perOp(b)
	})
	b.Run("spb", func(b *testing.B) {
		w, s := *plan.work, newScratch(benchNodes)
		w.algorithms = allAlgorithms[1:]
		for b.Loop() {
			root = (root + 7) % benchNodes
			w.fill(int32(root), &row{}, s)
		}
		b.ReportMetric(plain/perOp(b), "x-plain")
	})
	b.Run("networkx-distances", func(b *testing.B) {
		ns := networkx(b, links)
		b.ReportMetric(ns, "ns/op")
		b.ReportMetric(plain/ns, "x-plain")
	})
}

// networkx times one Dijkstra of it, the mean of 20 sources.
func networkx(b *testing.B, links []PlanLink) float64 {
	var in bytes.Buffer
	for _, l := range links {
		fmt.Fprintln(&in, l.A, l.B, l.MetricA)
	}
	cmd := exec.Command("python3", "-c", `
import sys, time
import networkx as nx
g = nx.Graph()
for line in sys.stdin:
    a, b, m = map(int, line.split())
    if not g.has_edge(a, b) or g[a][b]["weight"] > m:
        g.add_edge(a, b, weight=m)
start = time.perf_counter()
for root in range(0, 1000, 50):
    nx.single_source_dijkstra_path_length(g, root)
print(int((time.perf_counter() - start) / 20 * 1e9))
`)
	cmd.Stdin = &in
	out, err := cmd.Output()
	if err != nil {
		b.Skipf("networkx is not here (Debian package python3-networkx): %v", err)
	}
	ns, err := strconv.ParseFloat(strings.TrimSpace(string(out)), 64)
	if err != nil {
		b.Fatal(err)
	}
	return ns
}

// BenchmarkOwnTree is what unicast needs after a change: the tree of this
// bridge, and the port towards every other, which is the ingress check too.
func BenchmarkOwnTree(b *testing.B) {
	bridges, links := benchPlan()
	plan, err := NewPlan(bridges, links)
	if err != nil {
		b.Fatal(err)
	}
	t := topology{nodes: make([]node, benchNodes), graph: *plan.work.graph}
	root := int32(0)
	for b.Loop() {
		root = (root + 7) % benchNodes
		t.firstPorts(t.graph.tree(t.graph.shortest(root), 1))
	}
}

// BenchmarkAllSources is a full run: 16 trees of every source, on every core.
func BenchmarkAllSources(b *testing.B) {
	bridges, links := benchPlan()
	plan, err := NewPlan(bridges, links)
	if err != nil {
		b.Fatal(err)
	}
	cpu := cpuTime(b)
	for b.Loop() {
		t := topology{graph: *plan.work.graph}
		t.forests(allRoots(&t.graph), allAlgorithms[1:], pool)
	}
	b.ReportMetric(float64(cpuTime(b)-cpu)/float64(b.N)/1e6, "cpu-ms/op")
	b.ReportMetric(perOp(b)/1e6, "wall-ms/op")
}

// BenchmarkLinkFailure brings the trees of all sources up to date after one
// random link has gone, and again after it is back. "of-full-run" is the time by
// that of a full run on the same cores, the fastest of five.
func BenchmarkLinkFailure(b *testing.B) {
	for _, algorithms := range [][]uint8{{1}, allAlgorithms[1:]} {
		b.Run(fmt.Sprintf("trees=%d", len(algorithms)), func(b *testing.B) { benchChange(b, algorithms) })
	}
}

func benchChange(b *testing.B, algorithms []uint8) {
	bridges, links := benchPlan()
	whole, err := NewPlan(bridges, links)
	if err != nil {
		b.Fatal(err)
	}
	t := topology{graph: *whole.work.graph}
	roots := allRoots(&t.graph)
	full := time.Duration(1 << 62)
	for range 5 {
		t.cache = forestCache{}
		start := time.Now()
		t.forests(roots, algorithms, pool)
		full = min(full, time.Since(start))
	}
	r, back := &prng{5}, time.Duration(0)
	for b.Loop() {
		b.StopTimer()
		k := int(r.below(int64(len(links))))
		one := links[k]
		links[k].MetricA = NotAdvertised
		cut, err := NewPlan(bridges, links)
		if err != nil {
			b.Fatal(err)
		}
		links[k] = one
		t.graph = *cut.work.graph
		b.StartTimer()
		t.forests(roots, algorithms, pool)
		b.StopTimer()
		t.graph = *whole.work.graph
		start := time.Now()
		t.forests(roots, algorithms, pool)
		back += time.Since(start)
		b.StartTimer()
	}
	b.ReportMetric(float64(full)/1e6, "full-run-ms")
	b.ReportMetric(perOp(b)/float64(full), "of-full-run")
	b.ReportMetric(float64(back)/float64(b.N)/float64(full), "back-of-full-run")
}
