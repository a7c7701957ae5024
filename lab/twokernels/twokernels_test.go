//go:build linux && amd64

package main

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"tsnswitch/internal/kerneltest"
	"tsnswitch/internal/kerneltest/uml"
)

// TestLab runs the program itself, with shorter measurements: every step holds.
func TestLab(t *testing.T) {
	if testing.Short() {
		t.Skip("the lab takes half a minute")
	}
	if kerneltest.Inside() {
		t.Skip("a guest in a guest is not supported")
	}
	if _, err := uml.Find(false); err != nil {
		t.Skip(err)
	}
	if _, err := exec.LookPath("tc"); err != nil {
		t.Skip("tc is missing: install the Debian package iproute2")
	}
	dir := t.TempDir()
	build := exec.Command("go", "build", "-o", dir, "tsnswitch/cmd/tsnswitchd", "tsnswitch/cmd/tsnctl", "tsnswitch/lab/twokernels")
	build.Env = append(build.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	lab := exec.CommandContext(t.Context(), filepath.Join(dir, "twokernels"), "-short", "-lab", "network.yaml", "-out", dir, "-bin", dir)
	out, err := lab.CombinedOutput()
	t.Logf("%s", out)
	if err != nil || !strings.Contains(string(out), "every step held") {
		t.Errorf("the lab: %v", err)
	}
}

// Phases are measured around the cycle: before its start is near its end.
func TestOutside(t *testing.T) {
	v := view{cycle: 1000, phases: []int64{0, 199, 200, 250, 600, 990}}
	w := window{0, 200}
	for i, want := range []int64{0, 0, 0, 50, 400, 10} {
		if got := v.outside(v.phases[i], w); got != want {
			t.Errorf("phase %d is %d outside, want %d", v.phases[i], got, want)
		}
	}
	if got := v.within(w, 50); got != 5.0/6 {
		t.Errorf("%v within 50, want 5 of 6", got)
	}
}

// Times go from one guest's clock to the host's and on to the other's, by the
// nearest reading.
func TestTimeline(t *testing.T) {
	a := timeline{epoch{900, 1100}, []Reading{{Raw: 0, TAI: 50_000}, {Raw: 1000, TAI: 51_100}}}
	if got := a.toHost(50_400); got != 1400 {
		t.Errorf("by the first reading: %d", got)
	}
	if got := a.toHost(51_000); got != 1900 {
		t.Errorf("by the second reading: %d", got)
	}
	for _, tai := range []int64{50_000, 50_400, 51_000, 52_000} {
		if got := a.toTAI(a.toHost(tai)); got != tai {
			t.Errorf("there and back: %d, want %d", got, tai)
		}
	}
}
