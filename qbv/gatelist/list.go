package gatelist

import (
	"fmt"
	"slices"

	tsn "tsnswitch"
	"tsnswitch/qbv/schedule"
)

// Overflow says why a link's windows make no gate control list for its port.
type Overflow struct {
	Link    schedule.LinkID
	Entries int   // the fewest that would do; 0 if entries are not the reason
	Limit   int   // of entries; 0 if there is none
	Streams []int // indices of those concerned, ascending; none: those of cyclic queuing
	Reason  string
}

// Build makes the lists of all links that placed uses, ascending link. Links
// whose windows make no list are in the overflows instead, ascending too. The
// error is a fault of p, or of placements that are none of p or whose windows
// overlap.
func Build(p *schedule.Problem, placed []schedule.Placement) ([]schedule.LinkGates, []Overflow, error) {
	return BuildCyclic(p, placed, nil)
}

// BuildCyclic is Build with the windows of cyclic queuing beside placed; c may be nil.
func BuildCyclic(p *schedule.Problem, placed []schedule.Placement, c *schedule.Cyclic) ([]schedule.LinkGates, []Overflow, error) {
	if err := p.Validate(); err != nil {
		return nil, nil, err
	}
	byLink, err := Uses(p, placed, c)
	if err != nil {
		return nil, nil, err
	}
	var out []schedule.LinkGates
	var over []Overflow
	for l, us := range byLink {
		if len(us) == 0 {
			continue
		}
		g, o, err := build(p, schedule.LinkID(l), us)
		switch {
		case err != nil:
			return nil, nil, err
		case o != nil:
			over = append(over, *o)
		default:
			out = append(out, g)
		}
	}
	return out, over, nil
}

// BuildLink makes the list of link l alone, of those of placed that use it: of
// one at least. The result is the same as Build's. p must be valid.
func BuildLink(p *schedule.Problem, l schedule.LinkID, placed []schedule.Placement) (schedule.LinkGates, *Overflow, error) {
	us, err := usesOf(p, l, placed)
	switch {
	case err != nil:
		return schedule.LinkGates{}, nil, err
	case len(us) == 0:
		return schedule.LinkGates{}, nil, fmt.Errorf("%s carries no scheduled stream", p.LinkName(l))
	}
	return build(p, l, us)
}

// build makes one list.
func build(p *schedule.Problem, id schedule.LinkID, us []Use) (schedule.LinkGates, *Overflow, error) {
	bad := func(format string, a ...any) error {
		return fmt.Errorf("%s: %s", p.LinkName(id), fmt.Sprintf(format, a...))
	}
	limit := p.MaxCycle
	if limit == 0 {
		limit = schedule.DefaultMaxCycle
	}
	cycle := cycleOf(us, limit)
	if cycle == 0 {
		return schedule.LinkGates{}, nil, bad("the periods have no common multiple within %d ns", limit)
	}
	ws := windows(us, cycle)
	if ws == nil {
		return schedule.LinkGates{}, nil, bad("more than %d windows in a cycle of %d ns", maxWindows, cycle)
	}
	if a, b := overlapping(ws, cycle); a != nil {
		return schedule.LinkGates{}, nil, bad("windows of %s and %s overlap at %d ns", owner(p, a), owner(p, b), b.open)
	}
	b := builder{link: &p.Links[id], id: id, cycle: cycle, ws: ws, steps: steps(&p.Links[id])}
	entries, over := b.list()
	if over != nil {
		return schedule.LinkGates{}, over, nil
	}
	g := schedule.LinkGates{Link: id, List: tsn.GateControlList{CycleTime: cycle, Entries: entries}}
	g.MaxSDU = maxSDU(b.link, entries)
	return g, nil, nil
}

func owner(p *schedule.Problem, w *window) string {
	if w.stream < 0 {
		return "cyclic queuing"
	}
	return fmt.Sprintf("stream %d", p.Streams[w.stream].ID)
}

// builder makes the list of one link.
type builder struct {
	link  *schedule.Link
	id    schedule.LinkID
	cycle int64
	ws    []window
	steps []step
	cells []cell
}

func (b *builder) list() ([]tsn.GateEntry, *Overflow) {
	b.cells = cells(b.ws, b.cycle, b.steps)
	if b.link.Software {
		if o := b.guardEntry(); o != nil {
			return nil, o
		}
		b.cells = split(b.cells, b.lastEntry())
	}
	if o := b.keepControl(); o != nil {
		return nil, o
	}
	entries := b.exact()
	if !b.fits(entries) {
		var over *Overflow
		if entries, over = b.fit(); over != nil {
			return nil, over
		}
	}
	if open := longestOpen(entries, b.link.Control, b.link.Software); b.link.ControlOctets > 0 && open < b.controlTime() {
		return nil, b.noControl(open)
	}
	return entries, nil
}

func (b *builder) minInterval() int64 { return max(b.link.MinInterval, 1) }

