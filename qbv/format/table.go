package format

import (
	"bytes"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
)

// table is a CSV file whose first line names the columns.
type table struct {
	file  string
	index map[string]int // of a known column
	width int            // columns a row has at least
	rows  []row
}

type row struct {
	t      *table
	line   int
	fields []string
}

// readTable reads the rows. known are the columns that have a meaning, in the
// order they are told in errors; one may have a second name: "stream|id".
func readTable(file string, data []byte, known ...string) (*table, error) {
	if err := tooLong(file, data); err != nil {
		return nil, err
	}
	t := &table{file: file}
	line := 0
	for text := range bytes.Lines(bytes.TrimPrefix(data, []byte("\ufeff"))) {
		line++
		if len(bytes.TrimSpace(text)) == 0 {
			continue
		}
		fields, reason := cells(string(text))
		switch {
		case reason != "":
		case t.index == nil:
			reason = t.head(fields, known)
		case len(fields) < t.width:
			reason = fmt.Sprintf("has %d columns; %d are wanted", len(fields), t.width)
		default:
			t.rows = append(t.rows, row{t, line, fields})
		}
		if reason != "" {
			return nil, &Error{File: file, Line: line, Reason: reason}
		}
	}
	if t.index == nil {
		return nil, &Error{File: file, Reason: "is empty; its first line names the columns: " + columns(known)}
	}
	return t, nil
}

// cells divides a line at the commas that are neither quoted nor in brackets.
func cells(line string) (out []string, fault string) {
	quoted, open, from := false, 0, 0
	for i, c := range line {
		switch {
		case c == '"':
			quoted = !quoted
		case c == '(' || c == '[':
			open++
		case c == ')' || c == ']':
			open--
		case c == ',' && !quoted && open <= 0:
			out, from, open = append(out, cell(line[from:i])), i+1, 0
		}
	}
	if quoted || open > 0 {
		return nil, "a quote or bracket is not closed"
	}
	return append(out, cell(line[from:])), ""
}

func cell(s string) string {
	s = strings.TrimSpace(s)
	if n := len(s); n >= 2 && s[0] == '"' && s[n-1] == '"' {
		s = strings.TrimSpace(s[1 : n-1])
	}
	return s
}

func columns(known []string) string {
	names := make([]string, len(known))
	for i, k := range known {
		names[i], _, _ = strings.Cut(k, "|")
	}
	return strings.Join(names, ",")
}

// head reads the names of the columns; it returns what is wrong with them.
func (t *table) head(fields, known []string) string {
	t.index = map[string]int{}
	var strange []string
	for i, f := range fields {
		at := slices.IndexFunc(known, func(k string) bool { return slices.Contains(strings.Split(k, "|"), strings.ToLower(f)) })
		if at < 0 {
			if f != "" {
				strange = append(strange, f)
			}
			continue
		}
		name, _, _ := strings.Cut(known[at], "|")
		if _, twice := t.index[name]; twice {
			return fmt.Sprintf("column %q is there twice", f)
		}
		t.index[name], t.width = i, i+1
	}
	if len(t.index) < len(known) && len(strange) > 0 {
		return fmt.Sprintf("column %q is not known; known are %s", strange[0], columns(known))
	}
	return ""
}

func (t *table) need(names ...string) error {
	for _, n := range names {
		if _, ok := t.index[n]; !ok {
			return &Error{File: t.file, Line: 1, Reason: fmt.Sprintf("there is no column %q", n)}
		}
	}
	return nil
}

func (r row) bad(format string, a ...any) error {
	return &Error{File: r.t.file, Line: r.line, Reason: fmt.Sprintf(format, a...)}
}

// text is the cell; "" if there is none.
func (r row) text(column string) string {
	if i, ok := r.t.index[column]; ok {
		return r.fields[i]
	}
	return ""
}

// whole reads a number; an empty cell or no column gives the default. 400000.0 is
// whole too: that is how columns with gaps are often written.
func (r row) whole(column string, def int64) (int64, error) {
	s := r.text(column)
	if s == "" {
		return def, nil
	}
	if v, err := strconv.ParseInt(s, 10, 64); err == nil {
		return v, nil
	}
	if f, err := strconv.ParseFloat(s, 64); err == nil && f == math.Trunc(f) && math.Abs(f) <= 1<<53 {
		return int64(f), nil
	}
	return 0, r.bad("%s %q: is not a whole number", column, s)
}

// wholes reads several columns.
func (r row) wholes(into map[string]*int64) error {
	for _, column := range slices.Sorted(maps.Keys(into)) {
		v, err := r.whole(column, *into[column])
		if err != nil {
			return err
		}
		*into[column] = v
	}
	return nil
}

// names reads "(0, 1)", "[3, 4]" or "7"; whole numbers in their shortest form.
func names(s string) []string {
	s = strings.TrimSpace(s)
	if n := len(s); n >= 2 && strings.ContainsRune("([{", rune(s[0])) && strings.ContainsRune(")]}", rune(s[n-1])) {
		s = s[1 : n-1]
	}
	var out []string
	for f := range strings.FieldsFuncSeq(s, func(r rune) bool { return strings.ContainsRune(",; \t", r) }) {
		f = strings.Trim(f, `'"`)
		if n, err := strconv.ParseUint(f, 10, 63); err == nil {
			f = strconv.FormatUint(n, 10)
		}
		out = append(out, f)
	}
	return out
}
