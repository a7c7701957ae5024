package erldist

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/big"
	"slices"
)

// Term is an Erlang term: Atom, int64, *big.Int (beyond 64 bits), float64,
// []byte (binary), List, Improper, Tuple, Map, Pid, Port or Ref; and in place of
// the request of a gen_server:call one that cannot be read, Unreadable.
type Term any

// The terms that are not Go types.
type (
	Atom     string
	Tuple    []Term
	List     []Term   // a proper list
	Improper struct { // a list that ends in something else: [alias|Ref]
		Elements []Term
		Tail     Term
	}
	Map  []Pair // in the order of the encoding; keys are not compared
	Pair struct{ Key, Value Term }
	Pid  struct {
		Node                 Atom
		ID, Serial, Creation uint32
	}
	Port struct {
		Node     Atom
		ID       uint64
		Creation uint32
	}
	Ref struct {
		Node     Atom
		Creation uint32
		IDs      [5]uint32
		N        int // of IDs in use
	}
	// Unreadable is a term that is not one of these (a fun, a bit string), or too
	// large: of more than 65,536 elements or 64 levels.
	Unreadable struct{ Why error }
)

// ErrTerm is wrapped by every decoding error.
var ErrTerm = errors.New("bad external term")

const (
	etfVersion = 131
	maxDepth   = 64
	maxArity   = 1 << 16
)

func bad(format string, a ...any) error {
	return fmt.Errorf("%w: %s", ErrTerm, fmt.Sprintf(format, a...))
}

// AppendTerm appends the external form of t without the version octet.
func AppendTerm(b []byte, t Term) ([]byte, error) {
	var err error
	switch t := t.(type) {
	case Atom:
		if len(t) > 255 {
			return b, bad("atom of %d octets", len(t))
		}
		return append(append(b, 119, byte(len(t))), t...), nil
	case int:
		return AppendTerm(b, int64(t))
	case int64:
		return appendInt(b, t), nil
	case *big.Int:
		return appendBig(b, t)
	case float64:
		if math.IsNaN(t) || math.IsInf(t, 0) {
			return b, bad("%v", t)
		}
		return binary.BigEndian.AppendUint64(append(b, 70), math.Float64bits(t)), nil
	case []byte:
		return append(binary.BigEndian.AppendUint32(append(b, 109), uint32(len(t))), t...), nil
	case Tuple:
		if len(t) > 255 {
			b = binary.BigEndian.AppendUint32(append(b, 105), uint32(len(t)))
		} else {
			b = append(b, 104, byte(len(t)))
		}
		return appendTerms(b, t...)
	case List:
		if len(t) > 0 {
			if b, err = appendTerms(binary.BigEndian.AppendUint32(append(b, 108), uint32(len(t))), t...); err != nil {
				return b, err
			}
		}
		return append(b, 106), nil
	case Improper:
		if len(t.Elements) == 0 {
			return b, bad("an improper list without an element")
		}
		if b, err = appendTerms(binary.BigEndian.AppendUint32(append(b, 108), uint32(len(t.Elements))), t.Elements...); err != nil {
			return b, err
		}
		return AppendTerm(b, t.Tail)
	case Map:
		b = binary.BigEndian.AppendUint32(append(b, 116), uint32(len(t)))
		for _, p := range t {
			if b, err = appendTerms(b, p.Key, p.Value); err != nil {
				return b, err
			}
		}
		return b, nil
	case Port:
		if b, err = AppendTerm(append(b, 120), t.Node); err != nil {
			return b, err
		}
		return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint64(b, t.ID), t.Creation), nil
	case Pid:
		if b, err = AppendTerm(append(b, 88), t.Node); err != nil {
			return b, err
		}
		b = binary.BigEndian.AppendUint32(b, t.ID)
		b = binary.BigEndian.AppendUint32(b, t.Serial)
		return binary.BigEndian.AppendUint32(b, t.Creation), nil
	case Ref:
		b = binary.BigEndian.AppendUint16(append(b, 90), uint16(t.N))
		if b, err = AppendTerm(b, t.Node); err != nil {
			return b, err
		}
		b = binary.BigEndian.AppendUint32(b, t.Creation)
		for _, id := range t.IDs[:t.N] {
			b = binary.BigEndian.AppendUint32(b, id)
		}
		return b, nil
	}
	return b, bad("no external form for %T", t)
}

