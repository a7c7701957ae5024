package gatelist

import (
	"cmp"
	"slices"

	tsn "tsnswitch"
	"tsnswitch/qbv/schedule"
)

// Requeue gives the frames on link l other queues of Link.Scheduled, with which
// its list is shorter; their starts stay. Where frames may come before their window,
// two neighbours in one queue need an entry between them that shuts it, and
// in two queues none; where they do not, two in one queue need but one entry. It
// returns placed with those of l changed in copies, and whether the list has become
// possible or at least shorter. Streams in one queue stay isolated; with
// InOrder nothing changes. p must be valid.
func Requeue(p *schedule.Problem, l schedule.LinkID, placed []schedule.Placement) ([]schedule.Placement, bool, error) {
	us, err := usesOf(p, l, placed)
	if err != nil || len(us) == 0 || p.Isolation != schedule.IsolateFrames {
		return placed, false, err
	}
	_, before, err := build(p, l, us)
	if err != nil || before == nil {
		return placed, false, err
	}
	c := newColouring(&p.Links[l], us)
	if c == nil || !c.colour() {
		return placed, false, nil
	}
	for i := range us {
		us[i].Queue = c.queue[i]
	}
	_, after, err := build(p, l, us)
	if err != nil || after != nil && (after.Entries == 0 || after.Entries >= before.Entries) {
		return placed, false, err
	}
	return replaced(l, placed, c.queue), true, nil
}

// replaced is placed with the queues on link l, in the order of usesOf.
func replaced(l schedule.LinkID, placed []schedule.Placement, queues []tsn.TrafficClass) []schedule.Placement {
	out := slices.Clone(placed)
	for i := range out {
		pl := &out[i]
		for h, id := range pl.Route {
			if id != l {
				continue
			}
			pl.Queues, pl.Instances = slices.Clone(pl.Queues), slices.Clone(pl.Instances)
			if pl.Instances == nil {
				pl.Queues[h], queues = queues[0], queues[1:]
			}
			for k := range pl.Instances {
				in := &pl.Instances[k]
				in.Queues = slices.Clone(in.Queues)
				in.Queues[h], queues = queues[0], queues[1:]
			}
		}
	}
	return out
}

// colouring is a search for queues: uses that are in the way of each other must
// not have the same, and each pair of neighbours has a cost if they have.
type colouring struct {
	link  *schedule.Link
	queue []tsn.TrafficClass // of each use
	count []int64            // windows of each use
	apart [][]int32          // uses that must be in other queues
	next  [][]neighbour
	known []bool // uses that have their queue
}

// neighbour says what the same queue costs in entries, more or less than another.
type neighbour struct {
	use  int32
	cost int32
}

// maxPairs bounds the pairs of windows that are looked at.
const maxPairs = 1 << 20

// newColouring finds who is in whose way; nil if these are too many.
func newColouring(l *schedule.Link, us []Use) *colouring {
	c := &colouring{
		link: l, queue: make([]tsn.TrafficClass, len(us)), count: make([]int64, len(us)), known: make([]bool, len(us)),
		apart: make([][]int32, len(us)), next: make([][]neighbour, len(us)),
	}
	cycle := cycleOf(us, schedule.MaxTime)
	mine := slices.Clone(us)
	for i := range mine {
		mine[i].Stream, c.queue[i], c.count[i] = int32(i), us[i].Queue, cycle/us[i].Period
	}
	ws := windows(mine, cycle)
	pairs := 0
	for i := range ws {
		w := &ws[i]
		for back := 1; back < len(ws); back++ {
			b, shift := &ws[(i-back+len(ws))%len(ws)], int64(0)
			if back > i {
				shift = -cycle
			}
			if back == 1 {
				c.meet(b.stream, w.stream, w.begin >= w.open || b.close+shift == w.open)
			}
			if b.close+shift <= w.begin {
				break
			}
			if pairs++; pairs > maxPairs {
				return nil
			}
			c.part(b.stream, w.stream)
		}
	}
	return c
}

// meet notes that windows of a and b follow each other; together says that in one queue
// they share an entry.
func (c *colouring) meet(a, b int32, together bool) {
	cost := int32(1)
	if together {
		cost = -1
	}
	if a != b {
		c.next[a], c.next[b] = append(c.next[a], neighbour{b, cost}), append(c.next[b], neighbour{a, cost})
	}
}

func (c *colouring) part(a, b int32) {
	if a != b && !slices.Contains(c.apart[a], b) {
		c.apart[a], c.apart[b] = append(c.apart[a], b), append(c.apart[b], a)
	}
}

// colour picks a queue for each use, those with most windows first, and then
// looks at each again. It reports whether there is one for every use.
func (c *colouring) colour() bool {
	order := make([]int32, len(c.queue))
	for i := range order {
		order[i] = int32(i)
	}
	slices.SortStableFunc(order, func(a, b int32) int { return cmp.Compare(c.count[b], c.count[a]) })
	for range 3 {
		for _, i := range order {
			if !c.pick(i) {
				return false
			}
		}
	}
	return true
}

// pick takes the queue that costs least, of these the present one if it can.
func (c *colouring) pick(i int32) bool {
	var cost [tsn.MaxTrafficClasses]int32
	free := c.link.Scheduled
	for _, j := range c.apart[i] {
		if c.known[j] {
			free &^= 1 << c.queue[j]
		}
	}
	for _, n := range c.next[i] {
		if c.known[n.use] {
			cost[c.queue[n.use]] += n.cost
		}
	}
	best := c.queue[i]
	for q := range tsn.TrafficClass(c.link.Queues) {
		if free.Has(q) && (!free.Has(best) || cost[q] < cost[best]) {
			best = q
		}
	}
	c.queue[i], c.known[i] = best, true
	return free.Has(best)
}
