// Package gantt draws a schedule: ports by time, as text of at most 80 columns
// and as SVG. It knows neither where a schedule comes from nor what a screen is.
//
//	gantt.go  what is drawn, and how the classes of a port share lanes
//	text.go   letters and columns; svg.go  the picture
package gantt

import (
	"fmt"
	"slices"
	"strings"

	tsn "tsnswitch"
)

// Chart is one cycle of a schedule. Times are ns from the cycle's begin; what
// lies beyond its end goes on at its begin.
type Chart struct {
	Cycle   int64
	Now     int64    // phase of the present in the cycle; -1: not drawn
	Streams []Stream // in the order of the legend
	Rows    []Row    // from top to bottom
}

// Stream is a line of the legend.
type Stream struct {
	Name    string
	Period  int64
	Offset  int64 // when its talker may send
	Latency int64 // worst case
	Limit   int64 // its deadline
}

// Row is an egress port.
type Row struct {
	Name  string
	List  tsn.GateControlList
	Slots []Slot
	Empty string // said instead of gates that are not there
}

// Slot is a stream's window on a port, again every Period.
type Slot struct {
	Stream      int // index in Chart.Streams
	Queue       tsn.TrafficClass
	Period      int64
	Open, Close int64 // of the gate
	Start, End  int64 // of the frames, as planned
	// Due is by when the listener behind this port has the frames; 0: none is there.
	Due int64
}

// lane is a group of classes of a port that have the same gates.
type lane struct {
	classes tsn.GateMask
	slots   []Slot
}

// top is the highest class of a lane: it gives the colour.
func (l lane) top() tsn.TrafficClass {
	for c := tsn.TrafficClass(tsn.MaxTrafficClasses - 1); c > 0; c-- {
		if l.classes.Has(c) {
			return c
		}
	}
	return 0
}

// label is "7", "0-5" or "0,3".
func (l lane) label() string {
	var parts []string
	for c := 0; c < tsn.MaxTrafficClasses; c++ {
		from := c
		for c+1 < tsn.MaxTrafficClasses && l.classes.Has(tsn.TrafficClass(c)) && l.classes.Has(tsn.TrafficClass(c+1)) {
			c++
		}
		switch {
		case !l.classes.Has(tsn.TrafficClass(from)):
		case c > from:
			parts = append(parts, fmt.Sprintf("%d-%d", from, c))
		default:
			parts = append(parts, fmt.Sprint(from))
		}
	}
	return strings.Join(parts, ",")
}

// lanes puts the classes of a port together that open and close together; each
// class with windows of streams stands alone. Highest class first. Classes
// whose gate never opens are left out.
func (r *Row) lanes() []lane {
	var out []lane
	var with tsn.GateMask
	for _, s := range r.Slots {
		with |= 1 << s.Queue
	}
	for c := tsn.TrafficClass(tsn.MaxTrafficClasses - 1); c < tsn.MaxTrafficClasses; c-- {
		switch i := slices.IndexFunc(out, func(l lane) bool { return l.slots == nil && r.alike(l.top(), c) }); {
		case with.Has(c):
			out = append(out, lane{1 << c, r.slotsOf(c)})
		case !r.opens(c):
		case i >= 0:
			out[i].classes |= 1 << c
		default:
			out = append(out, lane{classes: 1 << c})
		}
	}
	return out
}

func (r *Row) slotsOf(c tsn.TrafficClass) (out []Slot) {
	for _, s := range r.Slots {
		if s.Queue == c {
			out = append(out, s)
		}
	}
	return out
}

func (r *Row) opens(c tsn.TrafficClass) bool {
	return slices.ContainsFunc(r.List.Entries, func(e tsn.GateEntry) bool { return e.Gates.Has(c) })
}

func (r *Row) alike(a, b tsn.TrafficClass) bool {
	return !slices.ContainsFunc(r.List.Entries, func(e tsn.GateEntry) bool { return e.Gates.Has(a) != e.Gates.Has(b) })
}

// open calls f with each time that a class's gate is open in one cycle of the
// chart; a list's own cycle may be shorter. most bounds it.
func (r *Row) open(c tsn.TrafficClass, cycle int64, f func(from, to int64)) {
	r.gates(cycle, func(g tsn.GateMask) bool { return g.Has(c) }, f)
}

// shut is the same for times in which all gates are closed.
func (r *Row) shut(cycle int64, f func(from, to int64)) {
	r.gates(cycle, func(g tsn.GateMask) bool { return g == 0 }, f)
}

const most = 1 << 14 // pieces of a picture's row

func (r *Row) gates(cycle int64, is func(tsn.GateMask) bool, f func(from, to int64)) {
	if r.List.CycleTime <= 0 {
		return
	}
	since, n := int64(-1), 0
	end := func(at int64) {
		if since >= 0 && n < most {
			f(since, at)
			n++
		}
		since = -1
	}
	for lap := int64(0); lap < cycle && n < most; lap += r.List.CycleTime {
		at := lap
		for _, e := range r.List.Entries {
			switch yes := is(e.Gates); {
			case yes && since < 0:
				since = at
			case !yes:
				end(at)
			}
			if at += e.Interval; at >= min(lap+r.List.CycleTime, cycle) {
				break
			}
		}
	}
	end(cycle)
}

// again calls f with a slot's times in one cycle, most of them at most.
func (c *Chart) again(s Slot, from, to int64, f func(from, to int64)) {
	period := s.Period
	if period <= 0 {
		period = c.Cycle
	}
	for at, n := mod(from, period), 0; at < c.Cycle && n < most; at, n = at+period, n+1 {
		f(at, at+to-from)
	}
}

func mod(a, m int64) int64 {
	if a %= m; a < 0 {
		a += m
	}
	return a
}

// Duration prints ns in the largest unit that leaves at most three decimals.
func Duration(ns int64) string {
	for _, u := range []struct {
		size int64
		name string
	}{{1_000_000_000, "s"}, {1_000_000, "ms"}, {1000, "us"}} {
		if ns >= u.size {
			s := fmt.Sprintf("%.3f", float64(ns)/float64(u.size))
			return strings.TrimSuffix(strings.TrimRight(s, "0"), ".") + u.name
		}
	}
	return fmt.Sprintf("%dns", ns)
}

func clip(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n-1]) + "~"
	}
	return s
}
