package dataplane_test

import (
	"testing"

	tsn "tsnswitch"
	"tsnswitch/internal/dataplane"
)

// priorityTagged is a frame of an end station that says a priority and no VLAN.
func priorityTagged(dst, src tsn.MAC, pcp tsn.PCP, n byte) []byte {
	f := frame(dst, src, 1, pcp, n)
	f[15] = 0
	return f
}

// 802.1Q 34.5 and 6.9.4: only frames of reserved streams are queued in an SR
// class; and at a boundary port the others lose their priority for good.
func testPriorities(t *testing.T) {
	l := newLab(t)
	k := open(t, l.sw, realConfig())
	d := fabricState()
	set(t, k, d)
	a, b, c := socket(t, l.host[0], "h0"), socket(t, l.host[1], "h0"), socket(t, l.host[2], "h0")
	const sr = tsn.PrioritySet(1<<2 | 1<<3)
	held := tsn.StreamHandle{Address: macB, VID: 10, PCP: 3, Source: macA}

	last, before := byte(0), dataplane.Counters{}
	// passes sends ten frames of each priority of interest from host 1 and, tagged
	// with a priority alone, one from host 3, and compares what left by port 2.
	passes := func(what string, class, priority map[int]uint64) {
		t.Helper()
		for range 10 {
			for _, pcp := range []tsn.PCP{2, 3, 6} {
				send(t, a, frame(macB, macA, 10, pcp, 0))
			}
		}
		send(t, c, priorityTagged(macB, macC, 3, 0))
		last++
		send(t, a, frame(macB, macA, 10, 7, last))
		send(t, c, priorityTagged(macB, macC, 7, last+100))
		receive(t, b, last)
		receive(t, b, last+100)
		cs, err := k.Counters()
		if err != nil {
			t.Fatal(err)
		}
		now := cs[1]
		for c, want := range class {
			if got := now.Class[c].Frames - before.Class[c].Frames; got != want {
				t.Errorf("%s: %d frames left in class %d, want %d", what, got, c, want)
			}
		}
		for p, want := range priority {
			if got := now.Priority[p] - before.Priority[p]; got != want {
				t.Errorf("%s: %d frames left with priority %d, want %d", what, got, p, want)
			}
		}
		before = now
	}
	srB, srA := int(tsn.ClassSRB), int(tsn.ClassSRA)
	passes("no rules", map[int]uint64{srB: 10, srA: 11, int(tsn.ClassScheduled): 10}, map[int]uint64{2: 10, 3: 11})

	d.Priorities = []tsn.PriorityRules{{Port: 2, Guarded: sr}}
	set(t, k, d)
	before.Priority = [8]uint64{} // the filters are new
	passes("guarded", map[int]uint64{srB: 0, srA: 0, int(tsn.ClassScheduled): 10}, map[int]uint64{2: 10, 3: 11})

	d.Priorities[0].Leaving = []tsn.StreamHandle{held}
	set(t, k, d)
	passes("a stream", map[int]uint64{srB: 0, srA: 10, int(tsn.ClassScheduled): 10}, map[int]uint64{2: 10, 3: 11})

	d.Priorities = []tsn.PriorityRules{
		{Port: 1, Regenerated: sr, Entering: []tsn.StreamHandle{held}}, d.Priorities[0], {Port: 3, Regenerated: sr},
	}
	set(t, k, d)
	passes("boundary ports", map[int]uint64{srB: 0, srA: 10, int(tsn.ClassScheduled): 10}, map[int]uint64{0: 11, 2: 0, 3: 10, 6: 10})
	again := open(t, l.sw, realConfig())
	if set(t, again, d); again.Writes() != 0 {
		t.Errorf("adoption wrote %d times", again.Writes())
	}
	t.Logf("%s", read(t, k).Text(k.Config()))

	d.Priorities = nil
	set(t, k, d)
	before.Priority = [8]uint64{}
	passes("no more rules", map[int]uint64{srB: 10, srA: 11, int(tsn.ClassScheduled): 10}, map[int]uint64{2: 10, 3: 11})
	if s := read(t, k); len(s.Rules) > 0 {
		t.Errorf("rules are left: %+v", s.Rules)
	}
}
