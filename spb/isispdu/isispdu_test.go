package isispdu

import (
	"bytes"
	"encoding/hex"
	"errors"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	tsn "tsnswitch"
)

func encode(t testing.TB, p PDU) []byte {
	t.Helper()
	b, err := p.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Every sample survives encode and decode, and encodes to the same octets.
func TestRoundTrip(t *testing.T) {
	for _, p := range samples() {
		b := encode(t, p)
		q, err := Parse(append(b, 0, 0, 0)) // padding of a short frame
		if err != nil {
			t.Fatalf("type %d: %v", p.Type(), err)
		}
		if d := cmp.Diff(p, q, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); d != "" {
			t.Errorf("type %d:\n%s", p.Type(), d)
		}
		if got := encode(t, q); !bytes.Equal(got, b) {
			t.Errorf("type %d:\n in %x\nout %x", p.Type(), b, got)
		}
	}
}

// ISO/IEC 10589 9.7 and RFC 5303 s3.1, octet by octet.
func TestIIHLayout(t *testing.T) {
	p := &IIH{
		CircuitType: 1, SourceID: sysA, HoldingTime: 3, LocalCircuitID: 9,
		TLVs: []TLV{&ThreeWay{State: Up, Fields: 3, ExtendedLocalCircuitID: 9, NeighborSystemID: sysB, NeighborCircuitID: 4}},
	}
	want := "8314010011010000" + "01" + "020000000001" + "0003" + "0025" + "09" +
		"f00f" + "00" + "00000009" + "020000000002" + "00000004"
	if got := hex.EncodeToString(encode(t, p)); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// RFC 6329 s14: SPB-Inst is 19+8n octets, SPBM-SI 8+4n, SPB-Metric 6; s13: SPB-MCID 102.
func TestSPBLengths(t *testing.T) {
	for _, c := range []struct {
		tlv  TLV
		want int
	}{
		{&SPBInst{Trees: make([]SPBTree, 2)}, 35},
		{&SPBMSI{Services: make([]uint32, 3)}, 20},
		{&SPBMetric{}, 6},
		{&SPBMCID{}, 102},
		{&SPBBVID{Tuples: make([]BVIDTuple, 2)}, 12},
		{&LinkIDs{}, 8},
	} {
		if got := TLVLen(c.tlv) - 2; got != c.want {
			t.Errorf("%T: %d octets, want %d", c.tlv, got, c.want)
		}
	}
}

// A TLV that does not have its layout is kept as it came, not refused.
func TestMalformedTLVIsKept(t *testing.T) {
	for _, v := range []Raw{
		{Type: CodeThreeWay, Value: []byte{0, 1}},
		{Type: CodeThreeWay, Value: []byte{3}},
		{Type: CodeIPv4Interfaces, Value: []byte{10, 0, 0}},
		{Type: CodeAreaAddresses, Value: []byte{5, 1}},
		{Type: CodeLSPEntries, Value: make([]byte, 15)},
		{Type: CodeExtISReach, Value: make([]byte, 10)},
		{Type: CodeMTPortCap, Value: []byte{0}},
		{Type: CodeMTCapability, Value: []byte{0, 0, 1, 9}},
		{Type: CodeGenInfo, Value: []byte{GenInfoV4, 0, 1, 10}},
		{Type: 222, Value: []byte{1}},
	} {
		b := encode(t, &IIH{TLVs: []TLV{&v}})
		p, err := Parse(b)
		if err != nil {
			t.Fatalf("%s: %v", v.String(), err)
		}
		if r, ok := p.(*IIH).TLVs[0].(*Raw); !ok || !bytes.Equal(r.Value, v.Value) {
			t.Errorf("%s came back as %T %s", v.String(), p.(*IIH).TLVs[0], p.(*IIH).TLVs[0])
		}
	}
}

// Damage to the PDU's own structure is an error.
func TestParseErrors(t *testing.T) {
	good := encode(t, sampleLSP())
	for name, damage := range map[string]func([]byte) []byte{
		"empty":          func([]byte) []byte { return nil },
		"discriminator":  func(b []byte) []byte { b[0] = 0x82; return b },
		"version":        func(b []byte) []byte { b[2] = 2; return b },
		"id length":      func(b []byte) []byte { b[3] = 8; return b },
		"area addresses": func(b []byte) []byte { b[7] = 4; return b },
		"header length":  func(b []byte) []byte { b[1] = 20; return b },
		"truncated":      func(b []byte) []byte { return b[:len(b)-1] },
		"length field":   func(b []byte) []byte { b[9] = 5; b[8] = 0; return b },
		"tlv overrun":    func(b []byte) []byte { b[28] = 255; b[9] = 100; b[8] = 0; return b },
	} {
		if _, err := Parse(damage(bytes.Clone(good))); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	lan := bytes.Clone(good)
	lan[4] = 15
	var u ErrUnsupported
	if _, err := Parse(lan); !errors.As(err, &u) || u.Type != 15 {
		t.Errorf("LAN hello: %v", err)
	}
}

// A value that does not fit is refused, never cut.
func TestAppendTooLong(t *testing.T) {
	for _, tlv := range []TLV{
		&Padding{Octets: make([]byte, 256)},
		&MTCapability{SubTLVs: []TLV{&Raw{Type: 9, Value: make([]byte, 300)}}},
	} {
		if _, err := (&IIH{TLVs: []TLV{tlv}}).Append(nil); err == nil {
			t.Errorf("%s: no error", tlv)
		}
	}
}

// ISO/IEC 10589 7.3.11: the checksum verifies, and any single changed octet
// after the lifetime is noticed unless it swaps 0x00 and 0xff.
func TestChecksum(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := sampleLSP()
		p.TLVs = append(p.TLVs, &Raw{Type: 200, Value: rapid.SliceOfN(rapid.Byte(), 0, 255).Draw(t, "value")})
		b, err := p.Seal()
		if err != nil {
			t.Fatal(err)
		}
		if !ChecksumOK(b) {
			t.Fatal("own checksum is wrong")
		}
		SetRemainingLifetime(b, rapid.Uint16().Draw(t, "lifetime"))
		if !ChecksumOK(b) {
			t.Fatal("lifetime is covered")
		}
		i := rapid.IntRange(lspSumFrom, len(b)-1).Draw(t, "at")
		old := b[i]
		b[i] = rapid.Byte().Draw(t, "octet")
		if same := b[i] == old || int(b[i])%255 == int(old)%255; !same && ChecksumOK(b) {
			t.Fatal("damage not noticed")
		}
	})
}

func TestFrame(t *testing.T) {
	pdu := encode(t, samplePSNP())
	f := AppendFrame(nil, AllISs, sysA, pdu)
	dst, src, got, err := ParseFrame(append(f, 0, 0))
	if err != nil || dst != AllISs || src != sysA || !bytes.Equal(got, pdu) {
		t.Errorf("%v %v %x %v", dst, src, got, err)
	}
	for name, damage := range map[string]func([]byte) []byte{
		"ethernet II": func(b []byte) []byte { b[12] = 8; return b },
		"other LLC":   func(b []byte) []byte { b[14] = 0x42; return b },
		"short":       func(b []byte) []byte { return b[:16] },
	} {
		if _, _, _, err := ParseFrame(damage(bytes.Clone(f))); !errors.Is(err, ErrNotISIS) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, _, _, err := ParseFrame(f[:len(f)-1]); err == nil || errors.Is(err, ErrNotISIS) {
		t.Errorf("truncated frame: %v", err)
	}
}

func TestIDs(t *testing.T) {
	id := MakeLSPID(tsn.MAC{2, 0, 0, 0, 0, 0x1f}, 3)
	if id.String() != "0200.0000.001f.00-03" || id.System()[5] != 0x1f || id.Fragment() != 3 {
		t.Error(id)
	}
}

// Decode then encode is the identity on everything that decodes.
func FuzzParse(f *testing.F) {
	for _, p := range samples() {
		f.Add(encode(f, p))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := Parse(b)
		if err != nil {
			return
		}
		got, err := p.Append(nil)
		if err != nil {
			t.Fatalf("decoded PDU does not encode: %v", err)
		}
		if want := b[:Length(b)]; !bytes.Equal(got, want) {
			t.Fatalf("\n in %x\nout %x", want, got)
		}
		if q, ok := p.(*LSP); ok {
			for _, tlv := range q.TLVs {
				_ = tlv.String()
			}
			ChecksumOK(got)
		}
	})
}

func FuzzParseFrame(f *testing.F) {
	f.Add(AppendFrame(nil, AllISs, sysA, []byte{1, 2, 3}))
	f.Fuzz(func(t *testing.T, b []byte) {
		dst, src, pdu, err := ParseFrame(b)
		if err != nil {
			return
		}
		if got := AppendFrame(nil, dst, src, pdu); !bytes.Equal(got, b[:len(got)]) {
			t.Fatalf("\n in %x\nout %x", b, got)
		}
	})
}

// The one-line texts that people read in the database.
func TestStrings(t *testing.T) {
	var got []string
	for _, p := range []TLV{
		sampleIIH().TLVs[4], sampleIIH().TLVs[6], sampleLSP().TLVs[2], sampleLSP().TLVs[5], sampleLSP().TLVs[6], sampleLSP().TLVs[7],
		&MTPortCap{SubTLVs: []TLV{&SPBDigest{Flags: 0x10, Agreement: []byte{1}}, &SPBBVID{Tuples: []BVIDTuple{MakeBVIDTuple(ECTAlgorithm(16), 7, false)}}}},
		sampleEntries(), &Raw{Type: 200, Value: []byte{0xab}},
	} {
		got = append(got, p.String())
	}
	want := []string{
		"three-way Initializing circuit 1 neighbour 02:00:00:00:00:02 circuit 2",
		"padding 100",
		"addresses 10.0.0.1",
		"mt-capability (spb-inst priority 8000 spsource 00001 vid 100 ect 00-80-c2-01 vid 101 ect 00-80-c2-02)",
		"is-reach 0200.0000.0002.00 metric 20000 (link-ids 1 2) (spb-metric 20000 ports 1 port 1)",
		"mt-capability (spbm-si 02:00:00:00:01:01 vid 100) (spbm-si 02:00:00:00:00:01 vid 100 isid 000001 flags c0)",
		"mt-port-cap (digest 10 01) (b-vid 7 ect 00-80-c2-10)",
		"lsp-entries 2",
		"code 200: ab",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}
