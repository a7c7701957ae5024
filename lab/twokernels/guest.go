//go:build linux && amd64

package main

import (
	"context"
	"errors"
	"fmt"
	"net/rpc"
	"net/rpc/jsonrpc"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"tsnswitch/internal/kerneltest/uml"
)

// A guest is a User-mode Linux kernel with one bridge in it, as the host sees
// it: calls to its agent.
//
//	host station ── h3 ═veth═ p3 ┤bridge├ p1 ═veth═ p1x ──tc── vec0 ──> the other guest
type guest struct {
	name string
	// station is the address of the end station at port 3.
	station string
	rpc     *rpc.Client
	epoch   epoch
	sending int           // crossings so far
	done    chan struct{} // closed at the end of the kernel, with err
	err     error
}

// bootPair starts two guests joined by a cable. They end with ctx.
func bootPair(ctx context.Context, names [2]string) (pair [2]*guest, err error) {
	cable, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return pair, fmt.Errorf("cable: %w", err)
	}
	for i, name := range names {
		link := uml.Link{File: os.NewFile(uintptr(cable[i]), "cable"), MAC: fmt.Sprintf("02:00:00:00:00:f%d", i)}
		if pair[i], err = boot(ctx, name, link); err != nil {
			return pair, err
		}
	}
	return pair, nil
}

// boot returns when the guest's agent waits for calls.
func boot(ctx context.Context, name string, link uml.Link) (*guest, error) {
	control, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("control line: %w", err)
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	g := &guest{name: name, done: make(chan struct{})}
	line := os.NewFile(uintptr(control[0]), "control")
	go func() {
		defer close(g.done)
		status, err := uml.Run(ctx, uml.Config{
			Args: []string{self, agentArg}, Mem: "512M", Stdout: os.Stderr, Stderr: os.Stderr,
			Control: os.NewFile(uintptr(control[1]), "control"), Links: []uml.Link{link},
		})
		if g.err = err; err == nil && status != 0 {
			g.err = fmt.Errorf("the agent ended with status %d", status)
		}
	}()
	if _, err := line.Read(make([]byte, 1)); err != nil { // the agent's greeting
		<-g.done
		return nil, fmt.Errorf("boot %s: %w", name, errors.Join(g.err, err))
	}
	g.rpc = jsonrpc.NewClient(line)
	return g, nil
}

// call calls the agent; it fails when the guest or ctx ends first.
func (g *guest) call(ctx context.Context, method string, args, reply any) error {
	call := g.rpc.Go("Agent."+method, args, reply, make(chan *rpc.Call, 1))
	select {
	case <-call.Done:
		if fault := rpc.ServerError(""); call.Error != nil && !errors.As(call.Error, &fault) {
			<-g.done // the line broke because the kernel ended
			return fmt.Errorf("%s: its kernel has ended: %w", g.name, errors.Join(g.err, call.Error))
		}
		if call.Error != nil {
			return fmt.Errorf("%s: %s: %w", g.name, method, call.Error)
		}
		return nil
	case <-g.done:
		return fmt.Errorf("%s: its kernel has ended: %w", g.name, g.err)
	case <-ctx.Done():
		return fmt.Errorf("%s: %s: %w", g.name, method, context.Cause(ctx))
	}
}

// run runs a program in the guest; a status other than 0 is an error that
// carries what it said.
func (g *guest) run(ctx context.Context, args ...string) (string, error) {
	var r Result
	err := g.call(ctx, "Run", Command{Args: args, Limit: int64(40 * time.Second)}, &r)
	if err == nil && r.Status != 0 {
		err = fmt.Errorf("%s: %s", g.name, strings.TrimSpace(r.Stderr))
	}
	return r.Stdout, err
}

// shell runs a script that stops at its first failure.
func (g *guest) shell(ctx context.Context, script string) error {
	_, err := g.run(ctx, "sh", "-euc", script)
	return err
}

// quit ends the guest and waits until its kernel has ended.
func (g *guest) quit() {
	if g == nil {
		return
	}
	_ = g.rpc.Go("Agent.Quit", None{}, &None{}, make(chan *rpc.Call, 1))
	<-g.done
}

// both runs f for both guests at the same time.
func both(pair [2]*guest, f func(i int, g *guest) error) error {
	errs := make(chan error, len(pair))
	for i, g := range pair {
		go func() { errs <- f(i, g) }()
	}
	return errors.Join(<-errs, <-errs)
}

// cables is the wiring inside a guest. User-mode Linux's own device gives no
// transmit time stamps and has one queue, so the bridge's port is a veth whose
// far end is spliced to it.
const cables = `
for f in all default; do echo 1 >/proc/sys/net/ipv6/conf/$f/disable_ipv6 || true; done
for p in "p1 p1x" "p3 h3"; do
	ip link add ${p% *} numtxqueues 8 numrxqueues 8 type veth peer name ${p#* }
	ip link set ${p% *} up; ip link set ${p#* } up
done
ip link set vec0 up promisc on
for d in "p1x vec0" "vec0 p1x"; do
	tc qdisc add dev ${d% *} clsact
	tc filter add dev ${d% *} ingress pref 10 protocol all matchall action mirred egress redirect dev ${d#* }
done
`

// handGates makes a plain bridge whose given port sends only in a window at
// the start of each cycle of the guest's own CLOCK_TAI.
func handGates(port string, window, cycle int64) string {
	return fmt.Sprintf(`
ip link add br0 type bridge
ip link set br0 up
ip link set p1 master br0
ip link set p3 master br0
tc qdisc add dev %s root taprio num_tc 1 map 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 queues 1@0 \
	base-time 0 sched-entry S 01 %d sched-entry S 00 %d flags 0x0 clockid CLOCK_TAI
`, port, window, cycle-window)
}

// undoHand leaves nothing of handGates.
func undoHand(port string) string {
	return fmt.Sprintf("tc qdisc del dev %s root; ip link del br0", port)
}

// gPTP frames, and only they, are lost on the wire, or not.
const (
	cutGPTP  = "tc filter add dev vec0 ingress pref 1 protocol 0x88f7 matchall action drop"
	mendGPTP = "tc filter del dev vec0 ingress pref 1"
)
