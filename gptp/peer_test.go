package gptp_test

import (
	"bufio"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	tsn "tsnswitch"
	"tsnswitch/gptp"
	"tsnswitch/internal/link"
)

// Real peers on a veth pair in a network namespace of the test's own, software
// stamps of the kernel: linuxptp's ptp4l, and this package itself.

const patience = 20 * time.Second

var macs = [2]tsn.MAC{{2, 0, 0, 0, 0, 0x11}, {2, 0, 0, 0, 0, 0x12}}

// vethPair moves the test's thread into a namespace with the pair gp0, gp1. Such
// tests wait more than they work: they run side by side.
func vethPair(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("real peers take seconds: left out with -short")
	}
	if os.Geteuid() != 0 {
		t.Skip("real peers need network namespaces: needs root")
	}
	t.Parallel()
	runtime.LockOSThread() // never unlocked: the thread ends with the test, the namespace with it
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Skipf("network namespaces: unshare: %v", err)
	}
	if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "gp0"}, PeerName: "gp1"}); err != nil {
		t.Skipf("veth pair: %v", err)
	}
	for i, name := range []string{"gp0", "gp1"} {
		l, err := netlink.LinkByName(name)
		if err == nil {
			err = netlink.LinkSetHardwareAddr(l, macs[i][:])
		}
		if err == nil {
			err = netlink.LinkSetUp(l)
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
}

// realNode is an Instance on a real interface with a virtual LocalClock.
type realNode struct {
	*gptp.Instance
	sys   *gptp.System
	t     *testing.T
	clock *link.Virtual
	links *link.Ports
}

type realEvent struct {
	to *realNode
	ev tsn.Event
}

func startNode(t *testing.T, i int, events chan realEvent, ppb int64, change func(*gptp.Config)) *realNode {
	t.Helper()
	cfg := gptp.DefaultConfig(macs[i], 1)
	cfg.Ports[0].NeighborPropDelayThresh = 20_000_000
	cfg.Ports[0].LogAnnounceInterval = -2
	cfg.Ports[0].SyncReceiptTimeout = 12 // a busy machine stalls
	if change != nil {
		change(&cfg)
	}
	in, err := gptp.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	clock, err := link.NewVirtual(tai(t), ppb, int64(i)*3_600_000_000_000)
	if err != nil {
		t.Fatal(err)
	}
	n := &realNode{Instance: in.Instance(0), sys: in, t: t, clock: clock}
	n.links, err = link.Open(link.Config{
		Ports: []link.PortConfig{{Port: 1, Ifname: fmt.Sprintf("gp%d", i), GPTP: true}},
		Clock: clock, Own: macs[i],
		Timing: func(ev tsn.Event) { events <- realEvent{n, ev} },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		go func() { // callbacks that wait must be able to return
			for range events {
			}
		}()
		n.links.Close()
	})
	return n
}

func (n *realNode) step(ev tsn.Event) {
	for _, e := range n.sys.Step(link.Now(), ev) {
		if s, ok := e.(tsn.Send); ok {
			if err := n.links.Send(s); err != nil {
				n.t.Logf("send: %v", err)
			}
		}
	}
}

// drive runs nodes until ok, or fails the test.
func drive(t *testing.T, what string, events chan realEvent, ok func() bool, nodes ...*realNode) {
	t.Helper()
	end := time.NewTimer(patience)
	defer end.Stop()
	start := time.Now()
	for !ok() {
		next := link.Now().Add(100_000_000) // ok may wait for something outside
		for _, n := range nodes {
			next = min(next, n.sys.Deadline())
		}
		timer := time.NewTimer(time.Duration(next.Sub(link.Now())))
		select {
		case e := <-events:
			e.to.step(e.ev)
		case <-timer.C:
			for _, n := range nodes {
				n.step(tsn.Timeout{})
			}
		case <-end.C:
			t.Fatalf("%s: not within %v: %+v", what, patience, nodes[0].Status())
		}
		timer.Stop()
	}
	t.Logf("%s after %d ms", what, time.Since(start).Milliseconds())
}

func tai(t *testing.T) int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_TAI, &ts); err != nil {
		t.Skipf("CLOCK_TAI: %v", err)
	}
	return ts.Nano()
}

// error is how far the node's gPTP time is off TAI, but for whole seconds.
func (n *realNode) error() int64 {
	now := tai(n.t)
	e := (n.Relation().At(n.clock.TAIToLocal(now)).NS - now) % 1_000_000_000
	return (e+1_500_000_000)%1_000_000_000 - 500_000_000
}

