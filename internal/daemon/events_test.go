package daemon

import (
	"context"
	"errors"
	"strconv"
	"testing"
	"testing/synctest"

	"tsnswitch/internal/api"
)

// The ring keeps the last events, numbered without a gap; counts keep all.
func TestEventsRing(t *testing.T) {
	e := newEvents("b1")
	for i := range eventRing + 88 {
		e.add("tick", 1, strconv.Itoa(i))
	}
	got, _ := e.since(0)
	if len(got) != eventRing || got[0].Seq != 89 || got[0].Detail != "88" || got[len(got)-1].Seq != eventRing+88 {
		t.Errorf("%d events from %d", len(got), got[0].Seq)
	}
	if got, _ := e.since(eventRing + 88); len(got) != 1 {
		t.Errorf("%d events", len(got))
	}
	if n := e.totals()["tick"]; n != eventRing+88 {
		t.Errorf("%d counted", n)
	}
}

// A watcher from 0 sees only what is new, one from 1 all that is known, each
// event once and in order.
func TestEventsWatch(t *testing.T) {
	bubble(t, func(t *testing.T) {
		e := newEvents("b1")
		e.add("old", 0, "")
		ctx, cancel := context.WithCancel(t.Context())
		type seen struct {
			kinds []string
			err   error
		}
		watch := func(from uint64) <-chan seen {
			c := make(chan seen, 1)
			go func() {
				var s seen
				s.err = e.watch(ctx, from, func(ev api.Event) error { s.kinds = append(s.kinds, ev.Kind); return nil })
				c <- s
			}()
			return c
		}
		fresh, all := watch(0), watch(1)
		synctest.Wait()
		e.add("a", 0, "")
		e.add("b", 0, "")
		synctest.Wait()
		cancel()
		if s := <-fresh; len(s.kinds) != 2 || s.kinds[0] != "a" || !errors.Is(s.err, context.Canceled) {
			t.Errorf("%+v", s)
		}
		if s := <-all; len(s.kinds) != 3 || s.kinds[0] != "old" || s.kinds[2] != "b" {
			t.Errorf("%+v", s)
		}
		stop := errors.New("enough")
		if err := e.watch(t.Context(), 1, func(api.Event) error { return stop }); !errors.Is(err, stop) {
			t.Errorf("%v", err)
		}
	})
}
