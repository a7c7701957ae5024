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

// RFC 6329 s14: SPB-Inst is 19+8n octets, SPBM-SI 8+4n, SPBV-ADDR 2+7n; s15:
// SPB-Metric 6; s13: SPB-MCID 102. RFC 7813 s6: bandwidth 5, timestamp 4.
func TestLengths(t *testing.T) {
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
		{&SPBDigest{Agreement: AgreementDigest{}.Append(nil)}, 33},
		{&OpaqueECT{}, 4},
		{&SPBVADDR{Addresses: make([]SPBVMAC, 2)}, 16},
		{&Hop{}, 7},
		{&Bandwidth{}, 5},
		{&Timestamp{}, 4},
		{&Authentication{Type: AuthHMACMD5, Data: make([]byte, 16)}, 17}, // RFC 5304 s2
		{&Authentication{Type: AuthCrypto, Data: make([]byte, 20)}, 23},  // RFC 5310 s3.4
		{&Authentication{Type: AuthCrypto, Data: make([]byte, 64)}, 67},
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
		{Type: CodeMTISReach, Value: []byte{1}},
		{Type: CodeMTISReach, Value: make([]byte, 12)},
		{Type: CodeMultiTopology, Value: []byte{0, 2, 0}},
		{Type: CodeAuthentication},
		{Type: CodeAuthentication, Value: []byte{AuthCrypto, 1}},
		{Type: CodePurgeOriginator, Value: make([]byte, 7)},
		{Type: CodePurgeOriginator, Value: append([]byte{3}, make([]byte, 18)...)},
		{Type: CodeLSPBufferSize, Value: []byte{1}},
		{Type: CodeRestart, Value: []byte{1, 0}},
		{Type: CodeRestart},
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

// The same for sub-TLVs: what is around them is read all the same.
func TestMalformedSubTLVIsKept(t *testing.T) {
	cap := func(sub TLV) []TLV { return []TLV{&MTCapability{SubTLVs: []TLV{sub}}} }
	subOfCap := func(tlvs []TLV) TLV { return tlvs[0].(*MTCapability).SubTLVs[0] }
	topology := func(sub TLV) []TLV { return cap(&Topology{BaseVIDs: []uint16{1}, SubTLVs: []TLV{sub}}) }
	subOfTopology := func(tlvs []TLV) TLV { return subOfCap(tlvs).(*Topology).SubTLVs[0] }
	neighbor := func(sub TLV) []TLV { return []TLV{&MTISReach{Neighbors: []ExtISNeighbor{{SubTLVs: []TLV{sub}}}}} }
	subOfNeighbor := func(tlvs []TLV) TLV { return tlvs[0].(*MTISReach).Neighbors[0].SubTLVs[0] }
	for _, c := range []struct {
		wrap func(TLV) []TLV
		get  func([]TLV) TLV
		sub  Raw
	}{
		{cap, subOfCap, Raw{Type: SubSPBInst, Value: make([]byte, 18)}},
		{cap, subOfCap, Raw{Type: SubSPBIOALG, Value: make([]byte, 3)}},
		{cap, subOfCap, Raw{Type: SubSPBMSI, Value: make([]byte, 9)}},
		{cap, subOfCap, Raw{Type: SubSPBVADDR, Value: make([]byte, 8)}},
		{cap, subOfCap, Raw{Type: SubTopology, Value: []byte{2, 0, 1}}},
		{cap, subOfCap, Raw{Type: SubTopology, Value: []byte{0, SubHop, 9}}},
		{topology, subOfTopology, Raw{Type: SubHop, Value: make([]byte, 6)}},
		{topology, subOfTopology, Raw{Type: SubHop, Value: append([]byte{HopCircuit}, make([]byte, 9)...)}},
		{topology, subOfTopology, Raw{Type: SubHop, Value: append([]byte{HopVID, 0, 0, 0, 0, 0, 0}, 2, 0, 1)}},
		{topology, subOfTopology, Raw{Type: SubHop, Value: make([]byte, 12)}},
		{topology, subOfTopology, Raw{Type: SubBandwidthConstraint, Value: make([]byte, 4)}},
		{topology, subOfTopology, Raw{Type: SubTimestamp, Value: make([]byte, 5)}},
		{neighbor, subOfNeighbor, Raw{Type: SubSPBAOALG, Value: make([]byte, 3)}},
	} {
		b := encode(t, &LSP{TLVs: c.wrap(&c.sub)})
		p, err := Parse(b)
		if err != nil {
			t.Fatalf("%s: %v", c.sub.String(), err)
		}
		if r, ok := c.get(p.(*LSP).TLVs).(*Raw); !ok || !bytes.Equal(r.Value, c.sub.Value) {
			t.Errorf("%s came back as %s", c.sub.String(), p.(*LSP).TLVs[0])
		}
		if got := encode(t, p); !bytes.Equal(got, b) {
			t.Errorf("%s:\n in %x\nout %x", c.sub.String(), b, got)
		}
	}
}

// Damage to the PDU's own structure is an error.
func TestParseErrors(t *testing.T) {
	good := encode(t, sampleLSP())
	for name, damage := range map[string]func([]byte) []byte{
		"empty":         func([]byte) []byte { return nil },
		"discriminator": func(b []byte) []byte { b[0] = 0x82; return b },
		"version":       func(b []byte) []byte { b[2] = 2; return b },
		"id length":     func(b []byte) []byte { b[3] = 8; return b },
		"header length": func(b []byte) []byte { b[1] = 20; return b },
		"truncated":     func(b []byte) []byte { return b[:len(b)-1] },
		"length field":  func(b []byte) []byte { b[9] = 5; b[8] = 0; return b },
		"tlv overrun":   func(b []byte) []byte { b[28] = 255; b[9] = 100; b[8] = 0; return b },
	} {
		if p, err := Parse(damage(bytes.Clone(good))); err == nil || p != nil {
			t.Errorf("%s: %v, %v", name, p, err)
		}
	}
	none := bytes.Clone(good)
	none[4] = 21
	var u ErrUnsupported
	if _, err := Parse(none); !errors.As(err, &u) || u.Type != 21 {
		t.Errorf("type 21: %v", err)
	}
}

// ISO/IEC 10589 8.2: a system whose own maximum is 3 need not look at Maximum
// Area Addresses. Real SPB bridges send 1.
func TestMaximumAreaAddresses(t *testing.T) {
	p := sampleIIH()
	p.MaximumAreaAddresses = 1
	q, err := Parse(encode(t, p))
	if err != nil || q.(*IIH).MaximumAreaAddresses != 1 {
		t.Errorf("%v, %v", q, err)
	}
}

// Fixed fields of another length than the type's are refused, as is a type
// that IS-IS does not have.
func TestOtherAppend(t *testing.T) {
	for _, p := range []*Other{{Kind: TypeL2LSP, Fixed: make([]byte, 18)}, {Kind: 21}} {
		if _, err := p.Append(nil); err == nil {
			t.Errorf("type %d with %d octets: no error", p.Kind, len(p.Fixed))
		}
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

// RFC 5304 s2: lifetime and checksum are zero for the digest, and nothing else.
func TestClearForDigest(t *testing.T) {
	l := sampleLSP()
	b, err := l.Seal()
	if err != nil {
		t.Fatal(err)
	}
	l.RemainingLifetime, l.Checksum = 0, 0
	if ClearForDigest(b); !bytes.Equal(b, encode(t, l)) {
		t.Errorf("got  %x\nwant %x", b, encode(t, l))
	}
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
	for _, file := range []string{"spb.pcap", "isis_iid_tlv.pcap", "isis_sid.pcap", "isis_poi2.pcap"} {
		for _, b := range capturePDUs(f, file) {
			f.Add(b)
		}
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
		AuthenticationData(got)
		if q, ok := p.(*LSP); ok {
			for _, tlv := range q.TLVs {
				_ = tlv.String()
			}
			PurgeAllowed(q.TLVs)
			ChecksumOK(got)
		}
	})
}

// Each TLV and sub-TLV on its own: what is read has its code, and its value comes
// back octet for octet; whatever is not read would be kept as Raw.
func FuzzTLV(f *testing.F) {
	families := []func(code uint8, v []byte) TLV{parseTLV, parseMTPortCapSub, parseMTCapabilitySub, parseISReachSub, parseTopologySub}
	var add func(family byte, tlvs []TLV)
	add = func(family byte, tlvs []TLV) {
		for _, t := range tlvs {
			f.Add(family, t.Code(), t.AppendValue(nil))
			switch t := t.(type) {
			case *MTPortCap:
				add(1, t.SubTLVs)
			case *MTCapability:
				add(2, t.SubTLVs)
			case *ExtISReach:
				add(3, t.Neighbors[0].SubTLVs)
			case *MTISReach:
				add(3, t.Neighbors[0].SubTLVs)
			case *Topology:
				add(4, t.SubTLVs)
			}
		}
	}
	for _, p := range samples() {
		add(0, tlvsOf(p))
	}
	f.Fuzz(func(t *testing.T, family, code uint8, v []byte) {
		if len(v) > 255 {
			v = v[:255]
		}
		before := bytes.Clone(v)
		tlv := families[int(family)%len(families)](code, v)
		if tlv == nil {
			return
		}
		clear(v) // nothing is shared
		if tlv.Code() != code || !bytes.Equal(tlv.AppendValue(nil), before) {
			t.Fatalf("code %d %x came back as %d %x", code, before, tlv.Code(), tlv.AppendValue(nil))
		}
		if tlv.String() == "" {
			t.Fatalf("%T has no text", tlv)
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
		sampleLSP().TLVs[9], sampleForeign().TLVs[1], sampleForeign().TLVs[0], sampleLSP().TLVs[10], sampleLSP().TLVs[11],
		&Authentication{Type: AuthCleartext, Data: []byte("hidden")}, &Authentication{Type: AuthCrypto, KeyID: 9, Data: make([]byte, 20)},
		&Authentication{Type: AuthHMACMD5, Data: make([]byte, 16)}, &Authentication{Type: 255, Data: []byte("hidden")},
		samplePurge().TLVs[1], sampleIIH().TLVs[7],
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
		"mt 2 is-reach 0200.0000.0002.00 metric 10 (spb-metric 10 ports 1 port 1) (opaque ect 00-80-c2-17 0102)",
		"mt-capability (spbv-addr vid 300 sr 1 01:00:5e:00:00:01 flags c0) (opaque ect 00-80-c2-17 03)",
		"mt-capability (topology vids 100 (hop 02:00:00:00:00:01 flags b0 circuit 1) (hop 02:00:00:00:00:02 flags 68 vid 100 delay 50 us) " +
			"(bandwidth constraint class 68 1.25e+07 octets/s) (bandwidth assignment class 6e 1.25e+07 octets/s) (timestamp 1700000000))",
		"lsp-buffer-size 1492",
		"topologies 0 2",
		"authentication cleartext",
		"authentication key 9, 20 octets",
		"authentication hmac-md5",
		"authentication type 255, 6 octets",
		"purged by [02:00:00:00:00:02 02:00:00:00:00:01]",
		"restart RA remaining 25 s neighbour 02:00:00:00:00:02",
		"lsp-entries 2",
		"code 200: ab",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

// RFC 6329 s13.2: the bits of SPB-Digest, and the 32 octets behind them.
func TestDigestFields(t *testing.T) {
	d := &SPBDigest{Flags: DigestValid | 2<<2 | 3, Agreement: make([]byte, 31)}
	if !d.Valid() || d.AgreementNumber() != 2 || d.DiscardedAgreementNumber() != 3 {
		t.Errorf("V %t A %d D %d", d.Valid(), d.AgreementNumber(), d.DiscardedAgreementNumber())
	}
	if _, ok := d.AgreementDigest(); ok {
		t.Error("31 octets were read")
	}
	want := AgreementDigest{Convention: 0x20, EdgeCount: 0x18, Reserved: [8]byte{7: 1}, Sum: [20]byte{3: 0xa, 4: 0x0b}}
	d.Agreement = want.Append(nil)
	if got, ok := d.AgreementDigest(); !ok || got != want {
		t.Errorf("%+v, %t", got, ok)
	}
}

// RFC 7813 s6.2 h: the delay of a hop is there only as the sub-TLV of RFC 7810.
func TestHopDelay(t *testing.T) {
	for _, c := range []struct {
		hop  Hop
		want uint32
		ok   bool
	}{
		{Hop{HasDelay: true, Delay: [6]byte{33, 4, 0, 0, 1, 2}}, 258, true},
		{Hop{HasDelay: true, Delay: [6]byte{34, 4, 0, 0, 1, 2}}, 0, false},
		{Hop{}, 0, false},
	} {
		if got, ok := c.hop.DelayMicroseconds(); got != c.want || ok != c.ok {
			t.Errorf("%v: %d %t", c.hop.Delay, got, ok)
		}
	}
}

// RFC 6233 s3: a purge holds what the registry lists for purges, and codes
// that it does not list only beside a purge originator.
func TestPurgeAllowed(t *testing.T) {
	auth, name, poi := &Authentication{Type: AuthHMACMD5}, &Hostname{Name: "b"}, &PurgeOriginator{Systems: []tsn.MAC{sysA}}
	unlisted := &Raw{Type: 200}
	for _, c := range []struct {
		tlvs []TLV
		want bool
	}{
		{nil, true},
		{[]TLV{auth}, true},
		{[]TLV{auth, poi, name}, true},
		{[]TLV{auth, name}, true},
		{[]TLV{auth, poi, unlisted}, true},
		{[]TLV{auth, unlisted}, false},
		{[]TLV{auth, poi, &ExtISReach{}}, false},
		{[]TLV{area}, false},
		{[]TLV{&Raw{Type: CodeExtISReach}}, false},
	} {
		if got := PurgeAllowed(c.tlvs); got != c.want {
			t.Errorf("%v: %t", c.tlvs, got)
		}
	}
}

// Where the digest of TLV 10 stands, wherever the TLV stands; and not at all
// if there is any doubt.
func TestAuthenticationData(t *testing.T) {
	data := []byte{1, 2, 3, 4}
	md5 := &Authentication{Type: AuthHMACMD5, Data: data}
	sha := &Authentication{Type: AuthCrypto, KeyID: 5, Data: data}
	for _, tlvs := range [][]TLV{{md5}, {area, sha}, {area, md5, v4}} {
		b := encode(t, &PSNP{TLVs: tlvs})
		if from, to, ok := AuthenticationData(append(b, 9)); !ok || !bytes.Equal(b[from:to], data) {
			t.Errorf("%v: %d..%d %t", tlvs, from, to, ok)
		}
	}
	for _, tlvs := range [][]TLV{nil, {area}, {md5, sha}, {md5, area, md5, sha}, {&Raw{Type: CodeAuthentication}}, {md5, &Raw{Type: CodeAuthentication}}} {
		if _, _, ok := AuthenticationData(encode(t, &PSNP{TLVs: tlvs})); ok {
			t.Errorf("%v: found", tlvs)
		}
	}
}
