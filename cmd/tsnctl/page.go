package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"tsnswitch/internal/api"
)

// width is what output fits into.
const width = 80

// page is text output that never gets wider than width.
type page struct {
	w   io.Writer
	err error
}

func (p *page) printf(format string, a ...any) { p.wrap("", "  ", fmt.Sprintf(format, a...)) }

func (p *page) blank() { p.line("") }

// line prints a line. Names and reasons come from anybody in the fabric: what
// could move the cursor or change colours is shown as a dot.
func (p *page) line(s string) {
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return '·'
		}
		return r
	}, s)
	if p.err == nil {
		_, p.err = fmt.Fprintln(p.w, strings.TrimRight(s, " "))
	}
}

// wrap prints words after first, breaking lines, which continue after next.
func (p *page) wrap(first, next, text string) {
	lead := first
	n := width - max(utf8.RuneCountInString(first), utf8.RuneCountInString(next))
	for _, paragraph := range strings.Split(text, "\n") {
		for _, l := range fold(paragraph, n) {
			p.line(lead + l)
			lead = next
		}
	}
}

// fold breaks text into lines of at most n, at spaces where it can.
func fold(text string, n int) []string {
	var out []string
	line := ""
	for _, word := range strings.Fields(text) {
		for {
			if line == "" && utf8.RuneCountInString(word) > n {
				r := []rune(word)
				out, word = append(out, string(r[:n])), string(r[n:])
				continue
			}
			if line == "" {
				line = word
				break
			}
			if utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) <= n {
				line += " " + word
				break
			}
			out, line = append(out, line), ""
		}
	}
	return append(out, line)
}

// table prints columns. A head that begins with '>' is right-aligned. The last
// column is folded. If the others are too wide, those whose head begins with
// '~' (labels: nothing is lost that -o json does not have) are cut, the widest
// first; only if that does not do, any.
type table struct {
	head []string
	rows [][]string
}

func (t *table) row(cells ...any) {
	r := make([]string, len(t.head))
	for i, c := range cells {
		r[i] = fmt.Sprint(c)
	}
	t.rows = append(t.rows, r)
}

const (
	columnGap = 2
	minLabel  = 6
)

func (p *page) table(t table) {
	right, label := make([]bool, len(t.head)), make([]bool, len(t.head))
	head := make([]string, len(t.head))
	for i, h := range t.head {
		right[i], label[i], head[i] = strings.HasPrefix(h, ">"), strings.HasPrefix(h, "~"), strings.TrimLeft(h, ">~")
	}
	rows := append([][]string{head}, t.rows...)
	widths := columnWidths(rows, label)
	for _, r := range rows {
		last := len(r) - 1
		for i, rest := range fold(r[last], widths[last]) {
			var b strings.Builder
			for c := range last {
				cell := ""
				if i == 0 {
					cell = cut(r[c], widths[c])
				}
				pad := strings.Repeat(" ", widths[c]-utf8.RuneCountInString(cell))
				if right[c] {
					b.WriteString(pad + cell)
				} else {
					b.WriteString(cell + pad)
				}
				b.WriteString(strings.Repeat(" ", columnGap))
			}
			if right[last] {
				b.WriteString(strings.Repeat(" ", widths[last]-utf8.RuneCountInString(rest)))
			}
			p.line(b.String() + rest)
		}
	}
}

// columnWidths shares the page between the columns.
func columnWidths(rows [][]string, label []bool) []int {
	n := len(rows[0])
	w := make([]int, n)
	for _, r := range rows {
		for i, cell := range r {
			w[i] = max(w[i], utf8.RuneCountInString(cell))
		}
	}
	free := width - columnGap*(n-1)
	last := min(w[n-1], 18) // what the last column is left at least
	for sum(w[:n-1])+last > free {
		widest := -1
		for i := range n - 1 {
			if label[i] && w[i] > minLabel && (widest < 0 || w[i] > w[widest]) {
				widest = i
			}
		}
		if widest < 0 {
			widest = slices.Index(w[:n-1], slices.Max(w[:n-1]))
		}
		w[widest]--
	}
	w[n-1] = min(w[n-1], free-sum(w[:n-1]))
	return w
}

func sum(v []int) int {
	s := 0
	for _, x := range v {
		s += x
	}
	return s
}

func cut(s string, n int) string {
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	return string([]rune(s)[:max(0, n-1)]) + "~"
}

// dur prints nanoseconds with three significant digits and a unit.
func dur(ns int64) string {
	sign := ""
	v := float64(ns)
	if v < 0 {
		sign, v = "-", -v
	}
	switch {
	case v < 1e3:
		return fmt.Sprintf("%s%.0fns", sign, v)
	case v < 1e6:
		return fmt.Sprintf("%s%.4gus", sign, v/1e3)
	case v < 1e9:
		return fmt.Sprintf("%s%.4gms", sign, v/1e6)
	case v < 120e9:
		return fmt.Sprintf("%s%.4gs", sign, v/1e9)
	}
	s := int64(v / 1e9)
	d, h, m := s/86400, s/3600%24, s/60%60
	switch {
	case d > 0:
		return fmt.Sprintf("%s%dd%dh", sign, d, h)
	case h > 0:
		return fmt.Sprintf("%s%dh%dm", sign, h, m)
	}
	return fmt.Sprintf("%s%dm%ds", sign, m, s%60)
}

// seconds prints a PTP time in full.
func seconds(ns int64) string {
	if ns < 0 {
		return "-" + seconds(-ns)
	}
	return fmt.Sprintf("%d.%09d", ns/1e9, ns%1e9)
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// hopText names an egress port: b2 port 1 (p1).
func hopText(h api.PathHop) string {
	s := h.Node
	if s == "" {
		s = h.System.String()
	}
	s += fmt.Sprintf(" port %d", h.Port)
	if h.Ifname != "" {
		s += " (" + h.Ifname + ")"
	}
	return s
}
