package isispdu

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// OpaqueECT is what an ECT algorithm that is not of this region says about a
// node or about an adjacency: sub-TLV 2 of MT-Capability, SPB-I-OALG (RFC 6329
// s14.1.1), and sub-TLV 30 of a neighbour, SPB-A-OALG (s15.1.1). It is kept and
// passed on; nothing is read from Information.
type OpaqueECT struct {
	Adjacency   bool // SPB-A-OALG
	ECT         ECT
	Information []byte
}

// Code returns 2 or 30.
func (t *OpaqueECT) Code() uint8 {
	if t.Adjacency {
		return SubSPBAOALG
	}
	return SubSPBIOALG
}

// AppendValue appends the value octets.
func (t *OpaqueECT) AppendValue(b []byte) []byte {
	return append(binary.BigEndian.AppendUint32(b, uint32(t.ECT)), t.Information...)
}

func (t *OpaqueECT) String() string { return fmt.Sprintf("opaque ect %s %x", t.ECT, t.Information) }

func parseOpaqueECT(adjacency bool, v []byte) TLV {
	if len(v) < 4 {
		return nil
	}
	return &OpaqueECT{Adjacency: adjacency, ECT: ECT(binary.BigEndian.Uint32(v)), Information: bytes.Clone(v[4:])}
}
