package spb

import "slices"

// edgeSums keeps, for every node, the sum of the digests of its links to nodes
// with a higher number. MD5 is dear: only nodes whose links, or whose own or
// neighbours' overload has changed are summed again.
type edgeSums struct {
	graph graph // that the sums are of
	sums  []digestSum
}

func (c *edgeSums) of(g *graph) []digestSum {
	same := slices.Equal(g.id, c.graph.id)
	sums := make([]digestSum, len(g.id))
	for u := range sums {
		edges := g.edges[g.first[u]:g.first[u+1]]
		if same && c.holds(g, u, edges) {
			sums[u] = c.sums[u]
			continue
		}
		for _, e := range edges {
			if int(e.to) > u {
				sums[u] = sums[u].add(g.edgeDigest(int32(u), e))
			}
		}
	}
	c.graph, c.sums = *g, sums
	return sums
}

// holds reports whether the sum of u is that of the same links as before.
func (c *edgeSums) holds(g *graph, u int, edges []edge) bool {
	old := &c.graph
	if g.transit[u] != old.transit[u] || !slices.Equal(edges, old.edges[old.first[u]:old.first[u+1]]) {
		return false
	}
	return !slices.ContainsFunc(edges, func(e edge) bool { return g.transit[e.to] != old.transit[e.to] })
}
