package isispdu

import (
	"encoding/binary"
	"fmt"
	"math"

	tsn "tsnswitch"
)

// Sub-TLV codes of IS-IS path control and reservation, 802.1Qca (RFC 7813 s6).
// Topology is a sub-TLV of MT-Capability; the others are inside Topology.
const (
	SubTopology            = 21
	SubHop                 = 22
	SubBandwidthConstraint = 23
	SubBandwidthAssignment = 24
	SubTimestamp           = 25
)

// Topology is sub-TLV 21 (RFC 7813 s6.1): an explicit tree, hop by hop.
type Topology struct {
	BaseVIDs []uint16 // reserved (4 bits), Base VID (12); none for a GADAG
	SubTLVs  []TLV
}

// Code returns 21.
func (*Topology) Code() uint8 { return SubTopology }

// AppendValue appends the value octets.
func (t *Topology) AppendValue(b []byte) []byte {
	b = append(b, byte(len(t.BaseVIDs)))
	for _, v := range t.BaseVIDs {
		b = binary.BigEndian.AppendUint16(b, v)
	}
	return appendSubTLVs(b, t.SubTLVs)
}

func (t *Topology) String() string {
	s := "topology vids"
	for _, v := range t.BaseVIDs {
		s += fmt.Sprintf(" %d", v&0xfff)
	}
	return s + joinSub(t.SubTLVs)
}

func parseTopology(v []byte) TLV {
	if len(v) < 1 || len(v) < 1+2*int(v[0]) {
		return nil
	}
	t := &Topology{}
	end := 1 + 2*int(v[0])
	for at := 1; at < end; at += 2 {
		t.BaseVIDs = append(t.BaseVIDs, binary.BigEndian.Uint16(v[at:]))
	}
	var err error
	if t.SubTLVs, err = parseTLVs(v[end:], parseTopologySub); err != nil {
		return nil
	}
	return t
}

func parseTopologySub(code uint8, v []byte) TLV {
	switch {
	case code == SubHop:
		return parseHop(v)
	case (code == SubBandwidthConstraint || code == SubBandwidthAssignment) && len(v) == 5:
		return &Bandwidth{Assignment: code == SubBandwidthAssignment, Class: v[0], Rate: binary.BigEndian.Uint32(v[1:])}
	case code == SubTimestamp && len(v) == 4:
		return &Timestamp{Seconds: binary.BigEndian.Uint32(v)}
	}
	return nil
}

// Bits of Hop.Flags.
const (
	HopCircuit    = 0x80 // C: an extended local circuit id follows
	HopVID        = 0x40 // V: VIDs follow
	HopEdgeBridge = 0x20 // B
	HopRoot       = 0x10 // R
	HopLeaf       = 0x08 // L
	HopExclude    = 0x04 // E
)

// Hop is sub-TLV 22 (RFC 7813 s6.2).
type Hop struct {
	Flags    uint8
	SystemID tsn.MAC
	// ExtendedLocalCircuitID is there if HopCircuit, VIDs if HopVID.
	ExtendedLocalCircuitID uint32
	VIDs                   []uint16 // T, R, reserved (2 bits), VID (12)
	// Delay is a Unidirectional Link Delay sub-TLV (RFC 7810 s4.1); HasDelay
	// says that it is there.
	HasDelay bool
	Delay    [6]byte
}

// DelayMicroseconds returns the delay budget of a loose hop.
func (t *Hop) DelayMicroseconds() (us uint32, ok bool) {
	const unidirectionalLinkDelay = 33
	if !t.HasDelay || t.Delay[0] != unidirectionalLinkDelay || t.Delay[1] != 4 {
		return 0, false
	}
	return uint24(t.Delay[3:]), true
}

// Code returns 22.
func (*Hop) Code() uint8 { return SubHop }

// AppendValue appends the value octets.
func (t *Hop) AppendValue(b []byte) []byte {
	b = append(append(b, t.Flags), t.SystemID[:]...)
	if t.Flags&HopCircuit != 0 {
		b = binary.BigEndian.AppendUint32(b, t.ExtendedLocalCircuitID)
	}
	if t.Flags&HopVID != 0 {
		b = append(b, byte(len(t.VIDs)))
		for _, v := range t.VIDs {
			b = binary.BigEndian.AppendUint16(b, v)
		}
	}
	if t.HasDelay {
		b = append(b, t.Delay[:]...)
	}
	return b
}

func (t *Hop) String() string {
	s := fmt.Sprintf("hop %s flags %02x", t.SystemID, t.Flags)
	if t.Flags&HopCircuit != 0 {
		s += fmt.Sprintf(" circuit %d", t.ExtendedLocalCircuitID)
	}
	for _, v := range t.VIDs {
		s += fmt.Sprintf(" vid %d", v&0xfff)
	}
	if us, ok := t.DelayMicroseconds(); ok {
		s += fmt.Sprintf(" delay %d us", us)
	}
	return s
}

func parseHop(v []byte) TLV {
	if len(v) < 7 {
		return nil
	}
	t := &Hop{Flags: v[0], SystemID: tsn.MAC(v[1:7])}
	v = v[7:]
	if t.Flags&HopCircuit != 0 {
		if len(v) < 4 {
			return nil
		}
		t.ExtendedLocalCircuitID, v = binary.BigEndian.Uint32(v), v[4:]
	}
	if t.Flags&HopVID != 0 {
		if len(v) < 1 || len(v) < 1+2*int(v[0]) {
			return nil
		}
		n := int(v[0])
		for k := range n {
			t.VIDs = append(t.VIDs, binary.BigEndian.Uint16(v[1+2*k:]))
		}
		v = v[1+2*n:]
	}
	switch len(v) {
	case 0:
	case len(t.Delay):
		t.HasDelay, t.Delay = true, [6]byte(v)
	default:
		return nil
	}
	return t
}

// Bandwidth is sub-TLV 23, what a loose tree must find (RFC 7813 s6.3), or 24,
// what is recorded as taken (s6.4).
type Bandwidth struct {
	Assignment bool // sub-TLV 24
	// Class is PCP (3 bits), D, then for a constraint P and 3 reserved bits,
	// for an assignment importance (3 bits) and a reserved one. The text of s6.3
	// gives PCP 4 bits, its drawing 3; only 3 fit the octet.
	Class uint8
	Rate  uint32 // octets per second, as the bits of an IEEE 754 number
}

// OctetsPerSecond returns the rate.
func (t *Bandwidth) OctetsPerSecond() float32 { return math.Float32frombits(t.Rate) }

// Code returns 23 or 24.
func (t *Bandwidth) Code() uint8 {
	if t.Assignment {
		return SubBandwidthAssignment
	}
	return SubBandwidthConstraint
}

// AppendValue appends the value octets.
func (t *Bandwidth) AppendValue(b []byte) []byte {
	return binary.BigEndian.AppendUint32(append(b, t.Class), t.Rate)
}

func (t *Bandwidth) String() string {
	kind := "constraint"
	if t.Assignment {
		kind = "assignment"
	}
	return fmt.Sprintf("bandwidth %s class %02x %g octets/s", kind, t.Class, t.OctetsPerSecond())
}

// Timestamp is sub-TLV 25 (RFC 7813 s6.5): PTP time in seconds.
type Timestamp struct{ Seconds uint32 }

// Code returns 25.
func (*Timestamp) Code() uint8 { return SubTimestamp }

// AppendValue appends the value octets.
func (t *Timestamp) AppendValue(b []byte) []byte { return binary.BigEndian.AppendUint32(b, t.Seconds) }

func (t *Timestamp) String() string { return fmt.Sprintf("timestamp %d", t.Seconds) }
