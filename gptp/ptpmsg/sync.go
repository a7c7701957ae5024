package ptpmsg

// Sync is the two-step event message that a time is measured on (11.4.3). In
// gPTP its ten octets of originTimestamp are reserved; one-step Sync puts a
// time there, which this package keeps but does not interpret.
type Sync struct {
	Header
	Reserved [10]byte
	TLVs     []TLV
}

// Type is TypeSync.
func (*Sync) Type() MessageType { return TypeSync }

func (m *Sync) parse(h Header, b []byte, d *Decoder) (err error) {
	if len(b) < 10 {
		return ErrShort
	}
	m.Header, m.Reserved = h, [10]byte(b)
	m.TLVs, err = d.parseSuffix(b[10:])
	return err
}

func (m *Sync) appendBody(b []byte) []byte {
	return appendTLVs(append(b, m.Reserved[:]...), m.TLVs)
}
