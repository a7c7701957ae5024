package gptp

import (
	"math"
	"math/rand"
	"testing"

	tsn "tsnswitch"
	"tsnswitch/gptp/ptpmsg"
)

// siege is a relay between a grand master and an end station, with an intruder
// at its third port that speaks gPTP well enough to be asCapable.
type siege struct {
	*sim
	gm, relay, end, intruder *simNode
	sent                     int // frames that the relay sent
}

func newSiege(t *testing.T, change func(*Config)) *siege {
	s := &siege{sim: newSim(t, 1)}
	s.gm = s.node("gm", 1, func(c *Config) { c.Domains[0].Priority1 = 100 }).hardware().clock(1000*second, 50)
	s.relay = s.node("relay", 3, change).hardware().clock(5, -70)
	s.end = s.node("end", 1, nil).hardware().clock(77*second, 20)
	s.intruder = s.node("intruder", 1, func(c *Config) { c.Domains[0].Priority1 = 255 }).hardware().clock(0, 3)
	s.connect(s.gm, 1, s.relay, 1, 500)
	s.connect(s.relay, 2, s.end, 1, 500)
	s.connect(s.relay, 3, s.intruder, 1, 500)
	s.spy = func(from *simNode, _ tsn.Port, _ []byte) bool {
		if from == s.relay {
			s.sent++
		}
		return true
	}
	s.sim.run(8 * second)
	return s
}

// attack has frames arrive at a port of the relay, one every gap ns for 4 s, and
// returns how many there were and how many more the relay sent than in peace.
func (s *siege) attack(port tsn.Port, gap int64, frame func(i int) []byte) (in, more int) {
	s.sent = 0
	s.sim.run(4 * second)
	peace := s.sent
	s.sent = 0
	for end := s.now + 4*second; s.now < end; s.sim.run(gap) {
		s.relay.deliver(port, frame(in))
		in++
	}
	return in, s.sent - peace
}

// frameFrom is a message as it comes from another station.
func frameFrom(m ptpmsg.Message) []byte { return ptpmsg.AppendFrame(nil, tsn.MAC{6, 6, 6, 6, 6, 6}, m) }

// stranger is the i-th of very many identities.
func stranger(i int) ptpmsg.PortIdentity {
	return ptpmsg.PortIdentity{Clock: ptpmsg.ClockIdentity{6, byte(i >> 16), byte(i >> 8), 0xff, 0xfe, byte(i), 0, 1}, Port: uint16(i)}
}

func rogueAnnounce(from ptpmsg.PortIdentity, seq int, tlvs ...ptpmsg.TLV) *ptpmsg.Announce {
	return &ptpmsg.Announce{
		Header: head(from, ptpmsg.FlagPtpTimescale, uint16(seq), 0), Priority1: 1, Priority2: 1, GrandMaster: from.Clock, TLVs: tlvs,
	}
}

func longPath(n int) ptpmsg.TLV {
	path := make([]ptpmsg.ClockIdentity, n)
	for i := range path {
		path[i] = stranger(i).Clock
	}
	return ptpmsg.PathTraceTLV(path)
}

// bombTLVs are many and empty.
func bombTLVs(n int) (out []ptpmsg.TLV) {
	for i := range n {
		out = append(out, ptpmsg.TLV{Type: ptpmsg.TLVType(0x7f00 + i%3)})
	}
	return out
}

// maxTimestamp is the last second that a Timestamp holds.
var maxTimestamp = ptpmsg.Timestamp{Seconds: 1<<48 - 1, Nanoseconds: 999_999_999}

