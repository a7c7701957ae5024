package verify

import (
	"cmp"
	"slices"

	"tsnswitch/qbv/schedule"
)

// early finds how long before its window each burst may leave, because its
// gate is open for others while it waits. Every value on the way is a bound:
// later passes only make it tighter.
func (c *checker) early() {
	if !c.leads() {
		return
	}
	ahead := c.ahead()
	order := make([]int32, len(c.bursts))
	for i := range order {
		order[i] = int32(i)
	}
	slices.SortFunc(order, func(a, b int32) int {
		return cmp.Or(cmp.Compare(c.bursts[a].open, c.bursts[b].open), cmp.Compare(a, b))
	})
	// The second pass knows who is ahead across the end of the cycle.
	for range 2 {
		for _, i := range order {
			b := &c.bursts[i]
			b.lead = min(b.lead, c.lead(b, c.behind(b, ahead[i])))
		}
	}
}

// leads bounds each lead as if nobody were ahead and reports whether any is more than 0.
func (c *checker) leads() bool {
	found := false
	for i := range c.bursts {
		b := &c.bursts[i]
		if b.parent >= 0 {
			b.lead = c.lead(b, b.open-c.wait(b))
			found = found || b.lead > 0
		}
	}
	return found
}

// lead is how long before its window b may leave if it cannot before t.
func (c *checker) lead(b *burst, t int64) int64 {
	h := &c.hops[b.hop]
	g := c.lists[h.link]
	if g == nil || b.parent < 0 {
		return 0
	}
	if s, ok := c.usable(g, h, span{max(t, b.open-c.wait(b)), b.open}); ok {
		return b.open - s
	}
	return 0
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

// ahead gives for each burst the one before it in its queue.
func (c *checker) ahead() []int32 {
	out := make([]int32, len(c.bursts))
	for _, list := range c.byLink {
		var last [8]int32
		for lap := range 2 {
			for _, i := range list {
				q := c.hops[c.bursts[i].hop].queue
				if lap == 1 {
					out[i] = last[q]
				}
				last[q] = i
			}
		}
	}
	return out
}

// behind is when a, the burst ahead of b, may be gone at the earliest.
func (c *checker) behind(b *burst, ahead int32) int64 {
	a := &c.bursts[ahead]
	h := &c.hops[a.hop]
	gone := a.open - a.lead + int64(max(c.p.Streams[h.stream].Frames, 1))*h.short
	if a.open >= b.open { // in the cycle before
		gone -= c.cycle
	}
	return gone
}

// waits checks that no gate lets the n-th burst of a link go while it waits,
// but where a window of its queue is: that is for frames ahead of it.
func (c *checker) waits(l schedule.LinkID, g *gates, n int) {
	list := c.byLink[l]
	b := &c.bursts[list[n]]
	h := &c.hops[b.hop]
	if b.parent < 0 {
		return
	}
	arrives, until, lap := b.open-c.wait(b), b.open, int64(0)
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
			c.bad(c.at(RuleGates, l, mod(t, c.cycle), []int{int(h.stream)}, "gate %d is open while %s waits for its window at %d ns",
				h.queue, c.streamName(int(h.stream)), b.open))
			return
		}
		until = before.open + lap
	}
	if b.lead > 0 {
		c.warn(c.at(RuleGates, l, mod(b.open-b.lead, c.cycle), []int{int(h.stream)}, "%s may leave %d ns before its window",
			c.streamName(int(h.stream)), b.lead))
	}
}
