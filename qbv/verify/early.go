package verify

import "tsnswitch/qbv/schedule"

// early finds how long before its window each burst may leave, because its
// gate is open for others while it waits. Those others may be silent, so
// nothing counts on their frames being ahead.
func (c *checker) early() {
	for i := range c.bursts { // parents come before their children
		b := &c.bursts[i]
		h := &c.hops[b.hop]
		if g := c.lists[h.link]; g != nil && b.parent >= 0 {
			arrives := b.open - c.wait(b)
			// What is not to be found in one cycle of the port is nowhere.
			if s, ok := c.usable(g, h, span{arrives, min(arrives+g.cycle, b.open)}); ok {
				b.lead = b.open - s
			}
		}
	}
}

// usable returns the first time in s at which the gate lets a frame begin.
func (c *checker) usable(g *gates, h *hop, s span) (int64, bool) {
	for t := s.from; t < s.to && c.spend(1); {
		run, ok := g.open(h.queue, t)
		if !ok || run.from >= s.to {
			break
		}
		if start := max(run.from, t); start+h.short <= run.to {
			return start, true
		}
		t = run.to
	}
	return 0, false
}

// waits checks that no gate lets the n-th burst of a link go while it waits,
// but where a window of its queue is: that is for frames ahead of it.
func (c *checker) waits(l schedule.LinkID, g *gates, n int) {
	list := c.byLink[l]
	b := &c.bursts[list[n]]
	h := &c.hops[b.hop]
	arrives, until, lap := max(b.open-c.wait(b), b.open-c.cycle), b.open, int64(0)
	for until > arrives && c.spend(1) {
		if n--; n < 0 {
			n, lap = len(list)-1, lap-c.cycle
		}
		before := &c.bursts[list[n]]
		hb := &c.hops[before.hop]
		if hb.queue != h.queue && before.open+lap > arrives {
			continue
		}
		closes := before.open + hb.length + lap
		if hb.queue != h.queue {
			closes = arrives
		}
		if t, ok := c.usable(g, h, span{max(closes, arrives), until}); ok {
			c.bad(c.at(RuleGates, l, mod(t, c.cycle), streamsOf(h), "gate %d is open while frames of %s wait for their window at %d ns",
				h.queue, c.who(h), b.open))
			return
		}
		until = before.open + lap
	}
	if b.lead > 0 {
		c.warn(c.at(RuleGates, l, mod(b.open-b.lead, c.cycle), streamsOf(h), "%s may leave %d ns before its window",
			c.who(h), b.lead))
	}
}
