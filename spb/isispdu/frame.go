package isispdu

import (
	"encoding/binary"
	"errors"
	"fmt"

	tsn "tsnswitch"
)

// Destination addresses of IS-IS PDUs (ISO/IEC 10589 8.4.8, RFC 6329 s8). A
// receiver takes all of them; this switch sends to AllISs.
var (
	AllISs   = tsn.MAC{0x09, 0x00, 0x2b, 0x00, 0x00, 0x05}
	AllL1ISs = tsn.MAC{0x01, 0x80, 0xc2, 0x00, 0x00, 0x14}
	AllL2ISs = tsn.MAC{0x01, 0x80, 0xc2, 0x00, 0x00, 0x15}
)

// Sizes in octets.
const (
	// MaxPDU is what fits an 802.3 frame after the LLC header.
	MaxPDU = 1497
	// ReceiveLSPBufferSize limits an LSP (ISO/IEC 10589 7.3.4.2).
	ReceiveLSPBufferSize = 1492

	frameHeader = 14 + 3
)

// ErrNotISIS says that a frame is something else, as opposed to a broken one.
var ErrNotISIS = errors.New("not an IS-IS frame")

var llc = [3]byte{0xfe, 0xfe, 0x03}

// AppendFrame appends an 802.3 frame with LLC FE FE 03 around pdu, which must
// not be longer than MaxPDU. Padding to the minimum is left to the medium.
func AppendFrame(b []byte, dst, src tsn.MAC, pdu []byte) []byte {
	b = append(b, dst[:]...)
	b = append(b, src[:]...)
	b = binary.BigEndian.AppendUint16(b, uint16(len(llc)+len(pdu)))
	b = append(b, llc[:]...)
	return append(b, pdu...)
}

// ParseFrame returns the PDU inside an 802.3 frame, without padding. The
// result shares memory with frame.
func ParseFrame(frame []byte) (dst, src tsn.MAC, pdu []byte, err error) {
	if len(frame) < frameHeader {
		return dst, src, nil, fmt.Errorf("%w: %d octets", ErrNotISIS, len(frame))
	}
	dst, src = tsn.MAC(frame[0:6]), tsn.MAC(frame[6:12])
	n := int(binary.BigEndian.Uint16(frame[12:14]))
	if n > 1500 || [3]byte(frame[14:17]) != llc {
		return dst, src, nil, fmt.Errorf("%w: length/type %#04x, LLC % x", ErrNotISIS, n, frame[14:17])
	}
	if n < len(llc) || 14+n > len(frame) {
		return dst, src, nil, fmt.Errorf("802.3 length %d in a frame of %d octets", n, len(frame))
	}
	return dst, src, frame[frameHeader : 14+n], nil
}
