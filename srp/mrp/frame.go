package mrp

import (
	"encoding/binary"

	tsn "tsnswitch"
)

// headerOctets are addresses and EtherType: MRPDUs are sent without a tag (802.1Q 10.8.1.1).
const headerOctets = 14

// Frame is a whole Ethernet frame, without FCS, that carries a PDU.
func (a *Application) Frame(source tsn.MAC, pdu []byte) []byte {
	b := make([]byte, 0, headerOctets+len(pdu))
	b = append(append(b, a.Group[:]...), source[:]...)
	b = binary.BigEndian.AppendUint16(b, a.EtherType)
	return append(b, pdu...)
}

// PDU returns the PDU in a frame of this application; ok is false for any other frame.
func (a *Application) PDU(frame []byte) (pdu []byte, ok bool) {
	if len(frame) < headerOctets || tsn.MAC(frame[:6]) != a.Group || binary.BigEndian.Uint16(frame[12:]) != a.EtherType {
		return nil, false
	}
	return frame[headerOctets:], true
}
