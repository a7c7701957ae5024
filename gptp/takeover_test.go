package gptp

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	tsn "tsnswitch"
	"tsnswitch/gptp/ptpmsg"
)

// After an asCapable dip a grand master announces again.
func TestFlappingAsCapableRecovers(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		s := newSim(t, 9)
		n := s.chain(2, nil)
		s.run(2 * second)
		for range rapid.IntRange(1, 6).Draw(rt, "flaps") {
			if rapid.Bool().Draw(rt, "by carrier") {
				s.carrier(n[0], 2, false)
				s.run(rapid.Int64Range(0, 2000).Draw(rt, "down ms") * millisecond)
				s.carrier(n[0], 2, true)
			} else {
				n[0].port(2).delay.req.setCapable(false, ReasonNoResponse)
				n[0].bmca.run()
			}
			s.run(rapid.Int64Range(0, 2000).Draw(rt, "up ms") * millisecond)
		}
		s.run(5 * second)
		if n[1].GrandMaster() != n[0].sys.cfg.ClockIdentity || !n[1].Synced() || n[1].portStatus(1).State != SlavePort {
			rt.Fatalf("%+v", n[1].Status())
		}
	})
}

// Takeover: the grand master dies; the next best goes on with the same time and
// everyone follows without a jump.
func TestGrandMasterLossAndTakeover(t *testing.T) {
	for _, c := range []struct {
		name  string
		set   func(*simNode) *simNode
		bound int64
	}{{"hardware", (*simNode).hardware, 200}, {"software", (*simNode).software, 10 * microsecond}} {
		t.Run(c.name, func(t *testing.T) {
			s := newSim(t, 10)
			n := s.chain(4, func(i int, c *Config) {
				softThreshold(i, c)
				c.Domains[0].Priority1 = uint8(100 + i)
			})
			for i, x := range n {
				c.set(x).clock(int64(i)*123_456_789, float64(40*i-50))
			}
			s.run(20 * second)
			reference := n[0].Relation() // the dead master's time, were it alive
			n[0].dead = true
			died := s.now
			took := s.until(second, func() bool { return n[1].IsGrandMaster() }) - died
			followed := s.until(2*second, func() bool { return n[3].GrandMaster() == n[1].sys.cfg.ClockIdentity }) - died
			worst := int64(0)
			for range 1000 {
				s.run(10 * millisecond)
				for _, x := range n[1:] {
					e := x.Relation().At(x.at(s.now)).NS - reference.At(n[0].at(s.now)).NS
					worst = max(worst, e, -e)
				}
			}
			t.Logf("took over after %d ms, followed after %d ms; worst error in the 10 s after %d ns", took/millisecond, followed/millisecond, worst)
			if took > 450*millisecond || followed > 1500*millisecond || worst > c.bound {
				t.Errorf("took %d ms, followed %d ms, worst %d ns", took/millisecond, followed/millisecond, worst)
			}
			st := n[1].Status()
			if !st.Holdover || st.LastGmPhaseChangeNS != 0 || st.GmTimeBaseIndicator == 0 {
				t.Errorf("%+v", st)
			}
			for _, x := range n[1:] {
				if slices.Contains(x.notices, NoticeStep) || !x.Synced() {
					t.Errorf("%s: synced %v, %v", x.name, x.Synced(), x.notices)
				}
			}
		})
	}
}

// In a ring the stale word of a dead grand master does not go round: the path
// trace stops it, and the next best takes over everywhere.
func TestGrandMasterLossInRing(t *testing.T) {
	s, relays, hosts := ring(t)
	s.run(10 * second)
	relays[0].dead = true
	died := s.now
	alive := []*simNode{relays[1], relays[2], relays[3], hosts[1]}
	took := s.until(3*second, func() bool {
		return !slices.ContainsFunc(alive, func(x *simNode) bool { return x.GrandMaster() != relays[1].sys.cfg.ClockIdentity || !x.Synced() })
	}) - died
	t.Logf("all follow %s after %d ms", relays[1].name, took/millisecond)
	s.run(20 * second)
	for _, x := range alive {
		if x.GrandMaster() != relays[1].sys.cfg.ClockIdentity || slices.Contains(x.notices, NoticeStep) {
			t.Errorf("%s follows %v, %v", x.name, x.GrandMaster(), x.notices)
		}
	}
	if h := hosts[0].Status(); h.Synced || h.GMPresent {
		t.Errorf("a host of a dead bridge: %+v", h)
	}
}

