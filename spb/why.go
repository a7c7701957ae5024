package spb

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	tsn "tsnswitch"
)

// Explanation says why a path was chosen: the rules in their order, what was
// left after each, and the paths that reached the last one.
type Explanation struct {
	From      tsn.MAC `json:"from"` // bridges
	To        tsn.MAC `json:"to"`
	VID       tsn.VID `json:"vid"`
	Algorithm uint8   `json:"algorithm"`
	Mask      string  `json:"mask"` // two hexadecimal digits; empty for algorithm 0
	Cost      uint64  `json:"cost"`
	Hops      int     `json:"hops"`
	// Steps are "cost" and "hops"; for the spanning tree "parent of NAME" for
	// each bridge on the path.
	Steps []Step `json:"steps"`
	// Paths are the paths equal in cost and hops, the winner first: among them
	// the PATHID decides. For the spanning tree there is one.
	Paths []Candidate `json:"paths"`
	// Truncated: there are more equal paths than are listed.
	Truncated bool   `json:"truncated,omitempty"`
	Text      string `json:"text"` // lines of at most 80 columns
}

// Step is one rule and what stood before it.
type Step struct {
	Rule    string   `json:"rule"`
	Best    uint64   `json:"best"` // the cost or the hops that win
	Options []Option `json:"options"`
}

// Option is what the best path over one neighbour has to offer.
type Option struct {
	Via  tsn.MAC  `json:"via"`
	Port tsn.Port `json:"port"` // towards it
	Cost uint64   `json:"cost"`
	Hops int      `json:"hops"`
	Lost string   `json:"lost,omitempty"` // why it is out after this step
}

// Candidate is one of the equal paths.
type Candidate struct {
	Bridges []tsn.MAC `json:"bridges"` // from, ..., to
	// PathID is the masked BridgeIDs in between, sorted: compared in this
	// order. PathIDOf is whose they are. The ends are on every path, so they
	// decide nothing and are left out.
	PathID   []string  `json:"pathId"`
	PathIDOf []tsn.MAC `json:"pathIdOf"`
	Chosen   bool      `json:"chosen"`
	// DecidedAt is the first entry, from 1, that differs from the winner's and
	// is higher. It is 0 for the winner.
	DecidedAt int `json:"decidedAt,omitempty"`
}

const (
	maxCandidates = 64
	maxLosers     = 8 // in the text
)

// Why explains the path from a to b (bridges or end stations) under an ECT
// algorithm; 0 means the one of the Base VID.
func (i *Instance) Why(vid tsn.VID, a, b tsn.MAC, algorithm uint8) (*Explanation, error) {
	e, err := i.why(vid, a, b, algorithm)
	if err != nil {
		return nil, fmt.Errorf("why %s to %s: %w", a, b, err)
	}
	return e, nil
}

func (i *Instance) why(vid tsn.VID, a, b tsn.MAC, algorithm uint8) (*Explanation, error) {
	base, err := i.baseVID(vid)
	if err != nil {
		return nil, err
	}
	if algorithm == 0 {
		algorithm = base.Algorithm
	}
	if algorithm > 16 {
		return nil, fmt.Errorf("ECT algorithm %d is outside 1..16", algorithm)
	}
	src, err := i.locate(vid, a)
	if err != nil {
		return nil, err
	}
	dst, err := i.locate(vid, b)
	if err != nil {
		return nil, err
	}
	e := i.top.explain(src.node, dst.node, algorithm)
	if e == nil {
		return nil, fmt.Errorf("no path between bridges %s and %s", i.top.name(src.node), i.top.name(dst.node))
	}
	e.VID = vid
	return e, nil
}

// explain is nil if there is no path.
func (t *topology) explain(src, dst int32, algorithm uint8) *Explanation {
	s := t.graph.shortest(src)
	tr := t.graph.tree(s, algorithm)
	if tr.dist[dst] == unreachable {
		return nil
	}
	e := &Explanation{
		From: t.nodes[src].system, To: t.nodes[dst].system, Algorithm: algorithm, Steps: []Step{},
		Cost: tr.dist[dst].cost(), Hops: tr.dist[dst].hops(),
	}
	if algorithm == 0 {
		t.explainSpanningTree(e, tr.to(dst))
	} else {
		e.Mask = fmt.Sprintf("%02x", ectMask[algorithm])
		t.explainLengths(e, src, dst)
		t.explainTie(e, s, dst, tr)
	}
	e.Text = t.whyText(e)
	return e
}

