package srpsim

import (
	"fmt"
	"testing"
	"time"
)

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

func TestSmall(t *testing.T) {
	for _, topology := range Topologies {
		for _, trees := range []bool{true, false} {
			for seed := range uint64(3) {
				t.Run(fmt.Sprintf("%s-%v-%d", topology, trees, seed), func(t *testing.T) {
					play(t, Config{Seed: seed, Topology: topology, Bridges: 10, Stations: 20, Streams: 60, Trees: trees}, 100)
				})
			}
		}
	}
}

func TestLarge(t *testing.T) {
	play(t, Config{Seed: 1, Topology: "random", Bridges: 100, Stations: 100, Streams: 1000, Trees: true}, 0)
}
