package node

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"tsnswitch"
	"tsnswitch/srp/mrp"
)

// rules are those of the last state that was wanted.
func (l *msrpLab) rules() []tsn.PriorityRules {
	l.t.Helper()
	if l.last == nil {
		l.t.Fatal("nothing was ever wanted")
	}
	return l.last.State.Priorities
}

// 802.1Q 34.5: SR queues are for streams that are reserved on their port. 6.9.4:
// at ports outside the domain priorities are regenerated, but of streams that a
// talker there has by other means than MSRP.
func TestPriorityRules(t *testing.T) {
	const sr = tsn.PrioritySet(1<<2 | 1<<3)
	c := msrpConfig()
	c.Classes = []PortClasses{{Port: 2, Filters: FilterPolice, FilterBurst: 100 * millisecond}}
	l := newMSRPLab(t, c)
	want := []tsn.PriorityRules{{Port: 1, Guarded: sr}, {Port: 2, Guarded: sr}, {Port: 3, Guarded: sr}, {Port: 4, Guarded: sr}}
	check := func(when string) {
		t.Helper()
		if d := cmp.Diff(want, l.rules()); d != "" {
			t.Fatalf("%s (-want +got):\n%s", when, d)
		}
	}
	classA, classB := mrp.Domain{ClassID: 6, Priority: 3, VID: 2}.Value(), mrp.Domain{ClassID: 5, Priority: 2, VID: 2}.Value()
	for _, n := range []tsn.Port{2, 3} {
		l.far[n].Join(l.now, classA, 0, true)
		l.far[n].Join(l.now, classB, 0, true)
	}
	l.run(1000)
	check("at first")
	l.run(3000)
	want[0].Regenerated, want[3].Regenerated = sr, sr
	check("ports 1 and 4 are silent")

	w := wish(tsn.MAC{2, 0, 0, 5, 0, 2}, 2)
	l.far[2].Join(l.now, w.Value(), 0, true)
	l.run(1000)
	check("nobody listens")
	l.far[3].Join(l.now, mrp.ListenerValue(w.StreamID), mrp.ListenerReady, true)
	l.run(1000)
	want[2].Leaving = []tsn.StreamHandle{{Address: w.DestinationAddress, VID: 2, PCP: 3}}
	check("a stream by MSRP")
	filters := l.last.State.Filters
	if len(filters) != 1 || filters[0].Port != 2 || filters[0].ID != w.StreamID || filters[0].StreamHandle != want[2].Leaving[0] {
		t.Fatalf("filters %+v", filters)
	}
	if m := filters[0].Meter; int64(m.CBS) != int64(m.CIR)*100/8 { // kbit/s for 100 ms
		t.Errorf("a burst of %d octets at %s", m.CBS, m.CIR)
	}

	s := stream(7, groupB, vid)
	s.Talker, s.Listener, s.ID = hearer, talker, tsn.MakeStreamID(hearer, 7)
	l.step(put(1, tsn.Reservation{Stream: s, Ports: []tsn.Port{3}}))
	handle := tsn.StreamHandle{Address: groupB, VID: vid, PCP: 3}
	want[2].Leaving = append(want[2].Leaving, handle)
	want[3].Entering = []tsn.StreamHandle{handle}
	check("a stream of the station at port 4 by other means")

	l.far[3].Leave(l.now, classB)
	l.run(2000)
	want[2].Regenerated = 1 << 2
	check("class B ends at port 3")
	l.step(tsn.LinkChanged{Port: 4})
	want[3].Regenerated, want[3].Entering = 0, nil
	l.run(1)
	check("port 4 is down")
}

// An end station knows what it sends.
func TestEndStationHasNoRules(t *testing.T) {
	b := newBench(t, endStation())
	b.step(tsn.LinkChanged{Port: 1, Up: true, Rate: tsn.Gbps})
	if r := b.want().Priorities; r != nil {
		t.Errorf("%+v", r)
	}
}
