package ptpmsg

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"reflect"
	"testing"

	"pgregory.net/rapid"
)

// 10.6.2.2.4 messageLength, 11.4 and 10.6: the lengths that peers send on the
// wire (Sync 44, Follow_Up 76 with its TLV, Pdelay 54, Announce 76 with a path
// of one), and nothing lost on the way out and back.
func TestEveryMessageThereAndBack(t *testing.T) {
	var d Decoder
	for _, s := range samples() {
		t.Run(s.name, func(t *testing.T) {
			b := Append(nil, s.msg)
			if len(b) != s.len || int(binary.BigEndian.Uint16(b[2:])) != s.len {
				t.Fatalf("length %d, messageLength %d, want %d", len(b), binary.BigEndian.Uint16(b[2:]), s.len)
			}
			got, err := d.Decode(append(b, 0, 0, 0)) // padding is not part of it
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, s.msg) {
				t.Fatalf("got  %+v\nwant %+v", got, s.msg)
			}
		})
	}
}

// 10.6.2.2 table 10-7: the place of every header field.
func TestHeaderLayout(t *testing.T) {
	m := &Sync{Header: Header{
		MajorSdoID: 1, MinorVersion: 1, Domain: 3, MinorSdoID: 4, Flags: FlagTwoStep | FlagPtpTimescale,
		Correction: -2, TypeSpecific: 0x01020304, Source: PortIdentity{clockA, 0x0506}, SequenceID: 0x0708, LogInterval: -3,
	}}
	want := []byte{
		0x10, 0x12, 0, 44, 3, 4, 0x02, 0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe, 1, 2, 3, 4,
		0x02, 0, 0, 0xff, 0xfe, 0, 0, 0x0a, 5, 6, 7, 8, 0, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
	}
	if got := Append(nil, m); !bytes.Equal(got, want) {
		t.Fatalf("got  %x\nwant %x", got, want)
	}
}

// 11.4.4.3: the Follow_Up information TLV, octet by octet.
func TestFollowUpInformationLayout(t *testing.T) {
	tlv := FollowUpInformation{
		CumulativeScaledRateOffset: 0x01020304, GmTimeBaseIndicator: 0x0506,
		LastGmPhaseChange: ScaledNS{High: -1, Low: 0xffff_ffff_ffff_0000}, ScaledLastGmFreqChange: -2,
	}.TLV()
	want := []byte{0x00, 0x80, 0xC2, 0, 0, 1, 1, 2, 3, 4, 5, 6, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0xff, 0xff, 0xff, 0xfe}
	if tlv.Type != 3 || !bytes.Equal(tlv.Value, want) {
		t.Fatalf("type %d value %x", tlv.Type, tlv.Value)
	}
	if _, ok := (&FollowUp{TLVs: []TLV{{Type: 3, Value: want[:27]}}}).Information(); ok {
		t.Fatal("a truncated information TLV was taken")
	}
	other := append([]byte{0x00, 0x80, 0xC2, 0, 0, 9}, want[6:]...)
	got, ok := (&FollowUp{TLVs: []TLV{{Type: 3, Value: other}, tlv}}).Information()
	if ns, exact := got.LastGmPhaseChange.NS(); !ok || !exact || ns != -1 || got.GmTimeBaseIndicator != 0x0506 {
		t.Fatalf("behind a foreign TLV: %+v %v", got, ok)
	}
}

// 10.6.3.3: the path trace TLV, grand master first.
func TestPathTrace(t *testing.T) {
	path := []ClockIdentity{clockA, clockB}
	m := &Announce{TLVs: []TLV{{Type: 0x7777, Value: []byte{1}}, PathTraceTLV(path)}}
	if got, ok := m.PathTrace(nil); !ok || !reflect.DeepEqual(got, path) {
		t.Fatalf("%v %v", got, ok)
	}
	if _, ok := (&Announce{}).PathTrace(nil); ok {
		t.Fatal("a path trace out of nothing")
	}
	long := &Announce{TLVs: []TLV{PathTraceTLV(make([]ClockIdentity, MaxPathTrace))}}
	if n := len(Append(nil, long)); n > MaxMessageLen || n+8 <= MaxMessageLen {
		t.Fatalf("MaxPathTrace gives %d octets", n)
	}
}

// 10.6.4.3: the message interval request TLV.
func TestIntervalRequest(t *testing.T) {
	want := IntervalRequest{LinkDelay: 127, TimeSync: -3, Announce: -128, Flags: 2}
	got, ok := (&Signaling{TLVs: []TLV{want.TLV()}}).IntervalRequest()
	if !ok || got != want {
		t.Fatalf("%+v %v", got, ok)
	}
}