// Hostile input, at an edge port that is MasterOnly and on the very port that
// time comes from: nothing panics, no more frames go out than came in, a counter
// says what it was, and the end station keeps the true grand master's time.
func TestHostileInput(t *testing.T) {
	type counter func(Counters) uint64
	unexpected := func(c Counters) uint64 { return c.Unexpected }
	malformed := func(c Counters) uint64 { return c.Malformed + c.NotGPTP }
	other := func(c Counters) uint64 { return c.OtherDomain }
	refused := func(c Counters) uint64 { return c.AnnounceRefused }
	var outliers counter // of the servo
	for _, c := range []struct {
		name  string
		port  tsn.Port
		gap   int64
		frame func(s *siege, i int) []byte
		count counter
	}{
		{"rogue grand master", 3, 20 * millisecond, func(s *siege, i int) []byte {
			return frameFrom(rogueAnnounce(s.intruder.port(1).id, i, longPath(1)))
		}, refused},
		{"Announces under changing names", 3, millisecond / 2, func(_ *siege, i int) []byte {
			return frameFrom(rogueAnnounce(stranger(i), i, longPath(1)))
		}, refused},
		{"path trace of 179", 3, 5 * millisecond, func(_ *siege, i int) []byte {
			return frameFrom(rogueAnnounce(stranger(7), i, longPath(179)))
		}, refused},
		{"Pdelay_Req flood", 3, millisecond / 10, func(_ *siege, i int) []byte {
			return frameFrom(&ptpmsg.PdelayReq{Header: head(stranger(i), 0, uint16(i), -7)})
		}, func(c Counters) uint64 { return c.RequestsTooSoon }},
		{"Pdelay_Req flood in the neighbour's name", 3, millisecond / 10, func(s *siege, i int) []byte {
			return frameFrom(&ptpmsg.PdelayReq{Header: head(s.intruder.port(1).id, 0, uint16(i), -7)})
		}, func(c Counters) uint64 { return c.RequestsTooSoon }},
		{"answers that nobody asked for", 3, millisecond, func(s *siege, i int) []byte {
			return frameFrom(&ptpmsg.PdelayResp{
				Header: head(stranger(i), ptpmsg.FlagTwoStep, uint16(i), 127), RequestReceipt: maxTimestamp, Requesting: stranger(1),
			})
		}, unexpected},
		{"Syncs from below", 3, 2 * millisecond, func(s *siege, i int) []byte {
			return frameFrom(&ptpmsg.Sync{Header: head(s.intruder.port(1).id, ptpmsg.FlagTwoStep, uint16(i), -7)})
		}, unexpected},
		{"another domain", 3, millisecond, func(_ *siege, i int) []byte {
			a := rogueAnnounce(stranger(1), i)
			a.Domain = uint8(1 + i%255)
			return frameFrom(a)
		}, other},
		{"another sdoId", 3, millisecond, func(_ *siege, i int) []byte {
			a := rogueAnnounce(stranger(1), i)
			a.MajorSdoID = uint8(2 + i%14)
			return frameFrom(a)
		}, other},
		{"TLV bombs", 3, millisecond, func(_ *siege, i int) []byte {
			return frameFrom(rogueAnnounce(stranger(1), i, bombTLVs(350)...))
		}, refused},
		{"Signaling with TLV bombs", 3, millisecond, func(s *siege, i int) []byte {
			return frameFrom(&ptpmsg.Signaling{Header: head(stranger(i), 0, uint16(i), 127), TLVs: bombTLVs(350)})
		}, func(c Counters) uint64 { return c.Rx.Signaling }},
		{"noise", 3, millisecond, func(s *siege, i int) []byte {
			r := rand.New(rand.NewSource(int64(i)))
			f := frameFrom(rogueAnnounce(stranger(i), i, longPath(3)))
			for range 1 + r.Intn(8) {
				f[r.Intn(len(f))] ^= byte(1 << r.Intn(8))
			}
			return f[:14+r.Intn(len(f)-14)]
		}, malformed},
		{"huge corrections upstream", 1, 15 * millisecond, func(s *siege, i int) []byte {
			return upstream(s, i, ptpmsg.TimeInterval(math.MaxInt64>>(i%3)), ptpmsg.Timestamp{})
		}, outliers},
		{"absurd origins upstream", 1, 15 * millisecond, func(s *siege, i int) []byte {
			return upstream(s, i, ptpmsg.TimeInterval(math.MinInt64), maxTimestamp)
		}, outliers},
		{"sequence games upstream", 1, 15 * millisecond, func(s *siege, i int) []byte {
			return frameFrom(&ptpmsg.FollowUp{
				Header: head(s.gm.port(1).id, 0, s.gm.port(1).tx.seq+uint16(i%5)-2, -3), PreciseOrigin: ptpmsg.Timestamp{Seconds: uint64(i)},
			})
		}, unexpected},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSiege(t, func(cfg *Config) { cfg.Ports[2].MasterOnly = true })
			if c.count == nil {
				c.count = func(Counters) uint64 { return s.relay.Status().Offset.Outliers }
			}
			before := c.count(s.relay.portStatus(c.port).Counters)
			in, more := s.attack(c.port, c.gap, func(i int) []byte { return c.frame(s, i) })
			count := c.count(s.relay.portStatus(c.port).Counters) - before
			t.Logf("%d frames in, %d more out, %d counted", in, more, count)
			if more > in {
				t.Errorf("%d frames in, %d more out", in, more)
			}
			if count < uint64(in)/8 {
				t.Errorf("of %d frames %d were counted", in, count)
			}
			if id := s.gm.sys.cfg.ClockIdentity; s.end.GrandMaster() != id || s.relay.GrandMaster() != id {
				t.Errorf("end follows %v, relay %v", s.end.GrandMaster(), s.relay.GrandMaster())
			}
			for _, x := range []*simNode{s.relay, s.end} {
				if e := x.error(s.gm); !x.Synced() || e > microsecond || e < -microsecond {
					t.Errorf("%s: synced %v, %d ns off", x.name, x.Synced(), e)
				}
			}
		})
	}
}

