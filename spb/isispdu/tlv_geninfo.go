package isispdu

import (
	"encoding/binary"
	"fmt"
	"net/netip"
)

// Bits of GenInfo.Flags (RFC 6823 s3.1).
const (
	GenInfoS  = 0x01 // flood over the whole domain
	GenInfoD  = 0x02 // was leaked down a level
	GenInfoV4 = 0x04 // an IPv4 address of the application follows
	GenInfoV6 = 0x08 // an IPv6 address of the application follows
)

// GenInfo is TLV 251, generic information of an application (RFC 6823 s3).
type GenInfo struct {
	Flags       uint8
	Application uint16
	IPv4        netip.Addr // if GenInfoV4
	IPv6        netip.Addr // if GenInfoV6
	Records     []TLV      // the application's sub-TLVs, all Raw
}

// Code returns 251.
func (*GenInfo) Code() uint8 { return CodeGenInfo }

// AppendValue appends the value octets. Addresses that the flags announce but
// that are not set go out as zero.
func (t *GenInfo) AppendValue(b []byte) []byte {
	b = binary.BigEndian.AppendUint16(append(b, t.Flags), t.Application)
	if t.Flags&GenInfoV4 != 0 {
		var a [4]byte
		if t.IPv4.Is4() {
			a = t.IPv4.As4()
		}
		b = append(b, a[:]...)
	}
	if t.Flags&GenInfoV6 != 0 {
		var a [16]byte
		if t.IPv6.IsValid() {
			a = t.IPv6.As16()
		}
		b = append(b, a[:]...)
	}
	return appendSubTLVs(b, t.Records)
}

func (t *GenInfo) String() string {
	return fmt.Sprintf("geninfo application %d", t.Application) + joinSub(t.Records)
}

func parseGenInfo(v []byte) TLV {
	if len(v) < 3 {
		return nil
	}
	t := &GenInfo{Flags: v[0], Application: binary.BigEndian.Uint16(v[1:])}
	v = v[3:]
	if t.Flags&GenInfoV4 != 0 {
		if len(v) < 4 {
			return nil
		}
		t.IPv4, v = netip.AddrFrom4([4]byte(v[:4])), v[4:]
	}
	if t.Flags&GenInfoV6 != 0 {
		if len(v) < 16 {
			return nil
		}
		t.IPv6, v = netip.AddrFrom16([16]byte(v[:16])), v[16:]
	}
	var err error
	if t.Records, err = parseTLVs(v, func(uint8, []byte) TLV { return nil }); err != nil {
		return nil
	}
	return t
}
