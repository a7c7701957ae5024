package dataplane

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	tsn "tsnswitch"
)

// Per-stream filtering and policing (802.1Qci: 8.6.5.1) of what comes in:
//
//	clsact ingress ── flower {DA, VID, PCP, SA} ── police mtu ── gate ── police rate
//	                  stream filter               maximum SDU   stream    flow
//	                  (matching frames)           size filter   gate      meter
//
// Each drops and counts what it does not let pass. A frame that all let pass
// goes on to whatever other filters the port has. Filters at our preference are
// ours, all others are left alone; the stream's id is the cookie of the first
// action, so that `tc -s filter show dev p1 ingress` shows whose they are.

// Filter is a stream filter instance as the kernel holds it.
type Filter struct {
	Port   tsn.Port
	ID     tsn.StreamID
	Number uint32 // flower's handle, unique on the port
	Handle tsn.StreamHandle
	MaxSDU uint16
	Gate   *FilterGate
	Meter  Meter
	// Odd says what is at our place and is not made as we make it, "" if
	// nothing is.
	Odd string
}

// FilterGate is a stream gate in gate clock time. The kernel's has no pending
// list: until Base it lets everything pass.
type FilterGate struct {
	Base, Cycle, Extension int64
	Entries                []tsn.StreamGateEntry
}

// Meter is a flow meter as police takes it: octets a second, and for how long
// (in units of 64 ns) it may save them up.
type Meter struct {
	Rate  uint64
	Burst uint32
}

const policeTick = 64 // ns

func newMeter(m tsn.FlowMeter) (Meter, error) {
	rate := uint64(m.CIR) * 125
	switch {
	case m == tsn.FlowMeter{}:
		return Meter{}, nil
	case m.CIR == 0 || m.CBS == 0:
		return Meter{}, fmt.Errorf("a meter needs a rate and a burst size, it has %s and %d octets", m.CIR, m.CBS)
	}
	burst := (uint64(m.CBS)*1e9 + rate*policeTick - 1) / (rate * policeTick)
	if burst > 1<<32-1 {
		return Meter{}, fmt.Errorf("a burst of %d octets at %s is longer than the kernel can count", m.CBS, m.CIR)
	}
	return Meter{rate, uint32(burst)}, nil
}

func (g *FilterGate) equal(h *FilterGate, tol int64) bool {
	if g == nil || h == nil {
		return g == h
	}
	if g.Cycle != h.Cycle || g.Extension != h.Extension || !slices.Equal(g.Entries, h.Entries) {
		return false
	}
	a, b := Schedule{Base: g.Base, Cycle: g.Cycle}, Schedule{Base: h.Base}
	return a.phaseDiff(&b) <= tol
}

// equal leaves the number out, which a filter keeps.
func (f Filter) equal(w Filter, tol int64) bool {
	return f.Odd == "" && f.Handle == w.Handle && f.MaxSDU == w.MaxSDU && f.Meter == w.Meter && f.Gate.equal(w.Gate, tol)
}

// sameList leaves the base time of the gate out.
func (f Filter) sameList(w Filter) bool {
	if f.Gate != nil && w.Gate != nil {
		g := *w.Gate
		g.Base = f.Gate.Base
		w.Gate = &g
	}
	return f.equal(w, 0)
}

func compareFilter(a, b Filter) int {
	return cmp.Or(cmp.Compare(a.Port, b.Port), slices.Compare(a.ID[:], b.ID[:]), cmp.Compare(a.Number, b.Number))
}

// FilterCounters are the counters of a stream filter instance (12.31.2): each
// matching frame either passes, is too long, found the gate closed, or is red.
type FilterCounters struct {
	Port tsn.Port
	ID   tsn.StreamID
	// MatchingFrames, NotPassingSDU, NotPassingFrames (by the gate), RedFrames.
	Matching, TooLong, GateClosed, Red uint64
}

// Passing is how many frames went on.
func (c FilterCounters) Passing() uint64 {
	return c.Matching - min(c.Matching, c.TooLong+c.GateClosed+c.Red)
}

// FilterTarget is a wanted filter. Err says why its gate's base time cannot be
// computed: if it has to be changed, it is refused.
type FilterTarget struct {
	Filter
	Err error
}

