package mrp

// Event is an AttributeEvent (802.1Q 10.8.2.10.1).
type Event uint8

// The attribute events, in their encoding.
const (
	New Event = iota
	JoinIn
	In
	JoinMt
	Mt
	Lv
	numEvents
)

func (e Event) String() string {
	if e >= numEvents {
		return "reserved"
	}
	return [...]string{"New", "JoinIn", "In", "JoinMt", "Mt", "Lv"}[e]
}

// Param is the FourPackedEvent of an attribute that has one, which in MSRP is
// a Listener's declaration (802.1Q 35.2.2.7.2); 0 elsewhere.
type Param uint8

// packThree encodes up to three events (10.8.2.10.1); missing ones are 0.
func packThree(e []Event) byte {
	var v [3]Event
	copy(v[:], e)
	return byte((v[0]*6+v[1])*6 + v[2])
}

// unpackThree is the reverse; ok is false for an octet that encodes none.
func unpackThree(b byte) (e [3]Event, ok bool) {
	e = [3]Event{Event(b / 36), Event(b / 6 % 6), Event(b % 6)}
	return e, e[0] < numEvents
}

// packFour encodes up to four parameters (10.8.2.10.2).
func packFour(p []Param) byte {
	var v [4]Param
	copy(v[:], p)
	return byte(v[0]<<6 | v[1]<<4 | v[2]<<2 | v[3])
}

func unpackFour(b byte) [4]Param {
	return [4]Param{Param(b >> 6), Param(b >> 4 & 3), Param(b >> 2 & 3), Param(b & 3)}
}
