package tsn

import (
	"math/rand/v2"
	"slices"
	"testing"
)

func TestNewStreamFilter(t *testing.T) {
	s := Stream{
		ID: StreamID{1}, Talker: MAC{2}, DestinationAddress: MAC{0x91}, VID: 5, PCP: 3,
		Interval: 1_000_000, MaxFrameSize: 1000, MaxIntervalFrames: 2,
	}
	f := NewStreamFilter(7, s)
	if f.Port != 7 || f.MaxSDU != 1000 || !f.Source.IsZero() || f.Meter.CBS != 2*2*1042 || f.Meter.CIR < s.Bandwidth()*1001/1000 || f.Meter.CIR > s.Bandwidth()*1002/1000 {
		t.Errorf("%+v", f)
	}
	s.DestinationAddress = MAC{2, 2}
	if f := NewStreamFilter(7, s); f.Source != s.Talker {
		t.Errorf("a unicast stream is told by its talker too: %+v", f)
	}
}

func TestNewStreamGate(t *testing.T) {
	open := func(ns int64) StreamGateEntry { return StreamGateEntry{true, NoIPV, ns, 0} }
	shut := func(ns int64) StreamGateEntry { return StreamGateEntry{false, NoIPV, ns, 0} }
	for _, c := range []struct {
		spans   []Span
		base    int64
		entries []StreamGateEntry
	}{
		{[]Span{{0, 200}}, 1000, []StreamGateEntry{open(200), shut(800)}},
		{[]Span{{300, 500}}, 1300, []StreamGateEntry{open(200), shut(800)}},
		{[]Span{{-100, 100}}, 1900, []StreamGateEntry{open(200), shut(800)}}, // over the cycle's end
		{[]Span{{2300, 3299}}, 1300, []StreamGateEntry{open(999), shut(1)}},
		{[]Span{{500, 600}, {100, 200}, {150, 250}}, 1100, []StreamGateEntry{open(150), shut(250), open(100), shut(500)}},
		{[]Span{{900, 1150}, {100, 200}, {500, 600}}, 1500, []StreamGateEntry{open(100), shut(300), open(300), shut(300)}},
		{[]Span{{0, 1000}}, 0, nil},
		{[]Span{{0, 500}, {500, 1000}}, 0, nil},
		{[]Span{{400, 900}, {900, 1400}}, 0, nil},
		{[]Span{{5, 5}}, 0, nil},
		{nil, 0, nil},
	} {
		g := NewStreamGate(PTPTime{NS: 1000}, 1000, c.spans...)
		if c.entries == nil {
			if g != nil {
				t.Errorf("%v: %+v, want none", c.spans, g)
			}
		} else if g == nil || g.BaseTime.NS != c.base || g.CycleTime != 1000 || !slices.Equal(g.Entries, c.entries) {
			t.Errorf("%v: %+v, want base %d, %v", c.spans, g, c.base, c.entries)
		}
	}
}

// At every time the gate is open exactly if one of the spans covers it.
func TestStreamGateCoversSpans(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		cycle := rng.Int64N(30) + 2
		var spans []Span
		for range rng.IntN(4) {
			start := rng.Int64N(4*cycle) - 2*cycle
			spans = append(spans, Span{start, start + rng.Int64N(cycle+2)})
		}
		covered := func(at int64) bool {
			return slices.ContainsFunc(spans, func(s Span) bool {
				for x := at - 6*cycle; x <= at+6*cycle; x += cycle {
					if s.Start <= x && x < s.End {
						return true
					}
				}
				return false
			})
		}
		g := NewStreamGate(PTPTime{}, cycle, spans...)
		for at := range cycle {
			if want := covered(at) || g == nil; g.openAt(at) != want {
				t.Fatalf("cycle %d, spans %v: open %t at %d in %+v", cycle, spans, !want, at, g)
			}
		}
		if all := func() bool {
			for at := range cycle {
				if !covered(at) {
					return false
				}
			}
			return true
		}(); g == nil && !all && slices.ContainsFunc(spans, func(s Span) bool { return s.End > s.Start }) {
			t.Fatalf("cycle %d, spans %v: always open", cycle, spans)
		}
	}
}

func (g *StreamGate) openAt(t int64) bool {
	if g == nil {
		return true
	}
	phase := ((t-g.BaseTime.NS)%g.CycleTime + g.CycleTime) % g.CycleTime
	for _, e := range g.Entries {
		if phase < e.Interval {
			return e.Open
		}
		phase -= e.Interval
	}
	panic("entries shorter than the cycle")
}
