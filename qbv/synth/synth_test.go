package synth

import (
	"math/rand/v2"
	"slices"
	"testing"

	"tsnswitch/qbv/instances"
	"tsnswitch/qbv/schedtest"
	"tsnswitch/qbv/schedule"
)

// Problems with everything that can differ: what is placed keeps the rules, and
// something is placed.
func TestRandomProblems(t *testing.T) {
	placed, all := 0, 0
	for seed := range uint64(300) {
		p := schedtest.Problem(rand.New(rand.NewPCG(seed, 0)), 12)
		for _, mode := range []Mode{Auto, NoWait, Buffered} {
			s := mustSolve(t, p, Options{Mode: mode, Units: 200_000})
			placed, all = placed+len(s.Streams), all+len(p.Streams)
		}
	}
	t.Logf("%d of %d placed", placed, all)
	if placed < all/2 {
		t.Error("too few")
	}
}

// All of the sets is solved, the tight one with other seeds too, and what
// leaves the scheduler keeps the rules, with the last ProcessingDelay counted.
func TestSets(t *testing.T) {
	tight := instances.SetB()
	for _, spec := range instances.SetB() {
		spec.Seed += 300
		tight = append(tight, spec)
	}
	for name, set := range map[string][]instances.Spec{"A": instances.SetA(), "B": tight, "C": instances.SetC()} {
		singly := 0
		for _, spec := range set {
			s := mustSolve(t, spec.Problem(), Options{})
			if len(s.Unplaced) > 0 {
				t.Errorf("%s: %d streams left out, the first: %+v", spec.Name(), len(s.Unplaced), s.Unplaced[0])
			}
			p := spec.Problem()
			for i := range p.Streams {
				p.Streams[i].Deadline -= p.Links[0].ProcessingDelay
			}
			mustHold(t, p, s)
			if slices.ContainsFunc(s.Streams, func(at schedule.Placement) bool { return at.Instances != nil }) {
				singly++
			}
		}
		t.Logf("%s: %d problems, %d of them not strictly periodic", name, len(set), singly)
	}
}

// Where there are queues to spare, streams are apart in them even if a frame is
// counted from its last octet in.
func TestSpread(t *testing.T) {
	for _, spec := range instances.SetA() {
		if spec.Sizes[0] < 100 {
			continue // more frames come in within 2 us than there are queues
		}
		p := spec.Problem()
		s := mustSolve(t, p, Options{})
		queues := map[[2]int][]use{}
		for _, at := range s.Streams {
			st := &p.Streams[at.Stream]
			tx := p.Links[0].Rate.TransmitTime(st.Size)
			for h := 1; h < len(at.Route); h++ {
				for k := int64(0); k < s.Cycle; k += st.Period {
					key := [2]int{int(at.Route[h]), int(at.Queues[h])}
					queues[key] = append(queues[key], use{at.Starts[h-1] + tx + k, at.Starts[h] + tx + k, at.Stream})
				}
			}
		}
		for key, uses := range queues {
			if err := overlap(uses, s.Cycle); err != nil {
				t.Errorf("%s: link %d, queue %d: %v", p.Name, key[0], key[1], err)
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
