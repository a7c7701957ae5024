package framesim_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"tsnswitch/qbv/framesim"
	"tsnswitch/qbv/schedtest"
	"tsnswitch/qbv/schedule"
	"tsnswitch/qbv/verify"
)

// holds plays an accepted schedule and compares what happens with the bounds.
func holds(t *testing.T, name string, p *schedule.Problem, s *schedule.Solution, rep *verify.Report) (slack int64) {
	t.Helper()
	res, err := framesim.Run(p, s, framesim.Options{Seed: 1, Rounds: 10})
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	slack = 1 << 62
	for i, got := range res.Streams {
		if got.Late > 0 || got.Missed > 0 || got.Lost > 0 || got.Early > 0 && rep.WarningCount == 0 {
			t.Fatalf("%s: stream %d: %d late, %d early, %d missed, %d lost", name, got.Stream, got.Late, got.Early, got.Missed, got.Lost)
		}
		for j, l := range got.Listeners {
			bound := rep.Streams[i].Listeners[j]
			if l.Worst > bound.Latency || l.Worst-l.Best > bound.Jitter || l.Periods == 0 {
				t.Fatalf("%s: stream %d to %d: took %d..%d, bounds %+v", name, got.Stream, l.Node, l.Best, l.Worst, bound)
			}
			slack = min(slack, bound.Latency-l.Worst)
		}
	}
	return slack
}

func accept(t *testing.T, p *schedule.Problem, s *schedule.Solution) *verify.Report {
	t.Helper()
	rep, err := verify.Check(p, s)
	if err != nil {
		t.Fatal(err)
	}
	return rep
}

// TestNeverWorseThanTheVerifierSays: any schedule the verifier accepts keeps
// its bounds, its windows and its deadlines.
func TestNeverWorseThanTheVerifierSays(t *testing.T) {
	exact := 0
	for seed := range uint64(500) {
		r := rand.New(rand.NewPCG(seed, 1))
		p := schedtest.Problem(r, 1+r.IntN(10))
		s := schedtest.Place(r, p, func(s *schedule.Solution) bool { return accept(t, p, s).Valid() })
		if len(s.Streams) > 0 && holds(t, fmt.Sprintf("seed %d", seed), p, s, accept(t, p, s)) == 0 {
			exact++
		}
	}
	if t.Logf("the bound was met exactly in %d of 500 schedules", exact); exact < 450 {
		t.Error("the bounds are loose, or the rounds are mild")
	}
}

// TestMutationsHoldOrAreRefused changes valid schedules at random: what the
// verifier still accepts still holds. Most that it refuses fail when played,
// so it is not merely strict.
func TestMutationsHoldOrAreRefused(t *testing.T) {
	var accepted, refused, failed int
	rules := map[verify.Rule][2]int{}
	for seed := range uint64(150) {
		r := rand.New(rand.NewPCG(seed, 2))
		p := schedtest.Problem(r, 2+r.IntN(6))
		s := schedtest.Place(r, p, func(s *schedule.Solution) bool { return accept(t, p, s).Valid() })
		for n := range 20 {
			m := schedtest.Mutate(r, p, s)
			if n%2 == 1 {
				m = schedtest.Mutate(r, p, m)
			}
			rep := accept(t, p, m)
			if rep.Valid() {
				accepted++
				holds(t, fmt.Sprintf("seed %d mutation %d", seed, n), p, m, rep)
				continue
			}
			refused++
			res, err := framesim.Run(p, m, framesim.Options{Seed: seed})
			count := rules[rep.Faults[0].Rule]
			count[0]++
			if err != nil || !res.OK() {
				failed++
				count[1]++
			}
			rules[rep.Faults[0].Rule] = count
		}
	}
	t.Logf("%d accepted, %d refused, %d of them fail when played: %v", accepted, refused, failed, rules)
	if accepted < 300 || failed < refused/4 {
		t.Error("the mutations prove nothing")
	}
}
