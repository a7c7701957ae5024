package daemon

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"tsnswitch"
	"tsnswitch/internal/record"
)

// loopQueue is how many events may wait for a machine. Frames beyond it are
// dropped and counted; everything else waits.
const loopQueue = 1024

// errLoopEnded is returned to callers of a loop that has shut down.
var errLoopEnded = errors.New("the daemon is shutting down")

// A loop drives one Machine with real time. Everything that touches the machine
// is done by one goroutine at a time: events, and functions given to call.
//
// That is the loop's own goroutine, to which events queue up; or, in a direct
// loop (directloop.go), the one that brings the event.
type loop struct {
	name    string
	machine tsn.Machine
	now     func() tsn.Instant
	do      func(tsn.Effect)
	record  *record.Recorder             // nil: not recording
	after   func(tsn.Instant, tsn.Event) // called after each step, nil: not
	last    tsn.Event                    // given to the machine when the loop ends, nil: none

	events chan tsn.Event
	calls  chan func()
	done   chan struct{}

	direct *direct // nil: events queue up

	dropped atomic.Uint64 // frames that found the queue full
	steps   atomic.Uint64
}

func newLoop(name string, m tsn.Machine, now func() tsn.Instant, do func(tsn.Effect)) *loop {
	return &loop{
		name: name, machine: m, now: now, do: do,
		events: make(chan tsn.Event, loopQueue), calls: make(chan func()), done: make(chan struct{}),
	}
}

// run steps the machine until ctx ends.
func (l *loop) run(ctx context.Context) {
	defer close(l.done)
	if l.direct != nil {
		l.runDirect(ctx)
		return
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	armed := tsn.Instant(-1) // the deadline the timer is set to
	for {
		// Reading the clock is dear on a guest; most events move no deadline.
		if d := l.machine.Deadline(); d != armed {
			armed = d
			timer.Reset(l.until(d))
		}
		select {
		case <-ctx.Done():
			if l.last != nil {
				l.step(l.last)
			}
			return
		case ev := <-l.events:
			l.step(ev)
		case f := <-l.calls:
			f()
		case <-timer.C:
			armed = -1
			l.step(tsn.Timeout{})
		}
	}
}

func (l *loop) until(deadline tsn.Instant) time.Duration {
	if deadline == tsn.Never {
		return time.Hour
	}
	return time.Duration(max(deadline.Sub(l.now()), 0))
}

// step runs one event and carries out its effects; only one goroutine at a time
// calls it.
func (l *loop) step(ev tsn.Event) []tsn.Effect {
	now := l.now()
	if l.record != nil {
		l.record.Record(now, ev)
	}
	effects := l.machine.Step(now, ev)
	l.steps.Add(1)
	for _, e := range effects {
		l.do(e)
	}
	if l.after != nil {
		l.after(now, ev)
	}
	return effects
}

// post queues an event. A frame that finds the queue full is dropped and
// counted, as any switch would; other events wait for room.
func (l *loop) post(ev tsn.Event) {
	if l.direct != nil {
		l.deliver(ev)
		return
	}
	select {
	case l.events <- ev:
		return
	default:
	}
	if _, frame := ev.(tsn.Received); frame {
		l.dropped.Add(1)
		return
	}
	select {
	case l.events <- ev:
	case <-l.done:
	}
}

// call runs f between two steps: for queries of the machine.
func (l *loop) call(ctx context.Context, f func()) error {
	if l.direct != nil {
		return l.direct.call(f)
	}
	finished := make(chan struct{})
	select {
	case l.calls <- func() { defer close(finished); f() }:
	case <-l.done:
		return errLoopEnded
	case <-ctx.Done():
		return fmt.Errorf("%s loop is busy: %w", l.name, ctx.Err())
	}
	select {
	case <-finished:
		return nil
	case <-l.done:
		return errLoopEnded
	}
}
