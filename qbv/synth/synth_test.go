package synth

import (
	"testing"

	"tsnswitch/qbv/instances"
)

// Everything that fits is placed, and what leaves the scheduler keeps the rules.
func TestSets(t *testing.T) {
	for name, set := range map[string][]instances.Spec{"A": instances.SetA(), "B": instances.SetB(), "C": instances.SetC()} {
		for _, spec := range set {
			s := mustSolve(t, spec.Problem(), Options{})
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
