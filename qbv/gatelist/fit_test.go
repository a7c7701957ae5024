package gatelist

import (
	"fmt"
	"math/bits"
	"math/rand/v2"
	"testing"

	tsn "tsnswitch"
	"tsnswitch/qbv/schedule"
)

// octetLink sends one octet in a ns.
func octetLink() schedule.Link {
	return schedule.Link{From: 0, To: 1, Rate: 8 * tsn.Gbps, Queues: 4, Scheduled: 0b1100}
}

// randomBuilder has a few windows with waits in a short cycle, which do not
// overlap, and limits that bind now and then.
func randomBuilder(r *rand.Rand) *builder {
	l := octetLink()
	l.MinInterval = r.Int64N(5)
	l.GuardOctets = r.IntN(7)
	if r.IntN(3) == 0 {
		l.MaxSDU[r.IntN(2)] = 1 + r.IntN(5)
	}
	l.Software = r.IntN(4) == 0
	if r.IntN(3) == 0 {
		l.Control, l.ControlOctets = 1, 1+r.IntN(9)
	}
	b := &builder{link: &l, cycle: 20 + r.Int64N(40), steps: steps(&l)}
	start := r.Int64N(10)
	for at := start; ; {
		w := window{open: at, close: at + 1 + r.Int64N(8), queue: 2 + tsn.TrafficClass(r.IntN(2)), stream: int32(len(b.ws))}
		w.begin = w.open
		if r.IntN(2) == 0 {
			w.begin -= r.Int64N(12)
		}
		if w.close > start+b.cycle || w.open >= b.cycle || len(b.ws) > 0 && b.ws[0].open+b.cycle < w.close {
			break
		}
		b.ws = append(b.ws, w)
		at = w.close
		if r.IntN(3) > 0 {
			at += r.Int64N(15)
		}
	}
	return b
}

// wish is what a ns of the cycle asks for, written down from the rules alone.
type wish struct {
	window tsn.GateMask // the only gate that is open; 0: no window
	shut   tsn.GateMask // scheduled gates that are not
	others tsn.GateMask // may be open
}

func wishes(b *builder) []wish {
	out := make([]wish, b.cycle)
	for t := range out {
		out[t].others = othersMask
	}
	at := func(t int64) *wish { return &out[((t%b.cycle)+b.cycle)%b.cycle] }
	for _, w := range b.ws {
		for q := range 2 {
			guard := int64(b.link.GuardOctets)
			if m := int64(b.link.MaxSDU[q]); m > 0 {
				guard = min(guard, m)
			}
			for t := w.open - guard; t < w.close; t++ {
				at(t).others &^= 1 << q
			}
		}
		for t := w.open; t < w.close; t++ {
			at(t).window = 1 << w.queue
		}
	}
	for _, w := range b.ws {
		for t := w.begin; t < w.open; t++ {
			at(t).shut |= 1 << w.queue
		}
	}
	for t := range out {
		if out[t].window != 0 {
			out[t].shut = 0
		}
	}
	return out
}

const othersMask = tsn.GateMask(0b0011)

// checkList is the rules again, ns by ns.
func checkList(b *builder, entries []tsn.GateEntry) error {
	var at []tsn.GateMask
	for i, e := range entries {
		if e.Interval < max(b.link.MinInterval, 1) {
			return fmt.Errorf("entry %d is short: %v", i, entries)
		}
		for range e.Interval {
			at = append(at, e.Gates)
		}
	}
	if int64(len(at)) != b.cycle || b.link.MaxEntries > 0 && len(entries) > b.link.MaxEntries {
		return fmt.Errorf("%d entries of %d ns in all", len(entries), len(at))
	}
	for t, w := range wishes(b) {
		g := at[t]
		switch {
		case w.window != 0 && g != w.window:
			return fmt.Errorf("at %d: gates %s in a window of %s", t, g, w.window)
		case g&w.shut != 0:
			return fmt.Errorf("at %d: gates %s let a frame out early (%s)", t, g, w.shut)
		case g&othersMask&^w.others != 0 || g&othersMask != 0 && g&^othersMask != 0:
			return fmt.Errorf("at %d: gates %s in a guard band or window", t, g)
		}
	}
	if b.link.ControlOctets > 0 && longestOpen(entries, b.link.Control, b.link.Software) < int64(b.link.ControlOctets) {
		return fmt.Errorf("no room for control in %v", entries)
	}
	if last := entries[len(entries)-1]; b.link.Software && last.Interval != max(b.link.MinInterval, 1) {
		return fmt.Errorf("last entry is %v", last)
	}
	return nil
}

