package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A space is one node's world: its own network, mount and process namespaces,
// held open by a small process that is pid 1 inside. Killing that process
// ends everything in the space and removes its interfaces, so that no way of
// ending the lab leaves anything behind.
type space struct {
	name  string
	hold  *exec.Cmd
	stdin io.WriteCloser
	pid   int
}

// holdArg is the hidden first argument that makes this program a holder.
const holdArg = "hold-namespaces"

// newSpace starts the holder and returns when its mounts are in place.
func newSpace(name string) (*space, error) {
	cmd := exec.Command("/proc/self/exe", holdArg)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNET | unix.CLONE_NEWNS | unix.CLONE_NEWPID,
		Setpgid:    true,
	}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("namespaces of %s: %w (they need root)", name, err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || line != "ready\n" {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		return nil, fmt.Errorf("namespaces of %s: the holder said %q: %v", name, line, err)
	}
	return &space{name: name, hold: cmd, stdin: stdin, pid: cmd.Process.Pid}, nil
}

// holdMain is the holder: it makes the mounts private, gives the space a /run
// and a /proc of its own, says so, and then reaps orphans until its
// standard input closes, which happens when the lab ends, however it ends.
func holdMain() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	for _, m := range []struct{ fs, dir string }{{"proc", "/proc"}, {"tmpfs", "/run"}} {
		if err := unix.Mount(m.fs, m.dir, m.fs, 0, ""); err != nil {
			return fmt.Errorf("mount %s: %w", m.dir, err)
		}
	}
	// /sys shows the network devices of the namespace that mounted it.
	if err := unix.Mount("sysfs", "/sys", "sysfs", 0, ""); err != nil {
		return fmt.Errorf("mount /sys: %w", err)
	}
	// Daemons that leave their parent (epmd) become ours to reap.
	child := make(chan os.Signal, 1)
	signal.Notify(child, unix.SIGCHLD)
	go func() {
		for range child {
			for pid := 1; pid > 0; {
				pid, _ = unix.Wait4(-1, nil, unix.WNOHANG, nil)
			}
		}
	}()
	fmt.Println("ready")
	_, _ = io.Copy(io.Discard, os.Stdin)
	return nil
}

// inside runs f on a thread that has joined the space. The thread is thrown
// away afterwards: it cannot go back to the mounts it came from.
func (s *space) inside(f func() error) error {
	errc := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		errc <- func() error {
			if err := unix.Unshare(unix.CLONE_FS); err != nil {
				return fmt.Errorf("unshare: %w", err)
			}
			for _, ns := range []struct {
				name string
				flag int
			}{{"pid", unix.CLONE_NEWPID}, {"net", unix.CLONE_NEWNET}, {"mnt", unix.CLONE_NEWNS}} {
				fd, err := unix.Open(fmt.Sprintf("/proc/%d/ns/%s", s.pid, ns.name), unix.O_RDONLY|unix.O_CLOEXEC, 0)
				if err != nil {
					return fmt.Errorf("%s namespace of %s: %w", ns.name, s.name, err)
				}
				err = unix.Setns(fd, ns.flag)
				_ = unix.Close(fd)
				if err != nil {
					return fmt.Errorf("join %s namespace of %s: %w", ns.name, s.name, err)
				}
			}
			return f()
		}()
	}()
	return <-errc
}

// start starts cmd inside the space.
func (s *space) start(cmd *exec.Cmd) error {
	return s.inside(cmd.Start)
}

// run runs a program inside the space to its end and returns what it printed;
// the error carries its standard error.
func (s *space) run(ctx context.Context, name string, args ...string) (string, error) {
	return s.runInput(ctx, "", name, args...)
}

func (s *space) runInput(ctx context.Context, input, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.WaitDelay = 30 * time.Second // of a machine that is busy, not of the command
	var out, errb strings.Builder
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(input), &out, &errb
	if err := s.start(cmd); err != nil {
		return "", fmt.Errorf("%s: start %s: %w", s.name, name, err)
	}
	if err := cmd.Wait(); err != nil {
		return out.String(), fmt.Errorf("%s: %s %s: %w: %s", s.name, name, strings.Join(args, " "), err, strings.TrimSpace(errb.String()))
	}
	return out.String(), nil
}

// close ends everything in the space.
func (s *space) close() {
	_ = s.stdin.Close()
	_ = s.hold.Process.Kill()
	_ = s.hold.Wait()
}
