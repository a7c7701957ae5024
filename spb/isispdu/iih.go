package isispdu

import (
	"encoding/binary"
	"fmt"

	tsn "tsnswitch"
)

// Circuit types of a hello.
const (
	CircuitLevel1 = 1
	CircuitLevel2 = 2
)

// IIH is a point-to-point IS to IS hello (ISO/IEC 10589 9.7).
type IIH struct {
	Header
	CircuitType    uint8 // reserved bits included; the level is the low two
	SourceID       tsn.MAC
	HoldingTime    uint16 // seconds
	LocalCircuitID uint8
	TLVs           []TLV
}

// Type returns TypeP2PIIH.
func (*IIH) Type() Type { return TypeP2PIIH }

// Append appends the encoded hello.
func (p *IIH) Append(b []byte) ([]byte, error) {
	start := len(b)
	b = p.append(b, TypeP2PIIH)
	b = append(b, p.CircuitType)
	b = append(b, p.SourceID[:]...)
	b = binary.BigEndian.AppendUint16(b, p.HoldingTime)
	b = append(b, 0, 0, p.LocalCircuitID)
	return finish(b, start, TypeP2PIIH, p.TLVs)
}

func parseIIH(h Header, b []byte) (*IIH, error) {
	p := &IIH{
		Header: h, CircuitType: b[8], SourceID: tsn.MAC(b[9:15]),
		HoldingTime: binary.BigEndian.Uint16(b[15:]), LocalCircuitID: b[19],
	}
	var err error
	if p.TLVs, err = parseTLVs(b[iihHeaderLen:], parseTLV); err != nil {
		return nil, fmt.Errorf("IIH of %s: %w", p.SourceID, err)
	}
	return p, nil
}
