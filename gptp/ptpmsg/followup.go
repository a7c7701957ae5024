package ptpmsg

import "encoding/binary"

// FollowUp carries the origin time of the Sync with its sequenceId (11.4.4).
type FollowUp struct {
	Header
	PreciseOrigin Timestamp
	TLVs          []TLV
}

// Type is TypeFollowUp.
func (*FollowUp) Type() MessageType { return TypeFollowUp }

func (m *FollowUp) parse(h Header, b []byte, d *Decoder) (err error) {
	if len(b) < 10 {
		return ErrShort
	}
	m.Header = h
	if m.PreciseOrigin, err = parseTimestamp(b); err != nil {
		return err
	}
	m.TLVs, err = d.parseSuffix(b[10:])
	return err
}

func (m *FollowUp) appendBody(b []byte) []byte {
	return appendTLVs(appendTimestamp(b, m.PreciseOrigin), m.TLVs)
}

// FollowUpInformation is the Follow_Up information TLV (11.4.4.3).
type FollowUpInformation struct {
	CumulativeScaledRateOffset ScaledRate // grand master's rate against the sender's LocalClock
	GmTimeBaseIndicator        uint16
	LastGmPhaseChange          ScaledNS
	ScaledLastGmFreqChange     ScaledRate
}

const followUpInfoLen = 4 + 2 + 12 + 4

// Information returns the Follow_Up information TLV, if there is one.
func (m *FollowUp) Information() (FollowUpInformation, bool) {
	return FindFollowUpInformation(m.TLVs)
}

// FindFollowUpInformation returns the Follow_Up information TLV of a list, if
// there is one.
func FindFollowUpInformation(tlvs []TLV) (FollowUpInformation, bool) {
	b, ok := findOrg(tlvs, TLVOrganizationExtension, 1, followUpInfoLen)
	if !ok {
		return FollowUpInformation{}, false
	}
	return FollowUpInformation{
		CumulativeScaledRateOffset: ScaledRate(binary.BigEndian.Uint32(b)),
		GmTimeBaseIndicator:        binary.BigEndian.Uint16(b[4:]),
		LastGmPhaseChange:          ScaledNS{High: int32(binary.BigEndian.Uint32(b[6:])), Low: binary.BigEndian.Uint64(b[10:])},
		ScaledLastGmFreqChange:     ScaledRate(binary.BigEndian.Uint32(b[18:])),
	}, true
}

// TLV encodes the information.
func (i FollowUpInformation) TLV() TLV {
	v := orgValue(1, followUpInfoLen)
	v = binary.BigEndian.AppendUint32(v, uint32(i.CumulativeScaledRateOffset))
	v = binary.BigEndian.AppendUint16(v, i.GmTimeBaseIndicator)
	v = binary.BigEndian.AppendUint32(v, uint32(i.LastGmPhaseChange.High))
	v = binary.BigEndian.AppendUint64(v, i.LastGmPhaseChange.Low)
	v = binary.BigEndian.AppendUint32(v, uint32(i.ScaledLastGmFreqChange))
	return TLV{Type: TLVOrganizationExtension, Value: v}
}
