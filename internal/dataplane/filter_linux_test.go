package dataplane_test

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	tsn "tsnswitch"
	"tsnswitch/internal/dataplane"
	"tsnswitch/internal/kerneltest"
)

// TestFilters counts in virtual time what stream filters, gates and meters
// (802.1Qci) let pass: exactly, since there nothing is ever late.
func TestFilters(t *testing.T) {
	needs := kerneltest.Needs{
		OwnKernel: true, TimeTravel: true, Taprio: true, Flower: true, VLANFiltering: true, ActGate: true, ETF: true, CBS: true, MQPrio: true,
		Timeout: time.Minute,
	}
	kerneltest.Run(t, needs, func(t *testing.T) {
		t.Run("StreamFilters", testStreamFilters)
		t.Run("Babbling", precisely(testBabbling))
		t.Run("Conforming", precisely(testConforming))
		t.Run("MaxSDU", precisely(testFilterMaxSDU))
		t.Run("Gate", precisely(testStreamGate))
		t.Run("GateOctets", precisely(testGateOctets))
		t.Run("Ungated", precisely(testUngated))
		t.Run("LaunchSet", testLaunchSet)
		t.Run("LaunchOrder", precisely(testLaunchOrder))
		t.Run("LaunchDeadline", precisely(testLaunchDeadline))
		t.Run("LaunchLate", precisely(testLaunchLate))
		t.Run("LaunchHolds", precisely(testLaunchHolds))
	})
}

// ingress is a switch whose hosts 0 and 1 send streams to host 2.
type ingress struct {
	*lab
	k  *dataplane.Kernel
	d  tsn.DesiredState
	tx [2]int
	rx int
}

// talk are the streams: one frame of 100 octets each millisecond.
var talk = [2]tsn.Stream{
	{ID: tsn.StreamID{2, 0, 0, 0, 0, 1, 0, 1}, Talker: macA, DestinationAddress: tsn.MAC{0x91, 0xe0, 0xf0, 0, 0xfe, 1}, VID: 10, PCP: 6, Interval: 1_000_000, MaxFrameSize: 100, MaxIntervalFrames: 1},
	{ID: tsn.StreamID{2, 0, 0, 0, 0, 2, 0, 1}, Talker: macB, DestinationAddress: tsn.MAC{0x91, 0xe0, 0xf0, 0, 0xfe, 2}, VID: 10, PCP: 6, Interval: 1_000_000, MaxFrameSize: 100, MaxIntervalFrames: 1},
}

func newIngress(t *testing.T) *ingress {
	sw := kerneltest.NewNetNS(t)
	quiet(t, sw)
	l := newLabOn(t, sw)
	for _, h := range l.host {
		quiet(t, h)
	}
	in := &ingress{lab: l, k: open(t, l.sw, realConfig()), d: tsn.DesiredState{Bridge: &tsn.BridgeState{OwnedVIDs: vids}}}
	for _, p := range ports {
		in.d.Bridge.Ports = append(in.d.Bridge.Ports, tsn.BridgePort{Port: p, VLANs: []tsn.PortVLAN{{VID: 10}}})
		in.d.Egress = append(in.d.Egress, tsn.PortEgress{Port: p, ClassMap: tsn.DefaultClassMap})
	}
	for i, s := range talk {
		in.d.Bridge.MDB = append(in.d.Bridge.MDB, tsn.MDBEntry{Group: s.DestinationAddress, VID: 10, Ports: []tsn.Port{3}})
		in.d.Filters = append(in.d.Filters, tsn.NewStreamFilter(tsn.Port(i+1), s))
		in.tx[i] = socket(t, l.host[i], "h0")
	}
	in.rx = stampingSocket(t, l.host[2], "h0")
	set(t, in.k, in.d)
	if left, err := in.k.Diff(in.d); err != nil || len(left) > 0 {
		t.Fatalf("not adopted: %v, %v", left, err)
	}
	sleepUntil(t, tai(t)+10_000_000)
	return in
}

// talk sends a frame of stream i with so many octets after length/type, the
// first of them n.
func (in *ingress) talk(t *testing.T, i, octets int, n byte) {
	t.Helper()
	f := frame(talk[i].DestinationAddress, talk[i].Talker, 10, 6, n)
	send(t, in.tx[i], append(f, make([]byte, 1500)...)[:18+octets])
}

// came counts what reached host 2, by serial octet.
func (in *ingress) came(t *testing.T) (count [256]uint64) {
	t.Helper()
	for _, a := range arrivals(t, in.rx) {
		count[a.n]++
	}
	return count
}

