// Package beamtest runs real Erlang nodes and a bad network for tests. Nodes
// need no epmd: all use one port, each on its own loopback address.
package beamtest

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// An Erlang is the `erl` to run; erlc is beside it.
type Erlang string

// Stock is the Erlang in the path.
const Stock Erlang = "erl"

// OTP27 is what scripts/otp.sh has unpacked. Without it the test is skipped.
func OTP27(t testing.TB) Erlang {
	t.Helper()
	cache := os.Getenv("TSN_CACHE")
	if cache == "" {
		base := os.Getenv("XDG_CACHE_HOME")
		if base == "" {
			base = filepath.Join(os.Getenv("HOME"), ".cache")
		}
		cache = filepath.Join(base, "tsnswitch")
	}
	erl := filepath.Join(cache, "otp", "trixie", "bin", "erl")
	if _, err := os.Stat(erl); err != nil {
		t.Skip("Erlang/OTP 27 is not in the cache (run scripts/otp.sh; it unpacks Debian 13's erlang-base)")
	}
	return Erlang(erl)
}

// compiler is the erlc of an Erlang.
func (e Erlang) compiler() string {
	if dir, _ := filepath.Split(string(e)); dir != "" {
		return filepath.Join(dir, "erlc")
	}
	return "erlc"
}

// Release is the number of the OTP release.
func (e Erlang) Release(t testing.TB) int {
	t.Helper()
	out, err := exec.Command(string(e), "-noshell", "-eval", "io:put_chars(erlang:system_info(otp_release)), halt(0).").Output()
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(string(out))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// Compile compiles Erlang sources into dir.
func (e Erlang) Compile(dir string, args ...string) error {
	out, err := exec.Command(e.compiler(), append([]string{"-pa", dir, "-o", dir}, args...)...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("erlc: %w\n%s", err, out)
	}
	return nil
}

// CompileAll compiles all sources, those of the tests too, into dir. Warnings
// are errors.
func (e Erlang) CompileAll(dir string) error {
	_, file, _, _ := runtime.Caller(0)
	root := filepath.Join(filepath.Dir(file), "..", "..", "erlang")
	src, _ := filepath.Glob(filepath.Join(root, "src", "*.erl"))
	test, _ := filepath.Glob(filepath.Join(root, "test", "*.erl"))
	behaviour := filepath.Join(root, "src", "gen_dist.erl") // others are checked against it
	if err := e.Compile(dir, "-Wall", "-Werror", behaviour); err != nil {
		return err
	}
	src = slices.DeleteFunc(src, func(f string) bool { return f == behaviour })
	return e.Compile(dir, slices.Concat([]string{"-Wall", "-Werror"}, src, test)...)
}

var compiled struct {
	sync.Once
	dir string
	err error
}

// Code compiles the Erlang sources and returns the code path. Without Erlang
// the test is skipped.
func Code(t testing.TB) string {
	t.Helper()
	for _, tool := range []string{string(Stock), Stock.compiler()} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is not installed (Debian: apt-get install erlang-base)", tool)
		}
	}
	compiled.Do(func() {
		if compiled.dir, compiled.err = os.MkdirTemp("", "distlink-ebin"); compiled.err == nil {
			compiled.err = Stock.CompileAll(compiled.dir)
		}
	})
	if compiled.err != nil {
		t.Fatal(compiled.err)
	}
	return compiled.dir
}

// Cleanup removes what Code made; call it at the end of TestMain.
func Cleanup() {
	if compiled.dir != "" {
		_ = os.RemoveAll(compiled.dir)
	}
}

// HasCrypto reports whether Erlang has its crypto application.
func HasCrypto(t testing.TB) bool {
	t.Helper()
	return exec.Command(string(Stock), "-noshell", "-eval", "crypto:info_lib(), halt(0).").Run() == nil
}

// Port finds a UDP port that is free on every given address.
func Port(t *testing.T, addresses ...string) int {
	t.Helper()
next:
	for range 50 {
		c, err := net.ListenPacket("udp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		port := c.LocalAddr().(*net.UDPAddr).Port
		_ = c.Close()
		for _, a := range addresses {
			c, err := net.ListenPacket("udp4", net.JoinHostPort(a, strconv.Itoa(port)))
			if err != nil {
				continue next
			}
			_ = c.Close()
		}
		return port
	}
	t.Fatal("no free port")
	return 0
}

// TCPPort finds a free TCP port on 127.0.0.1.
func TCPPort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().(*net.TCPAddr).Port
}

// EPMD runs a port mapper of the test's own and returns host:port.
func EPMD(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("epmd")
	if err != nil {
		t.Skip("epmd is not installed (Debian: apt-get install erlang-base)")
	}
	port := strconv.Itoa(TCPPort(t))
	cmd := exec.Command(path, "-port", port, "-address", "127.0.0.9") // and 127.0.0.1, always
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	WaitTCP(t, "127.0.0.1:"+port)
	return "127.0.0.1:" + port
}

// WaitTCP waits until somebody accepts at address.
func WaitTCP(t *testing.T, address string) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for range 500 {
		if c, err := net.Dial("tcp4", address); err == nil {
			_ = c.Close()
			return
		}
		<-tick.C
	}
	t.Fatalf("nobody listens on %s", address)
}

