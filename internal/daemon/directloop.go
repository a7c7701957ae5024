package daemon

import (
	"context"
	"sync"

	"tsnswitch"
	"tsnswitch/internal/link"
)

// direct makes a loop step its machine in the goroutine that brings an event,
// under a lock, so that a message is answered by the thread that the kernel woke
// for it. No queue, no other goroutine and no other thread have to do their part
// first. A goroutine of the loop's own waits for the deadlines.
//
// What a step does must not wait for anything that waits for the loop.
type direct struct {
	realtime int // SCHED_FIFO priority of the goroutine that waits; 0: none
	alarm    *link.Alarm

	mu      sync.Mutex
	begun   bool
	ended   bool
	early   []tsn.Event // before begun
	after   []tsn.Event // what the effects of a step brought about at once
	armed   tsn.Instant // what alarm waits for
	starved error       // why it is not real-time
}

// newDirectLoop is newLoop for a direct one.
func newDirectLoop(name string, m tsn.Machine, now func() tsn.Instant, do func(tsn.Effect), realtime int) *loop {
	l := newLoop(name, m, now, do)
	l.direct = &direct{realtime: realtime, alarm: link.NewAlarm(), armed: -1}
	return l
}

func (d *direct) call(f func()) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ended {
		return errLoopEnded
	}
	f()
	return nil
}

// deliver steps the machine with an event. Before run has begun there is nobody
// to carry out effects yet: events are kept.
func (l *loop) deliver(ev tsn.Event) {
	d := l.direct
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.ended:
		return
	case !d.begun:
		d.early = append(d.early, ev)
		return
	}
	l.stepAll(ev)
	if next := l.machine.Deadline(); next < d.armed {
		d.armed = next
		d.alarm.Ring()
	}
}

// stepAll steps with an event, then with those that its effects brought about:
// a Follow_Up leaves in the same breath as the Sync whose stamp it carries.
func (l *loop) stepAll(ev tsn.Event) {
	d := l.direct
	l.step(ev)
	for len(d.after) > 0 {
		next := d.after[0]
		d.after = append(d.after[:0], d.after[1:]...)
		l.step(next)
	}
}

func (l *loop) runDirect(ctx context.Context) {
	d := l.direct
	defer d.alarm.Close()
	if d.realtime > 0 {
		err := link.RealtimeThread(d.realtime)
		d.mu.Lock()
		d.starved = err
		d.mu.Unlock()
		d.alarm.Block(err == nil)
	}
	stop := context.AfterFunc(ctx, d.alarm.Ring)
	defer stop()
	for ctx.Err() == nil {
		d.alarm.Wait(l.until(l.due()))
	}
	d.mu.Lock()
	d.ended = true
	d.mu.Unlock()
}

// due does what is due, and returns the next deadline.
func (l *loop) due() tsn.Instant {
	d := l.direct
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.begun {
		d.begun = true
		for _, ev := range d.early {
			l.stepAll(ev)
		}
		d.early = nil
	}
	if now := l.now(); l.machine.Deadline() <= now {
		l.stepAll(tsn.Timeout{})
	}
	d.armed = l.machine.Deadline()
	return d.armed
}
