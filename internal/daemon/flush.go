package daemon

import (
	"context"
	"maps"
	"slices"
	"sync"

	"tsnswitch"
	"tsnswitch/srp"
)

// A flusher makes the bridge forget what it has learned where MVRP heard a new
// declaration. Flushes that come while the kernel is busy are joined: a station
// that declares nothing but new ones costs one flush at a time.
type flusher struct {
	flush func(tsn.VID, []tsn.Port) error

	mu   sync.Mutex
	wait map[tsn.VID]map[tsn.Port]bool
	wake chan struct{}
}

func newFlusher(flush func(tsn.VID, []tsn.Port) error) *flusher {
	return &flusher{flush: flush, wait: map[tsn.VID]map[tsn.Port]bool{}, wake: make(chan struct{}, 1)}
}

// add does not wait.
func (f *flusher) add(e srp.FlushLearned) {
	f.mu.Lock()
	if f.wait[e.VID] == nil {
		f.wait[e.VID] = map[tsn.Port]bool{}
	}
	for _, p := range e.Ports {
		f.wait[e.VID][p] = true
	}
	f.mu.Unlock()
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// run flushes until ctx ends; failed is told what the kernel refused.
func (f *flusher) run(ctx context.Context, failed func(error)) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-f.wake:
		}
		f.mu.Lock()
		due := f.wait
		f.wait = map[tsn.VID]map[tsn.Port]bool{}
		f.mu.Unlock()
		for _, v := range slices.Sorted(maps.Keys(due)) {
			if err := f.flush(v, slices.Sorted(maps.Keys(due[v]))); err != nil {
				failed(err)
			}
		}
	}
}

// keepFlushing is the daemon's. What is not flushed ages, as it would without MVRP.
func (d *Daemon) keepFlushing(ctx context.Context) {
	d.flusher.run(ctx, func(err error) { d.log.Debug("learned addresses stay", "err", err) })
}
