package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"tsnswitch"
	"tsnswitch/internal/api"
	"tsnswitch/internal/config"
	"tsnswitch/spb"
)

const planPathsHelp = `Shows the paths that SPB would choose; no daemon is asked.

--network FILE runs the bridges of a lab's network file in virtual time, with
the SPB machine that the daemon runs: without --from and --to, between all
hosts in the stream VLAN.

--file NETWORK computes the trees of all bridges, with the code that the
daemon runs. NETWORK is JSON or YAML:

  nodes:
    - {name: a, sysid: "02:00:00:00:00:01", priority: 0x8000, overload: false}
  links:
    - {a: a, b: b, metric_a: 10, metric_b: 10}

name and sysid are required; priority is 0x8000 by default; spsourceid may be
given and has no say in paths. A link costs the larger of both metrics. An end
whose metric is null, 16777215 or left out does not advertise the link, which
is not used then. Paths end at an overloaded node and do not cross it. Of
parallel links the cheapest counts. Of a lab's network file the bridges and
the links between them are taken.

With --json the answer is
  {"cost_hops": {SRC: {DST: [cost, hops]}},
   "algorithms": {"1": {"parent": {SRC: {DST: node before DST}}}, ...}}
SRC itself has [0,0] and no parent; a DST out of reach is in neither.
cost_hops is that of algorithms 1 to 16. Algorithm 0, the spanning tree, is
planned when asked for; its paths may be longer. --from keeps one SRC, --to
one DST.

Without --json and with both --from and --to it prints the paths, and which
two are most independent of each other (for streams that are sent twice).`

// filePlan is what plan paths --file is asked.
type filePlan struct {
	file, from, to string
	ect            ectList
}

// ectList is --ect: 1,3 or repeated; ascending, each once.
type ectList []uint8

func (l *ectList) String() string {
	var s []string
	for _, a := range *l {
		s = append(s, strconv.Itoa(int(a)))
	}
	return strings.Join(s, ",")
}
func (l *ectList) Type() string { return "list" }
func (l *ectList) Set(s string) error {
	for part := range strings.SplitSeq(s, ",") {
		n, err := strconv.ParseUint(strings.TrimSpace(part), 10, 8)
		if err != nil || n > 16 {
			return fmt.Errorf("not in 0..16")
		}
		*l = append(*l, uint8(n))
	}
	slices.Sort(*l)
	*l = slices.Compact(*l)
	return nil
}

// planned is a network of a file, ready to be asked.
type planned struct {
	net        *config.PlanNetwork
	plan       *spb.Plan
	algorithms []uint8
	sources    []int // nodes to plan from
	only       int   // destination, -1: all
	progress   func(done, of int)
}

func (a *app) planFile(ctx context.Context, q filePlan) error {
	net, err := config.LoadPlanNetwork(q.file)
	if err != nil {
		return err
	}
	p, err := newPlanned(net, q)
	if err != nil {
		return err
	}
	start, last := time.Now(), time.Now()
	p.progress = func(done, of int) {
		if now := time.Now(); now.Sub(start) >= 2*time.Second && now.Sub(last) >= time.Second {
			last = now
			fmt.Fprintf(a.errOut, "tsnctl: %d of %d trees after %.0f s\n", done, of, now.Sub(start).Seconds())
		}
	}
	if a.json {
		return p.writeJSON(ctx, a.out)
	}
	pg := &page{w: a.out}
	if err := p.print(ctx, pg); err != nil {
		return err
	}
	return pg.err
}

func newPlanned(net *config.PlanNetwork, q filePlan) (*planned, error) {
	p := &planned{net: net, algorithms: q.ect, only: -1}
	index := map[string]int{}
	bridges := make([]spb.PlanBridge, len(net.Nodes))
	for k, n := range net.Nodes {
		index[n.Name] = k
		bridges[k] = spb.PlanBridge{SystemID: tsn.MAC(n.SysID), Priority: n.Priority, Overload: n.Overload}
		p.sources = append(p.sources, k)
	}
	var links []spb.PlanLink
	for _, l := range net.Links {
		links = append(links, spb.PlanLink{A: index[l.A], B: index[l.B], MetricA: l.MetricA, MetricB: l.MetricB})
	}
	if len(p.algorithms) == 0 {
		p.algorithms = []uint8{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}
	}
	find := func(name string) (int, error) {
		k, ok := index[name]
		if !ok {
			return 0, api.Errorf(api.CodeBadRequest, "no node of %s is called %q", q.file, name)
		}
		return k, nil
	}
	var err error
	if q.from != "" {
		p.sources = make([]int, 1)
		if p.sources[0], err = find(q.from); err != nil {
			return nil, err
		}
	}
	if q.to != "" {
		if p.only, err = find(q.to); err != nil {
			return nil, err
		}
	}
	p.plan, err = spb.NewPlan(bridges, links)
	return p, err
}

