package framesim_test

import (
	"math/rand/v2"
	"testing"

	"tsnswitch/qbv/instances"
	"tsnswitch/qbv/schedule"
	"tsnswitch/qbv/synth"
)

// TestPlannedNetworksHold plays plans of whole networks with margins, guard
// bands, short frames and bursts.
func TestPlannedNetworksHold(t *testing.T) {
	networks, placed := 0, 0
	for _, set := range [][]instances.Spec{instances.SetA(), instances.SetB(), instances.SetC()} {
		for i := 0; i < len(set); i += 8 {
			p := set[i].Problem()
			harden(p, i)
			s := plan(t, p, synth.Options{Units: 300_000, Mode: synth.Mode(i % 3)})
			rep := accept(t, p, s)
			if !rep.Valid() {
				t.Fatalf("%s: %v", p.Name, rep.Err())
			}
			holds(t, p.Name, p, s, rep)
			networks, placed = networks+1, placed+len(s.Streams)
		}
	}
	t.Logf("%d networks, %d streams", networks, placed)
}

// harden adds to a problem what tsnkit's do not have.
func harden(p *schedule.Problem, seed int) {
	r := rand.New(rand.NewPCG(uint64(seed), 5))
	if seed%2 == 1 {
		p.SyncError, p.Jitter = r.Int64N(600), r.Int64N(400)
	}
	p.Isolation = schedule.Isolation(seed % 2)
	for i := range p.Streams {
		p.Streams[i].MinSize = min(64*r.IntN(2), p.Streams[i].Size)
		p.Streams[i].Frames = max(1, r.IntN(6)-3)
	}
	for l := range p.Links {
		p.Links[l].GuardOctets, p.Links[l].MaxEntries = []int{0, 1542, 124}[seed%3], 256
	}
}
