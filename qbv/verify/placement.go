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
	for i := 0; c.s.Cyclic != nil && i < len(c.s.Cyclic.Streams); i++ {
		if cs := &c.s.Cyclic.Streams[i]; see(cs.Stream, placed) {
			c.cyclics = append(c.cyclics, cs)
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
	c.report.Placed = len(out) + len(c.cyclics)
	c.report.Unplaced = len(c.p.Streams) - c.report.Placed
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
	ok, hyper, bursts := c.cyclicTime()
	add := func(si int, route []schedule.LinkID) {
		period := c.p.Streams[si].Period
		if c.cycle%period != 0 {
			c.bad(c.of(RuleCycle, si, "has a period of %d ns, which does not divide the cycle of %d ns", period, c.cycle))
			ok = false
			return
		}
		hyper = hyper / gcd(hyper, period) * period // divides the cycle
		bursts = min(bursts+c.cycle/period*int64(len(route)), maxBursts+1)
	}
	for _, pl := range placed {
		add(pl.Stream, pl.Route)
	}
	for _, cs := range c.cyclics {
		add(cs.Stream, cs.Route)
	}
	if bursts > maxBursts {
		c.bad(whole(RuleSize, "a cycle of %d ns has more than %d transmissions", c.cycle, maxBursts))
		return false
	}
	c.bursts = make([]burst, 0, bursts)
	if ok && c.report.Placed > 0 && hyper != c.cycle && !c.hyperperiodOfAll() {
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
	for _, pl := range placed {
		if !c.route(pl.Stream, pl.Route) {
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
// index of each link's predecessor.
func (c *checker) route(si int, route []schedule.LinkID) bool {
	s := &c.p.Streams[si]
	c.mark++
	mark := c.mark
	bad := func(format string, a ...any) bool {
		c.bad(c.of(RuleRoute, si, format, a...))
		return false
	}
	c.scratch = c.scratch[:0]
	via := map[schedule.NodeID]int32{s.Talker: -1}
	c.reach[s.Talker] = mark
	for h, id := range route {
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
	for _, id := range route {
		if to := c.p.Links[id].To; c.leaf[to] == mark {
			return bad("ends at %s, which is no listener", c.p.Nodes[to].Name)
		}
	}
	if s.Routes != nil && !slices.ContainsFunc(s.Routes, func(r []schedule.LinkID) bool { return sameLinks(r, route) }) {
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
