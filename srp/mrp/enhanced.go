package mrp

import (
	"encoding/binary"
	"fmt"

	tsn "tsnswitch"
)

// The attributes of MSRP version 1 (802.1Qcc): their FirstValues are groups of
// TLVs, with type and length of an octet each, as clause 35.2.2.10 takes them from
// the tables of clause 46.2. A Talker Enhanced is a talker group and a status
// group, a Listener Enhanced a listener group and a status group.
//
// The text of the standard was not at hand. Types and lengths are those of two
// public dissectors that agree (an 802.1Qcc layer for Scapy, and its counterpart
// for Zeek). What neither shows is taken as follows: a vector holds one value
// each, a Listener Enhanced has no FourPackedEvents since its status is in the
// FirstValue, and a tag is three octets, priority and VLAN.
const (
	TypeTalkerEnhanced   uint8 = 5
	TypeListenerEnhanced uint8 = 6
)

// TLV types (35.2.2.10).
const (
	tlvTalker uint8 = iota + 1
	tlvStreamID
	tlvStreamRank
	tlvEndStationInterfaces
	tlvInterfaceID
	tlvDataFrameSpecification
	tlvMACAddresses
	tlvVLANTag
	tlvIPv4Tuple
	tlvIPv6Tuple
	tlvTrafficSpecification
	tlvTSpecTimeAware
	tlvUserToNetworkRequirements
	tlvInterfaceCapabilities
	tlvListener
	tlvStatus
	tlvStatusInfo
	tlvAccumulatedLatency
	tlvInterfaceConfiguration
	tlvTimeAwareOffset
	tlvFailedInterfaces
)

// TalkerEnhanced is what a Talker Enhanced says (802.1Qcc 46.2.3, 46.2.5).
type TalkerEnhanced struct {
	StreamID tsn.StreamID
	Rank     uint8 // 0 emergency
	// HasAddresses, HasTag: the frames are told apart by these; Other that there are
	// conditions beside (IP tuples).
	HasAddresses, HasTag, Other bool
	DestinationAddress          tsn.MAC
	SourceAddress               tsn.MAC
	Priority                    tsn.PCP
	VID                         tsn.VID
	TSpec                       TSpec
	TimeAware                   bool // it wants to transmit at times that a CNC finds
	Requirements                Requirements
	Capabilities                Capabilities
	Status                      Status

	// Wish is the talker group as it came. Bridges pass it on as it is.
	Wish string
}

// TSpec is a TrafficSpecification (46.2.3.5). The interval is Numerator/Denominator seconds.
type TSpec struct {
	Numerator, Denominator uint32
	MaxIntervalFrames      uint16
	MaxFrameSize           uint16 // MSDU octets
	TransmissionSelection  uint8  // 802.1Q table 8-6; 1 is credit-based
}

// Interval returns the interval in ns, rounded down, and 0 if it is none or more than 4 s.
func (t TSpec) Interval() int64 {
	if t.Denominator == 0 {
		return 0
	}
	if ns := uint64(t.Numerator) * 1e9 / uint64(t.Denominator); ns <= 4e9 {
		return int64(ns)
	}
	return 0
}

// Requirements are UserToNetworkRequirements (46.2.3.6).
type Requirements struct {
	NumSeamlessTrees uint8  // of frame replication; 0 and 1: none
	MaxLatency       uint32 // ns, 0: any
}

// Capabilities are InterfaceCapabilities (46.2.3.7). Without the group a station
// is taken to tag its frames and to transform none.
type Capabilities struct {
	CannotTag            bool
	StreamIdentification []uint32 // 802.1CB identification types that it can transform by
	Sequence             []uint32 // 802.1CB sequence encodings
}

// The values of TalkerStatus and ListenerStatus (46.2.5.1).
const (
	StatusNone          uint8 = 0
	StatusReady         uint8 = 1
	TalkerFailedStatus  uint8 = 2
	StatusPartialFailed uint8 = 2 // of a listener
	ListenerFailed      uint8 = 3
)

// Status is the status group (46.2.5).
type Status struct {
	Talker, Listener   uint8
	FailureCode        tsn.FailureCode
	AccumulatedLatency uint32 // ns, of a talker
	// FailedAt is the address in the first of the FailedInterfaces.
	FailedAt tsn.MAC
}

// ListenerEnhanced is what a Listener Enhanced says.
type ListenerEnhanced struct {
	StreamID     tsn.StreamID
	Requirements Requirements
	Status       Status
}

