//go:build linux && amd64

package main

import (
	"bytes"
	"errors"
	"fmt"
	"net/rpc"
	"net/rpc/jsonrpc"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// agentArg is the hidden first argument that makes this program the agent in
// a guest: the host's hands there, called over the control line.
const agentArg = "agent"

// Agent is what the host can call; see net/rpc. All times are ns.
type Agent struct {
	mu     sync.Mutex
	daemon *exec.Cmd
	exited chan error
	watch  *watch
}

// agentMain serves the calls that come by descriptor 3 until Quit.
func agentMain() error {
	server := rpc.NewServer()
	if err := server.Register(&Agent{}); err != nil {
		return err
	}
	line := os.NewFile(3, "control")
	if _, err := line.Write([]byte{'!'}); err != nil { // the host waits for the line to be open
		return err
	}
	server.ServeCodec(jsonrpc.NewServerCodec(line))
	return nil
}

// None is no argument, or no result.
type None struct{}

// Quit ends the guest.
func (*Agent) Quit(None, *None) error { os.Exit(0); return nil }

// Command is a program to run to its end.
type Command struct {
	Args  []string
	Limit int64
}

// Result is what became of it.
type Result struct {
	Stdout, Stderr string
	Status         int
}

// Run runs a program.
func (*Agent) Run(c Command, r *Result) error {
	cmd := exec.Command(c.Args[0], c.Args[1:]...)
	var out, errb bytes.Buffer
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = &out, &errb, 30*time.Second
	if err := cmd.Start(); err != nil {
		return err
	}
	kill := time.AfterFunc(time.Duration(c.Limit), func() { _ = cmd.Process.Kill() })
	defer kill.Stop()
	err := cmd.Wait()
	r.Stdout, r.Stderr, r.Status = out.String(), errb.String(), cmd.ProcessState.ExitCode()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		return err
	}
	return nil
}

// Daemon says how to start one.
type Daemon struct {
	Args []string
	Log  string
}

// StartDaemon starts the guest's daemon.
func (a *Agent) StartDaemon(d Daemon, _ *None) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	log, err := os.OpenFile(d.Log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(d.Args[0], d.Args[1:]...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return err
	}
	exited := make(chan error, 1)
	a.daemon, a.exited = cmd, exited
	go func() { exited <- cmd.Wait() }()
	return nil
}

// StopDaemon asks the guest's daemon to end, and waits until it has.
func (a *Agent) StopDaemon(None, *None) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.daemon == nil {
		return errors.New("no daemon was started")
	}
	if err := a.daemon.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	err := <-a.exited
	a.daemon = nil
	return err
}

// A Reading relates the guest's clocks at one moment: TAI was read between
// Raw-Error and Raw+Error. Raw is CLOCK_MONOTONIC_RAW: what the kernel counts
// from its host's clock, whatever anybody does to the time it makes of that.
type Reading struct{ Raw, TAI, Error int64 }

// Clock reads both clocks, as close together as it can in a few attempts.
func (*Agent) Clock(_ None, r *Reading) error {
	const attempts = 4
	for i := range attempts {
		now, err := readBoth()
		if err != nil {
			return err
		}
		if i == 0 || now.Error < r.Error {
			*r = now
		}
	}
	return nil
}

func readBoth() (Reading, error) {
	before, err1 := readClock(unix.CLOCK_MONOTONIC_RAW)
	tai, err2 := readClock(unix.CLOCK_TAI)
	after, err3 := readClock(unix.CLOCK_MONOTONIC_RAW)
	half := (after - before) / 2
	return Reading{Raw: before + half, TAI: tai, Error: half}, errors.Join(err1, err2, err3)
}

func readClock(id int32) (int64, error) {
	var ts unix.Timespec
	err := unix.ClockGettime(id, &ts)
	return ts.Nano(), err
}

// Step moves the guest's clock, as an administrator or another program would.
func (*Agent) Step(ns int64, _ *None) error {
	now, err := readClock(unix.CLOCK_REALTIME)
	if err != nil {
		return err
	}
	ts := unix.NsecToTimespec(now + ns)
	return unix.ClockSettime(unix.CLOCK_REALTIME, &ts)
}

// Detune makes the guest's oscillator run ppm parts in a million too fast.
// This is the length of a tick, not the frequency that daemons steer: they
// find an oscillator that is wrong.
func (*Agent) Detune(ppm int64, _ *None) error {
	const tick = 10_000 // us, of a right clock with 100 ticks a second
	if ppm%100 != 0 {
		return fmt.Errorf("a tick is changed in steps of 100 ppm, not %d", ppm)
	}
	tx := unix.Timex{Modes: unix.ADJ_TICK, Tick: tick + ppm/100}
	_, err := unix.Adjtimex(&tx)
	return err
}
