package txtime

import (
	"encoding/binary"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

func TestControl(t *testing.T) {
	cs, err := unix.ParseSocketControlMessage(Control(-5))
	if err != nil || len(cs) != 1 || cs[0].Header.Level != unix.SOL_SOCKET || cs[0].Header.Type != unix.SCM_TXTIME || int64(binary.NativeEndian.Uint64(cs[0].Data)) != -5 {
		t.Errorf("%+v, %v", cs, err)
	}
}

// struct sock_extended_err as etf fills it in.
func TestParseReport(t *testing.T) {
	b := make([]byte, 16)
	b[4], b[6] = unix.SO_EE_ORIGIN_TXTIME, unix.SO_EE_CODE_TXTIME_MISSED
	binary.NativeEndian.PutUint32(b[8:], 0x89abcdef)
	binary.NativeEndian.PutUint32(b[12:], 0x01234567)
	if r, ok := parseReport(b); !ok || r != (Report{0x0123456789abcdef, true}) {
		t.Errorf("%+v, %t", r, ok)
	}
	b[6] = unix.SO_EE_CODE_TXTIME_INVALID_PARAM
	if r, ok := parseReport(b); !ok || r.Missed {
		t.Errorf("%+v, %t", r, ok)
	}
	b[4] = unix.SO_EE_ORIGIN_ICMP
	if _, ok := parseReport(b); ok {
		t.Error("an ICMP error")
	}
	if _, ok := parseReport(b[:15]); ok {
		t.Error("15 octets")
	}
}

// A priority is followed to its class's queue.
func TestFind(t *testing.T) {
	etf := func(parent uint32, clock, delta, flags uint32) qdisc {
		b := binary.NativeEndian.AppendUint16(nil, 16)
		b = binary.NativeEndian.AppendUint16(b, etfParms)
		for _, v := range []uint32{delta, clock, flags} {
			b = binary.NativeEndian.AppendUint32(b, v)
		}
		return qdisc{handle: 1 << 16, parent: parent, kind: "etf", options: b}
	}
	qopt := make([]byte, 84)
	qopt[0], qopt[qoptMap+6] = 2, 1
	binary.NativeEndian.PutUint16(qopt[qoptOffset+2:], 1) // class 1: queue 1
	nested := append(binary.NativeEndian.AppendUint16(binary.NativeEndian.AppendUint16(nil, 86), taprioPriomap), append(qopt[:82], 0, 0)...)
	mqprio := qdisc{handle: 8 << 16, parent: netlink.HANDLE_ROOT, kind: "mqprio", options: qopt}
	taprio := qdisc{handle: 8 << 16, parent: netlink.HANDLE_ROOT, kind: "taprio", options: nested}
	for _, c := range []struct {
		name string
		qs   []qdisc
		want Queue
		err  string
	}{
		{"root etf", []qdisc{etf(netlink.HANDLE_ROOT, unix.CLOCK_TAI, 500, etfDeadline)}, Queue{500, true}, ""},
		{"mqprio", []qdisc{mqprio, etf(8<<16|2, unix.CLOCK_TAI, 300, 0)}, Queue{300, false}, ""},
		{"taprio", []qdisc{taprio, etf(8<<16|2, unix.CLOCK_TAI, 300, 0)}, Queue{300, false}, ""},
		{"another class", []qdisc{taprio, etf(8<<16|1, unix.CLOCK_TAI, 300, 0)}, Queue{}, "the default queue"},
		{"another clock", []qdisc{etf(netlink.HANDLE_ROOT, unix.CLOCK_MONOTONIC, 300, 0)}, Queue{}, "not by CLOCK_TAI"},
		{"no parameters", []qdisc{{handle: 1, parent: netlink.HANDLE_ROOT, kind: "etf"}}, Queue{}, "without parameters"},
		{"no classes", []qdisc{{handle: 1, parent: netlink.HANDLE_ROOT, kind: "taprio"}}, Queue{}, "tells no classes"},
		{"fq", []qdisc{{handle: 1, parent: netlink.HANDLE_ROOT, kind: "fq"}}, Queue{}, "queued by fq"},
		{"nothing", nil, Queue{}, "the default queue"},
	} {
		got, err := find(c.qs, 6)
		if got != c.want || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s: %+v, %v", c.name, got, err)
		}
	}
}

func FuzzFind(f *testing.F) {
	f.Add("taprio", []byte{86, 0, 1, 0}, []byte{16, 0, 1, 0}, 6)
	f.Fuzz(func(t *testing.T, kind string, root, leaf []byte, priority int) {
		_, _ = find([]qdisc{
			{handle: 8 << 16, parent: netlink.HANDLE_ROOT, kind: kind, options: root},
			{handle: 1 << 16, parent: 8<<16 | 1, kind: "etf", options: leaf},
		}, priority)
		_, _ = parseReport(leaf)
	})
}
