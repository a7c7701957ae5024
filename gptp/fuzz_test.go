package gptp

import (
	"encoding/json"
	"math"
	"math/rand"
	"testing"

	tsn "tsnswitch"
	"tsnswitch/gptp/ptpmsg"
)

// script is a fuzzer's input, read as numbers; at its end it reads zeros.
type script []byte

func (s *script) byte() byte {
	if len(*s) == 0 {
		return 0
	}
	b := (*s)[0]
	*s = (*s)[1:]
	return b
}

func (s *script) bytes(n int) []byte {
	n = min(n, len(*s))
	b := append([]byte(nil), (*s)[:n]...)
	*s = (*s)[n:]
	return b
}

// wide is small as often as it is huge, and of either sign.
func (s *script) wide() (v int64) {
	shift := s.byte() % 64
	for range 8 {
		v = v<<8 | int64(s.byte())
	}
	return v >> shift
}

func (s *script) bool() bool { return s.byte()%2 == 0 }

var soupDomains = []uint8{0, 20, 127}

// soupStates are some of the external port states, good and bad.
func (s *script) states() map[tsn.Port]PortState {
	out := map[tsn.Port]PortState{}
	for range s.byte() % 4 {
		out[tsn.Port(s.byte()%4)] = PortState(s.byte() % 4)
	}
	return out
}

func (s *script) identity() ptpmsg.PortIdentity {
	switch s.byte() % 4 {
	case 0:
		return stranger(int(s.byte()))
	case 1:
		return ptpmsg.PortIdentity{Clock: ptpmsg.ClockIdentityFromMAC(tsn.MAC{2, 0, 0, 0, 0, 1}), Port: uint16(s.byte() % 4)}
	}
	return neighbour
}

func (s *script) timestamp() ptpmsg.Timestamp {
	if s.byte() == 7 {
		return maxTimestamp
	}
	return ptpmsg.TimestampFromNS(s.wide() & math.MaxInt64)
}

func (s *script) tlvs() []ptpmsg.TLV {
	switch s.byte() % 7 {
	case 0:
		return nil
	case 6:
		return []ptpmsg.TLV{
			ptpmsg.GptpCapable{LogInterval: int8(s.byte())}.TLV(), ptpmsg.GptpCapableIntervalRequest{LogInterval: int8(s.byte())}.TLV(),
		}
	case 1:
		return []ptpmsg.TLV{longPath(int(s.byte()))}
	case 2:
		return bombTLVs(int(s.byte()))
	case 3:
		return []ptpmsg.TLV{ptpmsg.IntervalRequest{LinkDelay: int8(s.byte()), TimeSync: int8(s.byte()), Announce: int8(s.byte())}.TLV()}
	case 4:
		return []ptpmsg.TLV{{Type: ptpmsg.TLVType(s.wide()), Value: s.bytes(int(s.byte()))}}
	}
	return []ptpmsg.TLV{ptpmsg.FollowUpInformation{
		CumulativeScaledRateOffset: ptpmsg.ScaledRate(s.wide()), GmTimeBaseIndicator: uint16(s.byte()),
		LastGmPhaseChange: ptpmsg.ScaledFromNS(s.wide()), ScaledLastGmFreqChange: ptpmsg.ScaledRate(s.wide()),
	}.TLV()}
}

// message is one that decodes, with fields as bad as they come.
func (s *script) message() ptpmsg.Message {
	h := head(s.identity(), uint16(s.byte())<<8|uint16(s.byte()), uint16(s.byte()), int8(s.byte()))
	h.Correction = ptpmsg.TimeInterval(s.wide())
	h.Domain = soupDomains[s.byte()%3]
	h.MajorSdoID += s.byte() % 3 & 1
	switch s.byte() % 8 {
	case 0:
		return &ptpmsg.PdelayReq{Header: h}
	case 1:
		return &ptpmsg.PdelayResp{Header: h, RequestReceipt: s.timestamp(), Requesting: s.identity()}
	case 2:
		return &ptpmsg.PdelayRespFollowUp{Header: h, ResponseOrigin: s.timestamp(), Requesting: s.identity()}
	case 3, 4:
		if s.byte()%4 != 0 {
			h.Source = neighbour
		}
		return &ptpmsg.Announce{
			Header: h, Priority1: s.byte(), Priority2: s.byte(), GrandMaster: s.identity().Clock, StepsRemoved: uint16(s.byte()), TLVs: s.tlvs(),
		}
	case 5:
		return &ptpmsg.Sync{Header: h, TLVs: s.tlvs()}
	case 6:
		return &ptpmsg.FollowUp{Header: h, PreciseOrigin: s.timestamp(), TLVs: s.tlvs()}
	}
	return &ptpmsg.Signaling{Header: h, TLVs: s.tlvs()}
}

