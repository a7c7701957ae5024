package synth

import (
	"strings"
	"testing"

	tsn "tsnswitch"
	"tsnswitch/qbv/schedule"
)

// hall is n talkers at one bridge and a listener at the next; stations have
// links of their own.
func hall(streams ...schedule.Stream) *schedule.Problem {
	p := &schedule.Problem{Nodes: []schedule.Node{{Name: "left", Bridge: true}, {Name: "right", Bridge: true}, {Name: "listener"}}}
	link := func(from, to schedule.NodeID) {
		p.Links = append(p.Links, schedule.Link{From: from, To: to, Rate: tsn.Gbps, Queues: 8, Scheduled: 0xfe, ProcessingDelay: 1000})
	}
	link(0, 1)
	link(1, 2)
	for i, s := range streams {
		p.Nodes = append(p.Nodes, schedule.Node{Name: "talker"})
		link(schedule.NodeID(3+i), 0)
		s.ID, s.Talker, s.Listeners = 100+i, schedule.NodeID(3+i), []schedule.NodeID{2}
		p.Streams = append(p.Streams, s)
	}
	return p
}

// A stream left out is told where, because of whom, and what would help; and
// that does help.
func TestExplanations(t *testing.T) {
	s := func(size int, period, deadline int64) schedule.Stream {
		return schedule.Stream{Size: size, Period: period, Deadline: deadline}
	}
	ranked := s(5000, 100_000, 300_000)
	ranked.Rank = 1
	for name, tt := range map[string]struct {
		p              *schedule.Problem
		left           int // how many are left out
		reason, remedy string
		try            func(s *schedule.Stream)
	}{
		"full link": {
			hall(s(5000, 100_000, 300_000), s(5000, 100_000, 300_000), ranked), 1,
			"link 1 (right-listener) the streams that have no other way need 120 % of it", "without stream 100 it fits", func(s *schedule.Stream) { s.Size = 2500 },
		},
		"periods with nothing in common": {
			hall(s(1000, 30_000, 100_000), s(1000, 31_000, 100_000)), 0, "", "", nil,
		},
		"periods that cannot agree": {
			hall(s(1000, 30_000, 100_000), s(1000, 40_000, 100_000)), 0, "", "", nil,
		},
		"deadline": {
			hall(s(1000, 100_000, 20_000)), 1, "takes 26000 ns on its fastest route without waiting, 20000 ns are allowed",
			"with a deadline of at least 26000 ns it fits", func(s *schedule.Stream) { s.Deadline = 26_000 },
		},
		"long cycle": {
			hall(s(100, 1_000_003, 1_000_000), s(100, 1_000_000, 1_000_000), s(100, 1_000_000, 1_000_000)), 1,
			"makes the common cycle of all streams longer", "multiple", func(s *schedule.Stream) { s.Period = 1_000_000 },
		},
		"window longer than the period": {
			hall(s(1000, 6_000, 100_000)), 1, "needs a window of 8000 ns in a period of 6000 ns", "with a period of", func(s *schedule.Stream) { s.Period = 12_000 },
		},
	} {
		sol := mustSolve(t, tt.p, Options{Units: 2_000_000})
		if len(sol.Unplaced) != tt.left {
			t.Errorf("%s: %d left out: %+v", name, len(sol.Unplaced), sol.Unplaced)
			continue
		}
		if tt.left == 0 {
			continue
		}
		no := sol.Unplaced[0]
		said := tt.p.LinkName(no.Link) + " " + no.Reason
		if !strings.Contains(said, tt.reason) || !strings.Contains(no.Remedy, tt.remedy) {
			t.Errorf("%s: says %q, remedy %q", name, said, no.Remedy)
		}
		tt.try(&tt.p.Streams[no.Stream])
		if sol := mustSolve(t, tt.p, Options{}); len(sol.Unplaced) > 0 {
			t.Errorf("%s: the remedy does not help: %+v", name, sol.Unplaced)
		}
	}
}
