package spbsim

import (
	"fmt"
	"testing"

	"tsnswitch"
)

// flapStorm is hard on the agreement: two links flap every few milliseconds, so
// that graphs come back that were gone, while a third of the hellos is lost; kernels are
// fast, and nobody holds anything down for long.
func flapStorm(seed uint64, kind string) (*Scenario, error) {
	s := NewScenario(seed, kind, 6, nil)
	s.ageing = false
	for _, d := range s.Nodes {
		d.cfg.MaxAge, d.cfg.RefreshInterval, d.cfg.ZeroAgeLifetime = 0, 0, 0
		d.cfg.SPFHoldDown, d.cfg.SPFMaxHoldDown = millisecond, millisecond
		d.cfg.LSPHoldDown, d.cfg.LSPMaxHoldDown = millisecond, millisecond
	}
	t := &s.Times
	t.Begin, t.BeginJitter, t.Write, t.WriteJitter, t.Carrier = 10*microsecond, 100*microsecond, 2*microsecond, 10*microsecond, 100*microsecond
	s.Watch(s.Promise)
	s.SendProbes(10 * millisecond)
	for _, d := range s.Nodes {
		s.PowerOn(d)
	}
	for _, l := range s.Links {
		s.SetLink(l, !l.Edge)
	}
	s.Run(tsn.Instant(3 * second))
	s.Wild, t.LossPerMille, t.DuplicatePerMille, t.ReorderPerMille = true, 300, 50, 100
	for range 2 {
		l := s.Links[s.rng.IntN(len(s.Links))]
		if l.Edge {
			continue
		}
		at := s.now
		for range 200 {
			at = at.Add(3*millisecond + s.jitter(12*millisecond))
			s.At(at, func() { s.SetLink(l, !l.Up) })
		}
	}
	s.Run(s.now.Add(4 * second))
	s.Wild = false
	s.Calm = s.now
	s.Run(s.now.Add(Settle))
	if v := s.Violations(); len(v) > 0 {
		return s, fmt.Errorf("%v", v[0])
	}
	return s, s.Settled()
}

// TestFlapStorm is about what the echo of the agreement is for.
func TestFlapStorm(t *testing.T) {
	seeds := 12
	if *seedsFlag > 0 {
		seeds = *seedsFlag
	}
	for _, kind := range []string{"felix", "software"} {
		for seed := range uint64(seeds) {
			if s, err := flapStorm(9000+seed, kind); err != nil {
				t.Errorf("seed %d on %s: %v", s.Seed, kind, err)
				if *stopFlag {
					t.FailNow()
				}
			}
		}
	}
}
