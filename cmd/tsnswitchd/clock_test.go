package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tsnswitch"
	"tsnswitch/internal/api"
	"tsnswitch/internal/kerneltest"
)

// clockNode is a daemon of role clock in a namespace of its own.
type clockNode struct {
	name   string
	ns     *kerneltest.NetNS
	client *api.Client
	cmd    *exec.Cmd
	log    bytes.Buffer
	done   chan error
}

// startClock runs the least configuration that is useful, with no capability
// but CAP_NET_RAW, which sockets need.
func startClock(t *testing.T, ns *kerneltest.NetNS, name, gptp string, ifnames ...string) *clockNode {
	t.Helper()
	dir := t.TempDir()
	ports := ""
	for i, n := range ifnames {
		ports += fmt.Sprintf("{port: %d, ifname: %s}, ", i+1, n)
	}
	socket := filepath.Join(dir, "s")
	conf := write(t, filepath.Join(dir, name+".yaml"), fmt.Sprintf("name: %s\nrole: clock\nports: [%s]\ngptp: {%s}\napi: {socket: %s}\n",
		name, strings.TrimSuffix(ports, ", "), gptp, socket))
	setpriv, err := exec.LookPath("setpriv")
	if err != nil {
		t.Skip("setpriv is missing")
	}
	daemon := command(t)
	c := &clockNode{name: name, ns: ns, done: make(chan error, 1), client: api.DialUnix(socket)}
	c.cmd = exec.Command(setpriv, "--bounding-set=-all,+net_raw", "--inh-caps=-all", daemon.Path, "--config", conf)
	c.cmd.Env, c.cmd.Stderr = daemon.Env, &c.log
	ns.Do(func() { err = c.cmd.Start() })
	if err != nil {
		t.Fatal(err)
	}
	go func() { c.done <- c.cmd.Wait() }()
	t.Cleanup(func() { c.stop(t) })
	return c
}

func (c *clockNode) stop(t *testing.T) {
	if err := c.cmd.Process.Signal(os.Interrupt); err == nil {
		if err := <-c.done; err != nil {
			t.Errorf("%s: %v\n%s", c.name, err, c.log.String())
		}
	}
	if t.Failed() {
		t.Logf("%s:\n%s", c.name, c.log.String())
	}
}

// until asks for the gPTP status until it is as wanted.
func (c *clockNode) until(t *testing.T, want string, ok func(*api.GPTPStatus) bool) *api.GPTPStatus {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var last string
	for {
		st, err := c.client.GPTP(ctx)
		if err == nil && ok(st) {
			return st
		}
		if last = fmt.Sprintf("%+v %v", st, err); ctx.Err() != nil {
			t.Fatalf("%s: not %s; last: %s\n%s", c.name, want, last, c.log.String())
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// Three daemons of role clock are grand master, relay and end station. They
// need no more than CAP_NET_RAW, and change nothing in the kernel.
func TestClockRole(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("network namespaces need root")
	}
	a, b, c := kerneltest.NewNetNS(t), kerneltest.NewNetNS(t), kerneltest.NewNetNS(t)
	kerneltest.VethPair(t, 1, kerneltest.End{NS: a, Name: "eth0"}, kerneltest.End{NS: b, Name: "eth0"})
	kerneltest.VethPair(t, 1, kerneltest.End{NS: b, Name: "eth1"}, kerneltest.End{NS: c, Name: "eth0"})
	before := qdiscs(t, b)
	gm := startClock(t, a, "gm", "priority1: 100, clock: {kind: system}", "eth0")
	relay := startClock(t, b, "relay", "priority1: 200, clock: {kind: virtual, ppm: 50, offset: 3s}", "eth0", "eth1")
	end := startClock(t, c, "end", "priority1: 255, realtime: 10, clock: {kind: system, steer: true}", "eth0")

	master := gm.until(t, "grand master", func(s *api.GPTPStatus) bool { return s.IsGrandmaster && s.Synchronized })
	id := master.ClockIdentity
	follows := func(steps uint16) func(*api.GPTPStatus) bool {
		return func(s *api.GPTPStatus) bool {
			return s.Grandmaster == id && s.Synchronized && s.StepsRemoved == steps
		}
	}
	st := relay.until(t, "following the grand master", follows(1))
	if len(st.Ports) != 2 {
		t.Errorf("relay: %+v", st.Ports)
	}
	end.until(t, "behind the relay", follows(2))
	if after := qdiscs(t, b); after != before {
		t.Errorf("the kernel was changed: %s, before %s", after, before)
	}
	if _, err := relay.client.StageSchedule(t.Context(), api.StageRequest{ID: "x", Base: tsn.PTPTime{NS: 1}}); api.ErrorCode(err) != api.CodeUnsupported {
		t.Errorf("a schedule for a clock: %v", err)
	}
	for _, n := range []*clockNode{gm, relay} {
		if whole, err := n.client.Status(t.Context()); err != nil || whole.Role != "clock" || len(whole.Degraded) != 0 {
			t.Errorf("%s: status %+v: %v", n.name, whole, err)
		}
	}
	// It may neither steer nor be real-time, which status names; it goes on.
	end.until(t, "unsteered", func(s *api.GPTPStatus) bool { return !s.Steered })
	whole, err := end.client.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Join(whole.Degraded, "\n")
	for _, want := range []string{"the system clock is not steered", "gPTP is not real-time: lock memory", "SCHED_FIFO"} {
		if !strings.Contains(text, want) {
			t.Errorf("status does not say %q: %s", want, text)
		}
	}
	gm.cmd.Process.Kill()
	<-gm.done
	end.until(t, "behind the relay as grand master", func(s *api.GPTPStatus) bool { return s.Grandmaster != id && s.Synchronized })
}

// qdiscs lists what a switch would change of its interfaces.
func qdiscs(t *testing.T, ns *kerneltest.NetNS) string {
	t.Helper()
	links, err := ns.Netlink().LinkList()
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, l := range links {
		q, err := ns.Netlink().QdiscList(l)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, fmt.Sprint(l.Type(), l.Attrs().Name, l.Attrs().MasterIndex, q))
	}
	return strings.Join(out, "\n")
}
