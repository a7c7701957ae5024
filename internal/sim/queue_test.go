package sim

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"tsnswitch"
)

// The queue against a list: what is first comes first, equal times in the
// order they were set, a moved timer once, a removed one never.
func TestQueue(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		type entry struct {
			at    tsn.Instant
			order int
		}
		var q queue
		var got, want []string
		timers := make([]*timer, 6)
		model := make([]entry, len(timers)) // order 0: not set
		for i := range timers {
			timers[i] = newTimer(func() { got = append(got, fmt.Sprint(i)) })
		}
		for step := 1; step <= 40; step++ {
			i := rapid.IntRange(0, len(timers)-1).Draw(t, "timer")
			at := tsn.Instant(rapid.IntRange(0, 5).Draw(t, "at"))
			if at == 5 {
				q.set(timers[i], tsn.Never)
				model[i] = entry{}
			} else {
				q.set(timers[i], at)
				if model[i].order == 0 || model[i].at != at {
					model[i] = entry{at, step}
				}
			}
		}
		set := 0
		order := []int{0, 1, 2, 3, 4, 5}
		slices.SortFunc(order, func(a, b int) int {
			if d := int(model[a].at - model[b].at); d != 0 {
				return d
			}
			return model[a].order - model[b].order
		})
		for _, i := range order {
			if model[i].order > 0 {
				set++
				want = append(want, fmt.Sprint(i))
			}
		}
		if q.Len() != set {
			t.Fatalf("%d in the queue, want %d", q.Len(), set)
		}
		for tm := q.next(10); tm != nil; tm = q.next(10) {
			tm.run()
		}
		if !slices.Equal(got, want) {
			t.Fatalf("got %v, want %v", got, want)
		}
	})
}
