package daemon

import (
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// flat is one counter of a core's counter struct.
type flat struct {
	name  string // snake case, joined by underscores
	value uint64
}

// flatten lists every unsigned counter of a struct of counters, so that a new
// one in a core is in status and metrics without a line here.
func flatten(prefix string, v any) []flat {
	var out []flat
	var walk func(name string, v reflect.Value)
	walk = func(name string, v reflect.Value) {
		switch v.Kind() {
		case reflect.Uint64:
			out = append(out, flat{name, v.Uint()})
		case reflect.Array: // a counter for each code
			for i := range v.Len() {
				walk(name+"_"+strconv.Itoa(i), v.Index(i))
			}
		case reflect.Struct:
			for i := range v.NumField() {
				if f := v.Type().Field(i); f.IsExported() {
					walk(name+"_"+snake(f.Name), v.Field(i))
				}
			}
		}
	}
	walk(prefix, reflect.ValueOf(v))
	slices.SortStableFunc(out, func(a, b flat) int { return strings.Compare(a.name, b.name) })
	return out
}

// snake turns DroppedQueue into dropped_queue and SPFRuns into spf_runs.
func snake(s string) string {
	var b strings.Builder
	runes := []rune(s)
	for i, r := range runes {
		if unicode.IsUpper(r) {
			next := i+1 < len(runes) && unicode.IsLower(runes[i+1])
			if i > 0 && (unicode.IsLower(runes[i-1]) || next) {
				b.WriteByte('_')
			}
			r = unicode.ToLower(r)
		}
		b.WriteRune(r)
	}
	return b.String()
}

// trouble are the words in the names of counters that count what should not
// happen; a status shows only those. Metrics have all.
var trouble = []string{
	"drop", "lost", "late", "malformed", "failed", "error", "refused", "missing", "timeout", "unexpected",
	"retransmission", "multiple", "bad", "full", "cap", "discarded", "other_domain", "not_",
}

func isTrouble(name string) bool {
	return slices.ContainsFunc(trouble, func(word string) bool { return strings.Contains(name, word) })
}