// walk visits the TLVs in b.
func walk(b []byte, visit func(kind uint8, v []byte) error) error {
	for len(b) > 0 {
		if len(b) < 2 || len(b)-2 < int(b[1]) {
			return malformed("a TLV in the enhanced attribute does not fit")
		}
		n := 2 + int(b[1])
		if err := visit(b[0], b[2:n]); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

// atLeast says that a TLV is too short.
func atLeast(kind uint8, v []byte, n int) error {
	if len(v) < n {
		return malformed("TLV %d has %d octets, not %d", kind, len(v), n)
	}
	return nil
}

// fixed are the octets of TLVs without parts.
var fixed = map[uint8]int{
	tlvStreamID: 8, tlvStreamRank: 1, tlvMACAddresses: 12, tlvVLANTag: 3, tlvTrafficSpecification: 13, tlvTSpecTimeAware: 12,
	tlvUserToNetworkRequirements: 5, tlvInterfaceCapabilities: 3, tlvStatusInfo: 3, tlvAccumulatedLatency: 4, tlvInterfaceID: 6,
}

// ParseTalkerEnhanced reads a Talker Enhanced. TLVs that nobody knows are passed over.
func ParseTalkerEnhanced(v Value) (t TalkerEnhanced, err error) {
	if v.Type != TypeTalkerEnhanced {
		return t, fmt.Errorf("attribute type %d is no talker enhanced", v.Type)
	}
	seen := map[uint8]bool{}
	err = walk([]byte(v.Octet), func(kind uint8, b []byte) error {
		switch kind {
		case tlvTalker:
			if t.Wish != "" {
				return malformed("two talker groups")
			}
			t.Wish = string(tlv(nil, tlvTalker, b))
			return walk(b, func(kind uint8, b []byte) error { seen[kind] = true; return t.part(kind, b) })
		case tlvStatus:
			return t.Status.parse(b)
		}
		return nil
	})
	if err == nil && !(seen[tlvStreamID] && seen[tlvTrafficSpecification] && seen[tlvDataFrameSpecification]) {
		err = malformed("a talker enhanced without stream id, frames or traffic specification")
	}
	return t, err
}

// part reads a TLV of the talker group.
func (t *TalkerEnhanced) part(kind uint8, b []byte) error {
	if err := atLeast(kind, b, fixed[kind]); err != nil {
		return err
	}
	switch kind {
	case tlvStreamID:
		t.StreamID = tsn.StreamID(b[:8])
	case tlvStreamRank:
		t.Rank = b[0] & 1
	case tlvDataFrameSpecification:
		return walk(b, t.frames)
	case tlvTrafficSpecification:
		t.TSpec = TSpec{
			binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:]), binary.BigEndian.Uint16(b[8:]), binary.BigEndian.Uint16(b[10:]), b[12],
		}
	case tlvTSpecTimeAware:
		t.TimeAware = true
	case tlvUserToNetworkRequirements:
		t.Requirements = parseRequirements(b)
	case tlvInterfaceCapabilities:
		return t.Capabilities.parse(b)
	}
	return nil
}

func (t *TalkerEnhanced) frames(kind uint8, b []byte) error {
	if err := atLeast(kind, b, fixed[kind]); err != nil {
		return err
	}
	switch kind {
	case tlvMACAddresses:
		t.HasAddresses, t.DestinationAddress, t.SourceAddress = true, tsn.MAC(b[:6]), tsn.MAC(b[6:12])
	case tlvVLANTag:
		t.HasTag, t.Priority, t.VID = true, tsn.PCP(b[0]&7), tsn.VID(binary.BigEndian.Uint16(b[1:])&0xfff)
	default:
		t.Other = true
	}
	return nil
}

func parseRequirements(b []byte) Requirements {
	return Requirements{b[0], binary.BigEndian.Uint32(b[1:])}
}

func (c *Capabilities) parse(b []byte) error {
	n, m := int(b[1]), int(b[2])
	if err := atLeast(tlvInterfaceCapabilities, b, 3+4*(n+m)); err != nil {
		return err
	}
	*c = Capabilities{CannotTag: b[0]&1 == 0}
	for i := range n + m {
		x := binary.BigEndian.Uint32(b[3+4*i:])
		if i < n {
			c.StreamIdentification = append(c.StreamIdentification, x)
		} else {
			c.Sequence = append(c.Sequence, x)
		}
	}
	return nil
}

func (s *Status) parse(b []byte) error {
	return walk(b, func(kind uint8, b []byte) error {
		if err := atLeast(kind, b, fixed[kind]); err != nil {
			return err
		}
		switch kind {
		case tlvStatusInfo:
			s.Talker, s.Listener, s.FailureCode = b[0], b[1], tsn.FailureCode(b[2])
		case tlvAccumulatedLatency:
			s.AccumulatedLatency = binary.BigEndian.Uint32(b)
		case tlvFailedInterfaces:
			return walk(b, func(kind uint8, b []byte) error {
				err := atLeast(kind, b, fixed[tlvInterfaceID])
				if err == nil && s.FailedAt.IsZero() {
					s.FailedAt = tsn.MAC(b[:6])
				}
				return err
			})
		}
		return nil
	})
}

