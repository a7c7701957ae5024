package isispdu

import (
	"encoding/binary"
	"fmt"

	tsn "tsnswitch"
)

// Bits of SPBVMAC.Flags.
const (
	SPBVTransmit = 0x80 // T
	SPBVReceive  = 0x40 // R
)

// SPBVADDR is sub-TLV 4 of MT-Capability, SPBV-ADDR (RFC 6329 s16.2): group
// addresses that the node sends or receives in one SPVID.
type SPBVADDR struct {
	Word      uint16 // reserved (2 bits), SR (2), SPVID (12)
	Addresses []SPBVMAC
}

// SPBVMAC is one address of SPBV-ADDR.
type SPBVMAC struct {
	Flags uint8 // T, R, reserved (6 bits)
	MAC   tsn.MAC
}

// SPVID returns the SPVID; 0 is "not allocated".
func (t *SPBVADDR) SPVID() tsn.VID { return tsn.VID(t.Word & 0xfff) }

// SR returns the service requirement of MMRP: 0 not declared, 1 forward all
// groups, 2 forward all unregistered groups.
func (t *SPBVADDR) SR() uint8 { return uint8(t.Word >> 12 & 3) }

// Code returns 4.
func (*SPBVADDR) Code() uint8 { return SubSPBVADDR }

// AppendValue appends the value octets.
func (t *SPBVADDR) AppendValue(b []byte) []byte {
	b = binary.BigEndian.AppendUint16(b, t.Word)
	for _, a := range t.Addresses {
		b = append(append(b, a.Flags), a.MAC[:]...)
	}
	return b
}

func (t *SPBVADDR) String() string {
	s := fmt.Sprintf("spbv-addr vid %d sr %d", t.SPVID(), t.SR())
	for _, a := range t.Addresses {
		s += fmt.Sprintf(" %s flags %02x", a.MAC, a.Flags)
	}
	return s
}

func parseSPBVADDR(v []byte) TLV {
	if len(v) < 2 || (len(v)-2)%7 != 0 {
		return nil
	}
	t := &SPBVADDR{Word: binary.BigEndian.Uint16(v)}
	for v = v[2:]; len(v) > 0; v = v[7:] {
		t.Addresses = append(t.Addresses, SPBVMAC{Flags: v[0], MAC: tsn.MAC(v[1:7])})
	}
	return t
}
