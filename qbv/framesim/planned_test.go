package framesim_test

import (
	"fmt"
	"math/rand/v2"
	"syscall"
	"testing"

	"tsnswitch/qbv/cqf"
	"tsnswitch/qbv/framesim"
	"tsnswitch/qbv/instances"
	"tsnswitch/qbv/schedtest"
	"tsnswitch/qbv/schedule"
	"tsnswitch/qbv/synth"
	"tsnswitch/qbv/verify"
)

// plan is the project's own schedule of p.
func plan(tb testing.TB, p *schedule.Problem, o synth.Options) *schedule.Solution {
	tb.Helper()
	s, _, err := synth.Solve(p, o)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// TestPlannedSchedulesHold plays what the project's own scheduler plans.
func TestPlannedSchedulesHold(t *testing.T) {
	for seed := range uint64(120) {
		r := rand.New(rand.NewPCG(seed, 3))
		p := schedtest.Problem(r, 2+r.IntN(14))
		for _, mode := range []synth.Mode{synth.Auto, synth.NoWait, synth.Buffered} {
			s := plan(t, p, synth.Options{Mode: mode, Units: 100_000})
			rep := accept(t, p, s)
			if !rep.Valid() {
				t.Fatalf("seed %d, mode %d: %v", seed, mode, rep.Err())
			}
			holds(t, fmt.Sprintf("seed %d, mode %d", seed, mode), p, s, rep)
		}
	}
}

// large is the largest of the networks: 10,000 streams on 100 bridges.
func large(b *testing.B) (*schedule.Problem, *schedule.Solution) {
	sets := instances.SetX()
	p := sets[len(sets)-1].Problem()
	return p, plan(b, p, synth.Options{})
}

// cpu is the processor time of this process so far, in ms: wall time says
// little on a shared machine.
func cpu(b *testing.B) float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e6
}

// BenchmarkCheck checks 10,000 streams on 100 bridges.
func BenchmarkCheck(b *testing.B) {
	p, s := large(b)
	var rep *verify.Report
	from := cpu(b)
	for b.Loop() {
		rep, _ = verify.Check(p, s)
	}
	b.ReportMetric((cpu(b)-from)/float64(b.N), "cpu-ms/op")
	if !rep.Valid() {
		b.Error(rep.Err())
	}
	b.ReportMetric(float64(rep.Placed), "streams")
	b.ReportMetric(float64(rep.Transmissions), "transmissions")
}

// BenchmarkRun plays the same, one round of one cycle.
func BenchmarkRun(b *testing.B) {
	p, s := large(b)
	var res *framesim.Result
	from := cpu(b)
	for b.Loop() {
		res, _ = framesim.Run(p, s, framesim.Options{Cycles: 1, Rounds: 1})
	}
	b.ReportMetric((cpu(b)-from)/float64(b.N), "cpu-ms/op")
	if !res.OK() {
		b.Error("a frame is late or lost")
	}
	b.ReportMetric(float64(res.Events), "events")
}

// TestCyclicSchedulesHold plays what cyclic queuing and forwarding plans,
// alone and beside streams with times of their own.
func TestCyclicSchedulesHold(t *testing.T) {
	cyclic, placed, exact, mutants, failed, refused := 0, 0, 0, 0, 0, 0
	for seed := range uint64(150) {
		r := rand.New(rand.NewPCG(seed, 4))
		p := schedtest.Problem(r, 2+r.IntN(14))
		var o cqf.Options
		if seed%2 == 1 {
			for l := range p.Links {
				p.Links[l].Scheduled, p.Links[l].MaxSDU = 0xe, [8]int{}
			}
			some := *p
			some.Streams = p.Streams[:1]
			s, _, err := synth.Solve(&some, synth.Options{})
			if err != nil {
				t.Fatal(err)
			}
			o.Placed = s.Streams
		}
		s, err := cqf.Solve(p, o)
		if err != nil {
			t.Fatal(err)
		}
		rep := accept(t, p, s)
		if !rep.Valid() {
			t.Fatalf("seed %d: %v", seed, rep.Err())
		}
		if placed += len(s.Streams); s.Cyclic != nil {
			cyclic += len(s.Cyclic.Streams)
		}
		if slack := holds(t, fmt.Sprintf("seed %d", seed), p, s, rep); slack < 1000 {
			exact++
		}
		for n := 0; n < 10 && len(s.Gates) > 0; n++ {
			m := schedtest.Mutate(r, p, s)
			if rep := accept(t, p, m); rep.Valid() {
				mutants++
				holds(t, fmt.Sprintf("seed %d, mutation %d", seed, n), p, m, rep)
			} else if res, err := framesim.Run(p, m, framesim.Options{}); err != nil || !res.OK() {
				failed++
			} else {
				refused++
			}
		}
	}
	t.Logf("%d cyclic streams, %d others; within 1 us of the bound in %d schedules of 150", cyclic, placed, exact)
	t.Logf("of their mutations %d are accepted, %d refused and fail when played, %d refused and do not", mutants, failed, refused)
	if cyclic < 300 || placed < 50 {
		t.Error("these are too few")
	}
}
