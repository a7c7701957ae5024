package dataplane

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	tsn "tsnswitch"
)

// Frames of MRP applications (BridgeState.KeptBack) are dropped on every port of
// the bridge before the bridge sees them:
//
//	AF_PACKET (the daemon) <── port ── clsact ingress ── cls_bpf: group? drop ── bridge
//
// A Linux bridge floods those of MVRP and MMRP and, if its group_fwd_mask says
// so, those of MSRP; neighbours of two ports would then register what only the
// other declares. A socket for all protocols gets a frame before the filter does.
//
// The filter is a classic BPF program whose value is the verdict: it needs no
// action, no flower and no bpf(2), which not every kernel has. It is never
// offloaded, for a device would keep the frames from the daemon, too; there a
// group entry with the bridge alone (control.go) makes the chip hand them up.
//
// It stays in the kernel when the daemon stops, as all of the state does: in the
// seconds of a restart the frames would otherwise join neighbours that are none.
// A daemon that is configured not to take part removes it.

// KeepBack sets the frames that a port keeps from the bridge; none: it has no filter.
type KeepBack struct {
	Port   tsn.Port
	Frames []tsn.ControlFrames
}

// On returns the port.
func (o KeepBack) On() tsn.Port { return o.Port }

// Do sets them.
func (o KeepBack) Do(s *State) {
	p := s.Bridge.port(o.Port)
	p.KeptBack, p.OddFilter = o.Frames, false
}

// Text prints the op.
func (o KeepBack) Text(c *Config) string {
	if len(o.Frames) == 0 {
		return fmt.Sprintf("tc filter del dev %s ingress pref %d", c.ifname(o.Port), keepBackPref)
	}
	return keptText(c, o.Port, o.Frames)
}

func keptText(c *Config, p tsn.Port, frames []tsn.ControlFrames) string {
	var to []string
	for _, f := range frames {
		to = append(to, f.String())
	}
	return fmt.Sprintf("tc filter dev %s ingress bpf drop %s", c.ifname(p), strings.Join(to, " "))
}

// keepBackPref is the preference of the filter: before stream filters, which
// those frames are none of.
const keepBackPref = 0x7400

func checkKeptBack(frames []tsn.ControlFrames) (errs []error) {
	for i, f := range frames {
		switch {
		case !f.Group.IsGroup() || f.Group == tsn.Broadcast:
			errs = append(errs, invalid("frames to %s cannot be kept back: not a multicast group", f.Group))
		case i > 0 && tsn.CompareControlFrames(frames[i-1], f) >= 0:
			errs = append(errs, invalid("frames to %s to be kept back are double or out of order", f))
		}
	}
	if len(frames) > maxKeptBack {
		errs = append(errs, invalid("%d kinds of frames to be kept back, more than %d", len(frames), maxKeptBack))
	}
	return errs
}

const maxKeptBack = 16

func planKeptBack(have *State, t *Target, do func(Op)) {
	for _, w := range t.Bridge.Ports {
		p := *have.Bridge.port(w.Port)
		if slices.Equal(p.KeptBack, w.KeptBack) && !p.OddFilter {
			continue
		}
		if e := have.EgressOf(w.Port); e != nil && !e.Hook {
			do(InstallHook{w.Port})
		}
		if p.OddFilter { // it may be of another kind
			do(KeepBack{Port: w.Port})
		}
		if len(w.KeptBack) > 0 || !p.OddFilter {
			do(KeepBack{w.Port, w.KeptBack})
		}
	}
}

// instruction is struct sock_filter.
type instruction struct {
	code   uint16
	jt, jf uint8
	k      uint32
}

const (
	loadWord, loadHalf = 0x20, 0x28 // at an offset from the destination address
	jumpEqual          = 0x15
	verdict            = 0x06
	typeOffset         = 12
)

// keepBackProgram compares address and type of a frame with each kind in turn.
func keepBackProgram(frames []tsn.ControlFrames) (out []instruction) {
	for _, f := range frames {
		g := f.Group
		left := uint8(3) // to be skipped if the address's head is another
		if f.EtherType != 0 {
			left += 2
		}
		out = append(out,
			instruction{loadWord, 0, 0, 0}, instruction{jumpEqual, 0, left, binary.BigEndian.Uint32(g[:])},
			instruction{loadHalf, 0, 0, 4}, instruction{jumpEqual, 0, left - 2, uint32(binary.BigEndian.Uint16(g[4:]))})
		if f.EtherType != 0 {
			out = append(out, instruction{loadHalf, 0, 0, typeOffset}, instruction{jumpEqual, 0, 1, uint32(f.EtherType)})
		}
		out = append(out, instruction{verdict, 0, 0, verdictShot})
	}
	next := int32(verdictNext)
	return append(out, instruction{verdict, 0, 0, uint32(next)})
}

// keptBackBy is the reverse; ok is false for any other program.
func keptBackBy(p []instruction) (frames []tsn.ControlFrames, ok bool) {
	for i := 0; i+4 < len(p); {
		var f tsn.ControlFrames
		binary.BigEndian.PutUint32(f.Group[:], p[i+1].k)
		binary.BigEndian.PutUint16(f.Group[4:], uint16(p[i+3].k))
		if i += 4; p[i].code == loadHalf {
			f.EtherType = uint16(p[min(i+1, len(p)-1)].k)
			i += 2
		}
		frames, i = append(frames, f), i+1
	}
	return frames, slices.Equal(keepBackProgram(frames), p)
}