func (t *Target) filters(k Backend, d []tsn.StreamFilter) (errs []error) {
	handles := map[tsn.Port]map[tsn.StreamHandle]bool{}
	for _, f := range d {
		if handles[f.Port] == nil {
			handles[f.Port] = map[tsn.StreamHandle]bool{}
		}
		w, err := newFilter(k, f)
		if err == nil && handles[f.Port][f.StreamHandle] {
			err = invalid("two filters for %s", f.StreamHandle)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("port %d stream %s: %w", f.Port, f.ID, err))
		}
		handles[f.Port][f.StreamHandle] = true
		t.Filters = append(t.Filters, w)
	}
	slices.SortFunc(t.Filters, func(a, b FilterTarget) int { return compareFilter(a.Filter, b.Filter) })
	for i := 1; i < len(t.Filters); i++ {
		if a, b := t.Filters[i-1], t.Filters[i]; a.Port == b.Port && a.ID == b.ID {
			errs = append(errs, invalid("port %d stream %s: two filters", b.Port, b.ID))
		}
	}
	return errs
}

func newFilter(k Backend, f tsn.StreamFilter) (FilterTarget, error) {
	w := FilterTarget{Filter: Filter{Port: f.Port, ID: f.ID, Handle: f.StreamHandle, MaxSDU: f.MaxSDU}}
	if _, ok := k.Config().port(f.Port); !ok {
		return w, invalid("the port is not configured")
	}
	switch {
	case f.ID == tsn.StreamID{}:
		return w, invalid("a filter without a stream")
	case f.Address.IsZero() || !f.VID.Valid() || f.PCP > 7:
		return w, invalid("%s is no stream handle", f.StreamHandle)
	case f.MaxSDU == 0 && f.Gate == nil && f.Meter == (tsn.FlowMeter{}):
		return w, invalid("a filter that lets everything pass")
	}
	var err error
	if w.Meter, err = newMeter(f.Meter); err != nil {
		return w, invalid("%v", err)
	}
	if err := k.Check(f.Port, FeatureStreamFilter); err != nil || f.Gate == nil {
		return w, err
	}
	if err := k.Check(f.Port, FeatureStreamGate); err != nil {
		return w, err
	}
	w.Gate = &FilterGate{Cycle: f.Gate.CycleTime, Extension: f.Gate.CycleTimeExtension, Entries: f.Gate.Entries}
	if err := w.Gate.check(); err != nil {
		return w, invalid("gate: %v", err)
	}
	w.Gate.Base, w.Err = gateBase(k, f.Port, f.Gate.BaseTime)
	return w, nil
}

func gateBase(k Backend, p tsn.Port, t tsn.PTPTime) (int64, error) {
	f := k.Config().PTPToGate
	if f == nil {
		return 0, &ClockError{p, errors.New("their relation is not known")}
	}
	base, err := f(p, t)
	if err != nil {
		return 0, &ClockError{p, err}
	}
	return base, nil
}

func (g *FilterGate) check() error {
	var sum int64
	for i, e := range g.Entries {
		switch {
		case e.Interval <= 0 || e.Interval > 1<<32-1:
			return fmt.Errorf("entry %d lasts %d ns, want 1..%d", i, e.Interval, int64(1<<32-1))
		case e.IPV < tsn.NoIPV || e.IPV > 7:
			return fmt.Errorf("entry %d: internal priority %d is outside 0..7", i, e.IPV)
		case e.OctetMax < 0:
			return fmt.Errorf("entry %d: %d octets", i, e.OctetMax)
		}
		sum += e.Interval
	}
	if len(g.Entries) == 0 || sum != g.Cycle || g.Extension < 0 {
		return fmt.Errorf("%d entries last %d ns together, the cycle %d, its extension %d", len(g.Entries), sum, g.Cycle, g.Extension)
	}
	return nil
}

// planFilters ends filters before it begins others, since two filters of a
// port cannot have one handle.
func planFilters(have *State, t *Target, do func(Op)) (refused []error) {
	for _, f := range slices.Clone(have.Filters) {
		if f.Odd != "" || t.filter(f) == nil {
			do(DelFilter{f})
		}
	}
	for _, w := range t.Filters {
		i, known := slices.BinarySearchFunc(have.Filters, w, func(f Filter, w FilterTarget) int {
			return cmp.Or(cmp.Compare(f.Port, w.Port), slices.Compare(f.ID[:], w.ID[:]))
		})
		if w.Err != nil {
			if known && have.Filters[i].sameList(w.Filter) {
				continue // its gate runs on, and that it may drift shows elsewhere
			}
			refused = append(refused, w.Err)
			w.Gate = nil // police it at least
		}
		if known && have.Filters[i].equal(w.Filter, t.Tol) {
			continue
		}
		if e := have.EgressOf(w.Port); !e.Hook {
			do(InstallHook{w.Port})
		}
		if w.Number = freeNumber(have.Filters, w.Port); known {
			w.Number = have.Filters[i].Number
		}
		do(SetFilter{w.Filter})
	}
	return refused
}

