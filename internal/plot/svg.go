package plot

import (
	"fmt"
	"html"
	"io"
	"strings"
)

// SVG writes the chart as a document of its own.
func (c *Chart) SVG(w io.Writer) error {
	s := &svgCanvas{}
	c.draw(s)
	_, err := fmt.Fprintf(w, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %[1]d %[2]d" font-family="monospace" font-size="11.5">
<title>%s</title>
%s</svg>
`, width, c.height(), html.EscapeString(c.Title), s.b.String())
	return err
}

type svgCanvas struct{ b strings.Builder }

func (s *svgCanvas) rect(x, y, w, h float64, colour string) {
	fmt.Fprintf(&s.b, `<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" fill="%s"/>`+"\n", x, y, w, h, colour)
}

func (s *svgCanvas) line(a, b xy, width float64, colour string) {
	fmt.Fprintf(&s.b, `<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" stroke="%s" stroke-width="%g"/>`+"\n", a.x, a.y, b.x, b.y, colour, width)
}

func (s *svgCanvas) polyline(pts []xy, width float64, colour string) {
	fmt.Fprintf(&s.b, `<polyline fill="none" stroke="%s" stroke-width="%g" stroke-linejoin="round" points="`, colour, width)
	for _, p := range pts {
		fmt.Fprintf(&s.b, "%.1f,%.1f ", p.x, p.y)
	}
	s.b.WriteString(`"/>` + "\n")
}

func (s *svgCanvas) text(x, y float64, anchor int, colour, text string) {
	where := [...]string{"start", "middle", "end"}[anchor+1]
	fmt.Fprintf(&s.b, `<text x="%.1f" y="%.1f" text-anchor="%s" fill="%s">%s</text>`+"\n", x, y, where, colour, html.EscapeString(text))
}
