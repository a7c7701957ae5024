package synth

import (
	"math/rand/v2"
	"testing"

	"tsnswitch/qbv/instances"
	"tsnswitch/qbv/schedtest"
	"tsnswitch/qbv/verify"
)

// More tight problems than the set has: how many are solved whole.
func TestTight(t *testing.T) {
	solved, left := 0, 0
	for seed := range uint64(5) {
		for _, spec := range instances.SetB()[8:] {
			spec.Seed = 100 + seed
			s := mustSolve(t, spec.Problem(), Options{Units: 5_000_000})
			if len(s.Unplaced) == 0 {
				solved++
			} else {
				left += len(s.Unplaced)
				t.Logf("%s: %d left", spec.Name(), len(s.Unplaced))
			}
		}
	}
	t.Logf("%d solved, %d streams left", solved, left)
}

// Problems with everything that can differ: what is placed keeps the rules, and
// something is placed.
func TestRandomProblems(t *testing.T) {
	placed, all := 0, 0
	for seed := range uint64(300) {
		p := schedtest.Problem(rand.New(rand.NewPCG(seed, 0)), 12)
		for _, mode := range []Mode{Auto, NoWait, Buffered} {
			s := mustSolve(t, p, Options{Mode: mode, Units: 200_000})
			placed, all = placed+len(s.Streams), all+len(p.Streams)
			r, err := verify.Check(p, s)
			if err != nil {
				t.Fatal(err)
			}
			if err := r.Err(); err != nil {
				t.Fatalf("seed %d, mode %d: %v", seed, mode, err)
			}
		}
	}
	t.Logf("%d of %d placed", placed, all)
	if placed < all/2 {
		t.Error("too few")
	}
}

// Everything that fits is placed, and what leaves the scheduler keeps the rules.
func TestSets(t *testing.T) {
	for name, set := range map[string][]instances.Spec{"A": instances.SetA(), "B": instances.SetB(), "C": instances.SetC()} {
		for _, spec := range set {
			s := mustSolve(t, spec.Problem(), Options{Units: 3_000_000})
			if len(s.Unplaced) > 0 {
				t.Logf("%s: %s: %d streams left out", name, spec.Name(), len(s.Unplaced))
			}
		}
	}
}

func benchmarkSolve(b *testing.B, spec instances.Spec) {
	p := spec.Problem()
	s := mustSolve(b, p, Options{})
	var spent Spent
	for b.Loop() {
		_, spent, _ = Solve(p, Options{})
	}
	b.ReportMetric(float64(spent.Units), "units")
	b.ReportMetric(float64(len(s.Unplaced)), "unplaced")
}

func BenchmarkSolve(b *testing.B) {
	for _, spec := range instances.SetX() {
		b.Run(spec.Name(), func(b *testing.B) { benchmarkSolve(b, spec) })
	}
}
