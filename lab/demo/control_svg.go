package main

import (
	"fmt"
	"html"
	"math"
	"strings"
	"time"
)

// Geometry of a phase's panel: latencies, and the pendulum below.
const (
	panelTop     = 40 // below its title
	panelHeight  = 130
	angleGap     = 22
	angleHeight  = 46
	panelBottom  = 30
	controlPanel = panelTop + panelHeight + angleGap + angleHeight + panelBottom
	controlHead  = 70
	fallenAt     = 45 // degrees: the angle's scale
)

const (
	inTimeColour = "#4c72b0"
	missedColour = "#c44e52"
	angleColour  = "#55a868"
)

// controlPicture draws each phase: every latency over time on one logarithmic
// scale, the deadline, the misses in red, and where the pendulum was.
func controlPicture(phases []*controlPhase, where string) string {
	lo, hi := controlScale(phases)
	height := controlHead + controlPanel*len(phases)
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %[1]d %[2]d" font-family="sans-serif">`+"\n", svgWidth, height)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="white"/>`+"\n", svgWidth, height)
	period, rate := time.Duration(0), ""
	if len(phases) > 0 {
		period, rate = phases[0].Period, phases[0].LineRate.String()
	}
	fmt.Fprintf(&b, `<text x="20" y="26" font-size="18">A control loop between two Erlang nodes over two bridges</text>`+"\n")
	fmt.Fprintf(&b, `<text x="20" y="46" font-size="12">Time from sample to force; each has to be back within %v. Every wire %s; %s.</text>`+"\n", period, rate, html.EscapeString(where))
	legend := []struct{ colour, text string }{{inTimeColour, "in time"}, {missedColour, "deadline missed (on the top line: never)"}, {angleColour, "angle of the pendulum"}}
	for i, x := range []int{plotLeft, plotLeft + 80, plotLeft + 330} {
		fmt.Fprintf(&b, `<rect x="%d" y="56" width="10" height="10" fill="%s"/><text x="%d" y="65" font-size="11">%s</text>`+"\n", x, legend[i].colour, x+15, legend[i].text)
	}
	for i, p := range phases {
		fmt.Fprintf(&b, `<g transform="translate(0,%d)">%s</g>`+"\n", controlHead+i*controlPanel, controlPanelOf(p, lo, hi))
	}
	b.WriteString("</svg>\n")
	return b.String()
}

// controlScale is the decades of microseconds that hold all latencies and the
// deadline.
func controlScale(phases []*controlPhase) (lo, hi float64) {
	least, most := int64(math.MaxInt64), int64(1)
	for _, p := range phases {
		least, most = min(least, p.Period.Microseconds()), max(most, p.Period.Microseconds())
		for _, us := range p.Loop.Latency {
			if us >= 0 {
				least, most = min(least, max(us, 1)), max(most, us)
			}
		}
	}
	return math.Floor(math.Log10(float64(min(least, most)))), math.Ceil(math.Log10(float64(most) + 1))
}

func controlPanelOf(p *controlPhase, lo, hi float64) string {
	const plotWidth = plotRight - plotLeft
	y := func(us float64) float64 {
		return panelTop + panelHeight*(1-(math.Log10(max(us, 1))-lo)/(hi-lo))
	}
	var b strings.Builder
	f := p.Figures
	fmt.Fprintf(&b, `<text x="20" y="16" font-size="14">%s: %s of %d deadlines missed</text>`+"\n", html.EscapeString(p.Name), missedText(f), f.Periods)
	fmt.Fprintf(&b, `<text x="20" y="32" font-size="11">p50 %s, p99 %s, p99.9 %s, max %s; pendulum %.2f degrees rms, fell %d times; link %.0f %% full</text>`+"\n",
		microsOrNever(f.P50), microsOrNever(f.P99), microsOrNever(f.P999), microsOrNever(f.Max), f.RMS, f.Falls, 100*p.LinkUse)
	for d := lo; d <= hi; d++ {
		us := math.Pow(10, d)
		fmt.Fprintf(&b, `<path d="M%d %.1fH%d" stroke="#ddd"/><text x="%d" y="%.1f" font-size="11" text-anchor="end">%s</text>`+"\n", plotLeft, y(us), plotRight, plotLeft-6, y(us)+4, micros(us))
	}
	n := len(p.Loop.Latency)
	column := func(i int) int { return i * plotWidth / max(n, 1) }
	deadline := p.Period.Microseconds()
	bars(&b, inTimeColour, n, column, func(i int) (float64, bool) {
		us := p.Loop.Latency[i]
		return y(float64(us)), us >= 0 && us <= deadline
	})
	bars(&b, missedColour, n, column, func(i int) (float64, bool) {
		us := p.Loop.Latency[i]
		return y(float64(us)), us > deadline
	})
	// What never came is above all that did.
	bars(&b, missedColour, n, column, func(i int) (float64, bool) { return panelTop - 3, p.Loop.Latency[i] < 0 })
	fmt.Fprintf(&b, `<path d="M%d %.1fH%d" stroke="%s" stroke-dasharray="6 3"/><text x="%d" y="%.1f" font-size="11" fill="%[4]s" text-anchor="end">deadline %[7]v</text>`+"\n",
		plotLeft, y(float64(deadline)), plotRight, missedColour, plotRight, y(float64(deadline))-4, p.Period)
	angle(&b, p, column)
	fmt.Fprintf(&b, `<text x="%d" y="%d" font-size="11">0 s</text><text x="%d" y="%[2]d" font-size="11" text-anchor="end">%.0[4]f s</text>`+"\n",
		plotLeft, controlPanel-20, plotRight, (time.Duration(n) * p.Period).Seconds())
	return b.String()
}

// angle draws the pendulum, upright in the middle.
func angle(b *strings.Builder, p *controlPhase, column func(int) int) {
	const middle = panelTop + panelHeight + angleGap + angleHeight/2
	for _, deg := range []int{-fallenAt, 0, fallenAt} {
		y := middle - deg*angleHeight/2/fallenAt
		fmt.Fprintf(b, `<path d="M%d %dH%d" stroke="#eee"/><text x="%d" y="%d" font-size="10" text-anchor="end">%d°</text>`+"\n", plotLeft, y, plotRight, plotLeft-6, y+4, deg)
	}
	bars(b, angleColour, len(p.Loop.Angle), column, func(i int) (float64, bool) {
		deg := max(-fallenAt, min(fallenAt, float64(p.Loop.Angle[i])/100))
		return middle - deg*angleHeight/2/fallenAt, true
	})
}

// bars draws, in each column of the picture, from the least to the greatest of
// the values that fall into it.
func bars(b *strings.Builder, colour string, n int, column func(int) int, value func(int) (y float64, ok bool)) {
	fmt.Fprintf(b, `<path stroke="%s" d="`, colour)
	for i := 0; i < n; {
		x, top, bottom := column(i), math.Inf(1), math.Inf(-1)
		for ; i < n && column(i) == x; i++ {
			if y, ok := value(i); ok {
				top, bottom = min(top, y), max(bottom, y)
			}
		}
		if top <= bottom {
			fmt.Fprintf(b, "M%d.5 %.1fV%.1f", plotLeft+x, top-1, bottom+1)
		}
	}
	b.WriteString(`"/>` + "\n")
}

func missedText(f controlFigure) string {
	if f.Missed == 0 {
		return "none"
	}
	return fmt.Sprintf("%d (%s)", f.Missed, share(f.Missed, f.Periods))
}

func microsOrNever(us latency) string {
	if us == never {
		return "never"
	}
	return micros(float64(us))
}
