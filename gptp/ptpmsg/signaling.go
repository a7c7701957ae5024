package ptpmsg

// Signaling carries TLVs to a neighbour (10.6.4).
type Signaling struct {
	Header
	Target PortIdentity
	TLVs   []TLV
}

// Type is TypeSignaling.
func (*Signaling) Type() MessageType { return TypeSignaling }

func (m *Signaling) parse(h Header, b []byte, d *Decoder) (err error) {
	if len(b) < 10 {
		return ErrShort
	}
	m.Header, m.Target = h, parsePortIdentity(b)
	m.TLVs, err = d.parseSuffix(b[10:])
	return err
}

func (m *Signaling) appendBody(b []byte) []byte {
	return appendTLVs(appendPortIdentity(b, m.Target), m.TLVs)
}

// IntervalRequest is the message interval request TLV (10.6.4.3). The logs
// use 127 for "stop", -128 for "leave as it is" and 126 for "initial value".
type IntervalRequest struct {
	LinkDelay, TimeSync, Announce int8
	Flags                         uint8
}

// IntervalRequest returns the message interval request TLV, if there is one.
func (m *Signaling) IntervalRequest() (IntervalRequest, bool) {
	b, ok := findOrg(m.TLVs, TLVOrganizationExtension, 2, 6)
	if !ok {
		return IntervalRequest{}, false
	}
	return IntervalRequest{LinkDelay: int8(b[0]), TimeSync: int8(b[1]), Announce: int8(b[2]), Flags: b[3]}, true
}

// TLV encodes the request.
func (r IntervalRequest) TLV() TLV {
	v := append(orgValue(2, 6), uint8(r.LinkDelay), uint8(r.TimeSync), uint8(r.Announce), r.Flags, 0, 0)
	return TLV{Type: TLVOrganizationExtension, Value: v}
}
