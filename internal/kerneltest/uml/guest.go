package uml

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// init takes the roles that this executable has as some pid 1: of the namespace
// around the kernel, and of the guest that Run booted.
func init() {
	if os.Getpid() != 1 {
		return
	}
	if os.Getenv(envParent) != "" {
		parent()
	}
	dir := os.Getenv(envJob)
	if dir == "" {
		return
	}
	status, err := guest(dir)
	if err != nil {
		report(dir, "error", err.Error())
	} else {
		report(dir, "exit", strconv.Itoa(status))
	}
	_ = unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
	select {}
}

// report leaves an answer for the host, whole or not at all.
func report(dir, name, text string) {
	part := filepath.Join(dir, name+".part")
	if err := os.WriteFile(part, []byte(text), 0o600); err == nil {
		_ = os.Rename(part, filepath.Join(dir, name))
	}
}

func guest(dir string) (status int, err error) {
	var j job
	text, err := os.ReadFile(filepath.Join(dir, "job.json"))
	if err != nil {
		return 0, err
	}
	if err := json.Unmarshal(text, &j); err != nil {
		return 0, err
	}
	if err := mountAll(); err != nil {
		return 0, err
	}
	seedRandom(j.Seed)
	_ = unix.Sethostname([]byte(j.Hostname))
	_ = unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 65536, Max: 65536})
	insertModules()
	if err := loopbackUp(); err != nil {
		return 0, err
	}
	return runProgram(j)
}

// mountAll gives the guest the file systems that hold kernel state; all else is the
// host's. /tmp stays the host's, because compiled tests live there.
func mountAll() error {
	for _, m := range []struct {
		fs, at, data string
		must         bool
	}{
		{"proc", "/proc", "", true},
		{"sysfs", "/sys", "", true},
		{"devtmpfs", "/dev", "", false}, // else the host's nodes, which are as good
		{"tmpfs", "/run", "mode=755", true},
		{"tmpfs", "/dev/shm", "mode=1777", false},
		{"devpts", "/dev/pts", "ptmxmode=666,mode=620,gid=5", false},
		{"cgroup2", "/sys/fs/cgroup", "", false},
		{"bpf", "/sys/fs/bpf", "", false},
		{"debugfs", "/sys/kernel/debug", "", false},
	} {
		_ = os.MkdirAll(m.at, 0o755)
		if err := unix.Mount(m.fs, m.at, m.fs, 0, m.data); err != nil && m.must {
			return fmt.Errorf("mount %s on %s: %w", m.fs, m.at, err)
		}
	}
	// As on any distribution: mounts made here are seen in new mount namespaces.
	_ = unix.Mount("", "/", "", unix.MS_REC|unix.MS_SHARED, "")
	for link, to := range map[string]string{"fd": "fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2"} {
		_ = os.Symlink("/proc/self/"+to, "/dev/"+link)
	}
	_ = os.Symlink("pts/ptmx", "/dev/ptmx")
	for _, d := range []string{"/run/netns", "/run/lock", guestTmp} {
		if err := os.Mkdir(d, 0o755); err != nil {
			return err
		}
	}
	return os.Chmod(guestTmp, 0o777|os.ModeSticky)
}

const guestTmp = "/run/tmp"

// seedRandom fills the entropy pool: without it the first getrandom waits for a
// guest that has no interrupts to gather any.
func seedRandom(seed []byte) {
	f, err := os.OpenFile("/dev/urandom", os.O_WRONLY, 0)
	if err != nil {
		return
	}
	defer f.Close()
	pool := randPoolInfo{Bits: int32(len(seed) * 8), Size: int32(len(seed))}
	copy(pool.Bytes[:], seed)
	ioctlAddEntropy(f.Fd(), &pool)
}

func loopbackUp() error {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("loopback up: %w", err)
	}
	defer unix.Close(s)
	req, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	req.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(s, unix.SIOCSIFFLAGS, req); err != nil {
		return fmt.Errorf("loopback up: %w", err)
	}
	return nil
}