// A grand master that comes back after its stand-in drifted away is stepped to,
// and Synced says so in between.
func TestGrandMasterReturns(t *testing.T) {
	s := newSim(t, 15)
	n := s.chain(2, nil)
	n[0].hardware().clock(0, 30)
	n[1].hardware().clock(9, -30)
	s.run(10 * second)
	s.carrier(n[0], 2, false)
	s.run(second)
	n[1].offset += 100 * microsecond // the oscillator had a bad day
	s.run(second)
	s.carrier(n[0], 2, true)
	s.run(5 * second)
	if e := n[1].error(n[0]); e > 200 || e < -200 || !n[1].Synced() || !slices.Contains(n[1].notices, NoticeStep) {
		t.Errorf("%d ns off, synced %v, %v", e, n[1].Synced(), n[1].notices)
	}
}

// The same with several domains and with states from outside: whatever flaps,
// in the end both domains are followed everywhere.
func TestFlappingWithDomains(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		h := newStandby(t, rapid.Bool().Draw(rt, "elected"))
		h.run(rapid.Int64Range(0, 4000).Draw(rt, "before ms") * millisecond)
		for range rapid.IntRange(1, 5).Draw(rt, "flaps") {
			x := h.n[rapid.IntRange(0, 3).Draw(rt, "node")]
			down := rapid.Int64Range(0, 1500).Draw(rt, "down ms") * millisecond
			if rapid.Bool().Draw(rt, "by carrier") {
				h.carrier(x, 2, false)
				h.run(down)
				h.carrier(x, 2, true)
			} else {
				for _, d := range x.sys.link(2).delays {
					d.req.setCapable(false, ReasonNoResponse)
				}
				x.step(tsn.Timeout{})
			}
			h.run(rapid.Int64Range(0, 1500).Draw(rt, "up ms") * millisecond)
		}
		h.run(30 * second)
		for _, x := range h.n {
			for k, gm := range []*simNode{h.n[0], h.n[4]} {
				if st := x.sys.instances[k].Status(); !st.Synced || !st.IsSynced || st.GrandMaster != gm.sys.cfg.ClockIdentity {
					rt.Fatalf("%s: %+v", x.name, st)
				}
			}
		}
		if !are(HotStandbyRedundant, 0, h.n...)() {
			h.wantStatus()
			rt.Fatal("not redundant")
		}
	})
}

// Take-over, in time from the death of the grand master, whenever in its
// intervals that is: the next best announces itself, and the one behind it
// takes its Syncs. One Announce suffices (10.3.11); sync receipt time-out is
// what tells first.
func TestTakeOverTimes(t *testing.T) {
	var slowest [2]int64
	rapid.Check(t, func(rt *rapid.T) {
		s := newSim(t, 41)
		next := rapid.IntRange(1, 2).Draw(rt, "next best")
		n := s.chain(4, func(i int, c *Config) {
			c.Domains[0].Priority1 = uint8(100 + 10*i)
			if i == next {
				c.Domains[0].Priority1 = 105
			}
		})
		for i, x := range n {
			x.hardware().clock(int64(i)*123_456_789, float64(40*i-50))
		}
		s.run(5*second + rapid.Int64Range(0, 2*second).Draw(rt, "died"))
		n[0].dead = true
		died, announced := s.now, int64(0)
		gm := n[next].sys.cfg.ClockIdentity
		s.spy = func(from *simNode, _ tsn.Port, frame []byte) bool {
			_, payload, _ := ptpmsg.ParseFrame(frame)
			m, err := new(ptpmsg.Decoder).Decode(payload)
			if a, ok := m.(*ptpmsg.Announce); err == nil && ok && from == n[next] && a.GrandMaster == gm && announced == 0 {
				announced = s.now
			}
			return true
		}
		followed := s.until(3*second, func() bool {
			return !slices.ContainsFunc(n[1:], func(x *simNode) bool {
				return x != n[next] && (x.slave.gm != gm || x.GrandMaster() != gm || !x.Synced())
			})
		})
		slowest[0], slowest[1] = max(slowest[0], announced-died), max(slowest[1], followed-died)
		if announced == 0 || announced-died > 450*millisecond || followed-died > 1500*millisecond {
			rt.Fatalf("announced after %d ms, followed after %d ms", (announced-died)/millisecond, (followed-died)/millisecond)
		}
	})
	t.Logf("first Announce within %d ms, all follow within %d ms", slowest[0]/millisecond, slowest[1]/millisecond)
}
