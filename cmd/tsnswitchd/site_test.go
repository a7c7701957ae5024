package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"tsnswitch/internal/api"
	"tsnswitch/internal/config"
	"tsnswitch/internal/kerneltest"
	"tsnswitch/spb"
)

// twoBridges is h1 - b1 - b2 - h2; the hosts are only addresses. Software
// time stamps and a guest that may stand still for a moment need patience.
const twoBridges = `
nodes: [{name: b1}, {name: b2}, {name: h1, kind: host}, {name: h2, kind: host}]
links:
  - {a: "b1:1", b: "b2:1", rate: 100M}
  - {a: "b1:2", b: h1, rate: 100M}
  - {a: "b2:2", b: h2, rate: 100M}
fabric: {helloInterval: 500ms}
gptp: {grandMaster: b1, neighborPropDelayThresh: 50ms, gateOffsetBound: 20ms, syncReceiptTimeout: 20}
qbv: {jitter: 300us, leadTime: 700ms}
`

// absent is a port of b2 whose interface never comes.
const absent = "absent9"

// A site is the network, with a namespace for each node and a daemon for each
// bridge.
type site struct {
	dir string
	net *config.Network
	ns  map[string]*kerneltest.NetNS
	b1  *bridge
	b2  *bridge
}

// A bridge is a daemon, or the place for one.
type bridge struct {
	site   *testing.T // which ends after the part of it that started the daemon
	name   string
	ns     *kerneltest.NetNS
	conf   string // file
	cfg    *config.Daemon
	client *api.Client

	cmd    *exec.Cmd
	exited chan error
	log    *logText
}

// logText is what a daemon printed so far.
type logText struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logText) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *logText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := wire(t, "two bridges", twoBridges)
	for _, name := range []string{"b1", "b2"} { // room for oversized frames
		h := s.ns[name].Netlink()
		if p, err := h.LinkByName("p1"); err != nil || h.LinkSetMTU(p, 4000) != nil {
			t.Fatalf("mtu of %s p1: %v", name, err)
		}
	}
	if err := api.CreatePKI(filepath.Join(s.dir, "keys"), []string{"b1", "b2"}, time.Now().Add(-time.Hour)); err != nil {
		t.Fatal(err)
	}
	s.b1, s.b2 = s.bridge(t, "b1"), s.bridge(t, "b2")
	return s
}

// wire makes the namespaces and links of a network.
func wire(t *testing.T, name, network string) *site {
	t.Helper()
	s := &site{dir: t.TempDir(), ns: map[string]*kerneltest.NetNS{}}
	var err error
	if s.net, err = config.ParseNetwork(name, []byte(network)); err != nil {
		t.Fatal(err)
	}
	for _, n := range s.net.Nodes {
		s.ns[n.Name] = kerneltest.NewNetNS(t)
	}
	for _, l := range s.net.Links {
		end := func(e config.End) kerneltest.End {
			return kerneltest.End{NS: s.ns[e.Node], Name: config.Ifname(e.Port)}
		}
		kerneltest.VethPair(t, 8, end(l.A), end(l.B))
	}
	return s
}

func (s *site) bridge(t *testing.T, name string) *bridge {
	t.Helper()
	dir := filepath.Join(s.dir, name)
	c, err := s.net.DaemonConfig(name, config.Dirs{Run: dir, State: filepath.Join(dir, "state"), Keys: filepath.Join(s.dir, "keys")})
	if err != nil {
		t.Fatal(err)
	}
	c.Metrics.Listen = config.AddrPort{AddrPort: netip.MustParseAddrPort("127.0.0.1:9464")}
	for i := range c.Ports {
		for j := range c.Ports[i].Stations {
			c.Ports[i].Stations[j].Address = config.Addr{} // no daemon there
		}
	}
	c.SPB.Auth.Keys = []config.AuthKey{s.siteKey(t, 1, spb.HMACSHA256)}
	c.QBV.Filters = config.FilterGate
	if name == "b2" {
		extra := c.Ports[len(c.Ports)-1]
		extra.Port, extra.Ifname, extra.Stations = 9, absent, nil
		c.Ports = append(c.Ports, extra)
	}
	b := &bridge{site: t, name: name, ns: s.ns[name], cfg: c, conf: filepath.Join(s.dir, name+".yaml"), client: api.DialUnix(c.API.Socket)}
	b.writeConfig(t, b.conf, c)
	if err := os.MkdirAll(c.StateDir, 0o755); err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *bridge) writeConfig(t *testing.T, file string, c *config.Daemon) {
	t.Helper()
	text, err := c.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	write(t, file, string(text))
}

// start starts the daemon and waits until it answers.
func (b *bridge) start(t *testing.T) {
	t.Helper()
	b.cmd, b.log, b.exited = b.launch(t, b.conf)
	b.until(t, "answers", func(ctx context.Context) error {
		select {
		case err := <-b.exited:
			b.exited <- err
			t.Fatalf("%s ended: %v\n%s", b.name, err, b.log)
		default:
		}
		_, err := b.client.Status(ctx)
		return err
	})
}

// launch starts a daemon in the bridge's namespace. It does not outlive
// the site.
func (b *bridge) launch(t *testing.T, conf string) (*exec.Cmd, *logText, chan error) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd, log := exec.Command(self, "--config", conf), &logText{}
	cmd.Env = append(os.Environ(), envRun+"=1")
	cmd.Stdout, cmd.Stderr = log, log
	b.ns.Do(func() { err = cmd.Start() })
	if err != nil {
		t.Fatal(err)
	}
	exited := make(chan error, 1)
	go func() { exited <- cmd.Wait() }()
	b.site.Cleanup(func() { _ = cmd.Process.Kill() })
	return cmd, log, exited
}