// event is the next of a script.
func (s *script) event(x *solo) tsn.Event {
	port := tsn.Port(s.byte() % 4)
	switch s.byte() % 13 {
	case 12:
		return RequestIntervals{
			Port: port, Domain: soupDomains[s.byte()%3],
			LinkDelay: int8(s.byte()), TimeSync: int8(s.byte()), Announce: int8(s.byte()), GptpCapable: int8(s.byte()),
		}
	case 0:
		return tsn.Received{Port: port, Frame: s.bytes(int(s.byte())), Ingress: tsn.LocalTime(s.wide()), Stamped: s.bool()}
	case 1:
		return tsn.LinkChanged{Port: port, Up: s.byte()%4 != 0, Rate: tsn.Gbps}
	case 2:
		return SetSource{Relation: tsn.ClockRelation{
			Local: tsn.LocalTime(s.wide()), PTP: tsn.PTPTime{NS: s.wide()}, RatePPB: float64(int8(s.byte())) * 1000,
		}, Jump: s.bool()}
	case 3:
		return SetClockQuality{Domain: soupDomains[s.byte()%3], ClockClass: s.byte(), Accuracy: s.byte(), TimeSource: s.byte()}
	case 4:
		return SetPortStates{Domain: soupDomains[s.byte()%3], States: s.states()}
	case 5, 6:
		return tsn.Sent{Port: port, Tag: x.sys.tag - uint64(s.byte()%6), Egress: tsn.LocalTime(x.at + s.wide()), Stamped: s.byte()%5 != 0}
	case 7:
		return tsn.Timeout{}
	}
	return tsn.Received{Port: port, Frame: frameFrom(s.message()), Ingress: tsn.LocalTime(x.at + s.wide()>>40), Stamped: s.byte()%8 != 0}
}

// sync gives x a Sync and its Follow_Up that fit, with contents that may not.
func (s *script) sync(x *solo) {
	h := head(neighbour, ptpmsg.FlagTwoStep, uint16(s.byte()), -3)
	h.Domain = soupDomains[s.byte()%3]
	at := tsn.LocalTime(x.at)
	if s.byte()%4 == 0 {
		at += tsn.LocalTime(s.wide())
	}
	x.step(tsn.Received{Port: 1, Frame: frameFrom(&ptpmsg.Sync{Header: h}), Ingress: at, Stamped: true})
	f := &ptpmsg.FollowUp{Header: h, PreciseOrigin: ptpmsg.TimestampFromNS(x.at + int64(s.byte())), TLVs: []ptpmsg.TLV{ptpmsg.FollowUpInformation{}.TLV()}}
	switch s.byte() % 8 {
	case 0:
		f.PreciseOrigin = s.timestamp()
	case 1:
		f.Correction = ptpmsg.TimeInterval(s.wide())
	case 2:
		f.TLVs = s.tlvs()
	}
	x.step(tsn.Received{Port: 1, Frame: frameFrom(f)})
}

// exchange lets port 1 measure its link, well or badly.
func (s *script) exchange(x *solo) {
	if p := x.port(1); p.link.up && p.delay.req.next < tsn.Instant(x.at+2*second) {
		x.exchange(1, answer{source: neighbour, delay: int64(s.byte()), noSent: s.byte()%7 == 1, noResponse: s.byte()%11 == 1})
	}
}

// soup feeds a System of three domains, one of them with its port states chosen
// from outside and one with a MasterOnly port, whatever a script says, perhaps with
// hot standby. It must
// neither panic nor loop nor grow, its deadline moves on, every frame it sends
// decodes, what it sends is bounded, and its status is JSON.
func soup(t testing.TB, in []byte) {
	s := script(in)
	kind := s.byte()
	x := newSolo(t, 3, func(c *Config) {
		c.Ports[2].MasterOnly = true
		c.Domains = []DomainConfig{{Domain: 0, ExternalPortConfiguration: kind&1 != 0}, {Domain: 20}, {Domain: 127, ExternalPortConfiguration: true}}
		if kind&2 != 0 {
			c.HotStandby = &HotStandbyConfig{Primary: 0, Secondary: 20}
		}
	})
	x.capable(1)
	x.link(2, true)
	x.link(3, true)
	for steps := 0; len(s) > 0 && steps < 500; steps++ {
		began := x.at
		x.at += int64(s.byte()%8) * int64(s.byte()) * millisecond / 4
		if s.byte()%8 == 0 || !x.port(1).asCapable {
			s.exchange(x)
		}
		if s.byte()%2 == 0 {
			s.sync(x)
		}
		x.step(s.event(x))
		if d := x.Deadline(); d <= tsn.Instant(x.at) {
			t.Fatalf("deadline %d at %d", d, x.at)
		}
		// At the shortest intervals that a neighbour can ask for, each of 9 PTP Ports
		// sends 32 Syncs, Announces and Signalings in a second.
		lasting := int((x.at - began) / millisecond)
		if len(x.out) > 80+lasting || len(x.rel) > 40 || len(x.notices) > 40 {
			t.Fatalf("%d messages, %d relations, %d notices for one event", len(x.out), len(x.rel), len(x.notices))
		}
		for _, r := range x.rel {
			if math.IsNaN(r.Relation.RatePPB) || math.Abs(r.Relation.RatePPB) > servoMaxRate {
				t.Fatalf("rate %v", r.Relation.RatePPB)
			}
		}
		x.out, x.rel, x.notices = nil, nil, nil
	}
	if _, err := json.Marshal(x.Status()); err != nil {
		t.Fatal(err)
	}
}

func FuzzSystem(f *testing.F) {
	f.Add([]byte{})
	r := rand.New(rand.NewSource(1))
	for range 8 {
		b := make([]byte, 600)
		r.Read(b)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, in []byte) { soup(t, in) })
}

// A short run of what FuzzSystem does for long.
func TestEventSoup(t *testing.T) {
	r := rand.New(rand.NewSource(2))
	for range 500 {
		b := make([]byte, 4000)
		r.Read(b)
		soup(t, b)
	}
}
