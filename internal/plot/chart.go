// Package plot draws values over time, with states and events beside them, as
// SVG and as PNG. What is drawn is decided once, against a canvas.
//
//	Chart ──> draw ──> canvas: svgCanvas, pngCanvas
package plot

import (
	"fmt"
	"math"
	"time"
)

// Chart is what there is to draw. Times are Unix ns, values ns.
type Chart struct {
	Title, Subtitle string
	Points          []Point // ascending in time
	Bands           []Band  // what was so for a while, in a strip below
	Marks           []Mark  // what happened
}

// Point is a value at a time. Break: the line does not come here from the
// point before. Wild: it does not count for the scale.
type Point struct {
	Time        int64
	Value       int64
	Break, Wild bool
}

// Band is a state and its colour (#rrggbb).
type Band struct {
	From, To int64
	Name     string
	Colour   string
}

// Mark is an event: a line across, numbered, with its text in a list below.
type Mark struct {
	Time   int64
	Text   string
	Colour string
}

// Geometry, in pixels.
const (
	width     = 960
	left      = 84
	right     = width - 40
	top       = 76
	plotH     = 300
	stripTop  = top + plotH + 8
	stripH    = 14
	axisTop   = stripTop + stripH
	listTop   = axisTop + 46
	listLine  = 17
	maxListed = 20
	charWidth = 7 // of the fixed-width font
	maxText   = (right - left) / charWidth
)

// Colours.
const (
	ink    = "#222222"
	faint  = "#666666"
	grid   = "#dddddd"
	zero   = "#999999"
	line   = "#0072b2"
	canvas = "#ffffff"
)

type xy struct{ x, y float64 }

// surface is what a chart is drawn on.
type surface interface {
	rect(x, y, w, h float64, colour string)
	line(a, b xy, width float64, colour string)
	polyline(pts []xy, width float64, colour string)
	// text is placed by its base line; anchor is -1 (starts at x), 0 or 1.
	text(x, y float64, anchor int, colour, s string)
}

// height is what the chart needs.
func (c *Chart) height() int {
	return listTop + listLine*min(len(c.Marks), maxListed+1) + 14
}

// span is the time the chart covers; never empty.
func (c *Chart) span() (from, to int64) {
	if n := len(c.Points); n > 0 {
		from, to = c.Points[0].Time, c.Points[n-1].Time
	}
	for _, b := range c.Bands {
		from, to = min(from, b.From), max(to, b.To)
	}
	return from, max(to, from+1)
}

// Limits are the least and largest value that count for the scale, spread by a
// margin; zero is within them.
func Limits(points []Point) (low, high float64) {
	for _, p := range points {
		if !p.Wild {
			low, high = min(low, float64(p.Value)), max(high, float64(p.Value))
		}
	}
	margin := max((high-low)*0.05, 5)
	return low - margin, high + margin
}

func (c *Chart) draw(s surface) {
	from, to := c.span()
	low, high := Limits(c.Points)
	x := func(t int64) float64 { return left + float64(t-from)/float64(to-from)*(right-left) }
	y := func(v float64) float64 { return top + (high-max(low, min(high, v)))/(high-low)*plotH }
	s.rect(0, 0, width, float64(c.height()), canvas)
	s.text(20, 24, -1, ink, clip(c.Title, (width-40)/charWidth))
	s.text(20, 42, -1, faint, clip(c.Subtitle, (width-40)/charWidth))
	for _, v := range Ticks(low, high, 7) {
		colour := grid
		if v == 0 {
			colour = zero
		}
		s.line(xy{left, y(v)}, xy{right, y(v)}, 1, colour)
		s.text(left-8, y(v)+4, 1, ink, Duration(v))
	}
	for _, t := range timeTicks(from, to) {
		s.line(xy{x(t), top}, xy{x(t), axisTop + 4}, 1, grid)
		s.text(x(t), axisTop+18, 0, ink, clock(t, to-from))
	}
	c.bands(s, x)
	c.curve(s, x, y)
	c.marks(s, x)
}

func (c *Chart) bands(s surface, x func(int64) float64) {
	for _, b := range c.Bands {
		from, to := x(b.From), x(b.To)
		s.rect(from, stripTop, max(to-from, 1), stripH, b.Colour)
		if float64(len(b.Name)*charWidth) < to-from-4 {
			s.text((from+to)/2, stripTop+11, 0, ink, b.Name)
		}
	}
}

