package link

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"
)

// RealtimeThread binds the calling goroutine to its thread for good and gives
// the thread SCHED_FIFO with a priority of 1..99. It is meant for the loop
// that answers Pdelay requests: a delay of a few hundred milliseconds on a
// loaded machine makes neighbours give up on us (802.1AS-2020 B.2 allows a
// turnaround of 10 ms).
func RealtimeThread(priority int) error {
	if priority < 1 || priority > 99 {
		return fmt.Errorf("SCHED_FIFO priority %d is outside 1..99", priority)
	}
	runtime.LockOSThread()
	attr := unix.SchedAttr{Policy: unix.SCHED_FIFO, Priority: uint32(priority)}
	if err := unix.SchedSetAttr(0, &attr, 0); err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("set SCHED_FIFO priority %d (needs CAP_SYS_NICE): %w", priority, err)
	}
	return nil
}

// LockMemory keeps every page that this process has touched, or will, in memory.
// Pages that it only reserved stay unused: the runtime reserves far more than
// it needs, and locking that would make it resident.
func LockMemory() error {
	if err := unix.Mlockall(unix.MCL_CURRENT | unix.MCL_FUTURE | unix.MCL_ONFAULT); err != nil {
		return fmt.Errorf("lock memory (needs CAP_IPC_LOCK): %w", err)
	}
	return nil
}

// RaiseThreads gives every thread that this process has that nice value; threads
// made later have that of the one that made them.
func RaiseThreads(nice int) error {
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return fmt.Errorf("list own threads: %w", err)
	}
	for _, t := range tasks {
		id, err := strconv.Atoi(t.Name())
		if err != nil {
			continue
		}
		if err := unix.Setpriority(unix.PRIO_PROCESS, id, nice); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("set nice value %d (needs CAP_SYS_NICE): %w", nice, err)
		}
	}
	return nil
}
