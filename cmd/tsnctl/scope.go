package main

import (
	"fmt"
	"math"
	"strings"
	"time"
	"unicode"

	"tsnswitch/internal/api"
	"tsnswitch/internal/plot"
)

// scope draws offsets into text: a cell of braille has 2 by 4 dots. The newest
// sample is at the right edge, which is now.
type scope struct {
	title   string
	window  int64 // ns from the left edge to the right
	samples []api.GPTPSample
	events  []api.Event
}

const (
	scopeLabel  = 10 // columns of the value axis, with its line
	scopeEvents = 3  // events that are listed
	scopeLeast  = 24 // columns of a picture that shows something
)

// add takes news and forgets what has left the window.
func (s *scope) add(u api.GPTPUpdate) {
	switch {
	case u.Sample != nil:
		s.samples = append(s.samples, *u.Sample)
		for len(s.samples) > 0 && s.samples[0].Time < u.Sample.Time-s.window {
			s.samples = s.samples[1:]
		}
	case eventColours[u.Event.Kind] != "":
		s.events = append(s.events, *u.Event)
		s.events = s.events[max(0, len(s.events)-64):]
	}
}

// frame is the picture in lines of at most columns, rows of which are the plot.
func (s *scope) frame(columns, rows int) []string {
	columns, rows = max(columns, scopeLabel+scopeLeast), max(rows, 3)
	g := newBraille(columns-scopeLabel, rows)
	out := []string{clean(cut(s.title, columns))}
	if len(s.samples) == 0 {
		return append(out, "waiting for the first sample")
	}
	end := s.samples[len(s.samples)-1].Time
	low, high := s.curve(g, end)
	for _, e := range s.events {
		if x := g.column(e.Time-end+s.window, s.window); e.Time >= end-s.window && x < g.w {
			g.mark(x)
		}
	}
	zero := g.row(0, low, high) / 4
	for y := range rows {
		label, axis := "", "│"
		switch y {
		case zero:
			label, axis = "0", "┼"
		case 0:
			label, axis = dur(int64(high)), "┤"
		case rows - 1:
			label, axis = dur(int64(low)), "┤"
		}
		out = append(out, fmt.Sprintf("%*s%s%s", scopeLabel-1, cut(label, scopeLabel-1), axis, g.line(y, y == zero)))
	}
	out = append(out, s.axis(columns, end))
	for _, e := range s.events[max(0, len(s.events)-scopeEvents):] {
		text := "▼ " + time.Unix(0, e.Time).UTC().Format("15:04:05.000") + " " + eventText(e)
		out = append(out, clean(cut(text, columns)))
	}
	return out
}

// curve draws the measured offsets and returns the limits of the scale.
func (s *scope) curve(g *braille, end int64) (low, high float64) {
	var points []plot.Point
	for _, v := range s.samples {
		points = append(points, plot.Point{Value: v.Offset, Wild: v.State != api.GPTPSynchronized})
	}
	low, high = plot.Limits(points)
	last, lastX, lastY := api.GPTPSample{}, 0, 0
	for _, v := range s.samples {
		if !measured(v) {
			last = v
			continue
		}
		x, y := g.dotColumn(v.Time-end+s.window, s.window), g.row(float64(v.Offset), low, high)
		if last.State == v.State && last.Grandmaster == v.Grandmaster && v.Time-last.Time <= gapNS {
			g.segment(lastX, lastY, x, y)
		}
		g.dot(x, y)
		last, lastX, lastY = v, x, y
	}
	return low, high
}

// axis is the line with the times.
func (s *scope) axis(columns int, end int64) string {
	from, now := "-"+dur(s.window), time.Unix(0, end).UTC().Format("15:04:05")
	pad := columns - scopeLabel - len(from) - len(now)
	return strings.Repeat(" ", scopeLabel) + from + strings.Repeat(" ", max(1, pad)) + now
}

// clean takes out what could steer the terminal; names come from anybody.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return '·'
		}
		return r
	}, s)
}

// braille is a grid of w by h cells.
type braille struct {
	w, h  int
	cells []rune // dots, as in U+2800
	marks map[int]bool
}

func newBraille(w, h int) *braille {
	return &braille{w: w, h: h, cells: make([]rune, w*h), marks: map[int]bool{}}
}

func (g *braille) mark(x int) { g.marks[x] = true }

// column is the cell of t in 0..span.
func (g *braille) column(t, span int64) int { return g.dotColumn(t, span) / 2 }

func (g *braille) dotColumn(t, span int64) int {
	return int(max(0, min(float64(2*g.w-1), math.Round(float64(t)/float64(span)*float64(2*g.w-1)))))
}

// row is the dot row of a value; what is beyond the limits is at the border.
func (g *braille) row(v, low, high float64) int {
	return int(math.Round((high - max(low, min(high, v))) / (high - low) * float64(4*g.h-1)))
}

// dotBits are the bits of the dots of a cell, by column and row.
var dotBits = [2][4]rune{{0x01, 0x02, 0x04, 0x40}, {0x08, 0x10, 0x20, 0x80}}

func (g *braille) dot(x, y int) { g.cells[y/4*g.w+x/2] |= dotBits[x%2][y%4] }

// segment is a line between two dots.
func (g *braille) segment(x0, y0, x1, y1 int) {
	n := max(abs(x1-x0), abs(y1-y0), 1)
	for k := range n {
		g.dot(x0+(x1-x0)*k/n, y0+(y1-y0)*k/n)
	}
}

func abs(v int) int { return max(v, -v) }

// line is a row of cells: dots, else a mark, else the zero line.
func (g *braille) line(y int, zero bool) string {
	var b strings.Builder
	for x, dots := range g.cells[y*g.w : (y+1)*g.w] {
		switch {
		case g.marks[x] && y == 0:
			b.WriteRune('▼')
		case dots != 0:
			b.WriteRune(0x2800 + dots)
		case g.marks[x]:
			b.WriteRune('┊')
		case zero:
			b.WriteRune('┈')
		default:
			b.WriteRune(' ')
		}
	}
	return strings.TrimRight(b.String(), " ")
}