// curve draws the values: of each half pixel the first, least, largest and
// last, so that a million points draw as fast as a thousand and no peak is lost.
func (c *Chart) curve(s surface, x func(int64) float64, y func(float64) float64) {
	var pts []xy
	flush := func() {
		if len(pts) == 1 {
			pts = append(pts, xy{pts[0].x + 1, pts[0].y})
		}
		if len(pts) > 0 {
			s.polyline(pts, 1.3, line)
		}
		pts = nil
	}
	var column []Point
	emit := func() {
		for _, p := range extremes(column) {
			pts = append(pts, xy{x(p.Time), y(float64(p.Value))})
		}
		column = column[:0]
	}
	at := math.Inf(-1)
	for _, p := range c.Points {
		if half := math.Floor(x(p.Time) * 2); half != at || p.Break {
			emit()
			at = half
		}
		if p.Break {
			flush()
		}
		column = append(column, p)
	}
	emit()
	flush()
}

// extremes are the first, least, largest and last of some points, in order.
func extremes(ps []Point) []Point {
	if len(ps) <= 4 {
		return ps
	}
	low, high := 0, 0
	for k, p := range ps {
		if p.Value < ps[low].Value {
			low = k
		}
		if p.Value > ps[high].Value {
			high = k
		}
	}
	return []Point{ps[0], ps[min(low, high)], ps[max(low, high)], ps[len(ps)-1]}
}

// marks draws the events of the list, the last ones if there are too many.
func (c *Chart) marks(s surface, x func(int64) float64) {
	from, to := c.span()
	marks, y := c.Marks, float64(listTop)
	if over := len(marks) - maxListed; over > 0 {
		marks = marks[over:]
		s.text(left, y, -1, faint, fmt.Sprintf("%d earlier events are not shown", over))
		y += listLine
	}
	free := 0.0 // where the next number has room
	for k, m := range marks {
		at := x(max(from, min(to, m.Time)))
		number := fmt.Sprint(k + 1)
		beside := max(at, free)
		free = beside + float64((len(number)+1)*charWidth)
		s.line(xy{at, top - 10}, xy{at, stripTop}, 1, m.Colour)
		s.text(beside, top-12, 0, m.Colour, number)
		s.text(left-8, y, 1, m.Colour, number)
		s.text(left, y, -1, ink, clip(clock(m.Time, second)+" "+m.Text, maxText))
		y += listLine
	}
}

const second = 1_000_000_000

// Ticks are about n round values within low..high, ascending.
func Ticks(low, high float64, n int) []float64 {
	step := roundUp((high - low) / float64(n))
	var out []float64
	for k := math.Ceil(low / step); k*step <= high; k++ {
		out = append(out, k*step)
	}
	return out
}

// roundUp is the next of 1, 2, 5, 10, 20 ...
func roundUp(v float64) float64 {
	p := math.Pow(10, math.Floor(math.Log10(v)))
	for _, m := range []float64{1, 2, 5} {
		if v <= m*p {
			return m * p
		}
	}
	return 10 * p
}

// timeSteps are what the time axis counts in, s.
var timeSteps = []int64{1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400}

func timeTicks(from, to int64) []int64 {
	step := timeSteps[len(timeSteps)-1] * second
	for _, s := range timeSteps {
		if (to-from)/(s*second) <= 9 {
			step = s * second
			break
		}
	}
	var out []int64
	for t := (from + step - 1) / step * step; t <= to; t += step {
		out = append(out, t)
	}
	return out
}

// clock is the time of day, UTC, with milliseconds where span is short.
func clock(t, span int64) string {
	if span < 5*second {
		return time.Unix(0, t).UTC().Format("15:04:05.000")
	}
	return time.Unix(0, t).UTC().Format("15:04:05")
}

// Duration prints nanoseconds with a unit.
func Duration(ns float64) string {
	switch v := math.Abs(ns); {
	case v < 1e3:
		return fmt.Sprintf("%.3g ns", ns)
	case v < 1e6:
		return fmt.Sprintf("%.4g us", ns/1e3)
	case v < 1e9:
		return fmt.Sprintf("%.4g ms", ns/1e6)
	}
	return fmt.Sprintf("%.4g s", ns/1e9)
}

func clip(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n-1]) + "~"
	}
	return s
}