// counters returns those of stream i.
func (in *ingress) counters(t *testing.T, i int) dataplane.FilterCounters {
	t.Helper()
	cs, err := in.k.Counters()
	if err != nil {
		t.Fatal(err)
	}
	if len(cs[i].Filters) != 1 || cs[i].Filters[0].ID != talk[i].ID {
		t.Fatalf("port %d: %+v", i+1, cs[i].Filters)
	}
	return cs[i].Filters[0]
}

// 802.1Qci 8.6.5.1.3: of a talker that sends ten times what it reserved its
// reserved rate passes and not a frame more; its neighbour loses none.
func testBabbling(t *testing.T) {
	in := newIngress(t)
	const intervals, times = 500, 10
	from := tai(t) + 1_000_000
	for i := range int64(intervals) {
		sleepUntil(t, from+i*talk[0].Interval)
		for range times {
			in.talk(t, 0, 100, 1)
		}
		in.talk(t, 1, 100, 2)
	}
	sleepUntil(t, tai(t)+10_000_000)
	got, c, other := in.came(t), in.counters(t, 0), in.counters(t, 1)
	t.Logf("babbling: %d of %d passed (%d reserved); neighbour: %d of %d", got[1], c.Matching, intervals, got[2], other.Matching)
	// The burst of one more, and a thousandth for the talker's clock.
	if limit := uint64(intervals + 1 + intervals/1000 + 1); got[1] < intervals || got[1] > limit {
		t.Errorf("%d frames passed, want %d..%d", got[1], intervals, limit)
	}
	if want := (dataplane.FilterCounters{Port: 1, ID: talk[0].ID, Matching: times * intervals, Red: times*intervals - got[1]}); c != want {
		t.Errorf("counters %+v, want %+v", c, want)
	}
	if want := (dataplane.FilterCounters{Port: 2, ID: talk[1].ID, Matching: intervals}); got[2] != intervals || other != want {
		t.Errorf("the neighbour lost frames: %d came, counters %+v", got[2], other)
	}
}

// A talker within its TSpec loses nothing, whenever in each interval its frame
// comes: the worst is one at the end of an interval, one at the start of the next.
func testConforming(t *testing.T) {
	in := newIngress(t)
	const intervals = 1000
	from := tai(t) + 1_000_000
	for i := range int64(intervals) {
		early := []int64{talk[0].Interval - 1000, 0, 370_000}[i%3]
		sleepUntil(t, from+i*talk[0].Interval+early)
		in.talk(t, 0, 100, 1)
	}
	sleepUntil(t, tai(t)+10_000_000)
	if got, c := in.came(t)[1], in.counters(t, 0); got != intervals || c.Passing() != intervals {
		t.Errorf("%d of %d came, counters %+v", got, intervals, c)
	}
}

// 802.1Qci 8.6.5.1.1 maximum SDU size: a longer frame is dropped, and counted
// apart from the meter's.
func testFilterMaxSDU(t *testing.T) {
	in := newIngress(t)
	for range 5 {
		for i, octets := range []int{46, 99, 100, 101, 500} {
			in.talk(t, 0, octets, byte(i))
			sleepUntil(t, tai(t)+talk[0].Interval*4) // 500 octets cost more than an interval
		}
	}
	sleepUntil(t, tai(t)+10_000_000)
	got := in.came(t)
	want := dataplane.FilterCounters{Port: 1, ID: talk[0].ID, Matching: 25, TooLong: 10}
	if c := in.counters(t, 0); c != want || !slices.Equal(got[:5], []uint64{5, 5, 5, 0, 0}) {
		t.Errorf("%v came, counters %+v, want %+v", got[:5], c, want)
	}
}

