package qbv

import (
	"fmt"
	"html"
	"io"
	"strings"

	"tsnswitch"
)

// The SVG picture, in user units.
const (
	svgWidth  = 1000
	svgLeft   = 170 // labels
	svgRight  = 20
	svgTop    = 54
	svgRow    = 34
	svgLegend = 20
)

// svgColours are told apart in print and by most colour-blind readers.
var svgColours = []string{"#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#8c6bb1", "#5d4037"}

// GanttSVG writes one cycle of all ports as a self-contained SVG: a row per
// port, its guard bands, the streams' windows in their colours with the frames
// inside them, a tick where each frame is due at the listener, a time axis and
// a legend. It returns the error of w.
func GanttSVG(w io.Writer, s *Chart, labels Labels) error {
	g := &svg{s: s, labels: labels, scale: float64(svgWidth-svgLeft-svgRight) / float64(max(s.CycleTime, 1))}
	bottom := svgTop + svgRow*len(s.Ports)
	height := bottom + 40 + svgLegend*len(s.Streams) + 10
	g.printf(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">`+"\n", svgWidth, height)
	g.printf(`<rect width="%d" height="%d" fill="#ffffff"/>`+"\n", svgWidth, height)
	g.printf(`<text x="20" y="20" font-size="15">Gates of one cycle, %s</text>`+"\n", duration(s.CycleTime))
	g.printf(`<text x="20" y="38" fill="#555555">light: other classes may send; dark: guard band, no new frame; colour: a stream's window, solid where it sends</text>` + "\n")
	for i, p := range s.Ports {
		g.port(svgTop+i*svgRow, p)
	}
	g.axis(bottom)
	for i, st := range s.Streams {
		g.legend(bottom+44+i*svgLegend, i, st)
	}
	g.printf("</svg>\n")
	_, err := io.WriteString(w, g.b.String())
	return err
}

type svg struct {
	b      strings.Builder
	s      *Chart
	labels Labels
	scale  float64
}

func (g *svg) printf(format string, a ...any) { fmt.Fprintf(&g.b, format, a...) }

func (g *svg) x(t int64) float64 { return svgLeft + float64(t)*g.scale }

// bar draws from..to of the cycle; what runs over its end goes on at its begin.
func (g *svg) bar(y, height int, from, to int64, style string) {
	cycle := g.s.CycleTime
	if to > cycle {
		g.bar(y, height, 0, min(to-cycle, cycle), style)
		to = cycle
	}
	if from < to {
		g.printf(`<rect x="%.2f" y="%d" width="%.2f" height="%d" %s/>`+"\n", g.x(from), y, max(float64(to-from)*g.scale, 0.4), height, style)
	}
}

func (g *svg) port(y int, p ChartPort) {
	g.printf(`<text x="%d" y="%d" text-anchor="end">%s</text>`+"\n", svgLeft-8, y+18, html.EscapeString(clip(g.labels.hop(p.Hop), 24)))
	g.gates(y, p)
	for i, st := range g.s.Streams {
		colour := svgColours[i%len(svgColours)]
		for n, slot := range st.Slots {
			if slot.Hop != p.Hop {
				continue
			}
			occurrences(g.s, st.Stream.Interval, slot.Open, slot.Close, func(from, to int64) {
				g.bar(y+2, svgRow-12, from, to, fmt.Sprintf(`fill="%s" fill-opacity="0.35"`, colour))
			})
			occurrences(g.s, st.Stream.Interval, slot.Start, slot.End, func(from, to int64) {
				g.bar(y+2, svgRow-12, from, to, fmt.Sprintf(`fill="%s"`, colour))
			})
			if n == len(st.Slots)-1 {
				due := st.InjectionOffset + st.Stream.MaxLatency
				occurrences(g.s, st.Stream.Interval, due, due, func(at, _ int64) { g.tick(y, at, colour) })
			}
		}
	}
}

// gates draws what the gate control list says, over the whole cycle.
func (g *svg) gates(y int, p ChartPort) {
	const most = 1 << 14
	for at, n := int64(0), 0; at < g.s.CycleTime && n < most; n++ {
		e, length := entryAt(&p.List, at)
		length = min(length, g.s.CycleTime-at)
		style := `fill="#e8eef2"`
		switch {
		case e.Gates.Has(tsn.ClassScheduled):
			style = `fill="#ffffff" stroke="#c0c8cc" stroke-width="0.3"`
		case e.Gates == 0:
			style = `fill="#9aa5ab"`
		}
		g.bar(y, svgRow-8, at, at+length, style)
		at += length
	}
}

// tick marks a deadline on the row of the last hop.
func (g *svg) tick(y int, at int64, colour string) {
	x := g.x(at % g.s.CycleTime)
	g.printf(`<path d="M%.2f %d v%d m-3 0 h6" stroke="%s" fill="none"/>`+"\n", x, y-1, svgRow-6, colour)
}

func (g *svg) axis(y int) {
	g.printf(`<path d="M%d %d H%d" stroke="#000000"/>`+"\n", svgLeft, y, svgWidth-svgRight)
	for n := range int64(11) {
		t := g.s.CycleTime * n / 10
		g.printf(`<path d="M%.2f %d v5" stroke="#000000"/><text x="%.2f" y="%d" text-anchor="middle">%s</text>`+"\n", g.x(t), y, g.x(t), y+18, duration(t))
	}
}

func (g *svg) legend(y, i int, st ChartStream) {
	g.printf(`<rect x="%d" y="%d" width="14" height="12" fill="%s"/>`, svgLeft, y-11, svgColours[i%len(svgColours)])
	g.printf(`<text x="%d" y="%d">%s: every %s, from %s, at the listener within %s of %s allowed</text>`+"\n", svgLeft+22, y,
		html.EscapeString(g.labels.stream(st.Stream)), duration(st.Stream.Interval), duration(st.InjectionOffset),
		duration(st.WorstLatency), duration(st.Stream.MaxLatency))
}
