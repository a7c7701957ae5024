package uml

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// randPoolInfo is struct rand_pool_info of random(4).
type randPoolInfo struct {
	Bits, Size int32
	Bytes      [32]byte
}

func ioctlAddEntropy(fd uintptr, p *randPoolInfo) {
	_, _, _ = unix.Syscall(unix.SYS_IOCTL, fd, unix.RNDADDENTROPY, uintptr(unsafe.Pointer(p)))
}

// makeRaw makes a serial line carry bytes as they are.
func makeRaw(fd int) error {
	t, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return err
	}
	t.Iflag, t.Oflag, t.Lflag = 0, 0, 0
	t.Cflag |= unix.CS8
	return unix.IoctlSetTermios(fd, unix.TCSETS, t)
}

// drain waits until the host has all that was written to a serial line (tcdrain).
func drain(fd int) { _ = unix.IoctlSetInt(fd, unix.TCSBRK, 1) }
