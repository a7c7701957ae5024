package ctlframe

import (
	"encoding/binary"
	"fmt"

	tsn "tsnswitch"
)

// CFM OpCodes (802.1Q table 21-4).
const (
	OpLBR = 2
	OpLBM = 3
)

// MDLevel of the loopback messages that a switch sends. It answers any level.
const MDLevel = 4

// Loopback is a Loopback Message or its Reply (802.1Q 21.7), with one Data TLV
// at most. A reply carries what the message carried (20.28.1 and 21.7.2).
type Loopback struct {
	OpCode      uint8 // OpLBM or OpLBR
	Level       uint8 // 0..7
	Transaction uint32
	// TLVs are the octets behind the transaction identifier, End TLV and all
	// that may follow it as padding included.
	TLVs []byte
}

const (
	tlvEnd  = 0
	tlvData = 3
)

// DataTLVs makes the TLVs of a message that carries n octets of data.
func DataTLVs(n int) []byte {
	if n == 0 {
		return []byte{tlvEnd}
	}
	b := binary.BigEndian.AppendUint16([]byte{tlvData}, uint16(n))
	for k := range n {
		b = append(b, byte(k))
	}
	return append(b, tlvEnd)
}

// Append appends the whole frame.
func (l *Loopback) Append(b []byte, h Header, pcp tsn.PCP) []byte {
	b = appendEther(b, h, pcp, EtherTypeCFM)
	b = append(b, l.Level<<5, l.OpCode, 0, 4)
	b = binary.BigEndian.AppendUint32(b, l.Transaction)
	return append(b, l.TLVs...)
}

// ParseLoopback reads a frame. The error is ErrNotOurs for a frame that is not
// CFM or has another OpCode, anything else means a broken frame. TLVs share
// memory with frame.
func ParseLoopback(frame []byte) (h Header, l *Loopback, err error) {
	h, etherType, b, err := ParseEther(frame)
	if err != nil {
		return h, nil, err
	}
	if etherType != EtherTypeCFM {
		return h, nil, fmt.Errorf("%w: EtherType %04x", ErrNotOurs, etherType)
	}
	if len(b) < 4 {
		return h, nil, fmt.Errorf("CFM PDU: %d octets", len(b))
	}
	l = &Loopback{OpCode: b[1], Level: b[0] >> 5}
	if l.OpCode != OpLBM && l.OpCode != OpLBR {
		return h, nil, fmt.Errorf("%w: CFM OpCode %d", ErrNotOurs, l.OpCode)
	}
	// 21.4.5: the first TLV comes no earlier than version 0 has it.
	first := 4 + int(b[3])
	if b[3] < 4 || len(b) < first {
		return h, nil, fmt.Errorf("loopback message: %d octets, the first TLV at %d", len(b), first)
	}
	l.Transaction, l.TLVs = binary.BigEndian.Uint32(b[4:]), b[first:]
	return h, l, nil
}
