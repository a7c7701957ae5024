package gptp

import (
	"testing"

	tsn "tsnswitch"
	"tsnswitch/gptp/ptpmsg"
)

// 10.3.17 to 10.3.19, 10.4.3, 11.2.21: -128 leaves an interval, 126 is the
// initial one, 127 none; others are held within bounds, and beyond the shortest
// only where the configuration goes.
func TestAskedIntervals(t *testing.T) {
	const leave, initial, stop = ptpmsg.IntervalLeave, ptpmsg.IntervalInitial, ptpmsg.IntervalStop
	for _, c := range []struct {
		initial, current, ask, want int8
		clipped                     bool
	}{
		{-3, -3, leave, -3, false},
		{-3, 2, leave, 2, false},
		{-3, stop, leave, stop, false},
		{-3, 2, initial, -3, false},
		{-3, 2, stop, stop, false},
		{-3, stop, 0, 0, false},
		{-3, -3, 6, 6, false},
		{-3, -3, 7, 6, true},
		{-3, -3, 125, 6, true},
		{-3, -3, -5, -5, false},
		{-3, -3, -6, -5, true},
		{-3, -3, -127, -5, true},
		{-7, 0, -7, -7, false},
		{-7, 0, -8, -7, true},
	} {
		i := interval{c.initial, c.current}
		changed, clipped := i.ask(c.ask)
		if i.current != c.want || clipped != c.clipped || changed != (c.current != c.want) || i.initial != c.initial {
			t.Errorf("%+v: %+v, changed %v, clipped %v", c, i, changed, clipped)
		}
	}
}

// asked makes a master port and lets its neighbour ask.
func asked(t *testing.T, r ptpmsg.IntervalRequest) *solo {
	s := soloMaster(t, patient)
	s.wait(5 * second)
	s.signal(1, 0, r.TLV())
	s.out = nil
	return s
}

// rates counts what port 1 sends in ns.
func (s *solo) rates(ns int64) MessageCounters {
	s.out = nil
	s.wait(ns)
	var c MessageCounters
	for _, o := range s.out {
		c.add(o.m.Type())
	}
	s.out = nil
	return c
}

// The messages really come at the interval asked for, and say so.
func TestIntervalsAreFollowed(t *testing.T) {
	const leave, initial, stop = ptpmsg.IntervalLeave, ptpmsg.IntervalInitial, ptpmsg.IntervalStop
	s := asked(t, ptpmsg.IntervalRequest{LinkDelay: -2, TimeSync: -4, Announce: 1, Flags: 5})
	if c := s.rates(8 * second); c.PdelayReq != 32 || c.Sync < 126 || c.Sync > 130 || c.Announce != 4 || c.Signaling != 8 {
		t.Errorf("%+v", c)
	}
	p := s.Status().Ports[0]
	want := IntervalsStatus{
		Sync: IntervalStatus{InitialLog: -3, CurrentLog: -4}, Announce: IntervalStatus{CurrentLog: 1},
		PdelayReq: IntervalStatus{CurrentLog: -2}, GptpCapable: IntervalStatus{},
	}
	if p.Intervals != want || p.NeighborWishes != (NeighborWishes{Received: true, ComputeNeighborRateRatio: true, OneStepReceiveCapable: true}) {
		t.Errorf("%+v %+v", p.Intervals, p.NeighborWishes)
	}
	s.signal(1, 0, ptpmsg.IntervalRequest{LinkDelay: stop, TimeSync: stop, Announce: stop}.TLV())
	s.signal(1, 0, ptpmsg.GptpCapableIntervalRequest{LogInterval: stop}.TLV())
	if c := s.rates(60 * second); c != (MessageCounters{}) {
		t.Errorf("stopped: %+v", c)
	}
	p = s.Status().Ports[0]
	if i := p.Intervals; !i.Sync.Stopped || !i.Announce.Stopped || !i.PdelayReq.Stopped || !i.GptpCapable.Stopped {
		t.Errorf("%+v", i)
	}
	if !p.AsCapable {
		t.Errorf("a link that was good is not measured any more: %v", p.AsCapableReason)
	}
	if s.noticed(NoticeInterval) == 0 {
		t.Error("nobody was told")
	}
	s.signal(1, 0, ptpmsg.IntervalRequest{LinkDelay: initial, TimeSync: initial, Announce: leave}.TLV())
	if c := s.rates(5 * second); c.PdelayReq < 4 || c.Announce != 0 {
		t.Errorf("again: %+v", c)
	}
	s.link(1, false)
	s.link(1, true)
	if i := s.Status().Ports[0].Intervals; i.Announce.Stopped || i.GptpCapable.Stopped || i.Sync.CurrentLog != -3 {
		t.Errorf("a new link begins with the initial intervals: %+v", i)
	}
}

