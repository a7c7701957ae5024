package main

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"tsnswitch/internal/kerneltest/uml"
)

func TestUsage(t *testing.T) {
	for _, c := range []struct {
		args string
		want int
	}{
		{"", 2},
		{"-no-such-flag true", 2},
		{"-timeout soon true", 2},
		{"-help", 0},
	} {
		var out, errs bytes.Buffer
		if got := run(t.Context(), strings.Fields(c.args), &out, &errs); got != c.want || !strings.Contains(errs.String(), "usage:") {
			t.Errorf("%q: status %d, want %d; %s", c.args, got, c.want, errs.String())
		}
	}
}

func TestRun(t *testing.T) {
	if os.Getenv(uml.EnvInside) != "" {
		t.Skip("a guest in a guest is not supported")
	}
	var out, errs bytes.Buffer
	args := []string{"-env", "A=1", "-env", "B=2 3", "-dir", "/", "-append", "panic=7", "sh", "-c", "echo $A $B $PWD; cat /proc/cmdline >&2; exit 42"}
	status := run(t.Context(), args, &out, &errs)
	if status == uml.StatusNoKernel && os.Getenv("TSN_REQUIRE_UML") != "1" {
		t.Skip(errs.String())
	}
	if status != 42 || out.String() != "1 2 3 /\n" || !strings.Contains(errs.String(), "panic=7") {
		t.Errorf("status %d, stdout %q, stderr %q", status, out.String(), errs.String())
	}
}
