package daemon

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tsnswitch"
)

// An echoing is a machine that repeats what it is given and counts deadlines.
type echoing struct {
	got      []tsn.Event
	deadline tsn.Instant
	timeouts []tsn.Instant
}

func (c *echoing) Step(now tsn.Instant, ev tsn.Event) []tsn.Effect {
	if _, ok := ev.(tsn.Timeout); ok {
		if now >= c.deadline {
			c.timeouts = append(c.timeouts, now)
			c.deadline = tsn.Never
		}
		return nil
	}
	c.got = append(c.got, ev)
	return []tsn.Effect{ev}
}

func (c *echoing) Deadline() tsn.Instant { return c.deadline }

// newTestLoop is a loop in bubble time whose effects are kept.
func newTestLoop() (l *loop, m *echoing, done *[]tsn.Effect) {
	start := time.Now()
	m, done = &echoing{deadline: tsn.Never}, &[]tsn.Effect{}
	now := func() tsn.Instant { return tsn.Instant(time.Since(start)) }
	l = newLoop("test", m, now, func(e tsn.Effect) { *done = append(*done, e) })
	return l, m, done
}

func start(t *testing.T, l *loop) {
	ctx, cancel := context.WithCancel(context.Background())
	go l.run(ctx)
	t.Cleanup(func() { cancel(); <-l.done })
}

// A full queue drops frames, counted, and nothing else.
func TestLoopQueueFull(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l, m, _ := newTestLoop()
		for range loopQueue + 7 {
			l.post(tsn.Received{Port: 1})
		}
		if n := l.dropped.Load(); n != 7 {
			t.Errorf("%d dropped", n)
		}
		posted := make(chan struct{})
		go func() { defer close(posted); l.post(tsn.LinkChanged{Port: 2, Up: true}) }()
		synctest.Wait()
		select {
		case <-posted:
			t.Fatal("found room in a full queue")
		default:
		}
		start(t, l)
		<-posted
		synctest.Wait()
		if len(m.got) != loopQueue+1 || m.got[loopQueue] != tsn.Event(tsn.LinkChanged{Port: 2, Up: true}) {
			t.Errorf("%d events", len(m.got))
		}
	})
}

// A call runs between two steps, and effects are carried out with the step.
func TestLoopCall(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l, _, done := newTestLoop()
		start(t, l)
		err := l.call(t.Context(), func() {
			if e := l.step(tsn.LinkChanged{Port: 3}); len(e) != 1 || len(*done) != 1 {
				t.Errorf("%v, carried out %v", e, *done)
			}
		})
		if err != nil || l.steps.Load() != 1 {
			t.Errorf("%v, %d steps", err, l.steps.Load())
		}
	})
}

// Calls end with their context, or with the loop.
func TestLoopCallEnds(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l, _, _ := newTestLoop()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := l.call(ctx, func() {}); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "test loop is busy") {
			t.Errorf("%v", err)
		}
		ended, end := context.WithCancel(context.Background())
		end()
		l.run(ended)
		if err := l.call(t.Context(), func() { t.Error("called") }); !errors.Is(err, errLoopEnded) {
			t.Errorf("%v", err)
		}
		for range loopQueue + 1 {
			l.post(tsn.LinkChanged{}) // must not wait for a loop that is gone
		}
	})
}

// A machine is stepped at its deadline, also one that an event moved nearer.
func TestLoopDeadline(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l, m, _ := newTestLoop()
		m.deadline = tsn.Instant(time.Minute)
		start(t, l)
		time.Sleep(10 * time.Second)
		if err := l.call(t.Context(), func() { m.deadline = tsn.Instant(20 * time.Second) }); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		if want := []tsn.Instant{tsn.Instant(20 * time.Second)}; !slices.Equal(m.timeouts, want) {
			t.Errorf("timeouts at %v", m.timeouts)
		}
	})
}

// The last event is given to the machine when the loop ends, and carried out.
func TestLoopLast(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l, m, done := newTestLoop()
		l.last = tsn.LinkChanged{Port: 9}
		ended, end := context.WithCancel(context.Background())
		end()
		l.run(ended)
		if len(m.got) != 1 || m.got[0] != l.last || len(*done) != 1 {
			t.Errorf("got %v, carried out %v", m.got, *done)
		}
	})
}
