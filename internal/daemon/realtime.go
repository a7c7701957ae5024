package daemon

import (
	"errors"
	"runtime"
	"runtime/debug"

	"tsnswitch/internal/link"
)

// The real-time option (gptp.realtime). Three things can keep a Pdelay_Req
// waiting that has arrived: another process has the processor; another goroutine
// of this one has the runtime's place on it; a page is not in memory.
//
//   - The goroutine of each gPTP port, which steps the machine itself (see direct),
//     and the one that waits for deadlines have threads with SCHED_FIFO, and wait
//     in the kernel.
//   - The runtime gets as many places (GOMAXPROCS) more than there are processors
//     as gPTP can use at a time. What computes uses one goroutine for each
//     processor, so that a thread which the kernel wakes finds a place.
//   - Memory is locked.
//
//   - The other threads are ordinary ones, but of high priority: a collection
//     stops the world for a moment, and who waits for a thread that another
//     process keeps from the processor waits with it.
//   - The garbage collector runs less often. The heap is a few MB.

// realtimePlaces is how many goroutines of gPTP can be at work at a time: they
// wait for each other's steps, so more than these gain nothing.
const realtimePlaces = 2

const (
	realtimeNice = -15 // of the ordinary threads
	realtimeGC   = 400 // percent of the live heap
)

// processors is how many there are for this process.
var processors = runtime.GOMAXPROCS(0)

// realtime does what concerns the whole process. A refusal costs the guarantee,
// not the daemon.
func (d *Daemon) realtime() {
	if d.cfg.GPTP.Realtime == 0 {
		return
	}
	makePlaces()
	if d.unlocked = errors.Join(link.LockMemory(), link.RaiseThreads(realtimeNice)); d.unlocked != nil {
		d.log.Warn("not real-time", "err", d.unlocked)
	}
}

func makePlaces() {
	runtime.GOMAXPROCS(processors + realtimePlaces)
	debug.SetGCPercent(realtimeGC)
}

// starved says what of the real-time option was refused, nil for nothing.
func (d *Daemon) starved() error {
	t := d.timing.direct
	t.mu.Lock()
	own := t.starved
	t.mu.Unlock()
	if own == nil {
		own = d.ports.Starved()
	}
	return errors.Join(d.unlocked, own)
}
