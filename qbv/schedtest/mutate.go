package schedtest

import (
	"math/rand/v2"
	"slices"

	tsn "tsnswitch"
	"tsnswitch/qbv/schedule"
)

// Clone copies a solution, so that changing one leaves the other.
func Clone(s *schedule.Solution) *schedule.Solution {
	c := *s
	c.Streams, c.Gates, c.Unplaced = slices.Clone(s.Streams), slices.Clone(s.Gates), slices.Clone(s.Unplaced)
	for i := range c.Streams {
		pl := &c.Streams[i]
		pl.Route, pl.Starts, pl.Queues = slices.Clone(pl.Route), slices.Clone(pl.Starts), slices.Clone(pl.Queues)
		pl.Instances = slices.Clone(pl.Instances)
		for k := range pl.Instances {
			in := &pl.Instances[k]
			in.Starts, in.Queues = slices.Clone(in.Starts), slices.Clone(in.Queues)
		}
	}
	if s.Cyclic != nil {
		cy := *s.Cyclic
		cy.Windows, cy.Streams = slices.Clone(cy.Windows), slices.Clone(cy.Streams)
		c.Cyclic = &cy
	}
	for i := range c.Gates {
		c.Gates[i].List.Entries = slices.Clone(c.Gates[i].List.Entries)
	}
	return &c
}

// Mutate returns a copy of s with one small change in it. It may be valid.
func Mutate(r *rand.Rand, p *schedule.Problem, s *schedule.Solution) *schedule.Solution {
	c := Clone(s)
	if cy := c.Cyclic; cy != nil && (len(c.Streams) == 0 || r.IntN(2) == 0) {
		mutateCyclic(r, c)
		return c
	}
	if len(c.Streams) == 0 {
		return c
	}
	pl := &c.Streams[r.IntN(len(c.Streams))]
	starts, queues := pl.Starts, pl.Queues
	if n := len(pl.Instances); n > 0 {
		in := &pl.Instances[r.IntN(n)]
		starts, queues = in.Starts, in.Queues
	}
	h := r.IntN(len(starts))
	list := &c.Gates[r.IntN(len(c.Gates))].List
	e := r.IntN(len(list.Entries))
	switch r.IntN(7) {
	case 0:
		starts[h] += shift(r)
	case 1:
		d := shift(r)
		for h := range starts {
			starts[h] += d
		}
		c.Gates = Gates(p, c)
	case 2:
		queues[h] = tsn.TrafficClass(r.IntN(4))
		c.Gates = Gates(p, c)
	case 3:
		list.Entries[e].Gates ^= 1 << r.IntN(4)
	case 4: // move the end of an entry
		d := min(max(shift(r), 1-list.Entries[e].Interval), list.Entries[(e+1)%len(list.Entries)].Interval-1)
		list.Entries[e].Interval += d
		list.Entries[(e+1)%len(list.Entries)].Interval -= d
	case 5: // later hops later
		for d := r.Int64N(5000); h < len(starts); h++ {
			starts[h] += d
		}
		c.Gates = Gates(p, c)
	case 6: // a queue open everywhere that other traffic may not use
		for i := range list.Entries {
			list.Entries[i].Gates |= 1 << (1 + r.IntN(3))
		}
	}
	return c
}

// mutateCyclic changes a window, a stream or a list.
func mutateCyclic(r *rand.Rand, c *schedule.Solution) {
	w := &c.Cyclic.Windows[r.IntN(len(c.Cyclic.Windows))]
	cs := &c.Cyclic.Streams[r.IntN(len(c.Cyclic.Streams))]
	list := c.Gates[r.IntN(len(c.Gates))].List.Entries
	switch r.IntN(5) {
	case 0:
		w.Offset += shift(r)
	case 1:
		w.Length += shift(r)
	case 2:
		cs.Start += r.Int64N(3) - 1
	case 3:
		list[r.IntN(len(list))].Gates ^= 1 << r.IntN(4)
	case 4:
		w.Queues[0], w.Queues[1] = w.Queues[1], w.Queues[0]
	}
}

func shift(r *rand.Rand) int64 {
	return (r.Int64N(2)*2 - 1) * r.Int64N([]int64{2, 10, 1000, 20000}[r.IntN(4)]+1)
}
