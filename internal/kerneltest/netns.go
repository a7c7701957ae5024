package kerneltest

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// NetNS is a network namespace without a name; it ends with its test.
type NetNS struct {
	t  testing.TB
	fd netns.NsHandle
}

// NewNetNS makes a network namespace whose loopback is up.
func NewNetNS(t testing.TB) *NetNS {
	t.Helper()
	ns, err := newNetNS()
	if err != nil {
		t.Fatalf("new network namespace: %v", err)
	}
	ns.t = t
	t.Cleanup(ns.close)
	ns.Do(func() {
		if err := netlink.LinkSetUp(&netlink.Device{LinkAttrs: netlink.LinkAttrs{Name: "lo"}}); err != nil {
			t.Fatalf("loopback up: %v", err)
		}
	})
	return ns
}

func newNetNS() (*NetNS, error) {
	ns := &NetNS{}
	err := inNamespace(func() (err error) {
		ns.fd, err = netns.New()
		return err
	}, nil)
	return ns, err
}

func (n *NetNS) close() { _ = n.fd.Close() }

// Fd is the namespace as netlink calls and setns(2) want it.
func (n *NetNS) Fd() netns.NsHandle { return n.fd }

// Do calls f in the namespace: sockets that f opens and processes that it starts
// belong to it, also after Do; goroutines that it starts do not. f runs on the
// caller's goroutine and may fail the test.
func (n *NetNS) Do(f func()) {
	n.t.Helper()
	if err := n.try(f); err != nil {
		n.t.Fatalf("enter the network namespace: %v", err)
	}
}

func (n *NetNS) try(f func()) error {
	return inNamespace(func() error { return netns.Set(n.fd) }, f)
}

// Netlink returns a route netlink handle of the namespace, closed at the end of the test.
func (n *NetNS) Netlink() *netlink.Handle {
	n.t.Helper()
	h, err := netlink.NewHandleAt(n.fd, unix.NETLINK_ROUTE)
	if err != nil {
		n.t.Fatalf("netlink in the namespace: %v", err)
	}
	n.t.Cleanup(h.Close)
	return h
}

// inNamespace locks the thread, calls enter, which moves it to another namespace,
// then f, and moves it back, even if f panics or ends the goroutine.
func inNamespace(enter func() error, f func()) error {
	runtime.LockOSThread()
	home, err := netns.Get()
	if err != nil {
		runtime.UnlockOSThread()
		return err
	}
	defer func() {
		defer home.Close()
		if err := netns.Set(home); err != nil {
			panic(fmt.Sprintf("cannot return to the network namespace: %v", err))
		}
		runtime.UnlockOSThread()
	}()
	if err := enter(); err != nil {
		return err
	}
	if f != nil {
		f()
	}
	return nil
}

// End is one end of a veth pair: a link name in a namespace.
type End struct {
	NS   *NetNS
	Name string
}

// VethPair makes a veth pair with that many transmit and receive queues on both
// ends, and sets both up. It ends with its namespaces.
func VethPair(t testing.TB, queues int, a, b End) {
	t.Helper()
	h := a.NS.Netlink()
	q := queues
	pair := netlink.NewVeth(netlink.LinkAttrs{Name: a.Name, NumTxQueues: q, NumRxQueues: q, TxQLen: 1000})
	pair.PeerName, pair.PeerNamespace = b.Name, netlink.NsFd(b.NS.fd)
	pair.PeerNumTxQueues, pair.PeerNumRxQueues = uint32(q), uint32(q)
	if err := h.LinkAdd(pair); err != nil {
		t.Fatalf("veth pair %s, %s: %v", a.Name, b.Name, err)
	}
	for _, e := range []End{a, b} {
		h := e.NS.Netlink()
		link, err := h.LinkByName(e.Name)
		if err != nil {
			t.Fatalf("link %s: %v", e.Name, err)
		}
		if err := h.LinkSetUp(link); err != nil {
			t.Fatalf("link %s up: %v", e.Name, err)
		}
	}
}
