package gptp

import (
	"math"
	"slices"
	"strings"
	"testing"

	tsn "tsnswitch"
)

// stall stops the host for ns; its network card goes on stamping. The first
// thing that the host does then is to look at its timers.
func (x *simNode) stall(ns int64) {
	x.sim.after(ns, func() { x.step(tsn.Timeout{}) })
	x.stalled = x.sim.now + ns
}

// restart is a new process on another clock; the cables stay up.
func (x *simNode) restart(offset int64, ppm float64) {
	cfg := x.sys.cfg
	cfg.Seed += 1000
	sys, err := New(cfg)
	if err != nil {
		x.sim.t.Fatal(err)
	}
	x.sys, x.Instance, x.wakeAt = sys, sys.instances[0], math.MaxInt64
	x.clock(offset, ppm)
	x.step(tsn.Timeout{})
	for _, p := range cfg.Ports {
		if l := x.links[p.Port]; l != nil && l.up {
			x.step(tsn.LinkChanged{Port: p.Port, Up: true, Rate: tsn.Gbps})
		}
	}
}

// settled fails the test unless every node follows gm.
func (s *sim) settled(gm *simNode) {
	s.t.Helper()
	for _, x := range s.nodes {
		if !x.dead && (!x.Synced() || x.GrandMaster() != gm.sys.cfg.ClockIdentity) {
			s.t.Errorf("%s: synced %v to %v", x.name, x.Synced(), x.GrandMaster())
		}
	}
}

// Holdover: 10 s after the last Sync the time is at most 1 us further off than
// it was, as the rate is known to 0.1 ppm; whether the node takes over as grand
// master or may not.
func TestHoldover(t *testing.T) {
	for _, c := range []struct {
		name    string
		profile profile
		p1      uint8
	}{
		{"hardware, grand master", steady, 246},
		{"hardware, end station", steady, 255},
		{"software, grand master", soft, 246},
		{"software, end station", soft, 255},
	} {
		worst, square := 0.0, 0.0
		const seeds = 20
		for seed := range int64(seeds) {
			p := c.profile
			p.config = func(i int, cfg *Config) {
				softThreshold(i, cfg)
				if i == 1 {
					cfg.Domains[0].Priority1 = c.p1
				}
			}
			s, n, _, _, _ := p.run(t, seed, 1)
			s.run(30 * second)
			before := n[1].error(n[0])
			n[0].dead = true
			gm := n[0].Relation()
			s.run(10 * second)
			e := float64(n[1].Relation().At(n[1].at(s.now)).NS - gm.At(n[0].at(s.now)).NS - before)
			worst, square = max(worst, math.Abs(e)), square+e*e
		}
		t.Logf("%-24s 10 s: rms %4.0f ns, max %4.0f ns of %d runs", c.name, math.Sqrt(square/seeds), worst, seeds)
		if worst > microsecond {
			t.Errorf("%s: %.0f ns", c.name, worst)
		}
	}
}

// A host that stands still for 0.8 s does not lose its grand master, nor the
// time; hardware or kernel stamps are not late because the process is.
func TestHostStall(t *testing.T) {
	for _, p := range []profile{steady, soft} {
		s, n, _, _, _ := p.run(t, 3, 1)
		s.run(10 * second)
		for range 20 {
			n[1].stall(800 * millisecond)
			s.run(3*second + 17*millisecond)
		}
		st := n[1].portStatus(1)
		if slices.Contains(n[1].notices, NoticeSyncTimeout) || st.Counters.SyncReceiptTimeouts != 0 || !st.AsCapable {
			t.Errorf("%s: %+v", p.name, st)
		}
		s.settled(n[0])
		if e := s.errors(5*second, n[1], n[0]); e.largest > 5*microsecond {
			t.Errorf("%s: %d ns off", p.name, e.largest)
		}
	}
}

