package gptp

import (
	"bytes"
	"testing"

	tsn "tsnswitch"
	"tsnswitch/gptp/ptpmsg"
)

// solo is one Instance driven by hand: the test is its neighbours.
type solo struct {
	*Instance
	sys     *System
	t       testing.TB
	at      int64 // now, and what LocalClock reads
	out     []outMessage
	notices []tsn.Notice
	rel     []RelationChanged
}

type outMessage struct {
	port tsn.Port
	tag  uint64
	m    ptpmsg.Message
	raw  []byte
}

var neighbour = ptpmsg.PortIdentity{Clock: ptpmsg.ClockIdentity{9, 9, 9, 0xff, 0xfe, 0, 0, 1}, Port: 1}

const soloDelay = 500 // ns of the link a solo's neighbour is on

func newSolo(t testing.TB, ports int, change func(*Config)) *solo {
	t.Helper()
	cfg := DefaultConfig(tsn.MAC{2, 0, 0, 0, 0, 1})
	for p := range ports {
		cfg.Ports = append(cfg.Ports, DefaultPort(tsn.Port(p+1)))
	}
	if change != nil {
		change(&cfg)
	}
	in, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return &solo{Instance: in.instances[0], sys: in, t: t, at: second}
}

func (s *solo) Step(now tsn.Instant, ev tsn.Event) []tsn.Effect { return s.sys.Step(now, ev) }
func (s *solo) Deadline() tsn.Instant                           { return s.sys.Deadline() }

func (s *solo) step(ev tsn.Event) {
	s.t.Helper()
	for _, e := range s.Step(tsn.Instant(s.at), ev) {
		switch e := e.(type) {
		case tsn.Send:
			_, payload, err := ptpmsg.ParseFrame(e.Frame)
			if err != nil {
				s.t.Fatal(err)
			}
			m, err := new(ptpmsg.Decoder).Decode(payload)
			if err != nil {
				s.t.Fatal(err)
			}
			if e.Priority != 7 {
				s.t.Fatalf("%s leaves with priority %d", m.Type(), e.Priority)
			}
			s.out = append(s.out, outMessage{e.Port, e.Tag, m, bytes.Clone(payload)})
		case tsn.Notice:
			s.notices = append(s.notices, e)
		case RelationChanged:
			s.rel = append(s.rel, e)
		}
	}
}

// take returns the messages of one type sent since the last take of any.
func take[M ptpmsg.Message](s *solo) (out []M, at []outMessage) {
	for _, o := range s.out {
		if m, ok := o.m.(M); ok {
			out, at = append(out, m), append(at, o)
		}
	}
	s.out = nil
	return out, at
}

// wait steps through deadlines for ns.
func (s *solo) wait(ns int64) {
	for end := s.at + ns; ; {
		d := int64(s.Deadline())
		if d > end {
			s.at = end
			return
		}
		s.at = max(s.at, d)
		s.step(tsn.Timeout{})
	}
}

func (s *solo) link(p tsn.Port, up bool) { s.step(tsn.LinkChanged{Port: p, Up: up, Rate: tsn.Gbps}) }

func head(src ptpmsg.PortIdentity, flags, seq uint16, log int8) ptpmsg.Header {
	return ptpmsg.Header{MajorSdoID: 1, Flags: flags, Source: src, SequenceID: seq, LogInterval: log}
}

func (s *solo) receive(p tsn.Port, m ptpmsg.Message) { s.receiveStamped(p, m, true) }

func (s *solo) receiveStamped(p tsn.Port, m ptpmsg.Message, stamped bool) {
	f := ptpmsg.AppendFrame(nil, tsn.MAC{9, 9, 9, 0, 0, 1}, m)
	s.step(tsn.Received{Port: p, Frame: f, Ingress: tsn.LocalTime(s.at), Stamped: stamped})
}

