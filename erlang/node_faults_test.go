package erlang_test

import (
	"fmt"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"tsnswitch/distlink/beamtest"
)

const sink = "distlink_faults:sink()"

// kill -9 of a node in the middle of traffic, and its return: nodedown, each
// monitor and link fires once, the old processes are dead, and nothing of
// before comes to the new incarnation.
func TestKilledAndBack(t *testing.T) {
	port := beamtest.Port(t, addrA, addrB)
	b := beamtest.Start(t, "distlink", "b@"+addrB, port, sink, "-distlink_ip", addrB)
	a := beamtest.Start(t, "distlink", "a@"+addrA, port, fmt.Sprintf("distlink_faults:survivor('%s', talking), %s", b.Name, sleep), "-distlink_ip", addrA)
	a.Expect("connected", patience)
	b.Kill()
	start := time.Now()
	a.Expect("down", patience)
	t.Logf("nodedown after %v, keep-alive is 0.9 s", time.Since(start))
	beamtest.Start(t, "distlink", "b@"+addrB, port, sink, "-distlink_ip", addrB)
	start = time.Now()
	a.Expect("again", patience)
	t.Logf("connected again %v after its boot", time.Since(start))
	a.Expect("survived ok", patience)
	t.Logf("%v", time.Since(start))
}

// A node that is killed and back before anybody has noticed: it is accepted at
// once although the survivor's keep-alive is a minute, and the old connection is
// gone with all that was on it.
func TestBackUnnoticed(t *testing.T) {
	for _, c := range []struct {
		name string
		args []string
	}{{"open", nil}, {"keys", []string{"-distlink_psk", keyFile(t, keyOne)}}} {
		t.Run(c.name, func(t *testing.T) {
			if c.args != nil {
				needCrypto(t)
			}
			args := append(c.args, "-distlink_keepalive", "60000")
			port := beamtest.Port(t, addrA, addrB)
			b := beamtest.Start(t, "distlink", "b@"+addrB, port, sink, append(args, "-distlink_ip", addrB)...)
			a := beamtest.Start(t, "distlink", "a@"+addrA, port, fmt.Sprintf("distlink_faults:survivor('%s', quiet), %s", b.Name, sleep), append(args, "-distlink_ip", addrA)...)
			a.Expect("connected", patience)
			b.Kill()
			start := time.Now()
			again := beamtest.Start(t, "distlink", "b@"+addrB, port, fmt.Sprintf(`spawn(fun() -> io:format("first ~p~n", [net_adm:ping('%s')]) end), %s`, a.Name, sink), append(args, "-distlink_ip", addrB)...)
			if l := again.Expect("first", patience); l != "first pong" {
				t.Errorf("the first attempt to connect: %s", l)
			}
			t.Logf("accepted after %v, boot included", time.Since(start))
			a.Expect("survived ok", patience)
		})
	}
}

// alive reads lines up to one that contains text; nobody may go down before.
func alive(t *testing.T, a *beamtest.Node, text string) {
	t.Helper()
	for {
		switch l := a.Line(patience); {
		case strings.HasPrefix(l, "down "):
			t.Fatalf("before %q: %s", text, l)
		case strings.Contains(l, text):
			return
		}
	}
}

// A node that is stopped for a while, under load, is not dead; one that stays
// stopped is.
func TestStopped(t *testing.T) {
	args := []string{"-distlink_keepalive", "3000"}
	port := beamtest.Port(t, addrA, addrB)
	b := beamtest.Start(t, "distlink", "b@"+addrB, port, sink, append(args, "-distlink_ip", addrB)...)
	a := beamtest.Start(t, "distlink", "a@"+addrA, port, fmt.Sprintf("distlink_faults:load('%s')", b.Name), append(args, "-distlink_ip", addrA)...)
	for i := range 2 {
		alive(t, a, fmt.Sprintf("round %d", 2*i+1))
		b.Stop()
		time.Sleep(600 * time.Millisecond) // less than the keep-alive
		b.Continue()
		alive(t, a, fmt.Sprintf("round %d", 2*i+2))
	}
	b.Stop()
	start := time.Now()
	a.Expect("down "+b.Name+" net_tick_timeout", patience)
	t.Logf("nodedown after %v, keep-alive is 3 s", time.Since(start))
}

// Nodes on a machine that has far more to do than it can: no false death within the
// default keep-alive.
func TestBusyMachine(t *testing.T) {
	port := beamtest.Port(t, addrA, addrB)
	b := beamtest.Start(t, "distlink", "b@"+addrB, port, sink, "-distlink_ip", addrB)
	a := beamtest.Start(t, "distlink", "a@"+addrA, port, fmt.Sprintf("distlink_faults:load('%s')", b.Name), "-distlink_ip", addrA)
	alive(t, a, "round 1")
	for range 2 * runtime.NumCPU() {
		cmd := exec.Command("nice", "-n", "10", "sh", "-c", "while :; do :; done")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	}
	alive(t, a, "round 5")
}

// The link goes down at one end, or all that comes in is lost, or the switches
// between are parted, in the middle of traffic: both ends say so, and are
// together again when it is back.
func TestCut(t *testing.T) {
	net := beamtest.NewNet(t, 2, beamtest.Link{})
	b := net.Start(1, "distlink_faults:watch()")
	b.Expect("watching", patience)
	a := net.Start(0, fmt.Sprintf("distlink_faults:keep('%s')", net.Name(1)))
	for _, c := range []struct {
		name      string
		cut, heal func()
	}{
		{"link down", func() { net.Unplug(0) }, func() { net.Plug(0) }},
		{"deaf", func() { net.Deafen(1) }, func() { net.Hear(1) }},
		{"trunk cut", net.Cut, net.Heal},
	} {
		a.Expect("up "+net.Name(1), patience)
		b.Expect("up "+net.Name(0), patience)
		start := time.Now()
		c.cut()
		a.Expect("down "+net.Name(1), patience)
		known := time.Since(start)
		b.Expect("down "+net.Name(0), patience)
		t.Logf("%s: one knows after %v, both after %v", c.name, known, time.Since(start))
		c.heal()
	}
	a.Expect("up "+net.Name(1), patience)
}
