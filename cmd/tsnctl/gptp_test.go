package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"tsnswitch"
	"tsnswitch/internal/api"
	"tsnswitch/internal/api/apitest"
	"tsnswitch/internal/record"
)

// fed is a scope that was shown the fake's minute.
func fed(t *testing.T, window int64) *scope {
	t.Helper()
	f := apitest.New("b1")
	h, err := f.GPTPHistory(t.Context(), api.GPTPQuery{})
	if err != nil {
		t.Fatal(err)
	}
	w := &watch{out: &bytes.Buffer{}, sw: f}
	if err := w.learn(t.Context()); err != nil {
		t.Fatal(err)
	}
	s := &scope{window: window}
	for k := range h.Events {
		w.take(s, api.GPTPUpdate{Event: &h.Events[k]})
	}
	for k := range h.Samples {
		w.take(s, api.GPTPUpdate{Sample: &h.Samples[k]})
	}
	return s
}

func TestScope(t *testing.T) {
	for name, c := range map[string]struct{ columns, rows int }{"scope-80": {80, 12}, "scope-40": {40, 6}} {
		text := strings.Join(fed(t, 60e9).frame(c.columns, c.rows), "\n") + "\n"
		fits(t, text)
		golden(t, filepath.Join("testdata/golden", name+".txt"), text)
	}
}

// Whatever samples come, the picture keeps its size and shows the newest.
func TestScopeProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := &scope{window: rapid.Int64Range(1e9, 3600e9).Draw(t, "window")}
		at := int64(1e18)
		for range rapid.IntRange(0, 50).Draw(t, "samples") {
			at += rapid.Int64Range(0, 20e9).Draw(t, "step")
			s.add(api.GPTPUpdate{Sample: &api.GPTPSample{
				Time: at, Offset: rapid.Int64Range(-1<<60, 1<<60).Draw(t, "offset"),
				State: rapid.SampledFrom([]string{api.GPTPSynchronized, api.GPTPAcquiring, api.GPTPHoldover}).Draw(t, "state"),
			}})
			if rapid.Bool().Draw(t, "event") {
				s.add(api.GPTPUpdate{Event: &api.Event{Time: at, Kind: "grand-master", Detail: rapid.String().Draw(t, "detail")}})
			}
		}
		columns, rows := rapid.IntRange(34, 160).Draw(t, "columns"), rapid.IntRange(3, 20).Draw(t, "rows")
		lines := s.frame(columns, rows)
		for _, l := range lines {
			if n := utf8.RuneCountInString(l); n > columns || strings.ContainsAny(l, "\n\x1b") {
				t.Fatalf("%d columns of %d: %q", n, columns, l)
			}
		}
		if len(s.samples) > 0 && (len(lines) < rows+2 || len(lines) > rows+2+scopeEvents) {
			t.Fatalf("%d lines for %d rows", len(lines), rows)
		}
	})
}

// A picture replaces the one before, whatever their heights.
func TestScreen(t *testing.T) {
	var out bytes.Buffer
	s := &screen{out: &out}
	s.put([]string{"a", "b"})
	s.put([]string{"c"})
	if want := "\ra\x1b[K\n\rb\x1b[K\n\x1b[J\x1b[2A\rc\x1b[K\n\x1b[J"; out.String() != want {
		t.Errorf("%q", out.String())
	}
}

// The terminal is left as it was, when there were enough samples and when it is
// told to stop.
func TestDrawEnds(t *testing.T) {
	for _, count := range []int{5, 0} {
		var out bytes.Buffer
		ctx, cancel := context.WithCancel(t.Context())
		f := apitest.New("b1")
		w := &watch{out: &out, sw: f, window: 60e9, count: count, node: "b1"}
		if count == 0 {
			cancel()
		}
		if err := w.draw(ctx); err != nil {
			t.Error(err)
		}
		cancel()
		if text := out.String(); !strings.HasPrefix(text, "\x1b[?25l") || !strings.HasSuffix(text, "\x1b[?25h") || !strings.Contains(text, "\rb1 domain 0: ") {
			t.Errorf("%d samples: %q", count, text)
		}
	}
}

