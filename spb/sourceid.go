package spb

import (
	"bytes"

	tsn "tsnswitch"
	"tsnswitch/spb/isispdu"
)

// sourceID is the SPSourceID of this bridge: 20 bits of every group address
// it sends to, unique in the region (RFC 6329 s4.5 and s14.1).
//
//	automatic   the low 20 bits of the system id if they will do, else a number
//	            that follows from the system id, else the next free one
//	configured  that one
//
// Two bridges with one number see each other in their LSPs. The configured one
// keeps it; of two alike the one with the numerically lower BridgeID. An
// automatic loser chooses again; a configured loser sends to no groups until
// somebody gives one of them another number, and says so.
type sourceID struct {
	value    uint32 // 0: none
	conflict tsn.MAC
}

const sourceIDMask = 0xfffff

// validSource: group addresses of the numbers 333xx would begin with 33:33,
// which belongs to IPv6: kernels keep such entries by IP address.
func validSource(v uint32) bool { return v != 0 && v>>8 != 0x333 }

func (s sourceID) usable() bool { return s.value != 0 && s.conflict.IsZero() }

// firstSourceID is what the bridge begins with.
func (c Config) firstSourceID() uint32 {
	if c.SPSourceID != 0 {
		return c.SPSourceID
	}
	if v := uint32(c.SystemID.Uint64() & sourceIDMask); validSource(v) {
		return v
	}
	return 0
}

// recallSourceID keeps the number that was chosen in an earlier life: all group
// addresses would be other ones after a restart.
func (i *Instance) recallSourceID(own *isispdu.LSP) {
	if i.cfg.SPSourceID != 0 || own.ID.Pseudonode() != 0 || own.ID.Fragment() != 0 {
		return
	}
	for _, c := range isispdu.All[*isispdu.MTCapability](own.TLVs) {
		s, ok := isispdu.Find[*isispdu.SPBInst](c.SubTLVs)
		if ok && c.MT&0xfff == 0 && s.Source&isispdu.SourceAuto != 0 && validSource(s.SPSourceID()) {
			i.sourceID.value = s.SPSourceID()
		}
	}
}

// resolveSourceID compares the own number with the nodes' after an SPF run.
func (i *Instance) resolveSourceID() {
	s, was := &i.sourceID, i.sourceID
	if i.cfg.SPSourceID == 0 && (s.value == 0 || i.sourceTaken(s.value) != nil) {
		s.value = i.freeSourceID()
	}
	s.conflict = tsn.MAC{}
	if i.cfg.SPSourceID != 0 {
		if n := i.sourceTaken(s.value); n != nil {
			s.conflict = n.system
		}
	}
	if *s == was {
		return
	}
	i.own.dirty, i.top.dirty = true, true
	switch {
	case !s.conflict.IsZero():
		i.notice(NoticeSourceID, tsn.NoPort, "SPSourceID "+hex20(s.value)+" is "+s.conflict.String()+"'s: configure another; groups are replicated until then")
	case was.value != 0 && s.value != was.value:
		i.counters.SourceIDChanges++
		i.notice(NoticeSourceID, tsn.NoPort, "SPSourceID "+hex20(was.value)+" is in use elsewhere; now "+hex20(s.value))
	}
}

// sourceTaken returns the node that has a better claim to a number, or nil.
func (i *Instance) sourceTaken(value uint32) *node {
	own := tsn.MakeBridgeID(i.cfg.Priority, i.cfg.SystemID)
	for k := range i.top.nodes {
		n := &i.top.nodes[k]
		if n.system == i.cfg.SystemID || n.source != value || value == 0 {
			continue
		}
		auto := i.cfg.SPSourceID == 0
		if n.sourceAuto != auto {
			if auto {
				return n
			}
			continue
		}
		if bytes.Compare(n.bridgeID[:], own[:]) < 0 {
			return n
		}
	}
	return nil
}

// freeSourceID looks for a number that nobody uses, in an order that differs
// between bridges.
func (i *Instance) freeSourceID() uint32 {
	used := map[uint32]bool{0: true}
	for _, n := range i.top.nodes {
		if n.system != i.cfg.SystemID {
			used[n.source] = true
		}
	}
	r := prng{i.cfg.SystemID.Uint64()}
	for v := i.cfg.firstSourceID(); ; v = uint32(r.next()) & sourceIDMask {
		if validSource(v) && !used[v] {
			return v
		}
		if len(used) > sourceIDMask {
			return 0
		}
	}
}

func hex20(v uint32) string {
	const digits = "0123456789abcdef"
	b := [5]byte{}
	for k := range b {
		b[k] = digits[v>>(16-4*k)&15]
	}
	return string(b[:])
}
