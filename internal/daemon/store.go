package daemon

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"tsnswitch"
	"tsnswitch/internal/api"
	"tsnswitch/internal/pathplan"
)

// What must survive a restart is what others were promised. All else is
// learnt again from the network or read back from the kernel. There are two
// files, because two parties change them independently.

// ownMemory is what this node does for the network: the streams it keeps and
// the schedule it conducts. Guarded by the operations lock.
type ownMemory struct {
	// Generation counts the sets this owner has sent out.
	Generation uint64 `json:"generation"`
	// Owned are the streams this node keeps.
	Owned []ownedStream `json:"owned,omitempty"`
	// Owed are systems that could not be told of a change yet.
	Owed []tsn.MAC `json:"owed,omitempty"`
	// Conductor: this node applied the network's schedule and keeps it fitting.
	Conductor *conducted `json:"conductor,omitempty"`
	// Silent are systems that did not say how a change ended: they may run
	// what the others do not.
	Silent []tsn.MAC `json:"silent,omitempty"`
}

// ownedStream is a stream and the way it was last reserved on.
type ownedStream struct {
	Stream  tsn.Stream      `json:"stream"`
	Path    []tsn.Hop       `json:"path,omitempty"` // empty: not reserved
	Reason  string          `json:"reason,omitempty"`
	Failure tsn.FailureCode `json:"failureCode,omitempty"`
}

// conducted is the schedule this node planned for the network.
type conducted struct {
	CycleTime int64         `json:"cycleTimeNs"` // as asked for; 0 is the planner's choice
	LeadTime  int64         `json:"leadTimeNs"`
	Schedule  *api.Schedule `json:"schedule"`
	// Running is what of it the next plan keeps as it is.
	Running pathplan.Running `json:"running"`
	// Planned are the streams it was planned for, ascending id.
	Planned []plannedStream `json:"planned,omitempty"`
	// Left are systems that may still run windows of an older schedule,
	// because they could not be reached when this one was applied.
	Left []tsn.MAC `json:"left,omitempty"`
	// Systems take part in the schedule, ascending.
	Systems []tsn.MAC `json:"systems,omitempty"`
	// Open: it may yet be rolled back, at RevertAt, to Before (nil: to none).
	// Confirm is the time a person asked for, 0 if this node confirms it itself.
	Open     bool        `json:"open,omitempty"`
	Confirm  int64       `json:"confirmNs,omitempty"`
	KeepBy   tsn.PTPTime `json:"keepBy"` // it can be confirmed until then
	RevertAt tsn.PTPTime `json:"revertAt"`
	Before   *conducted  `json:"before,omitempty"`
}

// plannedStream is all of a stream that a plan depends on.
type plannedStream struct {
	Stream tsn.Stream `json:"stream"`
	Path   []tsn.Hop  `json:"path"`
}

// heldMemory is what others hold here. Guarded by the daemon's held lock.
type heldMemory struct {
	// Reservations of every owner at this node, by owner.
	Reservations []api.Reservations `json:"reservations,omitempty"`
	// Proxies are the stations that others have this node speak MSRP for, by owner.
	Proxies []api.Proxies `json:"proxies,omitempty"`
	// Schedule is the one that runs here, or will.
	Schedule *heldSchedule `json:"schedule,omitempty"`
	// Change is the last change of Schedule, Past are older ones.
	Change *heldChange  `json:"change,omitempty"`
	Past   []pastChange `json:"past,omitempty"`
}

// heldSchedule is the schedule running at this node; its lists are offsets
// from Base.
type heldSchedule struct {
	ID    string          `json:"id"`
	Base  tsn.PTPTime     `json:"base"`
	Ports []api.PortGates `json:"ports"`
}

// stateFormat changes when one of two daemons could not read the files of the
// other. 1 numbered four traffic classes, in which gates mean something else.
const stateFormat = 2

// A store keeps one value in one file of the state directory.
type store[T any] struct{ path string }

type stored[T any] struct {
	Format int `json:"format"`
	State  T   `json:"state"`
}

// load reads the file; without one the value is zero. A file that cannot be
// read is an error, not a fresh start: it holds promises.
func (s store[T]) load() (T, error) {
	var v stored[T]
	b, err := os.ReadFile(s.path)
	if errors.Is(err, fs.ErrNotExist) {
		return v.State, nil
	}
	if err != nil {
		return v.State, fmt.Errorf("read the state of the last run: %w", err)
	}
	if err := json.Unmarshal(b, &v); err != nil {
		return v.State, fmt.Errorf("state file %s is damaged: %w (move it away to start without what it promised)", s.path, err)
	}
	if v.Format != stateFormat {
		return v.State, fmt.Errorf("state file %s has format %d, this daemon reads %d (move it away to start without what it promised)", s.path, v.Format, stateFormat)
	}
	return v.State, nil
}

// save replaces the file whole: what it holds is the old state or the new.
func (s store[T]) save(v T) error {
	b, err := json.MarshalIndent(stored[T]{stateFormat, v}, "", " ")
	if err != nil {
		return fmt.Errorf("encode state: %w", err)
	}
	if err := writeWhole(s.path, append(b, '\n')); err != nil {
		return fmt.Errorf("keep state in %s: %w (free space or change stateDir)", s.path, err)
	}
	return nil
}

func writeWhole(path string, b []byte) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = f.Close()
			_ = os.Remove(f.Name())
		}
	}()
	if _, err = f.Write(b); err != nil {
		return err
	}
	if err = f.Sync(); err != nil {
		return err
	}
	if err = f.Close(); err != nil {
		return err
	}
	if err = os.Rename(f.Name(), path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}
