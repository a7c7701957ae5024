package daemon

import (
	"slices"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"tsnswitch"
	"tsnswitch/internal/api"
)

// convergence measures how long this bridge needs: from a path computation
// until the neighbours have agreed and the kernel holds all that is wanted.
// Computations in between belong to the same change. How long the news took to
// get here, and SPF's own hold-down before, are not in it.
//
// begin, wanted and applied belong to the control loop.
type convergence struct {
	begin           tsn.Instant // of the change that is not over; Never: none
	wanted, applied uint64      // generations of spb.Forwarding

	mu      sync.Mutex
	count   uint64
	sum     int64
	last    int64
	max     int64
	buckets [len(convergenceBounds)]uint64 // of durations up to the bound, not of longer ones
}

var convergenceBounds = [...]int64{1e6, 2e6, 5e6, 10e6, 20e6, 50e6, 100e6, 200e6, 500e6, 1e9, 2e9, 5e9, 10e9, 60e9}

func newConvergence() *convergence { return &convergence{begin: tsn.Never} }

// changed says that paths were computed.
func (c *convergence) changed(now tsn.Instant) { c.begin = min(c.begin, now) }

// look ends the change if nothing is left to do; pending is spb's agreement.
func (c *convergence) look(now tsn.Instant, pending bool) {
	if c.begin == tsn.Never || pending || c.applied < c.wanted {
		return
	}
	d := now.Sub(c.begin)
	c.begin = tsn.Never
	c.mu.Lock()
	defer c.mu.Unlock()
	c.count++
	c.sum += d
	c.last, c.max = d, max(c.max, d)
	if k := slices.IndexFunc(convergenceBounds[:], func(b int64) bool { return d <= b }); k >= 0 {
		c.buckets[k]++
	}
}

func (c *convergence) view() api.Convergence {
	c.mu.Lock()
	defer c.mu.Unlock()
	return api.Convergence{Changes: c.count, Last: c.last, Max: c.max}
}

func (c *convergence) collect(out chan<- prometheus.Metric) {
	c.mu.Lock()
	defer c.mu.Unlock()
	below := map[float64]uint64{}
	sum := uint64(0)
	for k, n := range c.buckets {
		sum += n
		below[float64(convergenceBounds[k])*1e-9] = sum
	}
	desc := prometheus.NewDesc("tsnswitch_spb_convergence_seconds",
		"From a path computation until neighbours have agreed and the kernel holds what is wanted.", nil, nil)
	out <- prometheus.MustNewConstHistogram(desc, c.count, float64(c.sum)*1e-9, below)
}
