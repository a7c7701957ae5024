package framesim_test

import (
	"reflect"
	"testing"

	tsn "tsnswitch"
	"tsnswitch/qbv/framesim"
	"tsnswitch/qbv/schedule"
)

// one is a talker and a listener at a bridge, and a frame of 125 octets, 1000 ns
// on each of two links, every 20,000 ns. It is in the bridge's queue at 2500, where gate 2 is
// open as gates say; other traffic has queues 0, 1 and 3.
func one(gates ...tsn.GateEntry) (*schedule.Problem, *schedule.Solution) {
	p := &schedule.Problem{
		Nodes:   []schedule.Node{{Name: "h0"}, {Name: "b", Bridge: true}, {Name: "h1"}},
		Streams: []schedule.Stream{{Listeners: []schedule.NodeID{2}, Size: 125, Period: 20_000, Deadline: 20_000}},
	}
	p.Streams[0].Talker = 0
	for l := range schedule.NodeID(2) {
		p.Links = append(p.Links, schedule.Link{From: l, To: l + 1, Rate: tsn.Gbps, PropagationDelay: 100, ProcessingDelay: 400, Queues: 4, Scheduled: 4})
	}
	s := &schedule.Solution{Cycle: 20_000, Streams: []schedule.Placement{
		{Route: []schedule.LinkID{0, 1}, Starts: []int64{1000, 2500}, Queues: []tsn.TrafficClass{2, 2}},
	}}
	if len(gates) > 0 {
		s.Gates = []schedule.LinkGates{{Link: 1, List: tsn.GateControlList{CycleTime: 20_000, Entries: gates}}}
	}
	return p, s
}

func e(gates tsn.GateMask, interval int64) tsn.GateEntry {
	return tsn.GateEntry{Gates: gates, Interval: interval}
}

// TestPort is clause 8.6.8.4 at the bridge's port: how long the frame takes,
// which is 2600 ns if nothing is in its way; 0 if it does not come at all.
func TestPort(t *testing.T) {
	for name, c := range map[string]struct {
		gates   []tsn.GateEntry
		latency int64
		change  func(*schedule.Problem)
	}{
		"no list":                             {nil, 2600, nil},
		"open just long enough":               {[]tsn.GateEntry{e(0, 2500), e(4, 1000), e(0, 16_500)}, 2600, nil},
		"opens later":                         {[]tsn.GateEntry{e(0, 2600), e(4, 1000), e(0, 16_400)}, 2700, nil},
		"does not fit: next cycle":            {[]tsn.GateEntry{e(4, 3499), e(0, 16_501)}, 20_000 - 2500 + 2600, nil},
		"never long enough":                   {[]tsn.GateEntry{e(4, 999), e(0, 19_001)}, 0, nil},
		"open across entries":                 {[]tsn.GateEntry{e(4, 3000), e(5, 500), e(0, 16_500)}, 2600, nil},
		"open across the end of the cycle":    {[]tsn.GateEntry{e(4, 500), e(0, 19_000), e(4, 500)}, 20_000 + 2600 - 2500 - 500, nil},
		"software: within one entry":          {[]tsn.GateEntry{e(4, 3000), e(5, 1000), e(0, 16_000)}, 2600 + 500, func(p *schedule.Problem) { p.Links[1].Software = true }},
		"other traffic that fits is in time":  {[]tsn.GateEntry{e(2, 2500), e(4, 1000), e(2, 16_500)}, 2600, nil},
		"other traffic is a frame ahead":      {[]tsn.GateEntry{e(6, 20_000)}, 2600 + 1542*8 - 1, nil},
		"other traffic above goes first":      {[]tsn.GateEntry{e(4, 2000), e(12, 14_000), e(4, 4000)}, 2600 + 1542*8, nil},
		"a guard band that is too short":      {[]tsn.GateEntry{e(2, 2401), e(0, 99), e(4, 17_500)}, 2600 + 100, func(p *schedule.Problem) { p.Links[1].GuardOctets = 25 }},
		"a guard band that is just too short": {[]tsn.GateEntry{e(2, 2301), e(0, 199), e(4, 17_500)}, 2600, func(p *schedule.Problem) { p.Links[1].GuardOctets = 25 }},
	} {
		p, s := one(c.gates...)
		if c.change != nil {
			c.change(p)
		}
		res, err := framesim.Run(p, s, framesim.Options{Cycles: 3})
		if err != nil {
			t.Fatal(err)
		}
		if got := res.Streams[0].Listeners[0]; got.Worst != c.latency {
			t.Errorf("%s: took %d ns, want %d", name, got.Worst, c.latency)
		}
		if c.latency == 0 && (res.Streams[0].Lost == 0 || res.OK()) {
			t.Errorf("%s: nothing is lost", name)
		}
	}
}

