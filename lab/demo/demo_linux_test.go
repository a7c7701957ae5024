package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

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
