package synth

import (
	"errors"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	tsn "tsnswitch"
	"tsnswitch/qbv/instances"
	"tsnswitch/qbv/schedtest"
	"tsnswitch/qbv/schedule"
)

// places are the placements of a solution by stream ID.
func places(p *schedule.Problem, s *schedule.Solution) map[int]schedule.Placement {
	out := map[int]schedule.Placement{}
	for _, at := range s.Streams {
		id := p.Streams[at.Stream].ID
		at.Stream = 0
		out[id] = at
	}
	return out
}

// Streams come and go in any order; what runs is not moved beyond the budget,
// and keeps the rules.
func TestAddAndRemove(t *testing.T) {
	added, refused, movedAll := 0, 0, 0
	for seed := range uint64(150) {
		r := rand.New(rand.NewPCG(seed, 1))
		p := schedtest.Problem(r, 24)
		later := p.Streams[8:]
		p.Streams = p.Streams[:8:8]
		pl, err := Resume(p, mustSolve(t, p, Options{Units: 100_000}), Options{})
		if err != nil {
			t.Fatal(err)
		}
		for len(later) > 0 {
			before := places(pl.Problem(), pl.Solution())
			budget, id := r.IntN(3), -1
			var moved []int
			if r.IntN(4) == 0 && len(before) > 0 {
				id = pl.Problem().Streams[r.IntN(len(pl.Problem().Streams))].ID
				if !pl.Remove(id) || pl.Remove(id) {
					t.Fatal("removed twice or not")
				}
				delete(before, id)
			} else {
				s := later[0]
				later = later[1:]
				var no *Refused
				_, moved, err = pl.Add(s, budget)
				switch {
				case errors.As(err, &no):
					refused++
				case err != nil:
					t.Fatal(err)
				default:
					id, added = s.ID, added+1
				}
			}
			if len(moved) > budget {
				t.Fatalf("moved %v, allowed %d", moved, budget)
			}
			movedAll += len(moved)
			now := pl.Problem()
			after := pl.Solution()
			mustHold(t, now, after)
			at := places(now, after)
			delete(at, id)
			for other, place := range before {
				if !slices.Contains(moved, other) && !reflect.DeepEqual(place, at[other]) {
					t.Fatalf("seed %d: stream %d was moved", seed, other)
				}
			}
			if len(at) != len(before) {
				t.Fatalf("seed %d: %d streams of %d are left", seed, len(at), len(before))
			}
		}
	}
	t.Logf("%d added with %d moves, %d refused", added, movedAll, refused)
	if added < 1000 || refused == 0 || movedAll == 0 {
		t.Error("not much was tried")
	}
}

func TestAddFaults(t *testing.T) {
	p := instances.SetA()[0].Problem()
	pl, err := Resume(p, mustSolve(t, p, Options{}), Options{})
	if err != nil {
		t.Fatal(err)
	}
	var bad *schedule.Error
	if _, _, err := pl.Add(p.Streams[0], 0); !errors.As(err, &bad) {
		t.Errorf("the same stream twice: %v", err)
	}
	s := p.Streams[0]
	s.ID, s.Period = 1000, 0
	if _, _, err := pl.Add(s, 0); !errors.As(err, &bad) {
		t.Errorf("no period: %v", err)
	}
	s.Period, s.Deadline = 1_000_000, 1
	var no *Refused
	if _, _, err := pl.Add(s, 0); !errors.As(err, &no) || !strings.Contains(err.Error(), "on its fastest route") || no.ID != 1000 {
		t.Errorf("deadline of 1 ns: %v", err)
	}
	if pl.Remove(1000) {
		t.Error("a refused stream is there")
	}
}

// A schedule of another problem is no schedule to resume.
func TestResumeFaults(t *testing.T) {
	for want, spoil := range map[string]func(s *schedule.Solution){
		"does not exist": func(s *schedule.Solution) { s.Streams[0].Stream = 99 },
		"is there twice": func(s *schedule.Solution) { s.Streams[1] = s.Streams[0] },
		"its route":      func(s *schedule.Solution) { s.Streams[0].Route = s.Streams[0].Route[1:] },
		"starts and":     func(s *schedule.Solution) { s.Streams[0].Starts = s.Streams[0].Starts[1:] },
		"out of range": func(s *schedule.Solution) {
			s.Streams[0].Queues = slices.Repeat([]tsn.TrafficClass{200}, len(s.Streams[0].Queues))
		},
		"meets stream 0": func(s *schedule.Solution) {
			x := s.Streams[0]
			x.Stream = 1
			s.Streams[1] = x
		},
	} {
		p := instances.SetA()[0].Problem()
		p.Streams[1] = p.Streams[0]
		p.Streams[1].ID = 1
		s := mustSolve(t, p, Options{})
		spoil(s)
		if _, err := Resume(p, s, Options{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
}

// Run places what a running schedule leaves out.
func TestResumeRuns(t *testing.T) {
	p := instances.SetA()[0].Problem()
	s := mustSolve(t, p, Options{})
	left := s.Streams[3]
	s.Streams = slices.Delete(s.Streams, 3, 4)
	pl, err := Resume(p, s, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if n := len(pl.Solution().Unplaced); n != 1 {
		t.Errorf("%d left out before", n)
	}
	if !pl.Run(1_000_000) || len(pl.Solution().Unplaced) != 0 {
		t.Errorf("stream %d is left out", left.Stream)
	}
}

// BenchmarkAdd prints how long it takes to add one stream to 2,000 that stay where
// they are: the middle one, and the slowest of a hundred.
func BenchmarkAdd(b *testing.B) {
	spec := instances.SetX()[2]
	spec.Streams = 3000
	p := spec.Problem()
	later := p.Streams[2000:]
	p.Streams = p.Streams[:2000:2000]
	pl, err := Resume(p, mustSolve(b, p, Options{}), Options{})
	if err != nil {
		b.Fatal(err)
	}
	var took []time.Duration
	for b.Loop() {
		s := later[len(took)%len(later)]
		begin := time.Now()
		_, _, err := pl.Add(s, 0)
		took = append(took, time.Since(begin))
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		pl.Remove(s.ID)
		b.StartTimer()
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2]), "p50-ns")
	b.ReportMetric(float64(took[len(took)*99/100]), "p99-ns")
}
