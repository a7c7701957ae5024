package srpsim

import (
	"flag"
	"fmt"
	"testing"
	"time"
)

var (
	seedsFlag = flag.Int("seeds", 1, "runs of TestTrial for each topology and mode")
	largeFlag = flag.Bool("large", false, "TestLarge in each topology and mode, with faults")
)

// play lets a network begin, settle, be disturbed by so many events, and settle again.
func play(t *testing.T, c Config, events int) *Network {
	t.Helper()
	start := time.Now()
	n := New(c)
	n.Begin(2 * second)
	quiet := func(d int64) {
		err := n.Run(d)
		var v Verdict
		if err == nil {
			v, err = n.CheckSettled()
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%v: %s", n.Now, v)
	}
	quiet(20 * second) // a LeaveAll on each link
	if events > 0 {
		n.Disturb(60*second, events, 50, 20)
		if err := n.Run(60 * second); err != nil {
			t.Fatal(err)
		}
		quiet(50 * second) // three, whoever is the last to send one
	}
	t.Logf("%d frames, %d steps, %d checks, hash %x, %v", n.Frames, n.Steps, n.Checked, n.Hash, time.Since(start))
	return n
}

// Each topology, in both modes: what goes wrong leaves no trace once it is over.
func TestTrial(t *testing.T) {
	for _, topology := range Topologies {
		for _, trees := range []bool{true, false} {
			for seed := range uint64(*seedsFlag) {
				t.Run(fmt.Sprintf("%s/trees=%v/%d", topology, trees, seed), func(t *testing.T) {
					play(t, Config{Seed: seed, Topology: topology, Bridges: 10, Stations: 20, Streams: 60, Trees: trees}, 100)
				})
			}
		}
	}
}

// 100 bridges, 1,000 streams of which many do not fit. Without -large they only
// come and settle; with it there is a run of each topology and mode, with faults.
func TestLarge(t *testing.T) {
	if !*largeFlag {
		play(t, Config{Seed: 1, Topology: "random", Bridges: 100, Stations: 50, Streams: 1000, Trees: true}, 0)
		return
	}
	for _, topology := range Topologies {
		for _, trees := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s/trees=%v", topology, trees), func(t *testing.T) {
				play(t, Config{Seed: uint64(*seedsFlag), Topology: topology, Bridges: 100, Stations: 200, Streams: 1000, Trees: trees}, 500)
			})
		}
	}
}

// The same seed is the same run.
func TestRepeatable(t *testing.T) {
	run := func(seed uint64) *Network {
		return play(t, Config{Seed: seed, Topology: "random", Bridges: 6, Stations: 8, Streams: 20, Trees: true}, 50)
	}
	if a, b, c := run(1), run(1), run(2); a.Hash != b.Hash || a.Hash == c.Hash {
		t.Errorf("hashes %x, %x, of another seed %x", a.Hash, b.Hash, c.Hash)
	}
}
