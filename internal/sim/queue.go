package sim

import (
	"container/heap"

	"tsnswitch"
)

// A timer is something that happens at a true time. Equal times happen in the
// order they were set: same seed, same run.
type timer struct {
	at    tsn.Instant
	seq   uint64
	index int // in the queue, -1 outside
	run   func()
}

func newTimer(run func()) *timer { return &timer{index: -1, run: run} }

// A queue is the future of the simulation. A timer is in it once at most, so
// that what waits is bounded by what exists.
type queue struct {
	items []*timer
	seq   uint64
}

func (q *queue) Len() int { return len(q.items) }

func (q *queue) Less(i, j int) bool {
	a, b := q.items[i], q.items[j]
	return a.at < b.at || a.at == b.at && a.seq < b.seq
}

func (q *queue) Swap(i, j int) {
	q.items[i], q.items[j] = q.items[j], q.items[i]
	q.items[i].index, q.items[j].index = i, j
}

func (q *queue) Push(x any) {
	t := x.(*timer)
	t.index = len(q.items)
	q.items = append(q.items, t)
}

func (q *queue) Pop() any {
	last := len(q.items) - 1
	t := q.items[last]
	q.items[last] = nil
	q.items = q.items[:last]
	t.index = -1
	return t
}

// set moves a timer to a time; Never takes it out. A timer that is already
// set to that time keeps its place.
func (q *queue) set(t *timer, at tsn.Instant) {
	switch {
	case at == tsn.Never && t.index >= 0:
		heap.Remove(q, t.index)
	case at == tsn.Never || t.index >= 0 && t.at == at:
	case t.index >= 0:
		q.seq++
		t.at, t.seq = at, q.seq
		heap.Fix(q, t.index)
	default:
		q.seq++
		t.at, t.seq = at, q.seq
		heap.Push(q, t)
	}
}

// at queues something that happens once.
func (q *queue) at(at tsn.Instant, run func()) { q.set(newTimer(run), at) }

// next takes out what is first, if that is not after until.
func (q *queue) next(until tsn.Instant) *timer {
	if len(q.items) == 0 || q.items[0].at > until {
		return nil
	}
	return heap.Pop(q).(*timer)
}
