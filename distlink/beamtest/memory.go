package beamtest

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// Memory is a control group with a limit, for nodes to run in.
type Memory struct{ dir, limit, peak string }

// Limit makes a control group of so many octets of memory; it ends with the test,
// which is skipped where there is no memory controller.
func Limit(t *testing.T, octets int) *Memory {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("control groups need root")
	}
	name := fmt.Sprintf("beam%d-%d", os.Getpid(), nets.Add(1))
	for _, m := range []*Memory{
		{filepath.Join("/sys/fs/cgroup/memory", name), "memory.limit_in_bytes", "memory.max_usage_in_bytes"},
		{filepath.Join("/sys/fs/cgroup", name), "memory.max", "memory.peak"},
	} {
		if os.Mkdir(m.dir, 0o755) != nil {
			continue
		}
		t.Cleanup(m.remove)
		if os.WriteFile(filepath.Join(m.dir, m.limit), []byte(strconv.Itoa(octets)), 0o644) == nil {
			return m
		}
	}
	t.Skip("this machine lets nobody limit memory (no memory controller in /sys/fs/cgroup)")
	return nil
}

// remove waits for the node's helpers, which end when it has ended.
func (m *Memory) remove() {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for range 500 {
		if os.Remove(m.dir) == nil {
			return
		}
		<-tick.C
	}
}

// Peak is the most it has had, in octets, the kernel's own counted.
func (m *Memory) Peak() (int, error) {
	b, err := os.ReadFile(filepath.Join(m.dir, m.peak))
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(string(b[:len(b)-1]))
}

// inside is a command in front of another, which then runs in it.
func (m *Memory) inside() []string {
	return []string{"sh", "-c", `echo $$ >"$0" && exec "$@"`, filepath.Join(m.dir, "cgroup.procs")}
}
