package daemon

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"tsnswitch"
	"tsnswitch/internal/api"
)

func full() heldMemory {
	return heldMemory{
		Reservations: []api.Reservations{{Owner: "b1", Generation: 7, Reservations: []tsn.Reservation{{Stream: aStream(1), Ports: []tsn.Port{1, 2}}}}},
		Schedule: &heldSchedule{ID: "b1/x", Base: tsn.PTPTime{NS: 5, Domain: 1}, Ports: []api.PortGates{{
			Port: 1, Gates: &tsn.GateControlList{CycleTime: ms, Entries: []tsn.GateEntry{{Gates: 0x17, Interval: ms}}},
		}}},
	}
}

func TestStoreRoundTrip(t *testing.T) {
	s := store[heldMemory]{filepath.Join(t.TempDir(), "held.json")}
	if v, err := s.load(); err != nil || v.Reservations != nil {
		t.Errorf("without a file: %+v, %v", v, err)
	}
	if err := s.save(full()); err != nil {
		t.Fatal(err)
	}
	v, err := s.load()
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(full(), v); d != "" {
		t.Error(d)
	}
	own := store[ownMemory]{filepath.Join(t.TempDir(), "own.json")}
	want := ownMemory{
		Generation: 1 << 60, Owed: []tsn.MAC{sys(3)},
		Owned: []ownedStream{{Stream: aStream(1), Path: hops(1, 2)}, {Stream: aStream(2), Reason: "no path", Failure: tsn.FailureEgressNotAVB}},
		Conductor: &conducted{
			Schedule: &api.Schedule{ID: "b1/x"}, Left: []tsn.MAC{sys(2)},
			Planned: []plannedStream{{Stream: aStream(1), Path: hops(1, 2)}},
		},
	}
	if err := own.save(want); err != nil {
		t.Fatal(err)
	}
	if got, err := own.load(); err != nil || cmp.Diff(want, got) != "" {
		t.Errorf("%v\n%s", err, cmp.Diff(want, got))
	}
}

// Whatever hits a save, the file is the old state or the new, and no scraps
// are left beside it.
func TestStoreReplacesWhole(t *testing.T) {
	dir := t.TempDir()
	s := store[heldMemory]{filepath.Join(dir, "held.json")}
	if err := s.save(full()); err != nil {
		t.Fatal(err)
	}
	before, _ := os.Stat(s.path)
	if err := s.save(heldMemory{}); err != nil {
		t.Fatal(err)
	}
	if after, _ := os.Stat(s.path); os.SameFile(before, after) {
		t.Error("written in place")
	}
	if all, _ := os.ReadDir(dir); len(all) != 1 {
		t.Errorf("scraps: %v", all)
	}
}

// A file that cannot be understood is not a fresh start: it holds promises.
func TestStoreDamaged(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"cut short":     {`{"format": 2, "state": {"reserv`, "is damaged"},
		"empty":         {"", "is damaged"},
		"zeros":         {strings.Repeat("\x00", 4096), "is damaged"},
		"another type":  {`{"format": 2, "state": {"reservations": 5}}`, "is damaged"},
		"four classes":  {`{"format": 1, "state": {}}`, "has format 1, this daemon reads 2"},
		"later version": {`{"format": 99, "state": {}}`, "has format 99"},
		"no version":    {`{"state": {}}`, "has format 0"},
	} {
		s := store[heldMemory]{filepath.Join(t.TempDir(), "held.json")}
		if err := os.WriteFile(s.path, []byte(c.text), 0o644); err != nil {
			t.Fatal(err)
		}
		_, err := s.load()
		if err == nil || !strings.Contains(err.Error(), s.path) || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "move it away") {
			t.Errorf("%s: %v", name, err)
		}
	}
	dir := store[heldMemory]{t.TempDir()}
	if _, err := dir.load(); err == nil || !strings.Contains(err.Error(), dir.path) {
		t.Errorf("a directory: %v", err)
	}
}

// A full disk: the error says what to do, the old state stays.
func TestStoreFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=16k"); err != nil {
		t.Skipf("no tmpfs to fill, which needs root: %v", err)
	}
	defer func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	}()
	s := store[heldMemory]{filepath.Join(dir, "held.json")}
	if err := s.save(full()); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "ballast"), make([]byte, 1<<20), 0o644); !errors.Is(err, unix.ENOSPC) {
		t.Fatalf("the disk is not full: %v", err)
	}
	big := full()
	big.Schedule.ID = strings.Repeat("x", 8192)
	err := s.save(big)
	if !errors.Is(err, unix.ENOSPC) || !strings.Contains(err.Error(), s.path) || !strings.Contains(err.Error(), "free space or change stateDir") {
		t.Errorf("%v", err)
	}
	if got, err := s.load(); err != nil || cmp.Diff(full(), got) != "" {
		t.Errorf("the old state is gone: %v", err)
	}
	if left, _ := filepath.Glob(s.path + ".*"); len(left) > 0 {
		t.Errorf("scraps: %v", left)
	}
}
