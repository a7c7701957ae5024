package isispdu

import (
	"encoding/binary"
	"fmt"

	tsn "tsnswitch"
)

// ThreeWayState is the Adjacency Three-Way State of RFC 5303 s3.1.
type ThreeWayState uint8

// The states, as numbered on the wire.
const (
	Up           ThreeWayState = 0
	Initializing ThreeWayState = 1
	Down         ThreeWayState = 2
)

func (s ThreeWayState) String() string {
	switch s {
	case Up:
		return "Up"
	case Initializing:
		return "Initializing"
	case Down:
		return "Down"
	}
	return fmt.Sprintf("state %d", uint8(s))
}

// ThreeWay is TLV 240 (RFC 5303 s3.1). Fields after State are optional from
// the end: Fields says how many of the three are there.
type ThreeWay struct {
	State                  ThreeWayState
	Fields                 uint8 // 0..3
	ExtendedLocalCircuitID uint32
	NeighborSystemID       tsn.MAC
	NeighborCircuitID      uint32
}

var threeWayLen = [4]int{1, 5, 11, 15}

// Code returns 240.
func (*ThreeWay) Code() uint8 { return CodeThreeWay }

// AppendValue appends the value octets.
func (t *ThreeWay) AppendValue(b []byte) []byte {
	b = append(b, byte(t.State))
	if t.Fields >= 1 {
		b = binary.BigEndian.AppendUint32(b, t.ExtendedLocalCircuitID)
	}
	if t.Fields >= 2 {
		b = append(b, t.NeighborSystemID[:]...)
	}
	if t.Fields >= 3 {
		b = binary.BigEndian.AppendUint32(b, t.NeighborCircuitID)
	}
	return b
}

func (t *ThreeWay) String() string {
	s := "three-way " + t.State.String()
	if t.Fields >= 1 {
		s += fmt.Sprintf(" circuit %d", t.ExtendedLocalCircuitID)
	}
	if t.Fields >= 2 {
		s += fmt.Sprintf(" neighbour %s", t.NeighborSystemID)
	}
	if t.Fields >= 3 {
		s += fmt.Sprintf(" circuit %d", t.NeighborCircuitID)
	}
	return s
}

func parseThreeWay(v []byte) TLV {
	for f, n := range threeWayLen {
		if len(v) != n || v[0] > byte(Down) {
			continue
		}
		t := &ThreeWay{State: ThreeWayState(v[0]), Fields: uint8(f)}
		if f >= 1 {
			t.ExtendedLocalCircuitID = binary.BigEndian.Uint32(v[1:])
		}
		if f >= 2 {
			t.NeighborSystemID = tsn.MAC(v[5:11])
		}
		if f >= 3 {
			t.NeighborCircuitID = binary.BigEndian.Uint32(v[11:])
		}
		return t
	}
	return nil
}
