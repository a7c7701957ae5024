package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"tsnswitch/internal/config"
	"tsnswitch/internal/kerneltest"
)

// typeNumbered is IEEE local experimental 2: the frames of testEdgeLoop.
const typeNumbered = 0x88b6

// testEdgeLoop hangs somebody else's bridge on both edge ports of b2 while h1
// broadcasts. One of the ports is blocked, and no frame comes twice, not while
// the second cable is plugged either.
func (s *site) testEdgeLoop(t *testing.T) {
	h := s.ns["h2"].Netlink()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	port := func(name string) netlink.Link {
		t.Helper()
		l, err := h.LinkByName(name)
		check(err)
		return l
	}
	sw := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "sw"}}
	check(h.LinkAdd(sw))
	check(h.LinkSetUp(sw))
	check(h.LinkSetMaster(port(s.ifname("h2")), sw))
	stop := count(t, s.ns["h2"], "sw")
	next := uint32(0)
	broadcast := func(n int) {
		t.Helper()
		for range n {
			next++
			f := append([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, s.mac("h1")...)
			f = binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint16(f, typeNumbered), next)
			inject(t, s.ns["h1"], s.ifname("h1"), [][]byte{append(f, make([]byte, 42)...)})
			time.Sleep(5 * time.Millisecond)
		}
	}
	broadcast(10)
	const queues = 8 // a port of the bridge has one for each class
	pair := netlink.NewVeth(netlink.LinkAttrs{Name: "x9", NumTxQueues: queues, NumRxQueues: queues, TxQLen: 1000})
	pair.PeerName, pair.PeerNamespace = absent, netlink.NsFd(s.ns["b2"].Fd())
	pair.PeerNumTxQueues, pair.PeerNumRxQueues = queues, queues
	check(h.LinkAdd(pair))
	check(h.LinkSetMaster(port("x9"), sw))
	check(h.LinkSetUp(port("x9")))
	far, err := s.ns["b2"].Netlink().LinkByName(absent)
	check(err)
	check(s.ns["b2"].Netlink().LinkSetUp(far))
	states := func(want ...string) {
		t.Helper()
		s.b2.until(t, fmt.Sprint("edge ports ", want), func(ctx context.Context) error {
			broadcast(1)
			ports, err := s.b2.client.Edge(ctx)
			if err != nil {
				return err
			}
			var got []string
			for _, p := range ports {
				got = append(got, p.State)
			}
			st, err := s.b2.client.Status(ctx)
			if err == nil && (!slices.Equal(got, want) || !st.Kernel.InSync) {
				err = fmt.Errorf("%+v, kernel %+v", ports, st.Kernel)
			}
			return err
		})
	}
	states("forwarding", "blocked")
	if text := s.b2.text(t); !strings.Contains(text, absent+"@") {
		t.Errorf("the kernel does not use the second port:\n%s", text)
	}
	broadcast(200)
	check(h.LinkDel(port("x9")))
	check(h.LinkDel(sw))
	states("forwarding", "down")
	got := stop()
	for n, times := range got {
		if times > 1 {
			t.Errorf("broadcast %d came %d times", n, times)
		}
	}
	if len(got) < 200 {
		t.Errorf("%d of %d broadcasts came", len(got), next)
	}
	s.quiet(t)
}

// ifname is the interface of a host.
func (s *site) ifname(host string) string {
	for _, l := range s.net.Links {
		for _, e := range []config.End{l.A, l.B} {
			if e.Node == host {
				return config.Ifname(e.Port)
			}
		}
	}
	return ""
}

func (s *site) mac(host string) []byte {
	m := s.net.Node(host).SystemID
	return m[:]
}

// count counts the numbered frames that come to an interface, until it is
// stopped.
func count(t *testing.T, ns *kerneltest.NetNS, ifname string) (stop func() map[uint32]int) {
	t.Helper()
	var fd int
	ns.Do(func() {
		const proto = typeNumbered>>8 | typeNumbered&0xff<<8 // network order
		var err error
		if fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, proto); err != nil {
			t.Fatal(err)
		}
		link, err := netlink.LinkByName(ifname)
		if err != nil {
			t.Fatal(err)
		}
		if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: proto, Ifindex: link.Attrs().Index}); err != nil {
			t.Fatal(err)
		}
		if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 100_000}); err != nil {
			t.Fatal(err)
		}
	})
	times := map[uint32]int{}
	ended, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		defer unix.Close(fd)
		b := make([]byte, 200)
		for {
			n, from, err := unix.Recvfrom(fd, b, 0)
			switch ll, ok := from.(*unix.SockaddrLinklayer); {
			case errors.Is(err, unix.EAGAIN):
				select {
				case <-ended:
					return
				default:
				}
			case err != nil && !errors.Is(err, unix.EINTR):
				<-ended // the interface has gone
				return
			case err == nil && n >= 18 && ok && ll.Pkttype != unix.PACKET_OUTGOING:
				times[binary.BigEndian.Uint32(b[14:])]++
			}
		}
	}()
	return func() map[uint32]int { close(ended); <-done; return times }
}
