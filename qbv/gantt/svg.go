package gantt

import (
	"fmt"
	"html"
	"io"
	"strings"

	tsn "tsnswitch"
)

// The SVG picture, in user units.
const (
	svgWidth  = 1100
	svgLeft   = 190 // names and classes
	svgRight  = 24
	svgTop    = 58
	svgLane   = 20
	svgGap    = 10
	svgLegend = 19
)

// svgColours are one a class, told apart in print and by most colour-blind
// readers.
var svgColours = [tsn.MaxTrafficClasses]string{"#b8c4ca", "#56b4e9", "#e69f00", "#8c6bb1", "#0072b2", "#009e73", "#d55e00", "#cc79a7"}

// SVG writes one cycle as a self-contained picture: a row for each port, in it
// a lane for each class, one colour a class, windows labelled with their
// stream and solid where its frames are, guard bands hatched, a tick where
// frames are due at a listener, a line for the present. It returns w's error.
func SVG(w io.Writer, c *Chart) error {
	g := &svg{chart: c, scale: float64(svgWidth-svgLeft-svgRight) / float64(max(c.Cycle, 1))}
	var body svg
	body.chart, body.scale = g.chart, g.scale
	y := svgTop
	for i := range c.Rows {
		y = body.row(y, &c.Rows[i]) + svgGap
	}
	body.now(y)
	body.axis(y)
	g.head(y + 48 + svgLegend*len(c.Streams))
	g.b.WriteString(body.b.String())
	for i, s := range c.Streams {
		g.legend(y+52+i*svgLegend, i, s)
	}
	g.printf("</svg>\n")
	_, err := io.WriteString(w, g.b.String())
	return err
}

type svg struct {
	b     strings.Builder
	chart *Chart
	scale float64
}

func (g *svg) printf(format string, a ...any) { fmt.Fprintf(&g.b, format, a...) }

func (g *svg) x(t int64) float64 { return svgLeft + float64(t)*g.scale }

func (g *svg) head(height int) {
	g.printf(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">`+"\n", svgWidth, height+8)
	g.printf(`<defs><pattern id="guard" width="5" height="5" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">` +
		`<rect width="5" height="5" fill="#ffffff"/><rect width="2" height="5" fill="#8a959b"/></pattern></defs>` + "\n")
	g.printf(`<rect width="100%%" height="100%%" fill="#ffffff"/>` + "\n")
	g.printf(`<text x="20" y="20" font-size="15">Gates of one cycle, %s</text>`+"\n", Duration(g.chart.Cycle))
	g.printf(`<text x="20" y="38" fill="#555555">a lane is a class; pale: its gate is open; full: frames of the stream named; hatched: all gates closed; tick: due at the listener</text>` + "\n")
}

// bar draws from..to of the cycle; what runs over its end goes on at its begin.
func (g *svg) bar(y, height int, from, to int64, style string) {
	cycle := g.chart.Cycle
	if to > cycle {
		g.bar(y, height, 0, min(to-cycle, cycle), style)
		to = cycle
	}
	if from < to {
		g.printf(`<rect x="%.2f" y="%d" width="%.2f" height="%d" %s/>`+"\n", g.x(from), y, max(float64(to-from)*g.scale, 0.4), height, style)
	}
}

func (g *svg) row(y int, r *Row) int {
	lanes := r.lanes()
	height := svgLane * max(len(lanes), 1)
	g.printf(`<text x="%d" y="%d" text-anchor="end">%s</text>`+"\n", svgLeft-44, y+height/2+4, html.EscapeString(clip(r.Name, 20)))
	g.printf(`<rect x="%d" y="%d" width="%d" height="%d" fill="#f6f8f9"/>`+"\n", svgLeft, y, svgWidth-svgLeft-svgRight, height)
	if r.Empty != "" {
		g.printf(`<text x="%d" y="%d" fill="#555555">%s</text>`+"\n", svgLeft+6, y+14, html.EscapeString(r.Empty))
	}
	r.shut(g.chart.Cycle, func(from, to int64) { g.bar(y, height, from, to, `fill="url(#guard)"`) })
	for i, l := range lanes {
		g.lane(y+i*svgLane, r, l)
	}
	return y + height
}

func (g *svg) lane(y int, r *Row, l lane) {
	colour := svgColours[l.top()]
	g.printf(`<text x="%d" y="%d" text-anchor="end" font-size="10" fill="#555555">%s</text>`+"\n", svgLeft-8, y+14, l.label())
	pale := fmt.Sprintf(`fill="%s" fill-opacity="0.4"`, colour)
	r.open(l.top(), g.chart.Cycle, func(from, to int64) { g.bar(y+2, svgLane-4, from, to, pale) })
	for _, s := range l.slots {
		g.slot(y, s, colour)
	}
}

func (g *svg) slot(y int, s Slot, colour string) {
	label := html.EscapeString(clip(g.chart.Streams[s.Stream].Name, 24))
	g.chart.again(s, s.Start, s.End, func(from, to int64) {
		g.bar(y+2, svgLane-4, from, to, fmt.Sprintf(`fill="%s"`, colour))
	})
	g.chart.again(s, s.Open, s.Close, func(from, to int64) {
		if wide := float64(min(to, g.chart.Cycle)-from) * g.scale; wide > 6*float64(len(label)) {
			g.printf(`<text x="%.2f" y="%d" font-size="10">%s</text>`+"\n", g.x(from)+2, y+14, label)
		} else {
			g.printf(`<text x="%.2f" y="%d" font-size="8">%c</text>`+"\n", g.x(from), y+2, letter(s.Stream))
		}
	})
	if s.Due > 0 {
		g.chart.again(s, s.Due, s.Due, func(at, _ int64) {
			g.printf(`<path d="M%.2f %d v%d m-3 0 h6" stroke="#000000" fill="none"/>`+"\n", g.x(at%g.chart.Cycle), y, svgLane-2)
		})
	}
}

func (g *svg) now(bottom int) {
	if g.chart.Now < 0 || g.chart.Cycle <= 0 {
		return
	}
	x := g.x(mod(g.chart.Now, g.chart.Cycle))
	g.printf(`<path d="M%.2f %d V%d" stroke="#c00000"/><text x="%.2f" y="%d" fill="#c00000" font-size="10">now</text>`+"\n", x, svgTop-6, bottom, x+3, svgTop-2)
}

func (g *svg) axis(y int) {
	g.printf(`<path d="M%d %d H%d" stroke="#000000"/>`+"\n", svgLeft, y, svgWidth-svgRight)
	for n := range int64(11) {
		t := g.chart.Cycle / 10 * n
		g.printf(`<path d="M%.2f %d v5" stroke="#000000"/><text x="%.2f" y="%d" text-anchor="middle">%s</text>`+"\n", g.x(t), y, g.x(t), y+18, Duration(t))
	}
}

func (g *svg) legend(y, i int, s Stream) {
	g.printf(`<text x="%d" y="%d" font-size="11"><tspan font-weight="bold">%c</tspan> %s: every %s, from %s, at the listener within %s of %s allowed</text>`+"\n", svgLeft, y, letter(i),
		html.EscapeString(s.Name), Duration(s.Period), Duration(s.Offset), Duration(s.Latency), Duration(s.Limit))
}
