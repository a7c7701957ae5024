package qbv

import (
	"errors"
	"strings"
	"testing"

	"tsnswitch"
)

func testLimits() Limits {
	return Limits{
		Classes: tsn.NumClasses, MaxEntries: 4, MinInterval: 1000, MaxInterval: 5_000_000, MaxCycle: 10_000_000,
		ControlOctets: MaxFrameOctets, Rate: 100 * tsn.Mbps,
	}
}

func list(entries ...tsn.GateEntry) *tsn.GateControlList {
	l := &tsn.GateControlList{Entries: entries}
	for _, e := range entries {
		l.CycleTime += e.Interval
	}
	return l
}

func TestValidate(t *testing.T) {
	good := func() *tsn.GateControlList {
		return list(tsn.GateEntry{Gates: 0x17, Interval: 800_000}, tsn.GateEntry{Gates: 8, Interval: 200_000})
	}
	tests := []struct {
		name   string
		change func(*tsn.GateControlList, *Limits)
		clause string
		entry  int
		text   string
	}{
		{"good", func(*tsn.GateControlList, *Limits) {}, "", 0, ""},
		{"no entry", func(l *tsn.GateControlList, _ *Limits) { l.Entries = nil }, clauseList, -1, "has no entry"},
		{"zero interval", func(l *tsn.GateControlList, _ *Limits) { l.Entries[1].Interval = 0 }, clauseList, 1, "not positive"},
		{"short interval", func(l *tsn.GateControlList, _ *Limits) { l.Entries[1].Interval = 999 }, clauseCapacity, 1, "minimum of 1000"},
		{"long interval", func(_ *tsn.GateControlList, m *Limits) { m.MaxInterval = 700_000 }, clauseCapacity, 0, "maximum of 700000"},
		{"sum short", func(l *tsn.GateControlList, _ *Limits) { l.CycleTime++ }, clauseCycle, -1, "sum to 1000000"},
		{"sum long", func(l *tsn.GateControlList, _ *Limits) { l.CycleTime-- }, clauseCycle, 1, "exceed the cycle time"},
		{"sum overflows", func(l *tsn.GateControlList, _ *Limits) { l.Entries[0].Interval = 1<<63 - 1 }, clauseCycle, 0, "exceed the cycle time"},
		{"zero cycle", func(l *tsn.GateControlList, _ *Limits) { l.CycleTime = 0 }, clauseCycle, -1, "not positive"},
		{"long cycle", func(_ *tsn.GateControlList, m *Limits) { m.MaxCycle = 999_999 }, clauseCapacity, -1, "limit of 999999"},
		{"negative extension", func(l *tsn.GateControlList, _ *Limits) { l.CycleTimeExtension = -1 }, clauseExtension, -1, "negative"},
		{"too many entries", func(_ *tsn.GateControlList, m *Limits) { m.MaxEntries = 1 }, clauseCapacity, -1, "limit of 1"},
		{"class that is not there", func(l *tsn.GateControlList, _ *Limits) { l.Entries[1].Gates = 0x28 }, clauseList, 1, "does not exist"},
		{"no classes", func(_ *tsn.GateControlList, m *Limits) { m.Classes = 0 }, clauseList, -1, "want 1..8"},
		{"control starved", func(l *tsn.GateControlList, _ *Limits) { l.Entries[0].Gates = 7 }, clauseControl, -1, "open for 0 ns"},
		{"control too short", func(_ *tsn.GateControlList, m *Limits) { m.Rate = 10 * tsn.Mbps }, clauseControl, -1, "needs 1233600 ns"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l, lim := good(), testLimits()
			tt.change(l, &lim)
			err := Validate(l, lim)
			if tt.clause == "" {
				if err != nil {
					t.Fatalf("refused: %v", err)
				}
				return
			}
			if err == nil {
				t.Fatal("accepted")
			}
			for _, e := range err.(interface{ Unwrap() []error }).Unwrap() {
				var le *ListError
				if errors.As(e, &le) && le.Clause == tt.clause && le.Entry == tt.entry && strings.Contains(le.Reason, tt.text) {
					return
				}
			}
			t.Fatalf("want %q at entry %d (%s), got: %v", tt.text, tt.entry, tt.clause, err)
		})
	}
	if err := Validate(nil, testLimits()); err != nil {
		t.Errorf("all-open refused: %v", err)
	}
}

// An opening may run over the end of the cycle (8.6.9.2: the next cycle starts
// with the first entry at once), unless frames have to end within an entry.
func TestControlAcrossCycleEnd(t *testing.T) {
	lim := testLimits()
	lim.MaxEntries = 8
	l := list(tsn.GateEntry{Gates: 16, Interval: 70_000}, tsn.GateEntry{Gates: 8, Interval: 860_000}, tsn.GateEntry{Gates: 16, Interval: 70_000})
	if err := Validate(l, lim); err != nil {
		t.Errorf("70+70 us across the cycle end hold a frame of 123 us: %v", err)
	}
	lim.PerEntry = true
	if err := Validate(l, lim); err == nil {
		t.Error("with entries of 70 us each no frame of 123 us can leave, but the list was accepted")
	}
}

func TestValidateReportsBounded(t *testing.T) {
	l := &tsn.GateControlList{CycleTime: 1 << 40}
	for range 10_000 {
		l.Entries = append(l.Entries, tsn.GateEntry{Gates: 0xff, Interval: 1})
	}
	if n := len(Validate(l, testLimits()).(interface{ Unwrap() []error }).Unwrap()); n != maxReported {
		t.Errorf("%d faults reported, want %d", n, maxReported)
	}
}
