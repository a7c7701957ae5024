package verify

import (
	"slices"

	"tsnswitch/qbv/schedule"
)

// maxStart bounds planned times, far from overflow and beyond every deadline.
const maxStart = int64(1) << 50

// streams checks that every stream is there once and returns the placements
// that name one.
func (c *checker) streams() []*schedule.Placement {
	const missing, placed, unplaced = 0, 1, 2
	state := make([]uint8, len(c.p.Streams))
	see := func(si int, as uint8) bool {
		switch {
		case si < 0 || si >= len(state):
			c.bad(whole(RuleStream, "stream index %d does not exist", si))
		case state[si] != missing:
			c.bad(c.of(RuleStream, si, "is there twice"))
		default:
			state[si] = as
			return true
		}
		return false
	}
	var out []*schedule.Placement
	for i := range c.s.Streams {
		if see(c.s.Streams[i].Stream, placed) {
			out = append(out, &c.s.Streams[i])
		}
	}
	for _, u := range c.s.Unplaced {
		see(u.Stream, unplaced)
	}
	for si, st := range state {
		if st == missing {
			c.bad(c.of(RuleStream, si, "is neither placed nor listed as unplaced"))
		}
	}
	c.report.Placed = len(out)
	c.report.Unplaced = len(c.p.Streams) - len(out)
	return out
}

// cycleFits checks the hyperperiod and that it can be written out.
func (c *checker) cycleFits(placed []*schedule.Placement) bool {
	limit := c.p.MaxCycle
	if limit == 0 {
		limit = schedule.DefaultMaxCycle
	}
	if c.cycle < 1 || c.cycle > limit {
		c.bad(whole(RuleCycle, "a cycle of %d ns is outside 1..%d ns", c.cycle, limit))
		return false
	}
	ok, hyper, bursts := true, int64(1), int64(0)
	for _, pl := range placed {
		period := c.p.Streams[pl.Stream].Period
		if c.cycle%period != 0 {
			c.bad(c.of(RuleCycle, pl.Stream, "has a period of %d ns, which does not divide the cycle of %d ns", period, c.cycle))
			ok = false
			continue
		}
		hyper = hyper / gcd(hyper, period) * period // divides the cycle
		bursts += c.cycle / period * int64(len(pl.Route))
		if bursts > maxBursts {
			c.bad(whole(RuleSize, "a cycle of %d ns has more than %d transmissions", c.cycle, maxBursts))
			return false
		}
	}
	if ok && len(placed) > 0 && hyper != c.cycle && !c.hyperperiodOfAll() {
		c.warn(whole(RuleCycle, "the cycle of %d ns is not the hyperperiod of %d ns", c.cycle, hyper))
	}
	return ok
}

// hyperperiodOfAll reports whether the cycle is that of all streams, placed or not.
func (c *checker) hyperperiodOfAll() bool {
	hyper := int64(1)
	for i := range c.p.Streams {
		period := c.p.Streams[i].Period
		if c.cycle%period != 0 {
			return false
		}
		hyper = hyper / gcd(hyper, period) * period
	}
	return hyper == c.cycle
}

func gcd(a, b int64) int64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// place checks each placement by itself and writes out its bursts.
func (c *checker) place(placed []*schedule.Placement) {
	n := int64(0)
	for _, pl := range placed {
		n += c.cycle / c.p.Streams[pl.Stream].Period * int64(len(pl.Route))
	}
	c.bursts = make([]burst, 0, n) // bounded by cycleFits
	for n, pl := range placed {
		s := &c.p.Streams[pl.Stream]
		if !c.route(int32(n)+1, s, pl) {
			continue
		}
		w := newWriter(c, pl)
		if len(pl.Instances) == 0 {
			w.periodic(pl)
		} else {
			w.instances(pl)
		}
		w.done()
	}
}

// route checks that the route is a tree from the talker to exactly the
// listeners, each link after the one before it, and leaves in c.scratch the
// index of each link's predecessor. mark is a number not used before.
func (c *checker) route(mark int32, s *schedule.Stream, pl *schedule.Placement) bool {
	bad := func(format string, a ...any) bool {
		c.bad(c.of(RuleRoute, pl.Stream, format, a...))
		return false
	}
	c.scratch = c.scratch[:0]
	via := map[schedule.NodeID]int32{s.Talker: -1}
	c.reach[s.Talker] = mark
	for h, id := range pl.Route {
		if id < 0 || int(id) >= len(c.p.Links) {
			return bad("takes link %d, which does not exist", id)
		}
		l := &c.p.Links[id]
		switch {
		case c.reach[l.From] != mark:
			return bad("takes %s before it is there", c.p.LinkName(id))
		case c.reach[l.To] == mark:
			return bad("comes back to a node by %s", c.p.LinkName(id))
		case l.From != s.Talker && !c.p.Nodes[l.From].Bridge:
			return bad("is forwarded by an end station to %s", c.p.LinkName(id))
		}
		c.reach[l.To], c.leaf[l.To], c.leaf[l.From] = mark, mark, 0
		c.scratch = append(c.scratch, via[l.From])
		via[l.To] = int32(h)
	}
	for _, n := range s.Listeners {
		if c.reach[n] != mark {
			return bad("does not reach %s", c.p.Nodes[n].Name)
		}
		c.leaf[n] = 0
	}
	for _, id := range pl.Route {
		if to := c.p.Links[id].To; c.leaf[to] == mark {
			return bad("ends at %s, which is no listener", c.p.Nodes[to].Name)
		}
	}
	if s.Routes != nil && !slices.ContainsFunc(s.Routes, func(r []schedule.LinkID) bool { return sameLinks(r, pl.Route) }) {
		return bad("takes a route that is none of its own")
	}
	return true
}

// sameLinks reports whether two trees are the same, whatever their order.
func sameLinks(a, b []schedule.LinkID) bool {
	if slices.Equal(a, b) {
		return true
	}
	a, b = slices.Clone(a), slices.Clone(b)
	slices.Sort(a)
	slices.Sort(b)
	return slices.Equal(a, b)
}