// A link that was stopped before it was measured says so.
func TestStoppedBeforeMeasured(t *testing.T) {
	s := newSolo(t, 1, nil)
	s.link(1, true)
	s.signal(1, 0, ptpmsg.IntervalRequest{LinkDelay: ptpmsg.IntervalStop, TimeSync: -128, Announce: -128}.TLV())
	s.wait(100 * second)
	if p := s.Status().Ports[0]; p.AsCapable || p.AsCapableReason != ReasonStopped || !p.Intervals.PdelayReq.Stopped {
		t.Errorf("%+v", p)
	}
	s.signal(1, 0, ptpmsg.IntervalRequest{LinkDelay: ptpmsg.IntervalInitial, TimeSync: -128, Announce: -128}.TLV())
	s.capable2(1)
}

// A neighbour that asks without end for the shortest interval draws no more
// than that, and notices stay few; one that changes its mind with every message
// gains nothing.
func TestRequestsDoNotFlood(t *testing.T) {
	const ms = 4
	for _, other := range []int8{-127, 127, 6, 126} {
		s := soloMaster(t, patient)
		s.wait(5 * second)
		s.out, s.notices = nil, nil
		var c MessageCounters
		for i := range 2000 / ms {
			log := int8(-127)
			if i%2 == 1 {
				log = other
			}
			s.signal(1, 0, ptpmsg.IntervalRequest{LinkDelay: log, TimeSync: log, Announce: log}.TLV())
			s.signal(1, 0, ptpmsg.GptpCapableIntervalRequest{LogInterval: log}.TLV(), ptpmsg.GptpCapable{LogInterval: log}.TLV())
			s.wait(ms * millisecond)
		}
		for _, o := range s.out {
			c.add(o.m.Type())
		}
		if limit := uint64(2*32 + 2); c.PdelayReq > limit || c.Sync > limit || c.Announce > limit || c.Signaling > limit {
			t.Errorf("-127 and %d: %+v", other, c)
		}
		if n := s.noticed(NoticeInterval); n > 3 {
			t.Errorf("-127 and %d: %d notices", other, n)
		}
		if n := s.port(1).count.IntervalsOutOfRange; n < 2000/ms {
			t.Errorf("%d were counted out of range", n)
		}
	}
}

// A Signaling message to another port, or our own, asks nothing of us.
func TestSignalingTarget(t *testing.T) {
	s := soloMaster(t, patient)
	c := &s.port(1).count
	for k, m := range []*ptpmsg.Signaling{
		{Header: head(neighbour, 0, 1, 127), Target: ptpmsg.PortIdentity{Clock: ptpmsg.ClockIdentity{1}, Port: 1}},
		{Header: head(ptpmsg.PortIdentity{Clock: s.port(1).id.Clock, Port: 1}, 0, 1, 127), Target: ptpmsg.AnyPort},
		{Header: head(neighbour, 0, 1, 127), Target: s.port(1).id},
		{Header: head(neighbour, 0, 1, 127)},
	} {
		s.port(1).intervals.announce.current = 0
		m.TLVs = []ptpmsg.TLV{ptpmsg.IntervalRequest{Announce: 2}.TLV()}
		before := c.Unexpected
		s.receive(1, m)
		if took := s.port(1).intervals.announce.current == 2; took != (k > 1) || (c.Unexpected == before) != took {
			t.Errorf("%d: taken %v", k, took)
		}
	}
}

// 10.6.4.3, 10.6.4.5: what RequestIntervals sends, one message for a TLV; that
// for the link delay to the service that measures.
func TestRequestIntervals(t *testing.T) {
	s := newSolo(t, 1, func(c *Config) { c.Domains = []DomainConfig{{Domain: 0}, {Domain: 9}} })
	s.link(1, true)
	for _, domain := range []uint8{0, 9} {
		s.out = nil
		s.step(LeaveIntervals(1, domain))
		if len(s.out) != 0 {
			t.Errorf("nothing asked, %d sent", len(s.out))
		}
		s.step(RequestIntervals{Port: 1, Domain: domain, LinkDelay: 1, TimeSync: -4, Announce: ptpmsg.IntervalStop, GptpCapable: 2})
		got, _ := take[*ptpmsg.Signaling](s)
		common, pdelay := domain == 9, int8(1)
		if common {
			if len(got) != 3 || got[0].MajorSdoID != ptpmsg.MajorSdoIDCommon || got[0].Domain != 0 {
				t.Fatalf("%+v", got)
			}
			if r, ok := got[0].IntervalRequest(); !ok || r.LinkDelay != 1 || r.TimeSync != ptpmsg.IntervalLeave {
				t.Errorf("%+v", r)
			}
			got, pdelay = got[1:], ptpmsg.IntervalLeave
		}
		if len(got) != 2 || got[0].Domain != domain || got[0].MajorSdoID != 1 || got[0].Target != ptpmsg.AnyPort {
			t.Fatalf("domain %d: %+v", domain, got)
		}
		if r, ok := got[0].IntervalRequest(); !ok || r != (ptpmsg.IntervalRequest{LinkDelay: pdelay, TimeSync: -4, Announce: 127, Flags: 7}) {
			t.Errorf("domain %d: %+v", domain, r)
		}
		if r, ok := got[1].GptpCapableIntervalRequest(); !ok || r.LogInterval != 2 {
			t.Errorf("domain %d: %+v", domain, r)
		}
	}
	s.out = nil
	s.step(RequestIntervals{Port: 7})
	s.step(RequestIntervals{Port: 1, Domain: 8})
	s.link(1, false)
	s.step(RequestIntervals{Port: 1})
	if len(s.out) != 0 {
		t.Errorf("%+v", s.out)
	}
}

