package uml

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// pin gives the calling thread, and who it starts, one processor, for which no
// other guest has asked if there is one. The kernel and its programs take turns: on
// two processors each turn wakes an idle one, and takes several times as long. undo
// gives the thread back what it had, release the processor.
func pin() (undo, release func()) {
	nothing := func() {}
	var all unix.CPUSet
	if unix.SchedGetaffinity(0, &all) != nil || all.Count() < 2 {
		return nothing, nothing
	}
	for cpu := range len(all) * 64 {
		if !all.IsSet(cpu) {
			continue
		}
		f, err := os.OpenFile(filepath.Join(os.TempDir(), fmt.Sprintf("tsn-uml.cpu%d", cpu)), os.O_RDONLY|os.O_CREATE, 0o644)
		if err != nil {
			continue
		}
		if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil {
			f.Close()
			continue
		}
		var one unix.CPUSet
		one.Set(cpu)
		if unix.SchedSetaffinity(0, &one) != nil {
			f.Close()
			continue
		}
		return func() { _ = unix.SchedSetaffinity(0, &all) }, func() { f.Close() }
	}
	return nothing, nothing // as many guests as processors: the scheduler shares them out
}