func appendTerms(b []byte, terms ...Term) (_ []byte, err error) {
	for _, t := range terms {
		if b, err = AppendTerm(b, t); err != nil {
			return b, err
		}
	}
	return b, nil
}

// maxBig bounds integers, in octets.
const maxBig = 255

func appendBig(b []byte, v *big.Int) ([]byte, error) {
	if v.IsInt64() {
		return appendInt(b, v.Int64()), nil
	}
	digits := v.Bytes()
	if len(digits) > maxBig {
		return b, bad("an integer of %d octets", len(digits))
	}
	slices.Reverse(digits)
	sign := byte(0)
	if v.Sign() < 0 {
		sign = 1
	}
	return append(append(b, 110, byte(len(digits)), sign), digits...), nil
}

func appendInt(b []byte, v int64) []byte {
	switch {
	case v >= 0 && v < 256:
		return append(b, 97, byte(v))
	case v >= math.MinInt32 && v <= math.MaxInt32:
		return binary.BigEndian.AppendUint32(append(b, 98), uint32(v))
	}
	sign, u := byte(0), uint64(v)
	if v < 0 {
		sign, u = 1, -u
	}
	b = append(b, 110, 8, sign)
	return binary.LittleEndian.AppendUint64(b, u)
}

// ParseTerm parses one term without the version octet and returns what
// follows it. Binaries alias the input.
func ParseTerm(b []byte) (Term, []byte, error) { return parseTerm(b, 0) }

func parseTerm(b []byte, depth int) (Term, []byte, error) {
	if len(b) == 0 || depth > maxDepth {
		return nil, nil, bad("%d octets at depth %d", len(b), depth)
	}
	tag, b := b[0], b[1:]
	switch tag {
	case 70:
		if len(b) < 8 {
			return nil, nil, bad("float")
		}
		f := math.Float64frombits(binary.BigEndian.Uint64(b))
		if math.IsNaN(f) || math.IsInf(f, 0) {
			return nil, nil, bad("float")
		}
		return f, b[8:], nil
	case 97, 98, 110:
		return parseInt(tag, b)
	case 100, 115, 118, 119:
		return parseAtom(tag, b)
	case 104, 105:
		n, b, err := length(b, tag == 105)
		if err != nil {
			return nil, nil, err
		}
		t, b, err := parseTerms(b, n, depth)
		return Tuple(t), b, err
	case 106:
		return List{}, b, nil
	case 107:
		if len(b) < 2 || len(b)-2 < int(binary.BigEndian.Uint16(b)) {
			return nil, nil, bad("string")
		}
		n := int(binary.BigEndian.Uint16(b))
		l := make(List, n)
		for i, c := range b[2 : 2+n] {
			l[i] = int64(c)
		}
		return l, b[2+n:], nil
	case 108:
		n, b, err := length(b, true)
		if err != nil {
			return nil, nil, err
		}
		return parseList(b, n, depth)
	case 109:
		if len(b) < 4 || uint64(len(b)-4) < uint64(binary.BigEndian.Uint32(b)) {
			return nil, nil, bad("binary")
		}
		n := int(binary.BigEndian.Uint32(b))
		return b[4 : 4+n : 4+n], b[4+n:], nil
	case 116:
		return parseMap(b, depth)
	case 88, 103:
		return parsePid(tag, b)
	case 89, 120:
		return parsePort(tag, b)
	case 90:
		return parseRef(b)
	}
	return nil, nil, bad("tag %d", tag)
}

func length(b []byte, long bool) (int, []byte, error) {
	if !long && len(b) >= 1 {
		return int(b[0]), b[1:], nil
	}
	if long && len(b) >= 4 {
		if n := binary.BigEndian.Uint32(b); n <= maxArity {
			return int(n), b[4:], nil
		}
	}
	return 0, nil, bad("length")
}

func parseTerms(b []byte, n, depth int) ([]Term, []byte, error) {
	if n > len(b) {
		return nil, nil, bad("%d elements in %d octets", n, len(b))
	}
	out := make([]Term, n)
	var err error
	for i := range out {
		if out[i], b, err = parseTerm(b, depth+1); err != nil {
			return nil, nil, err
		}
	}
	return out, b, nil
}

