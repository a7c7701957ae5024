package gantt

import (
	"fmt"
	"io"
	"strings"
	"unicode"

	tsn "tsnswitch"
)

// The text: a name, the classes, a bar; 80 columns in all.
const (
	columns = 56
	name    = 15
	letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
)

// colours are the terminal's, by class.
var colours = [tsn.MaxTrafficClasses]int{37, 36, 33, 35, 34, 32, 31, 93}

// Text writes the chart. In the lane of a class with windows a letter is the
// stream whose window it is, elsewhere # is open, + open for a part of that
// column, . closed; ! is where a deadline falls, | the present. colour adds one
// colour a class for terminals.
func Text(w io.Writer, c *Chart, colour bool) error {
	t := &text{chart: c, colour: colour}
	if c.Cycle <= 0 {
		return nil
	}
	t.printf("one cycle of %s, a column is %s; # open, + partly, . closed, ! deadline\n", Duration(c.Cycle), Duration((c.Cycle+columns-1)/columns))
	for i := range c.Rows {
		t.row(&c.Rows[i])
	}
	t.axis()
	t.legend()
	_, err := io.WriteString(w, t.b.String())
	return err
}

type text struct {
	b      strings.Builder
	chart  *Chart
	colour bool
	shown  map[int]bool
}

func (t *text) printf(format string, a ...any) { fmt.Fprintf(&t.b, format, a...) }

func (t *text) row(r *Row) {
	label := clip(plain(r.Name), name)
	if r.Empty != "" {
		t.printf("%-*s      %s\n", name, label, plain(r.Empty))
		return
	}
	for _, l := range r.lanes() {
		cells := t.lane(r, l)
		t.printf("%-*s %4s %s\n", name, label, clip(l.label(), 4), t.paint(cells, l.top()))
		label = ""
	}
}

// lane is a lane's columns.
func (t *text) lane(r *Row, l lane) []byte {
	var open [columns]int64
	r.open(l.top(), t.chart.Cycle, func(from, to int64) {
		for i := t.column(from); i < columns && t.begin(i) < to; i++ {
			open[i] += min(to, t.begin(i+1)) - max(from, t.begin(i))
		}
	})
	cells := make([]byte, columns)
	for i, n := range open {
		switch {
		case n <= 0:
			cells[i] = '.'
		case n >= t.begin(i+1)-t.begin(i):
			cells[i] = '#'
		default:
			cells[i] = '+'
		}
	}
	for _, s := range l.slots {
		t.slot(cells, s)
	}
	if now := t.chart.Now; now >= 0 {
		cells[t.column(mod(now, t.chart.Cycle))] = '|'
	}
	return cells
}

func (t *text) slot(cells []byte, s Slot) {
	if t.shown == nil {
		t.shown = map[int]bool{}
	}
	t.shown[s.Stream] = true
	t.chart.again(s, s.Open, s.Close, func(from, to int64) {
		for i := t.column(from); i <= t.column(max(to-1, from)); i++ {
			cells[i%columns] = letter(s.Stream)
		}
	})
	if s.Due > 0 {
		t.chart.again(s, s.Due, s.Due, func(at, _ int64) {
			if i := t.column(at) % columns; cells[i] == '.' {
				cells[i] = '!'
			}
		})
	}
}

func letter(stream int) byte { return letters[stream%len(letters)] }

// column is where a time is, begin when a column starts.
func (t *text) column(at int64) int { return int(float64(at) / float64(t.chart.Cycle) * columns) }

func (t *text) begin(i int) int64 {
	return t.chart.Cycle/columns*int64(i) + t.chart.Cycle%columns*int64(i)/columns
}

func (t *text) paint(cells []byte, c tsn.TrafficClass) string {
	if !t.colour {
		return string(cells)
	}
	return fmt.Sprintf("\x1b[%dm%s\x1b[0m", colours[c], cells)
}

func (t *text) axis() {
	end := Duration(t.chart.Cycle)
	t.printf("%*s0%*s\n", name+6, "", columns-1, end)
}

func (t *text) legend() {
	if len(t.shown) == 0 {
		return
	}
	t.printf("\n   %-28s %10s %10s %10s %10s\n", "stream", "every", "offset", "latency", "allowed")
	for i, s := range t.chart.Streams {
		if t.shown[i] {
			t.printf("%c  %-28s %10s %10s %10s %10s\n", letter(i), clip(plain(s.Name), 28), Duration(s.Period), Duration(s.Offset), Duration(s.Latency), Duration(s.Limit))
		}
	}
}

// plain keeps names from moving the cursor.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return '?'
		}
		return r
	}, s)
}
