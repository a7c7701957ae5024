package qbv

import (
	"bytes"
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
	m := mesh{3, 1}
	l := Labels{Systems: map[tsn.MAC]string{}, Streams: map[tsn.StreamID]string{}}
	for x, n := range []string{"sw1", "sw2", "sw3"} {
		l.Systems[m.bridge(x, 0)] = n
	}
	l.Systems[m.host(0, 0)], l.Systems[m.host(2, 0)] = "hostA", "hostB"
	l.Streams[tsn.MakeStreamID(m.host(0, 0), 1)] = "A to B <plain>"
	return l
}

func TestGantt(t *testing.T) {
	s := mustPlan(t, line())
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
	s := mustPlan(t, line())
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
	s := mustPlan(t, Problem{})
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
