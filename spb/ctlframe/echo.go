package ctlframe

import (
	"encoding/binary"
	"fmt"

	tsn "tsnswitch"
)

// EchoState is the state of a fast echo session, with the values and the
// meaning of RFC 5880 s4.1.
type EchoState uint8

// The states.
const (
	EchoAdminDown EchoState = iota
	EchoDown
	EchoInit
	EchoUp
)

func (s EchoState) String() string {
	switch s {
	case EchoAdminDown:
		return "AdminDown"
	case EchoDown:
		return "Down"
	case EchoInit:
		return "Init"
	case EchoUp:
		return "Up"
	}
	return fmt.Sprintf("state %d", uint8(s))
}

// Echo tells a neighbour that it is heard, and when to expect the next one.
//
//	octet   0      state
//	        1      multiplier
//	        2-3    port of the sender
//	        4-9    system id that the sender hears, zero: nobody
//	        10-11  port of that system
//	        12-15  the next one comes within so many microseconds
//	        16-19  the sender can take one every so many microseconds
//	        20-23  sequence number, by one for each frame of the session
type Echo struct {
	State      EchoState
	Multiplier uint8 // of Interval: then the link is lost
	Port       tsn.Port
	HeardID    tsn.MAC
	HeardPort  tsn.Port
	Interval   uint32 // us
	MinReceive uint32 // us
	Sequence   uint32
}

const echoLen = 24

// Append appends the whole frame.
func (e *Echo) Append(b []byte, src tsn.MAC) []byte {
	b = appendEther(b, Header{Dst: EchoGroup, Src: src}, 0, EtherType)
	b = append(b, Version, byte(KindEcho), byte(e.State), e.Multiplier)
	b = binary.BigEndian.AppendUint16(b, uint16(e.Port))
	b = append(b, e.HeardID[:]...)
	b = binary.BigEndian.AppendUint16(b, uint16(e.HeardPort))
	b = binary.BigEndian.AppendUint32(b, e.Interval)
	b = binary.BigEndian.AppendUint32(b, e.MinReceive)
	return binary.BigEndian.AppendUint32(b, e.Sequence)
}

func parseEcho(b []byte) (*Echo, error) {
	if len(b) < echoLen {
		return nil, fmt.Errorf("echo: %d octets, want %d", len(b), echoLen)
	}
	e := &Echo{
		State: EchoState(b[0]), Multiplier: b[1], Port: tsn.Port(binary.BigEndian.Uint16(b[2:])),
		HeardID: tsn.MAC(b[4:10]), HeardPort: tsn.Port(binary.BigEndian.Uint16(b[10:])),
		Interval: binary.BigEndian.Uint32(b[12:]), MinReceive: binary.BigEndian.Uint32(b[16:]), Sequence: binary.BigEndian.Uint32(b[20:]),
	}
	switch {
	case e.State > EchoUp:
		return nil, fmt.Errorf("echo: %s", e.State)
	case e.Multiplier == 0 || e.Interval == 0:
		return nil, fmt.Errorf("echo: multiplier %d, interval %d us: neither may be 0", e.Multiplier, e.Interval)
	case e.Port == tsn.NoPort:
		return nil, fmt.Errorf("echo: port 0")
	}
	return e, nil
}
