package spb

import (
	"bytes"
	"crypto/md5"
	"encoding/binary"
	"math/bits"
	"slices"

	tsn "tsnswitch"
)

// agreementDigest is the content of SPB-Digest behind its flags: format,
// convention, number of edges (2), reserved (8), sum of the MD5 of all edges (20).
type agreementDigest [32]byte

// digestConvention tells apart what is summed: the standard's convention does
// not cover ports and overload, on which this switch's trees depend too. Of a
// neighbour with another convention nothing can be said, as if it had no digest.
const digestConvention = 0xf0

// digest sums the graph up: all that trees and group addresses depend on.
func (t *topology) digest() agreementDigest {
	g := &t.graph
	var d agreementDigest
	d[1] = digestConvention
	var sum digestSum
	edges, sums := 0, t.edgeSums.of(g)
	for u := range g.id {
		if !t.connected[u] {
			continue
		}
		n := &t.nodes[u]
		sum = sum.plus(n.claimSum)
		if n.source != 0 || n.bare {
			var m [8 + 4]byte
			copy(m[:], g.id[u][:])
			binary.BigEndian.PutUint32(m[8:], n.source)
			if n.bare {
				m[8] = 1
			}
			sum = sum.add(md5.Sum(m[:]))
		}
		for _, e := range g.edges[g.first[u]:g.first[u+1]] {
			if int(e.to) < u {
				continue
			}
			edges++
		}
		sum = sum.plus(sums[u])
	}
	binary.BigEndian.PutUint16(d[2:], uint16(edges))
	binary.BigEndian.PutUint32(d[12:], uint32(sum[2]))
	binary.BigEndian.PutUint64(d[16:], sum[1])
	binary.BigEndian.PutUint64(d[24:], sum[0])
	return d
}

// edgeDigest is the MD5 of one link, the same seen from either end.
func (g *graph) edgeDigest(u int32, e edge) [md5.Size]byte {
	a, b, pa, pb := u, e.to, e.port, e.farPort
	if bytes.Compare(g.id[a][:], g.id[b][:]) > 0 {
		a, b, pa, pb = b, a, pb, pa
	}
	var m [8 + 8 + 4 + 2 + 2 + 1]byte
	copy(m[0:], g.id[a][:])
	copy(m[8:], g.id[b][:])
	binary.BigEndian.PutUint32(m[16:], e.metric)
	binary.BigEndian.PutUint16(m[20:], uint16(pa))
	binary.BigEndian.PutUint16(m[22:], uint16(pb))
	if !g.transit[a] {
		m[24] |= 1
	}
	if !g.transit[b] {
		m[24] |= 2
	}
	return md5.Sum(m[:])
}

// claimDigest is the MD5 of one station that a bridge says it reaches.
func claimDigest(id tsn.BridgeID, a bMAC) [md5.Size]byte {
	var m [8 + 6 + 2 + 4]byte
	copy(m[0:], id[:])
	copy(m[8:], a.mac[:])
	binary.BigEndian.PutUint16(m[14:], uint16(a.vid))
	binary.BigEndian.PutUint32(m[16:], a.claim)
	return md5.Sum(m[:])
}

// digestSum is the sum of digests, 20 octets used, least significant first.
type digestSum [3]uint64

func (s digestSum) add(d [md5.Size]byte) digestSum {
	return s.plus(digestSum{binary.BigEndian.Uint64(d[8:]), binary.BigEndian.Uint64(d[:])})
}

func (s digestSum) plus(t digestSum) (out digestSum) {
	var carry uint64
	for k := range out {
		out[k], carry = bits.Add64(s[k], t[k], carry)
	}
	return out
}

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