// measure samples the error against that of reference for a while.
//
// Expect microseconds: the first frame after a pause takes a cold way through a
// veth pair, an answer a warm one, so a Sync is later than half of an exchange.
func measure(t *testing.T, events chan realEvent, lasting time.Duration, n *realNode, reference func() int64, nodes ...*realNode) {
	t.Helper()
	var sum, largest float64
	count, end, next := 0, time.Now().Add(lasting), time.Now()
	drive(t, "measured", events, func() bool {
		if time.Now().After(next) {
			e := float64(n.error() - reference())
			sum += e * e
			largest = max(largest, math.Abs(e))
			count++
			next = next.Add(10 * time.Millisecond)
		}
		return time.Now().After(end)
	}, nodes...)
	s := n.Status()
	t.Logf("true error rms %.0f ns, max %.0f ns over %d samples; reported rms %.0f ns, %d outliers; link delay %.0f ns, rate %.3f ppm",
		math.Sqrt(sum/float64(count)), largest, count, s.Offset.RMSNS, s.Offset.Outliers, s.Ports[0].MeanLinkDelayNS, n.Relation().RatePPB/1000)
	if largest > 1e6 {
		t.Errorf("off by %.0f ns", largest)
	}
}

// startPtp4l runs ptp4l on gp1 without the right to touch the system clock, and
// sends its lines to the returned channel.
func startPtp4l(t *testing.T, priority1 int) chan string {
	t.Helper()
	for _, tool := range []string{"ptp4l", "setpriv"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is not installed", tool)
		}
	}
	dir := t.TempDir()
	conf := filepath.Join(dir, "gptp.conf")
	text := fmt.Sprintf(`[global]
gmCapable 1
priority1 %d
priority2 248
logAnnounceInterval -2
logSyncInterval -3
logMinPdelayReqInterval -3
syncReceiptTimeout 12
neighborPropDelayThresh 20000000
min_neighbor_prop_delay -20000000
assume_two_step 1
path_trace_enabled 1
follow_up_info 1
transportSpecific 0x1
ptp_dst_mac 01:80:C2:00:00:0E
network_transport L2
delay_mechanism P2P
time_stamping software
tx_timestamp_timeout 100
sanity_freq_limit 0
pi_proportional_const 0.7
pi_integral_const 0.3
summary_interval -3
uds_address %s
`, priority1, filepath.Join(dir, "uds"))
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("setpriv", "--bounding-set", "-sys_time", "--inh-caps", "-sys_time",
		"ptp4l", "-f", conf, "-i", "gp1", "-m", "-q")
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Skipf("ptp4l: %v", err)
	}
	lines := make(chan string, 1000)
	go func() {
		defer close(lines)
		for in := bufio.NewScanner(out); in.Scan(); {
			lines <- in.Text()
		}
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		for l := range lines {
			t.Log(l)
		}
		_ = cmd.Wait()
	})
	return lines
}

// sees reports whether ptp4l has printed want.
func sees(t *testing.T, lines chan string, want string) func() bool {
	found := false
	return func() bool {
		for {
			select {
			case l, ok := <-lines:
				if !ok {
					t.Fatal("ptp4l ended")
				}
				t.Log(l)
				found = found || strings.Contains(l, want)
			default:
				return found
			}
		}
	}
}

// ptp4l takes this node as grand master and becomes a slave of it.
func TestPtp4lFollowsUs(t *testing.T) {
	vethPair(t)
	events := make(chan realEvent, 100)
	lines := startPtp4l(t, 248)
	n := startNode(t, 0, events, 0, func(c *gptp.Config) { c.Domains[0].Priority1 = 100 })
	drive(t, "ptp4l is a slave", events, sees(t, lines, "UNCALIBRATED to SLAVE"), n)
	if s := n.Status(); !s.IsGM || !s.Ports[0].AsCapable || s.Ports[0].Counters.Malformed != 0 {
		t.Errorf("%+v", s)
	}
}

// This node follows a ptp4l grand master with a clock 80 ppm fast.
func TestWeFollowPtp4l(t *testing.T) {
	vethPair(t)
	events := make(chan realEvent, 100)
	lines := startPtp4l(t, 100)
	n := startNode(t, 0, events, 80_000, nil)
	master := sees(t, lines, "MASTER")
	drive(t, "synced", events, func() bool {
		s := n.Status()
		return master() && s.Synced && !s.IsGM && s.Ports[0].State == gptp.SlavePort
	}, n)
	measure(t, events, time.Second, n, func() int64 { return 0 }, n)
	if r := n.Relation().RatePPB; math.Abs(r+80_000) > 10_000 {
		t.Errorf("rate %.0f ppb", r)
	}
}

// Two of our own over the kernel, with clocks 150 ppm and an hour apart.
func TestTwoRealNodes(t *testing.T) {
	vethPair(t)
	events := make(chan realEvent, 100)
	gm := startNode(t, 0, events, 50_000, func(c *gptp.Config) { c.Domains[0].Priority1 = 100 })
	n := startNode(t, 1, events, -100_000, nil)
	drive(t, "synced", events, func() bool { return n.Synced() && n.GrandMaster() == gm.GrandMaster() }, gm, n)
	measure(t, events, time.Second, n, gm.error, gm, n)
}
