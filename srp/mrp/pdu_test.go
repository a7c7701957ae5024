package mrp

import (
	"bytes"
	"encoding/hex"
	"errors"
	"reflect"
	"strings"
	"testing"
)

func octets(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func talkerValue(n byte) []byte {
	v := make([]byte, 25)
	copy(v, []byte{2, 0, 0, 0, 0, 1, 0, n, 0x91, 0xe0, 0xf0, 0, 0xfe, n, 0, 2, 0, 100, 0, 1, 0x60})
	return v
}

// 802.1Q 10.8.2.10.1, 35.2.2.7: events that share octets.
func TestPacking(t *testing.T) {
	if b := packThree([]Event{JoinMt, JoinMt, JoinMt}); b != 0x81 {
		t.Errorf("%#x", b)
	}
	if b := packFour([]Param{2, 3, 1}); b != 0xb4 {
		t.Errorf("%#x", b)
	}
	for b := range 256 {
		e, ok := unpackThree(byte(b))
		if ok != (b < 216) || ok && packThree(e[:]) != byte(b) {
			t.Errorf("%d: %v, %v", b, e, ok)
		}
		p := unpackFour(byte(b))
		if packFour(p[:]) != byte(b) {
			t.Errorf("%d: %v", b, p)
		}
	}
}

// 802.1Q 10.8.1, 35.2.2: PDUs of each application, octet by octet.
func TestPDU(t *testing.T) {
	for _, c := range []struct {
		name    string
		app     *Application
		vectors []Vector
		want    string
	}{
		{
			"three talkers, new", MSRP(),
			[]Vector{{Type: TypeTalkerAdvertise, First: talkerValue(1), Events: []Event{New, New, New}}},
			"00 01 19 001e 0003" + hex.EncodeToString(talkerValue(1)) + "00 0000 0000",
		},
		{
			"leave all without a value", MSRP(),
			[]Vector{{Type: TypeListener, LeaveAll: true}},
			"00 03 08 000c 2000 0000000000000000 0000 0000",
		},
		{"listeners", MSRP(), []Vector{{
			Type: TypeListener, First: []byte{2, 0, 0, 0, 0, 1, 0, 1},
			Events: []Event{JoinMt, JoinMt, JoinMt}, Params: []Param{2, 3, 1},
		}}, "00 03 08 000e 0003 0200000000010001 81 b4 0000 0000"},
		{"two messages", MVRP(), []Vector{
			{Type: TypeVID, LeaveAll: true, First: []byte{0, 2}, Events: []Event{JoinIn, Mt}},
			{Type: TypeVID, First: []byte{1, 0}, Events: []Event{Lv}},
		}, "00 01 02 2002 0002 3c 0001 0100 b4 0000 0000"},
		{
			"domain", MSRP(),
			[]Vector{{Type: TypeDomain, First: []byte{5, 2, 0, 2}, Events: []Event{JoinIn, JoinIn}}},
			"00 04 04 0009 0002 05020002 2a 0000 0000",
		},
	} {
		w := newWriter(c.app)
		for i := range c.vectors {
			w.vector(&c.vectors[i])
		}
		pdu := w.finish()
		if want := octets(t, c.want); !bytes.Equal(pdu, want) {
			t.Errorf("%s: %x, want %x", c.name, pdu, want)
		}
		got := readAll(t, c.app, pdu)
		for i, v := range c.vectors {
			if len(v.Events) == 0 {
				v.First = make([]byte, c.app.attributeType(v.Type).Length)
			}
			if len(got) <= i || !reflect.DeepEqual(got[i], v) {
				t.Errorf("%s: read %+v, want %+v", c.name, got, v)
			}
		}
	}
}

func readAll(t testing.TB, app *Application, pdu []byte) (out []Vector) {
	t.Helper()
	err := app.Read(pdu, func(v *Vector) {
		c := *v
		c.First = bytes.Clone(v.First)
		c.Events, c.Params = append([]Event(nil), v.Events...), append([]Param(nil), v.Params...)
		out = append(out, c)
	})
	if err != nil {
		t.Errorf("%x: %v", pdu, err)
	}
	return out
}

// What breaks the rules is used up to the fault; unknown types are passed over
// where their length is known (802.1Q 10.8.3.5, Avnu ProAV 8.1).
func TestMalformed(t *testing.T) {
	good := "03 08 000e 0003 0200000000010001 81 b4 0000"
	for _, c := range []struct {
		name, pdu string
		app       *Application
		vectors   int
		ok        bool
	}{
		{"the end is an end mark", "00" + good, MSRP(), 1, true},
		{"padding", "00" + good + "0000 000000000000", MSRP(), 1, true},
		{"a later version", "07" + good, MSRP(), 1, true},
		{"unknown type", "00 09 05 0004 aabbccdd" + good, MSRP(), 1, true},
		{"unknown type without list length", "00 09 01 0001 05 00 0002 05 00 0000 01 02 0001 0064 24 0000", MVRP(), 1, true},
		{"unknown type that is cut", "00 09 01 0001", MVRP(), 0, false},
		{"empty", "", MSRP(), 0, false},
		{"cut in the head", "00" + good + "03 08", MSRP(), 1, false},
		{"list beyond the end", "00" + good + "03 08 00ff 0001", MSRP(), 1, false},
		{"wrong length", "00" + good + "03 09 000e 0003 0200000000010001 81 b4 0000", MSRP(), 1, false},
		{"more values than octets", "00" + good + "03 08 000e 0fff 0200000000010001 81 b4 0000", MSRP(), 1, false},
		{"no three events", "00" + good + "03 08 000e 0003 0200000000010001 d8 b4 0000", MSRP(), 1, false},
		{"reserved LeaveAllEvent", "00" + good + "03 08 000e 4003 0200000000010001 81 b4 0000", MSRP(), 1, false},
	} {
		n := 0
		err := c.app.Read(octets(t, c.pdu), func(*Vector) { n++ })
		if n != c.vectors || (err == nil) != c.ok || err != nil && !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %d vectors, %v", c.name, n, err)
		}
	}
}

