// Package uml runs one program inside a User-mode Linux kernel, as if it ran on
// the host: same files, same working directory, same environment, its own output
// streams and exit status, but another kernel, in which it is root.
//
//	Run ── job.json ──> linux.uml ── init= this same executable ──> program
//	 ^                     │  root file system = the host's (hostfs)    │
//	 └── stdout, stderr ───┴── serial lines <──────────────────────────┘
//	     exit status <── file "exit"
//
// Nothing needs privilege, network, image or /dev/kvm. The executable that calls
// Run is also the guest's pid 1: importing this package installs an init function
// that, as pid 1 of a guest started by Run and nowhere else, takes over before main.
//
// The guest has one CPU. A program built with the race detector cannot start in
// it: the address space is too small.
package uml

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// Statuses of Run that are not the program's own.
const (
	StatusNoKernel = 77  // no kernel that can do what was asked
	StatusTimeout  = 124 // Config.Timeout passed
	StatusNoExit   = 125 // the guest died without telling a status: a panic
	StatusCanceled = 130 // the context ended
)

// EnvInside is set to 1 in the environment of every program that Run starts.
const EnvInside = "TSN_IN_UML"

var (
	// ErrNoKernel says that no suitable kernel is there; what was missing wraps it.
	ErrNoKernel = errors.New("no user-mode-linux kernel")
	// ErrRace says that this executable cannot be the guest's pid 1.
	ErrRace = errors.New("an executable built with the race detector cannot start in user-mode Linux: build it without -race")
	// ErrTimeout says that the program did not end in Config.Timeout.
	ErrTimeout = errors.New("time limit reached in the user-mode-linux guest")
)

// NoExitError is the end of a guest whose kernel or pid 1 died.
type NoExitError struct {
	Reason string
	Log    string // the last lines of the kernel's log
}

func (e *NoExitError) Error() string {
	s := "the user-mode-linux guest ended without an exit status"
	if e.Reason != "" {
		s += ": " + e.Reason
	}
	if e.Log != "" {
		s += "; end of its kernel log:\n" + e.Log
	}
	return s
}

// Config says what to run and in what kernel. Only Args is required.
type Config struct {
	Args []string // program and arguments; the program is looked up in PATH
	Env  []string // K=V; nil is the caller's environment
	Dir  string   // working directory; "" is the caller's

	// SetEnv is added last, over Env and over what the guest sets itself: by
	// default TMPDIR is a RAM disk of the guest.
	SetEnv []string

	Kernel     string        // path of a kernel; "" is Find(Own)
	Own        bool          // ask for the project's own kernel, see package kernel
	TimeTravel string        // "", or "inf-cpu": virtual time that runs only while all sleep
	Mem        string        // guest memory, "1024M" by default; used on demand
	Append     []string      // more kernel parameters
	Timeout    time.Duration // 0 is none

	Stdout, Stderr io.Writer // nil discards

	// Control, a connected stream socket, is a line to the program: what is
	// written to its other end the program reads from its descriptor 3, and
	// back. The program speaks first: what comes before it has opened the line
	// is lost. Nil is none. Run closes it, and the Links, in this process.
	Control *os.File
	// Links are cables: each, a connected datagram socket that carries a
	// frame in each message, becomes an interface vec0, vec1, ... of the
	// guest. A socket pair between two guests joins them.
	Links []Link
}

// Link is one end of a cable, and the address of the interface at it.
type Link struct {
	File *os.File
	MAC  string
}

// files are what the guest inherits after its own streams.
func (c Config) files() (files []*os.File) {
	if c.Control != nil {
		files = append(files, c.Control)
	}
	for _, l := range c.Links {
		files = append(files, l.File)
	}
	return files
}

// Run runs the program to its end and returns its exit status, or 128+n if a
// signal killed it. On an error the program gave no status, and Run returns one of
// the Status constants, or 1 if the guest could not be started at all.
func Run(ctx context.Context, c Config) (int, error) {
	if len(c.Args) == 0 {
		return 1, errors.New("uml: no program given")
	}
	if raceDetector {
		return StatusNoKernel, ErrRace
	}
	if c.Kernel == "" {
		k, err := Find(c.Own)
		if err != nil {
			return StatusNoKernel, err
		}
		c.Kernel = k
	}
	if c.wantsTimeTravel() && !HasTimeTravel(c.Kernel) {
		return StatusNoKernel, fmt.Errorf("%w with time travel: %s lacks it; run `make kernel` and ask for the own kernel", ErrNoKernel, c.Kernel)
	}
	if c.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, c.Timeout, fmt.Errorf("%w: %v", ErrTimeout, c.Timeout))
		defer cancel()
	}
	return run(ctx, c)
}

func (c Config) wantsTimeTravel() bool {
	if c.TimeTravel != "" {
		return true
	}
	for _, a := range c.Append {
		if strings.HasPrefix(a, "time-travel") {
			return true
		}
	}
	return false
}
