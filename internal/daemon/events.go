package daemon

import (
	"context"
	"sync"
	"time"

	"tsnswitch"
	"tsnswitch/internal/api"
)

// eventRing is how many past events a watcher can still ask for.
const eventRing = 512

// events is the log of occurrences that people and programs watch.
type events struct {
	node string

	mu     sync.Mutex
	next   uint64 // sequence number of the next event, from 1
	ring   []api.Event
	counts map[string]uint64
	more   chan struct{} // closed and replaced when something happens
}

func newEvents(node string) *events {
	return &events{node: node, next: 1, counts: map[string]uint64{}, more: make(chan struct{})}
}

// add notes an occurrence.
func (e *events) add(kind string, port tsn.Port, detail string) api.Event {
	return e.put(api.Event{Kind: kind, Port: port, Detail: detail})
}

// put numbers, dates and keeps an event, and returns it so.
func (e *events) put(ev api.Event) api.Event {
	e.mu.Lock()
	defer e.mu.Unlock()
	ev.Seq, ev.Time, ev.Node = e.next, time.Now().UnixNano(), e.node
	e.counts[ev.Kind]++
	e.ring = append(e.ring, ev)
	e.next++
	if len(e.ring) > eventRing {
		e.ring = append(e.ring[:0:0], e.ring[len(e.ring)-eventRing:]...)
	}
	close(e.more)
	e.more = make(chan struct{})
	return ev
}

// count counts an occurrence that is not kept.
func (e *events) count(kind string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.counts[kind]++
}

// since returns the events from seq on that are still known, and a channel
// that is closed when there are more.
func (e *events) since(seq uint64) ([]api.Event, <-chan struct{}) {
	e.mu.Lock()
	defer e.mu.Unlock()
	var out []api.Event
	for _, ev := range e.ring {
		if ev.Seq >= seq {
			out = append(out, ev)
		}
	}
	return out, e.more
}

// watch emits events from seq on (0: only new ones) until ctx or emit ends it.
func (e *events) watch(ctx context.Context, seq uint64, emit func(api.Event) error) error {
	if seq == 0 {
		e.mu.Lock()
		seq = e.next
		e.mu.Unlock()
	}
	for {
		batch, more := e.since(seq)
		for _, ev := range batch {
			if err := emit(ev); err != nil {
				return err
			}
			seq = ev.Seq + 1
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-more:
		}
	}
}

// totals returns how often each kind happened.
func (e *events) totals() map[string]uint64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	out := make(map[string]uint64, len(e.counts))
	for k, v := range e.counts {
		out[k] = v
	}
	return out
}
