package qbv

import (
	"fmt"

	"tsnswitch"
)

// Events. Stage, Commit, Abort and Restore are each answered by one Result.
type (
	// Clock tells gPTP time as of this Step, and whether gates may follow it.
	// It comes whenever one of these changes, and often enough that the
	// monotonic clock may be used in between (once a second will do).
	Clock struct {
		Now    tsn.PTPTime
		Synced bool
		// Exceeded: gPTP time and a gate clock differ by more than the bound.
		Exceeded bool
	}

	// Stage checks lists and keeps them under ID until Commit, Abort or the
	// time-out. A list's BaseTime is its offset from the base to come; a nil
	// list removes the gates. The same stage again is no error.
	Stage struct {
		RequestID uint64
		ID        string // 1..128 octets
		Lists     []PortList
	}

	// Commit starts the staged lists at Base plus their offsets. It is
	// answered when the data plane has taken all of them, or failed. A nil
	// list is not bound to a time: its gates open at once (GateEnabled FALSE).
	Commit struct {
		RequestID uint64
		ID        string
		Base      tsn.PTPTime
	}

	// Abort drops a stage, or takes back a commit that has not begun to run.
	Abort struct {
		RequestID uint64
		ID        string
	}

	// Restore starts Lists at Base plus their offsets, whatever is staged or
	// in progress; that is dropped. A list whose base time has passed starts
	// with one of its next cycles. A nil list opens the gates at Base if it is
	// ahead. It is answered as Commit is.
	Restore struct {
		RequestID uint64
		ID        string // of the schedule that runs again
		Lists     []PortList
		Base      tsn.PTPTime
	}

	// Applied: the kernel has taken (or refused) the list of the GatesChanged
	// with this Generation. It may still be waiting for its base time. Refused
	// is the reason in words, so that a recorded event holds it; "" is taken.
	Applied struct {
		Port       tsn.Port
		Generation uint64
		Refused    string
	}

	// ReadBack is what the kernel runs, and the list that waits in it, if any.
	// Before the first Commit it is adopted: a restart changes no gate.
	ReadBack struct {
		Port        tsn.Port
		Oper, Admin *tsn.GateControlList
	}
)

// PortList is the list of one port; nil is all gates open.
type PortList struct {
	Port tsn.Port
	List *tsn.GateControlList
}

// Effects.
type (
	// GatesChanged is the whole gate state wanted of a port from now on. A
	// list whose BaseTime is ahead waits in the kernel while the old one runs.
	GatesChanged struct {
		Port       tsn.Port
		Generation uint64
		List       *tsn.GateControlList
	}

	// VerifyGates asks for a ReadBack of the port.
	VerifyGates struct{ Port tsn.Port }

	// Result answers a request; Err is a *Refusal or nil.
	Result struct {
		RequestID uint64
		Err       error
	}
)

// RefusalKind is why a request was refused.
type RefusalKind string

// The kinds of refusal.
const (
	RefusedBusy         RefusalKind = "busy"             // another stage or change is in progress
	RefusedUnknownStage RefusalKind = "unknown-stage"    // never staged, expired, or already running
	RefusedUnknownPort  RefusalKind = "unknown-port"     //
	RefusedMalformed    RefusalKind = "malformed"        // the request itself
	RefusedList         RefusalKind = "invalid-list"     // Err holds the *ListErrors
	RefusedNotSynced    RefusalKind = "not-synchronized" // gPTP, or the gate clocks behind it
	RefusedBaseTime     RefusalKind = "base-time"        // past, too near, too far
	RefusedByKernel     RefusalKind = "apply-failed"     // all ports were put back
	RefusedAborted      RefusalKind = "aborted"          // taken back while being applied
	RefusedTooLate      RefusalKind = "too-late"         // the outcome of a Trial is decided otherwise
)

// Bounds on what a request may bring.
const (
	maxStageID                 = 128
	maxRequestsPerCommit       = 16
	maxBaseOffset        int64 = 1 << 40
)

// Refusal answers a request that changed nothing, or whose change was undone.
type Refusal struct {
	Kind   RefusalKind
	Port   tsn.Port // NoPort if it concerns all
	Reason string
	Err    error // what lies behind it, or nil
}

func (r *Refusal) Error() string {
	s := "gates: " + r.Reason
	if r.Port != tsn.NoPort {
		s = fmt.Sprintf("gates of port %d: %s", r.Port, r.Reason)
	}
	if r.Err != nil {
		s += ": " + r.Err.Error()
	}
	return s
}

// Unwrap returns what lies behind the refusal.
func (r *Refusal) Unwrap() error { return r.Err }

func refuse(kind RefusalKind, port tsn.Port, format string, a ...any) *Refusal {
	return &Refusal{Kind: kind, Port: port, Reason: fmt.Sprintf(format, a...)}
}