func parseList(b []byte, n, depth int) (Term, []byte, error) {
	t, b, err := parseTerms(b, n, depth)
	if err != nil {
		return nil, nil, err
	}
	if len(b) > 0 && b[0] == 106 {
		return List(t), b[1:], nil
	}
	tail, b, err := parseTerm(b, depth+1)
	if err != nil || n == 0 {
		return nil, nil, errors.Join(bad("list without an end"), err)
	}
	return Improper{t, tail}, b, nil
}

func parseMap(b []byte, depth int) (Term, []byte, error) {
	n, b, err := length(b, true)
	if err != nil {
		return nil, nil, err
	}
	t, b, err := parseTerms(b, 2*n, depth)
	if err != nil {
		return nil, nil, err
	}
	m := make(Map, n)
	for i := range m {
		m[i] = Pair{t[2*i], t[2*i+1]}
	}
	return m, b, nil
}

func parseInt(tag byte, b []byte) (Term, []byte, error) {
	switch {
	case tag == 97 && len(b) >= 1:
		return int64(b[0]), b[1:], nil
	case tag == 98 && len(b) >= 4:
		return int64(int32(binary.BigEndian.Uint32(b))), b[4:], nil
	case tag == 110 && len(b) >= 2 && len(b) >= 2+int(b[0]):
		end := 2 + int(b[0])
		digits := slices.Clone(b[2:end])
		slices.Reverse(digits)
		v := new(big.Int).SetBytes(digits)
		if b[1] != 0 {
			v.Neg(v)
		}
		if v.IsInt64() {
			return v.Int64(), b[end:], nil
		}
		return v, b[end:], nil
	}
	return nil, nil, bad("integer")
}

func parseAtom(tag byte, b []byte) (Term, []byte, error) {
	n, head := 0, 1
	switch {
	case (tag == 115 || tag == 119) && len(b) >= 1:
		n = int(b[0])
	case (tag == 100 || tag == 118) && len(b) >= 2:
		n, head = int(binary.BigEndian.Uint16(b)), 2
	default:
		return nil, nil, bad("atom")
	}
	if len(b) < head+n {
		return nil, nil, bad("atom")
	}
	return Atom(b[head : head+n]), b[head+n:], nil
}

func parseNode(b []byte) (Atom, []byte, error) {
	t, b, err := parseTerm(b, maxDepth)
	a, ok := t.(Atom)
	if err == nil && !ok {
		err = bad("node is no atom")
	}
	return a, b, err
}

func parsePid(tag byte, b []byte) (Term, []byte, error) {
	p := Pid{}
	var err error
	if p.Node, b, err = parseNode(b); err != nil {
		return nil, nil, err
	}
	if tag == 103 {
		if len(b) < 9 {
			return nil, nil, bad("pid")
		}
		p.ID, p.Serial, p.Creation = binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:]), uint32(b[8])
		return p, b[9:], nil
	}
	if len(b) < 12 {
		return nil, nil, bad("pid")
	}
	p.ID, p.Serial, p.Creation = binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:]), binary.BigEndian.Uint32(b[8:])
	return p, b[12:], nil
}

func parsePort(tag byte, b []byte) (Term, []byte, error) {
	p := Port{}
	var err error
	if p.Node, b, err = parseNode(b); err != nil {
		return nil, nil, err
	}
	switch {
	case tag == 89 && len(b) >= 8:
		p.ID, p.Creation = uint64(binary.BigEndian.Uint32(b)), binary.BigEndian.Uint32(b[4:])
		return p, b[8:], nil
	case tag == 120 && len(b) >= 12:
		p.ID, p.Creation = binary.BigEndian.Uint64(b), binary.BigEndian.Uint32(b[8:])
		return p, b[12:], nil
	}
	return nil, nil, bad("port")
}

func parseRef(b []byte) (Term, []byte, error) {
	if len(b) < 2 || binary.BigEndian.Uint16(b) > 5 {
		return nil, nil, bad("reference")
	}
	r := Ref{N: int(binary.BigEndian.Uint16(b))}
	var err error
	if r.Node, b, err = parseNode(b[2:]); err != nil {
		return nil, nil, err
	}
	if len(b) < 4+4*r.N {
		return nil, nil, bad("reference")
	}
	r.Creation = binary.BigEndian.Uint32(b)
	for i := range r.N {
		r.IDs[i] = binary.BigEndian.Uint32(b[4+4*i:])
	}
	return r, b[4+4*r.N:], nil
}
