package gptp

import (
	"testing"

	tsn "tsnswitch"
	"tsnswitch/gptp/ptpmsg"
)

// commonSolo is a solo with one port and domains that all go by the common
// service.
func commonSolo(t testing.TB, domains ...uint8) *solo {
	return newSolo(t, 1, func(c *Config) {
		c.Domains, c.CommonLinkDelay = nil, true
		for _, d := range domains {
			c.Domains = append(c.Domains, DomainConfig{Domain: d})
		}
	})
}

// exchangeCommon answers the port's next Pdelay_Req of the common service.
func (s *solo) exchangeCommon(p tsn.Port) {
	s.t.Helper()
	d := s.sys.link(p).delay(true)
	s.wait(max(0, int64(d.req.next)-s.at))
	s.step(tsn.Sent{Port: p, Tag: d.req.tag, Egress: tsn.LocalTime(s.at), Stamped: true})
	t2 := s.at + soloDelay
	s.at += 2*soloDelay + 1000
	h := head(neighbour, ptpmsg.FlagTwoStep, d.req.seq, 127)
	h.MajorSdoID = ptpmsg.MajorSdoIDCommon
	s.receive(p, &ptpmsg.PdelayResp{Header: h, RequestReceipt: ptpmsg.TimestampFromNS(t2), Requesting: d.id})
	h.Flags = 0
	s.receive(p, &ptpmsg.PdelayRespFollowUp{Header: h, ResponseOrigin: ptpmsg.TimestampFromNS(t2 + 1000), Requesting: d.id})
}

// signal gives the port a Signaling message of a domain.
func (s *solo) signal(p tsn.Port, domain uint8, tlvs ...ptpmsg.TLV) {
	m := &ptpmsg.Signaling{Header: head(neighbour, 0, 1, 127), Target: ptpmsg.AnyPort, TLVs: tlvs}
	m.Domain = domain
	s.receive(p, m)
}

func (s *solo) sayCapable(domain uint8, log int8) {
	s.signal(1, domain, ptpmsg.GptpCapable{LogInterval: log}.TLV())
}

// 10.4.1 and 10.2.5.1: a domain that goes by the common service is asCapable
// when the link is good and the neighbour says it has that domain; 9 of its
// intervals without a word take it away, and status says which part is missing.
func TestGptpCapableReceive(t *testing.T) {
	s := commonSolo(t, 0, 3)
	s.link(1, true)
	status := func(k int) PortStatus { return s.sys.Status().Domains[k].Ports[0] }
	for range 4 {
		s.exchangeCommon(1)
	}
	for k := range 2 {
		if p := status(k); p.AsCapable || p.AsCapableReason != ReasonNotGptpCapable || p.NeighborGptpCapable || !p.CommonLinkDelay {
			t.Fatalf("before a word: %+v", p)
		}
	}
	s.sayCapable(3, -1)
	if status(0).AsCapable || !status(1).AsCapable || status(1).AsCapableReason != ReasonNone {
		t.Fatalf("only domain 3 was spoken of: %+v", status(0))
	}
	s.wait(4499 * millisecond)
	if !status(1).AsCapable {
		t.Fatal("given up before 9 intervals of 1/2 s")
	}
	s.wait(2 * millisecond)
	if p := status(1); p.AsCapable || p.AsCapableReason != ReasonNotGptpCapable || p.Counters.GptpCapableTimeouts != 1 || p.State != DisabledPort {
		t.Fatalf("not given up after 9 intervals: %+v", p)
	}
	s.sayCapable(3, 0)
	if s.link(1, false); status(1).NeighborGptpCapable || status(1).AsCapableReason != ReasonLinkDown {
		t.Errorf("link down: %+v", status(1))
	}
}

// Who measures by itself may have a neighbour of 802.1AS-2011.
func TestInstanceSpecificNeedsNoSignalling(t *testing.T) {
	s := newSolo(t, 1, nil)
	s.capable(1)
	if p := s.Status().Ports[0]; !p.AsCapable || p.NeighborGptpCapable || p.CommonLinkDelay {
		t.Errorf("%+v", p)
	}
}

// 10.4.2: a port says that it is gPTP-capable at link up, every interval, in
// every domain, and at once to a neighbour that is new; not while it is down.
func TestGptpCapableTransmit(t *testing.T) {
	s := commonSolo(t, 0, 3)
	count := func() (n [4]int) {
		m, _ := take[*ptpmsg.Signaling](s)
		for _, v := range m {
			c, ok := v.GptpCapable()
			if !ok || c.LogInterval != 0 || v.Target != ptpmsg.AnyPort || v.MajorSdoID != ptpmsg.MajorSdoID {
				t.Errorf("%+v", v)
			}
			n[v.Domain]++
		}
		return n
	}
	if s.wait(5 * second); count() != [4]int{} {
		t.Error("with the link down")
	}
	if s.link(1, true); count() != [4]int{0: 1, 3: 1} {
		t.Error("not at link up")
	}
	if s.wait(10*second + millisecond); count() != [4]int{0: 10, 3: 10} {
		t.Error("not once a second")
	}
	s.wait(500 * millisecond)
	if s.sayCapable(3, 0); count() != [4]int{3: 1} {
		t.Error("a new neighbour is not answered at once")
	}
	for range 100 {
		s.sayCapable(3, 0)
	}
	if count() != [4]int{} {
		t.Error("an old neighbour is answered")
	}
	s.link(1, false)
	if s.wait(5 * second); count() != [4]int{} {
		t.Error("after link down")
	}
}
