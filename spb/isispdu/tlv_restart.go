package isispdu

import (
	"encoding/binary"
	"fmt"

	tsn "tsnswitch"
)

// Bits of Restart.Flags (RFC 8706 s3.2).
const (
	RestartRR = 0x01 // restart request
	RestartRA = 0x02 // restart acknowledgement
	RestartSA = 0x04 // suppress adjacency advertisement
	RestartPR = 0x08 // restart is planned
	RestartPA = 0x10 // planned restart acknowledgement
)

// Restart is TLV 211 (RFC 8706 s3.2). Fields after Flags are optional from the
// end: Fields says how many of the two are there.
type Restart struct {
	Flags            uint8
	Fields           uint8  // 0..2
	RemainingTime    uint16 // seconds; with RA, PR and PA
	NeighborSystemID tsn.MAC
}

var restartLen = [3]int{1, 3, 9}

// Code returns 211.
func (*Restart) Code() uint8 { return CodeRestart }

// AppendValue appends the value octets.
func (t *Restart) AppendValue(b []byte) []byte {
	b = append(b, t.Flags)
	if t.Fields >= 1 {
		b = binary.BigEndian.AppendUint16(b, t.RemainingTime)
	}
	if t.Fields >= 2 {
		b = append(b, t.NeighborSystemID[:]...)
	}
	return b
}

func (t *Restart) String() string {
	s := "restart"
	for bit, name := range [8]string{"RR", "RA", "SA", "PR", "PA", "bit 5", "bit 6", "bit 7"} {
		if t.Flags>>bit&1 != 0 {
			s += " " + name
		}
	}
	if t.Fields >= 1 {
		s += fmt.Sprintf(" remaining %d s", t.RemainingTime)
	}
	if t.Fields >= 2 {
		s += fmt.Sprintf(" neighbour %s", t.NeighborSystemID)
	}
	return s
}

func parseRestart(v []byte) TLV {
	for f, n := range restartLen {
		if len(v) != n {
			continue
		}
		t := &Restart{Flags: v[0], Fields: uint8(f)}
		if f >= 1 {
			t.RemainingTime = binary.BigEndian.Uint16(v[1:])
		}
		if f >= 2 {
			t.NeighborSystemID = tsn.MAC(v[3:9])
		}
		return t
	}
	return nil
}
