package gatelist

import (
	"math"
	"math/bits"
	"slices"

	tsn "tsnswitch"
)

// fit looks for a list within the limits. An entry is a run of neighbouring
// cells with one setting of the gates that suits all of them:
//
//	open at step v  no window in it, no cell that is at a later step than v
//	window of q     windows of q only, and no cell in which q is shut
//
// The loss of a run is the time by which the others are closed without need,
// twice, and the time by which q is open outside its windows. Shortest path
// over the boundaries between runs finds the least loss + price per entry. At
// no price that is the best list that keeps the shortest interval; if it has
// too many entries, the price is raised to where the limit is met.
type fit struct {
	b       *builder
	pos     []int64 // boundaries, from 0 to the cycle
	cells   []cell  // the cell between pos[i] and the next
	free    []int64 // time without window before pos[i]
	stepped []int64 // the same, each ns times its step
	barrier int     // no run crosses this boundary
	runs    []run   // arrives at pos[i]
	fronts  []front // scratch of each sweep
}

// run is the best way to a boundary: the last run begins at boundary from.
type run struct {
	value   int64 // loss*scale + price*entries of the way; unreached
	loss    int64
	entries int32
	from    int32
	kind    int32 // step, or len(steps): window
}

const unreached = math.MaxInt64

// fit is the best list that keeps the limits, where exact is none.
func (b *builder) fit() ([]tsn.GateEntry, *Overflow) {
	f := newFit(b)
	best := f.solve(1, 0, true)
	if best == nil {
		return nil, f.tooShort()
	}
	limit := b.link.MaxEntries
	if limit > 0 && len(best) > limit {
		few := f.solve(0, 1, true)
		if len(few) > limit {
			return nil, b.overflow(len(few), nil, "needs %d gate entries, the port has %d", len(few), limit)
		}
		best = f.between(few, best, limit)
	}
	return f.entries(best), nil
}

// newFit cuts the cells where a run of the shortest interval may have to end.
func newFit(b *builder) *fit {
	f := &fit{b: b, pos: boundaries(b)}
	n := len(f.pos)
	f.cells, f.runs = make([]cell, n-1), make([]run, n)
	f.free, f.stepped = make([]int64, n), make([]int64, n)
	f.fronts = make([]front, len(b.steps)+1)
	at := 0
	for i := range f.cells {
		for at+1 < len(b.cells) && b.cells[at+1].start <= f.pos[i] {
			at++
		}
		c := b.cells[at]
		f.cells[i] = c
		f.free[i+1], f.stepped[i+1] = f.free[i], f.stepped[i]
		if c.queue == none {
			f.free[i+1] += f.pos[i+1] - f.pos[i]
			f.stepped[i+1] += (f.pos[i+1] - f.pos[i]) * int64(c.step)
		}
	}
	if b.link.Software {
		f.barrier, _ = slices.BinarySearch(f.pos, b.lastEntry())
	}
	return f
}

