package isispdu

import (
	"encoding/binary"
	"fmt"
)

// CSNP is a level 1 complete sequence numbers PDU (ISO/IEC 10589 9.10): every
// LSP the sender holds in the range from Start to End.
type CSNP struct {
	Header
	Source     NodeID
	Start, End LSPID
	TLVs       []TLV
}

// Type returns TypeL1CSNP.
func (*CSNP) Type() Type { return TypeL1CSNP }

// Append appends the encoded CSNP.
func (p *CSNP) Append(b []byte) ([]byte, error) {
	start := len(b)
	b = p.append(b, TypeL1CSNP)
	b = append(b, 0, 0)
	b = append(b, p.Source[:]...)
	b = append(b, p.Start[:]...)
	b = append(b, p.End[:]...)
	return finish(b, start, TypeL1CSNP, p.TLVs)
}

func parseCSNP(h Header, b []byte) (*CSNP, error) {
	p := &CSNP{Header: h, Source: NodeID(b[10:17]), Start: LSPID(b[17:25]), End: LSPID(b[25:33])}
	var err error
	if p.TLVs, err = parseTLVs(b[csnpHeaderLen:], parseTLV); err != nil {
		return nil, fmt.Errorf("CSNP of %s: %w", p.Source, err)
	}
	return p, nil
}

// PSNP is a level 1 partial sequence numbers PDU (ISO/IEC 10589 9.12): an
// acknowledgement or a request, entry by entry.
type PSNP struct {
	Header
	Source NodeID
	TLVs   []TLV
}

// Type returns TypeL1PSNP.
func (*PSNP) Type() Type { return TypeL1PSNP }

// Append appends the encoded PSNP.
func (p *PSNP) Append(b []byte) ([]byte, error) {
	start := len(b)
	b = p.append(b, TypeL1PSNP)
	b = append(b, 0, 0)
	b = append(b, p.Source[:]...)
	return finish(b, start, TypeL1PSNP, p.TLVs)
}

func parsePSNP(h Header, b []byte) (*PSNP, error) {
	p := &PSNP{Header: h, Source: NodeID(b[10:17])}
	var err error
	if p.TLVs, err = parseTLVs(b[psnpHeaderLen:], parseTLV); err != nil {
		return nil, fmt.Errorf("PSNP of %s: %w", p.Source, err)
	}
	return p, nil
}

// MaxEntries is how many LSP entries one LSPEntries TLV holds.
const MaxEntries = 15

const lspEntryLen = 16

// LSPEntry describes one LSP by its header (ISO/IEC 10589 9.10).
type LSPEntry struct {
	RemainingLifetime uint16
	ID                LSPID
	SequenceNumber    uint32
	Checksum          uint16
}

// LSPEntries is TLV 9.
type LSPEntries struct{ Entries []LSPEntry }

// Code returns 9.
func (*LSPEntries) Code() uint8 { return CodeLSPEntries }

// AppendValue appends the value octets.
func (t *LSPEntries) AppendValue(b []byte) []byte {
	for _, e := range t.Entries {
		b = binary.BigEndian.AppendUint16(b, e.RemainingLifetime)
		b = append(b, e.ID[:]...)
		b = binary.BigEndian.AppendUint32(b, e.SequenceNumber)
		b = binary.BigEndian.AppendUint16(b, e.Checksum)
	}
	return b
}

func (t *LSPEntries) String() string { return fmt.Sprintf("lsp-entries %d", len(t.Entries)) }

func parseLSPEntries(v []byte) TLV {
	if len(v)%lspEntryLen != 0 {
		return nil
	}
	t := &LSPEntries{}
	for ; len(v) > 0; v = v[lspEntryLen:] {
		t.Entries = append(t.Entries, LSPEntry{
			RemainingLifetime: binary.BigEndian.Uint16(v), ID: LSPID(v[2:10]),
			SequenceNumber: binary.BigEndian.Uint32(v[10:]), Checksum: binary.BigEndian.Uint16(v[14:]),
		})
	}
	return t
}
