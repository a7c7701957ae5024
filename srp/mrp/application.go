package mrp

import tsn "tsnswitch"

// Application is what an MRP application differs in from the others.
type Application struct {
	Name      string
	EtherType uint16
	Group     tsn.MAC
	// ProtocolVersion is the highest that is spoken; any is received (802.1Q
	// 10.8.3.5). There are end stations that drop a whole PDU of any other version
	// than 0, so this is sent until SetVersion.
	ProtocolVersion uint8
	// ListLength: messages carry an AttributeListLength (35.2.2.3), so that types
	// nobody knows can be passed over.
	ListLength bool
	Periodic   bool // has a PeriodicTransmission state machine
	// FastLeave: a Lv that is received on a point-to-point LAN ends a registration
	// at once; only LeaveAll leaves time to declare again (Avnu ProAV 9.2, for
	// MSRP). On a shared medium another system may stand by the declaration.
	FastLeave bool
	Types     []AttributeType // ascending Type
}

// AttributeType is a kind of attribute.
type AttributeType struct {
	Type    uint8
	Version uint8 // ProtocolVersion that has it
	Name    string
	// Length is the AttributeLength, the octets of a FirstValue; with Variable it is
	// the least, and each message has its own.
	Length   int
	Variable bool
	Four     bool // vectors end in FourPackedEvents
	// next turns a value into the one that follows it in a vector; false if there is none.
	next func(v []byte) bool
}

// Value is a value of an attribute type, its octets as in a FirstValue.
type Value struct {
	Type  uint8
	Octet string
}

func (a *Application) attributeType(t uint8) *AttributeType {
	for i := range a.Types {
		if a.Types[i].Type == t {
			return &a.Types[i]
		}
	}
	return nil
}

func (t *AttributeType) fits(length int) bool {
	return length == t.Length || t.Variable && length > t.Length
}

// increment adds 1 to a big-endian number; false when it runs over.
func increment(b []byte) bool {
	for i := len(b) - 1; i >= 0; i-- {
		if b[i]++; b[i] != 0 {
			return true
		}
	}
	return false
}

// The attribute types of MMRP (802.1Q 10.12.1), MVRP (11.2.3.1) and MSRP (35.2.2.4).
const (
	TypeServiceRequirement uint8 = 1
	TypeMAC                uint8 = 2

	TypeVID uint8 = 1

	TypeTalkerAdvertise uint8 = 1
	TypeTalkerFailed    uint8 = 2
	TypeListener        uint8 = 3
	TypeDomain          uint8 = 4
)

// MMRP registers group addresses and service requirements (802.1Q 10.9 to 10.12).
func MMRP() *Application {
	return &Application{
		Name: "MMRP", EtherType: 0x88f6, Group: tsn.MAC{0x01, 0x80, 0xc2, 0, 0, 0x20}, Periodic: true,
		Types: []AttributeType{
			{Type: TypeServiceRequirement, Name: "service requirement", Length: 1, next: increment},
			{Type: TypeMAC, Name: "MAC", Length: 6, next: increment},
		},
	}
}

// MVRP registers VLANs (802.1Q 11.2).
func MVRP() *Application {
	return &Application{
		Name: "MVRP", EtherType: 0x88f5, Group: tsn.MAC{0x01, 0x80, 0xc2, 0, 0, 0x21}, Periodic: true,
		Types: []AttributeType{{Type: TypeVID, Name: "VID", Length: 2, next: increment}},
	}
}

// MSRP reserves streams (802.1Q 35.2.2).
func MSRP() *Application {
	return &Application{
		Name: "MSRP", EtherType: 0x22ea, Group: tsn.MAC{0x01, 0x80, 0xc2, 0, 0, 0x0e}, ListLength: true, FastLeave: true, ProtocolVersion: 1,
		Types: []AttributeType{
			{Type: TypeTalkerAdvertise, Name: "talker advertise", Length: 25, next: nextTalker},
			{Type: TypeTalkerFailed, Name: "talker failed", Length: 34, next: nextTalker},
			{Type: TypeListener, Name: "listener", Length: 8, Four: true, next: increment},
			{Type: TypeDomain, Name: "domain", Length: 4, next: nextDomain},
			{Type: TypeTalkerEnhanced, Version: 1, Name: "talker enhanced", Length: 2, Variable: true, next: noNext},
			{Type: TypeListenerEnhanced, Version: 1, Name: "listener enhanced", Length: 2, Variable: true, next: noNext},
		},
	}
}

// nextTalker adds 1 to the StreamID and to the destination address (35.2.2.8.1).
func nextTalker(v []byte) bool { return increment(v[:8]) && increment(v[8:14]) }

// nextDomain adds 1 to the class and to its priority (35.2.2.9).
func nextDomain(v []byte) bool { return increment(v[:1]) && increment(v[1:2]) }

// noNext: the vector ends (see TypeTalkerEnhanced).
func noNext([]byte) bool { return false }
