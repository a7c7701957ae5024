package gptp

import (
	"math"
	"testing"

	tsn "tsnswitch"
	"tsnswitch/gptp/ptpmsg"
)

// 11.2.19: a port asks at once on link up, and is asCapable after the exchanges
// that a rate ratio takes.
func TestMDPdelayReqQuickStart(t *testing.T) {
	s := newSolo(t, 1, nil)
	s.link(1, true)
	if req, at := take[*ptpmsg.PdelayReq](s); len(req) != 1 || at[0].tag == 0 {
		t.Fatalf("on link up: %+v", at)
	}
	s.link(1, false)
	s.capable(1)
	if took := s.at - second; took > 400*millisecond {
		t.Errorf("asCapable after %d ms", took/millisecond)
	}
	if l := s.port(1).delay.req.link; math.Abs(l.meanDelay-soloDelay) > 1e-3 || math.Abs(l.rateRatio-1) > 1e-9 {
		t.Errorf("meanLinkDelay %v, neighborRateRatio %v", l.meanDelay, l.rateRatio)
	}
}

// 11.5.2.2: the interval is logPdelayReqInterval after the quick start, be there
// an answer or not; a neighbour that asks later starts it again, seldom.
func TestMDPdelayReqRate(t *testing.T) {
	s := newSolo(t, 1, nil)
	s.link(1, true)
	s.wait(10 * second)
	if reqs, _ := take[*ptpmsg.PdelayReq](s); len(reqs) < 22 || len(reqs) > 27 {
		t.Errorf("%d requests in 10 s without an answer", len(reqs))
	}
	for range 100 { // one every 10 ms
		s.wait(10 * millisecond)
		s.receive(1, &ptpmsg.PdelayReq{Header: head(neighbour, 0, 1, 0)})
	}
	if reqs, _ := take[*ptpmsg.PdelayReq](s); len(reqs) < 5 || len(reqs) > 10 {
		t.Errorf("%d requests in the second after the neighbour came", len(reqs))
	}
	s.wait(10 * second)
	s.capable2(1)
	for range 10 {
		s.exchange(1, good)
	}
	before := s.at
	s.exchange(1, good)
	if d := s.at - before; d < 990*millisecond || d > 1010*millisecond {
		t.Errorf("%d ms between requests once asCapable", d/millisecond)
	}
}

func (s *solo) capable2(p tsn.Port) {
	s.t.Helper()
	for range 3 {
		s.exchange(p, good)
	}
	if !s.reasonIs(p, ReasonNone) {
		s.t.Fatalf("port %d: %v", p, s.port(p).delay.req.reason)
	}
}

// 11.2.19.2: allowedLostResponses and allowedFaults of 9; every reason for
// asCapable FALSE is told, and a good exchange heals it.
func TestMDPdelayReqReasons(t *testing.T) {
	self := ptpmsg.PortIdentity{Clock: ptpmsg.ClockIdentityFromMAC(tsn.MAC{2, 0, 0, 0, 0, 1}), Port: 1}
	for _, c := range []struct {
		want  Reason
		a     answer
		after int // bad exchanges until asCapable goes
	}{
		// The exchange after the last bad one notices what is missing.
		{ReasonNoResponse, answer{noResponse: true}, 12},
		{ReasonNoFollowUp, answer{source: neighbour, delay: soloDelay, noFollowUp: true}, 12},
		{ReasonNoTransmitStamp, answer{source: neighbour, delay: soloDelay, noSent: true}, 12},
		{ReasonNoReceiveStamp, answer{source: neighbour, delay: soloDelay, noStamp: true}, 12},
		{ReasonMultipleResponses, answer{source: neighbour, delay: soloDelay, copies: 1}, 3},
	} {
		t.Run(c.want.String(), func(t *testing.T) {
			s := newSolo(t, 1, nil)
			s.capable(1)
			n := 0
			for ; s.port(1).delay.req.asCapable && n < 30; n++ {
				s.exchange(1, c.a)
			}
			if n != c.after || !s.reasonIs(1, c.want) || s.noticed(NoticeNotAsCapable) != 1 {
				t.Fatalf("after %d exchanges: asCapable %v, %v", n, s.port(1).delay.req.asCapable, s.port(1).delay.req.reason)
			}
			for range 4 {
				s.exchange(1, good)
			}
			if !s.reasonIs(1, ReasonNone) {
				t.Fatalf("not healed: %v", s.port(1).delay.req.reason)
			}
		})
	}
	for _, c := range []struct {
		want Reason
		a    answer
	}{
		{ReasonOwnClock, answer{source: self, delay: soloDelay}},
		{ReasonDelayAboveThresh, answer{source: neighbour, delay: 5000}},
	} {
		t.Run(c.want.String(), func(t *testing.T) {
			s := newSolo(t, 1, nil)
			s.link(1, true)
			for range 30 {
				s.exchange(1, c.a)
			}
			if !s.reasonIs(1, c.want) {
				t.Fatalf("%v", s.port(1).delay.req.reason)
			}
		})
	}
	s := newSolo(t, 2, func(c *Config) { c.Ports[1].Disabled = true })
	s.link(2, true)
	if !s.reasonIs(1, ReasonLinkDown) || !s.reasonIs(2, ReasonDisabled) || len(s.out) != 0 {
		t.Errorf("%v, %v, %d messages", s.port(1).delay.req.reason, s.port(2).delay.req.reason, len(s.out))
	}
}

