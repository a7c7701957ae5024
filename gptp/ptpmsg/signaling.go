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

// find returns what follows the organization subtype. Both types of
// organization extension are taken: the standard's editions, and what is built
// after them, differ in which one a TLV of Signaling has.
func (m *Signaling) find(subType uint8, n int) ([]byte, bool) {
	if b, ok := findOrg(m.TLVs, TLVOrganizationExtension, subType, n); ok {
		return b, true
	}
	return findOrg(m.TLVs, TLVOrganizationExtensionDoNotPropagate, subType, n)
}

// Intervals of a request that are no logarithm.
const (
	IntervalLeave   int8 = -128 // as it is
	IntervalInitial int8 = 126  // the initial value
	IntervalStop    int8 = 127  // send no more
)

// Flags of an IntervalRequest (10.6.4.3.9).
const (
	FlagComputeNeighborRateRatio uint8 = 1 << 0
	FlagComputeMeanLinkDelay     uint8 = 1 << 1
	FlagOneStepReceiveCapable    uint8 = 1 << 2
)

// IntervalRequest is the message interval request TLV (10.6.4.3): logarithms to
// base 2 of seconds, or one of the special values.
type IntervalRequest struct {
	LinkDelay, TimeSync, Announce int8
	Flags                         uint8
}

// IntervalRequest returns the message interval request TLV, if there is one.
func (m *Signaling) IntervalRequest() (IntervalRequest, bool) {
	b, ok := m.find(subTypeIntervalRequest, 4)
	if !ok {
		return IntervalRequest{}, false
	}
	return IntervalRequest{LinkDelay: int8(b[0]), TimeSync: int8(b[1]), Announce: int8(b[2]), Flags: b[3]}, true
}

// TLV encodes the request.
func (r IntervalRequest) TLV() TLV {
	v := append(orgValue(subTypeIntervalRequest, 6), uint8(r.LinkDelay), uint8(r.TimeSync), uint8(r.Announce), r.Flags, 0, 0)
	return TLV{Type: TLVOrganizationExtension, Value: v}
}

// AnyPort is the target of a Signaling message to whoever is at the other end
// (10.6.4.2.1).
var AnyPort = PortIdentity{Clock: ClockIdentity{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, Port: 0xffff}
