package plot

import (
	"bytes"
	"encoding/xml"
	"flag"
	"image/png"
	"io"
	"math"
	"os"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

var update = flag.Bool("update", false, "rewrite golden files")

// sample is a chart with all there can be.
func sample() *Chart {
	c := &Chart{Title: "gPTP offset at <b1>, domain 0", Subtitle: "rms 640 ns"}
	const begin = 1_700_000_000 * second
	for k := range int64(200) {
		v := int64(900 * math.Sin(float64(k)/9))
		c.Points = append(c.Points, Point{Time: begin + k*second/8, Value: v, Break: k == 120})
	}
	c.Points[3].Value, c.Points[3].Wild = 1_000_000_000_000, true
	c.Bands = []Band{{begin, begin + 15*second, "synchronized", "#bfe3c8"}, {begin + 15*second, begin + 25*second, "holdover", "#f6d7a7"}}
	c.Marks = []Mark{{begin + 15*second, "grand master b3 -> b1: no Sync", "#d55e00"}, {begin + 20*second, "as-capable port 1", "#009e73"}}
	return c
}

func golden(t *testing.T, file string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(want, got) {
		t.Errorf("%s differs (-update rewrites it): %s", file, cmp.Diff(string(want[:min(len(want), 400)]), string(got[:min(len(got), 400)])))
	}
}

func TestSVG(t *testing.T) {
	var b bytes.Buffer
	if err := sample().SVG(&b); err != nil {
		t.Fatal(err)
	}
	golden(t, "testdata/sample.svg", b.Bytes())
	dec := xml.NewDecoder(&b)
	for {
		if _, err := dec.Token(); err == io.EOF {
			return
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

// The image's pixels are golden; how they are packed is the library's business.
func TestPNG(t *testing.T) {
	var b bytes.Buffer
	if err := sample().PNG(&b); err != nil {
		t.Fatal(err)
	}
	const file = "testdata/sample.png"
	if *update {
		golden(t, file, b.Bytes())
	}
	want, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer want.Close()
	w, err := png.Decode(want)
	if err != nil {
		t.Fatal(err)
	}
	g, err := png.Decode(&b)
	if err != nil {
		t.Fatal(err)
	}
	if w.Bounds() != g.Bounds() {
		t.Fatalf("%v, want %v", g.Bounds(), w.Bounds())
	}
	other := 0
	for y := range g.Bounds().Dy() {
		for x := range g.Bounds().Dx() {
			if w.At(x, y) != g.At(x, y) {
				other++
			}
		}
	}
	if other > 0 {
		t.Errorf("%d pixels are other ones (-update rewrites %s)", other, file)
	}
}

// An empty chart, or one of a single point, is a chart.
func TestFewPoints(t *testing.T) {
	for _, c := range []Chart{{}, {Points: []Point{{Time: 5, Value: -3}}}, {Marks: make([]Mark, 100)}} {
		for k := range c.Marks {
			c.Marks[k].Colour = ink
		}
		if err := c.SVG(io.Discard); err != nil {
			t.Error(err)
		}
		if err := c.PNG(io.Discard); err != nil {
			t.Error(err)
		}
	}
}

// Thinning keeps the ends, the least and the largest, in order.
func TestExtremes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		values := rapid.SliceOfN(rapid.Int64Range(-50, 50), 1, 40).Draw(t, "values")
		var ps []Point
		for k, v := range values {
			ps = append(ps, Point{Time: int64(k), Value: v})
		}
		got := extremes(ps)
		var kept []int64
		for k, p := range got {
			kept = append(kept, p.Value)
			if k > 0 && p.Time < got[k-1].Time {
				t.Fatalf("out of order: %v", got)
			}
		}
		if got[0] != ps[0] || got[len(got)-1] != ps[len(ps)-1] || slices.Min(kept) != slices.Min(values) || slices.Max(kept) != slices.Max(values) {
			t.Fatalf("%v of %v", kept, values)
		}
	})
}

// Ticks are ascending, within the limits, few and enough; zero is exact.
func TestTicks(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		low := -rapid.Float64Range(1, 1e12).Draw(t, "low")
		high := rapid.Float64Range(1, 1e12).Draw(t, "high")
		ticks := Ticks(low, high, 7)
		if n := len(ticks); n < 2 || n > 8 {
			t.Fatalf("%d ticks: %v", n, ticks)
		}
		if !slices.IsSorted(ticks) || ticks[0] < low || ticks[len(ticks)-1] > high || !slices.Contains(ticks, 0) {
			t.Fatalf("%v", ticks)
		}
	})
}
