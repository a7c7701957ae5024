package uml

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"tsnswitch/internal/kerneltest/kernel"
)

// envRun makes this test binary a runner: it runs the Config in the variable, as
// another process or user would.
const envRun = "TSN_UML_TEST_RUN"

func TestMain(m *testing.M) {
	text := os.Getenv(envRun)
	if text == "" {
		os.Exit(m.Run())
	}
	os.Unsetenv(envRun)
	c := Config{Own: ownBuilt()}
	if err := json.Unmarshal([]byte(text), &c.Args); err != nil {
		panic(err)
	}
	c.Stdout, c.Stderr = os.Stdout, os.Stderr
	status, err := Run(context.Background(), c)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(status)
}

// ownBuilt reports whether the own kernel, which boots fastest, can be used. Only
// TestProgramNotFound insists on the default one.
func ownBuilt() bool { return executable(kernel.Path()) == nil }

// start runs a shell script in a guest.
func start(t *testing.T, c Config, script string) (status int, out, errs string, err error) {
	t.Helper()
	needKernel(t)
	var o, e bytes.Buffer
	c.Args, c.Stdout, c.Stderr = []string{"sh", "-c", script}, &o, &e
	c.Own = ownBuilt()
	if c.Timeout == 0 {
		c.Timeout = time.Minute
	}
	status, err = Run(t.Context(), c)
	return status, o.String(), e.String(), err
}

