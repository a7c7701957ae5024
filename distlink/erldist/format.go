package erldist

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Format is a term as Erlang prints it, nearly: atoms are not quoted, and
// identifiers say their node.
func Format(t Term) string {
	var b strings.Builder
	format(&b, t)
	return b.String()
}

func format(b *strings.Builder, t Term) {
	switch t := t.(type) {
	case []byte:
		if utf8.Valid(t) {
			fmt.Fprintf(b, "<<%s>>", strconv.Quote(string(t)))
		} else {
			fmt.Fprintf(b, "<<%d octets>>", len(t))
		}
	case Tuple:
		formatAll(b, "{", t, "}")
	case List:
		formatAll(b, "[", t, "]")
	case Improper:
		formatAll(b, "[", t.Elements, "|")
		format(b, t.Tail)
		b.WriteByte(']')
	case Map:
		b.WriteString("#{")
		for i, p := range t {
			if i > 0 {
				b.WriteByte(',')
			}
			format(b, p.Key)
			b.WriteString(" => ")
			format(b, p.Value)
		}
		b.WriteByte('}')
	case Pid:
		fmt.Fprintf(b, "<%s.%d.%d>", t.Node, t.ID, t.Serial)
	case Port:
		fmt.Fprintf(b, "#Port<%s.%d>", t.Node, t.ID)
	case Ref:
		fmt.Fprintf(b, "#Ref<%s", t.Node)
		for _, id := range t.IDs[:t.N] {
			fmt.Fprintf(b, ".%d", id)
		}
		b.WriteByte('>')
	case Unreadable:
		fmt.Fprintf(b, "a term that is not understood (%v)", t.Why)
	default:
		fmt.Fprint(b, t)
	}
}

func formatAll(b *strings.Builder, open string, terms []Term, end string) {
	b.WriteString(open)
	for i, t := range terms {
		if i > 0 {
			b.WriteByte(',')
		}
		format(b, t)
	}
	b.WriteString(end)
}
