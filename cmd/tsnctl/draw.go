package main

import (
	"encoding/xml"
	"fmt"
	"math"
	"strings"

	"tsnswitch"
	"tsnswitch/internal/api"
)

// dotText is the topology for Graphviz: bridges as boxes, stations as ovals.
func dotText(t *api.Topology) string {
	var b strings.Builder
	b.WriteString("graph fabric {\n  node [shape=box];\n")
	for _, n := range t.Nodes {
		style := ""
		switch {
		case !n.Reachable:
			style = ", style=dotted"
		case n.Overload:
			style = ", style=dashed"
		}
		fmt.Fprintf(&b, "  %q [label=%q%s];\n", n.System, nameOr(n.Name, n.System), style)
	}
	for _, l := range t.Links {
		fmt.Fprintf(&b, "  %q -- %q [label=\"%d\", taillabel=\"%d\", headlabel=\"%d\"];\n", l.A, l.B, l.Metric, l.PortA, l.PortB)
	}
	for _, n := range t.Nodes {
		for _, s := range n.Stations {
			fmt.Fprintf(&b, "  %q [label=%q, shape=oval];\n", s.MAC, nameOr(s.Name, s.MAC))
			fmt.Fprintf(&b, "  %q -- %q [taillabel=\"%d\"];\n", n.System, s.MAC, s.Port)
		}
	}
	b.WriteString("}\n")
	return b.String()
}

type point struct{ x, y float64 }

// layout places n nodes in the unit square so that linked ones are near each
// other (Fruchterman and Reingold 1991), from a circle on: the same graph is
// always drawn the same way.
func layout(n int, links [][2]int) []point {
	at := make([]point, n)
	for k := range at {
		a := 2 * math.Pi * float64(k) / float64(n)
		at[k] = point{math.Cos(a), math.Sin(a)}
	}
	const rounds, most = 300, 400
	if n > most {
		return fit(at) // it would take long and show nothing
	}
	ideal := 2 / math.Sqrt(float64(max(n, 1)))
	push := make([]point, n)
	force := func(a, b int, f func(d float64) float64) {
		dx, dy := at[a].x-at[b].x, at[a].y-at[b].y
		d := max(math.Hypot(dx, dy), 1e-6)
		s := f(d) / d
		push[a].x, push[a].y = push[a].x+dx*s, push[a].y+dy*s
		push[b].x, push[b].y = push[b].x-dx*s, push[b].y-dy*s
	}
	for round := range rounds {
		clear(push)
		for a := range n {
			for b := range a {
				force(a, b, func(d float64) float64 { return ideal * ideal / d })
			}
		}
		for _, l := range links {
			force(l[0], l[1], func(d float64) float64 { return -d * d / ideal })
		}
		step := 0.2 * (1 - float64(round)/rounds)
		for k := range at {
			if d := math.Hypot(push[k].x, push[k].y); d > 0 {
				s := min(d, step) / d
				at[k].x, at[k].y = at[k].x+push[k].x*s, at[k].y+push[k].y*s
			}
		}
	}
	return fit(at)
}

// fit scales to the unit square.
func fit(at []point) []point {
	low, high := point{math.Inf(1), math.Inf(1)}, point{math.Inf(-1), math.Inf(-1)}
	for _, p := range at {
		low = point{min(low.x, p.x), min(low.y, p.y)}
		high = point{max(high.x, p.x), max(high.y, p.y)}
	}
	scale := func(v, from, to float64) float64 {
		if to-from < 1e-9 {
			return 0.5
		}
		return (v - from) / (to - from)
	}
	for k, p := range at {
		at[k] = point{scale(p.x, low.x, high.x), scale(p.y, low.y, high.y)}
	}
	return at
}

// svgText draws the topology. A dashed bridge is overloaded, a dotted one
// out of reach; the number on a link is its metric.
func svgText(t *api.Topology) string {
	const border = 70
	size := 300 + 60*math.Sqrt(float64(len(t.Nodes)))*2
	index := map[tsn.MAC]int{}
	for k, n := range t.Nodes {
		index[n.System] = k
	}
	var links [][2]int
	for _, l := range t.Links {
		links = append(links, [2]int{index[l.A], index[l.B]})
	}
	at := layout(len(t.Nodes), links)
	x := func(k int) float64 { return math.Round(border + at[k].x*(size-2*border)) }
	y := func(k int) float64 { return math.Round(border + at[k].y*(size-2*border)) }
	var b strings.Builder
	fmt.Fprintf(&b, "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%[1]g\" height=\"%[1]g\" font-family=\"sans-serif\" font-size=\"12\" text-anchor=\"middle\">\n", math.Round(size))
	fmt.Fprintf(&b, "<title>%s</title>\n<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>\n", escaped(fmt.Sprintf("fabric as %s sees it, generation %d", t.Node, t.Generation)))
	for _, l := range links {
		fmt.Fprintf(&b, "<line x1=\"%g\" y1=\"%g\" x2=\"%g\" y2=\"%g\" stroke=\"#777\" stroke-width=\"2\"/>\n", x(l[0]), y(l[0]), x(l[1]), y(l[1]))
	}
	const halo = "stroke=\"white\" stroke-width=\"4\" paint-order=\"stroke\"" // text on a line stays legible
	for k, l := range t.Links {
		i, j := links[k][0], links[k][1]
		fmt.Fprintf(&b, "<text x=\"%g\" y=\"%g\" fill=\"#555\" %s>%d</text>\n", (x(i)+x(j))/2, (y(i)+y(j))/2+4, halo, l.Metric)
	}
	for k, n := range t.Nodes {
		dash := ""
		switch {
		case !n.Reachable:
			dash = " stroke-dasharray=\"2 3\""
		case n.Overload:
			dash = " stroke-dasharray=\"6 3\""
		}
		fmt.Fprintf(&b, "<rect x=\"%g\" y=\"%g\" width=\"80\" height=\"26\" rx=\"4\" fill=\"#eef4fb\" stroke=\"#246\"%s/>\n", x(k)-40, y(k)-13, dash)
		fmt.Fprintf(&b, "<text x=\"%g\" y=\"%g\">%s</text>\n", x(k), y(k)+4, escaped(cut(nameOr(n.Name, n.System), 12)))
		if len(n.Stations) > 0 {
			var names []string
			for _, s := range n.Stations {
				names = append(names, nameOr(s.Name, s.MAC))
			}
			fmt.Fprintf(&b, "<text x=\"%g\" y=\"%g\" font-size=\"10\" fill=\"#246\" %s>%s</text>\n", x(k), y(k)+26, halo, escaped(cut(strings.Join(names, " "), 24)))
		}
	}
	b.WriteString("</svg>\n")
	return b.String()
}

func escaped(s string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(s))
	return b.String()
}
