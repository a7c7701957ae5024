package link

import (
	"time"

	"golang.org/x/sys/unix"
)

// Alarm wakes one goroutine at a time, or when it is rung. A blocking one waits
// in the kernel, which then wakes the very thread: for RealtimeThread.
type Alarm struct {
	timer *time.Timer
	rung  chan struct{}
	bell  int // eventfd of a blocking one; -1
}

// NewAlarm is an alarm that does not block.
func NewAlarm() *Alarm {
	return &Alarm{timer: time.NewTimer(time.Hour), rung: make(chan struct{}, 1), bell: -1}
}

// Block makes the alarm a blocking one, if it can; it is to be called by the
// goroutine that waits, before it does.
func (a *Alarm) Block(v bool) {
	if !v {
		return
	}
	if bell, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err == nil {
		a.bell = bell
	}
}

// Wait returns after d or when it is rung, which may have been before.
func (a *Alarm) Wait(d time.Duration) {
	if a.bell >= 0 {
		t := unix.NsecToTimespec(int64(d))
		fds := []unix.PollFd{{Fd: int32(a.bell), Events: unix.POLLIN}}
		if n, _ := unix.Ppoll(fds, &t, nil); n > 0 { // EINTR: early, which is harmless
			var b [8]byte
			unix.Read(a.bell, b[:])
		}
		return
	}
	a.timer.Reset(d)
	select {
	case <-a.timer.C:
	case <-a.rung:
	}
}

// Ring ends the present Wait, or the next.
func (a *Alarm) Ring() {
	if a.bell >= 0 {
		one := [8]byte{7: 1}
		unix.Write(a.bell, one[:])
		return
	}
	select {
	case a.rung <- struct{}{}:
	default:
	}
}

// Close releases it when nobody waits any more.
func (a *Alarm) Close() {
	a.timer.Stop()
	if a.bell >= 0 {
		unix.Close(a.bell)
	}
}
