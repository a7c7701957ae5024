package verify

import (
	tsn "tsnswitch"
	"tsnswitch/qbv/schedule"
)

// cyclicLink is what cyclic streams do on one link.
type cyclicLink struct {
	window *schedule.CyclicWindow
	busy   []int64 // frames of full size, by cycle
	comes  int64   // earliest arrival of a frame in a cycle; CycleTime: none comes, all are the talker's
	short  int64   // transmission of the shortest frame
	large  int     // the stream with the longest frames
}

const unused = int64(1) << 62

// cyclicTime checks the cycle time and returns what it adds to the hyperperiod
// and to the transmissions: a window for each link and cycle.
func (c *checker) cyclicTime() (ok bool, hyper, bursts int64) {
	cy := c.s.Cyclic
	if cy == nil {
		return true, 1, 0
	}
	t := cy.CycleTime
	if t < 1 || t > c.cycle/2 || c.cycle%(2*t) != 0 {
		c.bad(whole(RuleCycle, "two cyclic cycles of %d ns do not divide the cycle of %d ns", t, c.cycle))
		return false, 1, 0
	}
	if c.cycle/t > maxBursts/max(int64(len(cy.Windows)), 1) {
		return true, 2 * t, maxBursts + 1
	}
	return true, 2 * t, c.cycle / t * int64(len(cy.Windows))
}

// cyclic checks the streams that work by cyclic queuing and forwarding (802.1Q
// annex T), and writes out the windows they share.
func (c *checker) cyclic() {
	if c.s.Cyclic == nil {
		return
	}
	links := c.cyclicWindows()
	c.cyclicLinks = links
	for _, cs := range c.cyclics {
		if c.route(cs.Stream, cs.Route) {
			c.cyclicStream(cs, links)
		}
	}
	for l := range links {
		if links[l].window != nil {
			c.cyclicLoad(&links[l])
		}
	}
	c.notShared(links)
}

// cyclicWindows checks each window by itself.
func (c *checker) cyclicWindows() []cyclicLink {
	links := make([]cyclicLink, len(c.p.Links))
	t := c.s.Cyclic.CycleTime
	for i := range c.s.Cyclic.Windows {
		w := &c.s.Cyclic.Windows[i]
		if w.Link < 0 || int(w.Link) >= len(links) || links[w.Link].window != nil {
			c.bad(whole(RulePlacement, "there is a cyclic window for link %d, which does not exist or has two", w.Link))
			continue
		}
		bad := func(r Rule, format string, a ...any) { c.bad(c.at(r, w.Link, -1, nil, format, a...)) }
		l := &c.p.Links[w.Link]
		pair := tsn.GateMask(1)<<w.Queues[0] | tsn.GateMask(1)<<w.Queues[1]
		switch {
		case w.Queues[0] == w.Queues[1] || max(w.Queues[0], w.Queues[1]) >= tsn.MaxTrafficClasses || pair&^l.Scheduled != 0:
			bad(RuleQueue, "cyclic streams use queues %d and %d, scheduled streams may use %s", w.Queues[0], w.Queues[1], l.Scheduled)
		case w.Length < 1 || w.Offset < 0 || w.Length > t || w.Offset > t-w.Length:
			bad(RulePlacement, "the cyclic window of %d ns at %d ns is not within a cycle of %d ns", w.Length, w.Offset, t)
		default:
			links[w.Link] = cyclicLink{window: w, busy: make([]int64, c.cycle/t), comes: t, short: unused}
		}
	}
	return links
}

// cyclicStream checks one stream and adds it to the links of its route, whose
// predecessors are in c.scratch.
func (c *checker) cyclicStream(cs *schedule.CyclicStream, links []cyclicLink) {
	s, t := &c.p.Streams[cs.Stream], c.s.Cyclic.CycleTime
	media := measure(c.p, s, cs.Route, c.scratch)
	if s.Period%t != 0 || cs.Start < 0 || cs.Start >= s.Period/t {
		c.bad(c.of(RulePlacement, cs.Stream, "starts in cycle %d of its period of %d ns, of %d ns each", cs.Start, s.Period, t))
		return
	}
	for _, id := range cs.Route {
		if links[id].window == nil {
			c.bad(c.of(RulePlacement, cs.Stream, "takes %s, which has no cyclic window", c.p.LinkName(id)))
			return
		}
	}
	for h, parent := range c.scratch {
		l := &links[cs.Route[h]]
		l.add(cs.Start+media[h].depth, s.Period/t, int64(max(s.Frames, 1))*media[h].tx)
		if l.short == unused || s.Size > c.p.Streams[l.large].Size {
			l.large = cs.Stream
		}
		l.short = min(l.short, media[h].short)
		if parent >= 0 {
			c.cyclicArrival(cs, links[cs.Route[parent]].window, &media[parent], l)
		}
	}
	c.cyclicBounds(cs, media, links)
}

// add notes frames that take busy ns in cycle n and every so many cycles.
func (l *cyclicLink) add(n, every, busy int64) {
	for n %= every; n < int64(len(l.busy)); n += every {
		l.busy[n] += busy
	}
}

