package ctlframe

import (
	"encoding/binary"
	"fmt"

	tsn "tsnswitch"
)

// ProbeState is what the port that sends a probe does with data frames.
type ProbeState uint8

// The states.
const (
	ProbeListening  ProbeState = 1 // it takes none, and will when Left more probes were sent
	ProbeForwarding ProbeState = 2
	ProbeBlocked    ProbeState = 3 // it takes none, and will listen before it does
)

func (s ProbeState) String() string {
	switch s {
	case ProbeListening:
		return "listening"
	case ProbeForwarding:
		return "forwarding"
	case ProbeBlocked:
		return "blocked"
	}
	return fmt.Sprintf("state %d", uint8(s))
}

// Probe looks for another edge port of the fabric on the same LAN.
//
//	octet   0     state
//	        1     while listening: probes still to come before it forwards, this one too
//	        2-3   port of the sender
//	        4-7   fabric
//	        8-11  the next one comes within so many microseconds
//	        12-15 sequence number
//
// The system id is the source address of the frame.
type Probe struct {
	State    ProbeState
	Left     uint8
	Port     tsn.Port
	Fabric   uint32
	Interval uint32 // us
	Sequence uint32
}

const probeLen = 16

// Append appends the whole frame, tagged if vid is not 0.
func (p *Probe) Append(b []byte, src tsn.MAC, vid tsn.VID) []byte {
	b = appendEther(b, Header{Dst: ProbeGroup, Src: src, VID: vid}, 7, EtherType)
	b = append(b, Version, byte(KindProbe), byte(p.State), p.Left)
	b = binary.BigEndian.AppendUint16(b, uint16(p.Port))
	b = binary.BigEndian.AppendUint32(b, p.Fabric)
	b = binary.BigEndian.AppendUint32(b, p.Interval)
	return binary.BigEndian.AppendUint32(b, p.Sequence)
}

func parseProbe(b []byte) (*Probe, error) {
	if len(b) < probeLen {
		return nil, fmt.Errorf("probe: %d octets, want %d", len(b), probeLen)
	}
	p := &Probe{
		State: ProbeState(b[0]), Left: b[1], Port: tsn.Port(binary.BigEndian.Uint16(b[2:])),
		Fabric: binary.BigEndian.Uint32(b[4:]), Interval: binary.BigEndian.Uint32(b[8:]), Sequence: binary.BigEndian.Uint32(b[12:]),
	}
	if p.State < ProbeListening || p.State > ProbeBlocked || p.Port == tsn.NoPort {
		return nil, fmt.Errorf("probe: %s of port %d", p.State, p.Port)
	}
	return p, nil
}
