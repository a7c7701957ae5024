package erldist

import (
	"encoding/hex"
	"errors"
	"io"
	"math"
	"math/big"
	"reflect"
	"testing"
)

// pipe is a Transport in memory.
type pipe struct{ out, in chan []byte }

func pipes() (a, b pipe) {
	x, y := make(chan []byte, 8), make(chan []byte, 8)
	return pipe{x, y}, pipe{y, x}
}

func (p pipe) Send(b []byte) error { p.out <- b; return nil }

func (p pipe) Recv() ([]byte, error) {
	if b, ok := <-p.in; ok {
		return b, nil
	}
	return nil, io.EOF
}

func both(a, b Node) (pa, pb Peer, ea, eb error) {
	ta, tb := pipes()
	done := make(chan struct{})
	go func() {
		pb, eb = b.Accept(tb)
		close(tb.out)
		close(done)
	}()
	pa, ea = a.Connect(ta)
	close(ta.out)
	<-done
	return
}

// Handshake version 6, both roles against each other.
func TestHandshake(t *testing.T) {
	a := Node{Name: "a@x", Cookie: "c", Creation: 7, Challenge: 1}
	b := Node{Name: "b@y", Cookie: "c", Creation: 8, Challenge: 1<<32 - 1}
	pa, pb, ea, eb := both(a, b)
	if ea != nil || eb != nil {
		t.Fatal(ea, eb)
	}
	want := Peer{Name: "b@y", Creation: 8, Flags: FlagsMandatory}
	if pa != want || pb.Name != "a@x" || pb.Creation != 7 {
		t.Errorf("%+v %+v", pa, pb)
	}
	b.Cookie = "d"
	if _, _, ea, eb = both(a, b); !errors.Is(ea, ErrHandshake) || !errors.Is(eb, ErrHandshake) {
		t.Errorf("wrong cookie: %v, %v", ea, eb)
	}
	b.Cookie, a.Flags = "c", FlagUTF8Atoms
	if _, _, ea, eb = both(a, b); !errors.Is(ea, ErrHandshake) || !errors.Is(eb, ErrHandshake) {
		t.Errorf("flags missing: %v, %v", ea, eb)
	}
}

// The digest is MD5 of the cookie and the challenge in decimal.
func TestDigest(t *testing.T) {
	if got := hex.EncodeToString(digest("cookie", 4294967295)); got != "de56ff9d11b071905bce597a85d67f4f" {
		t.Error(got)
	}
	if reflect.DeepEqual(digest("c", 1), digest("c", 2)) {
		t.Error("the challenge does not matter")
	}
}

func terms() []Term {
	pid := Pid{Node: "a@b", ID: 1, Serial: 2, Creation: 3}
	return []Term{
		Atom("ok"), int64(0), int64(255), int64(-1), int64(1 << 40), int64(-(1 << 40)),
		[]byte{},
		[]byte("bin"),
		Tuple{},
		Tuple{Atom("a"), int64(1)},
		List{},
		List{int64(1), Atom("b")},
		pid,
		Ref{Node: "a@b", Creation: 9, IDs: [5]uint32{1, 2, 3}, N: 3},
		int64(math.MinInt64), int64(math.MaxInt64), new(big.Int).Lsh(big.NewInt(-3), 70),
		1.5, math.Copysign(0, -1),
		Improper{[]Term{Atom("alias")}, pid},
		Map{},
		Map{{Atom("k"), List{int64(1)}}, {[]byte("x"), Map{}}},
		Port{Node: "a@b", ID: 1 << 40, Creation: 2},
	}
}

func TestTermsThereAndBack(t *testing.T) {
	for _, want := range terms() {
		b, err := AppendTerm(nil, want)
		if err != nil {
			t.Fatal(err)
		}
		got, rest, err := ParseTerm(b)
		if err != nil || len(rest) > 0 || !reflect.DeepEqual(got, want) {
			t.Errorf("%#v became %#v, %v", want, got, err)
		}
		for n := range b {
			if _, _, err := ParseTerm(b[:n]); err == nil {
				t.Errorf("%#v cut to %d octets parses", want, n)
			}
		}
	}
}

func TestMessages(t *testing.T) {
	from := Pid{Node: "a@b", ID: 1}
	b, err := AppendRegSend(nil, from, "name", Tuple{from, Atom("x")})
	if err != nil {
		t.Fatal(err)
	}
	m, ok, err := ParseMessage(b)
	if err != nil || !ok || m.Op() != OpRegSend || m.Control[3] != Atom("name") || !reflect.DeepEqual(m.Payload, Tuple{from, Atom("x")}) {
		t.Errorf("%+v %v %v", m, ok, err)
	}
	if _, ok, err := ParseMessage(nil); ok || err != nil {
		t.Error("a tick is no message and no error")
	}
	if _, _, err := ParseMessage([]byte{131, 69, 0}); !errors.Is(err, ErrTerm) {
		t.Errorf("a fragment, never negotiated: %v", err)
	}
}

func FuzzParseMessage(f *testing.F) {
	for _, t := range terms() {
		b, _ := AppendRegSend(nil, Pid{Node: "a"}, "n", t)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, ok, err := ParseMessage(b)
		if err != nil || !ok || m.Payload == nil {
			return
		}
		again, err := AppendTerm(nil, m.Payload)
		if err != nil {
			t.Fatal(err)
		}
		if p, _, err := ParseTerm(again); err != nil || !reflect.DeepEqual(p, m.Payload) {
			t.Errorf("%#v became %#v, %v", m.Payload, p, err)
		}
	})
}

// script is a Transport whose peer says what was written beforehand.
type script struct{ says [][]byte }

func (s *script) Send([]byte) error { return nil }

func (s *script) Recv() ([]byte, error) {
	if len(s.says) == 0 {
		return nil, io.EOF
	}
	b := s.says[0]
	s.says = s.says[1:]
	return b, nil
}

// FuzzHandshake lets a mad peer do the handshake, as either side: the input is its
// messages, each behind its length.
func FuzzHandshake(f *testing.F) {
	n := Node{Name: "a@x", Cookie: "c", Creation: 7, Challenge: 1}
	for _, says := range [][]string{
		{"sok", "N\x00\x00\x00\x04\x03\x07\x0f\x94\x00\x00\x00\x01\x00\x00\x00\x02\x00\x03b@y", "a" + string(digest("c", 1))},
		{"N\x00\x00\x00\x04\x03\x07\x0f\x94\x00\x00\x00\x02\x00\x03b@y", "r\x00\x00\x00\x09" + string(digest("c", 1))},
		{"salive", "snot_allowed"},
		{"snamed:\x00\x01x"},
	} {
		var b []byte
		for _, m := range says {
			b = append(append(b, byte(len(m))), m...)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var says [][]byte
		for len(b) > 0 {
			n := min(int(b[0]), len(b)-1)
			says, b = append(says, b[1:1+n]), b[1+n:]
		}
		for _, side := range []func(Transport) (Peer, error){n.Connect, n.Accept} {
			if p, err := side(&script{says}); err == nil && (len(p.Name) > 1<<16 || p.Flags&^FlagsMandatory != 0) {
				t.Errorf("%+v", p)
			}
		}
	})
}