// explainLengths fills in the first two steps. A path may begin with any link
// of src; what is best after that, without coming back, is Dijkstra from the
// other end.
func (t *topology) explainLengths(e *Explanation, src, dst int32) {
	g := t.graph
	if src == dst {
		return
	}
	g.transit = slices.Clone(g.transit)
	g.transit[src] = false
	dist := g.shortest(dst).dist
	cost := Step{Rule: "cost", Best: e.Cost}
	hops := Step{Rule: "hops", Best: uint64(e.Hops), Options: []Option{}}
	for _, link := range g.edges[g.first[src]:g.first[src+1]] {
		o := Option{Via: t.nodes[link.to].system, Port: link.port}
		switch d := dist[link.to]; {
		case d == unreachable:
			o.Lost = "leads nowhere else"
		case link.to != dst && !g.transit[link.to]:
			o.Lost = "overloaded: not crossed"
		default:
			d += link.length()
			o.Cost, o.Hops = d.cost(), d.hops()
			if o.Cost > e.Cost {
				o.Lost = "costs more"
				break
			}
			second := o
			if o.Hops > e.Hops {
				second.Lost = "has more hops"
			}
			hops.Options = append(hops.Options, second)
		}
		cost.Options = append(cost.Options, o)
	}
	e.Steps = append(e.Steps, cost, hops)
}

// explainTie lists the equal paths, and at which entry each has lost.
func (t *topology) explainTie(e *Explanation, s *spt, dst int32, tr *tree) {
	paths, more := t.graph.equalPaths(s, dst, tr)
	e.Truncated = more
	for _, p := range paths {
		e.Paths = append(e.Paths, t.candidate(p, e.Algorithm))
	}
	slices.SortStableFunc(e.Paths, func(a, b Candidate) int { return slices.Compare(a.PathID, b.PathID) })
	best := &e.Paths[0]
	best.Chosen = true
	for k := 1; k < len(e.Paths); k++ {
		c := &e.Paths[k]
		for c.PathID[c.DecidedAt] == best.PathID[c.DecidedAt] {
			c.DecidedAt++
		}
		c.DecidedAt++
	}
}

// explainSpanningTree goes along the path: of the two bridges at a link, one
// is the parent of the other.
func (t *topology) explainSpanningTree(e *Explanation, path []int32) {
	g := &t.graph
	parent := g.designatedBridges()
	root := path[0]
	for parent[root] >= 0 {
		root = parent[root]
	}
	_, dist := g.spanningTree().from(g, root)
	for k := 1; k < len(path); k++ {
		v := path[k]
		if parent[v] != path[k-1] {
			v = path[k-1]
		}
		e.Steps = append(e.Steps, t.parentStep(v, parent[v], root, dist))
	}
	e.Paths = []Candidate{t.candidate(path, 0)}
	e.Paths[0].Chosen, e.Paths[0].PathID, e.Paths[0].PathIDOf = true, []string{}, []tsn.MAC{}
}

func (t *topology) parentStep(v, parent, root int32, dist []distance) Step {
	g := &t.graph
	step := Step{Rule: "parent of " + t.label(t.nodes[v].system), Best: dist[v].cost(), Options: []Option{}}
	for _, link := range g.edges[g.first[v]:g.first[v+1]] {
		u := link.to
		o := Option{Via: t.nodes[u].system, Port: link.port}
		if dist[u] == unreachable || u != root && !g.transit[u] {
			o.Lost = "overloaded: not crossed"
		} else {
			o.Cost, o.Hops = dist[u].cost()+uint64(link.metric), dist[u].hops()+1
			if o.Cost > step.Best {
				o.Lost = "costs more"
			} else if u != parent {
				o.Lost = "BridgeID " + g.id[u].String() + " is higher"
			}
		}
		step.Options = append(step.Options, o)
	}
	return step
}

