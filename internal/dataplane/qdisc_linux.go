package dataplane

import (
	"encoding/binary"
	"fmt"

	"github.com/mdlayher/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Handles of our qdiscs. A class of the root is named by its queue, counted
// from 1. In software a prio of one used band stands between taprio and cbs:
//
//	root taprio 0a00: ── 0a00:queue ── prio 0a1c: ── 0a1c:1 ── cbs 0a0c+1:
//
// since taprio looks at the next frame of its child and then asks for one more
// instead of taking that, by which cbs keeps one frame for ever; prio does
// both right.
const (
	rootHandle  = 0x0a00 << 16
	cbsHandle   = 0x0a01 << 16 // plus class << 16
	prioHandle  = 0x0a11 << 16 // plus class << 16
	clsact      = 0xfffffff1
	clsactMajor = 0xffff << 16
	atEgress    = 0xfffffff3
)

// qdisc is a queueing discipline as the kernel tells it.
type qdisc struct {
	index          int
	handle, parent uint32
	kind           string
	options        []byte
	octets         uint64
	frames         uint64
	dropped        uint64
	backlog        uint64
	gates          GateCounters
}

// tcmsg is struct tcmsg.
func tcmsg(index int, handle, parent, info uint32) []byte {
	b := make([]byte, 20)
	binary.NativeEndian.PutUint32(b[4:], uint32(index))
	binary.NativeEndian.PutUint32(b[8:], handle)
	binary.NativeEndian.PutUint32(b[12:], parent)
	binary.NativeEndian.PutUint32(b[16:], info)
	return b
}

func (c *conn) qdiscs() ([]qdisc, error) {
	qs, err := c.tcObjects(unix.RTM_GETQDISC, 0)
	if err != nil {
		return nil, fmt.Errorf("listing qdiscs: %w", err)
	}
	return qs, nil
}

// tcObjects lists qdiscs, or the classes of an interface, which have the same
// form.
func (c *conn) tcObjects(what uint16, index int) ([]qdisc, error) {
	ms, err := c.dump(what, tcmsg(index, 0, 0, 0), nil)
	if err != nil {
		return nil, err
	}
	var out []qdisc
	for _, m := range ms {
		q := qdisc{
			index:  int(int32(binary.NativeEndian.Uint32(m[4:]))),
			handle: binary.NativeEndian.Uint32(m[8:]), parent: binary.NativeEndian.Uint32(m[12:]),
		}
		err := each(m[20:], func(ad *netlink.AttributeDecoder) {
			switch ad.Type() {
			case nl.TCA_KIND:
				q.kind = ad.String()
			case nl.TCA_OPTIONS:
				q.options = ad.Bytes()
			case nl.TCA_STATS2:
				nested(ad, q.stats)
			}
		})
		if err != nil {
			return nil, err
		}
		out = append(out, q)
	}
	return out, nil
}

func (q *qdisc) stats(ad *netlink.AttributeDecoder) {
	const statsBasic, statsQueue, statsApp = 1, 3, 4
	switch b := ad.Bytes(); {
	case ad.Type() == statsApp && q.kind == "taprio":
		nested(ad, q.gates.decode)
	case ad.Type() == statsBasic && len(b) >= 12: // struct gnet_stats_basic
		q.octets, q.frames = binary.NativeEndian.Uint64(b), uint64(binary.NativeEndian.Uint32(b[8:]))
	case ad.Type() == statsQueue && len(b) >= 12: // struct gnet_stats_queue
		q.backlog, q.dropped = uint64(binary.NativeEndian.Uint32(b[4:])), uint64(binary.NativeEndian.Uint32(b[8:]))
	}
}

// decode reads TCA_TAPRIO_OFFLOAD_STATS.
func (g *GateCounters) decode(ad *netlink.AttributeDecoder) {
	switch ad.Type() {
	case 2:
		g.WindowDrops = ad.Uint64()
	case 3:
		g.Overruns = ad.Uint64()
	}
}

func (c *conn) setQdisc(how netlink.HeaderFlags, index int, handle, parent uint32, kind string, options func(*netlink.AttributeEncoder)) error {
	r, err := qdiscRequest(how, index, handle, parent, kind, options)
	return c.send(r, err)
}

func qdiscRequest(how netlink.HeaderFlags, index int, handle, parent uint32, kind string, options func(*netlink.AttributeEncoder)) (request, error) {
	return newRequest(unix.RTM_NEWQDISC, how, tcmsg(index, handle, parent, 0), func(ae *netlink.AttributeEncoder) {
		ae.String(nl.TCA_KIND, kind)
		if options != nil {
			ae.Nested(nl.TCA_OPTIONS, func(ae *netlink.AttributeEncoder) error {
				options(ae)
				return nil
			})
		}
	})
}

func (c *conn) delQdisc(index int, parent uint32) error {
	return c.modify(unix.RTM_DELQDISC, 0, tcmsg(index, 0, parent, 0), nil)
}

const cbsParms = 1 // TCA_CBS_PARMS, struct tc_cbs_qopt

func encodeCBS(s Shaper) func(*netlink.AttributeEncoder) {
	b := make([]byte, 20)
	for i, v := range []int32{s.HiCredit, s.LoCredit, s.IdleSlope, s.SendSlope} {
		binary.NativeEndian.PutUint32(b[4+4*i:], uint32(v))
	}
	return func(ae *netlink.AttributeEncoder) { ae.Bytes(cbsParms, b) }
}

func decodeCBS(options []byte) (s Shaper, err error) {
	err = each(options, func(ad *netlink.AttributeDecoder) {
		if b := ad.Bytes(); ad.Type() == cbsParms && len(b) >= 20 {
			for i, v := range []*int32{&s.HiCredit, &s.LoCredit, &s.IdleSlope, &s.SendSlope} {
				*v = int32(binary.NativeEndian.Uint32(b[4+4*i:]))
			}
		}
	})
	return s, err
}

// encodePrio is struct tc_prio_qopt: two bands (the fewest there are), every
// priority in the first.
func encodePrio() []byte {
	b := make([]byte, 20)
	binary.NativeEndian.PutUint32(b, 2)
	return b
}

func (c *conn) setPrio(index int, handle, parent uint32) error {
	return c.modify(unix.RTM_NEWQDISC, netlink.Create|netlink.Replace, tcmsg(index, handle, parent, 0), func(ae *netlink.AttributeEncoder) {
		ae.String(nl.TCA_KIND, "prio")
		ae.Bytes(nl.TCA_OPTIONS, encodePrio())
	})
}

// setPfifo replaces a class's child by a plain queue. Deleting the child
// instead would leave the class without any, and its frames dropped.
func (c *conn) setPfifo(index int, parent uint32) error {
	return c.modify(unix.RTM_NEWQDISC, netlink.Create|netlink.Replace, tcmsg(index, 0, parent, 0), func(ae *netlink.AttributeEncoder) {
		ae.String(nl.TCA_KIND, "pfifo")
		ae.Uint32(nl.TCA_OPTIONS, 1000) // struct tc_fifo_qopt: limit in frames
	})
}
