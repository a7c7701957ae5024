package isispdu

import (
	"encoding/binary"
	"fmt"
)

// Type is the PDU type of the common header.
type Type uint8

// The types of ISO/IEC 10589 9.5 to 9.13. SPB on point-to-point links at level
// 1 needs four of them; the others decode as *Other.
const (
	TypeL1LANIIH Type = 15
	TypeL2LANIIH Type = 16
	TypeP2PIIH   Type = 17
	TypeL1LSP    Type = 18
	TypeL2LSP    Type = 20
	TypeL1CSNP   Type = 24
	TypeL2CSNP   Type = 25
	TypeL1PSNP   Type = 26
	TypeL2PSNP   Type = 27
)

// Header lengths in octets, up to the first TLV.
const (
	lanHeaderLen  = 27
	iihHeaderLen  = 20
	lspHeaderLen  = 27
	csnpHeaderLen = 33
	psnpHeaderLen = 17
	commonLen     = 8
)

var headerLen = map[Type]int{
	TypeP2PIIH: iihHeaderLen, TypeL1LANIIH: lanHeaderLen, TypeL2LANIIH: lanHeaderLen,
	TypeL1LSP: lspHeaderLen, TypeL2LSP: lspHeaderLen, TypeL1CSNP: csnpHeaderLen, TypeL2CSNP: csnpHeaderLen,
	TypeL1PSNP: psnpHeaderLen, TypeL2PSNP: psnpHeaderLen,
}

const (
	protocolDiscriminator = 0x83
	version               = 1
)

// Header holds the octets of the common header that may vary. The zero value
// is what a system sends: 6-octet identifiers and 3 area addresses.
type Header struct {
	IDLength             uint8 // 0 or 6, both mean 6
	TypeReserved         uint8 // upper 3 bits of the type octet
	Reserved             uint8
	MaximumAreaAddresses uint8 // 0 means 3
}

// PDU is one of *IIH, *LSP, *CSNP, *PSNP and *Other.
type PDU interface {
	Type() Type
	// Append appends the encoded PDU. It fails if a TLV value is longer than
	// 255 octets or the PDU does not fit its length field.
	Append(b []byte) ([]byte, error)
}

func (h Header) append(b []byte, t Type) []byte {
	return append(b, protocolDiscriminator, byte(headerLen[t]), version, h.IDLength,
		h.TypeReserved|byte(t), version, h.Reserved, h.MaximumAreaAddresses)
}

// ErrUnsupported is the error for a PDU of a type that IS-IS does not have.
type ErrUnsupported struct{ Type Type }

func (e ErrUnsupported) Error() string { return fmt.Sprintf("PDU type %d is not one of IS-IS", e.Type) }

// Parse decodes one PDU. Octets after the PDU's own length are ignored (the
// caller can cut with Length). The result does not share memory with b.
func Parse(b []byte) (PDU, error) {
	h, t, err := parseHeader(b)
	if err != nil {
		return nil, err
	}
	p, err := parseBody(h, t, b[:Length(b)])
	if err != nil {
		return nil, err // not a nil pointer in an interface
	}
	return p, nil
}

func parseBody(h Header, t Type, b []byte) (PDU, error) {
	switch t {
	case TypeP2PIIH:
		return parseIIH(h, b)
	case TypeL1LSP:
		return parseLSP(h, b)
	case TypeL1CSNP:
		return parseCSNP(h, b)
	case TypeL1PSNP:
		return parsePSNP(h, b)
	}
	return parseOther(h, t, b)
}

// Length returns the PDU's length field; b must have passed Parse.
func Length(b []byte) int { return int(binary.BigEndian.Uint16(b[lengthAt(Type(b[4]&0x1f)):])) }

// lengthAt is where the PDU Length field is.
func lengthAt(t Type) int {
	if t == TypeP2PIIH || t == TypeL1LANIIH || t == TypeL2LANIIH {
		return commonLen + 1 + 6 + 2
	}
	return commonLen
}

func parseHeader(b []byte) (h Header, t Type, err error) {
	if len(b) < commonLen {
		return h, 0, fmt.Errorf("PDU of %d octets has no common header", len(b))
	}
	if b[0] != protocolDiscriminator || b[2] != version || b[5] != version {
		return h, 0, fmt.Errorf("discriminator %#02x, versions %d and %d: not IS-IS version 1", b[0], b[2], b[5])
	}
	h = Header{IDLength: b[3], TypeReserved: b[4] & 0xe0, Reserved: b[6], MaximumAreaAddresses: b[7]}
	if h.IDLength != 0 && h.IDLength != 6 {
		return h, 0, fmt.Errorf("system identifiers of %d octets: this region uses 6", h.IDLength)
	}
	// MaximumAreaAddresses is not looked at: ISO/IEC 10589 8.2 lets a system
	// whose own value is always 3 omit that check, and real SPB bridges send 1.
	t = Type(b[4] & 0x1f)
	want, known := headerLen[t]
	if !known {
		return h, t, ErrUnsupported{t}
	}
	if int(b[1]) != want || len(b) < want {
		return h, t, fmt.Errorf("PDU type %d: header length %d in %d octets, want %d", t, b[1], len(b), want)
	}
	if n := Length(b); n < want || n > len(b) {
		return h, t, fmt.Errorf("PDU type %d: length field %d in %d octets", t, n, len(b))
	}
	return h, t, nil
}

// finish appends the TLVs and fills in the PDU length; start is where the PDU
// began in b.
func finish(b []byte, start int, t Type, tlvs []TLV) ([]byte, error) {
	b, err := appendTLVs(b, tlvs)
	if err != nil {
		return nil, fmt.Errorf("PDU type %d: %w", t, err)
	}
	n := len(b) - start
	if n > 0xffff {
		return nil, fmt.Errorf("PDU type %d: %d octets do not fit the length field", t, n)
	}
	binary.BigEndian.PutUint16(b[start+lengthAt(t):], uint16(n))
	return b, nil
}
