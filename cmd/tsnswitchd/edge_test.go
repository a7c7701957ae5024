package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"tsnswitch/internal/api"
	"tsnswitch/internal/kerneltest"
)

// threeBridges is a ring, each bridge with a place for a host. Nothing is known
// of the hosts. A daemon that is killed must be back before its neighbours'
// holding time ends, and in a guest it may take seconds to start one.
const threeBridges = `
nodes: [{name: c1}, {name: c2}, {name: c3}, {name: h1, kind: host}, {name: h2, kind: host}, {name: h3, kind: host}]
links:
  - {a: "c1:1", b: "c2:1", rate: 100M}
  - {a: "c2:2", b: "c3:2", rate: 100M}
  - {a: "c3:1", b: "c1:2", rate: 100M}
  - {a: "c1:3", b: h1, rate: 100M}
  - {a: "c2:3", b: h2, rate: 100M}
  - {a: "c3:3", b: h3, rate: 100M}
fabric: {helloInterval: 2s}
gptp: {neighborPropDelayThresh: 50ms, gateOffsetBound: 20ms, syncReceiptTimeout: 20}
`

// Hosts that nobody has configured, on bridges that can do without the ingress
// check: learned, found by their neighbours, followed when they move, and not
// disturbed by daemons that are killed. One boot of the guest, one network.
func TestEdge(t *testing.T) {
	if testing.Short() {
		t.Skip("boots a kernel")
	}
	needs := kerneltest.Needs{Taprio: true, CBS: true, Flower: true, VLANFiltering: true, VLANDevices: true}
	kerneltest.Run(t, needs, func(t *testing.T) {
		for _, tool := range []string{"bridge", "tc", "ip"} {
			if _, err := exec.LookPath(tool); err != nil {
				t.Skipf("%s is missing: install the Debian package iproute2", tool)
			}
		}
		for _, kind := range []string{"locked", "unlocked"} {
			if !t.Run(kind, func(t *testing.T) { testEdge(t, kind == "locked") }) {
				break
			}
		}
	})
}

type edge struct {
	*site
	c     [3]*bridge
	h1    *host
	h3    *host
	ether net.HardwareAddr // of h1
}

func testEdge(t *testing.T, locked bool) {
	e := &edge{site: wire(t, "three bridges", threeBridges)}
	if err := api.CreatePKI(e.dir+"/keys", []string{"c1", "c2", "c3"}, time.Now().Add(-time.Hour)); err != nil {
		t.Fatal(err)
	}
	for i, name := range []string{"c1", "c2", "c3"} {
		b := e.bridge(t, name)
		for k := range b.cfg.Ports {
			b.cfg.Ports[k].Stations = nil
		}
		if !locked {
			b.cfg.Bridge.AssumeMissing = []string{"locked"}
		}
		b.writeConfig(t, b.conf, b.cfg)
		e.c[i] = b
		b.start(t)
	}
	for _, b := range e.c {
		e.ready(t, b)
	}
	e.h1, e.h3 = newHost(t, e.ns["h1"], 1), newHost(t, e.ns["h3"], 3)
	e.ether = e.h1.ether
	t.Run("talk", func(t *testing.T) { e.testTalk(t, locked) })
	t.Run("kill", e.testKill)
	t.Run("move", e.testMove)
	for _, b := range e.c {
		if err := b.end(t, syscall.SIGTERM); err != nil {
			t.Errorf("%s: %v\n%s", b.name, err, b.log)
		}
	}
}

// ready waits until the bridge knows all three and its edge port forwards.
func (e *edge) ready(t *testing.T, b *bridge) {
	t.Helper()
	b.until(t, "knows the ring", func(ctx context.Context) error {
		st, err := b.client.Status(ctx)
		if err != nil {
			return err
		}
		if st.SPB.Adjacencies != 2 || st.SPB.Nodes != 3 || !st.Kernel.InSync {
			return fmt.Errorf("spb %+v, kernel %+v", st.SPB, st.Kernel)
		}
		return nil
	})
}

// A host is a network stack behind an edge port.
type host struct {
	ns    *kerneltest.NetNS
	ether net.HardwareAddr
	v4    *net.UDPConn
	v6    *net.UDPConn
}

// newHost gives the interface of a namespace addresses that end in n, and
// sockets that echo what they get.
func newHost(t *testing.T, ns *kerneltest.NetNS, n byte) *host {
	t.Helper()
	h := &host{ns: ns}
	k := ns.Netlink()
	l, err := k.LinkByName("p1")
	if err != nil {
		t.Fatal(err)
	}
	h.ether = l.Attrs().HardwareAddr
	for _, a := range []string{fmt.Sprintf("10.9.0.%d/24", n), fmt.Sprintf("fd09::%d/64", n)} {
		addr, err := netlink.ParseAddr(a)
		if err != nil {
			t.Fatal(err)
		}
		addr.Flags = 0x02 // no duplicate address detection, which would take a second
		if err := k.AddrAdd(l, addr); err != nil {
			t.Fatalf("%s: %v", a, err)
		}
	}
	ns.Do(func() {
		h.v4, err = net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(10, 9, 0, n), Port: 7})
		if err == nil {
			h.v6, err = net.ListenUDP("udp6", &net.UDPAddr{IP: net.ParseIP(fmt.Sprintf("fd09::%d", n)), Port: 7})
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.v4.Close(); h.v6.Close() })
	return h
}

