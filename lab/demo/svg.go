package main

import (
	"fmt"
	"html"
	"math"
	"strings"
)

// Picture geometry, in SVG user units.
const (
	svgWidth   = 960
	plotLeft   = 70
	plotRight  = svgWidth - 20
	plotTop    = 30
	plotHeight = 240
	legendLine = 18
	visible    = 0.5 // what differs by less is the same point
)

// Colours of the rows, chosen to differ in lightness too.
var rowColours = []string{"#4c72b0", "#c44e52", "#55a868", "#8172b2", "#ccb974"}

// picture puts the gate Gantt (an SVG document of its own) above the latency
// distributions of every table.
func picture(title, gantt string, tables []*latencyTable) string {
	var b strings.Builder
	gantt, ganttHeight := embed(gantt, svgWidth)
	height := 40 + ganttHeight + 20 + 10
	for _, t := range tables {
		height += distributionHeight(t)
	}
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %[1]d %[2]d" font-family="sans-serif">`+"\n", svgWidth, height)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="white"/>`+"\n", svgWidth, height)
	fmt.Fprintf(&b, `<text x="20" y="26" font-size="18">%s</text>`+"\n", html.EscapeString(title))
	fmt.Fprintf(&b, `<g transform="translate(0,40)">%s</g>`+"\n", gantt)
	y := 40 + ganttHeight + 20
	for _, t := range tables {
		fmt.Fprintf(&b, `<g transform="translate(0,%d)">%s</g>`+"\n", y, distribution(t))
		y += distributionHeight(t)
	}
	b.WriteString("</svg>\n")
	return b.String()
}

// distributionHeight is what distribution needs: plot, axis, a line for each row.
func distributionHeight(t *latencyTable) int {
	return plotTop + plotHeight + 30 + legendLine*len(t.Rows) + 24
}

// distribution draws the share of calls answered within a time, time on a
// logarithmic axis: the tail that matters is on the right. A row that measured
// the processor rather than the network is dashed.
func distribution(t *latencyTable) string {
	lo, hi := int64(math.MaxInt64), int64(1)
	for _, r := range t.Rows {
		if len(r.Micros) > 0 {
			lo, hi = min(lo, r.Micros[0]), max(hi, r.Max)
		}
	}
	if lo > hi {
		lo = 1
	}
	decLo, decHi := math.Floor(math.Log10(float64(max(lo, 1)))), math.Ceil(math.Log10(float64(hi)+1))
	x := func(us float64) float64 {
		return plotLeft + (math.Log10(us)-decLo)/(decHi-decLo)*(plotRight-plotLeft)
	}
	const top = plotTop
	y := func(share float64) float64 { return top + (1-share)*plotHeight }
	var b strings.Builder
	fmt.Fprintf(&b, `<text x="20" y="16" font-size="14">Share of calls answered within a time, wires at %s</text>`+"\n", t.LineRate)
	for d := decLo; d <= decHi; d++ {
		us := math.Pow(10, d)
		fmt.Fprintf(&b, `<line x1="%.1f" y1="%d" x2="%.1f" y2="%d" stroke="#ddd"/>`, x(us), top, x(us), top+plotHeight)
		fmt.Fprintf(&b, `<text x="%.1f" y="%d" font-size="11" text-anchor="middle">%s</text>`+"\n", x(us), top+plotHeight+16, micros(us))
	}
	for _, share := range []float64{0, 0.5, 0.9, 0.99, 1} {
		fmt.Fprintf(&b, `<line x1="%d" y1="%.1f" x2="%d" y2="%.1f" stroke="#eee"/>`, plotLeft, y(share), plotRight, y(share))
		if share != 0.99 {
			fmt.Fprintf(&b, `<text x="%d" y="%.1f" font-size="11" text-anchor="end">%g %%</text>`+"\n", plotLeft-6, y(share)+4, share*100)
		}
	}
	for i, r := range t.Rows {
		colour, dash := rowColours[i%len(rowColours)], ""
		if r.CPUBound {
			dash = ` stroke-dasharray="5 3"`
		}
		if n := len(r.Micros); n > 0 {
			fmt.Fprintf(&b, `<polyline fill="none" stroke="%s" stroke-width="1.8"%s points="`, colour, dash)
			fmt.Fprintf(&b, "%.1f,%.1f ", x(float64(max(r.Micros[0], 1))), y(0))
			lastX, lastY := 0.0, 0.0
			for j, us := range r.Micros {
				px, py := x(float64(max(us, 1))), y(float64(j+1)/float64(n))
				if j == n-1 || math.Abs(px-lastX) >= visible || math.Abs(py-lastY) >= visible {
					fmt.Fprintf(&b, "%.1f,%.1f ", px, py)
					lastX, lastY = px, py
				}
			}
			b.WriteString(`"/>` + "\n")
		}
		label := fmt.Sprintf("%s: p50 %s, p99 %s, max %s", r.Name, micros(float64(r.P50)), micros(float64(r.P99)), micros(float64(r.Max)))
		if r.CPUBound {
			label += fmt.Sprintf(" (CPU-bound: %.0f %% idle)", 100*r.IdleCPU)
		}
		ly := top + plotHeight + 40 + i*legendLine
		fmt.Fprintf(&b, `<path d="M%d %dh26" stroke="%s" stroke-width="3"%s/><text x="%d" y="%d" font-size="12">%s</text>`+"\n",
			plotLeft, ly-4, colour, dash, plotLeft+34, ly, html.EscapeString(label))
	}
	return b.String()
}

// micros prints a time with a unit people read.
func micros(us float64) string {
	switch {
	case us >= 1e6:
		return fmt.Sprintf("%.3g s", us/1e6)
	case us >= 1e3:
		return fmt.Sprintf("%.3g ms", us/1e3)
	}
	return fmt.Sprintf("%.3g us", us)
}

// embed gives an SVG document that has only a viewBox a place of the wanted
// width in another one, and says how high it becomes.
func embed(svg string, width int) (string, int) {
	var w, h int
	_, after, ok := strings.Cut(svg, `viewBox="0 0 `)
	if !ok {
		return "", 0
	}
	if n, _ := fmt.Sscanf(after, "%d %d", &w, &h); n != 2 || w == 0 {
		return "", 0
	}
	height := h * width / w
	return strings.Replace(svg, "<svg ", fmt.Sprintf(`<svg width="%d" height="%d" `, width, height), 1), height
}
