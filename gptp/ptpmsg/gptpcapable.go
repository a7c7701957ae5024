package ptpmsg

// GptpCapable is the gPTP-capable TLV (10.6.4.4): who sends it every
// 2^LogInterval seconds in a domain speaks 802.1AS-2020 there.
type GptpCapable struct {
	LogInterval int8 // logGptpCapableMessageInterval
	Flags       uint8
}

// GptpCapableIntervalRequest is the gPTP-capable message interval request TLV
// (10.6.4.5), with the special values of IntervalRequest.
type GptpCapableIntervalRequest struct {
	LogInterval int8
}

// Organization subtypes of IEEE 802.1 TLVs in Signaling (10.6.4).
const (
	subTypeIntervalRequest            = 2
	subTypeGptpCapable                = 4
	subTypeGptpCapableIntervalRequest = 5
)

// GptpCapable returns the gPTP-capable TLV, if there is one. What follows the
// interval is not needed: flags and reserved octets may be missing.
func (m *Signaling) GptpCapable() (GptpCapable, bool) {
	b, ok := m.find(subTypeGptpCapable, 1)
	if !ok {
		return GptpCapable{}, false
	}
	c := GptpCapable{LogInterval: int8(b[0])}
	if len(b) > 1 {
		c.Flags = b[1]
	}
	return c, true
}

// GptpCapableIntervalRequest returns that TLV, if there is one.
func (m *Signaling) GptpCapableIntervalRequest() (GptpCapableIntervalRequest, bool) {
	b, ok := m.find(subTypeGptpCapableIntervalRequest, 1)
	if !ok {
		return GptpCapableIntervalRequest{}, false
	}
	return GptpCapableIntervalRequest{LogInterval: int8(b[0])}, true
}

// TLV encodes c: an interval, flags and four reserved octets.
func (c GptpCapable) TLV() TLV {
	v := append(orgValue(subTypeGptpCapable, 6), uint8(c.LogInterval), c.Flags, 0, 0, 0, 0)
	return TLV{Type: TLVOrganizationExtensionDoNotPropagate, Value: v}
}

// TLV encodes the request: an interval and three reserved octets.
func (r GptpCapableIntervalRequest) TLV() TLV {
	v := append(orgValue(subTypeGptpCapableIntervalRequest, 4), uint8(r.LogInterval), 0, 0, 0)
	return TLV{Type: TLVOrganizationExtensionDoNotPropagate, Value: v}
}
