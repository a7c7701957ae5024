package mrp

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
)

// Vector is a VectorAttribute (802.1Q 10.8.2.7): a LeaveAll event, and the
// events of consecutive values from First on. With no Events, First means nothing.
type Vector struct {
	Type     uint8
	LeaveAll bool
	First    []byte
	Events   []Event
	Params   []Param // parallel to Events if the type has them
}

// maxValues is the largest NumberOfValues.
const maxValues = 1<<13 - 1

// leaveAllUnit multiplies the LeaveAllEvent in a VectorHeader.
const leaveAllUnit = 1 << 13

// ErrMalformed is a PDU that breaks the rules of clause 10.8. What came before
// the fault has been read.
var ErrMalformed = errors.New("malformed MRPDU")

func malformed(format string, a ...any) error {
	return fmt.Errorf("%w: %s", ErrMalformed, fmt.Sprintf(format, a...))
}

// Read calls visit for each vector of a PDU, from the octet after the EtherType
// on. It stops at the first fault and returns it; vectors before it have been
// visited (Avnu ProAV 8.1). A visited vector's slices are valid during the call.
// Types that the application does not have are passed over if they can be.
func (a *Application) Read(pdu []byte, visit func(*Vector)) error {
	if len(pdu) < 1 {
		return malformed("is empty")
	}
	r := reader{app: a, b: pdu[1:]}
	for {
		switch {
		case len(r.b) == 0: // the end of the PDU is an EndMark (10.8.1.2)
			return nil
		case len(r.b) == 1 && r.b[0] == 0:
			return nil
		case len(r.b) >= 2 && r.b[0] == 0 && r.b[1] == 0:
			return nil
		}
		if err := r.message(visit); err != nil {
			return err
		}
	}
}

type reader struct {
	app    *Application
	b      []byte
	length int // of the values of the message
	v      Vector
}

// message reads a Message: type, length, its vectors, EndMark.
func (r *reader) message(visit func(*Vector)) error {
	head := 2
	if r.app.ListLength {
		head = 4
	}
	if len(r.b) < head {
		return malformed("ends in a message's head")
	}
	kind, length := r.b[0], int(r.b[1])
	body := r.b[head:]
	if r.app.ListLength {
		n := int(binary.BigEndian.Uint16(r.b[2:]))
		if n > len(body) {
			return malformed("a list of %d octets, %d are there", n, len(body))
		}
		body, r.b = body[:n], body[n:]
	}
	t := r.app.attributeType(kind)
	switch {
	case t == nil && r.app.ListLength:
		return nil
	case t == nil: // all that is known of it is how long its vectors are (10.8.3.5)
		t, visit = &AttributeType{Type: kind, Length: length}, func(*Vector) {}
	case !t.fits(length):
		return malformed("attribute type %d has values of %d octets, not %d", kind, t.Length, length)
	}
	r.length = length
	rest, err := r.vectors(t, body, visit)
	if !r.app.ListLength {
		r.b = rest
	}
	return err
}

// vectors reads up to the EndMark, or the end.
func (r *reader) vectors(t *AttributeType, b []byte, visit func(*Vector)) (rest []byte, err error) {
	for len(b) >= 2 {
		header := int(binary.BigEndian.Uint16(b))
		if header == 0 {
			return b[2:], nil
		}
		if b, err = r.vector(t, header, b[2:]); err != nil {
			return nil, err
		}
		visit(&r.v)
	}
	return nil, nil
}

func (r *reader) vector(t *AttributeType, header int, b []byte) ([]byte, error) {
	n := header % leaveAllUnit
	if header/leaveAllUnit > 1 {
		return nil, malformed("LeaveAllEvent %d is reserved", header/leaveAllUnit)
	}
	threes, fours := (n+2)/3, 0
	if t.Four {
		fours = (n + 3) / 4
	}
	if len(b) < r.length+threes+fours {
		return nil, malformed("%d values of type %d do not fit", n, t.Type)
	}
	r.v = Vector{Type: t.Type, LeaveAll: header >= leaveAllUnit, First: b[:r.length], Events: r.v.Events[:0], Params: r.v.Params[:0]}
	b = b[r.length:]
	for i := range threes {
		e, ok := unpackThree(b[i])
		if !ok {
			return nil, malformed("%d encodes no three events", b[i])
		}
		r.v.Events = append(r.v.Events, e[:min(3, n-3*i)]...)
	}
	for i := range fours {
		p := unpackFour(b[threes+i])
		r.v.Params = append(r.v.Params, p[:min(4, n-4*i)]...)
	}
	return b[threes+fours:], nil
}

// Values calls visit for each value of a vector, in order. It stops where the
// next value would not exist. A visited value is valid during the call.
func (a *Application) Values(v *Vector, visit func(value []byte, e Event, p Param)) {
	t := a.attributeType(v.Type)
	value := v.First
	for i, e := range v.Events {
		if i == 1 {
			value = bytes.Clone(value)
		}
		if i > 0 && !t.next(value) {
			return
		}
		var p Param
		if t.Four {
			p = v.Params[i]
		}
		visit(value, e, p)
	}
}

// writer makes a PDU of vectors. A message goes on while the type and the
// length of values stay the same.
type writer struct {
	app    *Application
	b      []byte
	kind   uint8 // of the open message, 0 for none
	length int   // of its values
	list   int   // where its AttributeListLength is
}

func newWriter(a *Application) *writer { return &writer{app: a, b: []byte{0}} }

func (w *writer) empty() bool { return len(w.b) == 1 }

func (w *writer) continues(kind uint8, length int) bool {
	return w.kind == kind && w.length == length
}

// size is what the PDU would have with one more vector of n values of some octets.
func (w *writer) size(t *AttributeType, length, n int) int {
	s := len(w.b) + 2 + length + (n+2)/3 + 2 // vector, EndMark of the PDU
	if t.Four {
		s += (n + 3) / 4
	}
	if w.kind != 0 {
		s += 2 // EndMark of the open message
	}
	if !w.continues(t.Type, length) {
		s += 4
		if w.app.ListLength {
			s += 2
		}
	}
	return s
}

func (w *writer) vector(v *Vector) {
	t := w.app.attributeType(v.Type)
	first := v.First
	if len(v.Events) == 0 {
		first = make([]byte, t.Length)
	}
	if !w.continues(v.Type, len(first)) {
		w.endMessage()
		w.kind, w.length = v.Type, len(first)
		w.b = append(w.b, v.Type, byte(len(first)))
		if w.list = len(w.b); w.app.ListLength {
			w.b = append(w.b, 0, 0)
		}
	}
	header := len(v.Events)
	if v.LeaveAll {
		header += leaveAllUnit
	}
	w.b = binary.BigEndian.AppendUint16(w.b, uint16(header))
	w.b = append(w.b, first...)
	for i := 0; i < len(v.Events); i += 3 {
		w.b = append(w.b, packThree(v.Events[i:]))
	}
	for i := 0; t.Four && i < len(v.Params); i += 4 {
		w.b = append(w.b, packFour(v.Params[i:]))
	}
}

func (w *writer) endMessage() {
	if w.kind == 0 {
		return
	}
	w.b = append(w.b, 0, 0)
	if w.app.ListLength {
		binary.BigEndian.PutUint16(w.b[w.list:], uint16(len(w.b)-w.list-2))
	}
	w.kind = 0
}

// finish ends the PDU.
func (w *writer) finish() []byte {
	w.endMessage()
	return append(w.b, 0, 0)
}
