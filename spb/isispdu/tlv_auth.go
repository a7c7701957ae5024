package isispdu

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// Authentication types, the first octet of TLV 10 (ISO/IEC 10589 9.5, RFC 5304
// s2, RFC 5310 s3.1).
const (
	AuthCleartext = 1
	AuthCrypto    = 3  // key identifier and HMAC-SHA
	AuthHMACMD5   = 54 // 16 octets of HMAC-MD5
)

// Authentication is TLV 10.
type Authentication struct {
	Type  uint8
	KeyID uint16 // of AuthCrypto, which alone has one
	Data  []byte
}

// Code returns 10.
func (*Authentication) Code() uint8 { return CodeAuthentication }

// AppendValue appends the value octets.
func (t *Authentication) AppendValue(b []byte) []byte {
	b = append(b, t.Type)
	if t.Type == AuthCrypto {
		b = binary.BigEndian.AppendUint16(b, t.KeyID)
	}
	return append(b, t.Data...)
}

// String does not print Data: of type 1 it is a password.
func (t *Authentication) String() string {
	switch t.Type {
	case AuthCleartext:
		return "authentication cleartext"
	case AuthCrypto:
		return fmt.Sprintf("authentication key %d, %d octets", t.KeyID, len(t.Data))
	case AuthHMACMD5:
		return "authentication hmac-md5"
	}
	return fmt.Sprintf("authentication type %d, %d octets", t.Type, len(t.Data))
}

func parseAuthentication(v []byte) TLV {
	switch {
	case len(v) == 0 || (v[0] == AuthCrypto && len(v) < 3):
		return nil
	case v[0] == AuthCrypto:
		return &Authentication{Type: v[0], KeyID: binary.BigEndian.Uint16(v[1:]), Data: bytes.Clone(v[3:])}
	}
	return &Authentication{Type: v[0], Data: bytes.Clone(v[1:])}
}

// AuthenticationData finds Data of the only TLV 10 in an encoded PDU that has
// passed Parse: pdu[from:to]. ok is false if there is none, if there are
// several, and if the one there is does not have its layout.
func AuthenticationData(pdu []byte) (from, to int, ok bool) {
	n := Length(pdu)
	for at := headerLen[Type(pdu[4]&0x1f)]; at < n; at += 2 + int(pdu[at+1]) {
		if pdu[at] != CodeAuthentication {
			continue
		}
		end := at + 2 + int(pdu[at+1])
		a, _ := parseAuthentication(pdu[at+2 : end]).(*Authentication)
		if ok || a == nil {
			return 0, 0, false
		}
		from, to, ok = end-len(a.Data), end, true
	}
	return from, to, ok
}