// upstream is, in turn, a Sync and a Follow_Up in the name of the grand master's
// port, in a sequence of their own.
func upstream(s *siege, i int, c ptpmsg.TimeInterval, origin ptpmsg.Timestamp) []byte {
	seq := uint16(i/2 + 30_000)
	if i%2 == 0 {
		return frameFrom(&ptpmsg.Sync{Header: head(s.gm.port(1).id, ptpmsg.FlagTwoStep, seq, -3)})
	}
	h := head(s.gm.port(1).id, 0, seq, -3)
	h.Correction = c
	return frameFrom(&ptpmsg.FollowUp{Header: h, PreciseOrigin: origin, TLVs: []ptpmsg.TLV{ptpmsg.FollowUpInformation{
		CumulativeScaledRateOffset: math.MaxInt32, LastGmPhaseChange: ptpmsg.ScaledFromNS(math.MaxInt64),
	}.TLV()}})
}

// A storm of ever better grand masters on a port that takes them is followed,
// with as few frames as the rate of Announces allows, and forgotten afterwards.
func TestAnnounceStorm(t *testing.T) {
	s := newSiege(t, nil)
	in, more := s.attack(3, millisecond, func(i int) []byte {
		a := rogueAnnounce(s.intruder.port(1).id, i, longPath(1))
		a.GrandMaster, a.Priority1 = stranger(i).Clock, uint8(i)%90
		return frameFrom(a)
	})
	if limit := 3 * 4 * 33; more > limit {
		t.Errorf("%d frames out for %d in", more, in)
	}
	s.sim.run(6 * second)
	for _, x := range []*simNode{s.relay, s.end} {
		if e := x.error(s.gm); x.GrandMaster() != s.gm.sys.cfg.ClockIdentity || !x.Synced() || e > microsecond || e < -microsecond {
			t.Errorf("%s: follows %v, synced %v, %d ns off", x.name, x.GrandMaster(), x.Synced(), e)
		}
	}
}