func needKernel(t *testing.T) {
	t.Helper()
	if raceDetector {
		t.Skip(ErrRace)
	}
	if os.Getenv(EnvInside) != "" {
		t.Skip("a guest in a guest is not supported")
	}
	if _, err := Find(false); err != nil {
		if os.Getenv("TSN_REQUIRE_UML") == "1" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
}

func TestExitStatus(t *testing.T) {
	for _, c := range []struct {
		script string
		want   int
	}{
		{"exit 0", 0},
		{"exit 1", 1},
		{"exit 42", 42},
		{"kill -9 $$", 128 + 9},
		{"exec no-such-program", 127},
	} {
		t.Run(c.script, func(t *testing.T) {
			t.Parallel()
			status, _, errs, err := start(t, Config{}, c.script)
			if status != c.want || err != nil {
				t.Errorf("status %d, %v, want %d; stderr %q", status, err, c.want, errs)
			}
		})
	}
}

func TestProgramNotFound(t *testing.T) {
	t.Parallel()
	needKernel(t)
	var errs bytes.Buffer
	status, err := Run(t.Context(), Config{Args: []string{"no-such-program"}, Stderr: &errs, Timeout: time.Minute})
	if status != 127 || err != nil || !strings.Contains(errs.String(), "no-such-program") {
		t.Errorf("status %d, %v, stderr %q", status, err, errs.String())
	}
}

// Every octet arrives as it is, on its own stream.
func TestStreamsAreBinary(t *testing.T) {
	t.Parallel()
	blob := make([]byte, 1<<20)
	r := rand.NewChaCha8([32]byte{1})
	_, _ = r.Read(blob)
	file := filepath.Join(t.TempDir(), "blob")
	if err := os.WriteFile(file, blob, 0o644); err != nil {
		t.Fatal(err)
	}
	status, out, errs, err := start(t, Config{SetEnv: []string{"FILE=" + file}}, `cat "$FILE"; printf '\r\n\000\377' >&2`)
	if status != 0 || err != nil {
		t.Fatalf("status %d, %v, %q", status, err, errs)
	}
	if sha256.Sum256([]byte(out)) != sha256.Sum256(blob) {
		t.Errorf("stdout differs: %d bytes, want %d", len(out), len(blob))
	}
	if errs != "\r\n\x00\xff" {
		t.Errorf("stderr is %q", errs)
	}
}

// A demo of minutes shows its progress: the guest answers only to a file that is
// written when its first line has been seen here.
func TestStreamsAreLive(t *testing.T) {
	t.Parallel()
	needKernel(t)
	gate := filepath.Join(t.TempDir(), "gate")
	r, w := io.Pipe()
	go func() {
		line := make([]byte, 6)
		if _, err := io.ReadFull(r, line); err == nil {
			_ = os.WriteFile(gate, line, 0o644)
		}
		_, _ = io.Copy(io.Discard, r)
	}()
	status, err := Run(t.Context(), Config{
		Own:    ownBuilt(),
		Args:   []string{"sh", "-c", "echo ready; until [ -s " + gate + " ]; do sleep 0.01; done"},
		Stdout: w, Timeout: time.Minute,
	})
	w.Close()
	if status != 0 || err != nil {
		t.Errorf("status %d, %v: the line did not come while the guest ran", status, err)
	}
}

// The guest has the host's files, folder and environment, but its own run-time
// state, a temporary folder in RAM, and all the powers to set up networks.
func TestSurroundings(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	_, out, errs, err := start(t, Config{Dir: dir, Env: []string{"A=1", "B=2", "PATH=/usr/bin:/bin"}, SetEnv: []string{"B=3"}}, `
		pwd; id -u; echo $A$B $TMPDIR $TSN_IN_UML $PATH
		echo landed > file
		touch $TMPDIR/x && echo tmp
		ip netns add n && ip netns exec n ip link add v0 type veth peer name v1 && echo netns
		unshare -m sh -c 'mount -t tmpfs none /mnt' && echo mountns
		test -t 1 || echo pipe
		ls -d /run/lock /sys/fs/cgroup/cgroup.controllers`)
	want := dir + "\n0\n13 /run/tmp 1 /usr/bin:/bin:/usr/sbin:/sbin\ntmp\nnetns\nmountns\npipe\n/run/lock\n/sys/fs/cgroup/cgroup.controllers\n"
	if d := cmp.Diff(want, out); d != "" || err != nil {
		t.Errorf("%v, stderr %q, -want +got:\n%s", err, errs, d)
	}
	if text, err := os.ReadFile(filepath.Join(dir, "file")); string(text) != "landed\n" {
		t.Errorf("the guest's file is not the host's: %q, %v", text, err)
	}
}

func TestTimeout(t *testing.T) {
	t.Parallel()
	status, out, _, err := start(t, Config{Timeout: 3 * time.Second}, "echo started; sleep 1000")
	if status != StatusTimeout || !errors.Is(err, ErrTimeout) {
		t.Errorf("status %d, %v; stdout %q", status, err, out)
	}
}

func TestCancel(t *testing.T) {
	t.Parallel()
	needKernel(t)
	ctx, cancel := context.WithCancel(t.Context())
	status, err := Run(ctx, Config{
		Own: ownBuilt(), Args: []string{"sh", "-c", "echo up; sleep 1000"}, Timeout: time.Minute,
		Stdout: writerFunc(func(b []byte) (int, error) { cancel(); return len(b), nil }),
	})
	if status != StatusCanceled || !errors.Is(err, context.Canceled) {
		t.Errorf("status %d, %v", status, err)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

// A reader that goes away stops the guest, as SIGPIPE stops a program.
func TestClosedReader(t *testing.T) {
	t.Parallel()
	needKernel(t)
	status, err := Run(t.Context(), Config{
		Own: ownBuilt(), Args: []string{"yes"}, Timeout: time.Minute,
		Stdout: writerFunc(func([]byte) (int, error) { return 0, io.ErrClosedPipe }),
	})
	if status != StatusCanceled || !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("status %d, %v", status, err)
	}
}

// A guest that panics gives no status, but the end of its kernel's log.
func TestPanic(t *testing.T) {
	t.Parallel()
	status, _, _, err := start(t, Config{}, "echo c >/proc/sysrq-trigger")
	var noExit *NoExitError
	if status != StatusNoExit || !errors.As(err, &noExit) || !strings.Contains(noExit.Log, "Kernel panic") {
		t.Errorf("status %d, %v", status, err)
	}
}

func TestNoKernel(t *testing.T) {
	if raceDetector {
		t.Skip(ErrRace)
	}
	t.Setenv("TSN_UML", filepath.Join(t.TempDir(), "nothing"))
	status, err := Run(t.Context(), Config{Args: []string{"true"}})
	if status != StatusNoKernel || !errors.Is(err, ErrNoKernel) || !strings.Contains(err.Error(), "TSN_UML") {
		t.Errorf("status %d, %v", status, err)
	}
	t.Setenv("TSN_UML", "")
	t.Setenv("TSN_CACHE", t.TempDir())
	status, err = Run(t.Context(), Config{Args: []string{"true"}, Own: true})
	if status != StatusNoKernel || !errors.Is(err, ErrNoKernel) || !strings.Contains(err.Error(), "make kernel") {
		t.Errorf("own: status %d, %v", status, err)
	}
	t.Setenv("PATH", t.TempDir())
	if _, err := Find(false); !errors.Is(err, ErrNoKernel) || !strings.Contains(err.Error(), "user-mode-linux") {
		t.Errorf("nothing installed: %v", err)
	}
}

// A kernel without virtual time is refused, not run with real time.
func TestNoTimeTravel(t *testing.T) {
	if raceDetector {
		t.Skip(ErrRace)
	}
	status, err := Run(t.Context(), Config{Args: []string{"true"}, Kernel: "/bin/true", TimeTravel: "inf-cpu"})
	if status != StatusNoKernel || !errors.Is(err, ErrNoKernel) || !strings.Contains(err.Error(), "time travel") {
		t.Errorf("status %d, %v", status, err)
	}
}

// An ordinary user is root in the guest and himself on the host.
func TestOrdinaryUser(t *testing.T) {
	t.Parallel()
	needKernel(t)
	const nobody = 65534
	cmd, dir := runner(t, "sh", "-c", "id -u; ip link add v0 type veth peer name v1 && echo veth; cat /etc/shadow 2>/dev/null || echo no; echo x >$OUT/file")
	if os.Getuid() != 0 {
		t.Skip("root is missing: only root can become another user")
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	mine := filepath.Join(dir, "nobody")
	if err := errors.Join(os.Mkdir(mine, 0o755), os.Chown(mine, nobody, nobody)); err != nil {
		t.Fatal(err)
	}
	cmd.Env = append(cmd.Env, "OUT="+mine, "TMPDIR="+mine)
	out, err := cmd.Output()
	if string(out) != "0\nveth\nno\n" || err != nil {
		t.Errorf("%q, %v", out, err)
	}
	st, err := os.Stat(filepath.Join(mine, "file"))
	if err != nil || st.Sys().(*syscall.Stat_t).Uid != nobody {
		t.Errorf("the guest's file: %v, %v", st, err)
	}
}

// A runner that is killed takes all processes of its guest with it.
func TestKilledRunner(t *testing.T) {
	t.Parallel()
	needKernel(t)
	cmd, _ := runner(t, "sh", "-c", "echo up; sleep 1000")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(out, make([]byte, 3)); err != nil {
		t.Fatal(err)
	}
	var watch []unix.PollFd
	for _, pid := range descendants(cmd.Process.Pid) {
		if fd, err := unix.PidfdOpen(pid, 0); err == nil {
			defer unix.Close(fd)
			watch = append(watch, unix.PollFd{Fd: int32(fd), Events: unix.POLLIN})
		}
	}
	if len(watch) < 2 {
		t.Fatalf("only %d processes of the guest", len(watch))
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	end := time.Now().Add(20 * time.Second)
	for len(watch) > 0 && time.Now().Before(end) {
		if _, err := unix.Poll(watch, 1000); err != nil && !errors.Is(err, unix.EINTR) {
			t.Fatal(err)
		}
		watch = slices.DeleteFunc(watch, func(p unix.PollFd) bool { return p.Revents != 0 })
	}
	if len(watch) > 0 {
		t.Errorf("%d processes of the guest outlive their killed runner", len(watch))
	}
}

// runner is this test binary as a runner of args, in a folder that all can read.
func runner(t *testing.T, args ...string) (cmd *exec.Cmd, dir string) {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "uml-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(args)
	if err := errors.Join(err, os.Chmod(dir, 0o755), os.WriteFile(filepath.Join(dir, "run"), self, 0o755)); err != nil {
		t.Fatal(err)
	}
	cmd = exec.Command(filepath.Join(dir, "run"))
	cmd.Dir = "/"
	cmd.Env = append(os.Environ(), envRun+"="+string(text), "TMPDIR="+dir)
	cmd.Stderr = os.Stderr
	return cmd, dir
}

// descendants lists the processes below pid.
func descendants(pid int) []int {
	var all []int
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, l := range lists {
		text, _ := os.ReadFile(l)
		for _, f := range strings.Fields(string(text)) {
			child, _ := strconv.Atoi(f)
			all = append(append(all, child), descendants(child)...)
		}
	}
	return all
}

// Coverage that a program writes in the guest is on the host.
func TestCoverageLands(t *testing.T) {
	t.Parallel()
	needKernel(t)
	gotool, err := exec.LookPath("go")
	if err != nil {
		t.Skip("the go tool is missing")
	}
	dir := t.TempDir()
	prog := filepath.Join(dir, "hello")
	build := exec.Command(gotool, "build", "-cover", "-o", prog, "./testdata/hello")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	status, _, errs, err := start(t, Config{SetEnv: []string{"GOCOVERDIR=" + dir}}, prog)
	files, _ := filepath.Glob(filepath.Join(dir, "covcounters.*"))
	if status != 0 || err != nil || len(files) != 1 {
		t.Errorf("status %d, %v, %q, files %q", status, err, errs, files)
	}
}

// The claimed size of the extended registers grows to the host's, never shrinks,
// and an image without exactly the one known call is left alone.
func TestFitXstate(t *testing.T) {
	call := "\x48\xc7\x45\xf8\x88\x0a\x00\x00\xbf\x05\x42\x00\x00"
	larger := "\x48\xc7\x45\xf8\x00\x2b\x00\x00\xbf\x05\x42\x00\x00"
	for _, c := range []struct {
		name, image, want string
		size              uint32
	}{
		{"larger", "ab" + call + "cd", "ab" + larger + "cd", 0x2b00},
		{"equal", call, call, 0xa88},
		{"smaller", call, call, 832},
		{"twice", call + call, call + call, 0x2b00},
		{"none", "abcdefghijklmnop", "abcdefghijklmnop", 0x2b00},
		{"another store", "x" + call[1:], "x" + call[1:], 0x2b00},
		{"at the start", call[8:], call[8:], 0x2b00},
	} {
		t.Run(c.name, func(t *testing.T) {
			image := []byte(c.image)
			if changed := fitXstate(image, c.size); changed != (c.image != c.want) || string(image) != c.want {
				t.Errorf("changed %v: %x", changed, image)
			}
		})
	}
}

// What the host writes on the control line the program reads from descriptor 3,
// and back; and a cable between two sockets is an interface.
func TestControlAndLink(t *testing.T) {
	t.Parallel()
	control, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	cable, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	host := os.NewFile(uintptr(control[0]), "control")
	defer host.Close()
	far := os.NewFile(uintptr(cable[0]), "cable")
	defer far.Close()
	const want = "answer to question\n02:00:00:00:00:f0\n"
	got := make([]byte, len(want))
	read := make(chan error, 1)
	go func() {
		_, err := io.ReadFull(host, got[:len("ready\n")])
		if err == nil {
			_, err = host.WriteString("question\n")
		}
		if err == nil {
			_, err = io.ReadFull(host, got)
		}
		read <- err
	}()
	c := Config{
		Control: os.NewFile(uintptr(control[1]), "control"),
		Links:   []Link{{File: os.NewFile(uintptr(cable[1]), "cable"), MAC: "02:00:00:00:00:f0"}},
	}
	status, _, errs, err := start(t, c, `echo ready >&3; read word <&3; echo "answer to $word" >&3; cat /sys/class/net/vec0/address >&3`)
	if status != 0 || err != nil {
		t.Fatalf("status %d, %v, stderr %q", status, err, errs)
	}
	if err := <-read; err != nil || string(got) != want {
		t.Errorf("%q, %v", got, err)
	}
}
