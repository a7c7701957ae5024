package daemon

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"tsnswitch"
	"tsnswitch/internal/api"
)

// A change ends when the kernel holds the last wish and nobody is waited for;
// computations in between prolong it.
func TestConvergence(t *testing.T) {
	const ms = 1_000_000
	c := newConvergence()
	c.look(0, false)
	if c.view() != (api.Convergence{}) {
		t.Errorf("before any change: %+v", c.view())
	}
	c.changed(10 * ms)
	c.wanted = 1
	c.look(12*ms, true)
	c.applied = 1
	c.look(13*ms, true) // neighbours have not agreed
	c.changed(14 * ms)
	c.wanted = 2
	c.look(15*ms, false) // the kernel has not got it
	c.applied = 2
	c.look(17*ms, false)
	c.look(99*ms, false) // over
	if want := (api.Convergence{Changes: 1, Last: 7 * ms, Max: 7 * ms}); c.view() != want {
		t.Errorf("%+v, want %+v", c.view(), want)
	}
	c.changed(tsn.Instant(200e9))
	c.look(tsn.Instant(200e9), false)
	c.changed(tsn.Instant(300e9))
	c.look(tsn.Instant(400e9), false)
	if want := (api.Convergence{Changes: 3, Last: 100e9, Max: 100e9}); c.view() != want {
		t.Errorf("%+v, want %+v", c.view(), want)
	}
	r := prometheus.NewRegistry()
	if err := r.Register(collectFunc(c.collect)); err != nil {
		t.Fatal(err)
	}
	families, err := r.Gather()
	if err != nil || len(families) != 1 || families[0].GetName() != "tsnswitch_spb_convergence_seconds" {
		t.Fatalf("%v, %v", families, err)
	}
	h := families[0].GetMetric()[0].GetHistogram()
	if h.GetSampleCount() != 3 || h.GetSampleSum() != 100.007 {
		t.Errorf("%v", h)
	}
	for _, b := range h.GetBucket() {
		want := uint64(2) // 0 and 7 ms; 100 s are beyond the last bound
		if b.GetUpperBound() < 0.007 {
			want = 1
		}
		if b.GetCumulativeCount() != want {
			t.Errorf("up to %v s: %d, want %d", b.GetUpperBound(), b.GetCumulativeCount(), want)
		}
	}
}

type collectFunc func(chan<- prometheus.Metric)

func (collectFunc) Describe(chan<- *prometheus.Desc) {}

func (f collectFunc) Collect(out chan<- prometheus.Metric) { f(out) }
