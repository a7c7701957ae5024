package gptptest

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"tsnswitch/internal/kerneltest"
)

// patience is how long anything may take: for the peers are slow, and the
// machine may be busy.
const patience = 30 * time.Second

// tempDir is what outlives a single test: the daemon's binary.
var tempDir string

func TestMain(m *testing.M) {
	flag.Parse()
	// These tests wait more than they work: they need no processor each.
	if err := flag.Set("test.parallel", "32"); err != nil {
		panic(err)
	}
	dir, err := os.MkdirTemp("", "gptptest")
	if err != nil {
		panic(err)
	}
	tempDir = dir
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

var candidate = flag.String("tsnswitchd", "", "daemon to test; default: one built from this very source")

// tsnswitchd is the daemon's binary, built once.
var tsnswitchd = sync.OnceValues(func() (string, error) {
	if *candidate != "" {
		return *candidate, nil
	}
	path := filepath.Join(tempDir, "tsnswitchd")
	out, err := exec.Command("go", "build", "-o", path, "tsnswitch/cmd/tsnswitchd").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build tsnswitchd: %w: %s", err, out)
	}
	return path, nil
})

// need skips a test that cannot run here, and names what is missing.
func need(t testing.TB, tools ...string) {
	t.Helper()
	if testing.Short() {
		t.Skip("real peers take seconds: left out with -short")
	}
	if os.Geteuid() != 0 {
		t.Skip("real peers need network namespaces: needs root")
	}
	for _, tool := range tools {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is not installed", tool)
		}
	}
}

// await polls until ok, or fails the test with what it was waiting for.
func await(t testing.TB, what string, ok func() bool) {
	t.Helper()
	start := time.Now()
	for !ok() {
		if time.Since(start) > patience {
			t.Fatalf("%s: not within %v", what, patience)
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Logf("%s after %d ms", what, time.Since(start).Milliseconds())
}

// wire joins two namespaces by a veth pair.
func wire(t testing.TB, a *kerneltest.NetNS, aName string, b *kerneltest.NetNS, bName string) {
	t.Helper()
	kerneltest.VethPair(t, 1, kerneltest.End{NS: a, Name: aName}, kerneltest.End{NS: b, Name: bName})
}
