package daemon

import (
	"sync/atomic"
	"testing"
)

func TestOnAllCores(t *testing.T) {
	for _, n := range []int{0, 1, 2, 3, 1000} {
		ran := make([]atomic.Int32, n)
		onAllCores(n, func(k int) { ran[k].Add(1) })
		for k := range ran {
			if got := ran[k].Load(); got != 1 {
				t.Errorf("n=%d: f(%d) ran %d times", n, k, got)
			}
		}
	}
}