// equalPaths lists up to maxCandidates shortest paths, each from the root to
// v. The one in the tree comes first, so that the limit cannot hide it.
func (g *graph) equalPaths(s *spt, v int32, tr *tree) (out [][]int32, more bool) {
	var walk func(v int32, tail []int32)
	walk = func(v int32, tail []int32) {
		if len(out) > maxCandidates {
			return
		}
		tail = append(tail, v)
		if v == s.root {
			p := slices.Clone(tail)
			slices.Reverse(p)
			out = append(out, p)
			return
		}
		walk(tr.parent[v], tail)
		for _, e := range g.edges[g.first[v]:g.first[v+1]] {
			if e.to != tr.parent[v] && g.onPath(s, e.to, v, e) {
				walk(e.to, tail)
			}
		}
	}
	walk(v, nil)
	if len(out) > maxCandidates {
		return out[:maxCandidates], true
	}
	return out, false
}

func (t *topology) candidate(path []int32, algorithm uint8) Candidate {
	c := Candidate{PathID: []string{}, PathIDOf: []tsn.MAC{}}
	var inner []int32
	for k, v := range path {
		c.Bridges = append(c.Bridges, t.nodes[v].system)
		if k > 0 && k < len(path)-1 {
			inner = append(inner, v)
		}
	}
	id := func(v int32) uint64 { return masked(t.nodes[v].bridgeID, algorithm) }
	slices.SortFunc(inner, func(a, b int32) int { return cmp.Compare(id(a), id(b)) })
	for _, v := range inner {
		c.PathID = append(c.PathID, fmt.Sprintf("%04x.%012x", id(v)>>48, id(v)&(1<<48-1)))
		c.PathIDOf = append(c.PathIDOf, t.nodes[v].system)
	}
	return c
}

func (t *topology) whyText(e *Explanation) string {
	var b strings.Builder
	fmt.Fprintf(&b, "ECT algorithm %d%s: cost %d, %d hops\n", e.Algorithm, maskText(e), e.Cost, e.Hops)
	for k, s := range e.Steps {
		words(&b, fmt.Sprintf("%d. %s: the best is %d", k+1, s.Rule, s.Best))
		for _, o := range s.Options {
			line := fmt.Sprintf("   via %s, port %d:", t.label(o.Via), o.Port)
			if o.Hops > 0 {
				line += fmt.Sprintf(" cost %d, %s", o.Cost, count(o.Hops, "hop"))
			}
			if o.Lost != "" {
				line += " out: " + o.Lost
			}
			words(&b, line)
		}
	}
	if e.Algorithm != 0 {
		fmt.Fprintf(&b, "%d. PATHID: %s left\n", len(e.Steps)+1, count(len(e.Paths), "path"))
		if len(e.Paths) > 1 {
			b.WriteString("   The BridgeIDs under the mask, sorted; the lower at the first difference wins.\n")
		}
	}
	for k, p := range e.Paths {
		if k > maxLosers {
			fmt.Fprintf(&b, "   and %d more\n", len(e.Paths)-k)
			break
		}
		t.writeCandidate(&b, p, len(e.Paths) > 1)
	}
	if e.Truncated {
		fmt.Fprintf(&b, "   There are more equal paths than these %d.\n", maxCandidates)
	}
	return b.String()
}

func maskText(e *Explanation) string {
	if e.Algorithm == 0 {
		return " (spanning tree)"
	}
	return ", mask " + e.Mask
}

// writeCandidate prints a path and, where there is another, its PATHID: of a
// loser up to the entry that decides.
func (t *topology) writeCandidate(b *strings.Builder, p Candidate, contested bool) {
	if p.Chosen {
		b.WriteString("   wins: ")
	} else {
		fmt.Fprintf(b, "   loses at entry %d: ", p.DecidedAt)
	}
	for _, m := range p.Bridges {
		wrapWord(b, t.label(m), "     ")
	}
	b.WriteByte('\n')
	if !contested {
		return
	}
	for k, id := range p.PathID {
		if !p.Chosen && k >= p.DecidedAt {
			break
		}
		words(b, fmt.Sprintf("     %2d %s %s", k+1, id, t.label(p.PathIDOf[k])))
	}
}

// words writes a line, or as many as its words need.
func words(b *strings.Builder, line string) {
	text := strings.TrimLeft(line, " ")
	b.WriteString(line[:len(line)-len(text)])
	for _, w := range strings.Split(text, " ") {
		wrapWord(b, w, "     ")
	}
	b.WriteByte('\n')
}
