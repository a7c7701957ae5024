package gantt

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

	"pgregory.net/rapid"

	tsn "tsnswitch"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
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

// chart is two ports: the first with a window of each of two streams, one of
// which comes twice in the cycle and runs over its end; the second has half the cycle.
func chart() *Chart {
	entries := func(e ...tsn.GateEntry) []tsn.GateEntry { return e }
	return &Chart{
		Cycle: 1_000_000, Now: 420_000,
		Streams: []Stream{
			{Name: "axis <1>", Period: 500_000, Offset: 100_000, Latency: 80_000, Limit: 250_000},
			{Name: "a camera with a name that is too long for a legend", Period: 1_000_000, Offset: 960_000, Latency: 200_000, Limit: 1_000_000},
		},
		Rows: []Row{
			{
				Name: "b1:2",
				List: tsn.GateControlList{CycleTime: 1_000_000, Entries: entries(
					tsn.GateEntry{Gates: 0x80, Interval: 40_000}, tsn.GateEntry{Gates: 0x3f, Interval: 47_000}, tsn.GateEntry{Gates: 0, Interval: 13_000},
					tsn.GateEntry{Gates: 0x40, Interval: 50_000}, tsn.GateEntry{Gates: 0x3f, Interval: 440_000}, tsn.GateEntry{Gates: 0, Interval: 10_000},
					tsn.GateEntry{Gates: 0x40, Interval: 50_000}, tsn.GateEntry{Gates: 0x1f, Interval: 310_000}, tsn.GateEntry{Gates: 0x80, Interval: 40_000},
				)},
				Slots: []Slot{
					{Stream: 0, Queue: 6, Period: 500_000, Open: 100_000, Close: 150_000, Start: 110_000, End: 140_000},
					{Stream: 1, Queue: 7, Period: 1_000_000, Open: 960_000, Close: 1_040_000, Start: 970_000, End: 1_030_000},
				},
			},
			{
				Name: "bridge-with-a-long-name:1",
				List: tsn.GateControlList{CycleTime: 500_000, Entries: entries(
					tsn.GateEntry{Gates: 0x01, Interval: 200_000}, tsn.GateEntry{Gates: 0x40, Interval: 60_000}, tsn.GateEntry{Gates: 0x01, Interval: 240_000},
				)},
				Slots: []Slot{{Stream: 0, Queue: 6, Period: 500_000, Open: 200_000, Close: 260_000, Start: 210_000, End: 240_000, Due: 350_000}},
			},
			{Name: "b3:1", Empty: "all gates open"},
		},
	}
}

func TestText(t *testing.T) {
	var b bytes.Buffer
	if err := Text(&b, chart(), false); err != nil {
		t.Fatal(err)
	}
	golden(t, "chart.txt", b.Bytes())
	for n, l := range strings.Split(b.String(), "\n") {
		if utf8.RuneCountInString(l) > 80 {
			t.Errorf("line %d has %d columns", n+1, utf8.RuneCountInString(l))
		}
	}
	var coloured bytes.Buffer
	if err := Text(&coloured, chart(), true); err != nil || strings.Count(coloured.String(), "\x1b[0m") != 6 {
		t.Errorf("%v\n%q", err, coloured.String())
	}
}

func TestSVG(t *testing.T) {
	var b bytes.Buffer
	if err := SVG(&b, chart()); err != nil {
		t.Fatal(err)
	}
	golden(t, "chart.svg", b.Bytes())
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

// Nothing to draw is no fault, and nobody's name moves the cursor.
func TestOddCharts(t *testing.T) {
	for _, c := range []*Chart{{}, {Cycle: 5, Now: -1, Rows: []Row{{Name: "x"}}}, {Cycle: 1, Now: 77, Rows: []Row{{List: tsn.GateControlList{CycleTime: 3}}}}} {
		if err := errors.Join(Text(io.Discard, c, true), SVG(io.Discard, c)); err != nil {
			t.Error(err)
		}
	}
	var b bytes.Buffer
	if err := Text(&b, &Chart{Cycle: 9, Now: -1, Rows: []Row{{Name: "a\x1b[2J", Empty: "b\a"}}}, false); err != nil || strings.ContainsAny(b.String(), "\x1b\a") {
		t.Errorf("%v %q", err, b.String())
	}
}

func TestDuration(t *testing.T) {
	for ns, want := range map[int64]string{0: "0ns", 999: "999ns", 1500: "1.5us", 10_000_000: "10ms", 12_345_678: "12.346ms", 2_000_000_000: "2s"} {
		if got := Duration(ns); got != want {
			t.Errorf("%d: %s, want %s", ns, got, want)
		}
	}
}

// 802.1Q 8.6.9.4.5: the last entry holds until the cycle ends, a cycle that is
// too short cuts the list, and the list begins anew until the chart ends.
func TestOpenTimes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := Row{}
		for range rapid.IntRange(1, 10).Draw(t, "entries") {
			r.List.Entries = append(r.List.Entries, tsn.GateEntry{
				Gates:    tsn.GateMask(rapid.Uint8().Draw(t, "gates")),
				Interval: rapid.Int64Range(1, 50).Draw(t, "interval"),
			})
		}
		r.List.CycleTime = rapid.Int64Range(1, 300).Draw(t, "cycle")
		chart := r.List.CycleTime * rapid.Int64Range(1, 3).Draw(t, "laps")
		for c := range tsn.TrafficClass(8) {
			open := make([]bool, chart)
			r.open(c, chart, func(from, to int64) {
				for ns := from; ns < to; ns++ {
					open[ns] = true
				}
			})
			for ns := range chart {
				i, left := 0, ns%r.List.CycleTime
				for i < len(r.List.Entries)-1 && left >= r.List.Entries[i].Interval {
					left -= r.List.Entries[i].Interval
					i++
				}
				if want := r.List.Entries[i].Gates.Has(c); open[ns] != want {
					t.Fatalf("class %d at %d: open %v of %+v", c, ns, open[ns], r.List)
				}
			}
		}
	})
}
