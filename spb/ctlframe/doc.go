// Package ctlframe is the codec of the frames that a switch sends beside
// IS-IS: bytes to structs and back, without state.
//
//	EtherType 88-B5, ours (IEEE local experimental 1)
//	  octets 0-5 destination, 6-11 system id of the sender, 12-13 EtherType,
//	  14 version (1), 15 kind, 16- body
//	    kind 1  Echo   between neighbours: does the link carry frames, both ways
//	    kind 2  Probe  out of an edge port: does it come back somewhere
//	EtherType 89-02, Connectivity Fault Management (IEEE 802.1Q clause 20)
//	    Loopback  LBM and LBR: the way to a bridge and back, hop by hop as data
//
// Octets behind a body are padding, or belong to a later version of it, and
// are ignored. One customer or service tag is understood on receipt.
package ctlframe

import (
	"encoding/binary"
	"errors"
	"fmt"

	tsn "tsnswitch"
)

// EtherTypes and tag protocol identifiers.
const (
	EtherType    = 0x88b5
	EtherTypeCFM = 0x8902

	tpidC = 0x8100
	tpidS = 0x88a8
)

// Version of our own frames. A receiver drops others.
const Version = 1

// Kind says what the body of one of our own frames is.
type Kind uint8

// The kinds.
const (
	KindEcho  Kind = 1
	KindProbe Kind = 2
)

var (
	// EchoGroup is the Individual LAN Scope group address: no bridge forwards it
	// (802.1Q table 8-1).
	EchoGroup = tsn.MAC{0x01, 0x80, 0xc2, 0x00, 0x00, 0x0e}
	// ProbeGroup is an ordinary group address, which other people's bridges
	// flood.
	ProbeGroup = tsn.MAC{0x03, 0x54, 0x53, 0x4e, 0x00, 0x01}
)

// ErrNotOurs says that a frame is something else, as opposed to a broken one.
var ErrNotOurs = errors.New("not a control frame")

// Header is what stands before the body of any of the frames. VID is 0 for an
// untagged or priority-tagged frame.
type Header struct {
	Dst, Src tsn.MAC
	VID      tsn.VID
}

// ParseEther splits a frame at its EtherType, behind a tag if there is one.
// payload shares memory with frame. A frame too short for that is ErrNotOurs.
func ParseEther(frame []byte) (h Header, etherType uint16, payload []byte, err error) {
	if len(frame) < 14 {
		return h, 0, nil, fmt.Errorf("%w: %d octets", ErrNotOurs, len(frame))
	}
	h.Dst, h.Src = tsn.MAC(frame[:6]), tsn.MAC(frame[6:12])
	etherType, payload = binary.BigEndian.Uint16(frame[12:]), frame[14:]
	if etherType == tpidC || etherType == tpidS {
		if len(payload) < 4 {
			return h, etherType, nil, fmt.Errorf("%w: the tag is cut off", ErrNotOurs)
		}
		h.VID = tsn.VID(binary.BigEndian.Uint16(payload) & 0xfff)
		etherType, payload = binary.BigEndian.Uint16(payload[2:]), payload[4:]
	}
	return h, etherType, payload, nil
}

// appendEther appends addresses, a C-tag if vid is not 0, and the EtherType.
func appendEther(b []byte, h Header, pcp tsn.PCP, etherType uint16) []byte {
	b = append(append(b, h.Dst[:]...), h.Src[:]...)
	if h.VID != 0 {
		b = binary.BigEndian.AppendUint16(b, tpidC)
		b = binary.BigEndian.AppendUint16(b, uint16(pcp)<<13|uint16(h.VID))
	}
	return binary.BigEndian.AppendUint16(b, etherType)
}

// Parse reads one of our own frames: body is *Echo or *Probe. The error is
// ErrNotOurs for another EtherType, anything else means a broken frame.
func Parse(frame []byte) (h Header, body any, err error) {
	h, etherType, b, err := ParseEther(frame)
	if err != nil {
		return h, nil, err
	}
	if etherType != EtherType {
		return h, nil, fmt.Errorf("%w: EtherType %04x", ErrNotOurs, etherType)
	}
	if len(b) < 2 {
		return h, nil, fmt.Errorf("control frame: %d octets", len(b))
	}
	if b[0] != Version {
		return h, nil, fmt.Errorf("control frame: version %d, want %d", b[0], Version)
	}
	switch kind, b := Kind(b[1]), b[2:]; kind {
	case KindEcho:
		body, err = parseEcho(b)
	case KindProbe:
		body, err = parseProbe(b)
	default:
		err = fmt.Errorf("control frame: kind %d", kind)
	}
	if err != nil {
		return h, nil, err
	}
	return h, body, nil
}
