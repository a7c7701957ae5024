package ptpmsg

// PdelayReq starts a peer delay exchange (11.4.5).
type PdelayReq struct {
	Header
	Reserved [20]byte
	TLVs     []TLV
}

// PdelayResp answers with the time the request came in (11.4.6).
type PdelayResp struct {
	Header
	RequestReceipt Timestamp
	Requesting     PortIdentity
	TLVs           []TLV
}

// PdelayRespFollowUp tells when the response went out (11.4.7).
type PdelayRespFollowUp struct {
	Header
	ResponseOrigin Timestamp
	Requesting     PortIdentity
	TLVs           []TLV
}

// Type is TypePdelayReq.
func (*PdelayReq) Type() MessageType { return TypePdelayReq }

// Type is TypePdelayResp.
func (*PdelayResp) Type() MessageType { return TypePdelayResp }

// Type is TypePdelayRespFollowUp.
func (*PdelayRespFollowUp) Type() MessageType { return TypePdelayRespFollowUp }

func (m *PdelayReq) parse(h Header, b []byte, d *Decoder) (err error) {
	if len(b) < 20 {
		return ErrShort
	}
	m.Header, m.Reserved = h, [20]byte(b)
	m.TLVs, err = d.parseSuffix(b[20:])
	return err
}

func (m *PdelayReq) appendBody(b []byte) []byte {
	return appendTLVs(append(b, m.Reserved[:]...), m.TLVs)
}

func (m *PdelayResp) parse(h Header, b []byte, d *Decoder) (err error) {
	m.Header = h
	m.RequestReceipt, m.Requesting, m.TLVs, err = d.parseResponse(b)
	return err
}

func (m *PdelayResp) appendBody(b []byte) []byte {
	return appendTLVs(appendPortIdentity(appendTimestamp(b, m.RequestReceipt), m.Requesting), m.TLVs)
}

func (m *PdelayRespFollowUp) parse(h Header, b []byte, d *Decoder) (err error) {
	m.Header = h
	m.ResponseOrigin, m.Requesting, m.TLVs, err = d.parseResponse(b)
	return err
}

func (m *PdelayRespFollowUp) appendBody(b []byte) []byte {
	return appendTLVs(appendPortIdentity(appendTimestamp(b, m.ResponseOrigin), m.Requesting), m.TLVs)
}

// parseResponse reads the layout that both answers share.
func (d *Decoder) parseResponse(b []byte) (t Timestamp, p PortIdentity, tlvs []TLV, err error) {
	if len(b) < 20 {
		return t, p, nil, ErrShort
	}
	if t, err = parseTimestamp(b); err != nil {
		return t, p, nil, err
	}
	tlvs, err = d.parseSuffix(b[20:])
	return t, parsePortIdentity(b[10:]), tlvs, err
}
