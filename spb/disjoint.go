package spb

import (
	"fmt"
	"slices"
	"strings"

	tsn "tsnswitch"
)

// Disjointness says how independent the paths of two Base VIDs are, for a
// stream that is sent over both (IEEE 802.1CB). It is about bridges and the
// links between them: the cable of an end station is left out.
type Disjointness struct {
	From  tsn.MAC      `json:"from"` // bridges
	To    tsn.MAC      `json:"to"`
	VIDs  [2]tsn.VID   `json:"vids"`
	Paths [2][]tsn.MAC `json:"paths"` // from, ..., to
	// Disjoint: the paths have no link and, but for the ends, no bridge in
	// common. One failure cannot cut both, unless it is at an end.
	Disjoint      bool         `json:"disjoint"`
	SharedLinks   []SharedLink `json:"sharedLinks"`
	SharedBridges []tsn.MAC    `json:"sharedBridges"` // but for the ends
	// Best is the pair of Base VIDs of this fabric that shares the fewest
	// links, then the fewest bridges, then has the lowest VIDs. It is zero if
	// there is one Base VID only.
	Best Sharing `json:"best"`
	// BestECT is the same of all pairs of the sixteen ECT algorithms, whether a
	// Base VID runs them or not; what to configure if Best is not good enough.
	BestECT Sharing `json:"bestEct"`
	// Least is what any two paths must share, whatever computes them: by the
	// topology, 0 and 0 if two disjoint paths exist. Of parallel links SPB
	// uses one, so they count as one.
	Least Sharing `json:"least"`
	Text  string  `json:"text"` // lines of at most 80 columns
}

// SharedLink is a link on both paths, from the end nearer to From.
type SharedLink struct {
	A     tsn.MAC  `json:"a"`
	B     tsn.MAC  `json:"b"`
	PortA tsn.Port `json:"portA"`
	PortB tsn.Port `json:"portB"`
}

// Sharing counts what two paths have in common, and says which paths: by their
// VIDs or algorithms, which are zero where that is not meant.
type Sharing struct {
	VIDs       [2]tsn.VID `json:"vids,omitzero"`
	Algorithms [2]uint8   `json:"algorithms,omitzero"`
	Links      int        `json:"links"`
	Bridges    int        `json:"bridges"` // but for the ends
}

func (s Sharing) less(o Sharing) bool {
	return s.Links < o.Links || s.Links == o.Links && s.Bridges < o.Bridges
}

// Disjoint compares the paths between two bridges or end stations in two Base
// VIDs, with the best pair that the fabric has, and with what is possible.
func (i *Instance) Disjoint(vidA, vidB tsn.VID, from, to tsn.MAC) (*Disjointness, error) {
	d, err := i.disjoint([2]tsn.VID{vidA, vidB}, from, to)
	if err != nil {
		return nil, fmt.Errorf("disjoint paths from %s to %s: %w", from, to, err)
	}
	return d, nil
}

func (i *Instance) disjoint(vids [2]tsn.VID, from, to tsn.MAC) (*Disjointness, error) {
	var ends [2]place
	var algorithms [2]uint8
	for k, vid := range vids {
		b, err := i.baseVID(vid)
		if err != nil {
			return nil, err
		}
		algorithms[k] = b.Algorithm
		for side, m := range []tsn.MAC{from, to} {
			if ends[side], err = i.locate(vid, m); err != nil {
				return nil, err
			}
		}
	}
	t, src, dst := &i.top, ends[0].node, ends[1].node
	if src == dst {
		return nil, fmt.Errorf("both are at bridge %s", t.name(src))
	}
	paths := t.pathsByAlgorithm(src, dst)
	for _, a := range algorithms {
		if paths[a] == nil {
			return nil, fmt.Errorf("no path between bridges %s and %s: check adjacencies and link metrics", t.name(src), t.name(dst))
		}
	}
	d := &Disjointness{
		From: t.nodes[src].system, To: t.nodes[dst].system, VIDs: vids,
		SharedLinks: []SharedLink{}, SharedBridges: []tsn.MAC{}, Least: t.graph.leastSharing(src, dst),
	}
	for k, a := range algorithms {
		for _, v := range paths[a] {
			d.Paths[k] = append(d.Paths[k], t.nodes[v].system)
		}
	}
	links, bridges := shared(paths[algorithms[0]], paths[algorithms[1]])
	for _, l := range links {
		e := t.graph.edges[t.graph.reverse(l[0], l[1])]
		d.SharedLinks = append(d.SharedLinks, SharedLink{t.nodes[l[0]].system, t.nodes[l[1]].system, e.port, e.farPort})
	}
	for _, v := range bridges {
		d.SharedBridges = append(d.SharedBridges, t.nodes[v].system)
	}
	d.Disjoint = len(links) == 0 && len(bridges) == 0
	d.Best, d.BestECT = bestPair(i.cfg.BaseVIDs, &paths), bestAlgorithms(&paths)
	d.Text = t.disjointText(d)
	return d, nil
}

