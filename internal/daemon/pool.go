package daemon

import (
	"sync"
	"sync/atomic"
)

// onAllCores runs f(0) to f(n-1), each once, on as many cores as there are,
// and returns when all have returned. It is the spb.Config.Parallel of a
// daemon: cores may start no goroutine of their own.
func onAllCores(n int, f func(int)) {
	workers := min(n, processors)
	if workers <= 1 {
		for k := range n {
			f(k)
		}
		return
	}
	var next atomic.Int64
	var group sync.WaitGroup
	for range workers {
		group.Go(func() {
			for k := next.Add(1) - 1; k < int64(n); k = next.Add(1) - 1 {
				f(int(k))
			}
		})
	}
	group.Wait()
}
