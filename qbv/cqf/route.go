package cqf

import (
	"slices"

	"tsnswitch/qbv/schedule"
)

// routes sets the ways of each stream: its own, or one of the shortest trees,
// over links that few streams use.
func (s *solver) routes() {
	s.ways = make(map[int][][]schedule.LinkID, len(s.todo))
	out := make([][]schedule.LinkID, len(s.p.Nodes))
	for l := range s.p.Links {
		from := s.p.Links[l].From
		out[from] = append(out[from], schedule.LinkID(l))
	}
	used := make([]int, len(s.p.Links))
	for _, i := range s.todo {
		st := &s.p.Streams[i]
		if s.ways[i] = st.Routes; st.Routes != nil {
			continue
		}
		tree := shortest(s.p, st, out, used)
		for _, l := range tree {
			used[l]++
		}
		if tree != nil {
			s.ways[i] = [][]schedule.LinkID{tree}
		}
	}
}

// shortest is a tree of shortest ways to all listeners, nil if there is none.
// Of the last links of ways that are equally short it takes the least used.
func shortest(p *schedule.Problem, s *schedule.Stream, out [][]schedule.LinkID, used []int) []schedule.LinkID {
	via := reach(p, s.Talker, out, used)
	var tree []schedule.LinkID
	for _, n := range s.Listeners {
		var branch []schedule.LinkID
		for n != s.Talker {
			l := via[n]
			if l < 0 {
				return nil
			}
			if slices.Contains(tree, l) {
				break
			}
			branch = append(branch, l)
			n = p.Links[l].From
		}
		slices.Reverse(branch)
		tree = append(tree, branch...)
	}
	return tree
}

// reach gives the last link of a shortest way to each node, -1 without one.
func reach(p *schedule.Problem, from schedule.NodeID, out [][]schedule.LinkID, used []int) []schedule.LinkID {
	via, depth := make([]schedule.LinkID, len(p.Nodes)), make([]int, len(p.Nodes))
	for i := range via {
		via[i] = -1
	}
	queue := []schedule.NodeID{from}
	for ; len(queue) > 0; queue = queue[1:] {
		n := queue[0]
		if n != from && !p.Nodes[n].Bridge {
			continue
		}
		for _, l := range out[n] {
			switch to := p.Links[l].To; {
			case to == from:
			case via[to] < 0:
				via[to], depth[to] = l, depth[n]+1
				queue = append(queue, to)
			case depth[to] == depth[n]+1 && used[l] < used[via[to]]:
				via[to] = l
			}
		}
	}
	return via
}