// Node is a running BEAM.
type Node struct {
	Name  string
	cmd   *exec.Cmd
	in    io.WriteCloser
	lines chan string
	t     *testing.T
}

// Start boots a node; eval runs in it and prints lines. The node is killed at
// the end of the test.
func Start(t *testing.T, carrier, name string, port int, eval string, args ...string) *Node {
	t.Helper()
	return Stock.Start(t, carrier, name, port, eval, args...)
}

// Start is Start in this Erlang.
func (e Erlang) Start(t *testing.T, carrier, name string, port int, eval string, args ...string) *Node {
	t.Helper()
	return e.start(t, carrier, name, eval, nil, nil, append(args, "-start_epmd", "false", "-erl_epmd_port", strconv.Itoa(port)))
}

// StartEPMD is Start for a node that uses the epmd at host:port.
func StartEPMD(t *testing.T, carrier, name, epmd, eval string, args ...string) *Node {
	t.Helper()
	_, port, err := net.SplitHostPort(epmd)
	if err != nil {
		t.Fatal(err)
	}
	return Stock.start(t, carrier, name, eval, nil, []string{"ERL_EPMD_PORT=" + port}, append(args, "-start_epmd", "false"))
}

func (e Erlang) start(t *testing.T, carrier, name, eval string, inside, env, args []string) *Node {
	t.Helper()
	argv := append(append(inside, string(e)), append([]string{
		"-noshell", "-setcookie", "c", "-pa", Code(t), "-proto_dist", carrier, "-name", name,
	}, insecure(args)...)...)
	argv = append(argv, "-eval", "io:format(\"booted~n\"), "+eval+".")
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = append(append(os.Environ(), "ERL_CRASH_DUMP=/dev/null"), env...)
	out, w := io.Pipe()
	cmd.Stdout, cmd.Stderr = w, w
	in, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	n := &Node{Name: name, cmd: cmd, in: in, lines: make(chan string, 1000), t: t}
	waited := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		_ = w.Close()
		close(waited)
	}()
	go func() {
		defer close(n.lines)
		s := bufio.NewScanner(out)
		s.Buffer(nil, 1<<20)
		for s.Scan() {
			n.lines <- s.Text()
		}
	}()
	t.Cleanup(func() {
		n.Kill()
		<-waited
	})
	n.Expect("booted", 60*time.Second)
	return n
}

// insecure chooses no security, where the test says nothing about it.
func insecure(args []string) []string {
	if slices.ContainsFunc(args, func(a string) bool { return a == "-distlink_psk" || a == "-distlink_cert" || a == "-distlink_security" }) {
		return args
	}
	return append(args, "-distlink_security", "none")
}

// BootFails runs a node that must not come up and returns what it printed.
func BootFails(t *testing.T, carrier, name string, port int, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, string(Stock), append([]string{
		"-noshell", "-setcookie", "c", "-pa", Code(t), "-proto_dist", carrier, "-name", name,
		"-start_epmd", "false", "-erl_epmd_port", strconv.Itoa(port), "-eval", "halt(0).",
	}, insecure(args)...)...)
	cmd.Env = append(os.Environ(), "ERL_CRASH_DUMP=/dev/null")
	out, err := cmd.CombinedOutput()
	if err == nil || ctx.Err() != nil {
		t.Fatalf("node came up or hangs: %v\n%s", err, out)
	}
	return string(out)
}

// Kill is kill -9.
func (n *Node) Kill() { _ = n.cmd.Process.Kill() }

// Stop is kill -STOP: the node is silent, and goes on after Continue.
func (n *Node) Stop() { _ = n.cmd.Process.Signal(syscall.SIGSTOP) }

// Continue is kill -CONT.
func (n *Node) Continue() { _ = n.cmd.Process.Signal(syscall.SIGCONT) }

// Memory is the resident set and the highest it has been, in KiB.
func (n *Node) Memory() (rss, peak int) {
	n.t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", n.cmd.Process.Pid))
	if err != nil {
		n.t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		_, _ = fmt.Sscanf(line, "VmRSS: %d", &rss)
		_, _ = fmt.Sscanf(line, "VmHWM: %d", &peak)
	}
	return rss, peak
}

// Say gives the node a line to read.
func (n *Node) Say(line string) { _, _ = io.WriteString(n.in, line+"\n") }

// Line returns the node's next line.
func (n *Node) Line(within time.Duration) string {
	n.t.Helper()
	select {
	case l, ok := <-n.lines:
		if !ok {
			n.t.Fatalf("%s has ended", n.Name)
		}
		return l
	case <-time.After(within):
		n.t.Fatalf("%s prints nothing for %v", n.Name, within)
		return ""
	}
}

// Expect reads lines up to one that contains text, and returns that.
func (n *Node) Expect(text string, within time.Duration) string {
	n.t.Helper()
	var seen []string
	deadline := time.After(within)
	for {
		select {
		case l, ok := <-n.lines:
			seen = append(seen, l)
			if !ok {
				n.t.Fatalf("%s has ended without %q:\n%s", n.Name, text, strings.Join(seen, "\n"))
			}
			if strings.Contains(l, text) {
				return l
			}
		case <-deadline:
			n.t.Fatalf("%s does not print %q within %v:\n%s", n.Name, text, within, strings.Join(seen, "\n"))
		}
	}
}