// 802.1Q 35.2.2.8.1: a talker's next value has the next StreamID and the next address.
func TestValues(t *testing.T) {
	app := MSRP()
	var got [][]byte
	app.Values(&Vector{Type: TypeTalkerAdvertise, First: talkerValue(0xff), Events: []Event{New, New}}, func(v []byte, _ Event, _ Param) {
		got = append(got, bytes.Clone(v))
	})
	want := talkerValue(0xff)
	want[6], want[7], want[12], want[13] = 1, 0, 0xff, 0
	if len(got) != 2 || !bytes.Equal(got[1], want) {
		t.Errorf("%x", got)
	}
	n := 0
	app.Values(&Vector{Type: TypeListener, First: bytes.Repeat([]byte{0xff}, 8), Events: []Event{In, In}, Params: []Param{0, 0}}, func([]byte, Event, Param) { n++ })
	if n != 1 {
		t.Errorf("%d values past the last one", n)
	}
}

func FuzzRead(f *testing.F) {
	for _, s := range []string{
		"00 01 19 001e 0003" + hex.EncodeToString(talkerValue(1)) + "00 0000 0000",
		"00 03 08 000e 0003 0200000000010001 81 b4 0000 0000", "00 03 08 000c 2000 0000000000000000 0000 0000",
		"00 01 02 2002 0002 3c 0001 0100 b4 0000 0000", "00 09 05 0004 aabbccdd 0000",
	} {
		f.Add(octets(f, s))
	}
	f.Fuzz(func(t *testing.T, pdu []byte) {
		for _, app := range []*Application{MSRP(), MVRP(), MMRP()} {
			w := newWriter(app)
			n := 0
			err := app.Read(pdu, func(v *Vector) {
				app.Values(v, func([]byte, Event, Param) { n++ })
				if w.kind == 0 || v.Type == w.kind {
					w.vector(v)
				}
			})
			if n > 3*len(pdu) {
				t.Fatalf("%d values in %d octets", n, len(pdu))
			}
			if err == nil && !w.empty() {
				readAll(t, app, w.finish())
			}
		}
	})
}