// trees computes the trees of every source under some algorithms, on all
// cores. done and of count trees of the whole run.
func (p *planned) trees(ctx context.Context, algorithms []uint8, done, of int) ([]*spb.PlanTrees, error) {
	out := make([]*spb.PlanTrees, len(p.sources))
	var next, ready atomic.Int64
	var group sync.WaitGroup
	workers := min(runtime.GOMAXPROCS(0), len(p.sources))
	finished := make(chan error, workers)
	for range workers {
		group.Go(func() {
			for ctx.Err() == nil {
				k := int(next.Add(1)) - 1
				if k >= len(out) {
					break
				}
				t, err := p.plan.Trees(p.sources[k], algorithms...)
				if err != nil {
					finished <- err
					return
				}
				out[k] = t
				ready.Add(1)
			}
			finished <- ctx.Err()
		})
	}
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	var first error
	for left := workers; left > 0; {
		select {
		case err := <-finished:
			left--
			if first == nil {
				first = err
			}
		case <-tick.C:
			p.progress(done+int(ready.Load())*len(algorithms), of)
		}
	}
	group.Wait()
	return out, first
}

// planMemory bounds what the trees of a large network take at a time, octets.
var planMemory = 512 << 20

// atOnce is how many algorithms are computed together.
func (p *planned) atOnce() int {
	tree := 4 * len(p.net.Nodes) * max(len(p.sources), 1)
	return min(max(planMemory/tree-3, 1), len(p.algorithms))
}

// writeJSON writes the answer as it is computed, in the order of the file: a
// row for each source.
func (p *planned) writeJSON(ctx context.Context, to io.Writer) error {
	w := &planWriter{Writer: bufio.NewWriterSize(to, 1<<16)}
	for _, n := range p.net.Nodes {
		name, err := json.Marshal(n.Name)
		if err != nil {
			return err
		}
		w.names = append(w.names, string(name))
	}
	total := len(p.algorithms) * len(p.sources)
	for done := 0; done < len(p.algorithms); {
		part := p.algorithms[done:min(done+p.atOnce(), len(p.algorithms))]
		rows, err := p.trees(ctx, part, done*len(p.sources), total)
		if err != nil {
			return err
		}
		if done == 0 {
			w.text("{\"cost_hops\": {")
			p.rows(w, "  ", func(k, v int) bool { return w.costHops(rows[k], v) })
			w.text("},\n\"algorithms\": {")
		}
		for j, a := range part {
			if done+j > 0 {
				w.text(",")
			}
			w.text("\n  \"" + strconv.Itoa(int(a)) + "\": {\"parent\": {")
			p.rows(w, "    ", func(k, v int) bool { return w.parent(rows[k].Parent[j], v) })
			w.text("}}")
		}
		done += len(part)
	}
	w.text("\n}}\n")
	return w.Flush()
}

// rows writes an object for each source; cell writes the member of
// destination v, and reports whether there is one.
func (p *planned) rows(w *planWriter, indent string, cell func(k, v int) bool) {
	for k, source := range p.sources {
		if k > 0 {
			w.text(",")
		}
		w.text("\n" + indent + w.names[source] + ": {")
		w.comma = false
		for v := range p.net.Nodes {
			if p.only < 0 || p.only == v {
				w.comma = cell(k, v) || w.comma
			}
		}
		w.text("}")
	}
}

// planWriter writes the cells. A fault of the writer below stays in it until
// Flush.
type planWriter struct {
	*bufio.Writer
	names   []string // as JSON
	comma   bool     // a member stands before
	scratch []byte
}

