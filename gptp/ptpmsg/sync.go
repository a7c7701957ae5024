package ptpmsg

// Sync is the event message that a time is measured on (11.4.3). Two-step, its
// first ten octets are reserved; one-step, they are the origin time, and the
// information TLV is in the message itself.
type Sync struct {
	Header
	Reserved [10]byte
	TLVs     []TLV
}

// Origin is originTimestamp of a one-step Sync.
func (m *Sync) Origin() (Timestamp, error) { return parseTimestamp(m.Reserved[:]) }

// SetOrigin sets originTimestamp.
func (m *Sync) SetOrigin(t Timestamp) { m.Reserved = [10]byte(appendTimestamp(m.Reserved[:0:0], t)) }

// Information returns the information TLV of a one-step Sync, if there is one.
func (m *Sync) Information() (FollowUpInformation, bool) { return FindFollowUpInformation(m.TLVs) }

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
