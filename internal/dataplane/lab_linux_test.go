package dataplane_test

import (
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	tsn "tsnswitch"
	"tsnswitch/internal/dataplane"
	"tsnswitch/internal/kerneltest"
)

// lab is a switch with three ports, each to a host's namespace.
type lab struct {
	sw   *kerneltest.NetNS
	host [3]*kerneltest.NetNS // interface h0
}

func newLab(t *testing.T) *lab { return newLabOn(t, kerneltest.NewNetNS(t)) }

func newLabOn(t *testing.T, sw *kerneltest.NetNS) *lab {
	l := &lab{sw: sw}
	for i := range l.host {
		l.host[i] = kerneltest.NewNetNS(t)
		kerneltest.VethPair(t, 8, kerneltest.End{NS: l.sw, Name: config().Ports[i].Ifname}, kerneltest.End{NS: l.host[i], Name: "h0"})
	}
	awaitUp(t, l.sw, "p1", "p2", "p3")
	return l
}

// awaitUp waits for links to be operational: a bridge port forwards from then.
func awaitUp(t *testing.T, ns *kerneltest.NetNS, names ...string) {
	t.Helper()
	up := map[string]bool{}
	done, updates := make(chan struct{}), make(chan netlink.LinkUpdate)
	defer close(done)
	fd := ns.Fd()
	if err := netlink.LinkSubscribeWithOptions(updates, done, netlink.LinkSubscribeOptions{Namespace: &fd, ListExisting: true}); err != nil {
		t.Fatal(err)
	}
	for ctx := bounded(t); ; {
		select {
		case u := <-updates:
			a := u.Link.Attrs()
			up[a.Name] = a.OperState == netlink.OperUp
		case <-ctx.Done():
			t.Fatalf("links %v are not all up: %v", names, up)
		}
		if !slices.ContainsFunc(names, func(n string) bool { return !up[n] }) {
			return
		}
	}
}

func open(t *testing.T, ns *kerneltest.NetNS, cfg dataplane.Config) (k *dataplane.Kernel) {
	t.Helper()
	ns.Do(func() {
		var err error
		if k, err = dataplane.Open(cfg); err != nil {
			t.Fatal(err)
		}
	})
	t.Cleanup(func() { k.Close() })
	return k
}

// realConfig is config with PTP time in the gate clock's place.
func realConfig() dataplane.Config {
	c := config()
	c.PTPToGate = func(_ tsn.Port, t tsn.PTPTime) (int64, error) { return t.NS, nil }
	return c
}

func bounded(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func set(t *testing.T, k *dataplane.Kernel, d tsn.DesiredState) dataplane.Report {
	t.Helper()
	r, err := k.Set(bounded(t), d)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func read(t *testing.T, k *dataplane.Kernel) dataplane.State {
	t.Helper()
	s, err := k.Read()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func awaitAll(t *testing.T, k *dataplane.Kernel) {
	t.Helper()
	for _, p := range ports {
		if err := k.AwaitOper(bounded(t), p); err != nil {
			t.Fatal(err)
		}
	}
}

func tai(t *testing.T) int64 {
	t.Helper()
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_TAI, &ts); err != nil {
		t.Fatal(err)
	}
	return ts.Nano()
}

const etherType = 0x88b5 // for local experiments

// socket sends and receives whole frames of etherType on h0 of a host.
func socket(t *testing.T, ns *kerneltest.NetNS, name string) int {
	t.Helper()
	return socketOf(t, ns, name, etherType)
}

// socketOf may have another type: an enslaved port shows its frames only to a
// socket for all.
func socketOf(t *testing.T, ns *kerneltest.NetNS, name string, proto uint16) int {
	t.Helper()
	fd := -1
	ns.Do(func() {
		var err error
		if fd, err = dataplane.RawSocket(name, proto); err != nil {
			t.Fatal(err)
		}
	})
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

// frame is a frame with a serial number; vid 0 is untagged.
func frame(dst, src tsn.MAC, vid tsn.VID, pcp tsn.PCP, n byte) []byte {
	b := append(dst[:], src[:]...)
	if vid > 0 {
		b = append(b, 0x81, 0)
		b = binary.BigEndian.AppendUint16(b, uint16(pcp)<<13|uint16(vid))
	}
	b = append(b, etherType>>8, etherType&0xff, n)
	return append(b, make([]byte, 60)...)
}

func send(t *testing.T, fd int, frames ...[]byte) {
	t.Helper()
	for _, f := range frames {
		if _, err := unix.Write(fd, f); err != nil {
			t.Fatal(err)
		}
	}
}

// receive returns the serial numbers of frames up to and with the one called last.
func receive(t *testing.T, fd int, last byte) (got []byte) {
	t.Helper()
	buf := make([]byte, 200)
	for {
		n, from, err := unix.Recvfrom(fd, buf, 0)
		if err == unix.EINTR { // the runtime signals its threads
			continue
		}
		if err != nil {
			t.Fatalf("after %v: no frame %d came: %v", got, last, err)
		}
		if a, ok := from.(*unix.SockaddrLinklayer); ok && a.Pkttype == unix.PACKET_OUTGOING || n < 15 || binary.BigEndian.Uint16(buf[12:]) != etherType {
			continue
		}
		if got = append(got, buf[14]); buf[14] == last {
			return got
		}
	}
}

func isErr(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("got %v, want %v", err, want)
	}
}

// lead is from now to a base time: long enough for a guest on a busy machine
// to get the schedule into its kernel before, ns.
const lead = 1_500_000_000
