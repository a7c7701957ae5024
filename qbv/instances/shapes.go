package instances

import (
	"math"
	"slices"
	"strconv"

	tsn "tsnswitch"
	"tsnswitch/qbv/schedule"
)

// network makes nodes and links: bridges first, nodes called by their number,
// links by ascending ends.
func (m *maker) network() {
	edges, bridges := m.edges()
	stations := m.attach(edges, bridges)
	for i := range bridges + len(stations) {
		m.p.Nodes = append(m.p.Nodes, schedule.Node{Name: strconv.Itoa(i), Bridge: i < bridges})
	}
	for i, at := range stations {
		edges = append(edges, [2]int{at, bridges + i})
		m.stations = append(m.stations, schedule.NodeID(bridges+i))
	}
	m.join(edges)
}

// edges joins the bridges, and says how many there are.
func (m *maker) edges() (edges [][2]int, n int) {
	n = m.Bridges
	add := func(a, b int) { edges = append(edges, [2]int{a, b}) }
	switch m.Shape {
	case Tree:
		for i := 1; i < n; i++ {
			add((i-1)/2, i)
		}
	case Mesh2D:
		side := int(math.Sqrt(float64(n)))
		n = side * side
		for i := range n {
			if i%side > 0 {
				add(i-1, i)
			}
			if i >= side {
				add(i-side, i)
			}
		}
	case Full:
		for i := range n {
			for k := range i {
				add(k, i)
			}
		}
	default:
		for i := 1; i < n; i++ {
			add(i-1, i)
		}
		if m.Shape != Line {
			add(0, n-1)
		}
		for i := 1; m.Shape == Mesh && i < n/2; i++ {
			add(i, n-1-i)
		}
	}
	return edges, n
}

// attach says at which bridges there are end stations.
func (m *maker) attach(edges [][2]int, n int) (at []int) {
	side := int(math.Sqrt(float64(n)))
	for i := range n {
		x, y := i%side, i/side
		if m.Shape == Mesh2D && x > 0 && y > 0 && x < side-1 && y < side-1 {
			continue
		}
		if m.Shape == Tree {
			if slices.ContainsFunc(edges, func(e [2]int) bool { return e[0] == i }) {
				continue
			}
			at = append(at, i) // a leaf has two, as a node in the tree has children
		}
		at = append(at, i)
	}
	return at
}

// join makes both directions of each edge, once.
func (m *maker) join(edges [][2]int) {
	var ends [][2]int
	for _, e := range edges {
		ends = append(ends, e, [2]int{e[1], e[0]})
	}
	slices.SortFunc(ends, func(a, b [2]int) int { return slices.Compare(a[:], b[:]) })
	m.next = make([][]schedule.NodeID, len(m.p.Nodes))
	for _, e := range slices.Compact(ends) {
		from, to := schedule.NodeID(e[0]), schedule.NodeID(e[1])
		m.next[from] = append(m.next[from], to)
		m.p.Links = append(m.p.Links, schedule.Link{
			From: from, To: to, Rate: tsn.Gbps, ProcessingDelay: processing, Queues: tsn.MaxTrafficClasses, Scheduled: 0xfe,
		})
	}
}
