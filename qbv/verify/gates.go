package verify

import (
	"fmt"

	tsn "tsnswitch"
	"tsnswitch/qbv/schedule"
)

// window checks the gates during one window and the guard band before it.
func (c *checker) window(id schedule.LinkID, g *gates, b *burst) {
	l, h := &c.p.Links[id], &c.hops[b.hop]
	own := tsn.GateMask(1) << h.queue
	others := ^l.Scheduled
	some, all, n := g.over(b.open, b.open+h.length)
	bad := func(r Rule, format string, a ...any) {
		text := fmt.Sprintf(format, a...)
		c.bad(c.at(r, id, b.open, streamsOf(h), "the window of %s, %d ns, %s", c.who(h), h.length, text))
	}
	switch {
	case !c.spend(n):
		return
	case all&own == 0:
		bad(RuleGates, "has not gate %d open throughout", h.queue)
	case some&others != 0:
		bad(RuleGates, "has gates of other traffic open, %s", some&others)
	case some&^own != 0:
		c.warn(c.at(RuleGates, id, b.open, streamsOf(h), "the window of %s has other scheduled gates open, %s",
			c.who(h), some&^own))
	case g.entire && (n > 1 || mod(b.open, g.cycle)+h.length > g.start[len(g.start)-1]):
		bad(RuleGates, "is not within one gate entry before the guard entry")
	}
	for q := range tsn.TrafficClass(l.Queues) {
		guard := l.Rate.TransmitTime(l.Guard(q))
		if guard == 0 || l.Scheduled.Has(q) {
			continue
		}
		if before, _, n := g.over(b.open-guard, b.open); c.spend(n) && before.Has(q) {
			bad(RuleGuard, "has gate %d of other traffic open within %d ns before it", q, guard)
		}
	}
}

// linkFigures adds the load of a link to the report.
func (c *checker) linkFigures(id schedule.LinkID) {
	g := c.lists[id]
	if g == nil && len(c.byLink[id]) == 0 {
		return
	}
	out := LinkFigures{Link: id}
	if l := c.cyclicAt(id); l != nil {
		for _, busy := range l.busy {
			out.Busy += busy
		}
	}
	l := &c.p.Links[id]
	for _, i := range c.byLink[id] {
		h := &c.hops[c.bursts[i].hop]
		out.Busy += h.busy
		out.Window += h.length
	}
	if g != nil {
		out.Entries = len(g.entries)
		for _, e := range g.entries {
			if e.Gates&^l.Scheduled != 0 {
				out.Other += e.Interval * (c.cycle / g.cycle)
			}
		}
	}
	c.report.Links = append(c.report.Links, out)
}

// finish completes the figures that depend on how early frames may leave.
func (c *checker) finish() {
	for i := range c.bursts {
		b := &c.bursts[i]
		if h := &c.hops[b.hop]; h.end >= 0 {
			e := &c.ends[h.end]
			e.shortest = min(e.shortest, h.earliest-b.lead)
		}
	}
	for _, e := range c.ends {
		l := &c.report.Streams[e.figures].Listeners[e.listener]
		if l.Latency > 0 {
			l.Jitter = l.Latency - max(e.shortest, e.least)
		}
	}
}
