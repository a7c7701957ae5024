package link

import (
	"testing"

	"golang.org/x/sys/unix"
)

func TestRealtimeThread(t *testing.T) {
	if err := RealtimeThread(0); err == nil {
		t.Error("priority 0 is taken")
	}
	if err := RealtimeThread(1); err != nil {
		t.Skipf("real-time scheduling: %v", err)
	}
	// The thread ends with the test.
	got, err := unix.SchedGetAttr(0, 0)
	must(t, err)
	if got.Policy != unix.SCHED_FIFO || got.Priority != 1 {
		t.Errorf("got %+v", got)
	}
}