// lastEntry is where the guard entry of software taprio begins; 0 if there is none.
func (b *builder) lastEntry() int64 {
	if !b.link.Software {
		return 0
	}
	return b.cycle - b.minInterval()
}

// guardEntry checks that the guard entry at the end of the list has its room.
func (b *builder) guardEntry() *Overflow {
	at := b.lastEntry()
	if at <= 0 {
		return b.overflow(0, nil, "a cycle of %d ns has no room for a guard entry of %d ns", b.cycle, b.minInterval())
	}
	for i := range b.ws {
		if w := &b.ws[i]; w.close > at {
			return b.overflow(0, []int{int(w.stream)}, "the window at %d..%d ns reaches into the guard entry at %d ns", w.open, w.close, at)
		}
	}
	return nil
}

// exact is the list in which every gate is open as long as it may.
func (b *builder) exact() []tsn.GateEntry {
	out := make([]tsn.GateEntry, 0, len(b.cells))
	for i := range b.cells {
		out = b.add(out, &b.cells[i], b.cells[i].gates(b.steps), b.end(i)-b.cells[i].start)
	}
	return out
}

func (b *builder) end(i int) int64 {
	if i+1 < len(b.cells) {
		return b.cells[i+1].start
	}
	return b.cycle
}

// add appends an entry that begins with cell c, or prolongs the last one.
func (b *builder) add(out []tsn.GateEntry, c *cell, gates tsn.GateMask, length int64) []tsn.GateEntry {
	n := len(out)
	if n > 0 && out[n-1].Gates == gates && (c.start != b.lastEntry() || !b.link.Software) {
		out[n-1].Interval += length
		return out
	}
	return append(out, tsn.GateEntry{Gates: gates, Interval: length})
}

func (b *builder) fits(entries []tsn.GateEntry) bool {
	if b.link.MaxEntries > 0 && len(entries) > b.link.MaxEntries {
		return false
	}
	return !slices.ContainsFunc(entries, func(e tsn.GateEntry) bool { return e.Interval < b.minInterval() })
}

// keepControl marks the time that control traffic keeps in every cycle: where
// its gate can be open longest. Where a frame has to fit one entry, other gates
// do not close meanwhile, or are closed before.
func (b *builder) keepControl() *Overflow {
	if b.link.ControlOctets == 0 {
		return nil
	}
	from, length := b.longestControl(b.link.Software)
	if length < b.controlTime() {
		from, length = b.longestControl(false)
	}
	if length < b.controlTime() {
		return b.noControl(length)
	}
	b.keep(from+min((length-b.controlTime())/2, b.minInterval()), b.controlTime())
	return nil
}

func (b *builder) controlTime() int64 { return b.link.Rate.TransmitTime(b.link.ControlOctets) }

func (b *builder) noControl(length int64) *Overflow {
	return b.overflow(0, nil, "the control frame needs %d ns at a stretch, the windows leave %d", b.controlTime(), length)
}

// longestControl finds the longest time in which the control gate may be
// open, with no change of other gates if they are to be the same; in hardware it may
// run over the end of the cycle.
func (b *builder) longestControl(same bool) (from, length int64) {
	n, run := len(b.cells), int64(0)
	rounds := 2 * n
	if b.link.Software {
		rounds = n
	}
	var before tsn.GateMask
	for i := range rounds {
		c := &b.cells[i%n]
		gates, end := c.gates(b.steps), b.end(i%n)
		open := c.queue == none && gates.Has(b.link.Control)
		if !open || b.link.Software && c.start == b.lastEntry() || same && gates != before {
			run = 0
		}
		if before = gates; !open {
			continue
		}
		if run += end - c.start; run > length {
			from, length = end-run, run
		}
	}
	return from, min(length, b.cycle)
}

// keep marks length ns from from on, in a circle.
func (b *builder) keep(from, length int64) {
	from = mod(from, b.cycle)
	if over := from + length - b.cycle; over > 0 {
		b.keep(0, over)
		length -= over
	}
	b.cells = split(b.cells, from)
	if from+length < b.cycle {
		b.cells = split(b.cells, from+length)
	}
	first, _ := slices.BinarySearchFunc(b.cells, from, byStart)
	end, _ := slices.BinarySearchFunc(b.cells, from+length, byStart)
	last := uint8(0)
	for i := range b.cells[first:end] {
		b.cells[first+i].keep = true
		last = max(last, b.cells[first+i].step)
	}
	for i := range b.cells[first:end] {
		if b.link.Software {
			b.cells[first+i].step = last
		}
	}
}

// overflow names streams, or all on the link.
func (b *builder) overflow(entries int, streams []int, format string, a ...any) *Overflow {
	if streams == nil {
		for i := range b.ws {
			streams = append(streams, int(b.ws[i].stream))
		}
	}
	slices.Sort(streams)
	streams = slices.DeleteFunc(streams, func(i int) bool { return i < 0 })
	return &Overflow{
		Link: b.id, Entries: entries, Limit: b.link.MaxEntries,
		Streams: slices.Compact(streams), Reason: fmt.Sprintf(format, a...),
	}
}