// 10.6.4.4 and 10.6.4.5: the gPTP-capable TLVs octet by octet, and that either
// type of organization extension and a short value are taken.
func TestGptpCapable(t *testing.T) {
	capable, request := GptpCapable{LogInterval: -2, Flags: 0x80}, GptpCapableIntervalRequest{LogInterval: 3}
	for _, c := range []struct {
		tlv  TLV
		want []byte
	}{
		{capable.TLV(), []byte{0x80, 0, 0, 12, 0x00, 0x80, 0xC2, 0, 0, 4, 0xfe, 0x80, 0, 0, 0, 0}},
		{request.TLV(), []byte{0x80, 0, 0, 10, 0x00, 0x80, 0xC2, 0, 0, 5, 3, 0, 0, 0}},
	} {
		if got := appendTLVs(nil, []TLV{c.tlv}); !bytes.Equal(got, c.want) {
			t.Errorf("got  %x\nwant %x", got, c.want)
		}
	}
	both := &Signaling{TLVs: []TLV{request.TLV(), {Type: TLVOrganizationExtension, Value: capable.TLV().Value}}}
	if got, ok := both.GptpCapable(); !ok || got != capable {
		t.Errorf("%+v %v", got, ok)
	}
	if got, ok := both.GptpCapableIntervalRequest(); !ok || got != request {
		t.Errorf("%+v %v", got, ok)
	}
	if _, ok := both.IntervalRequest(); ok {
		t.Error("an interval request out of others")
	}
	short := &Signaling{TLVs: []TLV{{Type: TLVOrganizationExtensionDoNotPropagate, Value: capable.TLV().Value[:7]}}}
	if got, ok := short.GptpCapable(); !ok || got.LogInterval != -2 {
		t.Errorf("%+v %v", got, ok)
	}
}

// 11.4.3: a one-step Sync has its origin time and information in itself.
func TestOneStepSync(t *testing.T) {
	m := &Sync{TLVs: []TLV{FollowUpInformation{GmTimeBaseIndicator: 3}.TLV()}}
	m.SetOrigin(Timestamp{7, 8})
	if o, err := m.Origin(); err != nil || o != (Timestamp{7, 8}) {
		t.Errorf("%+v %v", o, err)
	}
	if i, ok := m.Information(); !ok || i.GmTimeBaseIndicator != 3 {
		t.Errorf("%+v %v", i, ok)
	}
	m.Reserved[6] = 0xff
	if _, err := m.Origin(); err == nil {
		t.Error("4 s of nanoseconds were taken")
	}
}

// Frames that are refused, and the words for it.
func TestBadMessages(t *testing.T) {
	announce := Append(nil, samples()[5].msg)
	follow := Append(nil, samples()[1].msg)
	change := func(b []byte, at int, v ...byte) []byte {
		b = bytes.Clone(b)
		copy(b[at:], v)
		return b
	}
	for _, c := range []struct {
		name string
		b    []byte
		want error
	}{
		{"empty", nil, ErrShort},
		{"half a header", announce[:33], ErrShort},
		{"version 1", change(announce, 1, 1), ErrVersion},
		{"messageLength beyond the frame", change(announce, 2, 0, 77), ErrLength},
		{"messageLength below a header", change(announce, 2, 0, 33), ErrLength},
		{"messageLength beyond Ethernet", append(change(announce, 2, 0x10, 0), make([]byte, 8192)...), ErrLength},
		{"Delay_Req is no gPTP message", change(announce, 0, 0x11), ErrType},
		{"header without a body", change(announce, 2, 0, 34), ErrShort},
		{"TLV longer than the rest", change(announce, 66, 0xff, 0xff), ErrTLV},
		{"TLV header cut", change(announce, 2, 0, 67), ErrTLV},
		{"path trace of half an identity", change(change(announce, 2, 0, 72), 66, 0, 4), ErrTLV},
		{"10^9 nanoseconds", change(follow, 40, 0x3B, 0x9A, 0xCA, 0x00), ErrTimestamp},
	} {
		var d Decoder
		if m, err := d.Decode(c.b); !errors.Is(err, c.want) || m != nil {
			t.Errorf("%s: %v, %v; want %v", c.name, m, err, c.want)
		}
	}
}

// 11.3.3 to 11.3.5: destination address, EtherType, no VLAN tag.
func TestFraming(t *testing.T) {
	f := AppendFrame(nil, macA, samples()[0].msg)
	src, payload, err := ParseFrame(f)
	if err != nil || src != macA || len(payload) != 44 {
		t.Fatalf("%v %d %v", src, len(payload), err)
	}
	tagged := append(append(bytes.Clone(f[:12]), 0x81, 0, 0xe0, 0), f[12:]...)
	other := bytes.Clone(f)
	other[5] = 0
	for _, bad := range [][]byte{nil, f[:13], tagged, other} {
		if _, _, err := ParseFrame(bad); !errors.Is(err, ErrNotGPTP) {
			t.Errorf("%x: %v", bad, err)
		}
	}
}

