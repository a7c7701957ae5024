package isispdu

import (
	"encoding/binary"
	"fmt"

	tsn "tsnswitch"
)

// Sub-TLV codes of a neighbour in TLV 22 and 222.
const (
	SubLinkIDs   = 4
	SubSPBMetric = 29
	SubSPBAOALG  = 30
)

// MaxMetric (2^24-1) says "the adjacency is up, do not use it for SPB"
// (RFC 6329 s14.2).
const MaxMetric = 0xffffff

// ExtISReach is TLV 22, extended IS reachability (RFC 5305 s3).
type ExtISReach struct{ Neighbors []ExtISNeighbor }

// ExtISNeighbor is one neighbour of TLV 22 or 222.
type ExtISNeighbor struct {
	ID      NodeID
	Metric  uint32 // 24 bits
	SubTLVs []TLV
}

// Code returns 22.
func (*ExtISReach) Code() uint8 { return CodeExtISReach }

// AppendValue appends the value octets.
func (t *ExtISReach) AppendValue(b []byte) []byte {
	for _, n := range t.Neighbors {
		b = appendUint24(append(b, n.ID[:]...), n.Metric)
		at := len(b)
		b = appendSubTLVs(append(b, 0), n.SubTLVs)
		b[at] = byte(len(b) - at - 1)
	}
	return b
}

func (t *ExtISReach) String() string {
	s := "is-reach"
	for _, n := range t.Neighbors {
		s += fmt.Sprintf(" %s metric %d", n.ID, n.Metric)
		for _, u := range n.SubTLVs {
			s += " (" + u.String() + ")"
		}
	}
	return s
}

func parseExtISReach(v []byte) TLV {
	t := &ExtISReach{}
	for len(v) > 0 {
		if len(v) < 11 || len(v) < 11+int(v[10]) {
			return nil
		}
		n := ExtISNeighbor{ID: NodeID(v[:7]), Metric: uint24(v[7:])}
		end := 11 + int(v[10])
		var err error
		if n.SubTLVs, err = parseTLVs(v[11:end], parseISReachSub); err != nil {
			return nil
		}
		t.Neighbors = append(t.Neighbors, n)
		v = v[end:]
	}
	return t
}

func parseISReachSub(code uint8, v []byte) TLV {
	switch {
	case code == SubSPBMetric && len(v) == 6:
		return &SPBMetric{Metric: uint24(v), NumPorts: v[3], PortID: tsn.Port(binary.BigEndian.Uint16(v[4:]))}
	case code == SubSPBAOALG:
		return parseOpaqueECT(true, v)
	case code == SubLinkIDs && len(v) == 8:
		return &LinkIDs{Local: binary.BigEndian.Uint32(v), Remote: binary.BigEndian.Uint32(v[4:])}
	}
	return nil
}

// SPBMetric is sub-TLV 29, SPB-Metric (RFC 6329 s14.2).
type SPBMetric struct {
	Metric   uint32 // 24 bits; MaxMetric: do not use
	NumPorts uint8
	PortID   tsn.Port
}

// Code returns 29.
func (*SPBMetric) Code() uint8 { return SubSPBMetric }

// AppendValue appends the value octets.
func (t *SPBMetric) AppendValue(b []byte) []byte {
	return binary.BigEndian.AppendUint16(append(appendUint24(b, t.Metric), t.NumPorts), uint16(t.PortID))
}

func (t *SPBMetric) String() string {
	return fmt.Sprintf("spb-metric %d ports %d port %d", t.Metric, t.NumPorts, t.PortID)
}

// LinkIDs is sub-TLV 4, link local/remote identifiers (RFC 5307 s1.1): it
// tells which ends of parallel links belong together.
type LinkIDs struct{ Local, Remote uint32 }

// Code returns 4.
func (*LinkIDs) Code() uint8 { return SubLinkIDs }

// AppendValue appends the value octets.
func (t *LinkIDs) AppendValue(b []byte) []byte {
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(b, t.Local), t.Remote)
}

func (t *LinkIDs) String() string { return fmt.Sprintf("link-ids %d %d", t.Local, t.Remote) }

func uint24(b []byte) uint32 { return uint32(b[0])<<16 | uint32(b[1])<<8 | uint32(b[2]) }

func appendUint24(b []byte, v uint32) []byte {
	return append(b, byte(v>>16), byte(v>>8), byte(v))
}