// pathsByAlgorithm is the path from src to dst under every algorithm.
func (t *topology) pathsByAlgorithm(src, dst int32) (paths [17][]int32) {
	s := t.graph.shortest(src)
	for a := range paths {
		paths[a] = t.graph.tree(s, uint8(a)).to(dst)
	}
	return paths
}

// to is the path from the root to v, nil if there is none.
func (t *tree) to(v int32) []int32 {
	if t.dist[v] == unreachable {
		return nil
	}
	var p []int32
	for ; v >= 0; v = t.parent[v] {
		p = append(p, v)
	}
	slices.Reverse(p)
	return p
}

// shared lists the links and the inner bridges that two paths between the same
// ends have in common. A link counts in whatever direction it is used.
func shared(p, q []int32) (links [][2]int32, bridges []int32) {
	for k := 1; k < len(p); k++ {
		for j := 1; j < len(q); j++ {
			if p[k-1] == q[j-1] && p[k] == q[j] || p[k-1] == q[j] && p[k] == q[j-1] {
				links = append(links, [2]int32{p[k-1], p[k]})
			}
		}
		if k < len(p)-1 && slices.Contains(q, p[k]) {
			bridges = append(bridges, p[k])
		}
	}
	return links, bridges
}

func bestPair(vids []BaseVID, paths *[17][]int32) (best Sharing) {
	for k, a := range vids {
		for _, b := range vids[k+1:] {
			if paths[a.Algorithm] == nil || paths[b.Algorithm] == nil {
				continue
			}
			s := sharing(paths[a.Algorithm], paths[b.Algorithm])
			s.VIDs = [2]tsn.VID{a.VID, b.VID}
			if best.VIDs[0] == 0 || s.less(best) {
				best = s
			}
		}
	}
	return best
}

func sharing(p, q []int32) Sharing {
	links, bridges := shared(p, q)
	return Sharing{Links: len(links), Bridges: len(bridges)}
}

func bestAlgorithms(paths *[17][]int32) (best Sharing) {
	for a := 1; a <= 16; a++ {
		for b := a + 1; b <= 16; b++ {
			s := sharing(paths[a], paths[b])
			s.Algorithms = [2]uint8{uint8(a), uint8(b)}
			if best.Algorithms[0] == 0 || s.less(best) {
				best = s
			}
		}
	}
	return best
}

// leastSharing is the minimum over all pairs of paths: a flow of two units at
// the least cost. A link or a bridge carries one unit for nothing, and the
// second for its price; links are dearer than all bridges together.
func (g *graph) leastSharing(src, dst int32) Sharing {
	f := flow{out: make([][]int32, 2*len(g.id))}
	dear := int32(len(g.id))
	for u := range int32(len(g.id)) {
		in, out := 2*u, 2*u+1
		if g.transit[u] && u != src && u != dst {
			f.add(in, out, 0)
			f.add(in, out, 1)
		}
		for _, e := range g.edges[g.first[u]:g.first[u+1]] {
			f.add(out, 2*e.to, 0)
			f.add(out, 2*e.to, dear)
		}
	}
	cost := f.augment(2*src+1, 2*dst) + f.augment(2*src+1, 2*dst)
	return Sharing{Links: int(cost / dear), Bridges: int(cost % dear)}
}