// lossAt is what gates g lose in a ns: 2 for each kind of other queue that need
// not be closed, 1 for a scheduled gate without need. Queues with the same
// guard are of a kind.
func lossAt(b *builder, g tsn.GateMask, w wish) int64 {
	if w.window != 0 {
		return 0
	}
	loss := 2 * int64(bits.OnesCount8(uint8(w.others&^g)))
	if b.link.Guard(0) == b.link.Guard(1) {
		loss /= 2
	}
	if g&^othersMask != 0 {
		loss++
	}
	return loss
}

func lossOf(b *builder, entries []tsn.GateEntry) (loss int64) {
	t := int64(0)
	ws := wishes(b)
	for _, e := range entries {
		for range e.Interval {
			loss += lossAt(b, e.Gates, ws[t])
			t++
		}
	}
	return loss
}

// bruteForce is the least loss for each number of entries, by trying every
// boundary and every setting; -1: impossible.
func bruteForce(b *builder, most int) []int64 {
	ws, c := wishes(b), int(b.cycle)
	settings := []tsn.GateMask{othersMask, 0, 1 << 2, 1 << 3}
	switch g0, g1 := b.link.Guard(0), b.link.Guard(1); {
	case g0 < g1:
		settings = append(settings, 1<<0)
	case g0 > g1:
		settings = append(settings, 1<<1)
	}
	cost := func(g tsn.GateMask, w wish) int64 {
		if w.window != 0 && g != w.window || g&w.shut != 0 || g&othersMask&^w.others != 0 {
			return -1
		}
		return lossAt(b, g, w)
	}
	least := int(max(b.link.MinInterval, 1))
	best := make([][]int64, most+1)
	for k := range best {
		best[k] = make([]int64, c+1)
		for t := range best[k] {
			best[k][t] = -1
		}
	}
	best[0][0] = 0
	for k := 1; k <= most; k++ {
		for i := range c {
			if best[k-1][i] < 0 {
				continue
			}
			for _, g := range settings {
				sum := best[k-1][i]
				for j := i; j < c; j++ {
					if b.link.Software && j == c-least && i < j {
						break
					}
					add := cost(g, ws[j])
					if add < 0 {
						break
					}
					sum += add
					if j+1-i >= least && (best[k][j+1] < 0 || sum < best[k][j+1]) {
						best[k][j+1] = sum
					}
				}
			}
		}
	}
	out := make([]int64, most+1)
	for k := range out {
		out[k] = best[k][c]
		if k > 0 && out[k-1] >= 0 && (out[k] < 0 || out[k-1] < out[k]) {
			out[k] = out[k-1]
		}
	}
	return out
}

// Whatever the windows and limits, a list keeps every rule.
func TestListKeepsTheRules(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	made := 0
	for n := range 20000 {
		b := randomBuilder(r)
		if len(b.ws) == 0 {
			continue
		}
		if r.IntN(2) == 0 {
			b.link.MaxEntries = 1 + r.IntN(12)
		}
		entries, over := b.list()
		if over != nil {
			continue
		}
		made++
		if err := checkList(b, entries); err != nil {
			t.Fatalf("case %d: %v\nlink %+v\nwindows %v", n, err, *b.link, b.ws)
		}
	}
	if made < 8000 {
		t.Errorf("only %d lists were made", made)
	}
}

// Against every possible list: an overflow is one, and the loss is the least
// there is or close to it.
func TestListAgainstBruteForce(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 2))
	const most = 30
	var tried, worse int
	var got, best int64
	for n := range 3000 {
		b := randomBuilder(r)
		if len(b.ws) == 0 {
			continue
		}
		b.link.ControlOctets = 0
		if b.link.Software && b.guardEntry() != nil {
			continue // a window in the guard entry has a test of its own
		}
		b.link.MaxEntries = 1 + r.IntN(12)
		entries, over := b.list()
		optimum := bruteForce(b, most)[b.link.MaxEntries]
		tried++
		switch {
		case over == nil && optimum < 0:
			t.Fatalf("case %d: %v, brute force finds none\n%+v %v", n, entries, *b.link, b.ws)
		case over != nil && optimum >= 0:
			t.Fatalf("case %d: %+v, but a loss of %d is possible\n%+v %v", n, *over, optimum, *b.link, b.ws)
		case over == nil:
			if l := lossOf(b, entries); l > optimum {
				worse++
				got, best = got+l, best+optimum
			} else if l < optimum {
				t.Fatalf("case %d: loss %d is below the optimum of %d", n, l, optimum)
			}
		}
	}
	// Lists between two prices may lose more than the least.
	if t.Logf("%d lists, %d with more loss than the least: %d, not %d", tried, worse, got, best); worse > tried/20 {
		t.Errorf("%d of %d lists lose more than they must", worse, tried)
	}
}
