package isispdu

import (
	"encoding/binary"
	"fmt"
)

// Bits of LSP.Flags (ISO/IEC 10589 9.8).
const (
	FlagOverload = 0x04
	FlagLevel1   = 0x01 // IS Type 1
)

// LSP is a level 1 link state PDU.
type LSP struct {
	Header
	RemainingLifetime uint16 // seconds; 0 is a purge
	ID                LSPID
	SequenceNumber    uint32
	Checksum          uint16 // kept as received; SetChecksum computes it on octets
	Flags             uint8
	TLVs              []TLV
}

// Type returns TypeL1LSP.
func (*LSP) Type() Type { return TypeL1LSP }

// Append appends the encoded LSP with the Checksum field as it is.
func (p *LSP) Append(b []byte) ([]byte, error) {
	start := len(b)
	b = p.append(b, TypeL1LSP)
	b = append(b, 0, 0)
	b = binary.BigEndian.AppendUint16(b, p.RemainingLifetime)
	b = append(b, p.ID[:]...)
	b = binary.BigEndian.AppendUint32(b, p.SequenceNumber)
	b = binary.BigEndian.AppendUint16(b, p.Checksum)
	b = append(b, p.Flags)
	return finish(b, start, TypeL1LSP, p.TLVs)
}

// Seal encodes the LSP and fills in the checksum, in octets and in p.
func (p *LSP) Seal() ([]byte, error) {
	b, err := p.Append(nil)
	if err != nil {
		return nil, err
	}
	p.Checksum = SetChecksum(b)
	return b, nil
}

// Entry describes the LSP as SNPs do.
func (p *LSP) Entry() LSPEntry {
	return LSPEntry{
		RemainingLifetime: p.RemainingLifetime, ID: p.ID,
		SequenceNumber: p.SequenceNumber, Checksum: p.Checksum,
	}
}

func parseLSP(h Header, b []byte) (*LSP, error) {
	p := &LSP{
		Header: h, RemainingLifetime: binary.BigEndian.Uint16(b[10:]), ID: LSPID(b[12:20]),
		SequenceNumber: binary.BigEndian.Uint32(b[20:]), Checksum: binary.BigEndian.Uint16(b[24:]), Flags: b[26],
	}
	var err error
	if p.TLVs, err = parseTLVs(b[lspHeaderLen:], parseTLV); err != nil {
		return nil, fmt.Errorf("LSP %s: %w", p.ID, err)
	}
	return p, nil
}
