package verify

import "tsnswitch/qbv/schedule"

// span is from inclusive to exclusive, in ns.
type span struct{ from, to int64 }

// wait is how long before its window the first frame of a burst is in the queue, at most.
func (c *checker) wait(b *burst) int64 {
	w := c.hops[b.hop].base
	if b.parent >= 0 {
		w += c.bursts[b.parent].lead
	}
	return w
}

// overlap checks that no two windows of a link overlap. If no neighbours do,
// across the end of the cycle too, none do.
func (c *checker) overlap(l schedule.LinkID) {
	list := c.byLink[l]
	for n, i := range list {
		a, b := &c.bursts[i], &c.bursts[list[(n+1)%len(list)]]
		next := b.open
		if n+1 == len(list) {
			next += c.cycle
		}
		if ha, hb := &c.hops[a.hop], &c.hops[b.hop]; a.open+ha.length > next {
			c.bad(c.at(RuleOverlap, l, b.open, streamsOf(ha, hb), "the window of %s begins while that of %s lasts, for %d ns more",
				c.who(hb), c.who(ha), a.open+ha.length-next))
		}
	}
}

// queueState is what has been seen of one queue so far.
type queueState struct {
	leaves, other int64 // when the last burst leaves the queue, and the last of another stream than that
	last, before  int32 // the hops they belong to; -1: none
	latest        int64 // when a frame with an earlier window came, at the latest
	latecomer     int32 // the hop it belongs to
}

// residences checks who is in a queue together with whom. All windows are
// visited twice, the first time as those of the cycle before.
func (c *checker) residences(l schedule.LinkID) {
	var queues [8]queueState
	for q := range queues {
		queues[q] = queueState{last: -1, before: -1, latecomer: -1, latest: -1 << 62}
	}
	for lap := range int64(2) {
		for _, i := range c.byLink[l] {
			b := &c.bursts[i]
			h := &c.hops[b.hop]
			q := &queues[h.queue]
			open := b.open + (lap-1)*c.cycle
			if lap == 1 {
				c.resides(l, q, h, open, c.wait(b))
			}
			q.add(c.hops, b.hop, open)
		}
	}
}

// resides checks a burst against those with earlier windows of its queue.
func (c *checker) resides(l schedule.LinkID, q *queueState, h *hop, open, wait int64) {
	arrives := open - wait
	leaves, with := q.leaves, q.last
	if with >= 0 && c.hops[with].stream == h.stream {
		leaves, with = q.other, q.before
	}
	if c.p.Isolation == schedule.IsolateFrames && with >= 0 && leaves > arrives {
		c.bad(c.at(RuleIsolation, l, mod(arrives, c.cycle), streamsOf(&c.hops[with], h), "%s may be in queue %d %d ns before %s has left it",
			c.who(h), h.queue, leaves-arrives, c.who(&c.hops[with])))
		return
	}
	if q.latecomer >= 0 && q.latest >= arrives {
		c.bad(c.at(RuleOrder, l, mod(arrives, c.cycle), streamsOf(&c.hops[q.latecomer], h), "%s may come to queue %d %d ns before %s, whose window is earlier",
			c.who(h), h.queue, q.latest-arrives, c.who(&c.hops[q.latecomer])))
	}
}

// add notes a burst whose window opens at open.
func (q *queueState) add(hops []hop, i int32, open int64) {
	h := &hops[i]
	if q.last >= 0 && hops[q.last].stream != h.stream {
		q.other, q.before = q.leaves, q.last
	}
	q.leaves, q.last = open+h.leaves, i
	if t := open + h.late; t > q.latest {
		q.latest, q.latecomer = t, i
	}
}
