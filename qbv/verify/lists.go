package verify

import (
	"fmt"
	"math"
	"sort"

	tsn "tsnswitch"
	"tsnswitch/qbv/schedule"
)

// gates is a gate control list that can be looked things up in.
type gates struct {
	cycle   int64
	entries []tsn.GateEntry
	start   []int64                       // of each entry
	runs    [tsn.MaxTrafficClasses][]span // when each gate is open; the last may end in the next cycle
	entire  bool                          // a frame must end in the entry in which it begins
}

// gateLists checks each list by itself and keeps those that are usable.
func (c *checker) gateLists() {
	c.report.Gates = len(c.s.Gates) > 0
	seen := make([]bool, len(c.p.Links))
	for i := range c.s.Gates {
		lg := &c.s.Gates[i]
		switch l := lg.Link; {
		case l < 0 || int(l) >= len(seen):
			c.bad(whole(RuleList, "there is a gate control list for link %d, which does not exist", l))
		case seen[l]:
			c.bad(c.at(RuleList, l, -1, nil, "has two gate control lists"))
		default:
			seen[l] = true
			c.list(lg)
		}
	}
	if !c.report.Gates {
		if len(c.bursts) > 0 {
			c.warn(whole(RuleList, "there are no gate control lists: only the starts are checked"))
		}
		return
	}
	for l := range c.byLink {
		if len(c.byLink[l]) > 0 && !seen[l] {
			c.unlisted(schedule.LinkID(l))
		}
	}
}

func (c *checker) unlisted(l schedule.LinkID) {
	report := c.bad
	if !c.p.Nodes[c.p.Links[l].From].Bridge {
		report = c.warn
	}
	report(c.at(RuleList, l, -1, nil, "carries scheduled streams and has no gate control list"))
}

// list checks what the port can execute.
func (c *checker) list(lg *schedule.LinkGates) {
	l := &c.p.Links[lg.Link]
	faults := c.report.FaultCount
	bad := func(format string, a ...any) { c.bad(c.at(RuleList, lg.Link, -1, nil, format, a...)) }
	list, n := &lg.List, len(lg.List.Entries)
	switch {
	case n == 0:
		bad("has an empty gate control list")
	case n > maxEntries:
		bad("has a gate control list of %d entries, more than %d", n, maxEntries)
	case l.MaxEntries > 0 && n > l.MaxEntries:
		bad("has %d gate entries, its port takes %d", n, l.MaxEntries)
	}
	if list.CycleTime < 1 || c.cycle%list.CycleTime != 0 {
		bad("has a gate cycle of %d ns, which does not divide the cycle of %d ns", list.CycleTime, c.cycle)
	}
	if list.BaseTime.NS != 0 || list.CycleTimeExtension != 0 {
		bad("has a base time of %d ns and a cycle time extension of %d ns, not 0", list.BaseTime.NS, list.CycleTimeExtension)
	}
	if reason := entriesFault(l, list); reason != "" {
		bad("%s", reason)
	}
	if c.report.FaultCount > faults {
		return
	}
	g := newGates(list, l.Software)
	c.lists[lg.Link] = g
	c.control(lg.Link, g)
	c.maxSDU(lg)
}

func entriesFault(l *schedule.Link, list *tsn.GateControlList) string {
	var sum int64
	n := len(list.Entries)
	for i, e := range list.Entries {
		switch {
		case e.Interval < max(l.MinInterval, 1):
			return fmt.Sprintf("gate entry %d lasts %d ns, the least is %d ns", i, e.Interval, max(l.MinInterval, 1))
		case e.Gates>>l.Queues != 0:
			return fmt.Sprintf("gate entry %d opens %s, there are %d queues", i, e.Gates, l.Queues)
		case e.Interval > list.CycleTime-sum:
			return fmt.Sprintf("gate entry %d ends after the cycle of %d ns", i, list.CycleTime)
		}
		sum += e.Interval
	}
	switch {
	case sum != list.CycleTime:
		return fmt.Sprintf("the gate entries last %d ns, the cycle %d ns", sum, list.CycleTime)
	case l.Software && n > 0 && list.Entries[n-1].Interval >= 2*max(l.MinInterval, 1):
		return fmt.Sprintf("the last gate entry lasts %d ns: software taprio needs a guard entry of %d ns there",
			list.Entries[n-1].Interval, max(l.MinInterval, 1))
	}
	return ""
}

