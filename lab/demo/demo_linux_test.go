package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"tsnswitch/distlink/beamtest"
	"tsnswitch/internal/kerneltest"
	"tsnswitch/internal/kerneltest/uml"
)

// TestLine runs the program itself on the smaller network, from the kernel's
// choice to the schedule: every step holds, and report and picture are there.
// (The steps after need an Erlang system and minutes.)
func TestLine(t *testing.T) {
	if testing.Short() {
		t.Skip("a lab takes half a minute")
	}
	missing, err := kerneltest.Missing(needs)
	if err != nil {
		t.Fatal(err)
	}
	if missing != "" {
		if _, err := uml.Find(false); err != nil {
			t.Skipf("%s; %v", missing, err)
		}
	}
	dir := testDir(t, "cmd/tsnswitchd", "cmd/tsnctl", "lab/demo")
	demo := exec.CommandContext(t.Context(), filepath.Join(dir, "demo"),
		"-lab", "../line3.yaml", "-until", "4", "-out", dir, "-bin", dir, "-timeout", "90s")
	out, err := demo.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Fatalf("demo: %v", err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "report.json"))
	if err != nil {
		t.Fatal(err)
	}
	var r report
	if err := json.Unmarshal(text, &r); err != nil {
		t.Fatal(err)
	}
	if !r.Passed || len(r.Steps) != 5 {
		t.Errorf("the report says passed %v, %d steps; want 5", r.Passed, len(r.Steps))
	}
	for _, s := range r.Steps {
		if !s.Passed {
			t.Errorf("the report says that %q did not hold: %s", s.Name, s.Error)
		}
	}
	svg, err := os.ReadFile(filepath.Join(dir, "picture.svg"))
	if err != nil || !strings.Contains(string(svg), "<svg ") {
		t.Errorf("no picture: %v", err)
	}
}

// TestControlLoop runs the control loop in virtual time, where only the network
// decides: idle and with a reservation no deadline is missed, in the flood most
// are, and the pendulum falls.
func TestControlLoop(t *testing.T) {
	if testing.Short() {
		t.Skip("a lab takes half a minute")
	}
	ebin := beamtest.Code(t) // skips without Erlang
	if _, err := uml.Find(true); err != nil {
		t.Skip(err)
	}
	dir := testDir(t, "cmd/tsnswitchd", "cmd/tsnctl", "lab/demo")
	sources, err := filepath.Glob("../control/*.erl")
	if err != nil || len(sources) == 0 {
		t.Fatalf("%v %v", sources, err)
	}
	if err := beamtest.Stock.Compile(dir, sources...); err != nil {
		t.Fatal(err)
	}
	demo := exec.CommandContext(t.Context(), filepath.Join(dir, "demo"), "-virtual", "-control", "3s",
		"-lab", "../control/network.yaml", "-erlang", ebin, "-loop", dir, "-out", dir, "-bin", dir, "-timeout", "90s")
	out, err := demo.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Fatalf("demo: %v", err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "report.json"))
	if err != nil {
		t.Fatal(err)
	}
	var r struct {
		Steps []struct {
			Facts struct {
				Phases []struct {
					Figures struct{ Periods, Missed, Slept, Falls int }
				}
			}
		}
	}
	if err := json.Unmarshal(text, &r); err != nil {
		t.Fatal(err)
	}
	phases := r.Steps[len(r.Steps)-1].Facts.Phases
	if len(phases) != 3 {
		t.Fatalf("%d phases", len(phases))
	}
	for i, p := range phases {
		f, flooded := p.Figures, i == 1
		if f.Periods != 600 || f.Slept != 0 || (f.Missed > 0) != flooded || (f.Falls > 0) != flooded || flooded && f.Missed < f.Periods*4/5 {
			t.Errorf("phase %d: %+v", i, f)
		}
	}
}