// cyclicArrival checks that what is sent in window w of a cycle comes to the
// next port within the same cycle. What comes at the end of a cycle belongs to it.
func (c *checker) cyclicArrival(cs *schedule.CyclicStream, w *schedule.CyclicWindow, m *medium, to *cyclicLink) {
	first := w.Offset + m.short + m.onward - c.p.SyncError
	last := w.Offset + w.Length + m.onward + c.p.SyncError
	if to.comes = min(to.comes, first); first <= 0 || last > c.s.Cyclic.CycleTime {
		c.bad(c.at(RuleCausality, w.Link, -1, []int{cs.Stream}, "cyclic frames of %s come to the next port from %d to %d ns, not within a cycle of %d ns",
			c.streamName(cs.Stream), first, last, c.s.Cyclic.CycleTime))
	}
}

// cyclicBounds checks and reports the latency to each listener.
func (c *checker) cyclicBounds(cs *schedule.CyclicStream, media []medium, links []cyclicLink) {
	s, t := &c.p.Streams[cs.Stream], c.s.Cyclic.CycleTime
	frames := int64(max(s.Frames, 1))
	first := c.cyclicFirst(cs, s, media, links)
	figures := Figures{Stream: cs.Stream}
	at := make(map[schedule.NodeID]int, len(cs.Route))
	for h, id := range cs.Route {
		at[c.p.Links[id].To] = h
	}
	for _, n := range s.Listeners {
		h := at[n]
		m, w := &media[h], links[cs.Route[h]].window
		base := m.depth*t + m.prop - first.from
		worst := base + w.Offset + w.Length + c.p.SyncError
		best := base + w.Offset + frames*m.tx - c.p.SyncError - (first.to - first.from)
		least := max(best-frames*(m.tx-m.short), m.least)
		if m.depth == 0 { // the frames follow each other in one window
			best, least = frames*m.tx+m.prop, frames*m.short+m.prop
		}
		to := c.p.Nodes[n].Name
		switch {
		case worst > s.Deadline:
			c.bad(c.of(RuleDeadline, cs.Stream, "takes up to %d ns to %s, it is allowed %d ns", worst, to, s.Deadline))
		case cs.Worst > 0 && worst > cs.Worst:
			c.bad(c.of(RuleDeadline, cs.Stream, "takes up to %d ns to %s, not %d ns as it says", worst, to, cs.Worst))
		case s.Jitter > 0 && worst-best > s.Jitter:
			c.bad(c.of(RuleJitter, cs.Stream, "takes %d to %d ns to %s, it is allowed to vary by %d ns", best, worst, to, s.Jitter))
		}
		figures.Listeners = append(figures.Listeners, Listener{
			Node: n, Planned: worst, Latency: worst, Jitter: worst - least, Processing: c.p.Links[cs.Route[h]].ProcessingDelay,
		})
	}
	c.report.Streams = append(c.report.Streams, figures)
}

// cyclicFirst is when the first frame of a period may start, by the talker's
// clock and from the start of its cycle on, and checks its release.
func (c *checker) cyclicFirst(cs *schedule.CyclicStream, s *schedule.Stream, media []medium, links []cyclicLink) span {
	first := span{1 << 62, -1 << 62}
	for h, id := range cs.Route {
		if media[h].depth == 0 {
			w := links[id].window
			first.from = min(first.from, w.Offset)
			first.to = max(first.to, w.Offset+w.Length-int64(max(s.Frames, 1))*media[h].short)
		}
	}
	latest := s.Release[1]
	if latest == 0 {
		latest = s.Period - 1
	}
	cycle := cs.Start * c.s.Cyclic.CycleTime
	if cycle+first.from < s.Release[0] || cycle+first.to > latest {
		c.bad(c.of(RuleRelease, cs.Stream, "first starts %d to %d ns into its period, not within %d..%d", cycle+first.from, cycle+first.to, s.Release[0], latest))
	}
	return first
}

// cyclicLoad checks that the window holds what its fullest cycle sends, and
// writes it out.
func (c *checker) cyclicLoad(l *cyclicLink) {
	w, t := l.window, c.s.Cyclic.CycleTime
	for n, busy := range l.busy {
		if busy+2*c.margin > w.Length {
			c.bad(c.at(RuleOverlap, w.Link, int64(n)*t+w.Offset, nil, "cyclic frames take %d ns, their window and its margins leave %d ns", busy, w.Length-2*c.margin))
			break
		}
	}
	if l.short == unused {
		return
	}
	for parity := range 2 {
		h := hop{stream: -1, link: w.Link, queue: w.Queues[parity], length: w.Length, leaves: w.Length, short: l.short, end: -1, base: t + w.Offset - l.comes}
		if l.comes == t {
			h.base = 0
		}
		c.hops = append(c.hops, h)
	}
	for n := range l.busy {
		c.bursts = append(c.bursts, burst{open: int64(n)*t + w.Offset, hop: int32(len(c.hops) - 2 + n%2), parent: -1})
	}
}

// cyclicAt returns what cyclic streams do on a link, nil if nothing.
func (c *checker) cyclicAt(l schedule.LinkID) *cyclicLink {
	if len(c.cyclicLinks) == 0 || c.cyclicLinks[l].window == nil || c.cyclicLinks[l].short == unused {
		return nil
	}
	return &c.cyclicLinks[l]
}

// notShared checks that no placed stream is in a queue of cyclic ones.
func (c *checker) notShared(links []cyclicLink) {
	for i := range c.hops {
		h := &c.hops[i]
		if w := links[h.link].window; w != nil && h.stream >= 0 && (h.queue == w.Queues[0] || h.queue == w.Queues[1]) {
			c.bad(c.at(RuleIsolation, h.link, -1, streamsOf(h), "%s is in queue %d, which is for cyclic streams", c.who(h), h.queue))
		}
	}
}