func (w *planWriter) text(s string) { _, _ = w.WriteString(s) }

func (w *planWriter) key(v int) {
	if w.comma {
		w.text(", ")
	}
	w.text(w.names[v])
	w.text(": ")
}

func (w *planWriter) costHops(t *spb.PlanTrees, v int) bool {
	if t.Hops[v] < 0 {
		return false
	}
	w.key(v)
	b := append(w.scratch[:0], '[')
	b = strconv.AppendUint(b, t.Cost[v], 10)
	b = append(b, ", "...)
	b = strconv.AppendInt(b, int64(t.Hops[v]), 10)
	w.scratch = append(b, ']')
	_, _ = w.Write(w.scratch)
	return true
}

func (w *planWriter) parent(parent []int32, v int) bool {
	if parent[v] < 0 {
		return false
	}
	w.key(v)
	w.text(w.names[parent[v]])
	return true
}

// print is the answer for people: the paths between two nodes under each
// algorithm, or else how the algorithms spread what there is.
func (p *planned) print(ctx context.Context, pg *page) error {
	if len(p.sources) == 1 && p.only >= 0 {
		return p.printPair(ctx, pg)
	}
	reached, pairs := 0, len(p.sources)*(len(p.net.Nodes)-1)
	other := make([]int, len(p.algorithms)) // pairs whose last hop is not that of the first algorithm
	for done := 0; done < len(p.algorithms); {
		part := p.algorithms[done:min(done+p.atOnce(), len(p.algorithms))]
		if done > 0 { // to compare with
			part = slices.Concat(p.algorithms[:1], part)
		}
		rows, err := p.trees(ctx, part, done*len(p.sources), len(p.algorithms)*len(p.sources))
		if err != nil {
			return err
		}
		for _, t := range rows {
			for v, h := range t.Hops {
				if done == 0 && h > 0 {
					reached++
				}
				for j := range part {
					if t.Parent[j][v] != t.Parent[0][v] {
						other[max(done-1, 0)+j]++
					}
				}
			}
		}
		if done > 0 {
			part = part[1:]
		}
		done += len(part)
	}
	pg.printf("%d nodes, %d links; %d of %d pairs have a path", len(p.net.Nodes), len(p.net.Links), reached, pairs)
	t := table{head: []string{"~ECT", ">PAIRS WITH ANOTHER LAST HOP"}}
	for j, a := range p.algorithms {
		t.row(fmt.Sprint(a), fmt.Sprint(other[j]))
	}
	pg.table(t)
	pg.wrap("", "", fmt.Sprintf("Compared with algorithm %d. --from and --to show paths; --json shows every tree.", p.algorithms[0]))
	return nil
}

func (p *planned) printPair(ctx context.Context, pg *page) error {
	from, to := p.sources[0], p.only
	rows, err := p.trees(ctx, p.algorithms, 0, len(p.algorithms))
	if err != nil {
		return err
	}
	t := rows[0]
	name := func(k int) string { return p.net.Nodes[k].Name }
	if t.Hops[to] < 0 {
		return api.Errorf(api.CodeUnavailable, "no path from %s to %s: check links, metrics and overload", name(from), name(to))
	}
	pg.printf("%s to %s: cost %d, %d hops", name(from), name(to), t.Cost[to], t.Hops[to])
	for j, a := range p.algorithms {
		var path []string
		for v := int32(to); v >= 0; v = t.Parent[j][v] {
			path = append(path, name(int(v)))
		}
		slices.Reverse(path)
		text := strings.Join(path, " ")
		if len(path) == 1 && from != to {
			text = "no path"
		}
		pg.wrap(fmt.Sprintf("  ECT %2d: ", a), "          ", text)
	}
	if from == to {
		return nil
	}
	best, least, err := p.plan.Disjoint(from, to, p.algorithms...)
	if err != nil {
		return err
	}
	if len(p.algorithms) > 1 {
		pg.printf("Most independent: ECT %d and %d share %s.", best.Algorithms[0], best.Algorithms[1], best)
	}
	if least.Links == 0 && least.Bridges == 0 {
		pg.printf("The topology has two disjoint paths.")
	} else {
		pg.printf("By the topology any two paths share at least %s.", least)
	}
	return nil
}