// answer says how a neighbour answers a Pdelay_Req.
type answer struct {
	source     ptpmsg.PortIdentity
	delay      int64
	copies     int
	noSent     bool // no egress stamp for the request
	noStamp    bool // no ingress stamp for the response
	noResponse bool
	noFollowUp bool
}

// exchange waits for the port's next Pdelay_Req and answers it.
func (s *solo) exchange(p tsn.Port, a answer) {
	s.t.Helper()
	s.out = nil
	s.wait(max(0, int64(s.port(p).delay.req.next)-s.at))
	for _, o := range s.out {
		req, ok := o.m.(*ptpmsg.PdelayReq)
		if !ok || o.port != p {
			continue
		}
		s.step(tsn.Sent{Port: p, Tag: o.tag, Egress: tsn.LocalTime(s.at), Stamped: !a.noSent})
		if a.noResponse {
			return
		}
		t2 := s.at + a.delay
		s.at += 2*a.delay + 1000
		for c := range 1 + a.copies {
			src := a.source
			src.Clock[7] += byte(c)
			s.receiveStamped(p, &ptpmsg.PdelayResp{
				Header: head(src, ptpmsg.FlagTwoStep, req.SequenceID, 127), RequestReceipt: ptpmsg.TimestampFromNS(t2), Requesting: req.Source,
			}, !a.noStamp)
		}
		if !a.noFollowUp {
			s.receive(p, &ptpmsg.PdelayRespFollowUp{
				Header: head(a.source, 0, req.SequenceID, 127), ResponseOrigin: ptpmsg.TimestampFromNS(t2 + 1000), Requesting: req.Source,
			})
		}
		return
	}
	s.t.Fatalf("port %d did not ask", p)
}

var good = answer{source: neighbour, delay: soloDelay}

// capable brings a port up and makes it asCapable.
func (s *solo) capable(p tsn.Port) {
	s.t.Helper()
	s.link(p, true)
	for range 3 {
		s.exchange(p, good)
	}
	if !s.reasonIs(p, ReasonNone) {
		s.t.Fatalf("port %d: %v", p, s.port(p).delay.req.reason)
	}
	s.out = nil
}

func (s *solo) reasonIs(p tsn.Port, r Reason) bool {
	m := &s.port(p).delay.req
	return m.reason == r && m.asCapable == (r == ReasonNone)
}

// announceFrom is an Announce of a better grand master behind neighbour.
func announceFrom(priority1 uint8, steps uint16, path ...ptpmsg.ClockIdentity) *ptpmsg.Announce {
	return &ptpmsg.Announce{
		Header: head(neighbour, ptpmsg.FlagPtpTimescale, 1, 0), Priority1: priority1, Priority2: 248,
		Quality: ptpmsg.ClockQuality{Class: 248, Accuracy: 0xfe, OffsetScaledLogVariance: 0x4e5d}, GrandMaster: neighbour.Clock,
		StepsRemoved: steps, TimeSource: 0xa0, TLVs: []ptpmsg.TLV{ptpmsg.PathTraceTLV(path)},
	}
}

// syncFrom gives the port a Sync and its Follow_Up, received now, of origin ns.
func (s *solo) syncFrom(p tsn.Port, seq uint16, origin int64, ratio float64) {
	s.receive(p, &ptpmsg.Sync{Header: head(neighbour, ptpmsg.FlagTwoStep, seq, -3)})
	s.receive(p, &ptpmsg.FollowUp{
		Header: head(neighbour, 0, seq, -3), PreciseOrigin: ptpmsg.TimestampFromNS(origin),
		TLVs: []ptpmsg.TLV{ptpmsg.FollowUpInformation{CumulativeScaledRateOffset: ptpmsg.ScaledRateFromRatio(ratio)}.TLV()},
	})
}

func (s *solo) noticed(kind string) (n int) {
	for _, v := range s.notices {
		if v.Kind == kind {
			n++
		}
	}
	return n
}
