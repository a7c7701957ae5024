package srpsim

import (
	"fmt"
	"testing"
)

// settles runs until all is as it should be and returns how long that took, in
// steps of 100 ms; it gives up after ten seconds.
func (n *Network) settles(t *testing.T) (took int64, v Verdict) {
	t.Helper()
	for ; took < 10*second; took += 100 * ms {
		if err := n.Run(100 * ms); err != nil {
			t.Fatal(err)
		}
		v, err := n.CheckSettled()
		if err == nil {
			return took + 100*ms, v
		}
		n.err = nil
	}
	t.Fatal("it does not settle")
	return took, v
}

// A ring loses a link and gets it back: streams move to the other way and back,
// though it is longer, and none is lost for that.
func TestCut(t *testing.T) {
	for _, trees := range []bool{true, false} {
		for seed := range uint64(4) {
			t.Run(fmt.Sprintf("trees=%v/%d", trees, seed), func(t *testing.T) {
				n := New(Config{Seed: seed, Topology: "ring", Bridges: 6, Stations: 12, Streams: 8, Trees: trees})
				for _, l := range n.links {
					l.rate = rates[len(rates)-1]
				}
				for _, b := range n.bridges() {
					n.restart(b)
				}
				n.Begin(second)
				if err := n.Run(5 * second); err != nil {
					t.Fatal(err)
				}
				l := n.links[n.rand.IntN(6)]
				for _, up := range []bool{false, true} {
					n.setLink(l, up)
					took, v := n.settles(t)
					if t.Logf("link up %v: %d ms, %s", up, took/ms, v); v.Total() > 0 || v.Unreachable > 0 {
						t.Error("there is room for all")
					}
				}
			})
		}
	}
}

// A bridge that forgets everything beside others that do not: all is as before
// within a second, and no registration of the others has ended meanwhile.
func TestRestart(t *testing.T) {
	for _, trees := range []bool{true, false} {
		t.Run(fmt.Sprintf("trees=%v", trees), func(t *testing.T) {
			n := New(Config{Seed: 3, Topology: "line", Bridges: 3, Stations: 6, Streams: 6, Trees: trees})
			n.Begin(second)
			if err := n.Run(5 * second); err != nil {
				t.Fatal(err)
			}
			released := func() (sum uint64) {
				for _, b := range n.bridges() {
					sum += b.bridge.MSRPCounters().Released
				}
				return sum
			}
			b := n.bridges()[1]
			before := released() - b.bridge.MSRPCounters().Released
			n.restart(b)
			took, v := n.settles(t)
			if err := n.Run(2 * second); err != nil { // longer than a LeaveTime
				t.Fatal(err)
			}
			if t.Logf("%d ms, %s", took/ms, v); took > second || released() != before {
				t.Errorf("after %d ms, %d reservations were released and made again", took/ms, released()-before)
			}
		})
	}
}
