package qbv

import (
	"cmp"
	"fmt"
	"slices"
	"sort"

	"tsnswitch"
)

// defaultMaxEntries bounds a list where the port names no limit.
const defaultMaxEntries = 1 << 16

// span is a time in a port's cycle during which the scheduled gate is open.
type span struct{ open, close int64 }

// gateBuilder turns the windows of one port into gate entries:
//
//	         ┌─window─┐            scheduled class (2)
//	──open──┐ guard     ┌──open──  control (3) and the others
//
// A guard band may run over the end of the cycle; a window that does is cut.
type gateBuilder struct {
	cycle       int64
	guard       int64 // ns before each window; 0 for none
	minInterval int64
	others      tsn.GateMask
	software    bool // the list ends in a guard entry
}

const scheduledGate = tsn.GateMask(1 << tsn.ClassScheduled)

// gates builds the lists of all links in use. If control traffic is starved
// on a link, its index is returned with the error, otherwise -1.
func (pl *planner) gates(offsets []int64) (out []PortSchedule, starved int, err error) {
	users := make([][]int, len(pl.problem.Links)) // task of each window
	for i, t := range pl.tasks {
		for _, h := range t.hops {
			users[h.link] = append(users[h.link], i)
		}
	}
	for l, link := range pl.problem.Links {
		if len(users[l]) == 0 {
			continue
		}
		b := pl.builder(l)
		limit := link.MaxEntries
		if limit <= 0 {
			limit = defaultMaxEntries
		}
		spans, err := pl.spans(l, users[l], offsets, b.cycle)
		if err != nil {
			return nil, -1, err
		}
		entries := b.fit(spans, limit)
		if len(entries) > limit {
			return nil, -1, pl.infeasibleLink(l, users[l], fmt.Sprintf("needs %d gate entries, the port has %d", len(entries), limit))
		}
		list := tsn.GateControlList{CycleTime: b.cycle, Entries: entries}
		need := link.Rate.TransmitTime(MaxFrameOctets)
		if longestOpen(&list, tsn.ClassControl, b.software) < need {
			return nil, l, pl.infeasibleLink(l, users[l], fmt.Sprintf("has no %d ns left in its cycle of %d ns for control traffic", need, b.cycle))
		}
		out = append(out, PortSchedule{Hop: link.From, List: list})
	}
	return out, -1, nil
}

func (pl *planner) infeasibleLink(l int, users []int, reason string) *Infeasible {
	e := &Infeasible{Link: pl.problem.Links[l].From, Reason: reason}
	for _, i := range users[:min(len(users), maxBlocking)] {
		e.Blocking = append(e.Blocking, pl.problem.Streams[i].Stream.ID)
	}
	return e
}

func (pl *planner) builder(l int) gateBuilder {
	b := gateBuilder{
		cycle:       pl.linkCycle(l),
		guard:       pl.problem.Links[l].Rate.TransmitTime(pl.problem.GuardOctets),
		minInterval: pl.problem.minInterval(pl.problem.Links[l]),
		others:      tsn.GateMask(1<<pl.problem.ClassMap.Classes()-1) &^ scheduledGate,
		software:    !pl.problem.HardwareGates,
	}
	if b.guard > 0 {
		b.guard = max(b.guard, b.minInterval)
	}
	return b
}

// controlTime is what control traffic needs at the end of a cycle: its frame,
// the guard band of a window that opens the next cycle, the guard entry.
func (pl *planner) controlTime(l int) int64 {
	frame := pl.problem.Links[l].Rate.TransmitTime(MaxFrameOctets)
	b := pl.builder(l)
	return max(frame, b.minInterval) + max(b.guard, b.minInterval)
}

// linkCycle is the least common multiple of the intervals on a link; it
// divides the hyperperiod, so it does not overflow.
func (pl *planner) linkCycle(l int) int64 {
	cycle := int64(1)
	for _, t := range pl.tasks {
		if slices.ContainsFunc(t.hops, func(h taskHop) bool { return h.link == l }) {
			cycle *= t.period / gcd(cycle, t.period)
		}
	}
	return cycle
}

