package isispdu

import (
	"bytes"
	"fmt"
)

// TLV codes (IANA "IS-IS Top-Level TLV Codepoints").
const (
	CodeAreaAddresses   = 1
	CodePadding         = 8
	CodeLSPEntries      = 9
	CodeAuthentication  = 10
	CodePurgeOriginator = 13
	CodeLSPBufferSize   = 14
	CodeExtISReach      = 22
	CodeProtocols       = 129
	CodeIPv4Interfaces  = 132
	CodeHostname        = 137
	CodeMTPortCap       = 143
	CodeMTCapability    = 144
	CodeRestart         = 211
	CodeMTISReach       = 222
	CodeMultiTopology   = 229
	CodeIPv6Interfaces  = 232
	CodeThreeWay        = 240
	CodeGenInfo         = 251
)

// TLV is a TLV or a sub-TLV: a code, up to 255 octets of value, and one line
// of text for people.
type TLV interface {
	Code() uint8
	AppendValue(b []byte) []byte
	String() string
}

// Raw is a TLV or sub-TLV that is unknown or not laid out as its code asks.
type Raw struct {
	Type  uint8
	Value []byte
}

// Code returns the code.
func (r *Raw) Code() uint8 { return r.Type }

// AppendValue appends the value octets.
func (r *Raw) AppendValue(b []byte) []byte { return append(b, r.Value...) }

func (r *Raw) String() string { return fmt.Sprintf("code %d: %x", r.Type, r.Value) }

// parseTLVs cuts b into TLVs. one decodes a value and returns nil if it does
// not have the layout of its code.
func parseTLVs(b []byte, one func(code uint8, v []byte) TLV) ([]TLV, error) {
	var out []TLV
	for len(b) > 0 {
		if len(b) < 2 || len(b) < 2+int(b[1]) {
			return nil, fmt.Errorf("TLV %d runs past the end, %d octets left", b[0], len(b))
		}
		code, v := b[0], b[2:2+int(b[1])]
		t := one(code, v)
		if t == nil {
			t = &Raw{Type: code, Value: bytes.Clone(v)}
		}
		out = append(out, t)
		b = b[2+len(v):]
	}
	return out, nil
}

func appendTLVs(b []byte, tlvs []TLV) ([]byte, error) {
	for _, t := range tlvs {
		at := len(b)
		b = t.AppendValue(append(b, t.Code(), 0))
		n := len(b) - at - 2
		if n > 255 {
			return nil, fmt.Errorf("TLV %d: value of %d octets, at most 255", t.Code(), n)
		}
		b[at+1] = byte(n)
	}
	return b, nil
}

// appendSubTLVs is appendTLVs inside a value: a sub-TLV that is too long makes
// the enclosing value too long as well, which appendTLVs reports.
func appendSubTLVs(b []byte, tlvs []TLV) []byte {
	for _, t := range tlvs {
		at := len(b)
		b = t.AppendValue(append(b, t.Code(), 0))
		b[at+1] = byte(len(b) - at - 2)
	}
	return b
}

// TLVLen is the encoded length of a TLV or sub-TLV in octets.
func TLVLen(t TLV) int { return 2 + len(t.AppendValue(nil)) }

func parseTLV(code uint8, v []byte) TLV {
	switch code {
	case CodeAreaAddresses:
		return parseAreaAddresses(v)
	case CodePadding:
		return &Padding{Octets: bytes.Clone(v)}
	case CodeLSPEntries:
		return parseLSPEntries(v)
	case CodeAuthentication:
		return parseAuthentication(v)
	case CodePurgeOriginator:
		return parsePurgeOriginator(v)
	case CodeLSPBufferSize:
		return parseLSPBufferSize(v)
	case CodeExtISReach:
		return parseExtISReach(v)
	case CodeProtocols:
		return &Protocols{NLPIDs: bytes.Clone(v)}
	case CodeIPv4Interfaces, CodeIPv6Interfaces:
		return parseInterfaces(code, v)
	case CodeHostname:
		return &Hostname{Name: string(v)}
	case CodeMTPortCap:
		return parseMTPortCap(v)
	case CodeMTCapability:
		return parseMTCapability(v)
	case CodeRestart:
		return parseRestart(v)
	case CodeMTISReach:
		return parseMTISReach(v)
	case CodeMultiTopology:
		return parseMultiTopology(v)
	case CodeThreeWay:
		return parseThreeWay(v)
	case CodeGenInfo:
		return parseGenInfo(v)
	}
	return nil
}

// Find returns the first TLV of type T.
func Find[T TLV](tlvs []TLV) (T, bool) {
	for _, t := range tlvs {
		if v, ok := t.(T); ok {
			return v, true
		}
	}
	var zero T
	return zero, false
}

// All returns every TLV of type T in order.
func All[T TLV](tlvs []TLV) []T {
	var out []T
	for _, t := range tlvs {
		if v, ok := t.(T); ok {
			out = append(out, v)
		}
	}
	return out
}
