package link

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"tsnswitch"
)

// waiter is what the goroutine of a gPTP port sleeps on: its sockets, a bell that
// others ring, and a time limit. It is an epoll
// instance, waited for in one of two ways:
//
//   - by the runtime's poller, as any connection. A sleeping port then costs
//     nothing; one that sleeps in a system call of its own has the runtime look
//     after it up to 60 times each time.
//   - in the system call, on a real-time thread: the kernel then wakes this
//     very thread, and no other has to run first.
type waiter struct {
	epoll    *os.File
	conn     syscall.RawConn
	bell     int // eventfd
	blocking bool
	limit    tsn.Instant // of the poller
}

func newWaiter() (*waiter, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll: %w", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil { // os.NewFile then uses the poller
		unix.Close(fd)
		return nil, fmt.Errorf("epoll: %w", err)
	}
	w := &waiter{epoll: os.NewFile(uintptr(fd), "epoll"), limit: tsn.Never}
	if w.conn, err = w.epoll.SyscallConn(); err == nil {
		w.bell, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	}
	if err == nil {
		err = w.add(w.bell, unix.EPOLLIN)
	}
	if err != nil {
		w.epoll.Close()
		return nil, fmt.Errorf("epoll: %w", err)
	}
	return w, nil
}

func (w *waiter) close() {
	w.epoll.Close()
	unix.Close(w.bell)
}

// add waits for events of one more descriptor, until that is removed or closed.
func (w *waiter) add(fd int, events uint32) error {
	return w.control(unix.EPOLL_CTL_ADD, fd, events)
}

func (w *waiter) remove(fd int) error { return w.control(unix.EPOLL_CTL_DEL, fd, 0) }

func (w *waiter) control(op, fd int, events uint32) (err error) {
	cerr := w.conn.Control(func(epfd uintptr) {
		err = unix.EpollCtl(int(epfd), op, fd, &unix.EpollEvent{Events: events, Fd: int32(fd)})
	})
	return errors.Join(cerr, err)
}

// ring ends a wait.
func (w *waiter) ring() {
	one := [8]byte{7: 1}
	unix.Write(w.bell, one[:]) // full counter: the waiter is awake anyway
}

// wait sleeps until something happens or the limit has come, and says what did.
func (w *waiter) wait(events []unix.EpollEvent, limit tsn.Instant) (n int, err error) {
	if w.blocking {
		return w.block(events, limit)
	}
	if limit != w.limit {
		w.limit = limit
		var t time.Time
		if limit != tsn.Never {
			t = time.Now().Add(time.Duration(limit.Sub(Now())))
		}
		if err := w.epoll.SetReadDeadline(t); err != nil {
			return 0, err
		}
	}
	cerr := w.conn.Read(func(epfd uintptr) bool {
		n, err = unix.EpollWait(int(epfd), events, 0)
		return n != 0 && !errors.Is(err, unix.EINTR)
	})
	if errors.Is(cerr, os.ErrDeadlineExceeded) {
		return 0, nil
	}
	return max(n, 0), errors.Join(cerr, err)
}

func (w *waiter) block(events []unix.EpollEvent, limit tsn.Instant) (n int, err error) {
	ms := -1
	if limit != tsn.Never {
		ms = int(max(limit.Sub(Now()), 0)/1_000_000) + 1
	}
	cerr := w.conn.Control(func(epfd uintptr) { n, err = unix.EpollWait(int(epfd), events, ms) })
	if errors.Is(err, unix.EINTR) {
		err = nil
	}
	return max(n, 0), errors.Join(cerr, err)
}
