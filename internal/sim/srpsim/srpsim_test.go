package srpsim

import (
	"flag"
	"fmt"
	"testing"
	"time"
)

var seedsFlag = flag.Int("seeds", 1, "runs of TestTrial for each topology and mode")

// play lets a network begin, settle, be disturbed by so many events, and settle again.
func play(t *testing.T, c Config, events int) *Network {
	t.Helper()
	start := time.Now()
	n := New(c)
	n.Begin(2 * second)
	quiet := func() {
		err := n.Run(50 * second)
		var v Verdict
		if err == nil {
			v, err = n.CheckSettled()
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%v: %s", n.Now, v)
	}
	quiet()
	if events > 0 {
		n.Disturb(60*second, events, 50, 20)
		if err := n.Run(60 * second); err != nil {
			t.Fatal(err)
		}
		quiet()
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

// The same seed is the same run.
func TestRepeatable(t *testing.T) {
	run := func(seed uint64) *Network {
		return play(t, Config{Seed: seed, Topology: "random", Bridges: 6, Stations: 8, Streams: 20, Trees: true}, 50)
	}
	if a, b, c := run(1), run(1), run(2); a.Hash != b.Hash || a.Hash == c.Hash {
		t.Errorf("hashes %x, %x, of another seed %x", a.Hash, b.Hash, c.Hash)
	}
}
