package synth

import (
	"testing"

	tsn "tsnswitch"
	"tsnswitch/qbv/schedule"
	"tsnswitch/qbv/verify"
)

// With margins every window in a queue needs an entry before it that shuts the
// queue. A port with fewer entries gets its windows in queues that take turns.
func TestQueuesTakeTurnsInShortLists(t *testing.T) {
	link := func(from, to schedule.NodeID) schedule.Link {
		return schedule.Link{From: from, To: to, Rate: tsn.Gbps, ProcessingDelay: 1000, Queues: 4, Scheduled: 0b1100, MaxEntries: 12}
	}
	p := &schedule.Problem{
		Nodes:     []schedule.Node{{Name: "h0"}, {Name: "b", Bridge: true}, {Name: "h1"}},
		Links:     []schedule.Link{link(0, 1), link(1, 2)},
		SyncError: 100,
	}
	for i := range 10 {
		p.Streams = append(p.Streams, schedule.Stream{ID: i, Listeners: []schedule.NodeID{2}, Size: 125, Period: 1e6, Deadline: 1e6, Release: [2]int64{int64(i+1) * 50_000, int64(i+1)*50_000 + 1000}})
	}
	s, _, err := Solve(p, Options{Units: 1e6})
	if err != nil || len(s.Unplaced) > 0 {
		t.Fatal(err, s.Unplaced)
	}
	if rep, err := verify.Check(p, s); err != nil || rep.FaultCount > 0 {
		t.Fatal(err, rep.Faults)
	}
}
