package mrp

import (
	"encoding/hex"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"

	tsn "tsnswitch"

	"pgregory.net/rapid"
)

func tlvs(t *testing.T, s string) string {
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// The groups and their lengths, written out.
const (
	exampleTalker = "01 38" +
		"02 08 020000000101 0007" + // StreamID
		"03 01 01" + // rank
		"06 13  07 0c 91e0f0000101 020000000101  08 03 03 0002" + // frames
		"0b 0d 00000001 00001f40 0001 00e0 01" + // 1/8000 s, a frame of 224 octets
		"0d 05 01 001e8480" // 2 ms
	exampleStatus = "10 15  11 03 02 00 03  12 04 000001f4  15 08 05 06 0200000b0002"
)

func TestTalkerEnhanced(t *testing.T) {
	v := Value{TypeTalkerEnhanced, tlvs(t, exampleTalker+exampleStatus)}
	got, err := ParseTalkerEnhanced(v)
	want := TalkerEnhanced{
		StreamID: tsn.MakeStreamID(tsn.MAC{2, 0, 0, 0, 1, 1}, 7), Rank: 1, HasAddresses: true, HasTag: true,
		DestinationAddress: tsn.MAC{0x91, 0xe0, 0xf0, 0, 1, 1}, SourceAddress: tsn.MAC{2, 0, 0, 0, 1, 1}, Priority: 3, VID: 2,
		TSpec: TSpec{1, 8000, 1, 224, 1}, Requirements: Requirements{1, 2_000_000},
		Status: Status{Talker: TalkerFailedStatus, FailureCode: 3, AccumulatedLatency: 500, FailedAt: tsn.MAC{2, 0, 0, 0xb, 0, 2}},
		Wish:   tlvs(t, exampleTalker),
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("%+v, %v", got, err)
	}
	if got.TSpec.Interval() != 125_000 {
		t.Errorf("interval %d", got.TSpec.Interval())
	}
	for _, wish := range []string{want.Wish, ""} {
		if want.Wish = wish; true {
			back, ok := want.Value()
			if !ok || back != v {
				t.Errorf("%x, %v, want %x", back.Octet, ok, v.Octet)
			}
		}
	}
	want.Wish = string(make([]byte, 250))
	if _, ok := want.Value(); ok {
		t.Error("a value of more than 255 octets has an AttributeLength")
	}
}

// The least Listener Enhanced there is, as a public dissector documents it.
func TestListenerEnhanced(t *testing.T) {
	v := Value{TypeListenerEnhanced, tlvs(t, "0f0a 0208 0000000000000000 1005 1103 000000")}
	got, err := ParseListenerEnhanced(v)
	if err != nil || got != (ListenerEnhanced{}) || got.Value() != v {
		t.Errorf("%+v, %v, %x", got, err, got.Value().Octet)
	}
	full := ListenerEnhanced{tsn.StreamID{1, 2}, Requirements{2, 5}, Status{Listener: StatusPartialFailed, FailureCode: 7}}
	if got, err := ParseListenerEnhanced(full.Value()); err != nil || got != full {
		t.Errorf("%+v, %v", got, err)
	}
	for p := range Param(4) {
		if got := (Status{Listener: ListenerStatus(p)}).Param(); got != p {
			t.Errorf("%s comes back as %s", ListenerText(p), ListenerText(got))
		}
	}
}

// What is not whole is refused, what is not known passed over.
func TestEnhancedMalformed(t *testing.T) {
	good := tlvs(t, exampleTalker+exampleStatus)
	for name, s := range map[string]string{
		"nothing":        "",
		"two groups":     good + tlvs(t, exampleTalker),
		"half a TLV":     good[:len(good)-1],
		"no stream id":   tlvs(t, "01 00"),
		"short id":       tlvs(t, "01 05 02 03 010203"),
		"a TLV outside":  tlvs(t, "01 03 02 08 00"),
		"capabilities":   good + tlvs(t, "01 07 0e 05 01 01 00 00 00"),
		"failed at":      tlvs(t, exampleTalker+"10 05 15 03 05 01 02"),
		"short status":   tlvs(t, exampleTalker+"10 03 11 01 00"),
		"status latency": tlvs(t, exampleTalker+"10 04 12 02 0000"),
	} {
		if got, err := ParseTalkerEnhanced(Value{TypeTalkerEnhanced, s}); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	for name, s := range map[string]string{
		"nothing": "", "no id": tlvs(t, "0f 00"), "short": tlvs(t, "0f 05 02 03 010203"), "requirements": tlvs(t, "0f 04 0d 02 0000"),
	} {
		if got, err := ParseListenerEnhanced(Value{TypeListenerEnhanced, s}); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	unknown := tlvs(t, "63 02 0102") + good
	if got, err := ParseTalkerEnhanced(Value{TypeTalkerEnhanced, unknown}); err != nil || got.Wish != tlvs(t, exampleTalker) {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := ParseTalkerEnhanced(Value{TypeListener, good}); err == nil {
		t.Error("a listener is no talker")
	}
	if _, err := ParseListenerEnhanced(Value{TypeTalkerEnhanced, good}); err == nil {
		t.Error("a talker is no listener")
	}
}

func TestTSpecInterval(t *testing.T) {
	for s, want := range map[TSpec]int64{
		{Numerator: 1, Denominator: 0}: 0, {Numerator: 0, Denominator: 1}: 0, {Numerator: 1, Denominator: 4000}: 250_000,
		{Numerator: 4, Denominator: 1}: 4_000_000_000, {Numerator: 5, Denominator: 1}: 0, {Numerator: 1<<32 - 1, Denominator: 1}: 0,
	} {
		if got := s.Interval(); got != want {
			t.Errorf("%+v: %d, want %d", s, got, want)
		}
	}
}

// Capabilities and IP tuples, which this package reads and does not write.
func TestEnhancedGroups(t *testing.T) {
	s := tlvs(t, "01 44"+"02 08 020000000101 0007"+"06 11 09 0f 0a000001 e0000001 00 0011 0000 0001"+
		"0b 0d 00000001 00001f40 0001 00e0 01"+"0c 0c 00000000 00000000 00000000"+"0e 0b 00 01 01 00000003 00000001")
	s = "\x01" + string(rune(len(s)-2)) + s[2:]
	got, err := ParseTalkerEnhanced(Value{TypeTalkerEnhanced, s})
	if err != nil || !got.Other || got.HasTag || !got.TimeAware || !got.Capabilities.CannotTag ||
		!slices.Equal(got.Capabilities.StreamIdentification, []uint32{3}) || !slices.Equal(got.Capabilities.Sequence, []uint32{1}) {
		t.Errorf("%+v, %v", got, err)
	}
}

// Vectors of variable length share a PDU, and one that speaks version 0 sends and
// asks for none of them.
func TestVersions(t *testing.T) {
	talk := func(n byte, latency uint32) Value {
		v, _ := TalkerEnhanced{StreamID: tsn.StreamID{n}, Requirements: Requirements{0, latency}}.Value()
		return v
	}
	p := NewParticipant(MSRP(), Config{PointToPoint: true})
	p.Start(0)
	pdu, _ := p.Tick(0)
	if pdu[0] != 0 || strings.Contains(string(pdu), "\x05\x02") {
		t.Errorf("version 0: %x", pdu)
	}
	p.SetVersion(7)
	p.Join(0, talk(1, 0), 0, true)
	p.Join(0, talk(2, 9), 0, true)
	p.Join(0, talk(3, 0), 0, true)
	if pdu, _ = p.Tick(1 << 40); pdu[0] != 1 {
		t.Errorf("version 1: %x", pdu)
	}
	q := NewParticipant(MSRP(), Config{PointToPoint: true})
	q.Start(0)
	told := q.Receive(1, pdu)
	var values []Value
	for _, n := range told {
		values = append(values, n.Value)
	}
	if want := []Value{talk(1, 0), talk(2, 9), talk(3, 0)}; len(values) != 3 || !slices.Contains(values, want[0]) || !slices.Contains(values, want[1]) || !slices.Contains(values, want[2]) {
		t.Errorf("%+v", told)
	}
	if q.NeighborVersion() != 1 || q.Counters().Malformed != 0 {
		t.Errorf("neighbour %d, %+v", q.NeighborVersion(), q.Counters())
	}
	if q.Stop(); q.NeighborVersion() != 0 {
		t.Error("a neighbour is remembered when the link has been down")
	}
}

// A LeaveAll asks for types of version 1 at the start, and later if there are any.
func TestEnhancedLeaveAll(t *testing.T) {
	p := NewParticipant(MSRP(), Config{PointToPoint: true})
	p.SetVersion(1)
	p.Start(0)
	asks := func(now tsn.Instant) bool {
		t.Helper()
		pdu, _ := p.Tick(now)
		some := false
		if err := MSRP().Read(pdu, func(v *Vector) { some = some || v.Type == TypeTalkerEnhanced && v.LeaveAll }); err != nil || len(pdu) == 0 {
			t.Fatalf("%x, %v", pdu, err)
		}
		return some
	}
	if !asks(0) || asks(20*second) {
		t.Error("at the start, and only then")
	}
	v, _ := TalkerEnhanced{StreamID: tsn.StreamID{1}}.Value()
	p.Join(20*second, v, 0, true)
	for p.Deadline() < 25*second {
		p.Tick(p.Deadline())
	}
	if !asks(40 * second) {
		t.Error("while there are some")
	}
}

func TestTalkerEnhancedRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := TalkerEnhanced{
			StreamID: tsn.StreamID(rapid.SliceOfN(rapid.Byte(), 8, 8).Draw(t, "id")), Rank: rapid.Uint8Max(1).Draw(t, "rank"),
			HasAddresses: true, DestinationAddress: tsn.MAC(rapid.SliceOfN(rapid.Byte(), 6, 6).Draw(t, "da")),
			HasTag: true, Priority: tsn.PCP(rapid.Uint8Max(7).Draw(t, "pcp")), VID: tsn.VID(rapid.Uint16Max(4095).Draw(t, "vid")),
			TSpec:        TSpec{rapid.Uint32().Draw(t, "n"), rapid.Uint32().Draw(t, "d"), rapid.Uint16().Draw(t, "f"), rapid.Uint16().Draw(t, "s"), rapid.Uint8().Draw(t, "t")},
			Requirements: Requirements{rapid.Uint8().Draw(t, "trees"), rapid.Uint32().Draw(t, "most")},
			Status: Status{
				rapid.Uint8().Draw(t, "talker"), rapid.Uint8().Draw(t, "listener"), tsn.FailureCode(rapid.Uint8().Draw(t, "code")),
				rapid.Uint32().Draw(t, "latency"), tsn.MAC(rapid.SliceOfN(rapid.Byte(), 6, 6).Draw(t, "at")),
			},
		}
		v, ok := in.Value()
		out, err := ParseTalkerEnhanced(v)
		in.Wish = out.Wish
		if !ok || err != nil || !reflect.DeepEqual(in, out) {
			t.Fatalf("%+v\n%+v\n%v %v", in, out, ok, err)
		}
	})
}

// Any octets are read without harm, and what is read is said again in the same words.
func FuzzEnhanced(f *testing.F) {
	for _, s := range []string{exampleTalker + exampleStatus, "0f0a02080000000000000000100511030000"} {
		b, _ := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		if a, err := ParseTalkerEnhanced(Value{TypeTalkerEnhanced, string(in)}); err == nil {
			if v, ok := a.Value(); ok {
				if b, err := ParseTalkerEnhanced(v); err != nil || !reflect.DeepEqual(a, b) {
					t.Fatalf("%+v\n%+v, %v", a, b, err)
				}
			}
		}
		if a, err := ParseListenerEnhanced(Value{TypeListenerEnhanced, string(in)}); err == nil {
			a.Status.AccumulatedLatency = 0 // a talker's
			if b, err := ParseListenerEnhanced(a.Value()); err != nil || a != b {
				t.Fatalf("%+v\n%+v, %v", a, b, err)
			}
		}
	})
}
