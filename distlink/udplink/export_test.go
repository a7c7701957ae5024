package udplink

import (
	"testing"

	"golang.org/x/sys/unix"
)

// NoChecksums makes the kernel refuse trains from a link's socket: what it cuts
// needs checksums.
func NoChecksums(t *testing.T, l *Link) {
	t.Helper()
	raw, err := l.out[0].conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if cerr := raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_NO_CHECK, 1) }); cerr != nil || err != nil {
		t.Fatal(cerr, err)
	}
}
