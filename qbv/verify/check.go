package verify

import (
	"cmp"
	"errors"
	"slices"

	tsn "tsnswitch"
	"tsnswitch/qbv/schedule"
)

// What is looked at: more is a fault.
const (
	maxBursts  = 1 << 23
	maxEntries = 1 << 16
	maxSteps   = 1 << 26
)

// hop is what a stream does on one link, the same in each period (or in one, if
// its instances differ); or what the window of all cyclic streams does in each
// second of their cycles. Times are ns from the opening of the window.
type hop struct {
	stream   int32 // -1: the cyclic ones
	link     schedule.LinkID
	queue    tsn.TrafficClass
	length   int64 // of the window
	leaves   int64 // from when on another stream's frame may be in the queue
	busy     int64 // of that, frames of full size
	base     int64 // how long before, at most, the first frame is in the queue, if it left the port before in its window
	late     int64 // when the last frame is in the queue at the latest
	short    int64 // transmission of the shortest frame
	end      int32 // index in ends of the listener that it reaches; -1: none
	earliest int64 // shortest latency there, if the last frame leaves within its window
}

// burst is the frames of one period on one link.
type burst struct {
	open   int64 // start of the window, in [0, cycle)
	lead   int64 // how long before, at most, the first frame may leave
	hop    int32
	parent int32 // the burst on the link before; -1 on the first
}

// end is a listener of a stream: where its figures are and what they lack yet.
type end struct {
	figures, listener int
	shortest, least   int64 // latency: found so far, and what the media allow
}

type checker struct {
	p      *schedule.Problem
	s      *schedule.Solution
	report *Report
	margin int64
	cycle  int64
	steps  int // spent on walks whose length the input chooses

	hops    []hop
	bursts  []burst
	byLink  [][]int32 // bursts of each link, by open
	lists   []*gates  // of each link; nil: none, or none usable
	scratch []int32   // parents of a route
	mark    int32     // of the route in hand
	reach   []int32   // mark of the route that reached a node last
	leaf    []int32   // and ended there
	ends    []end

	cyclics     []*schedule.CyclicStream // those that are there once
	cyclicLinks []cyclicLink             // of each link; nil: there is no cyclic section
}

// Check looks at everything that s promises. The error is that of an invalid
// problem; a bad solution is a report with faults.
func Check(p *schedule.Problem, s *schedule.Solution) (*Report, error) {
	if p == nil || s == nil {
		return nil, errors.New("there is no problem or no solution")
	}
	if err := p.Validate(); err != nil {
		return nil, err
	}
	c := &checker{
		p: p, s: s, report: &Report{}, margin: p.SyncError + p.Jitter, cycle: s.Cycle,
		byLink: make([][]int32, len(p.Links)), lists: make([]*gates, len(p.Links)),
		reach: make([]int32, len(p.Nodes)), leaf: make([]int32, len(p.Nodes)),
	}
	placed := c.streams()
	if !c.cycleFits(placed) {
		return c.report, nil
	}
	c.place(placed)
	c.cyclic()
	c.sort()
	c.gateLists()
	c.early()
	for l := range c.byLink {
		c.link(schedule.LinkID(l))
	}
	c.finish()
	return c.report, nil
}

// link checks what happens at one port.
func (c *checker) link(l schedule.LinkID) {
	if len(c.byLink[l]) > 0 {
		c.overlap(l)
		c.residences(l)
	}
	if g := c.lists[l]; g != nil {
		for n, i := range c.byLink[l] {
			c.window(l, g, &c.bursts[i])
			c.waits(l, g, n)
		}
	}
	c.linkFigures(l)
}

// sort orders the bursts of each link by the opening of their windows.
func (c *checker) sort() {
	c.report.Transmissions = len(c.bursts)
	for i := range c.bursts {
		l := c.hops[c.bursts[i].hop].link
		c.byLink[l] = append(c.byLink[l], int32(i))
	}
	for _, list := range c.byLink {
		slices.SortFunc(list, func(a, b int32) int {
			return cmp.Or(cmp.Compare(c.bursts[a].open, c.bursts[b].open), cmp.Compare(a, b))
		})
	}
}

// spend counts steps of a walk and reports whether there are any left.
func (c *checker) spend(n int) bool {
	if c.steps > maxSteps {
		return false
	}
	if c.steps += n; c.steps > maxSteps {
		c.bad(whole(RuleSize, "more than %d gate entries lie in windows, guard bands and waits", maxSteps))
		return false
	}
	return true
}

func mod(a, m int64) int64 {
	if a %= m; a < 0 {
		a += m
	}
	return a
}
