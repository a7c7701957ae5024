package isispdu

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"strings"
)

// NLPIDSPB says in TLV 129 that the sender takes part in SPB (RFC 6329 s13).
const NLPIDSPB = 0xc1

// NLPIDIPv4 says the same of IPv4 (RFC 1195).
const NLPIDIPv4 = 0xcc

// AreaAddresses is TLV 1 (ISO/IEC 10589 9.8).
type AreaAddresses struct{ Areas [][]byte }

// Code returns 1.
func (*AreaAddresses) Code() uint8 { return CodeAreaAddresses }

// AppendValue appends the value octets.
func (t *AreaAddresses) AppendValue(b []byte) []byte {
	for _, a := range t.Areas {
		b = append(append(b, byte(len(a))), a...)
	}
	return b
}

func (t *AreaAddresses) String() string {
	s := make([]string, len(t.Areas))
	for i, a := range t.Areas {
		s[i] = hex.EncodeToString(a)
	}
	return "area " + strings.Join(s, " ")
}

func parseAreaAddresses(v []byte) TLV {
	t := &AreaAddresses{}
	for len(v) > 0 {
		n := int(v[0])
		if len(v) < 1+n {
			return nil
		}
		t.Areas = append(t.Areas, bytes.Clone(v[1:1+n]))
		v = v[1+n:]
	}
	return t
}

// Padding is TLV 8: a hello's filling up to the MTU.
type Padding struct{ Octets []byte }

// Code returns 8.
func (*Padding) Code() uint8 { return CodePadding }

// AppendValue appends the value octets.
func (t *Padding) AppendValue(b []byte) []byte { return append(b, t.Octets...) }

func (t *Padding) String() string { return fmt.Sprintf("padding %d", len(t.Octets)) }

// LSPBufferSize is TLV 14 (ISO/IEC 10589 9.8): the largest LSP, in octets,
// that the sender originates.
type LSPBufferSize struct{ Octets uint16 }

// Code returns 14.
func (*LSPBufferSize) Code() uint8 { return CodeLSPBufferSize }

// AppendValue appends the value octets.
func (t *LSPBufferSize) AppendValue(b []byte) []byte {
	return binary.BigEndian.AppendUint16(b, t.Octets)
}

func (t *LSPBufferSize) String() string { return fmt.Sprintf("lsp-buffer-size %d", t.Octets) }

func parseLSPBufferSize(v []byte) TLV {
	if len(v) != 2 {
		return nil
	}
	return &LSPBufferSize{Octets: binary.BigEndian.Uint16(v)}
}

// Protocols is TLV 129, protocols supported (RFC 1195).
type Protocols struct{ NLPIDs []byte }

// Code returns 129.
func (*Protocols) Code() uint8 { return CodeProtocols }

// AppendValue appends the value octets.
func (t *Protocols) AppendValue(b []byte) []byte { return append(b, t.NLPIDs...) }

func (t *Protocols) String() string { return fmt.Sprintf("protocols % x", t.NLPIDs) }

// Interfaces is TLV 132 (IPv4, RFC 1195) or 232 (IPv6, RFC 5308). All
// addresses are of one family; an empty list is TLV 132 unless V6.
type Interfaces struct {
	V6        bool
	Addresses []netip.Addr
}

// Code returns 132 or 232.
func (t *Interfaces) Code() uint8 {
	if t.V6 {
		return CodeIPv6Interfaces
	}
	return CodeIPv4Interfaces
}

// AppendValue appends the value octets.
func (t *Interfaces) AppendValue(b []byte) []byte {
	for _, a := range t.Addresses {
		b = append(b, a.AsSlice()...)
	}
	return b
}

func (t *Interfaces) String() string {
	s := make([]string, len(t.Addresses))
	for i, a := range t.Addresses {
		s[i] = a.String()
	}
	return "addresses " + strings.Join(s, " ")
}

func parseInterfaces(code uint8, v []byte) TLV {
	t := &Interfaces{V6: code == CodeIPv6Interfaces}
	n := 4
	if t.V6 {
		n = 16
	}
	if len(v)%n != 0 {
		return nil
	}
	for ; len(v) > 0; v = v[n:] {
		a, _ := netip.AddrFromSlice(v[:n])
		t.Addresses = append(t.Addresses, a)
	}
	return t
}

// Hostname is TLV 137 (RFC 5301).
type Hostname struct{ Name string }

// Code returns 137.
func (*Hostname) Code() uint8 { return CodeHostname }

// AppendValue appends the value octets.
func (t *Hostname) AppendValue(b []byte) []byte { return append(b, t.Name...) }

func (t *Hostname) String() string { return fmt.Sprintf("hostname %q", t.Name) }
