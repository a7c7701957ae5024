package ptpmsg

import (
	"bytes"
	"encoding/binary"
)

// TLVType is the tlvType of the common TLV header (14.1 of IEEE Std 1588-2019).
type TLVType uint16

// The types that gPTP defines a meaning for.
const (
	TLVOrganizationExtension               TLVType = 0x0003
	TLVPathTrace                           TLVType = 0x0008
	TLVOrganizationExtensionDoNotPropagate TLVType = 0x8000
)

// Forwardable reports whether who does not know the type passes the TLV on with
// the message it came with (table 52 of IEEE Std 1588-2019).
func (t TLVType) Forwardable() bool { return t >= 0x4000 && t < 0x8000 }

// orgIEEE8021 is the organizationId of IEEE 802.1 TLVs.
var orgIEEE8021 = [3]byte{0x00, 0x80, 0xC2}

// TLV is one element of a message's suffix, uninterpreted.
type TLV struct {
	Type  TLVType
	Value []byte
}

// parseTLVs reads TLVs to the end of b into dst. The count is bounded by
// MaxMessageLen, for a TLV has at least four octets.
func parseTLVs(dst []TLV, b []byte) ([]TLV, error) {
	for len(b) > 0 {
		if len(b) < 4 {
			return dst, ErrTLV
		}
		n := int(binary.BigEndian.Uint16(b[2:]))
		if n > len(b)-4 {
			return dst, ErrTLV
		}
		dst = append(dst, TLV{Type: TLVType(binary.BigEndian.Uint16(b)), Value: b[4 : 4+n]})
		b = b[4+n:]
	}
	return dst, nil
}

func appendTLVs(b []byte, tlvs []TLV) []byte {
	for _, t := range tlvs {
		b = binary.BigEndian.AppendUint16(b, uint16(t.Type))
		b = binary.BigEndian.AppendUint16(b, uint16(len(t.Value)))
		b = append(b, t.Value...)
	}
	return b
}

// findOrg returns what follows organizationId and organizationSubType in the
// first IEEE 802.1 TLV of that type and subtype with at least n such octets.
func findOrg(tlvs []TLV, t TLVType, subType uint8, n int) ([]byte, bool) {
	for _, v := range tlvs {
		if v.Type == t && len(v.Value) >= 6+n && bytes.Equal(v.Value[:3], orgIEEE8021[:]) &&
			v.Value[3] == 0 && v.Value[4] == 0 && v.Value[5] == subType {
			return v.Value[6:], true
		}
	}
	return nil, false
}

// orgValue starts the value of an IEEE 802.1 TLV.
func orgValue(subType uint8, capacity int) []byte {
	return append(append(make([]byte, 0, 6+capacity), orgIEEE8021[:]...), 0, 0, subType)
}

// parseSuffix reads a message's TLVs into the decoder's storage.
func (d *Decoder) parseSuffix(b []byte) ([]TLV, error) {
	if len(b) == 0 {
		return nil, nil
	}
	var err error
	d.tlvs, err = parseTLVs(d.tlvs[:0], b)
	return d.tlvs, err
}
