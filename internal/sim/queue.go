package sim

import (
	"container/heap"

	"tsnswitch"
)

// instant is virtual time: ns since the simulation began, the one true clock.
// A node sees it through its own oscillator.
type instant = tsn.Instant

// An item is something that happens at a time. Equal times happen in the
// order they were pushed: same seed, same run.
type item struct {
	at  instant
	seq uint64
	run func()
}

// A queue is the future of the simulation.
type queue struct {
	items []item
	seq   uint64
}

func (q *queue) Len() int { return len(q.items) }
func (q *queue) Less(i, j int) bool {
	a, b := q.items[i], q.items[j]
	return a.at < b.at || a.at == b.at && a.seq < b.seq
}
func (q *queue) Swap(i, j int) { q.items[i], q.items[j] = q.items[j], q.items[i] }
func (q *queue) Push(x any)    { q.items = append(q.items, x.(item)) }
func (q *queue) Pop() any {
	last := len(q.items) - 1
	it := q.items[last]
	q.items[last] = item{}
	q.items = q.items[:last]
	return it
}

func (q *queue) at(t instant, run func()) {
	q.seq++
	heap.Push(q, item{at: t, seq: q.seq, run: run})
}

func (q *queue) next() item { return heap.Pop(q).(item) }