// The picture of a recording, drawn from its file.
func TestPlotRecording(t *testing.T) {
	dir := t.TempDir()
	conf := filepath.Join(dir, "b1.yaml")
	text := `role: clock
name: b1
systemId: 02:00:00:00:00:01
ports: [{port: 1, ifname: eth1}]
`
	if err := os.WriteFile(conf, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	trace := filepath.Join(dir, "b1-timing.jsonl")
	rec, err := record.Create(record.Config{Path: trace, Machine: "timing"})
	if err != nil {
		t.Fatal(err)
	}
	rec.Record(5e9, tsn.LinkChanged{Port: 1, Up: true})
	for k := range tsn.Instant(100) {
		rec.Record(5e9+k*1e8, tsn.Timeout{})
	}
	if err := rec.Close(); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	svg := filepath.Join(dir, "a.svg")
	line := []string{"gptp", "plot", "--file", trace, "--config", conf, "--svg", svg, "--png", filepath.Join(dir, "a.png")}
	if code := run(t.Context(), line, &out, &out); code != exitOK {
		t.Fatalf("exit %d: %s", code, out.String())
	}
	if want := "b1: offset from the grand master's time, domain 0\n10 samples over 9s, "; !strings.HasPrefix(out.String(), want) {
		t.Errorf("%q", out.String())
	}
	picture, err := os.ReadFile(svg)
	if err != nil || !bytes.Contains(picture, []byte(">grand-master<")) {
		t.Errorf("%v: no strip of the state in\n%s", err, picture)
	}
	out.Reset()
	if code := run(t.Context(), append(line, "--domain", "9"), &out, &out); code != exitFailed {
		t.Errorf("a domain that was not: exit %d: %s", code, out.String())
	}
}

// The picture of a daemon's history is golden.
func TestPlot(t *testing.T) {
	h, err := apitest.New("b1").GPTPHistory(t.Context(), api.GPTPQuery{})
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := offsetChart(h).SVG(&b); err != nil {
		t.Fatal(err)
	}
	golden(t, "testdata/golden/offset.svg", b.String())
}

// Ports and domains complete, of the node that is asked.
func TestGPTPCompletion(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	t.Cleanup(daemon(t, socket))
	for line, want := range map[string]string{
		"gptp ports ":           "1 p1 2 enp0s31f6-long 3 p3",
		"gptp watch --domain ":  "0 20",
		"gptp --domain ":        "0 20",
		"gptp plot --node ":     "b1 A b2",
		"gptp events --domain ": "0 20",
	} {
		var out, errOut bytes.Buffer
		run(t.Context(), append([]string{"__complete", "--socket", socket}, strings.Split(line, " ")...), &out, &errOut)
		got, _, _ := strings.Cut(out.String(), ":")
		if got = strings.Join(strings.Fields(got), " "); got != want {
			t.Errorf("%s: %q, want %q", line, got, want)
		}
	}
}

// Every reason's advice fits the page of gptp ports.
func TestAdviceFits(t *testing.T) {
	for _, reason := range []string{"no-response", "delay-above-threshold", "multiple-responses", "rate-ratio-out-of-range"} {
		var out bytes.Buffer
		g := api.GPTPPort{Port: 4095, Ifname: "enp0s31f6-long", Reason: reason, Stamps: "software", MeanLinkDelay: 23e6, NeighborPropDelayThresh: 20e6}
		g.Explanation = g.Explain()
		printGPTPPort(&page{w: &out}, g)
		fits(t, out.String())
		if !strings.Contains(out.String(), fmt.Sprintf("no: %s: ", reason)) {
			t.Errorf("%s", out.String())
		}
	}
}
