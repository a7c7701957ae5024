package dataplane

import (
	"encoding/binary"
	"fmt"

	"github.com/mdlayher/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	tsn "tsnswitch"
)

// TCA_BPF_* and their flags (linux/pkt_cls.h).
const (
	bpfOpsLen, bpfOps, bpfFlags, bpfFlagsGen = 4, 5, 8, 9

	bpfActDirect = 1
	skipHW       = 1

	sizeofInstruction = 8
	keepBackHandle    = 1
)

// keepBackRequest makes or replaces the filter, or removes it.
func keepBackRequest(index int, frames []tsn.ControlFrames) (request, error) {
	info := keepBackPref<<16 | uint32(binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, unix.ETH_P_ALL)))
	if len(frames) == 0 {
		return newRequest(unix.RTM_DELTFILTER, 0, tcmsg(index, 0, atIngress, info), nil)
	}
	program := keepBackProgram(frames)
	var ops []byte
	for _, i := range program {
		ops = binary.NativeEndian.AppendUint16(ops, i.code)
		ops = append(ops, i.jt, i.jf)
		ops = binary.NativeEndian.AppendUint32(ops, i.k)
	}
	return newRequest(unix.RTM_NEWTFILTER, netlink.Create, tcmsg(index, keepBackHandle, atIngress, info), func(ae *netlink.AttributeEncoder) {
		ae.String(nl.TCA_KIND, "bpf")
		ae.Nested(nl.TCA_OPTIONS, func(ae *netlink.AttributeEncoder) error {
			ae.Uint16(bpfOpsLen, uint16(len(program)))
			ae.Bytes(bpfOps, ops)
			ae.Uint32(bpfFlags, bpfActDirect)
			ae.Uint32(bpfFlagsGen, skipHW)
			return nil
		})
	})
}

// keptBack reads the filter of a port: odd is one that is not as we make it.
func (c *conn) keptBack(index int) (frames []tsn.ControlFrames, odd bool, err error) {
	ms, err := c.dump(unix.RTM_GETTFILTER, tcmsg(index, 0, atIngress, 0), nil)
	if err != nil {
		return nil, false, fmt.Errorf("listing ingress filters: %w", err)
	}
	found := 0
	for _, m := range ms {
		if binary.NativeEndian.Uint32(m[16:])>>16 != keepBackPref || binary.NativeEndian.Uint32(m[8:]) == 0 { // 0: the head of the preference
			continue
		}
		program, direct, err := parseBPF(m[20:])
		if err != nil {
			return nil, false, fmt.Errorf("listing ingress filters: %w", err)
		}
		var ok bool
		frames, ok = keptBackBy(program)
		found++
		odd = odd || !ok || !direct || found > 1 || binary.NativeEndian.Uint32(m[8:]) != keepBackHandle
	}
	return frames, odd, nil
}

func parseBPF(attrs []byte) (program []instruction, direct bool, err error) {
	err = each(attrs, func(ad *netlink.AttributeDecoder) {
		if ad.Type() != nl.TCA_OPTIONS {
			return
		}
		nested(ad, func(ad *netlink.AttributeDecoder) {
			switch ad.Type() {
			case bpfFlags:
				direct = ad.Uint32()&bpfActDirect != 0
			case bpfOps:
				for b := ad.Bytes(); len(b) >= sizeofInstruction; b = b[sizeofInstruction:] {
					program = append(program, instruction{binary.NativeEndian.Uint16(b), b[2], b[3], binary.NativeEndian.Uint32(b[4:])})
				}
			}
		})
	})
	return program, direct, err
}

func (k *kernel) readKeptBack(s *State) error {
	if s.Bridge == nil {
		return nil
	}
	for i := range s.Bridge.Ports {
		p := &s.Bridge.Ports[i]
		p.KeptBack, p.OddFilter = nil, false
		if !s.EgressOf(p.Port).Hook {
			continue
		}
		var err error
		if p.KeptBack, p.OddFilter, err = k.c.keptBack(k.index(p.Port)); err != nil {
			return fmt.Errorf("port %d: %w", p.Port, err)
		}
	}
	return nil
}