// 6.4.3: the time types keep what they are given.
func TestTimeTypes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ns := rapid.Int64Range(-maxSeconds*1_000_000_000, maxSeconds*1_000_000_000).Draw(t, "ns")
		if got, ok := TimestampFromNS(ns).NS(); !ok || got != ns {
			t.Fatalf("Timestamp: %d became %d, %v", ns, got, ok)
		}
		ns = rapid.Int64().Draw(t, "any ns")
		if got, ok := ScaledFromNS(ns).NS(); !ok || got != ns {
			t.Fatalf("ScaledNS: %d became %d, %v", ns, got, ok)
		}
		ppm := rapid.Float64Range(-900, 900).Draw(t, "ppm")
		if got := ScaledRateFromRatio(1 + ppm*1e-6).Ratio(); math.Abs(got-1-ppm*1e-6) > 1.0/(1<<41) {
			t.Fatalf("ScaledRate: %g ppm became %g", ppm, (got-1)*1e6)
		}
		f := rapid.Float64Range(-1e12, 1e12).Draw(t, "interval")
		if got := IntervalFromNS(f).NS(); math.Abs(got-f) > 1e-4 {
			t.Fatalf("TimeInterval: %g became %g", f, got)
		}
	})
	if _, ok := (Timestamp{Seconds: 1 << 40}).NS(); ok {
		t.Error("the year 36812 fits into int64 nanoseconds")
	}
	if _, ok := (ScaledNS{High: 1 << 20}).NS(); ok {
		t.Error("2^68 ns fit into int64")
	}
	if IntervalFromNS(math.NaN()) != 0 || IntervalFromNS(1e300) != math.MaxInt64 || IntervalFromNS(-1e300) != math.MinInt64 {
		t.Error("TimeInterval does not saturate")
	}
}

// 8.5.2.2: identities as text, both ways.
func TestClockIdentityText(t *testing.T) {
	const text = "020000.fffe.00000a"
	if clockA.String() != text {
		t.Fatal(clockA)
	}
	var c ClockIdentity
	if err := c.UnmarshalText([]byte(text)); err != nil || c != clockA {
		t.Fatalf("%v %v", c, err)
	}
	for _, bad := range []string{"", "020000fffe00000a", "020000.fffe.00000g", "02000.ffffe.00000a"} {
		if err := c.UnmarshalText([]byte(bad)); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

// The decoder and Append into a large enough buffer take nothing from the heap.
func TestNoAllocation(t *testing.T) {
	var d Decoder
	out := make([]byte, 0, MaxMessageLen)
	for _, s := range samples() {
		b := Append(nil, s.msg)
		if _, err := d.Decode(b); err != nil { // first use grows the TLV list
			t.Fatal(err)
		}
		n := testing.AllocsPerRun(100, func() {
			m, _ := d.Decode(b)
			out = Append(out[:0], m)
		})
		if n != 0 {
			t.Errorf("%s: %v allocations", s.name, n)
		}
	}
}

// What Decode accepts, Append gives back octet for octet.
func FuzzDecode(f *testing.F) {
	for _, s := range samples() {
		f.Add(Append(nil, s.msg))
	}
	f.Add([]byte{0x1b, 2, 0, 64})
	f.Fuzz(func(t *testing.T, b []byte) {
		var d Decoder
		m, err := d.Decode(b)
		if err != nil {
			return
		}
		n := binary.BigEndian.Uint16(b[2:])
		if got := Append(nil, m); !bytes.Equal(got, b[:n]) {
			t.Fatalf("%s\nin  %x\nout %x", m.Type(), b[:n], got)
		}
		switch m := m.(type) {
		case *FollowUp:
			m.Information()
		case *Announce:
			m.PathTrace(nil)
		case *Signaling:
			m.IntervalRequest()
			m.GptpCapable()
			m.GptpCapableIntervalRequest()
		case *Sync:
			if o, err := m.Origin(); err == nil {
				before := m.Reserved
				if m.SetOrigin(o); m.Reserved != before {
					t.Fatalf("origin %x became %x", before, m.Reserved)
				}
			}
			m.Information()
		}
	})
}

func BenchmarkDecodeAppend(b *testing.B) {
	in := Append(nil, samples()[5].msg)
	var d Decoder
	out := make([]byte, 0, MaxMessageLen)
	b.ReportAllocs()
	for b.Loop() {
		m, err := d.Decode(in)
		if err != nil {
			b.Fatal(err)
		}
		out = Append(out[:0], m)
	}
}
