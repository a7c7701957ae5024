package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

// What planner and checker say is theirs; here it has to fit the page, and be
// JSON.
func TestScheduleOutput(t *testing.T) {
	for line, want := range map[string]int{
		"plan --network ../../lab/line3.yaml":                            exitOK,
		"plan --topo ../../lab/line3.yaml":                               exitOK,
		"plan --topo testdata/full.yaml":                                 exitVerdict,
		"verify --topo testdata/full.yaml --solution testdata/full.json": exitVerdict,
	} {
		args := append([]string{"schedule"}, strings.Fields(line)...)
		var out bytes.Buffer
		if code := run(t.Context(), args, &out, &out); code != want {
			t.Errorf("%s: exit status %d, want %d", line, code, want)
		}
		t.Logf("%s\n%s", line, out.String())
		fits(t, out.String())
		var jsonOut bytes.Buffer
		run(t.Context(), append(args, "-o", "json"), &jsonOut, &out)
		if !json.Valid(jsonOut.Bytes()) {
			t.Errorf("%s: not JSON:\n%s", line, jsonOut.String())
		}
	}
}
