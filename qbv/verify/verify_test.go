package verify

import (
	"math/rand/v2"
	"testing"

	"tsnswitch/qbv/schedtest"
	"tsnswitch/qbv/schedule"
)

// TestFirstFitPasses: the random schedules of schedtest are not all refused,
// in any of the modes, and what passes passes again.
func TestFirstFitPasses(t *testing.T) {
	placed := map[schedule.Isolation]int{}
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 0))
		p := schedtest.Problem(r, 1+r.IntN(8))
		s := schedtest.Place(r, p, func(s *schedule.Solution) bool { return check(t, p, s).Valid() })
		if rep := check(t, p, s); !rep.Valid() || rep.Placed != len(s.Streams) {
			t.Fatalf("seed %d: %v", seed, rep.Err())
		}
		placed[p.Isolation] += len(s.Streams)
	}
	t.Log(placed)
	if placed[schedule.IsolateFrames] < 200 || placed[schedule.InOrder] < 200 {
		t.Errorf("too few were placed: %v", placed)
	}
}

func check(t *testing.T, p *schedule.Problem, s *schedule.Solution) *Report {
	t.Helper()
	rep, err := Check(p, s)
	if err != nil {
		t.Fatal(err)
	}
	return rep
}