// boundaries are the cells' own, and one and two shortest intervals to either
// side of them: neighbours that are both too short push each other.
func boundaries(b *builder) []int64 {
	least := b.minInterval()
	out := make([]int64, 0, 5*len(b.cells)+1)
	out = append(out, b.cycle)
	for i := range b.cells {
		out = append(out, b.cells[i].start)
		if least == 1 {
			continue
		}
		for _, d := range [...]int64{-2, -1, 1, 2} {
			if t := b.cells[i].start + d*least; t > 0 && t < b.cycle {
				out = append(out, t)
			}
		}
	}
	if t := b.cycle - least; least > 1 && t > 0 {
		out = append(out, t)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// solve finds the runs with the least loss*scale + entries*price, and among
// these the ones with the fewest entries or the most; nil if there are none.
func (f *fit) solve(scale, price int64, fewest bool) []run {
	w := newSweep(f, scale, fewest)
	f.runs[0] = run{}
	for j := 1; j < len(f.pos); j++ {
		w.pass(j - 1)
		best := run{value: unreached}
		for k := range w.kinds {
			i := w.begin(k, j)
			if i < 0 {
				continue
			}
			r := f.runs[i]
			loss := f.loss(k, i, j)
			r = run{r.value + loss*scale + price, r.loss + loss, r.entries + 1, int32(i), int32(k)}
			if best.value == unreached || w.less(r.value, r.entries, best.value, best.entries) {
				best = r
			}
		}
		f.runs[j] = best
	}
	return f.trace()
}

// weight of a free ns in a run of kind k; each step of the cell takes 2 off.
func (f *fit) weight(k int) int64 {
	last := len(f.b.steps) - 1
	if k > last {
		return int64(2*last + 1)
	}
	return int64(2 * k)
}

func (f *fit) loss(k, i, j int) int64 {
	return f.weight(k)*(f.free[j]-f.free[i]) - 2*(f.stepped[j]-f.stepped[i])
}

// trace lists the runs of the way to the end of the cycle, nil if there is none.
func (f *fit) trace() []run {
	j := len(f.runs) - 1
	if f.runs[j].value == unreached {
		return nil
	}
	out := make([]run, f.runs[j].entries)
	for n := len(out) - 1; n >= 0; n-- {
		out[n] = f.runs[j]
		j = int(f.runs[j].from)
	}
	return out
}

// between finds the best runs within limit, given some within it and some
// better ones beyond it. Each round looks for a point below the line through
// both in the plane of entries and loss, until there is none.
func (f *fit) between(few, many []run, limit int) []run {
	for {
		a, b := few[len(few)-1], many[len(many)-1]
		scale, price := int64(b.entries-a.entries), a.loss-b.loss
		// Products stay in range: a list this long and lossy loses a little precision.
		if over := bits.Len64(uint64(price)) + bits.Len64(uint64(len(f.pos))) - 61; over > 0 {
			price >>= over
		}
		if over := bits.Len64(uint64(f.loss(len(f.b.steps), 0, len(f.pos)-1))) + bits.Len64(uint64(scale)) - 61; over > 0 {
			scale, price = max(scale>>over, 1), price>>over
		}
		next := f.solve(scale, price, true)
		c := next[len(next)-1]
		if c.value >= a.loss*scale+price*int64(a.entries) {
			return f.splice(few, f.solve(scale, price, false), limit)
		}
		if len(next) > limit {
			many = next
		} else {
			few = next
		}
	}
}

// splice takes few up to a boundary that both have, and many from there on, as
// early as the limit allows. Where both are best at one price, so is that.
func (f *fit) splice(few, many []run, limit int) []run {
	for i, j := 0, 0; i < len(few) && j < len(many); {
		switch a, b := few[i].from, many[j].from; {
		case a == b && i+len(many)-j <= limit:
			return append(few[:i:i], many[j:]...)
		case a <= b:
			i++
		default:
			j++
		}
	}
	return few
}

// entries are the gates of the runs.
func (f *fit) entries(runs []run) []tsn.GateEntry {
	var out []tsn.GateEntry
	for n, r := range runs {
		to := len(f.pos) - 1
		if n+1 < len(runs) {
			to = int(runs[n+1].from)
		}
		c := cell{start: f.pos[r.from]}
		out = f.b.add(out, &c, f.gates(r, to), f.pos[to]-f.pos[r.from])
	}
	return out
}

func (f *fit) gates(r run, to int) tsn.GateMask {
	if int(r.kind) < len(f.b.steps) {
		return f.b.steps[r.kind].gates
	}
	for _, c := range f.cells[r.from:to] {
		if c.queue != none {
			return 1 << c.queue
		}
	}
	return 0
}

// tooShort names the windows at which no list keeps the shortest interval.
func (f *fit) tooShort() *Overflow {
	j := len(f.runs) - 1
	for f.runs[j].value == unreached {
		j--
	}
	at := f.pos[j]
	var streams []int
	for i := range f.b.ws {
		if w := &f.b.ws[i]; w.open <= at+2*f.b.minInterval() && w.close+2*f.b.minInterval() >= at {
			streams = append(streams, int(w.stream))
		}
	}
	return f.b.overflow(0, streams, "at %d ns the windows allow no entry of at least %d ns", at, f.b.minInterval())
}