// A rate that jumps, by little or by more than any oscillator does, is followed:
// the clock is right again within 4 s, and nobody calls it a step.
func TestRateJump(t *testing.T) {
	for _, ppm := range []float64{0.2, 1, 5, 20} {
		for _, p := range []profile{steady, soft} {
			s, n, _, _, _ := p.run(t, 4, 1)
			s.run(10 * second)
			from := float64(s.now) * 1e-9
			n[1].wander = func(sec float64) float64 { return max(0, sec-from) * ppm * 1000 }
			during := s.errors(4*second, n[1], n[0])
			e := s.errors(6*second, n[1], n[0])
			t.Logf("%-13s jump of %4.1f ppm: max %5d ns at first, then rms %4.0f ns, max %4d ns", p.name, ppm, during.largest, e.rms, e.largest)
			limit := map[string]int64{steady.name: 200, soft.name: 5 * microsecond}[p.name]
			if e.largest > limit || slices.Contains(n[1].notices, NoticeStep) {
				t.Errorf("off by %d ns; %v", e.largest, n[1].notices)
			}
		}
	}
}

// A link whose ways differ puts the clock off by half of it, no more, and
// delayAsymmetry takes that away (8.3).
func TestAsymmetricLink(t *testing.T) {
	for _, known := range []bool{false, true} {
		s := newSim(t, 5)
		n := s.chain(2, func(i int, c *Config) {
			if known {
				c.Ports[0].DelayAsymmetry = 100 // the way in is longer than the mean
			}
		})
		n[0].links[2].delay, n[1].links[1].delay = 600, 400
		s.run(10 * second)
		e := s.errors(5*second, n[1], n[0])
		want := map[bool]float64{false: -100, true: 0}[known]
		if math.Abs(e.mean-want) > 5 {
			t.Errorf("asymmetry known %v: off by %.0f ns, want %.0f", known, e.mean, want)
		}
	}
}

// A grand master, and a relay, that restart with another clock: the others find
// the new time, and nothing stays of the old rate.
func TestNeighborRestarts(t *testing.T) {
	for who := range 2 {
		for _, p := range []profile{steady, soft} {
			s, n, _, _, _ := p.run(t, 6, 3)
			s.run(10 * second)
			n[who].restart(-5_000*second, 77)
			s.run(8 * second)
			s.settled(n[0])
			limit := map[string]int64{steady.name: 300, soft.name: 8 * microsecond}[p.name]
			if e := s.errors(5*second, n[3], n[0]); e.largest > limit {
				t.Errorf("%s: %d ns off after the restart of %s", p.name, e.largest, n[who].name)
			}
		}
	}
}

// Soak: minutes with frames lost, doubled and out of order. Grand masters are
// lost and found, since three Syncs in a row can be missing, but the time stays,
// nothing steps, and all is well seconds after the frames get through again.
func TestSoakWithLoss(t *testing.T) {
	for _, loss := range []float64{0.1, 0.2, 0.3} {
		for _, p := range []profile{steady, soft} {
			s, n, _, _, _ := p.run(t, 7, 4)
			s.run(20 * second)
			s.fate = func([]byte) []int64 {
				switch f := s.rng.Float64(); {
				case f < loss:
					return nil
				case f < loss+0.02: // twice
					return []int64{0, s.rng.Int63n(millisecond)}
				case f < loss+0.04: // overtaken
					return []int64{s.rng.Int63n(20 * millisecond)}
				}
				return []int64{0}
			}
			e := s.errors(180*second, n[4], n[0])
			s.fate = nil
			lost := n[4].portStatus(1).Counters.SyncReceiptTimeouts
			s.run(5 * second)
			s.settled(n[0])
			t.Logf("%-13s %2.0f %% lost, 4 hops: rms %5.0f ns, max %5d ns; Syncs missed %d times, %d outliers", p.name, loss*100, e.rms, e.largest,
				lost, n[4].Status().Offset.Outliers)
			limit := map[string]int64{steady.name: 1 * microsecond, soft.name: 15 * microsecond}[p.name]
			if e.largest > limit || slices.Contains(n[4].notices, NoticeStep) {
				t.Errorf("off by %d ns, %d steps", e.largest, strings.Count(strings.Join(n[4].notices, " "), NoticeStep))
			}
		}
	}
}
