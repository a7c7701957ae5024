package gatelist

import tsn "tsnswitch"

// sweep goes over the boundaries once and knows, for each kind of run that
// ends at the present one, where it best begins.
type sweep struct {
	f      *fit
	scale  int64
	fewest bool
	kinds  []front // by step; the last is that of windows
	late   int     // boundaries before it are a shortest interval away

	queue tsn.TrafficClass // of the last window
	other int              // boundary after the last window of another queue
	shut  [tsn.MaxTrafficClasses]int
	kept  int // boundary after the last cell that is kept for control
}

// front holds the boundaries at which a run may begin, each better than those
// before it.
type front struct {
	least int // no run begins before this boundary
	next  int // the first that is not taken in yet
	items []candidate
	head  int
}

type candidate struct {
	key     int64
	entries int32
	at      int32
}

func newSweep(f *fit, scale int64, fewest bool) *sweep {
	for k := range f.fronts {
		f.fronts[k] = front{items: f.fronts[k].items[:0]}
	}
	return &sweep{f: f, scale: scale, fewest: fewest, kinds: f.fronts, queue: none}
}

func (w *sweep) less(v int64, n int32, than int64, entries int32) bool {
	if v != than {
		return v < than
	}
	return n != entries && n < entries == w.fewest
}

// pass takes in the cell from boundary i to the next.
func (w *sweep) pass(i int) {
	c, f := &w.f.cells[i], w.f
	for v := range f.b.steps {
		bad := c.queue != none || int(c.step) > v || c.keep && !f.b.steps[v].gates.Has(f.b.link.Control)
		w.kinds[v].from(i+1, bad)
		w.kinds[v].from(f.barrier, i >= f.barrier)
	}
	for m := c.shut; m != 0; m &= m - 1 {
		w.shut[lowest(m)] = i + 1
	}
	if c.keep {
		w.kept = i + 1
	}
	if i >= f.barrier {
		w.kept = max(w.kept, f.barrier)
	}
	if c.queue != none && c.queue != w.queue {
		w.turn(i, c.queue)
	}
	if w.queue != none {
		w.window().from(max(w.other, w.shut[w.queue], w.kept), true)
	}
	for end := f.pos[i+1] - f.b.minInterval(); w.late < len(f.pos) && f.pos[w.late] <= end; {
		w.late++
	}
}

// turn begins with the windows of queue q at boundary i.
func (w *sweep) turn(i int, q tsn.TrafficClass) {
	for j := i - 1; j >= 0 && w.queue != none; j-- {
		if w.f.cells[j].queue != none {
			w.other = j + 1
			break
		}
	}
	w.queue = q
	least := max(w.other, w.shut[q], w.kept)
	*w.window() = front{least: least, next: least, items: w.window().items[:0]}
}

func (w *sweep) window() *front { return &w.kinds[len(w.kinds)-1] }

// from says that runs begin at boundary i or later, if so.
func (fr *front) from(i int, so bool) {
	if so {
		fr.least = max(fr.least, i)
	}
}

// begin is where the best run of kind k to boundary j begins, -1 if there is none.
func (w *sweep) begin(k, j int) int {
	fr := &w.kinds[k]
	if k == len(w.kinds)-1 && w.queue == none {
		return -1
	}
	for fr.next = max(fr.next, fr.least); fr.next < w.late; fr.next++ {
		w.take(fr, k, fr.next)
	}
	for fr.head < len(fr.items) && int(fr.items[fr.head].at) < fr.least {
		fr.head++
	}
	if fr.head == len(fr.items) {
		return -1
	}
	return int(fr.items[fr.head].at)
}

// take adds boundary i, and forgets those that are no better.
func (w *sweep) take(fr *front, k, i int) {
	r := &w.f.runs[i]
	if r.value == unreached {
		return
	}
	c := candidate{r.value - w.scale*w.f.loss(k, 0, i), r.entries, int32(i)}
	for n := len(fr.items); n > fr.head && !w.less(fr.items[n-1].key, fr.items[n-1].entries, c.key, c.entries); n-- {
		fr.items = fr.items[:n-1]
	}
	fr.items = append(fr.items, c)
}

func lowest(m tsn.GateMask) int {
	n := 0
	for m&(1<<n) == 0 {
		n++
	}
	return n
}
