package main

import (
	"errors"
	"fmt"
	"os"
	"slices"

	"tsnswitch/qbv/format"
	"tsnswitch/qbv/schedule"
	"tsnswitch/qbv/synth"
)

// beside plans beside a schedule that runs: what both have stays where it is,
// but for --moves of them; what is new is added, one by one; what p does not
// have any more is gone.
func (o *offlinePlan) beside(p *schedule.Problem, options synth.Options) (*plannedSchedule, error) {
	data, err := os.ReadFile(o.running)
	if err != nil {
		return nil, fmt.Errorf("running: %w", err)
	}
	running, gone, err := format.ReadRunning(o.running, data, p)
	if err != nil {
		return nil, err
	}
	if running.Cyclic != nil {
		return nil, fmt.Errorf("%s: has cyclic streams, beside which nothing can be added here", o.running)
	}
	old, fresh := split(p, running)
	pl, err := synth.Resume(old, running, options)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", o.running, err)
	}
	s := &plannedSchedule{problem: p, meta: format.Meta{Instance: p.Name, Seed: o.seed, Moved: []int{}}, removed: len(gone)}
	var refused []schedule.Unplaced
	for _, i := range fresh {
		_, moved, err := pl.Add(p.Streams[i], o.moves-len(s.meta.Moved))
		no := (*synth.Refused)(nil)
		switch {
		case errors.As(err, &no):
			refused = append(refused, inTermsOf(p, pl.Problem(), no.Unplaced, i))
		case err != nil:
			return nil, err
		default:
			s.added++
			s.meta.Moved = append(s.meta.Moved, moved...)
		}
	}
	s.meta.Units = pl.Spent().Units
	slices.Sort(s.meta.Moved)
	s.Solution = renumber(p, pl.Problem(), pl.Solution())
	s.Unplaced = append(s.Unplaced, refused...)
	slices.SortFunc(s.Unplaced, func(a, b schedule.Unplaced) int { return a.Stream - b.Stream })
	return s, nil
}

// split makes the problem of what runs, whose streams running then refers to,
// and lists the streams of p that do not run.
func split(p *schedule.Problem, running *schedule.Solution) (*schedule.Problem, []int) {
	old := *p
	old.Streams = nil
	runs := map[int]bool{}
	for n := range running.Streams {
		x := &running.Streams[n]
		runs[x.Stream] = true
		old.Streams = append(old.Streams, p.Streams[x.Stream])
		x.Stream = n
	}
	running.Unplaced = nil
	var fresh []int
	for i := range p.Streams {
		if !runs[i] {
			fresh = append(fresh, i)
		}
	}
	return &old, fresh
}

// renumber puts a solution of q, which has the streams of p in another order,
// in terms of p.
func renumber(p, q *schedule.Problem, s *schedule.Solution) *schedule.Solution {
	index := indexByID(p)
	for i := range s.Streams {
		s.Streams[i].Stream = index[q.Streams[s.Streams[i].Stream].ID]
	}
	slices.SortFunc(s.Streams, func(a, b schedule.Placement) int { return a.Stream - b.Stream })
	for i, u := range s.Unplaced {
		s.Unplaced[i] = inTermsOf(p, q, u, index[q.Streams[u.Stream].ID])
	}
	return s
}

func indexByID(p *schedule.Problem) map[int]int {
	out := make(map[int]int, len(p.Streams))
	for i := range p.Streams {
		out[p.Streams[i].ID] = i
	}
	return out
}

// inTermsOf is the reason why stream i of p has no place, whose blocking streams are of q.
func inTermsOf(p, q *schedule.Problem, u schedule.Unplaced, i int) schedule.Unplaced {
	index := indexByID(p)
	u.Stream = i
	u.Blocking = slices.Clone(u.Blocking)
	for k, b := range u.Blocking {
		u.Blocking[k] = index[q.Streams[b].ID]
	}
	slices.Sort(u.Blocking)
	return u
}
