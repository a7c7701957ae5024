package spbsim

import (
	"bufio"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
)

var (
	seedFlag  = flag.Uint64("seed", 0, "play this one seed of TestSeed and print its trace")
	boardFlag = flag.String("board", "software", "board of TestSeed")
	seedsFlag = flag.Int("seeds", 0, "how many seeds the soak plays on each board")
	stopFlag  = flag.Bool("stop", false, "end the soak at the first failure")
	fromFlag  = flag.Uint64("from", 1, "first seed of the soak, on top of each board's own")
)

const size = 8

func play(seed uint64, board string, trace io.Writer) (*Scenario, error) {
	s := NewScenario(seed, board, size, trace)
	s.Play()
	if v := s.Violations(); len(v) > 0 {
		return s, fmt.Errorf("%v", v[0])
	}
	if err := s.Settled(); err != nil {
		return s, fmt.Errorf("not settled after %d s: %w", Settle/second, err)
	}
	return s, nil
}

// soak plays seeds from first on.
func soak(t *testing.T, board string, first uint64) {
	seeds := *seedsFlag
	if seeds == 0 {
		if seeds = 60; testing.Short() {
			seeds = 20
		}
	}
	var c Counts
	var circling, settled int64
	bad := 0
	for k := range uint64(seeds) {
		seed := first + *fromFlag + k
		s, err := play(seed, board, nil)
		if err != nil {
			bad++
			t.Errorf("%v\n\tgo test ./internal/sim/spbsim -run 'TestSeed$' -seed %d -board %s -v  # hash %016x", err, seed, board, s.Hash())
			if bad == 10 || *stopFlag {
				t.FailNow()
			}
		}
		c.Steps += s.Counts.Steps
		c.Writes += s.Counts.Writes
		c.Checks += s.Counts.Checks
		c.Probes += s.Counts.Probes
		c.Circled += s.Counts.Circled
		circling += s.Circling()
		settled = max(settled, s.Counts.LastWrite.Sub(s.Calm))
	}
	t.Logf("%s: %d seeds, %d steps, %d kernel writes, %d checks, %d probes; last kernel write %.1f s after the last fault; unicast could circle for %.1f ms, %d probes did",
		board, seeds, c.Steps, c.Writes, c.Checks, c.Probes, float64(settled)/1e9, float64(circling)/1e6, c.Circled)
}

func TestSoftware(t *testing.T)  { soak(t, "software", 0) }
func TestFelix(t *testing.T)     { soak(t, "felix", 1000000) }
func TestLAN966x(t *testing.T)   { soak(t, "lan966x", 2000000) }
func TestMV88E6xxx(t *testing.T) { soak(t, "mv88e6xxx", 3000000) }
func TestMixed(t *testing.T)     { soak(t, "mixed", 4000000) }

// TestReplay: the same seed does the same, and the trace does not disturb it.
func TestReplay(t *testing.T) {
	var trace strings.Builder
	a, errA := play(7, "mixed", nil)
	b, errB := play(7, "mixed", &trace)
	if a.Hash() != b.Hash() || a.Counts != b.Counts || fmt.Sprint(errA) != fmt.Sprint(errB) {
		t.Errorf("hash %016x and %016x, %+v and %+v", a.Hash(), b.Hash(), a.Counts, b.Counts)
	}
	if c, _ := play(8, "mixed", nil); c.Hash() == a.Hash() {
		t.Error("another seed does the same")
	}
	if !strings.Contains(trace.String(), "bridge fdb replace") || !strings.Contains(trace.String(), "IIH") {
		t.Error("the trace has no kernel writes or no hellos in it")
	}
}

// TestSeed plays one seed and prints everything that happens.
func TestSeed(t *testing.T) {
	if *seedFlag == 0 {
		t.Skip("give a -seed")
	}
	w := bufio.NewWriter(os.Stdout)
	s, err := play(*seedFlag, *boardFlag, w)
	w.Flush()
	for _, v := range s.Violations() {
		t.Error(v)
	}
	if err != nil {
		t.Error(err)
	}
	t.Logf("%d bridges, %d links, hash %016x, %+v", len(s.Nodes), len(s.Links), s.Hash(), s.Counts)
}
