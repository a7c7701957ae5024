package dataplane

import (
	"fmt"

	tsn "tsnswitch"
)

// difference names the first port whose schedule was read back otherwise than
// it was sent: tools are known to cut lists silently, and drivers may, too.
func (t *Target) difference(have State) error {
	for _, w := range t.Egress {
		e := have.EgressOf(w.Port)
		if e == nil || !e.Rooted {
			continue
		}
		got := e.Admin
		if got == nil {
			got = e.Oper
		}
		if d := w.Admin.against(got); d != nil {
			d.Port = w.Port
			return d
		}
	}
	return nil
}

// against compares all but the base time; nil is no difference.
func (s *Schedule) against(got *Schedule) *DifferenceError {
	if got == nil {
		return &DifferenceError{What: "schedule", Wanted: s.String(), Got: "none"}
	}
	ns := func(what string, a, b int64) *DifferenceError {
		if a == b {
			return nil
		}
		return &DifferenceError{What: what, Wanted: fmt.Sprintf("%d ns", a), Got: fmt.Sprintf("%d ns", b)}
	}
	for i := range max(len(s.Entries), len(got.Entries)) {
		if a, b := s.entry(i), got.entry(i); a != b {
			return &DifferenceError{What: fmt.Sprintf("entry %d of %d", i, len(s.Entries)), Wanted: a, Got: b}
		}
	}
	if d := ns("cycle", s.Cycle, got.Cycle); d != nil {
		return d
	}
	return ns("cycle time extension", s.Extension, got.Extension)
}

func (s *Schedule) entry(i int) string {
	if i >= len(s.Entries) {
		return "none"
	}
	return entryText(s.Entries[i])
}

func entryText(e tsn.GateEntry) string { return fmt.Sprintf("S %02x %d", uint8(e.Gates), e.Interval) }