// 802.1Qci 8.6.5.1.2: frames outside the window are dropped and counted, those
// inside all pass, to the nanosecond that a sender can aim at.
func testStreamGate(t *testing.T) {
	in := newIngress(t)
	const cycle, phase, window = 1_000_000, 300_000, 200_000
	base := tsn.PTPTime{NS: tai(t) + 20_000_000} // realConfig: gate clock time
	in.d.Filters[0].Gate = tsn.NewStreamGate(base, cycle, tsn.Span{Start: phase, End: phase + window})
	in.d.Filters[0].Meter = tsn.FlowMeter{} // this is about the gate alone
	set(t, in.k, in.d)
	in.talk(t, 0, 100, 9) // until its base time, here the first window, a gate lets everything pass
	const aim = 10_000    // a sender takes up to so long from its alarm to the wire
	var inside, outside uint64
	for i := range int64(400) {
		at := i * 37_000 % cycle
		sleepUntil(t, base.NS+(2*i+1)*cycle+at)
		switch {
		case at >= phase && at < phase+window-aim:
			in.talk(t, 0, 100, 1)
			inside++
		case at < phase-aim || at >= phase+window:
			in.talk(t, 0, 100, 2)
			outside++
		}
		in.talk(t, 1, 100, 3)
	}
	sleepUntil(t, tai(t)+10_000_000)
	got, c := in.came(t), in.counters(t, 0)
	t.Logf("%d frames inside the window, %d outside", inside, outside)
	if got[9] != 1 || got[1] != inside || got[2] != 0 || got[3] != 400 {
		t.Errorf("%d of %d inside came, %d of %d outside; %d before the base time; the neighbour's %d", got[1], inside, got[2], outside, got[9], got[3])
	}
	if want := (dataplane.FilterCounters{Port: 1, ID: talk[0].ID, Matching: inside + outside + 1, GateClosed: outside}); c != want {
		t.Errorf("counters %+v, want %+v", c, want)
	}
}

// IntervalOctetMax (table 8-4): what comes beyond it in one interval is dropped.
func testGateOctets(t *testing.T) {
	in := newIngress(t)
	base := tsn.PTPTime{NS: tai(t) + 20_000_000}
	in.d.Filters[0].Meter = tsn.FlowMeter{}
	in.d.Filters[0].Gate = &tsn.StreamGate{BaseTime: base, CycleTime: 1_000_000, Entries: []tsn.StreamGateEntry{{Open: true, IPV: tsn.NoIPV, Interval: 1_000_000, OctetMax: 250}}}
	set(t, in.k, in.d)
	for i := range int64(100) {
		sleepUntil(t, base.NS+(i+1)*1_000_000+1000)
		for n := range 4 {
			in.talk(t, 0, 100, byte(n))
		}
	}
	sleepUntil(t, tai(t)+10_000_000)
	got := in.came(t)
	if c := in.counters(t, 0); !slices.Equal(got[:4], []uint64{100, 100, 0, 0}) || c.GateClosed != 200 {
		t.Errorf("%v came, counters %+v", got[:4], c)
	}
}

// testStreamFilters: filters are read back as set, adopted, changed in place,
// and what is not ours stays.
func testStreamFilters(t *testing.T) {
	l := newLab(t)
	k := open(t, l.sw, realConfig())
	d := fabricState()
	for i, s := range talk {
		d.Filters = append(d.Filters, tsn.NewStreamFilter(tsn.Port(i+1), s))
	}
	unicast := talk[0]
	unicast.ID[7], unicast.DestinationAddress, unicast.PCP = 9, macC, 3
	d.Filters = slices.Insert(d.Filters, 1, tsn.NewStreamFilter(1, unicast))
	d.Filters[0].Gate = tsn.NewStreamGate(tsn.PTPTime{NS: tai(t) + lead}, 1_000_000, tsn.Span{Start: 100_000, End: 150_000})
	if _, err := k.Diff(d); err != nil {
		t.Logf("without gates: %v", err)
		isErr(t, err, dataplane.ErrNotSupported)
		d.Filters[0].Gate = nil
	}
	set(t, k, d)
	before := read(t, k)
	if len(before.Filters) != 3 || before.Filters[1].Handle.Source != macA || before.Filters[0].MaxSDU != 100 {
		t.Fatalf("filters %+v", before.Filters)
	}
	writes := k.Writes()
	set(t, open(t, l.sw, realConfig()), d)
	if r := set(t, k, d); len(r.Applied) > 0 || k.Writes() != writes {
		t.Errorf("set again: %v", r.Applied)
	}
	d.Filters[1].Meter.CIR *= 2
	d.Filters = d.Filters[:2]
	r := set(t, k, d)
	if len(r.Applied) != 2 {
		t.Errorf("a filter changed and one removed: %v", r.Applied)
	}
	want := slices.Clone(before.Filters[:2])
	want[1].Meter.Rate = uint64(d.Filters[1].Meter.CIR) * 125
	want[1].Meter.Burst = want[1].Meter.Burst/2 + want[1].Meter.Burst%2
	if diff := cmp.Diff(want, read(t, k).Filters); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	d.Filters = nil
	set(t, k, d)
	if left := read(t, k).Filters; len(left) > 0 {
		t.Errorf("left: %+v", left)
	}
}