// ParseListenerEnhanced reads a Listener Enhanced.
func ParseListenerEnhanced(v Value) (l ListenerEnhanced, err error) {
	if v.Type != TypeListenerEnhanced {
		return l, fmt.Errorf("attribute type %d is no listener enhanced", v.Type)
	}
	seen := false
	err = walk([]byte(v.Octet), func(kind uint8, b []byte) error {
		switch kind {
		case tlvListener:
			return walk(b, func(kind uint8, b []byte) error {
				if err := atLeast(kind, b, fixed[kind]); err != nil {
					return err
				}
				switch kind {
				case tlvStreamID:
					l.StreamID, seen = tsn.StreamID(b[:8]), true
				case tlvUserToNetworkRequirements:
					l.Requirements = parseRequirements(b)
				}
				return nil
			})
		case tlvStatus:
			return l.Status.parse(b)
		}
		return nil
	})
	if err == nil && !seen {
		err = malformed("a listener enhanced without stream id")
	}
	return l, err
}

// tlv appends a TLV. Only what is known to be short is made one.
func tlv(b []byte, kind uint8, v []byte) []byte {
	return append(append(b, kind, byte(len(v))), v...)
}

func (t TalkerEnhanced) wish() string {
	if t.Wish != "" {
		return t.Wish
	}
	var b, frames []byte
	b = tlv(b, tlvStreamID, t.StreamID[:])
	b = tlv(b, tlvStreamRank, []byte{t.Rank & 1})
	if t.HasAddresses {
		frames = tlv(frames, tlvMACAddresses, append(t.DestinationAddress[:], t.SourceAddress[:]...))
	}
	if t.HasTag {
		frames = tlv(frames, tlvVLANTag, binary.BigEndian.AppendUint16([]byte{byte(t.Priority)}, uint16(t.VID)))
	}
	b = tlv(b, tlvDataFrameSpecification, frames)
	spec := binary.BigEndian.AppendUint32(nil, t.TSpec.Numerator)
	spec = binary.BigEndian.AppendUint32(spec, t.TSpec.Denominator)
	spec = binary.BigEndian.AppendUint16(spec, t.TSpec.MaxIntervalFrames)
	spec = binary.BigEndian.AppendUint16(spec, t.TSpec.MaxFrameSize)
	b = tlv(b, tlvTrafficSpecification, append(spec, t.TSpec.TransmissionSelection))
	b = t.Requirements.append(b)
	return string(tlv(nil, tlvTalker, b))
}

func (r Requirements) append(b []byte) []byte {
	if r == (Requirements{}) {
		return b
	}
	return tlv(b, tlvUserToNetworkRequirements, binary.BigEndian.AppendUint32([]byte{r.NumSeamlessTrees}, r.MaxLatency))
}

func (s Status) append(b []byte, talker bool) []byte {
	v := tlv(nil, tlvStatusInfo, []byte{s.Talker, s.Listener, byte(s.FailureCode)})
	if talker {
		v = tlv(v, tlvAccumulatedLatency, binary.BigEndian.AppendUint32(nil, s.AccumulatedLatency))
	}
	if !s.FailedAt.IsZero() {
		v = tlv(v, tlvFailedInterfaces, tlv(nil, tlvInterfaceID, s.FailedAt[:]))
	}
	return tlv(b, tlvStatus, v)
}

// maxEnhanced is the longest FirstValue: an AttributeLength is one octet.
const maxEnhanced = 255

// Value is t as an attribute; false if it is too long for one. With a Wish this
// is the talker group, whatever the other fields say: a bridge changes the status only.
func (t TalkerEnhanced) Value() (Value, bool) {
	b := t.Status.append([]byte(t.wish()), true)
	return Value{TypeTalkerEnhanced, string(b)}, len(b) <= maxEnhanced
}

// Value is l as an attribute.
func (l ListenerEnhanced) Value() Value {
	b := l.Requirements.append(tlv(nil, tlvStreamID, l.StreamID[:]))
	return Value{TypeListenerEnhanced, string(l.Status.append(tlv(nil, tlvListener, b), false))}
}

// Param is the status of a listener as version 0 says it.
func (s Status) Param() Param {
	switch s.Listener {
	case StatusReady:
		return ListenerReady
	case StatusPartialFailed:
		return ListenerReadyFailed
	case ListenerFailed:
		return ListenerAskingFailed
	}
	return ListenerIgnore
}

// ListenerStatus is the reverse of Param.
func ListenerStatus(p Param) uint8 {
	return [numListenerParameters]uint8{StatusNone, ListenerFailed, StatusReady, StatusPartialFailed}[p%numListenerParameters]
}
