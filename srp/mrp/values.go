package mrp

import (
	"encoding/binary"
	"fmt"

	tsn "tsnswitch"
)

// Talker is the FirstValue of a Talker Advertise or, if Failed, of a Talker
// Failed (802.1Q 35.2.2.8).
type Talker struct {
	StreamID           tsn.StreamID
	DestinationAddress tsn.MAC
	VID                tsn.VID
	MaxFrameSize       uint16 // MSDU octets
	MaxIntervalFrames  uint16 // frames in a class measurement interval
	DataFramePriority  tsn.PCP
	Rank               uint8  // 0 emergency, 1 all else
	AccumulatedLatency uint32 // ns, from the talker to the port that declares

	Failed bool
	// Of a Talker Failed: who could not take the stream, and why.
	BridgeID    tsn.BridgeID
	FailureCode tsn.FailureCode
}

// SameStream reports whether t and o ask for the same, however far they have
// come: all that may not change while a stream is declared is equal (35.2.2.8.1).
func (t Talker) SameStream(o Talker) bool { return t.request() == o.request() }

// request is t without what bridges on the way add.
func (t Talker) request() Talker {
	t.AccumulatedLatency, t.Failed, t.BridgeID, t.FailureCode = 0, false, tsn.BridgeID{}, 0
	return t
}

// Value is t as an attribute.
func (t Talker) Value() Value {
	b := make([]byte, 0, 34)
	b = append(append(b, t.StreamID[:]...), t.DestinationAddress[:]...)
	b = binary.BigEndian.AppendUint16(b, uint16(t.VID))
	b = binary.BigEndian.AppendUint16(b, t.MaxFrameSize)
	b = binary.BigEndian.AppendUint16(b, t.MaxIntervalFrames)
	b = append(b, byte(t.DataFramePriority)<<5|t.Rank&1<<4)
	b = binary.BigEndian.AppendUint32(b, t.AccumulatedLatency)
	if !t.Failed {
		return Value{TypeTalkerAdvertise, string(b)}
	}
	b = append(append(b, t.BridgeID[:]...), byte(t.FailureCode))
	return Value{TypeTalkerFailed, string(b)}
}

// ParseTalker reads a Talker Advertise or Talker Failed.
func ParseTalker(v Value) (Talker, error) {
	b, failed := []byte(v.Octet), v.Type == TypeTalkerFailed
	if err := v.check("talker", map[uint8]int{TypeTalkerAdvertise: 25, TypeTalkerFailed: 34}); err != nil {
		return Talker{}, err
	}
	t := Talker{
		StreamID: tsn.StreamID(b[:8]), DestinationAddress: tsn.MAC(b[8:14]), VID: tsn.VID(binary.BigEndian.Uint16(b[14:])),
		MaxFrameSize: binary.BigEndian.Uint16(b[16:]), MaxIntervalFrames: binary.BigEndian.Uint16(b[18:]),
		DataFramePriority: tsn.PCP(b[20] >> 5), Rank: b[20] >> 4 & 1, AccumulatedLatency: binary.BigEndian.Uint32(b[21:]), Failed: failed,
	}
	if failed {
		t.BridgeID, t.FailureCode = tsn.BridgeID(b[25:33]), tsn.FailureCode(b[33])
	}
	return t, nil
}

// What a Listener declares (35.2.2.7.2): the Param of its attribute.
const (
	ListenerIgnore        Param = iota // none
	ListenerAskingFailed               // wants the stream, cannot have it
	ListenerReady                      // wants it and can have it
	ListenerReadyFailed                // some behind this declaration can have it, some cannot
	numListenerParameters = 4
)

// ListenerText names a Listener's declaration.
func ListenerText(p Param) string {
	return [numListenerParameters]string{"ignore", "asking failed", "ready", "ready failed"}[p%numListenerParameters]
}

// ListenerValue is the Listener attribute of a stream (35.2.2.8).
func ListenerValue(id tsn.StreamID) Value { return Value{TypeListener, string(id[:])} }

// ParseListener returns the stream of a Listener attribute.
func ParseListener(v Value) (tsn.StreamID, error) {
	if err := v.check("listener", map[uint8]int{TypeListener: 8}); err != nil {
		return tsn.StreamID{}, err
	}
	return tsn.StreamID([]byte(v.Octet)), nil
}

// Domain says which priority and VLAN a system uses for an SR class (35.2.2.9).
type Domain struct {
	ClassID  uint8 // 6 is class A, 5 class B
	Priority tsn.PCP
	VID      tsn.VID
}

// Value is d as an attribute.
func (d Domain) Value() Value {
	b := binary.BigEndian.AppendUint16([]byte{d.ClassID, byte(d.Priority)}, uint16(d.VID))
	return Value{TypeDomain, string(b)}
}

// ParseDomain reads a Domain.
func ParseDomain(v Value) (Domain, error) {
	if err := v.check("domain", map[uint8]int{TypeDomain: 4}); err != nil {
		return Domain{}, err
	}
	b := []byte(v.Octet)
	return Domain{b[0], tsn.PCP(b[1]), tsn.VID(binary.BigEndian.Uint16(b[2:]))}, nil
}

// VIDValue is MVRP's attribute (11.2.3.1.6).
func VIDValue(vid tsn.VID) Value {
	return Value{TypeVID, string(binary.BigEndian.AppendUint16(nil, uint16(vid)))}
}

// ParseVID reads a VID; those that carry no traffic are an error.
func ParseVID(v Value) (tsn.VID, error) {
	if err := v.check("VLAN", map[uint8]int{TypeVID: 2}); err != nil {
		return 0, err
	}
	vid := tsn.VID(binary.BigEndian.Uint16([]byte(v.Octet)))
	if !vid.Valid() {
		return 0, fmt.Errorf("VLAN %d is outside 1..4094", vid)
	}
	return vid, nil
}

// MACValue is MMRP's MAC attribute (10.12.1.7).
func MACValue(m tsn.MAC) Value { return Value{TypeMAC, string(m[:])} }

// ParseMAC reads a MAC attribute.
func ParseMAC(v Value) (tsn.MAC, error) {
	if err := v.check("MAC", map[uint8]int{TypeMAC: 6}); err != nil {
		return tsn.MAC{}, err
	}
	return tsn.MAC([]byte(v.Octet)), nil
}

// ServiceRequirement is MMRP's other attribute (10.12.1.7): which groups a
// system wants beside those it names.
type ServiceRequirement uint8

// The service requirements.
const (
	AllGroups          ServiceRequirement = 0
	UnregisteredGroups ServiceRequirement = 1
)

// Value is s as an attribute.
func (s ServiceRequirement) Value() Value {
	return Value{TypeServiceRequirement, string([]byte{byte(s)})}
}

// ParseServiceRequirement reads a service requirement; the reserved ones are an error.
func ParseServiceRequirement(v Value) (ServiceRequirement, error) {
	if err := v.check("service requirement", map[uint8]int{TypeServiceRequirement: 1}); err != nil {
		return 0, err
	}
	if s := ServiceRequirement(v.Octet[0]); s <= UnregisteredGroups {
		return s, nil
	}
	return 0, fmt.Errorf("service requirement %d is reserved", v.Octet[0])
}

// check reports whether v is of one of the given types and has its length.
func (v Value) check(what string, lengths map[uint8]int) error {
	switch n, ok := lengths[v.Type]; {
	case !ok:
		return fmt.Errorf("attribute type %d is no %s", v.Type, what)
	case len(v.Octet) != n:
		return fmt.Errorf("%s of %d octets, not %d", what, len(v.Octet), n)
	}
	return nil
}
