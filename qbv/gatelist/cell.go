package gatelist

import (
	"cmp"
	"math"
	"slices"

	tsn "tsnswitch"
	"tsnswitch/qbv/schedule"
)

// step is which of the other queues may be open when a window is at least
// guard ns away. Steps follow each other by falling guard, each with fewer
// queues; the last has none.
type step struct {
	gates tsn.GateMask
	guard int64
}

// steps are those of link l: the gate of a queue that is not scheduled closes
// for its guard before a window.
func steps(l *schedule.Link) (out []step) {
	open := tsn.GateMask(1<<l.Queues-1) &^ l.Scheduled
	for open != 0 {
		longest, first := 0, tsn.GateMask(0) // to close
		for q := range tsn.TrafficClass(l.Queues) {
			switch g := l.Guard(q); {
			case !open.Has(q):
			case first == 0 || g > longest:
				longest, first = g, 1<<q
			case g == longest:
				first |= 1 << q
			}
		}
		out = append(out, step{open, l.Rate.TransmitTime(longest)})
		open &^= first
	}
	return append(out, step{})
}

// none is the queue of a cell without window.
const none = tsn.TrafficClass(tsn.MaxTrafficClasses)

// cell is a time of the cycle in which nothing changes; it lasts until the next.
type cell struct {
	start int64
	queue tsn.TrafficClass // whose window it is; none
	step  uint8            // without window: how far the others may be open
	shut  tsn.GateMask     // without window: queues in which a frame waits for a later window
	keep  bool             // control traffic needs it
}

func (c *cell) gates(st []step) tsn.GateMask {
	if c.queue != none {
		return 1 << c.queue
	}
	return st[c.step].gates
}

// cells cuts the cycle of a link by its windows, which do not overlap.
func cells(ws []window, cycle int64, st []step) []cell {
	left, right := waiting(ws, cycle)
	out := make([]cell, 0, 4*len(ws)+2)
	for i := range ws {
		w := &ws[i]
		out = append(out, cell{start: w.open, queue: w.queue})
		next, to := (i+1)%len(ws), cycle
		if next > 0 {
			to = 0
		}
		to += ws[next].open
		g := gap{from: w.close, to: to, left: w.queue, right: ws[next].queue, leftWaits: left[i], rightWaits: right[i]}
		out = g.cells(out, st)
	}
	return fromZero(out, cycle)
}

// gap is the time between two windows: of queue left, then right. From
// leftWaits on a frame waits in left, from rightWaits in right.
type gap struct {
	from, to              int64
	left, right           tsn.TrafficClass
	leftWaits, rightWaits int64
}

func (g *gap) cells(out []cell, st []step) []cell {
	var cuts [tsn.MaxTrafficClasses + 4]int64
	n := 0
	cut := func(t int64) {
		if t = max(t, g.from); t < g.to {
			cuts[n] = t
			n++
		}
	}
	cut(g.from)
	for i := range st {
		cut(g.to - st[i].guard)
	}
	cut(g.leftWaits)
	cut(g.rightWaits)
	all := cuts[:n]
	slices.Sort(all)
	for _, t := range slices.Compact(all) {
		out = append(out, cell{start: t, queue: none, step: g.step(t, st), shut: g.shut(t)})
	}
	return out
}

func (g *gap) step(t int64, st []step) uint8 {
	n := uint8(0)
	for int(n) < len(st)-1 && t >= g.to-st[n].guard {
		n++
	}
	return n
}

func (g *gap) shut(t int64) (m tsn.GateMask) {
	if t >= g.leftWaits {
		m |= 1 << g.left
	}
	if t >= g.rightWaits {
		m |= 1 << g.right
	}
	return m
}

// waiting says for the gap after each window from when on a frame waits in the
// queue of that window, and in that of the next one.
func waiting(ws []window, cycle int64) (left, right []int64) {
	n := len(ws)
	left, right = make([]int64, n), make([]int64, n)
	var first [tsn.MaxTrafficClasses]int64
	for q := range first {
		first[q] = math.MaxInt64
	}
	for i := 2*n - 1; i >= 1; i-- {
		w, shift := &ws[i%n], int64(0)
		if i >= n {
			shift = cycle
		}
		first[w.queue] = min(first[w.queue], w.begin+shift)
		if i <= n {
			left[i-1], right[i-1] = first[ws[i-1].queue], first[w.queue]
		}
	}
	return left, right
}

// fromZero turns cells that begin within the cycle and run over its end into
// cells that begin at 0.
func fromZero(in []cell, cycle int64) []cell {
	at, there := slices.BinarySearchFunc(in, cycle, byStart)
	out := make([]cell, 0, len(in)+1)
	if !there && in[0].start > 0 {
		over := in[at-1]
		over.start = cycle
		out = append(out, over)
	}
	out = append(append(out, in[at:]...), in[:at]...)
	for i := 0; i < len(out)-at; i++ {
		out[i].start -= cycle
	}
	return out
}

func byStart(c cell, t int64) int { return cmp.Compare(c.start, t) }

// split makes t the start of a cell.
func split(in []cell, t int64) []cell {
	at, there := slices.BinarySearchFunc(in, t, byStart)
	if there {
		return in
	}
	c := in[at-1]
	c.start = t
	return slices.Insert(in, at, c)
}
