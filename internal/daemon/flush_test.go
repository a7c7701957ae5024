package daemon

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"

	"tsnswitch"
	"tsnswitch/srp"
)

// Flushes that come while one is under way are one, and a refused one is told of.
func TestFlusher(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		busy := make(chan struct{})
		var done []string
		f := newFlusher(func(v tsn.VID, ports []tsn.Port) error {
			done = append(done, fmt.Sprint(v, ports))
			<-busy
			return errors.New("refused")
		})
		ctx, cancel := context.WithCancel(t.Context())
		failed := 0
		go f.run(ctx, func(error) { failed++ })
		f.add(srp.FlushLearned{VID: 5, Ports: []tsn.Port{1, 2}})
		synctest.Wait()
		for range 100 {
			f.add(srp.FlushLearned{VID: 6, Ports: []tsn.Port{3}})
			f.add(srp.FlushLearned{VID: 5, Ports: []tsn.Port{2, 1}})
			f.add(srp.FlushLearned{VID: 5, Ports: []tsn.Port{3}})
		}
		close(busy)
		synctest.Wait()
		if want := []string{"5 [1 2]", "5 [1 2 3]", "6 [3]"}; !slices.Equal(done, want) || failed != 3 {
			t.Errorf("flushed %v, want %v; %d refused", done, want, failed)
		}
		cancel()
	})
}
