package dataplane

import (
	"errors"
	"fmt"

	tsn "tsnswitch"
)

// Sentinels for errors.Is.
var (
	// ErrNotSupported: the kernel, driver or device lacks something.
	ErrNotSupported = errors.New("not supported")
	// ErrPending: an earlier schedule has not started yet; try again after it has.
	ErrPending = errors.New("an earlier schedule is still pending")
	// ErrBaseTime: AdminBaseTime is not in the future.
	ErrBaseTime = errors.New("base time is not in the future")
	// ErrInvalid: the desired state cannot be meant; nothing was written.
	ErrInvalid = errors.New("desired state refused")
	// ErrBusy: another process owns this bridge.
	ErrBusy = errors.New("owned by another process")
)

// UnsupportedError names the missing feature. It Is ErrNotSupported.
type UnsupportedError struct {
	Feature string   // the name in Features
	Port    tsn.Port // NoPort: the whole switch
	Why     string
}

func (e *UnsupportedError) Error() string {
	if e.Port == tsn.NoPort {
		return fmt.Sprintf("%s is not supported: %s", e.Feature, e.Why)
	}
	return fmt.Sprintf("port %d: %s is not supported: %s", e.Port, e.Feature, e.Why)
}

// Is makes errors.Is(err, ErrNotSupported) hold.
func (e *UnsupportedError) Is(target error) bool { return target == ErrNotSupported }

// LimitError refuses a schedule that this kernel or device cannot have now,
// although it could have it after another.
type LimitError struct {
	Port tsn.Port
	Why  string
}

func (e *LimitError) Error() string { return fmt.Sprintf("port %d: %s", e.Port, e.Why) }

// DifferenceError says that the kernel took a schedule and holds another.
type DifferenceError struct {
	Port        tsn.Port
	What        string // such as "entry 32 of 100"
	Wanted, Got string
}

func (e *DifferenceError) Error() string {
	return fmt.Sprintf("port %d: the kernel took the schedule and holds another: %s: wanted %s, got %s", e.Port, e.What, e.Wanted, e.Got)
}

// OnPort is the one port that a refusal concerns.
func (e *LimitError) OnPort() tsn.Port      { return e.Port }
func (e *DifferenceError) OnPort() tsn.Port { return e.Port }
func (e *PendingError) OnPort() tsn.Port    { return e.Port }
func (e *BaseTimeError) OnPort() tsn.Port   { return e.Port }
func (e *ClockError) OnPort() tsn.Port      { return e.Port }

// PendingError refuses a schedule (or a shaper, which needs the schedule to be
// sent again) while the admin schedule waits for Base. It Is ErrPending.
type PendingError struct {
	Port tsn.Port
	Base int64 // gate clock, ns
}

func (e *PendingError) Error() string {
	return fmt.Sprintf("port %d: the schedule with base time %d has not started yet; wait for it (AwaitOper), then set again", e.Port, e.Base)
}

// Is makes errors.Is(err, ErrPending) hold.
func (e *PendingError) Is(target error) bool { return target == ErrPending }

// ClockError refuses what needs a base time that cannot be computed.
type ClockError struct {
	Port tsn.Port
	Err  error
}

func (e *ClockError) Error() string {
	return fmt.Sprintf("port %d: gPTP time to gate clock: %v", e.Port, e.Err)
}

func (e *ClockError) Unwrap() error { return e.Err }

// BaseTimeError refuses a new schedule whose base time has passed: it would
// start later than its peers on the path. It Is ErrBaseTime.
type BaseTimeError struct {
	Port      tsn.Port
	Base, Now int64 // gate clock, ns
}

func (e *BaseTimeError) Error() string {
	return fmt.Sprintf("port %d: base time %d is not after the gate clock's %d; choose a later AdminBaseTime", e.Port, e.Base, e.Now)
}

// Is makes errors.Is(err, ErrBaseTime) hold.
func (e *BaseTimeError) Is(target error) bool { return target == ErrBaseTime }
