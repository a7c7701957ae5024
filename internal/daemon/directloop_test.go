package daemon

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"tsnswitch"
	"tsnswitch/internal/link"
)

// startDirect is a direct loop over an echoing machine, and its effects.
func startDirect(t *testing.T) (l *loop, m *echoing, done *[]tsn.Effect) {
	m, done = &echoing{deadline: tsn.Never}, &[]tsn.Effect{}
	return newDirectLoop("test", m, link.Now, func(e tsn.Effect) { *done = append(*done, e) }, 0), m, done
}

// Events of before the loop runs are kept, those of after it has ended are not.
// In between the effects are there when post returns.
func TestDirectLoop(t *testing.T) {
	l, m, done := startDirect(t)
	l.post(tsn.LinkChanged{Port: 1})
	if len(m.got) != 0 {
		t.Fatal("an event was handled before the loop ran")
	}
	ctx, cancel := context.WithCancel(t.Context())
	go l.run(ctx)
	begun := func() (v bool) {
		if err := l.call(ctx, func() { v = l.direct.begun }); err != nil {
			t.Fatal(err)
		}
		return v
	}
	for !begun() {
		time.Sleep(time.Millisecond)
	}
	l.post(tsn.LinkChanged{Port: 2})
	want := []tsn.Effect{tsn.LinkChanged{Port: 1}, tsn.LinkChanged{Port: 2}}
	if err := l.call(ctx, func() {
		if !slices.Equal(*done, want) {
			t.Errorf("effects %v", *done)
		}
	}); err != nil {
		t.Error(err)
	}
	cancel()
	<-l.done
	l.post(tsn.LinkChanged{Port: 3})
	if len(*done) != 2 {
		t.Error("an event was handled after the end")
	}
	if err := l.call(context.Background(), func() {}); !errors.Is(err, errLoopEnded) {
		t.Errorf("call after the end: %v", err)
	}
}

// A deadline that an event brings forward is met, on both kinds of alarm.
func TestDirectLoopDeadline(t *testing.T) {
	for _, blocking := range []bool{false, true} {
		l, m, _ := startDirect(t)
		l.direct.alarm.Block(blocking)
		fired := make(chan struct{})
		var once atomic.Bool
		l.machine = machineFunc{m, func(ev tsn.Event) {
			switch ev.(type) {
			case tsn.Timeout:
				if once.CompareAndSwap(false, true) {
					close(fired)
				}
			case tsn.LinkChanged:
				m.deadline = link.Now().Add(1_000_000)
			}
		}}
		ctx, cancel := context.WithCancel(t.Context())
		go l.run(ctx)
		l.post(tsn.LinkChanged{})
		<-fired
		cancel()
		<-l.done
	}
}

// machineFunc looks at the events of a machine.
type machineFunc struct {
	*echoing
	look func(tsn.Event)
}

func (m machineFunc) Step(now tsn.Instant, ev tsn.Event) []tsn.Effect {
	m.look(ev)
	return m.echoing.Step(now, ev)
}
