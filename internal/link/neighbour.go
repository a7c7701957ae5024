package link

import (
	"golang.org/x/net/bpf"

	"tsnswitch"
)

// DefaultNeighbourLimit is for questions of hosts: a busy LAN has some tens a
// second.
var DefaultNeighbourLimit = Limit{PerSecond: 500, Burst: 500}

// newNeighbourPort sees what hosts ask each other on an edge port, ARP and
// neighbour discovery, before the bridge does, and sends the answer of
// Config.Neighbours, if there is one, back to the port.
func newNeighbourPort(port tsn.Port, cfg *Config) *controlPort {
	p := &controlPort{port: port, filter: neighbourFilter, log: cfg.Logger}
	p.deliver = func(ev tsn.Event) {
		r, ok := ev.(tsn.Received)
		if !ok {
			return
		}
		if reply := cfg.Neighbours(r.Port, r.Frame); reply != nil {
			_ = p.send(tsn.Send{Port: port, Frame: reply}) // counted; the host asks again
		}
	}
	p.limits = []admission{{}}
	p.limit = func([]byte) *admission { return &p.limits[0] }
	p.limits[0].setup(&p.n, DefaultNeighbourLimit, tsn.MAC{})
	return p
}

// neighbourFrame accepts ARP, and ICMPv6 neighbour solicitations (135) and
// advertisements (136) in IPv6 packets without extension headers.
var neighbourFrame = []bpf.Instruction{
	bpf.LoadAbsolute{Off: 12, Size: 2},
	bpf.JumpIf{Cond: bpf.JumpEqual, Val: 0x0806, SkipTrue: 6},
	bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: 0x86dd, SkipTrue: 6},
	bpf.LoadAbsolute{Off: 20, Size: 1},
	bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: 58, SkipTrue: 4},
	bpf.LoadAbsolute{Off: 54, Size: 1},
	bpf.JumpIf{Cond: bpf.JumpEqual, Val: 135, SkipTrue: 1},
	bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: 136, SkipTrue: 1},
	bpf.RetConstant{Val: 0xffff},
	bpf.RetConstant{Val: 0},
}

func neighbourFilter() ([]bpf.RawInstruction, error) {
	return bpf.Assemble(append(append([]bpf.Instruction{}, tap...), neighbourFrame...))
}
