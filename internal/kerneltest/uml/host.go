package uml

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// job is what the host role tells the guest role, as job.json in the job folder.
// The guest answers there: "exit" holds the program's status, "error" why there is
// none.
type job struct {
	Args     []string
	Env      []string
	SetEnv   []string
	Dir      string
	Hostname string
	Control  bool
	Seed     []byte // for the guest's random generator, which has no source of its own
}

// envJob is the kernel parameter, and so the variable in init's environment, that
// tells the guest role where the job folder is.
const envJob = "TSN_UML_JOB"

func run(ctx context.Context, c Config) (int, error) {
	sweep()
	dir, err := writeJob(c)
	if err != nil {
		return 1, fmt.Errorf("uml: prepare the guest: %w", err)
	}
	defer os.RemoveAll(dir)
	if c.Kernel, err = fitKernel(c.Kernel, dir); err != nil {
		return 1, fmt.Errorf("uml: fit the kernel to this processor: %w", err)
	}

	log, err := os.Create(filepath.Join(dir, "kernel.log"))
	if err != nil {
		return 1, fmt.Errorf("uml: %w", err)
	}
	defer log.Close()
	if err := unix.Flock(int(log.Fd()), unix.LOCK_EX); err != nil {
		return 1, fmt.Errorf("uml: lock the job folder: %w", err)
	}

	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	out, err := newStream(c.Stdout, cancel)
	if err != nil {
		return 1, fmt.Errorf("uml: %w", err)
	}
	defer out.close()
	errs, err := newStream(c.Stderr, cancel)
	if err != nil {
		return 1, fmt.Errorf("uml: %w", err)
	}
	defer errs.close()

	err = boot(ctx, c, dir, append([]*os.File{log, out.w, errs.w}, c.files()...))
	out.wait()
	errs.wait()
	return result(ctx, dir, err)
}

const jobPrefix = "tsn-uml-"

// sweep removes the job folders of runs that were killed. A run keeps its kernel
// log locked; a young folder may be about to be.
func sweep() {
	logs, _ := filepath.Glob(filepath.Join(os.TempDir(), jobPrefix+"*", "kernel.log"))
	for _, name := range logs {
		f, err := os.Open(name)
		if err != nil {
			continue // another user's
		}
		st, err := f.Stat()
		if err == nil && time.Since(st.ModTime()) > time.Minute && unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
			os.RemoveAll(filepath.Dir(name))
		}
		f.Close()
	}
}

// writeJob makes the job folder. The guest's init is a link in it, so that no path
// on the kernel's command line, which splits at blanks, is the caller's choice.
func writeJob(c Config) (dir string, err error) {
	j := job{Args: c.Args, Env: c.Env, SetEnv: c.SetEnv, Dir: c.Dir, Control: c.Control != nil, Seed: make([]byte, 32)}
	if j.Env == nil {
		j.Env = os.Environ()
	}
	if j.Dir == "" {
		if j.Dir, err = os.Getwd(); err != nil {
			return "", err
		}
	}
	j.Hostname, _ = os.Hostname()
	_, _ = rand.Read(j.Seed)
	text, err := json.Marshal(j)
	if err != nil {
		return "", err
	}
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	dir, err = os.MkdirTemp("", jobPrefix)
	if err != nil {
		return "", err
	}
	err = errors.Join(
		os.WriteFile(filepath.Join(dir, "job.json"), text, 0o600),
		os.Symlink(self, filepath.Join(dir, "init")),
	)
	if err != nil {
		os.RemoveAll(dir)
		return "", err
	}
	return dir, nil
}

// boot runs the kernel until it ends or ctx does; then no process of it is left.
// files are the kernel log, the program's stdout and stderr, and what c adds.
func boot(ctx context.Context, c Config, dir string, files []*os.File) error {
	// The kernel gets SIGKILL when the thread that started it ends; keep the thread.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	undo, release := pin()
	defer release()
	defer undo()
	var err error
	for _, sys := range isolations() {
		cmd := exec.Command(c.Kernel, commandLine(c, dir)...)
		cmd.Env = append(os.Environ(), "TMPDIR="+memoryDir())
		if sys.Cloneflags&syscall.CLONE_NEWPID != 0 {
			cmd = exec.Command(filepath.Join(dir, "init"), cmd.Args...)
			cmd.Env = append(os.Environ(), "TMPDIR="+memoryDir(), envParent+"="+strconv.Itoa(len(files)))
		}
		cmd.Dir = "/"
		cmd.Stdout, cmd.Stderr = files[0], files[0]
		cmd.ExtraFiles = files[1:]
		cmd.SysProcAttr = sys
		if err = cmd.Start(); errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EINVAL) {
			continue // no such namespace for us: try with less
		}
		if err != nil {
			break
		}
		undo()
		for _, f := range files[1:] {
			f.Close() // so that the streams end with the guest
		}
		return await(ctx, cmd)
	}
	return fmt.Errorf("start %s: %w", c.Kernel, err)
}

// envParent marks this executable as pid 1 of the kernel's process namespace, and
// tells how many files the kernel inherits.
const envParent = "TSN_UML_PARENT"