// A late or missing egress stamp costs one message, never the port.
func TestLostTransmitStampsCostOneMessage(t *testing.T) {
	s := newSim(t, 5)
	n := s.chain(2, nil)
	for _, x := range n {
		x.stamp = func(tag uint64) bool { return tag%5 != 0 }
	}
	s.run(3 * second)
	n[1].stampLag = 200 * millisecond // longer than a Sync interval
	s.run(30 * second)
	for i, x := range n {
		if c := x.portStatus(tsn.Port(2 - i)); !c.AsCapable {
			t.Errorf("%s: %v", x.name, c.AsCapableReason)
		} else if c.Counters.LostTransmitStamps == 0 {
			t.Errorf("%s lost no stamp", x.name)
		}
	}
	if !n[1].Synced() || n[1].GrandMaster() != n[0].sys.cfg.ClockIdentity {
		t.Errorf("synced %v to %v", n[1].Synced(), n[1].GrandMaster())
	}
	for _, k := range n[1].notices {
		if k == NoticeNotAsCapable || k == NoticeSyncTimeout {
			t.Errorf("a lost stamp led to %s", k)
		}
	}
}

// 11.2.19.3.3: neighborRateRatio under noise, from a window of 8 exchanges at
// 1 s: software stamps give some 0.3 ppm, hardware stamps some 0.01.
func TestNeighborRateRatio(t *testing.T) {
	for _, c := range []struct {
		name  string
		set   func(*simNode) *simNode
		limit float64 // ppm
	}{{"hardware", (*simNode).hardware, 0.03}, {"software", (*simNode).software, 1}} {
		t.Run(c.name, func(t *testing.T) {
			s := newSim(t, 6)
			n := s.chain(2, softThreshold)
			c.set(n[0]).clock(0, 99.7317)
			c.set(n[1]).clock(5, -98.1113)
			s.run(20 * second)
			want := (1 + 99.7317e-6) / (1 - 98.1113e-6)
			var sum, worst float64
			for range 100 {
				s.run(second)
				e := (n[1].portStatus(1).NeighborRateRatio - want) * 1e6
				sum += e * e
				worst = max(worst, math.Abs(e))
			}
			t.Logf("%s stamps: rms %.4f ppm, worst %.4f ppm", c.name, math.Sqrt(sum/100), worst)
			if rms := math.Sqrt(sum / 100); rms > c.limit {
				t.Errorf("rms %.3f ppm", rms)
			}
		})
	}
}

// 11.2.20 and table 11-12 on: what a response and its follow-up carry.
func TestMDPdelayResp(t *testing.T) {
	s := newSolo(t, 1, nil)
	s.link(1, true)
	s.out = nil
	s.receive(1, &ptpmsg.PdelayReq{Header: head(neighbour, 0, 4711, 0)})
	resp, at := take[*ptpmsg.PdelayResp](s)
	if len(resp) != 1 || at[0].tag == 0 || resp[0].SequenceID != 4711 || resp[0].Requesting != neighbour ||
		resp[0].RequestReceipt != ptpmsg.TimestampFromNS(s.at) || resp[0].Flags != ptpmsg.FlagTwoStep || resp[0].LogInterval != 127 {
		t.Fatalf("%+v", resp)
	}
	s.step(tsn.Sent{Port: 1, Tag: at[0].tag, Egress: tsn.LocalTime(s.at + 7), Stamped: true})
	fup, _ := take[*ptpmsg.PdelayRespFollowUp](s)
	if len(fup) != 1 || fup[0].SequenceID != 4711 || fup[0].Requesting != neighbour || fup[0].ResponseOrigin != ptpmsg.TimestampFromNS(s.at+7) {
		t.Fatalf("%+v", fup)
	}
	s.step(tsn.Sent{Port: 1, Tag: at[0].tag, Egress: tsn.LocalTime(s.at + 7), Stamped: true})
	if s.receiveStamped(1, &ptpmsg.PdelayReq{Header: head(neighbour, 0, 1, 0)}, false); len(s.out) != 0 {
		t.Errorf("a stamp twice or a request without one was answered: %+v", s.out)
	}
}

// A neighbour that restarts with another clock behind the same identity does
// not spoil the rate.
func TestNeighborClockJump(t *testing.T) {
	s := newSim(t, 7)
	n := s.chain(2, nil)
	s.run(15 * second)
	n[0].offset += 3600 * second
	s.until(6*second, func() bool { return len(n[1].ports[0].delay.req.link.window) == minRateSamples })
	if got := n[1].portStatus(1); !got.AsCapable || math.Abs(got.NeighborRateRatio-1) > 1e-7 {
		t.Errorf("asCapable %v (%v), rate ratio off by %g", got.AsCapable, got.AsCapableReason, got.NeighborRateRatio-1)
	}
}

// A single stamp that is later than any noise is no jump of the neighbour's
// clock: meanLinkDelay and the rate stay.
func TestLateStampIsNoJump(t *testing.T) {
	for k := range 4 {
		s := newSolo(t, 1, nil)
		s.capable(1)
		for range 20 {
			s.exchange(1, good)
		}
		l := &s.port(1).delay.req.link
		x := l.window[len(l.window)-1]
		const late = 16 * millisecond
		x.t1, x.t2, x.t3, x.t4 = x.t1+second, x.t2+second, x.t3+second, x.t4+second
		switch k {
		case 0:
			x.t1 += late
		case 1:
			x.t2 += late
		case 2:
			x.t3 += late
		case 3:
			x.t4 += late
		}
		if l.add(x, 8); math.Abs(l.meanDelay-soloDelay) > 1 || math.Abs(l.rateRatio-1) > 1e-7 {
			t.Errorf("t%d late: meanLinkDelay %.0f, neighborRateRatio off by %g", k+1, l.meanDelay, l.rateRatio-1)
		}
	}
}
