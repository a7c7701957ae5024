package node

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"tsnswitch"
	"tsnswitch/spb"
)

// 802.1Qci: a stream is policed at the edge port of its talker and nowhere
// else, from the reservation to its end and while the station is there.
func TestStreamFilters(t *testing.T) {
	c := config()
	c.Classes = []PortClasses{{Port: 3, Filters: FilterGate}}
	b := newBench(t, c)
	b.step(tsn.Timeout{})
	for _, p := range ports {
		b.step(tsn.LinkChanged{Port: p, Up: true, Rate: tsn.Gbps})
	}
	elsewhere := stream(7, groupB, vid)
	elsewhere.Talker = self
	here := stream(1, groupA, vid)
	b.step(put(1, tsn.Reservation{Stream: here, Ports: []tsn.Port{1}}, tsn.Reservation{Stream: elsewhere, Ports: []tsn.Port{1}}))
	want := []tsn.StreamFilter{tsn.NewStreamFilter(3, here)}
	if d := cmp.Diff(want, b.want().Filters); d != "" {
		t.Fatalf("-want +got:\n%s", d)
	}

	// A unicast stream changes neither slopes nor groups, and is policed too.
	unicast := stream(2, hearer, vid)
	unicast.PCP = 6
	b.step(put(2, tsn.Reservation{Stream: here, Ports: []tsn.Port{1}}, tsn.Reservation{Stream: unicast, Ports: []tsn.Port{1}}))
	want = append(want, tsn.NewStreamFilter(3, unicast))
	if d := cmp.Diff(want, b.want().Filters); d != "" || want[1].Source != talker {
		t.Fatalf("-want +got:\n%s", d)
	}

	// Its window comes and goes; that of a stream unknown here does not matter.
	gate := tsn.NewStreamGate(tsn.PTPTime{NS: 5 * millisecond}, millisecond, tsn.Span{Start: -100_000, End: 100_000})
	b.step(SetStreamGates{Gates: []StreamGate{{ID: unicast.ID, Gate: gate}, {ID: elsewhere.ID, Gate: gate}}})
	if f := b.want().Filters; f[0].Gate != nil || f[1].Gate != gate || gate.BaseTime.NS != 5*millisecond+900_000 {
		t.Errorf("filters %+v, gate %+v", f, gate)
	}
	b.step(SetStreamGates{Gates: []StreamGate{{ID: unicast.ID, Gate: gate}}})
	if b.desired != nil {
		t.Errorf("what is as before is wanted anew: %+v", b.desired)
	}
	b.step(SetStreamGates{})
	if f := b.want().Filters; f[1].Gate != nil {
		t.Errorf("filters %+v", f)
	}

	b.step(spb.SetEndStations{})
	b.now += 20 * millisecond
	for range 10 {
		if b.desired == nil {
			b.now = max(b.now, b.Deadline())
			b.step(tsn.Timeout{})
		}
	}
	if f := b.want().Filters; len(f) != 0 {
		t.Errorf("the talker has left: %+v", f)
	}
}

// Without filters, and with policing alone, the kernel is told of no window.
func TestFilterModes(t *testing.T) {
	for mode, want := range map[FilterMode]int{FilterOff: 0, FilterPolice: 1} {
		c := config()
		c.Classes = []PortClasses{{Port: 3, Filters: mode}}
		b := newBench(t, c)
		b.step(tsn.Timeout{})
		b.step(tsn.LinkChanged{Port: 1, Up: true, Rate: tsn.Gbps})
		s := stream(1, groupA, vid)
		b.step(SetStreamGates{Gates: []StreamGate{{ID: s.ID, Gate: tsn.NewStreamGate(tsn.PTPTime{}, millisecond, tsn.Span{Start: 0, End: 1000})}}})
		b.step(put(1, tsn.Reservation{Stream: s, Ports: []tsn.Port{1}}))
		if f := b.want().Filters; len(f) != want || want == 1 && f[0].Gate != nil {
			t.Errorf("mode %d: %+v", mode, f)
		}
	}
}