// parent is the role of pid 1 of the kernel's process namespace on the host: it
// starts the kernel and ends with it. The kernel is not pid 1 itself because a
// panic ends in abort, and pid 1 survives its own abort.
func parent() {
	_ = unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}) // for the same abort
	n, _ := strconv.Atoi(os.Getenv(envParent))
	files := []uintptr{0, 1}
	for fd := range max(n, 0) {
		files = append(files, uintptr(2+fd))
	}
	pid, err := syscall.ForkExec(os.Args[1], os.Args[1:], &syscall.ProcAttr{
		Env: os.Environ(), Files: files, Sys: &syscall.SysProcAttr{Setpgid: true},
	})
	if err != nil {
		fmt.Fprintf(os.Stderr, "start %s: %v\n", os.Args[1], err)
		os.Exit(1)
	}
	collect(pid)
	os.Exit(0)
}

// isolations are ways to start the kernel, best first. In a process namespace of
// its own the end of the kernel, even by SIGKILL, ends all of its helper
// processes. A user namespace lets an ordinary user make one. Without both, the
// process group is killed, which is as good unless this process is itself killed.
func isolations() []*syscall.SysProcAttr {
	pidns := func() *syscall.SysProcAttr {
		return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL, Cloneflags: syscall.CLONE_NEWPID}
	}
	userns := pidns()
	userns.Cloneflags |= syscall.CLONE_NEWUSER
	userns.UidMappings = []syscall.SysProcIDMap{{ContainerID: os.Getuid(), HostID: os.Getuid(), Size: 1}}
	userns.GidMappings = []syscall.SysProcIDMap{{ContainerID: os.Getgid(), HostID: os.Getgid(), Size: 1}}
	plain := &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	return []*syscall.SysProcAttr{pidns(), userns, plain}
}

func commandLine(c Config, dir string) []string {
	mem := c.Mem
	if mem == "" {
		mem = "1024M"
	}
	args := []string{
		"mem=" + mem, "rootfstype=hostfs", "rootflags=/", "rw", "quiet",
		"umid=u", "uml_dir=" + dir, "init=" + filepath.Join(dir, "init"), envJob + "=" + dir,
		"con=null", "ssl=null", "con0=null,fd:2", "ssl0=null,fd:3", "ssl1=null,fd:4",
	}
	if c.TimeTravel != "" {
		args = append(args, "time-travel="+c.TimeTravel)
	}
	fd := firstExtra
	if c.Control != nil {
		args = append(args, fmt.Sprintf("ssl2=fd:%d", fd))
		fd++
	}
	for i, l := range c.Links {
		args = append(args, fmt.Sprintf("vec%d:transport=fd,fd=%d,depth=64,mac=%s", i, fd+i, l.MAC))
	}
	return append(args, c.Append...)
}

// firstExtra is the kernel's first descriptor after its log and the streams.
const firstExtra = 5

// memoryDir is where the kernel puts the file that is the guest's memory: it has to
// be on a file system that allows executable mappings, best in RAM.
func memoryDir() string {
	if d := os.Getenv("TSN_UML_TMPDIR"); d != "" {
		return d
	}
	const roomy = 512 << 20 // containers often have a /dev/shm of 64 MB
	var fs unix.Statfs_t
	if unix.Statfs("/dev/shm", &fs) == nil && fs.Flags&unix.ST_NOEXEC == 0 && fs.Bavail*uint64(fs.Bsize) >= roomy {
		return "/dev/shm"
	}
	return os.TempDir()
}

// await waits for the kernel's end and kills it when ctx ends first.
func await(ctx context.Context, cmd *exec.Cmd) error {
	ended := make(chan struct{})
	var killer sync.WaitGroup
	killer.Go(func() {
		select {
		case <-ctx.Done():
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		case <-ended:
		}
	})
	_, err := cmd.Process.Wait() // the status of UML itself says nothing reliable
	close(ended)
	killer.Wait()
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // stragglers, where there is no namespace
	return err
}

// result reads what the guest left in the job folder.
func result(ctx context.Context, dir string, bootErr error) (int, error) {
	if bootErr != nil {
		return 1, fmt.Errorf("uml: %w", bootErr)
	}
	if text, err := os.ReadFile(filepath.Join(dir, "exit")); err == nil {
		if status, err := strconv.Atoi(strings.TrimSpace(string(text))); err == nil {
			return status, nil
		}
	}
	if err := context.Cause(ctx); err != nil {
		if errors.Is(err, ErrTimeout) {
			return StatusTimeout, err
		}
		return StatusCanceled, fmt.Errorf("uml: the guest was stopped: %w", err)
	}
	reason, _ := os.ReadFile(filepath.Join(dir, "error"))
	log, _ := os.ReadFile(filepath.Join(dir, "kernel.log"))
	return StatusNoExit, &NoExitError{Reason: string(reason), Log: tail(log, 40)}
}

func tail(text []byte, lines int) string {
	text = bytes.TrimSpace(bytes.ReplaceAll(text, []byte("\r"), nil))
	all := bytes.Split(text, []byte("\n"))
	return string(bytes.Join(all[max(0, len(all)-lines):], []byte("\n")))
}

// stream copies one serial line of the guest to a writer as it comes. A failing
// writer stops the guest, as SIGPIPE would stop a program.
type stream struct {
	r, w *os.File
	done chan struct{}
}

func newStream(to io.Writer, stop context.CancelCauseFunc) (*stream, error) {
	if to == nil {
		to = io.Discard
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	s := &stream{r, w, make(chan struct{})}
	go func() {
		defer close(s.done)
		if _, err := io.Copy(to, r); err != nil {
			stop(fmt.Errorf("write its output: %w", err))
			_, _ = io.Copy(io.Discard, r)
		}
	}()
	return s, nil
}

// wait returns when all output is written; the guest has to be gone.
func (s *stream) wait() {
	s.w.Close()
	<-s.done
}

func (s *stream) close() {
	s.wait()
	s.r.Close()
}
