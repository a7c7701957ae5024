package qbv

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"tsnswitch"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v (run the test with -update to write it)", err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs; got\n%s", path, got)
	}
}

func lineLabels() Labels {
	return Labels{
		Systems: map[tsn.MAC]string{
			{2, 0, 0, 0, 0, 1}: "sw1", {2, 0, 0, 0, 0, 2}: "sw2", {2, 0, 0, 0, 0, 3}: "sw3",
			{2, 0, 0, 0, 0x10, 0}: "hostA", {2, 0, 0, 0, 0x10, 2}: "hostB",
		},
		Streams: map[tsn.StreamID]string{tsn.MakeStreamID(tsn.MAC{2, 0, 0, 0, 0x10, 0}, 1): "A to B <plain>"},
	}
}

// lineChart is a schedule of two streams on a line of three bridges.
func lineChart(t *testing.T) *Chart {
	t.Helper()
	b, err := os.ReadFile("testdata/line.json")
	if err != nil {
		t.Fatal(err)
	}
	var c Chart
	if err := json.Unmarshal(b, &c); err != nil {
		t.Fatal(err)
	}
	return &c
}

func TestGantt(t *testing.T) {
	s := lineChart(t)
	got := Gantt(s, lineLabels())
	golden(t, "line.txt", []byte(got))
	for n, l := range strings.Split(got, "\n") {
		if utf8.RuneCountInString(l) > 80 {
			t.Errorf("line %d has %d columns", n+1, utf8.RuneCountInString(l))
		}
	}
	one := Gantt(s, lineLabels(), s.Ports[0].Hop)
	if strings.Count(one, "\n") != 4+1+1+1+1+2 || strings.Contains(one, "sw2") {
		t.Errorf("one port:\n%s", one)
	}
}

func TestGanttSVG(t *testing.T) {
	s := lineChart(t)
	var b bytes.Buffer
	if err := GanttSVG(&b, s, lineLabels()); err != nil {
		t.Fatal(err)
	}
	golden(t, "line.svg", b.Bytes())
	d := xml.NewDecoder(&b)
	for {
		_, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("not well-formed: %v", err)
		}
	}
}

func TestGanttEmpty(t *testing.T) {
	s := &Chart{}
	if err := GanttSVG(io.Discard, s, Labels{}); err != nil || Gantt(s, Labels{}) == "" {
		t.Error(err)
	}
}

func TestDuration(t *testing.T) {
	for ns, want := range map[int64]string{0: "0ns", 999: "999ns", 1500: "1.5us", 10_000_000: "10ms", 12_345_678: "12.346ms", 2_000_000_000: "2s"} {
		if got := duration(ns); got != want {
			t.Errorf("%d: %s, want %s", ns, got, want)
		}
	}
}