// control checks that a control frame can be sent in every cycle of the port.
func (c *checker) control(id schedule.LinkID, g *gates) {
	l := &c.p.Links[id]
	if l.ControlOctets == 0 {
		return
	}
	need, longest := l.Rate.TransmitTime(l.ControlOctets), int64(0)
	for _, r := range g.runs[l.Control] {
		longest = max(longest, r.to-r.from)
	}
	if longest < need {
		c.bad(c.at(RuleControl, id, -1, nil, "control queue %d is open for %d ns at a time, a frame of %d octets needs %d ns",
			l.Control, longest, l.ControlOctets, need))
	}
}

// maxSDU checks that no stream's frames are too long for their queue.
func (c *checker) maxSDU(lg *schedule.LinkGates) {
	if lg.MaxSDU == [tsn.MaxTrafficClasses]int{} {
		return
	}
	if l := c.cyclicAt(lg.Link); l != nil {
		for _, q := range l.window.Queues {
			c.tooLong(lg, l.large, q)
		}
	}
	type use struct {
		stream int32
		queue  tsn.TrafficClass
	}
	seen := map[use]bool{}
	for _, i := range c.byLink[lg.Link] {
		h := &c.hops[c.bursts[i].hop]
		if u := (use{h.stream, h.queue}); h.stream >= 0 && !seen[u] {
			seen[u] = true
			c.tooLong(lg, int(h.stream), h.queue)
		}
	}
}

func (c *checker) tooLong(lg *schedule.LinkGates, si int, q tsn.TrafficClass) {
	size, most := c.p.Streams[si].Size, lg.MaxSDU[q]
	if most != 0 && size > most {
		c.bad(c.at(RuleGates, lg.Link, -1, []int{si}, "frames of %s have %d octets, queue %d takes %d", c.streamName(si), size, q, most))
	}
}

func newGates(list *tsn.GateControlList, entire bool) *gates {
	g := &gates{cycle: list.CycleTime, entries: list.Entries, start: make([]int64, len(list.Entries)), entire: entire}
	var at int64
	for i, e := range list.Entries {
		g.start[i] = at
		for q := range tsn.TrafficClass(tsn.MaxTrafficClasses) {
			if e.Gates.Has(q) {
				g.extend(q, span{at, at + e.Interval})
			}
		}
		at += e.Interval
	}
	if !entire {
		for q := range g.runs {
			g.runs[q] = joinEnds(g.runs[q], g.cycle)
		}
	}
	return g
}

// extend adds an opening to the runs of queue q.
func (g *gates) extend(q tsn.TrafficClass, s span) {
	runs := g.runs[q]
	if n := len(runs); n > 0 && !g.entire && runs[n-1].to == s.from {
		runs[n-1].to = s.to
		return
	}
	g.runs[q] = append(runs, s)
}

// joinEnds makes one run of the last and the first if they meet at the end of the cycle.
func joinEnds(runs []span, cycle int64) []span {
	n := len(runs)
	switch {
	case n == 0 || runs[0].from != 0 || runs[n-1].to != cycle:
		return runs
	case n == 1:
		return []span{{math.MinInt64 / 4, math.MaxInt64 / 4}}
	}
	runs[n-1].to += runs[0].to
	return runs[1:]
}

// open returns the time for which gate q is open at t, or else the next.
func (g *gates) open(q tsn.TrafficClass, t int64) (span, bool) {
	runs := g.runs[q]
	if len(runs) == 0 {
		return span{}, false
	}
	phase := mod(t, g.cycle)
	base, n := t-phase, len(runs)
	if last := runs[n-1]; last.to-g.cycle > phase {
		return span{last.from + base - g.cycle, last.to + base - g.cycle}, true
	}
	i := sort.Search(n, func(i int) bool { return runs[i].to > phase })
	if i == n {
		i, base = 0, base+g.cycle
	}
	return span{runs[i].from + base, runs[i].to + base}, true
}

// over returns the gates that are open at some time of from..to, those that
// are open all the time, and how many entries that takes.
func (g *gates) over(from, to int64) (some, all tsn.GateMask, n int) {
	all = math.MaxUint8
	to = min(to, from+g.cycle)
	at := mod(from, g.cycle)
	i := sort.Search(len(g.start), func(i int) bool { return g.start[i] > at }) - 1
	left := to - from + at - g.start[i]
	for ; left > 0; n++ {
		e := g.entries[i]
		some, all = some|e.Gates, all&e.Gates
		left -= e.Interval
		if i++; i == len(g.entries) {
			i = 0
		}
	}
	return some, all, n
}