// flow is a network of arcs of capacity one, with their reverses.
type flow struct {
	arcs []arc // arc k and arc k^1 are each other's reverse
	out  [][]int32
}

type arc struct {
	to, cost int32
	full     bool
}

func (f *flow) add(u, v, cost int32) {
	k := int32(len(f.arcs))
	f.arcs = append(f.arcs, arc{v, cost, false}, arc{u, -cost, true})
	f.out[u] = append(f.out[u], k)
	f.out[v] = append(f.out[v], k+1)
}

// augment sends one more unit the cheapest way (Bellman and Ford, with a
// queue), which may take back what an earlier one does.
func (f *flow) augment(src, dst int32) int32 {
	const far = 1 << 30
	cost, via := make([]int32, len(f.out)), make([]int32, len(f.out))
	waits := make([]bool, len(f.out))
	for u := range cost {
		cost[u] = far
	}
	cost[src] = 0
	for todo := []int32{src}; len(todo) > 0; todo = todo[1:] {
		u := todo[0]
		waits[u] = false
		for _, k := range f.out[u] {
			a := f.arcs[k]
			if a.full || cost[u]+a.cost >= cost[a.to] {
				continue
			}
			cost[a.to], via[a.to] = cost[u]+a.cost, k
			if !waits[a.to] {
				waits[a.to] = true
				todo = append(todo, a.to)
			}
		}
	}
	for v := dst; v != src; v = f.arcs[via[v]^1].to {
		f.arcs[via[v]].full, f.arcs[via[v]^1].full = true, false
	}
	return cost[dst]
}

func (t *topology) disjointText(d *Disjointness) string {
	var b strings.Builder
	list := func(first string, path []tsn.MAC) {
		b.WriteString(first)
		for _, m := range path {
			wrapWord(&b, t.label(m), "    ")
		}
		b.WriteByte('\n')
	}
	for k, p := range d.Paths {
		list(fmt.Sprintf("VLAN %d: ", d.VIDs[k]), p)
	}
	if d.Disjoint {
		b.WriteString("The paths are disjoint.\n")
	} else {
		fmt.Fprintf(&b, "NOT disjoint: they share %s.\n", Sharing{Links: len(d.SharedLinks), Bridges: len(d.SharedBridges)})
		for _, l := range d.SharedLinks {
			list("  link ", []tsn.MAC{l.A, l.B})
		}
		for _, m := range d.SharedBridges {
			list("  bridge ", []tsn.MAC{m})
		}
	}
	if d.Best.VIDs[0] != 0 {
		fmt.Fprintf(&b, "Best pair of base VIDs: %d and %d, sharing %s.\n", d.Best.VIDs[0], d.Best.VIDs[1], d.Best)
	}
	if d.Best.VIDs[0] == 0 || d.BestECT.less(d.Best) {
		fmt.Fprintf(&b, "ECT algorithms %d and %d would share %s.\n", d.BestECT.Algorithms[0], d.BestECT.Algorithms[1], d.BestECT)
	}
	if d.Least == (Sharing{}) {
		b.WriteString("The topology has two disjoint paths.\n")
	} else {
		fmt.Fprintf(&b, "By the topology any two paths share at least %s.\n", d.Least)
	}
	return b.String()
}

func (s Sharing) String() string {
	if s.Links == 0 && s.Bridges == 0 {
		return "nothing"
	}
	return fmt.Sprintf("%s and %s", count(s.Links, "link"), count(s.Bridges, "bridge"))
}

func count(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
}

// label is a short name: the host name, or else the address.
func (t *topology) label(m tsn.MAC) string {
	if k := t.findNode(m); k >= 0 && t.nodes[k].hostName != "" {
		return t.nodes[k].hostName
	}
	return m.String()
}

const textWidth = 80

// wrapWord adds a word to the last line of b, or to a new one that begins with
// indent if it does not fit any more.
func wrapWord(b *strings.Builder, word, indent string) {
	line := b.String()
	line = line[strings.LastIndexByte(line, '\n')+1:]
	switch {
	case line == "":
	case len(line)+1+len(word) > textWidth:
		b.WriteString("\n" + indent)
	case !strings.HasSuffix(line, " "):
		b.WriteByte(' ')
	}
	b.WriteString(word)
}
