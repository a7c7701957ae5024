package gptptest

import (
	"encoding/binary"
	"runtime"
	"testing"
	"unsafe"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"tsnswitch/internal/kerneltest"
)

// loseFrames makes an interface drop a share of the frames it sends and
// receives, at random: a classifier of seven instructions, for the kernel may
// lack netem. Captures see what was received before it is dropped, and not what was
// dropped before it is sent.
func loseFrames(t testing.TB, ns *kerneltest.NetNS, ifname string, percent uint32) {
	t.Helper()
	fd, err := dropProgram(percent)
	if err != nil {
		t.Skipf("this kernel loads no BPF classifier: %v", err)
	}
	defer unix.Close(fd)
	h := ns.Netlink()
	l, err := h.LinkByName(ifname)
	if err != nil {
		t.Fatal(err)
	}
	index := l.Attrs().Index
	qdisc := &netlink.GenericQdisc{
		QdiscAttrs: netlink.QdiscAttrs{LinkIndex: index, Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_CLSACT},
		QdiscType:  "clsact",
	}
	if err := h.QdiscAdd(qdisc); err != nil {
		t.Skipf("clsact: %v", err)
	}
	for _, parent := range []uint32{netlink.HANDLE_MIN_INGRESS, netlink.HANDLE_MIN_EGRESS} {
		err := h.FilterAdd(&netlink.BpfFilter{
			FilterAttrs: netlink.FilterAttrs{LinkIndex: index, Parent: parent, Handle: 1, Protocol: unix.ETH_P_ALL, Priority: 1},
			Fd:          fd, Name: "loss", DirectAction: true,
		})
		if err != nil {
			t.Skipf("BPF classifier: %v", err)
		}
	}
}

// dropProgram loads a classifier that drops percent of all frames.
func dropProgram(percent uint32) (int, error) {
	const randomU32 = 7 // BPF_FUNC_get_prandom_u32
	limit := uint32(uint64(percent) * (1 << 32) / 100)
	var code []byte
	for _, i := range []struct {
		op, regs byte
		off      int16
		imm      uint32
	}{
		{0x85, 0, 0, randomU32}, // r0 = random
		{0xb4, 1, 0, limit},     // w1 = limit
		{0xae, 0x10, 2, 0},      // if w0 < w1 goto +2
		{0xb7, 0, 0, 0},         // r0 = TC_ACT_OK
		{0x95, 0, 0, 0},         // exit
		{0xb7, 0, 0, 2},         // r0 = TC_ACT_SHOT
		{0x95, 0, 0, 0},         // exit
	} {
		code = append(code, i.op, i.regs)
		code = binary.NativeEndian.AppendUint16(code, uint16(i.off))
		code = binary.NativeEndian.AppendUint32(code, i.imm)
	}
	license := []byte("Dual BSD/GPL\x00")
	attr := struct {
		kind, count   uint32
		code, license uint64
		_             [96]byte
	}{
		kind: unix.BPF_PROG_TYPE_SCHED_CLS, count: uint32(len(code) / 8),
		code: uint64(uintptr(unsafe.Pointer(&code[0]))), license: uint64(uintptr(unsafe.Pointer(&license[0]))),
	}
	fd, _, errno := unix.Syscall(unix.SYS_BPF, unix.BPF_PROG_LOAD, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr))
	runtime.KeepAlive(code)
	runtime.KeepAlive(license)
	if errno != 0 {
		return -1, errno
	}
	return int(fd), nil
}