// Two of our own: what one asks, the other does, in one domain alone; the link
// delay of the common service is asked of the service.
func TestIntervalsBetweenNodes(t *testing.T) {
	s := newSim(t, 21)
	n := s.chain(2, func(_ int, c *Config) { c.Domains = append(c.Domains, DomainConfig{Domain: 7}) })
	s.run(4 * second)
	n[1].step(RequestIntervals{Port: 1, Domain: 7, LinkDelay: 1, TimeSync: -5, Announce: 2, GptpCapable: 3})
	s.run(second)
	d0, d7 := n[0].sys.Status().Domains[0].Ports[1].Intervals, n[0].sys.Status().Domains[1].Ports[1].Intervals
	if d0.Sync.CurrentLog != -3 || d0.Announce.CurrentLog != 0 || d0.PdelayReq.CurrentLog != 0 || d0.GptpCapable.CurrentLog != 0 {
		t.Errorf("domain 0: %+v", d0)
	}
	if d7.Sync.CurrentLog != -5 || d7.Announce.CurrentLog != 2 || d7.PdelayReq.CurrentLog != 1 || d7.GptpCapable.CurrentLog != 3 {
		t.Errorf("domain 7: %+v", d7)
	}
	before := n[1].sys.Status().Domains[1].Ports[0].Counters.Rx.Sync
	s.run(10 * second)
	if got := n[1].sys.Status().Domains[1].Ports[0].Counters.Rx.Sync - before; got < 318 || got > 322 {
		t.Errorf("%d Syncs in 10 s", got)
	}
	if !n[1].sys.Instance(7).Synced() || !n[1].Synced() {
		t.Error("not synced")
	}
}

// 11.2.15: after three requests with several answers none is sent for five
// minutes; status tells how long yet. Then the port comes back by itself if it
// is better, and falls silent again if not, without having been asCapable.
func TestMultipleResponses(t *testing.T) {
	bad := answer{source: neighbour, delay: soloDelay, copies: 1}
	s := newSolo(t, 1, nil)
	s.capable(1)
	for range 3 {
		s.exchange(1, bad)
	}
	began := s.at
	status := func() PortStatus { return s.Status().Ports[0] }
	if p := status(); p.AsCapable || p.AsCapableReason != ReasonMultipleResponses || p.PdelayResumesInNS < 299*second || s.noticed(NoticePdelaySilence) != 1 {
		t.Fatalf("%+v", p)
	}
	s.out = nil
	for s.at < began+299*second {
		s.wait(second)
		s.receive(1, &ptpmsg.PdelayReq{Header: head(ptpmsg.PortIdentity{Clock: neighbour.Clock, Port: uint16(s.at / second)}, 0, 1, 0)})
	}
	if reqs, _ := take[*ptpmsg.PdelayReq](s); len(reqs) != 0 {
		t.Fatalf("%d requests while silent", len(reqs))
	}
	if left := status().PdelayResumesInNS; left < 0 || left > 2*second {
		t.Errorf("%d ns left", left)
	}
	for range 3 { // the silence ends with the first
		s.exchange(1, bad)
		if status().AsCapable {
			t.Fatal("asCapable with several answers")
		}
	}
	if p := status(); p.PdelayResumesInNS == 0 || p.Counters.PdelaySilences != 2 || p.Counters.MultipleResponses != 6 {
		t.Fatalf("not silent again: %+v", p)
	}
	for range 4 {
		s.exchange(1, good)
	}
	if p := status(); !p.AsCapable || p.PdelayResumesInNS != 0 || p.AsCapableReason != ReasonNone {
		t.Fatalf("not back: %+v", p)
	}
	for range 30 { // now and then is not in a row
		s.exchange(1, bad)
		s.exchange(1, bad)
		s.exchange(1, good)
		s.exchange(1, good)
	}
	if !status().AsCapable {
		t.Error("two in a row took asCapable away")
	}
	for range 3 {
		s.exchange(1, bad)
	}
	s.link(1, false)
	if s.link(1, true); status().PdelayResumesInNS != 0 || s.port(1).delay.req.next == tsn.Never {
		t.Error("a new link is silent")
	}
}

// A frame that comes twice is one answer.
func TestDoubledResponseIsOne(t *testing.T) {
	s := newSim(t, 22)
	n := s.chain(2, nil)
	s.fate = func([]byte) []int64 { return []int64{0, 1000} }
	s.run(20 * second)
	if p := n[1].portStatus(1); !p.AsCapable || p.Counters.MultipleResponses != 0 || !n[1].Synced() {
		t.Errorf("%+v", p)
	}
}
