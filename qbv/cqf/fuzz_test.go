package cqf

import (
	"math/rand/v2"
	"testing"

	"tsnswitch/qbv/schedtest"
)

// Any problem ends in a solution that keeps its own windows, or an error.
func FuzzSolve(f *testing.F) {
	f.Add(uint64(1), int64(0), int64(0), int64(50_000), uint16(0))
	f.Add(uint64(7), int64(300), int64(20), int64(12_345), uint16(1542))
	f.Fuzz(func(t *testing.T, seed uint64, sync, jitter, period int64, guard uint16) {
		r := rand.New(rand.NewPCG(seed, 0))
		p := schedtest.Problem(r, 1+int(seed%9))
		p.SyncError, p.Jitter = sync, jitter
		for i := range p.Links {
			p.Links[i].GuardOctets = int(guard)
		}
		for i := range p.Streams {
			p.Streams[i].Period = period * int64(1+r.IntN(3))
		}
		s, err := Solve(p, Options{})
		if err != nil || s.Cyclic == nil {
			return
		}
		if len(s.Cyclic.Streams)+len(s.Unplaced) != len(p.Streams) {
			t.Fatalf("%d streams are lost", len(p.Streams)-len(s.Cyclic.Streams)-len(s.Unplaced))
		}
		if s.Cycle/s.Cyclic.CycleTime < 500 && sync < 1<<30 && jitter < 1<<30 {
			if err := simulate(p, s, r); err != nil {
				t.Fatal(err)
			}
		}
	})
}
