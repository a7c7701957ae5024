package gptptest

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"tsnswitch/internal/kerneltest"
)

// profiles is where Debian puts the configurations that linuxptp ships.
const profiles = "/usr/share/doc/linuxptp/configs/"

// software is what makes any profile work with software stamps and without the
// right to touch the clock.
var software = []string{
	"--time_stamping=software", "--tx_timestamp_timeout=100", "--sanity_freq_limit=0",
	"--neighborPropDelayThresh=20000000", "--summary_interval=-3",
}

// quick makes the gPTP profile start in two seconds, not seven, and forgives a
// busy machine.
var quick = []string{
	"--logMinPdelayReqInterval=-3", "--logAnnounceInterval=-2", "--syncReceiptTimeout=12", "--fault_reset_interval=-2",
	"--pi_proportional_const=0.7", "--pi_integral_const=0.3",
}

// ptp4l is one ptp4l.
type ptp4l struct {
	t    testing.TB
	ns   *kerneltest.NetNS
	id   string // clock identity
	args []string
	uds  string
	cmd  *exec.Cmd
	done chan struct{}

	mu    sync.Mutex
	lines []string // of this run
}

// startPtp4l starts ptp4l with a shipped profile, changed by options.
func startPtp4l(t testing.TB, ns *kerneltest.NetNS, profile string, ifnames []string, opts ...[]string) *ptp4l {
	t.Helper()
	if _, err := os.Stat(profiles + profile); err != nil {
		t.Skipf("linuxptp's example configuration is not installed: %v", err)
	}
	uds := filepath.Join(t.TempDir(), "uds")
	p := &ptp4l{t: t, ns: ns, uds: uds, id: identityOf(t, ns, ifnames[0])}
	p.args = []string{
		"--bounding-set", "-sys_time", "--inh-caps", "-sys_time",
		"ptp4l", "-f", profiles + profile, "-m", "-q", "--uds_address=" + uds,
	}
	for _, name := range ifnames {
		p.args = append(p.args, "-i", name)
	}
	for _, o := range append([][]string{software, {fmt.Sprintf("--utc_offset=%d", taiOffset(t))}}, opts...) {
		p.args = append(p.args, o...)
	}
	t.Cleanup(p.kill)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("ptp4l %s %v:\n%s", p.id, p.args, strings.Join(p.output(), "\n"))
		}
	})
	p.start()
	return p
}

// taiOffset is what CLOCK_TAI of the kernel is ahead of CLOCK_REALTIME, in seconds: 0
// if nobody told it, and then a grand master's time is ahead by no more.
func taiOffset(t testing.TB) int32 {
	t.Helper()
	var tx unix.Timex
	if _, err := unix.ClockAdjtime(unix.CLOCK_REALTIME, &tx); err != nil {
		t.Fatal(err)
	}
	return tx.Tai
}

// identityOf is the clock identity of ptp4l on an interface, as this project
// writes it.
func identityOf(t testing.TB, ns *kerneltest.NetNS, ifname string) string {
	t.Helper()
	var ifi *net.Interface
	var err error
	ns.Do(func() { ifi, err = net.InterfaceByName(ifname) })
	if err != nil {
		t.Fatal(err)
	}
	m := ifi.HardwareAddr
	return fmt.Sprintf("%x.fffe.%x", []byte(m[:3]), []byte(m[3:]))
}

// start starts the process, for the first time or again.
func (p *ptp4l) start() {
	p.t.Helper()
	cmd := exec.Command("setpriv", p.args...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		p.t.Fatal(err)
	}
	p.ns.Do(func() { err = cmd.Start() })
	if err != nil {
		p.t.Fatalf("ptp4l: %v", err)
	}
	p.mu.Lock()
	p.cmd, p.lines, p.done = cmd, nil, make(chan struct{})
	p.mu.Unlock()
	go func() {
		defer close(p.done)
		for in := bufio.NewScanner(out); in.Scan(); {
			p.mu.Lock()
			p.lines = append(p.lines, in.Text())
			p.mu.Unlock()
		}
	}()
}

// kill ends the process without a word to anybody.
func (p *ptp4l) kill() {
	if p.cmd != nil {
		_ = p.cmd.Process.Kill()
		<-p.done
		_ = p.cmd.Wait()
		p.cmd = nil
	}
}

// output is what this run has printed so far.
func (p *ptp4l) output() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string(nil), p.lines...)
}

// said reports whether this run has printed the text.
func (p *ptp4l) said(text string) func() bool {
	return func() bool { return strings.Contains(strings.Join(p.output(), "\n"), text) }
}

// pmc sends one management message to ptp4l and returns the fields of the answer.
func (p *ptp4l) pmc(message string, domain int) map[string]string {
	p.t.Helper()
	out, err := exec.Command("pmc", "-u", "-b", "0", "-t", "1", "-d", fmt.Sprint(domain), "-s", p.uds,
		"-i", p.uds+".pmc", message).CombinedOutput()
	if err != nil {
		p.t.Fatalf("pmc %s: %v: %s", message, err, out)
	}
	fields := map[string]string{}
	for _, line := range strings.Split(string(out), "\n") {
		if f := strings.Fields(line); len(f) == 2 {
			fields[f[0]] = f[1]
		}
	}
	return fields
}

// expect compares fields that pmc reads with what they have to be.
func (p *ptp4l) expect(message string, domain int, want map[string]string) {
	p.t.Helper()
	got := p.pmc(message, domain)
	for name, value := range want {
		if got[name] != value {
			p.t.Errorf("pmc %s: %s is %q, want %q", message, name, got[name], value)
		}
	}
}