// spans lists the windows of a link in one cycle, ascending.
func (pl *planner) spans(l int, users []int, offsets []int64, cycle int64) ([]span, error) {
	var out []span
	for _, i := range users {
		t := &pl.tasks[i]
		h := t.hops[slices.IndexFunc(t.hops, func(h taskHop) bool { return h.link == l })]
		if int64(len(out))+cycle/t.period > defaultMaxEntries {
			return nil, pl.infeasibleLink(l, users, fmt.Sprintf("has more than %d windows in its cycle of %d ns", defaultMaxEntries, cycle))
		}
		for at := mod(offsets[i]+h.open, t.period); at < cycle; at += t.period {
			if at+h.window <= cycle {
				out = append(out, span{at, at + h.window})
				continue
			}
			// Cut in two at the end of the cycle, neither part shorter than an entry.
			shortest := pl.problem.minInterval(pl.problem.Links[l])
			out = append(out, span{min(at, cycle-shortest), cycle}, span{0, max(at+h.window-cycle, shortest)})
		}
	}
	slices.SortFunc(out, func(a, b span) int { return cmp.Compare(a.open, b.open) })
	return out, nil
}

// fit joins windows until their entries fit the limit, if they can: first
// those with nothing usable between them, then those that are closest.
func (b gateBuilder) fit(spans []span, limit int) []tsn.GateEntry {
	spans = b.join(spans, b.minInterval-1)
	entries := b.entries(spans)
	if len(entries) <= limit {
		return entries
	}
	var gaps []int64
	for i := 1; i < len(spans); i++ {
		gaps = append(gaps, spans[i].open-spans[i-1].close)
	}
	slices.Sort(gaps)
	gaps = slices.Compact(gaps)
	n := sort.Search(len(gaps), func(n int) bool { return len(b.entries(b.join(spans, gaps[n]))) <= limit })
	if n == len(gaps) {
		n--
	}
	if n < 0 {
		return entries
	}
	return b.entries(b.join(spans, gaps[n]))
}

// join makes one window of neighbours no more than gap apart, and stretches
// the first and last to the ends of the cycle if the rest is too short for an entry.
func (b gateBuilder) join(spans []span, gap int64) []span {
	var out []span
	for _, s := range spans {
		if n := len(out); n > 0 && s.open-out[n-1].close <= gap {
			out[n-1].close = max(out[n-1].close, s.close)
			continue
		}
		out = append(out, s)
	}
	if out[0].open < b.minInterval {
		out[0].open = 0
	}
	if last := &out[len(out)-1]; b.cycle-last.close < b.minInterval {
		last.close = b.cycle
	}
	return out
}

// entries emits the list for windows that are at least minInterval apart.
func (b gateBuilder) entries(spans []span) []tsn.GateEntry {
	var out []tsn.GateEntry
	add := func(gates tsn.GateMask, length int64) {
		if length > 0 {
			out = append(out, tsn.GateEntry{Gates: gates, Interval: length})
		}
	}
	// gap emits the time before a window: open, then closed for the guard.
	gap := func(length, guard int64) {
		if guard > 0 && length-guard < b.minInterval {
			guard = length
		}
		add(b.others, length-guard)
		add(0, guard)
	}
	head := spans[0].open
	gap(head, min(b.guard, head))
	for i, s := range spans {
		if i > 0 {
			length := s.open - spans[i-1].close
			gap(length, min(b.guard, length))
		}
		add(scheduledGate, s.close-s.open)
	}
	// What the head has no room for is closed at the end of the cycle before.
	tail := b.cycle - spans[len(spans)-1].close
	rest := b.guard - min(b.guard, head)
	if rest > 0 {
		rest = min(max(rest, b.minInterval), tail)
	}
	gap(tail, rest)
	out = mergeEqual(out)
	if b.software {
		out = ForSoftwareTaprio(&tsn.GateControlList{Entries: out}, b.minInterval).Entries
	}
	return out
}
