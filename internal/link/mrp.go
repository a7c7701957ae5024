package link

import (
	"encoding/binary"
	"net"

	"golang.org/x/net/bpf"

	"tsnswitch"
)

// The EtherTypes of MRP applications (802.1Q table 10-2 and 35.2.2.1).
const (
	typeMSRP = 0x22ea
	typeMVRP = 0x88f5
	typeMMRP = 0x88f6
)

// mrpGroups are the addresses that MRPDUs go to (802.1Q table 10-1): MSRP's, that
// of the bridges next to this one, and those of MMRP and MVRP.
var mrpGroups = []net.HardwareAddr{
	{0x01, 0x80, 0xc2, 0x00, 0x00, 0x0e},
	{0x01, 0x80, 0xc2, 0x00, 0x00, 0x20},
	{0x01, 0x80, 0xc2, 0x00, 0x00, 0x21},
}

// DefaultMRPLimit is for each application on each port. A PDU holds some 35
// talkers or 350 listeners, and even a LAN of several stations sends one or two
// in a join time.
var DefaultMRPLimit = Limit{PerSecond: 300, Burst: 300}

// newMRPPort carries MRPDUs. They have no tag (802.1Q 10.8.1.1), but for those of
// MMRP, of which each VLAN has its own. A bridge forwards those of MVRP and MMRP, so
// the port is tapped as for control frames.
// Each application has its own limit.
func newMRPPort(port tsn.Port, cfg *Config) *controlPort {
	p := &controlPort{port: port, filter: mrpFilter, groups: mrpGroups, deliver: cfg.Control, log: cfg.Logger}
	p.limits = []admission{{}, {}, {}}
	p.limit = func(frame []byte) *admission { return &p.limits[mrpKind(frame)] }
	for i := range p.limits {
		p.limits[i].setup(&p.n, cfg.MRPLimit, cfg.Own)
	}
	return p
}

// mrpKind tells the applications apart.
func mrpKind(frame []byte) int {
	if len(frame) >= headerLen {
		switch binary.BigEndian.Uint16(frame[12:]) {
		case typeMVRP:
			return 1
		case typeMMRP:
			return 2
		}
	}
	return 0
}

// mrpFrame accepts frames of the three EtherTypes, with a tag only MMRP's.
var mrpFrame = []bpf.Instruction{
	bpf.LoadAbsolute{Off: 12, Size: 2},
	bpf.JumpIf{Cond: bpf.JumpEqual, Val: typeMMRP, SkipTrue: 4},
	bpf.JumpIf{Cond: bpf.JumpEqual, Val: typeMSRP, SkipTrue: 1},
	bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: typeMVRP, SkipTrue: 3},
	bpf.LoadExtension{Num: bpf.ExtVLANTagPresent},
	bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: 0, SkipTrue: 1},
	bpf.RetConstant{Val: 0xffff},
	bpf.RetConstant{Val: 0},
}

func mrpFilter() ([]bpf.RawInstruction, error) {
	return bpf.Assemble(append(append([]bpf.Instruction{}, tap...), mrpFrame...))
}

// taggedMMRP tells a frame of MMRP in a VLAN with a tag.
func taggedMMRP(frame []byte) bool {
	const tagLen = 4
	return len(frame) >= headerLen+tagLen && binary.BigEndian.Uint16(frame[12:]) == typeTag &&
		binary.BigEndian.Uint16(frame[12+tagLen:]) == typeMMRP
}
