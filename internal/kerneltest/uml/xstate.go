package uml

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// User-mode Linux keeps a program's extended registers in an area whose size was
// fixed when it was built (2696 octets: up to AVX-512), and the host's ptrace takes
// them back only if they are exactly as many as its own. On a processor with more
// (AMX) every guest dies at its first instruction. The area's header says which
// registers it holds, so that it is enough to claim the host's size: what
// lies behind the area is not looked at.

// fitKernel returns the kernel to start: the one given, or a copy in dir that
// claims this host's size of the extended registers.
func fitKernel(path, dir string) (string, error) {
	size, err := xstateSize()
	if err != nil || size == 0 {
		return path, err
	}
	image, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	if !fitXstate(image, uint32(size)) {
		return path, nil
	}
	fit := filepath.Join(dir, "linux")
	return fit, os.WriteFile(fit, image, 0o700)
}

const (
	ptraceGetRegSet = 0x4204
	ptraceSetRegSet = 0x4205
	ntX86Xstate     = 0x202
)

// fitXstate changes the size in the one call of ptrace(PTRACE_SETREGSET) of a
// kernel's image, if it is too small, and reports whether it did:
//
//	movq $size,-8(%rbp)   the length in the iovec
//	mov  $0x4205,%edi     the request
func fitXstate(image []byte, size uint32) bool {
	request := binary.LittleEndian.AppendUint32([]byte{0xbf}, ptraceSetRegSet)
	store := []byte{0x48, 0xc7, 0x45, 0xf8}
	at := bytes.Index(image, request)
	if at < 8 || !bytes.Equal(image[at-8:at-4], store) || bytes.Contains(image[at+1:], request) {
		return false // built in another way, or it knows the size itself
	}
	length := image[at-4 : at]
	if binary.LittleEndian.Uint32(length) >= size {
		return false
	}
	binary.LittleEndian.PutUint32(length, size)
	return true
}

// xstateSize asks this host for the size of the extended registers of a stopped
// process; 0 if it knows no such thing.
func xstateSize() (int, error) {
	runtime.LockOSThread() // a tracer is a thread
	defer runtime.UnlockOSThread()
	cmd := exec.Command("/proc/self/exe")
	cmd.SysProcAttr = &syscall.SysProcAttr{Ptrace: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return 0, fmt.Errorf("trace a process: %w", err)
	}
	defer func() {
		_ = cmd.Process.Kill()
		_, _ = cmd.Process.Wait()
	}()
	var ws syscall.WaitStatus
	if _, err := syscall.Wait4(cmd.Process.Pid, &ws, 0, nil); err != nil || !ws.Stopped() {
		return 0, fmt.Errorf("trace a process: it did not stop: %v", err)
	}
	area := make([]byte, 64<<10)
	iov := unix.Iovec{Base: &area[0]}
	iov.SetLen(len(area))
	_, _, errno := unix.Syscall6(unix.SYS_PTRACE, ptraceGetRegSet, uintptr(cmd.Process.Pid), ntX86Xstate, uintptr(unsafe.Pointer(&iov)), 0, 0)
	if errno != 0 {
		return 0, nil
	}
	return int(iov.Len), nil
}