// runProgram runs the job and collects every child until the program itself has
// ended; what it left running dies with it.
func runProgram(j job) (status int, err error) {
	stdin, err := os.Open("/dev/null")
	if err != nil {
		return 0, err
	}
	out, err := newOutput("/dev/ttyS0")
	if err != nil {
		return 0, err
	}
	errs, err := newOutput("/dev/ttyS1")
	if err != nil {
		return 0, err
	}
	files := []uintptr{stdin.Fd(), out.w.Fd(), errs.w.Fd()}
	if j.Control {
		line, err := os.OpenFile("/dev/ttyS2", os.O_RDWR|unix.O_NOCTTY, 0)
		if err != nil {
			return 0, err
		}
		defer line.Close()
		if err := makeRaw(int(line.Fd())); err != nil {
			return 0, fmt.Errorf("control line: %w", err)
		}
		files = append(files, line.Fd())
	}
	env := guestEnv(j)
	path, status, err := lookProgram(j.Args[0], j.Dir, env)
	if err == nil {
		var pid int
		pid, err = syscall.ForkExec(path, j.Args, &syscall.ProcAttr{
			Dir: j.Dir, Env: env, Sys: &syscall.SysProcAttr{Setsid: true},
			Files: files,
		})
		status = 126
		if err == nil {
			status = collect(pid)
		}
	}
	if err != nil {
		fmt.Fprintf(errs.w, "umlrun: %s: %v\n", j.Args[0], err)
	}
	_ = unix.Kill(-1, unix.SIGKILL)
	return status, errors.Join(out.finish(), errs.finish())
}

// output carries one stream of the program over a serial line. The program gets a
// pipe, as it mostly would on the host, because many print otherwise to a terminal.
type output struct {
	tty, w *os.File
	done   chan error
}

func newOutput(line string) (*output, error) {
	tty, err := os.OpenFile(line, os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	if err := makeRaw(int(tty.Fd())); err != nil {
		return nil, fmt.Errorf("%s: %w", line, err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	o := &output{tty, w, make(chan error)}
	go func() {
		_, err := io.Copy(tty, r)
		o.done <- err
	}()
	return o, nil
}

// finish returns when the host has everything; all writers have to be gone.
func (o *output) finish() error {
	o.w.Close()
	err := <-o.done
	drain(int(o.tty.Fd()))
	return err
}

// collect waits for all children until pid is among them.
func collect(pid int) (status int) {
	for {
		var ws syscall.WaitStatus
		got, err := syscall.Wait4(-1, &ws, 0, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
		case err != nil:
			return 126 // cannot be: pid is our child
		case got == pid && ws.Signaled():
			return 128 + int(ws.Signal())
		case got == pid:
			return ws.ExitStatus()
		}
	}
}

// guestEnv is the caller's environment with what is different in here.
func guestEnv(j job) []string {
	path := "/usr/sbin:/usr/bin:/sbin:/bin"
	for _, kv := range j.Env {
		if v, ok := strings.CutPrefix(kv, "PATH="); ok {
			path = v
		}
	}
	for _, d := range []string{"/usr/sbin", "/sbin"} { // an ordinary user's lacks them, but here one is root
		if !slices.Contains(filepath.SplitList(path), d) {
			path += ":" + d
		}
	}
	env := slices.DeleteFunc(j.Env, func(kv string) bool { return strings.HasPrefix(kv, envJob+"=") })
	env = append(env, "PATH="+path, "TMPDIR="+guestTmp, EnvInside+"=1")
	return lastWins(append(env, j.SetEnv...))
}

// lastWins drops all but the last value of each variable.
func lastWins(env []string) []string {
	at := map[string]int{}
	var out []string
	for _, kv := range env {
		k, _, _ := strings.Cut(kv, "=")
		if i, ok := at[k]; ok {
			out[i] = kv
			continue
		}
		at[k] = len(out)
		out = append(out, kv)
	}
	return out
}

// lookProgram finds the program by the job's PATH; status is the shell's for a
// failure.
func lookProgram(name, dir string, env []string) (path string, status int, err error) {
	if err := os.Chdir(dir); err != nil {
		return "", 126, err
	}
	for _, kv := range env {
		if v, ok := strings.CutPrefix(kv, "PATH="); ok {
			os.Setenv("PATH", v)
		}
	}
	path, err = exec.LookPath(name)
	if errors.Is(err, exec.ErrDot) {
		err = nil
	}
	if errors.Is(err, os.ErrPermission) {
		return "", 126, err
	}
	return path, 127, err
}
