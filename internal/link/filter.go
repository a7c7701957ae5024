package link

import "golang.org/x/net/bpf"

// packetOutgoing is PACKET_OUTGOING, the kernel's mark of a frame that leaves.
const packetOutgoing = 4

// The EtherTypes of control frames beside IS-IS.
const (
	typeOwn = 0x88b5 // IEEE local experimental 1: frames between these switches
	typeCFM = 0x8902 // Connectivity Fault Management (802.1Q 21.4)
	typeTag = 0x8100
)

// controlFrame accepts a frame of either EtherType, and one whose length/type
// field is a length (802.3 3.2.6) and whose LLC header is FE FE 03, the ISO
// network layer. llcTap stands before its last accept.
func controlFrame(llcTap ...bpf.Instruction) []bpf.Instruction {
	n := len(llcTap)
	head := []bpf.Instruction{
		bpf.LoadAbsolute{Off: 12, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: typeOwn, SkipTrue: uint8(6 + n)},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: typeCFM, SkipTrue: uint8(5 + n)},
		bpf.JumpIf{Cond: bpf.JumpGreaterThan, Val: 1500, SkipTrue: uint8(5 + n)},
		bpf.LoadAbsolute{Off: 14, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: 0xfefe, SkipTrue: uint8(3 + n)},
		bpf.LoadAbsolute{Off: 16, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: 0x03, SkipTrue: uint8(1 + n)},
	}
	return append(append(head, llcTap...),
		bpf.RetConstant{Val: 0xffff},
		bpf.RetConstant{Val: 0},
	)
}

// tap is what an ETH_P_ALL socket needs before that: it sees frames that leave
// too.
var tap = []bpf.Instruction{
	bpf.LoadExtension{Num: bpf.ExtType},
	bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: packetOutgoing, SkipTrue: 1},
	bpf.RetConstant{Val: 0},
}

// untagged: IS-IS has no tag. The kernel has taken it off the frame by now.
var untagged = []bpf.Instruction{
	bpf.LoadExtension{Num: bpf.ExtVLANTagPresent},
	bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: 0, SkipTrue: 1},
}

func controlFilter() ([]bpf.RawInstruction, error) {
	return bpf.Assemble(append(append([]bpf.Instruction{}, tap...), controlFrame(untagged...)...))
}