// filter returns what is wanted of the stream of f with the same handle: a
// changed handle is another filter.
func (t *Target) filter(f Filter) *FilterTarget {
	for i := range t.Filters {
		if w := &t.Filters[i]; w.Port == f.Port && w.ID == f.ID && w.Handle == f.Handle {
			return w
		}
	}
	return nil
}

func freeNumber(have []Filter, p tsn.Port) uint32 {
	n := uint32(1)
	for slices.ContainsFunc(have, func(f Filter) bool { return f.Port == p && f.Number == n }) {
		n++
	}
	return n
}

type (
	// InstallHook gives a port the qdisc that filters hang on.
	InstallHook struct{ Port tsn.Port }
	// SetFilter makes a stream filter, or replaces the one with its number.
	SetFilter struct{ Filter Filter }
	// DelFilter removes one.
	DelFilter struct{ Filter Filter }
)

// On returns the port.
func (o InstallHook) On() tsn.Port { return o.Port }
func (o SetFilter) On() tsn.Port   { return o.Filter.Port }
func (o DelFilter) On() tsn.Port   { return o.Filter.Port }

// Do adds the hook.
func (o InstallHook) Do(s *State) { s.EgressOf(o.Port).Hook = true }

// Do adds the filter or replaces it.
func (o SetFilter) Do(s *State) {
	DelFilter(o).Do(s)
	s.Filters = append(s.Filters, o.Filter)
	slices.SortFunc(s.Filters, compareFilter)
}

// Do removes the filter.
func (o DelFilter) Do(s *State) {
	s.Filters = slices.DeleteFunc(s.Filters, func(f Filter) bool { return f.Port == o.Filter.Port && f.Number == o.Filter.Number })
}

// Text prints the op.
func (o InstallHook) Text(c *Config) string {
	return fmt.Sprintf("tc qdisc add dev %s clsact", c.ifname(o.Port))
}

// Text prints the op.
func (o SetFilter) Text(c *Config) string { return "tc filter replace " + o.Filter.text(c) }

// Text prints the op.
func (o DelFilter) Text(c *Config) string {
	return fmt.Sprintf("tc filter del dev %s ingress pref %d handle %d flower", c.ifname(o.Filter.Port), filterPref, o.Filter.Number)
}

func (f Filter) text(c *Config) string {
	var b strings.Builder
	fmt.Fprintf(&b, "dev %s ingress pref %d handle %d flower %s", c.ifname(f.Port), filterPref, f.Number, f.Handle)
	if f.MaxSDU > 0 {
		fmt.Fprintf(&b, " action police max-sdu %d", f.MaxSDU)
	}
	if f.Gate != nil {
		fmt.Fprintf(&b, " action gate %s", f.Gate)
	}
	if f.Meter.Rate > 0 {
		fmt.Fprintf(&b, " action police %s", f.Meter)
	}
	fmt.Fprintf(&b, " stream %s", f.ID)
	if f.Odd != "" {
		fmt.Fprintf(&b, " (%s)", f.Odd)
	}
	return b.String()
}

func (m Meter) String() string {
	return fmt.Sprintf("rate %dbit burst %dns", m.Rate*8, uint64(m.Burst)*policeTick)
}

// String prints a stream gate in tc's words.
func (g *FilterGate) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "base-time %d cycle-time %d", g.Base, g.Cycle)
	if g.Extension != 0 {
		fmt.Fprintf(&b, " cycle-time-ext %d", g.Extension)
	}
	for _, e := range g.Entries {
		fmt.Fprintf(&b, " sched-entry %s %d", map[bool]string{true: "open", false: "close"}[e.Open], e.Interval)
		if e.IPV != tsn.NoIPV || e.OctetMax > 0 {
			fmt.Fprintf(&b, " %d %d", e.IPV, e.OctetMax)
		}
	}
	return b.String()
}

// filterPref is the preference of our stream filters.
const filterPref = 0x7501