// end sends a signal and waits for the daemon's end.
func (b *bridge) end(t *testing.T, sig syscall.Signal) error {
	t.Helper()
	if err := b.cmd.Process.Signal(sig); err != nil {
		t.Fatalf("%s: %v", b.name, err)
	}
	return b.ended(t, b.exited)
}

func (b *bridge) ended(t *testing.T, exited chan error) error {
	t.Helper()
	select {
	case err := <-exited:
		return err
	case <-time.After(15 * time.Second):
		t.Fatalf("%s does not end:\n%s", b.name, b.log)
		return nil
	}
}

// patience is how long a state of the network may take; the guest may be slow.
const patience = 25 * time.Second

// until asks the daemon again and again; each answer is an event of its own
// making, and a network converges without telling.
func (b *bridge) until(t *testing.T, what string, ok func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	look := time.NewTicker(50 * time.Millisecond)
	defer look.Stop()
	var err error
	for {
		now := ok(ctx)
		if now == nil {
			return
		}
		if err == nil || ctx.Err() == nil { // not the end of patience itself
			err = now
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			t.Fatalf("%s: %s: not in %v: %v\n%s", b.name, what, patience, err, b.log)
		}
	}
}

// settled waits until the bridge knows both, and its kernel is as desired.
func (b *bridge) settled(t *testing.T) {
	t.Helper()
	b.until(t, "knows the network", func(ctx context.Context) error {
		st, err := b.client.Status(ctx)
		if err != nil {
			return err
		}
		if st.SPB.Adjacencies != 1 || st.SPB.Nodes != 2 || st.SPB.Agreement.Pending || !st.Kernel.InSync {
			return fmt.Errorf("spb %+v, kernel %+v", st.SPB, st.Kernel)
		}
		return nil
	})
}

// text is what the kernel does, as the tools of iproute2 read it: no counters.
func (b *bridge) text(t *testing.T) string {
	t.Helper()
	var out []byte
	var err error
	b.ns.Do(func() { out, err = exec.Command("sh", "-c", readBack).CombinedOutput() })
	if err != nil {
		t.Errorf("%v: %s", err, out)
	}
	return string(out)
}

// The addresses of "self" are those that sockets listen to; they end with them. A
// group that is "temp" the kernel has heard of by itself.
// Few processes: to start one is slow in the guest.
const readBack = `set -e
bridge -d -batch - <<. | grep -v " self \| temp "
link show
vlan show
fdb show
mdb show
.
tc -batch - <<.
qdisc show
filter show dev p1 egress
filter show dev p2 egress
filter show dev p2 ingress
.
ip -br addr show`

// stays fails if the kernel does something else than before.
func (b *bridge) stays(t *testing.T, before, when string) {
	t.Helper()
	if after := b.text(t); after != before {
		t.Errorf("%s: the kernel has changed %s (-before +after):\n%s", b.name, when, cmp.Diff(strings.Split(before, "\n"), strings.Split(after, "\n")))
	}
}

// dial opens connections from a namespace.
func dial(ns *kerneltest.NetNS) api.Dialer {
	return func(ctx context.Context, network, addr string) (c net.Conn, err error) {
		ns.Do(func() { c, err = (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, network, addr) })
		return c, err
	}
}

// as is a client of b with the certificate of another bridge.
func (s *site) as(t *testing.T, caller, b *bridge) *api.Client {
	t.Helper()
	keys, err := api.LoadKeys(api.KeyFiles(filepath.Join(s.dir, "keys"), caller.name))
	if err != nil {
		t.Fatal(err)
	}
	c := api.DialTLS(b.cfg.API.Listen.String(), b.name, keys, dial(caller.ns))
	t.Cleanup(c.Close)
	return c
}

// inject sends frames on the far side of a port.
func inject(t *testing.T, ns *kerneltest.NetNS, ifname string, frames [][]byte) {
	t.Helper()
	ns.Do(func() {
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fd)
		link, err := netlink.LinkByName(ifname)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range frames {
			to := &unix.SockaddrLinklayer{Ifindex: link.Attrs().Index, Halen: 6}
			err := unix.Sendto(fd, f, 0, to)
			for errors.Is(err, unix.ENOBUFS) {
				err = unix.Sendto(fd, f, 0, to)
			}
			if err != nil {
				t.Fatalf("send %d octets: %v", len(f), err)
			}
		}
	})
}

// capture returns gPTP and IS-IS frames that arrive on an interface from that
// address.
func capture(t *testing.T, ns *kerneltest.NetNS, ifname string, from []byte, n int) (frames [][]byte) {
	t.Helper()
	ns.Do(func() {
		const all = 0x0300 // ETH_P_ALL in network order
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, all)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fd)
		link, err := netlink.LinkByName(ifname)
		if err != nil {
			t.Fatal(err)
		}
		if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: link.Attrs().Index}); err != nil {
			t.Fatal(err)
		}
		if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 10}); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 9000)
		for len(frames) < n {
			size, _, err := unix.Recvfrom(fd, b, 0)
			if err != nil {
				t.Fatalf("%d of %d frames: %v", len(frames), n, err)
			}
			if size < 14 || !bytes.Equal(b[6:12], from) {
				continue
			}
			if typ := binary.BigEndian.Uint16(b[12:]); typ == 0x88f7 || typ <= 1500 {
				frames = append(frames, bytes.Clone(b[:size]))
			}
		}
	})
	return frames
}
