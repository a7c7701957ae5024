package spbsim

import (
	"testing"

	"tsnswitch"
	"tsnswitch/spb"
)

// settledScenario boots a network without faults.
func settledScenario(t *testing.T, seed uint64, kind string) *Scenario {
	t.Helper()
	s := NewScenario(seed, kind, size, nil)
	s.Watch(s.Promise)
	for _, d := range s.Nodes {
		s.At(tsn.Instant(s.jitter(second)), func() { s.PowerOn(d) })
	}
	for _, l := range s.Links {
		if !l.Edge {
			s.At(tsn.Instant(second+s.jitter(second)), func() { s.SetLink(l, true) })
		}
	}
	s.Run(tsn.Instant(15 * second))
	if err := s.Settled(); err != nil {
		t.Fatalf("seed %d on %s: %v", seed, kind, err)
	}
	return s
}

// TestRestartUnnoticed: a daemon that is killed and comes back within the
// holding time changes no entry of any kernel, on any board: no frame is lost.
func TestRestartUnnoticed(t *testing.T) {
	for _, kind := range []string{"software", "felix", "mixed"} {
		for seed := range uint64(15) {
			s := settledScenario(t, 7000+seed, kind)
			if s.Nodes[0].cfg.Ports[firstFabric-1].Echo.Interval != 0 {
				continue // with fast echo a daemon that dies is a link that is lost
			}
			before := s.Counts.Writes
			d := s.Nodes[s.rng.IntN(len(s.Nodes))]
			s.Kill(d)
			s.At(s.now.Add(50*millisecond+s.jitter(1800*millisecond)), func() { s.Start(d) })
			s.Run(s.now.Add(15 * second))
			if n := s.Counts.Writes - before; n != 0 {
				t.Errorf("seed %d on %s: %d kernel writes after a restart of %s", s.Seed, kind, n, d.Name)
			}
			if err := s.Settled(); err != nil {
				t.Errorf("seed %d on %s: %v", s.Seed, kind, err)
			}
		}
	}
}

// TestUnicastWithoutAgreement counts what the strict mode is for: boards
// without the ingress check, and unicast that does not wait. A cycle of two bridges stops
// no frame for long, since a bridge sends none back by the port it came from; longer ones
// are rare, and TestCheckerSees shows that they are seen.
func TestUnicastWithoutAgreement(t *testing.T) {
	var circling int64
	var probes, circled uint64
	seeds := 20
	for seed := range uint64(seeds) {
		s := NewScenario(8000+seed, "felix", size, nil)
		for _, d := range s.Nodes {
			d.cfg.Strict = spb.StrictOff
		}
		s.Promise = Promise{}
		s.Play()
		if v := s.Violations(); len(v) > 0 {
			t.Errorf("seed %d: %v", s.Seed, v[0])
		}
		circling += s.Circling()
		circled += s.Counts.Circled
		probes += s.Counts.Probes
	}
	t.Logf("%d fabrics without ingress check and without the strict mode: unicast could circle for %.3f ms of each, %d of %d data frames did", seeds, ms(circling)/float64(seeds), circled, probes)
}
