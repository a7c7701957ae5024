package link

import "golang.org/x/net/bpf"

// packetOutgoing is PACKET_OUTGOING, the kernel's mark of a frame that leaves.
const packetOutgoing = 4

// isisFrame accepts a frame whose length/type field is a length (802.3 3.2.6)
// and whose LLC header is FE FE 03, the ISO network layer.
var isisFrame = []bpf.Instruction{
	bpf.LoadAbsolute{Off: 12, Size: 2},
	bpf.JumpIf{Cond: bpf.JumpGreaterThan, Val: 1500, SkipTrue: 5},
	bpf.LoadAbsolute{Off: 14, Size: 2},
	bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: 0xfefe, SkipTrue: 3},
	bpf.LoadAbsolute{Off: 16, Size: 1},
	bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: 0x03, SkipTrue: 1},
	bpf.RetConstant{Val: 0xffff},
	bpf.RetConstant{Val: 0},
}

// isisTap is what an ETH_P_ALL socket needs before isisFrame: it sees frames
// that leave too, and a tag that the driver has taken off the frame.
var isisTap = []bpf.Instruction{
	bpf.LoadExtension{Num: bpf.ExtType},
	bpf.JumpIf{Cond: bpf.JumpEqual, Val: packetOutgoing, SkipTrue: 2},
	bpf.LoadExtension{Num: bpf.ExtVLANTagPresent},
	bpf.JumpIf{Cond: bpf.JumpEqual, Val: 0, SkipTrue: 1},
	bpf.RetConstant{Val: 0},
}

func isisFilter() ([]bpf.RawInstruction, error) {
	return bpf.Assemble(append(append([]bpf.Instruction{}, isisTap...), isisFrame...))
}