// TestSameBytes: the same options, the same result.
func TestSameBytes(t *testing.T) {
	p, s := one()
	p.SyncError, p.Jitter, p.Streams[0].MinSize = 100, 50, 84
	a, _ := framesim.Run(p, s, framesim.Options{Seed: 3})
	b, _ := framesim.Run(p, s, framesim.Options{Seed: 3})
	if !reflect.DeepEqual(a, b) {
		t.Errorf("%+v and %+v", a, b)
	}
	if a.Rounds != 8 || a.Streams[0].Listeners[0].Worst != 2600+2*150 {
		t.Errorf("the worst case of %d rounds is %+v", a.Rounds, a.Streams[0])
	}
}

// TestFill: two streams in one queue at a time, as the verifier would not have it.
func TestFill(t *testing.T) {
	p, s := one(e(0, 10_000), e(4, 10_000))
	p.Streams = append(p.Streams, p.Streams[0])
	p.Streams[1].ID = 1
	s.Streams = append(s.Streams, s.Streams[0])
	s.Streams[1].Stream = 1
	res, err := framesim.Run(p, s, framesim.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if want := (framesim.Fill{Link: 1, Queue: 2, Frames: 2, Octets: 250}); res.Queues[1] != want {
		t.Errorf("got %+v, want %+v", res.Queues, want)
	}
	if res.OK() || res.Streams[1].Late == 0 {
		t.Error("nobody is late")
	}
}

// TestNotPlayable: what cannot be played says why.
func TestNotPlayable(t *testing.T) {
	for want, spoil := range map[string]func(*schedule.Problem, *schedule.Solution){
		"link 0 (h0-b): a rate of 0 kbit/s is too low":              func(p *schedule.Problem, _ *schedule.Solution) { p.Links[0].Rate = 0 },
		"a cycle of 0 ns is outside 1..1099511627776":               func(_ *schedule.Problem, s *schedule.Solution) { s.Cycle = 0 },
		"stream index 4 does not exist":                             func(_ *schedule.Problem, s *schedule.Solution) { s.Streams[0].Stream = 4 },
		"stream 0: does not reach h1":                               func(_ *schedule.Problem, s *schedule.Solution) { s.Streams[0].Route = s.Streams[0].Route[:1] },
		"stream 0: 1 starts and 2 queues for 2 links":               func(_ *schedule.Problem, s *schedule.Solution) { s.Streams[0].Starts = s.Streams[0].Starts[:1] },
		"stream 0: queue 4 on link 1 (b-h1) is not there":           func(_ *schedule.Problem, s *schedule.Solution) { s.Streams[0].Queues[1] = 4 },
		"stream 0: a start at -5 ns is outside 0..1125899906842624": func(_ *schedule.Problem, s *schedule.Solution) { s.Streams[0].Starts[1] = -5 },
		"stream 0: 2 instances, but 1 periods":                      func(_ *schedule.Problem, s *schedule.Solution) { s.Streams[0].Instances = make([]schedule.Instance, 2) },
		"stream 0: 0 starts and 0 queues for 2 links":               func(_ *schedule.Problem, s *schedule.Solution) { s.Streams[0].Instances = make([]schedule.Instance, 1) },
		"stream 0: a period of 20000 ns does not divide the cycle of 30000 ns": func(_ *schedule.Problem, s *schedule.Solution) {
			s.Cycle = 30_000
		},
		"link 9 does not exist or has two gate control lists":           func(_ *schedule.Problem, s *schedule.Solution) { s.Gates[0].Link = 9 },
		"link 1 (b-h1): a gate entry of 0 ns":                           func(_ *schedule.Problem, s *schedule.Solution) { s.Gates[0].List.Entries[0].Interval = 0 },
		"link 1 (b-h1): the gate entries last 20000 ns, the cycle 1 ns": func(_ *schedule.Problem, s *schedule.Solution) { s.Gates[0].List.CycleTime = 1 },
		"link 1 (b-h1): the gate entries last 0 ns, the cycle 20000 ns": func(_ *schedule.Problem, s *schedule.Solution) { s.Gates[0].List.Entries = nil },
	} {
		p, s := one(e(4, 20_000))
		spoil(p, s)
		if _, err := framesim.Run(p, s, framesim.Options{}); err == nil || err.Error() != want {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	if _, err := framesim.Run(nil, nil, framesim.Options{}); err == nil {
		t.Error("no error without a problem")
	}
}
