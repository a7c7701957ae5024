package spbsim

import (
	"container/heap"

	"tsnswitch"
)

// happening is something that happens at a time. Equal times happen in the
// order they were planned: same seed, same run.
type happening struct {
	at  tsn.Instant
	seq uint64
	run func()
}

type queue struct {
	items []happening
	seq   uint64
}

func (q *queue) Len() int { return len(q.items) }

func (q *queue) Less(i, j int) bool {
	a, b := &q.items[i], &q.items[j]
	return a.at < b.at || a.at == b.at && a.seq < b.seq
}

func (q *queue) Swap(i, j int) { q.items[i], q.items[j] = q.items[j], q.items[i] }
func (q *queue) Push(x any)    { q.items = append(q.items, x.(happening)) }

func (q *queue) Pop() any {
	last := len(q.items) - 1
	x := q.items[last]
	q.items[last] = happening{}
	q.items = q.items[:last]
	return x
}

func (q *queue) at(t tsn.Instant, run func()) {
	q.seq++
	heap.Push(q, happening{t, q.seq, run})
}

// next takes out what happens first, if that is not after until.
func (q *queue) next(until tsn.Instant) (happening, bool) {
	if len(q.items) == 0 || q.items[0].at > until {
		return happening{}, false
	}
	return heap.Pop(q).(happening), true
}
