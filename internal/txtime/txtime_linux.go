package txtime

import (
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// linux/net_tstamp.h
const (
	flagDeadline = 1 << 0 // SOF_TXTIME_DEADLINE_MODE
	flagReport   = 1 << 1 // SOF_TXTIME_REPORT_ERRORS
)

// Enable makes every frame that is sent on a socket need a launch time. deadline
// has to be what the class's etf says. Without the right to it (CAP_NET_ADMIN) or
// where the kernel does not know launch times, the error says so.
func Enable(fd int, deadline bool) error {
	var b [8]byte // struct sock_txtime
	flags := uint32(flagReport)
	if deadline {
		flags |= flagDeadline
	}
	binary.NativeEndian.PutUint32(b[:], unix.CLOCK_TAI)
	binary.NativeEndian.PutUint32(b[4:], flags)
	switch err := unix.SetsockoptString(fd, unix.SOL_SOCKET, unix.SO_TXTIME, string(b[:])); {
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("launch times (SO_TXTIME): they need CAP_NET_ADMIN: %w", err)
	case err != nil:
		return fmt.Errorf("launch times (SO_TXTIME): %w", err)
	}
	return nil
}

// Control is the control message of a frame that shall leave at that time.
func Control(at int64) []byte {
	b := make([]byte, unix.CmsgSpace(8))
	if unix.SizeofCmsghdr == 12 { // the length is a word of the machine
		binary.NativeEndian.PutUint32(b, uint32(unix.CmsgLen(8)))
	} else {
		binary.NativeEndian.PutUint64(b, uint64(unix.CmsgLen(8)))
	}
	binary.NativeEndian.PutUint32(b[unix.SizeofCmsghdr-8:], unix.SOL_SOCKET)
	binary.NativeEndian.PutUint32(b[unix.SizeofCmsghdr-4:], unix.SCM_TXTIME)
	binary.NativeEndian.PutUint64(b[unix.CmsgLen(0):], uint64(at))
	return b
}

// Now reads CLOCK_TAI, ns.
func Now() (int64, error) {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_TAI, &ts); err != nil {
		return 0, fmt.Errorf("CLOCK_TAI: %w", err)
	}
	return ts.Nano(), nil
}

// Report is what became of a frame that did not leave. Missed: its time had
// come before it could be sent. Else it was refused when it was queued: its
// time was over already or before that of a frame that had left, or it was
// meant for another clock or mode than the queue's.
type Report struct {
	Launch int64
	Missed bool
}

// Reports takes what is in the socket's error queue. It does not wait.
func Reports(fd int) ([]Report, error) {
	var out []Report
	oob := make([]byte, 512)
	for {
		_, n, _, _, err := unix.Recvmsg(fd, nil, oob, unix.MSG_ERRQUEUE|unix.MSG_DONTWAIT)
		switch {
		case errors.Is(err, unix.EAGAIN):
			return out, nil
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return out, fmt.Errorf("error queue: %w", err)
		}
		cs, err := unix.ParseSocketControlMessage(oob[:n])
		if err != nil {
			return out, fmt.Errorf("error queue: %w", err)
		}
		for _, c := range cs {
			if r, ok := parseReport(c.Data); ok {
				out = append(out, r)
			}
		}
	}
}

// parseReport reads struct sock_extended_err; other origins are not ours.
func parseReport(b []byte) (Report, bool) {
	if len(b) < 16 || b[4] != unix.SO_EE_ORIGIN_TXTIME {
		return Report{}, false
	}
	low, high := binary.NativeEndian.Uint32(b[8:]), binary.NativeEndian.Uint32(b[12:])
	return Report{Launch: int64(uint64(high)<<32 | uint64(low)), Missed: b[6] == unix.SO_EE_CODE_TXTIME_MISSED}, true
}
