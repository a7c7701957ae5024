package mrp

import (
	"encoding/hex"
	"testing"

	tsn "tsnswitch"
)

var sampleTalker = Talker{
	StreamID: tsn.StreamID{2, 0, 0, 0, 0, 1, 0, 7}, DestinationAddress: tsn.MAC{0x91, 0xe0, 0xf0, 0, 0xfe, 7}, VID: 2,
	MaxFrameSize: 224, MaxIntervalFrames: 3, DataFramePriority: 3, Rank: 1, AccumulatedLatency: 158_000,
}

func failed(t Talker, code tsn.FailureCode) Talker {
	t.Failed, t.FailureCode, t.BridgeID = true, code, tsn.MakeBridgeID(0x8000, tsn.MAC{2, 0, 0, 0, 9, 9})
	return t
}

// 802.1Q 35.2.2.8, 35.2.2.9, 11.2.3.1.6, 10.12.1.7: first values, octet by octet.
func TestFirstValues(t *testing.T) {
	for _, c := range []struct {
		name  string
		value Value
		kind  uint8
		want  string
	}{
		{"talker advertise", sampleTalker.Value(), 1, "0200000000010007 91e0f000fe07 0002 00e0 0003 70 00026930"},
		{"talker failed", failed(sampleTalker, 1).Value(), 2, "0200000000010007 91e0f000fe07 0002 00e0 0003 70 00026930 8000020000000909 01"},
		{"listener", ListenerValue(sampleTalker.StreamID), 3, "0200000000010007"},
		{"domain", Domain{6, 3, 2}.Value(), 4, "06 03 0002"},
		{"VLAN", VIDValue(100), 1, "0064"},
		{"MAC", MACValue(tsn.MAC{1, 0, 0x5e, 0, 0, 5}), 2, "01005e000005"},
		{"service requirement", UnregisteredGroups.Value(), 1, "01"},
	} {
		if want := string(octets(t, c.want)); c.value.Type != c.kind || c.value.Octet != want {
			t.Errorf("%s: type %d, %x; want %d, %x", c.name, c.value.Type, c.value.Octet, c.kind, want)
		}
	}
}

// A value is read as it was written; anything else is an error that says what is wrong.
func TestParseValues(t *testing.T) {
	for _, want := range []Talker{sampleTalker, failed(sampleTalker, 19), {}} {
		if got, err := ParseTalker(want.Value()); err != nil || got != want {
			t.Errorf("%+v, %v; want %+v", got, err, want)
		}
	}
	if id, err := ParseListener(ListenerValue(sampleTalker.StreamID)); err != nil || id != sampleTalker.StreamID {
		t.Error(id, err)
	}
	if d, err := ParseDomain(Domain{5, 2, 2}.Value()); err != nil || d != (Domain{5, 2, 2}) {
		t.Error(d, err)
	}
	if v, err := ParseVID(VIDValue(4094)); err != nil || v != 4094 {
		t.Error(v, err)
	}
	if m, err := ParseMAC(MACValue(MSRP().Group)); err != nil || m != MSRP().Group {
		t.Error(m, err)
	}
	if s, err := ParseServiceRequirement(AllGroups.Value()); err != nil || s != AllGroups {
		t.Error(s, err)
	}
	for want, err := range map[string]error{
		"attribute type 3 is no talker":          errorOf(ParseTalker(ListenerValue(tsn.StreamID{}))),
		"talker of 24 octets, not 25":            errorOf(ParseTalker(Value{TypeTalkerAdvertise, string(make([]byte, 24))})),
		"listener of 0 octets, not 8":            errorOf(ParseListener(Value{Type: TypeListener})),
		"domain of 1 octets, not 4":              errorOf(ParseDomain(Value{TypeDomain, "x"})),
		"VLAN 4095 is outside 1..4094":           errorOf(ParseVID(VIDValue(4095))),
		"attribute type 2 is no VLAN":            errorOf(ParseVID(MACValue(tsn.MAC{}))),
		"MAC of 0 octets, not 6":                 errorOf(ParseMAC(Value{Type: TypeMAC})),
		"service requirement 2 is reserved":      errorOf(ParseServiceRequirement(Value{TypeServiceRequirement, "\x02"})),
		"service requirement of 2 octets, not 1": errorOf(ParseServiceRequirement(Value{TypeServiceRequirement, "\x00\x00"})),
	} {
		if err == nil || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

func errorOf[T any](_ T, err error) error { return err }

// What bridges add on the way does not make it another stream; all else does (35.2.2.8.1).
func TestSameStream(t *testing.T) {
	far := failed(sampleTalker, 1)
	far.AccumulatedLatency = 1
	if !sampleTalker.SameStream(far) {
		t.Error("latency and failure make it another stream")
	}
	for _, change := range []func(*Talker){
		func(t *Talker) { t.DestinationAddress[5]++ },
		func(t *Talker) { t.VID++ },
		func(t *Talker) { t.MaxFrameSize++ },
		func(t *Talker) { t.MaxIntervalFrames++ },
		func(t *Talker) { t.DataFramePriority-- },
		func(t *Talker) { t.Rank-- },
	} {
		o := sampleTalker
		if change(&o); sampleTalker.SameStream(o) {
			t.Errorf("%+v is the same stream", o)
		}
	}
}

// A frame is taken by the application it was made for and by no other.
func TestFrame(t *testing.T) {
	pdu := []byte{0, 1, 2, 0, 0}
	apps := []*Application{MSRP(), MVRP(), MMRP()}
	for _, a := range apps {
		f := a.Frame(tsn.MAC{2, 0, 0, 0, 0, 1}, pdu)
		for _, b := range apps {
			got, ok := b.PDU(f)
			if ok != (a == b) || ok && string(got) != string(pdu) {
				t.Errorf("%s reads a frame of %s: %x, %v", b.Name, a.Name, got, ok)
			}
		}
	}
	if f := hex.EncodeToString(MSRP().Frame(tsn.MAC{2, 0, 0, 0, 0, 1}, pdu)); f != "0180c200000e02000000000122ea0001020000" {
		t.Error(f)
	}
	if _, ok := MSRP().PDU(make([]byte, 13)); ok {
		t.Error("13 octets are a frame")
	}
}

// Any octets are a value or an error, and a value is written as it was read,
// but for reserved bits.
func FuzzValues(f *testing.F) {
	for _, v := range []Value{sampleTalker.Value(), failed(sampleTalker, 8).Value(), Domain{6, 3, 2}.Value(), ListenerValue(sampleTalker.StreamID)} {
		f.Add(v.Type, []byte(v.Octet))
	}
	f.Fuzz(func(t *testing.T, kind uint8, b []byte) {
		v := Value{kind, string(b)}
		if x, err := ParseTalker(v); err == nil {
			if y, err := ParseTalker(x.Value()); err != nil || x != y {
				t.Errorf("%+v, then %+v, %v", x, y, err)
			}
		}
		if x, err := ParseDomain(v); err == nil && x.Value() != v {
			t.Errorf("%+v from %x", x, b)
		}
		if x, err := ParseListener(v); err == nil && ListenerValue(x) != v {
			t.Errorf("%v from %x", x, b)
		}
		if x, err := ParseVID(v); err == nil && VIDValue(x) != v {
			t.Errorf("%v from %x", x, b)
		}
		if x, err := ParseMAC(v); err == nil && MACValue(x) != v {
			t.Errorf("%v from %x", x, b)
		}
		if x, err := ParseServiceRequirement(v); err == nil && x.Value() != v {
			t.Errorf("%v from %x", x, b)
		}
	})
}
