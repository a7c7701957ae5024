package isispdu

import (
	"bytes"
	"fmt"
)

// Other is a PDU that SPB does not use: a hello on a LAN, or a level 2 LSP,
// CSNP or PSNP. It is read so that a capture can be shown and written again.
type Other struct {
	Header
	Kind Type
	// Fixed is what stands between the common header and the first TLV, the
	// PDU Length included; Append fills that in.
	Fixed []byte
	TLVs  []TLV
}

// Type returns Kind.
func (p *Other) Type() Type { return p.Kind }

// Append appends the encoded PDU.
func (p *Other) Append(b []byte) ([]byte, error) {
	if n, known := headerLen[p.Kind]; !known || len(p.Fixed) != n-commonLen {
		return nil, fmt.Errorf("PDU type %d: %d octets of fixed fields, want %d", p.Kind, len(p.Fixed), n-commonLen)
	}
	start := len(b)
	b = append(p.append(b, p.Kind), p.Fixed...)
	return finish(b, start, p.Kind, p.TLVs)
}

func parseOther(h Header, t Type, b []byte) (*Other, error) {
	p := &Other{Header: h, Kind: t, Fixed: bytes.Clone(b[commonLen:headerLen[t]])}
	var err error
	if p.TLVs, err = parseTLVs(b[headerLen[t]:], parseTLV); err != nil {
		return nil, fmt.Errorf("PDU type %d: %w", t, err)
	}
	return p, nil
}
