// Package kerneltest runs tests that need kernel features: where the machine's own
// kernel has them and the user is root, on the spot; everywhere else in a User-mode
// Linux kernel, started for the one test function, with the same compiled test.
//
//	func TestGates(t *testing.T) {
//		kerneltest.Run(t, kerneltest.Needs{Taprio: true}, func(t *testing.T) {
//			ns := kerneltest.NewNetNS(t)
//			...
//		})
//	}
//
//	go test ── Run ── kernel has it, or we are in the guest ──> body
//	            └──── else: uml: this test binary, -test.run=^TestGates$ ──> body
//
// Where neither is possible the test is skipped with the name of what is missing
// and how to get it. TSN_REQUIRE_UML=1 makes that a failure, so that a build
// machine cannot lose its kernel unnoticed.
//
// Inside a guest with time travel a task that computes without ever calling the
// kernel stops time for all others: no busy loops in such tests.
package kerneltest

import (
	"context"
	"errors"
	"flag"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"tsnswitch/internal/kerneltest/uml"
)

const (
	defaultTimeout = 2 * time.Minute
	bootTime       = 10 * time.Second // that, with a crowded host, is not the test's
	reportTime     = 3 * time.Second  // between the end of a guest and the limit of go test
)

// Inside reports whether this process runs in a guest.
func Inside() bool { return os.Getenv(uml.EnvInside) != "" }

// Run runs body on a kernel that has what n says: this one, or else a guest's. It
// is called once in a test function, which does nothing else of consequence, for in
// the guest the function runs from its start. Flags given to the test binary, such
// as -update or -v, are given to the guest's too. Files written in the guest are
// the host's, but for those in t.TempDir.
func Run(t *testing.T, n Needs, body func(t *testing.T)) {
	t.Helper()
	missing, err := Missing(n)
	switch {
	case err != nil:
		t.Fatal(err)
	case missing == "":
		body(t)
	case Inside():
		skip(t, "in the guest "+missing)
	default:
		runInGuest(t, n, missing)
	}
}

// skip skips, or fails where skipping for the kernel's sake is forbidden.
func skip(t *testing.T, why string) {
	t.Helper()
	if os.Getenv("TSN_REQUIRE_UML") == "1" {
		t.Fatal(why + " (TSN_REQUIRE_UML=1 forbids the skip)")
	}
	t.Skip(why)
}

func runInGuest(t *testing.T, n Needs, missing string) {
	t.Helper()
	k, err := uml.Find(n.ownOnly())
	if err != nil {
		skip(t, missing+"; "+err.Error())
		return
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	limit := timeout(t, n)
	e := &echo{log: t.Log, name: t.Name()}
	c := uml.Config{
		Args:    append([]string{self}, guestFlags(t.Name(), limit, n.TimeTravel)...),
		Kernel:  k,
		Timeout: limit + bootTime, // the guest's own limit, which comes first, tells more
		Stdout:  e, Stderr: e,
	}
	if n.TimeTravel {
		c.TimeTravel = "inf-cpu"
	}
	status, err := uml.Run(context.Background(), c)
	e.flush()
	switch {
	case errors.Is(err, uml.ErrRace):
		t.Skip(missing + "; " + err.Error())
	case errors.Is(err, uml.ErrNoKernel):
		skip(t, missing+"; "+err.Error())
	case err != nil:
		t.Fatal(err)
	case status != 0:
		t.Fatalf("failed in the guest, status %d", status)
	case e.verdict == "SKIP":
		t.Skipf("in the guest: %s", e.reason)
	case e.verdict != "PASS":
		t.Fatal("the guest ended well but did not run the test: is Run called with the test's own t?")
	}
}

// timeout is the limit for the test in the guest: what n says, cut to what the test
// binary has left.
func timeout(t *testing.T, n Needs) time.Duration {
	limit := n.Timeout
	if limit == 0 {
		limit = defaultTimeout
	}
	if end, ok := t.Deadline(); ok {
		limit = min(limit, time.Until(end)-bootTime-reportTime)
	}
	if limit <= 0 {
		t.Fatal("no time is left to start a guest: raise -timeout of go test")
	}
	return limit
}

// guestFlags are the flags that run exactly one test, with all that the caller set
// for tests in general. Under time travel the guest's own limit would pass in no
// time.
func guestFlags(test string, limit time.Duration, timeTravel bool) []string {
	parts := strings.Split(test, "/")
	for i, p := range parts {
		parts[i] = "^" + regexp.QuoteMeta(p) + "$"
	}
	if timeTravel {
		limit = 0
	}
	flags := []string{"-test.run=" + strings.Join(parts, "/"), "-test.v=true", "-test.timeout=" + limit.String()}
	flag.Visit(func(f *flag.Flag) {
		switch f.Name {
		case "test.short", "test.gocoverdir":
		case "test.coverprofile":
			flags = append(flags, "-test.coverprofile="+guestProfile(hostProfile(), test))
			return
		default:
			if strings.HasPrefix(f.Name, "test.") {
				return
			}
		}
		flags = append(flags, "-"+f.Name+"="+f.Value.String())
	})
	return flags
}

// echo logs the guest's lines as they come, and reads the test's verdict and, for
// a skip, its reason from them.
type echo struct {
	log  func(...any)
	name string

	mu      sync.Mutex // stdout and stderr come from two goroutines
	rest    string
	last    string
	verdict string
	reason  string
}

func (e *echo) Write(b []byte) (int, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	lines := strings.Split(e.rest+string(b), "\n")
	e.rest = lines[len(lines)-1]
	for _, l := range lines[:len(lines)-1] {
		e.line(l)
	}
	return len(b), nil
}

func (e *echo) flush() {
	if e.rest != "" {
		e.line(e.rest)
		e.rest = ""
	}
}

func (e *echo) line(l string) {
	text := strings.TrimSpace(l)
	for _, v := range []string{"PASS", "FAIL", "SKIP"} {
		if strings.HasPrefix(text, "--- "+v+": "+e.name+" (") {
			e.verdict, e.reason = v, e.last
			return // the caller's own verdict says the same
		}
	}
	switch {
	case text == "" || text == "PASS" || text == "FAIL" || strings.HasPrefix(l, "=== "):
		return // noise of a test in a test
	}
	e.last = text
	e.log(l)
}
