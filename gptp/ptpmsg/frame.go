package ptpmsg

import (
	"encoding/binary"
	"errors"
	"fmt"

	tsn "tsnswitch"
)

// Addresses of gPTP on Ethernet (11.3.4, 11.3.5).
const EtherType = 0x88F7

// Destination is the address of every gPTP frame; bridges never forward it.
var Destination = tsn.MAC{0x01, 0x80, 0xC2, 0x00, 0x00, 0x0E}

const ethernetLen = 14

// ErrNotGPTP says that a frame is no untagged gPTP frame (11.3.3 forbids tags).
var ErrNotGPTP = errors.New("not an untagged gPTP frame")

// ParseFrame returns sender and payload of an untagged gPTP frame; the payload
// aliases frame.
func ParseFrame(frame []byte) (source tsn.MAC, payload []byte, err error) {
	if len(frame) < ethernetLen {
		return source, nil, fmt.Errorf("frame of %d octets: %w", len(frame), ErrNotGPTP)
	}
	if t := binary.BigEndian.Uint16(frame[12:]); tsn.MAC(frame) != Destination || t != EtherType {
		return source, nil, fmt.Errorf("frame to %s with EtherType 0x%04x: %w", tsn.MAC(frame), t, ErrNotGPTP)
	}
	return tsn.MAC(frame[6:]), frame[ethernetLen:], nil
}

// AppendFrame appends a whole frame, without padding and FCS.
func AppendFrame(b []byte, source tsn.MAC, m Message) []byte {
	b = append(append(b, Destination[:]...), source[:]...)
	return Append(binary.BigEndian.AppendUint16(b, EtherType), m)
}
