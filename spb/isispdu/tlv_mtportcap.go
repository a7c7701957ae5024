package isispdu

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"

	tsn "tsnswitch"
)

// Sub-TLV codes of MT-Port-Cap (RFC 6329 s13; the drawing of SPB-B-VID says
// 68, text and registry say 6).
const (
	SubSPBMCID   = 4
	SubSPBDigest = 5
	SubSPBBVID   = 6
)

// MTPortCap is TLV 143 of a hello.
type MTPortCap struct {
	MT      uint16 // reserved (4 bits), MTID (12)
	SubTLVs []TLV
}

// Code returns 143.
func (*MTPortCap) Code() uint8 { return CodeMTPortCap }

// AppendValue appends the value octets.
func (t *MTPortCap) AppendValue(b []byte) []byte {
	return appendSubTLVs(binary.BigEndian.AppendUint16(b, t.MT), t.SubTLVs)
}

func (t *MTPortCap) String() string { return "mt-port-cap" + joinSub(t.SubTLVs) }

func joinSub(subs []TLV) string {
	var s strings.Builder
	for _, u := range subs {
		s.WriteString(" (" + u.String() + ")")
	}
	return s.String()
}

func parseMTPortCap(v []byte) TLV {
	if len(v) < 2 {
		return nil
	}
	t := &MTPortCap{MT: binary.BigEndian.Uint16(v)}
	var err error
	if t.SubTLVs, err = parseTLVs(v[2:], parseMTPortCapSub); err != nil {
		return nil
	}
	return t
}

func parseMTPortCapSub(code uint8, v []byte) TLV {
	switch {
	case code == SubSPBMCID && len(v) == 2*len(MCID{}):
		return &SPBMCID{MCID: MCID(v[:51]), AuxMCID: MCID(v[51:])}
	case code == SubSPBDigest && len(v) >= 1:
		return &SPBDigest{Flags: v[0], Agreement: bytes.Clone(v[1:])}
	case code == SubSPBBVID && len(v)%6 == 0:
		return parseSPBBVID(v)
	}
	return nil
}

// MCID is an MST configuration identifier (802.1Q 13.8): format 1, name 32,
// revision 2, digest 16.
type MCID [51]byte

// SPBMCID is sub-TLV 4.
type SPBMCID struct{ MCID, AuxMCID MCID }

// Code returns 4.
func (*SPBMCID) Code() uint8 { return SubSPBMCID }

// AppendValue appends the value octets.
func (t *SPBMCID) AppendValue(b []byte) []byte {
	return append(append(b, t.MCID[:]...), t.AuxMCID[:]...)
}

func (t *SPBMCID) String() string { return fmt.Sprintf("mcid %x aux %x", t.MCID[35:], t.AuxMCID[35:]) }

// DigestValid in SPBDigest.Flags: V, the digest is one to agree on.
const DigestValid = 0x10

// SPBDigest is sub-TLV 5: Res(3) V(1) A(2) D(2), then the agreement digest.
type SPBDigest struct {
	Flags     uint8
	Agreement []byte
}

// Code returns 5.
func (*SPBDigest) Code() uint8 { return SubSPBDigest }

// AppendValue appends the value octets.
func (t *SPBDigest) AppendValue(b []byte) []byte { return append(append(b, t.Flags), t.Agreement...) }

// Valid returns V.
func (t *SPBDigest) Valid() bool { return t.Flags&DigestValid != 0 }

// AgreementNumber returns A, 0..3.
func (t *SPBDigest) AgreementNumber() uint8 { return t.Flags >> 2 & 3 }

// DiscardedAgreementNumber returns D, 0..3.
func (t *SPBDigest) DiscardedAgreementNumber() uint8 { return t.Flags & 3 }

// AgreementDigest is the layout of the agreement digest that bridges send: 32
// octets (802.1Q 28.4; seen in captures).
type AgreementDigest struct {
	Format     uint8 // identifier and capabilities
	Convention uint8 // identifier and capabilities
	EdgeCount  uint16
	Reserved   [8]byte
	Sum        [20]byte // of the MD5 digests of all edges, as numbers
}

// AgreementDigest reads the fields; false if the digest has another length.
func (t *SPBDigest) AgreementDigest() (AgreementDigest, bool) {
	b := t.Agreement
	if len(b) != 32 {
		return AgreementDigest{}, false
	}
	return AgreementDigest{
		Format: b[0], Convention: b[1], EdgeCount: binary.BigEndian.Uint16(b[2:]),
		Reserved: [8]byte(b[4:12]), Sum: [20]byte(b[12:32]),
	}, true
}

// Append appends the 32 octets.
func (d AgreementDigest) Append(b []byte) []byte {
	b = binary.BigEndian.AppendUint16(append(b, d.Format, d.Convention), d.EdgeCount)
	return append(append(b, d.Reserved[:]...), d.Sum[:]...)
}

func (t *SPBDigest) String() string { return fmt.Sprintf("digest %02x %x", t.Flags, t.Agreement) }

// ECT is an equal cost tree algorithm, 00-80-C2-01 to -10 for the sixteen
// masks of RFC 6329 s12.
type ECT uint32

// ECTAlgorithm returns the identifier of algorithm k.
func ECTAlgorithm(k uint8) ECT { return 0x0080c200 | ECT(k) }

// String prints 00-80-c2-01.
func (e ECT) String() string {
	return fmt.Sprintf("%02x-%02x-%02x-%02x", byte(e>>24), byte(e>>16), byte(e>>8), byte(e))
}

// BVIDTuple is one line of SPB-B-VID.
type BVIDTuple struct {
	ECT  ECT
	Word uint16 // BaseVID (12 bits), U, M, reserved (2)
}

// MakeBVIDTuple says that algorithm e runs on vid; use (U) means that some
// service uses it. M (SPBM) is set: this switch has no SPBV.
func MakeBVIDTuple(e ECT, vid tsn.VID, use bool) BVIDTuple {
	w := uint16(vid)<<4 | 1<<2
	if use {
		w |= 1 << 3
	}
	return BVIDTuple{ECT: e, Word: w}
}

// BaseVID returns the VID.
func (t BVIDTuple) BaseVID() tsn.VID { return tsn.VID(t.Word >> 4) }

// SPBBVID is sub-TLV 6: which ECT algorithm runs on which Base VID.
type SPBBVID struct{ Tuples []BVIDTuple }

// Code returns 6.
func (*SPBBVID) Code() uint8 { return SubSPBBVID }

// AppendValue appends the value octets.
func (t *SPBBVID) AppendValue(b []byte) []byte {
	for _, u := range t.Tuples {
		b = binary.BigEndian.AppendUint32(b, uint32(u.ECT))
		b = binary.BigEndian.AppendUint16(b, u.Word)
	}
	return b
}

func (t *SPBBVID) String() string {
	s := "b-vid"
	for _, u := range t.Tuples {
		s += fmt.Sprintf(" %d ect %s", u.BaseVID(), u.ECT)
	}
	return s
}

func parseSPBBVID(v []byte) TLV {
	t := &SPBBVID{}
	for ; len(v) > 0; v = v[6:] {
		t.Tuples = append(t.Tuples, BVIDTuple{ECT: ECT(binary.BigEndian.Uint32(v)), Word: binary.BigEndian.Uint16(v[4:])})
	}
	return t
}
