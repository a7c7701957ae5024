package isispdu

import (
	"encoding/binary"
	"fmt"
)

// Bits of a topology in MultiTopology; the identifier is the low 12.
const (
	MTComponentOverload = 0x8000
	MTComponentAttached = 0x4000
)

// MultiTopology is TLV 229 (RFC 5120 s7.1): the topologies that the sender
// takes part in. Without it that is topology 0 alone.
type MultiTopology struct{ Topologies []uint16 } // O, A, reserved (2 bits), MTID (12)

// Code returns 229.
func (*MultiTopology) Code() uint8 { return CodeMultiTopology }

// AppendValue appends the value octets.
func (t *MultiTopology) AppendValue(b []byte) []byte {
	for _, m := range t.Topologies {
		b = binary.BigEndian.AppendUint16(b, m)
	}
	return b
}

func (t *MultiTopology) String() string {
	s := "topologies"
	for _, m := range t.Topologies {
		s += fmt.Sprintf(" %d", m&0xfff)
	}
	return s
}

func parseMultiTopology(v []byte) TLV {
	if len(v)%2 != 0 {
		return nil
	}
	t := &MultiTopology{}
	for ; len(v) > 0; v = v[2:] {
		t.Topologies = append(t.Topologies, binary.BigEndian.Uint16(v))
	}
	return t
}

// MTISReach is TLV 222 (RFC 5120 s7.2): TLV 22 for one topology. A receiver
// ignores it if the topology is 0.
type MTISReach struct {
	MT        uint16 // reserved (4 bits), MTID (12)
	Neighbors []ExtISNeighbor
}

// Code returns 222.
func (*MTISReach) Code() uint8 { return CodeMTISReach }

// AppendValue appends the value octets.
func (t *MTISReach) AppendValue(b []byte) []byte {
	return (&ExtISReach{t.Neighbors}).AppendValue(binary.BigEndian.AppendUint16(b, t.MT))
}

func (t *MTISReach) String() string {
	return fmt.Sprintf("mt %d ", t.MT&0xfff) + (&ExtISReach{t.Neighbors}).String()
}

func parseMTISReach(v []byte) TLV {
	if len(v) < 2 {
		return nil
	}
	r, ok := parseExtISReach(v[2:]).(*ExtISReach)
	if !ok {
		return nil
	}
	return &MTISReach{MT: binary.BigEndian.Uint16(v), Neighbors: r.Neighbors}
}