// hear sends datagrams both ways until one has come on each side: neighbours
// are found by what they have said, so both must speak.
func (e *edge) hear(t *testing.T, what string, a, b *net.UDPConn) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var all sync.WaitGroup
	var heard atomic.Int32
	for _, d := range [][2]*net.UDPConn{{a, b}, {b, a}} {
		all.Go(func() {
			to := d[1].LocalAddr().(*net.UDPAddr)
			first := true
			for buf := make([]byte, 100); heard.Load() < 2; {
				_, _ = d[0].WriteToUDP([]byte("hello"), to)
				_ = d[0].SetReadDeadline(time.Now().Add(100 * time.Millisecond))
				if _, _, err := d[0].ReadFromUDP(buf); err == nil && first {
					first = false
					heard.Add(1)
				}
				if ctx.Err() != nil {
					if first {
						t.Errorf("%s: %v hears nothing", what, d[0].LocalAddr())
					}
					return
				}
			}
		})
	}
	all.Wait()
	if t.Failed() {
		for _, b := range e.c {
			t.Logf("%s:\n%s\n%s", b.name, b.text(t), b.log)
		}
		t.FailNow()
	}
}

// Hosts are learned, and find each other with IPv4 and IPv6. Without the
// ingress check no broadcast crosses the fabric, and bridges answer.
func (e *edge) testTalk(t *testing.T, locked bool) {
	e.hear(t, "IPv4", e.h1.v4, e.h3.v4)
	e.hear(t, "IPv6", e.h1.v6, e.h3.v6)
	var answered []string
	for _, b := range e.c {
		for line := range strings.Lines(e.page(t, b)) {
			if strings.HasPrefix(line, "tsnswitch_neighbour_proxy_arp_replies_total ") || strings.HasPrefix(line, "tsnswitch_neighbour_proxy_nd_replies_total ") {
				answered = append(answered, b.name+": "+strings.TrimSpace(line))
			}
		}
		if text := b.text(t); !locked && strings.Contains(text, "bcast_flood on locked on") {
			t.Errorf("%s floods:\n%s", b.name, text)
		}
	}
	if t.Logf("answered by bridges: %q", answered); locked != (len(answered) == 0) {
		t.Error("that is not as it should be")
	}
}

// A stream whose paths do not change loses no frame while the daemons of its
// bridges are killed and come back, one after the other.
func (e *edge) testKill(t *testing.T) {
	const (
		every   = 10 * time.Millisecond
		atLeast = 100 // frames, however fast the daemons come back
	)
	to := e.h3.v4.LocalAddr().(*net.UDPAddr)
	stop := make(chan struct{})
	var sent, got uint64
	seen := map[uint64]int{}
	var all sync.WaitGroup
	all.Go(func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for b := make([]byte, 8); ; sent++ {
			select {
			case <-stop:
				if sent >= atLeast {
					return
				}
				<-tick.C
			case <-tick.C:
			}
			binary.BigEndian.PutUint64(b, sent)
			if _, err := e.h1.v4.WriteToUDP(b, to); err != nil {
				t.Error(err)
			}
		}
	})
	quiet := make(chan struct{})
	all.Go(func() {
		for b := make([]byte, 100); ; {
			_ = e.h3.v4.SetReadDeadline(time.Now().Add(time.Second))
			n, _, err := e.h3.v4.ReadFromUDP(b)
			select {
			case <-quiet:
				if err != nil { // a second of silence after the end
					return
				}
			default:
			}
			if err == nil && n == 8 {
				got++
				seen[binary.BigEndian.Uint64(b)]++
			}
		}
	})
	end := sync.OnceFunc(func() {
		close(stop)
		close(quiet)
		all.Wait()
	})
	defer end()
	for _, i := range []int{0, 2} {
		b := e.c[i]
		if err := b.end(t, syscall.SIGKILL); err == nil {
			t.Errorf("%s: a killed daemon ended well", b.name)
		}
		b.start(t)
		e.ready(t, b)
	}
	for _, i := range []int{0, 2} {
		e.c[i].until(t, "has adopted its kernel", func(context.Context) error {
			if !strings.Contains(e.c[i].log.String(), "adopted: the kernel is as desired") {
				return errors.New("not yet")
			}
			return nil
		})
	}
	end()
	doubles := 0
	for _, n := range seen {
		doubles += n - 1
	}
	t.Logf("%d frames sent, %d received, %d lost, %d double", sent, got, sent-uint64(len(seen)), doubles)
	if uint64(len(seen)) != sent || doubles > 0 {
		for _, b := range e.c {
			t.Logf("%s:\n%s\n%s", b.name, b.text(t), b.log)
		}
		t.Errorf("%d of %d frames were lost, %d came twice", sent-uint64(len(seen)), sent, doubles)
	}
}

// A host moves to another bridge, with its addresses: its peer reaches it there,
// and the bridge that it has left says so too.
func (e *edge) testMove(t *testing.T) {
	k := e.ns["h1"].Netlink()
	old, err := k.LinkByName("p1")
	if err != nil || k.LinkSetDown(old) != nil {
		t.Fatal(err)
	}
	e.h1.v4.Close()
	e.h1.v6.Close()
	k = e.ns["h2"].Netlink()
	l, err := k.LinkByName("p1")
	if err != nil || k.LinkSetHardwareAddr(l, e.ether) != nil {
		t.Fatal(err)
	}
	e.h1 = newHost(t, e.ns["h2"], 1)
	e.hear(t, "after the move", e.h1.v4, e.h3.v4)
	e.c[0].until(t, "has the host behind c2", func(context.Context) error {
		text := e.c[0].text(t)
		for line := range strings.Lines(text) {
			if strings.Contains(line, e.ether.String()) && strings.Contains(line, "dev p1") && strings.Contains(line, "static") {
				return nil
			}
		}
		return errors.New(text)
	})
}
