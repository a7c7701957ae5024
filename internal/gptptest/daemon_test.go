package gptptest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"tsnswitch/internal/api"
	"tsnswitch/internal/kerneltest"
)

// daemon is one tsnswitchd.
type daemon struct {
	t      testing.TB
	ns     *kerneltest.NetNS
	id     string // clock identity
	conf   string // configuration file
	log    string // file
	cmd    *exec.Cmd
	client *api.Client
}

// options are the settings of a daemon, in the words of the configuration.
type options struct {
	system int      // number in its identity; default 1
	ports  []string // interfaces, ports 1, 2 ...
	gptp   string   // lines of the section gptp, indented by two
	states []string // of each port, if any: its desiredState
}

// startDaemon starts a tsnswitchd of role clock in a namespace.
func startDaemon(t testing.TB, ns *kerneltest.NetNS, o options) *daemon {
	t.Helper()
	dir := t.TempDir()
	n := max(o.system, 1)
	d := &daemon{
		t: t, ns: ns, id: fmt.Sprintf("020000.fffe.%06x", n),
		conf: filepath.Join(dir, "tsnswitchd.yaml"), log: filepath.Join(dir, "log"),
	}
	text := fmt.Sprintf("role: clock\nname: n%d\nsystemId: 02:00:00:00:%02x:%02x\nstateDir: %s\napi: {socket: %s/s}\nports:\n", n, n>>8, n&255, dir, dir)
	for i, name := range o.ports {
		text += fmt.Sprintf("  - {port: %d, ifname: %s", i+1, name)
		if i < len(o.states) {
			text += ", gptp: {desiredState: " + o.states[i] + "}"
		}
		text += "}\n"
	}
	text += "gptp:\n  enabled: true\n" + o.gptp
	if err := os.WriteFile(d.conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	d.client = api.DialUnix(filepath.Join(dir, "s"))
	t.Cleanup(d.client.Close)
	t.Cleanup(d.kill)
	t.Cleanup(func() {
		if log, err := os.ReadFile(d.log); err == nil && t.Failed() {
			t.Logf("%s:\n%s%s", d.id, text, log)
		}
	})
	d.start()
	return d
}

// start starts the process, for the first time or again.
func (d *daemon) start() {
	d.t.Helper()
	path, err := tsnswitchd()
	if err != nil {
		d.t.Fatal(err)
	}
	log, err := os.OpenFile(d.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		d.t.Fatal(err)
	}
	defer log.Close()
	d.cmd = exec.Command(path, "--config", d.conf)
	d.cmd.Stdout, d.cmd.Stderr = log, log
	d.ns.Do(func() { err = d.cmd.Start() })
	if err != nil {
		d.t.Fatal(err)
	}
}

// kill ends the process without a word to anybody.
func (d *daemon) kill() {
	if d.cmd != nil {
		_ = d.cmd.Process.Kill()
		_ = d.cmd.Wait()
		d.cmd = nil
	}
}

// status asks the daemon; zero until it answers.
func (d *daemon) status() api.GPTPStatus {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	s, err := d.client.GPTP(ctx)
	if err != nil {
		return api.GPTPStatus{}
	}
	return *s
}

// follows reports whether the daemon is synchronized to a grand master.
func (d *daemon) follows(gm string) func() bool {
	return func() bool {
		s := d.status()
		return s.Synchronized && s.Grandmaster == gm
	}
}

// error is how far the daemon's gPTP time is off the kernel's clock, but for
// whole seconds, in ns.
func (d *daemon) error() int64 {
	const second = 1_000_000_000
	s := d.status()
	if len(s.Ports) == 0 {
		d.t.Fatalf("%s does not answer", d.id)
	}
	return ((-s.Ports[0].GateOffset+second/2)%second+second)%second - second/2
}

// counter is a counter of troubles, summed over ports; 0 until the daemon answers.
func (d *daemon) counter(name string) (n uint64) {
	s, err := d.client.Status(d.t.Context())
	if err != nil {
		return 0
	}
	for _, c := range s.Counters {
		if c.Name == name {
			n += c.Value
		}
	}
	return n
}
