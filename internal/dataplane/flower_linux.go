package dataplane

import (
	"encoding/binary"
	"fmt"

	"github.com/mdlayher/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	tsn "tsnswitch"
)

// classifierPref is the preference of our filters; filters at others are not
// ours. All eight share one mask, so the kernel finds the match by one hash.
const classifierPref = 0x7500

func filterInfo(pref uint32) uint32 {
	var b [2]byte
	binary.BigEndian.PutUint16(b[:], unix.ETH_P_8021Q)
	return pref<<16 | uint32(binary.NativeEndian.Uint16(b[:]))
}

// classifier is what is read of it: the right filters, those that give their
// frames priority 0, the frames that each has seen, and how many there are.
type classifier struct {
	good, guarded tsn.PrioritySet
	hits          [8]uint64
	found         int
}

func (cl classifier) whole() bool { return cl.good == 0xff && cl.found == 8 }

// classifier reads ours.
func (c *conn) classifier(index int) (cl classifier, err error) {
	ms, err := c.dump(unix.RTM_GETTFILTER, tcmsg(index, 0, atEgress, 0), nil)
	if err != nil {
		return cl, fmt.Errorf("listing filters: %w", err)
	}
	for _, m := range ms {
		if binary.NativeEndian.Uint32(m[16:]) != filterInfo(classifierPref) {
			continue
		}
		f, err := parseFilter(m[20:])
		if err != nil {
			return cl, fmt.Errorf("listing filters: %w", err)
		}
		if f.pcp < 0 {
			continue // the header of the whole preference
		}
		cl.found++
		if f.pcp < 8 && (f.priority == f.pcp || f.priority == 0) {
			cl.good |= 1 << f.pcp
			cl.hits[f.pcp] = f.frames
			if f.priority != f.pcp {
				cl.guarded |= 1 << f.pcp
			}
		}
	}
	return cl, nil
}

type filter struct {
	pcp, priority int
	frames        uint64
}

func parseFilter(attrs []byte) (filter, error) {
	f := filter{pcp: -1, priority: -1}
	err := each(attrs, func(ad *netlink.AttributeDecoder) {
		if ad.Type() != nl.TCA_OPTIONS {
			return
		}
		nested(ad, func(ad *netlink.AttributeDecoder) {
			switch ad.Type() {
			case nl.TCA_FLOWER_KEY_VLAN_PRIO:
				f.pcp = int(ad.Uint8())
			case nl.TCA_FLOWER_ACT:
				nested(ad, func(ad *netlink.AttributeDecoder) { nested(ad, f.action) })
			}
		})
	})
	return f, err
}

func (f *filter) action(ad *netlink.AttributeDecoder) {
	switch ad.Type() {
	case nl.TCA_ACT_OPTIONS:
		nested(ad, func(ad *netlink.AttributeDecoder) {
			if ad.Type() == nl.TCA_SKBEDIT_PRIORITY {
				f.priority = int(ad.Uint32())
			}
		})
	case nl.TCA_ACT_STATS:
		var q qdisc
		nested(ad, q.stats)
		f.frames = q.frames
	}
}

// setFilters makes the classifier, after removing what is left of an earlier one.
func (c *conn) setFilters(index int, guarded tsn.PrioritySet, found int, hasClsact bool) error {
	if !hasClsact {
		if err := c.installHook(index); err != nil {
			return err
		}
	}
	if found > 0 {
		if err := c.modify(unix.RTM_DELTFILTER, 0, tcmsg(index, 0, atEgress, filterInfo(classifierPref)), nil); err != nil {
			return fmt.Errorf("removing old filters: %w", err)
		}
	}
	for pcp := range tsn.PCP(8) {
		priority := pcp
		if guarded.Has(pcp) {
			priority = 0
		}
		if err := c.addFilter(index, pcp, priority); err != nil {
			return fmt.Errorf("flower vlan_prio %d: %w", pcp, err)
		}
	}
	return nil
}

func (c *conn) installHook(index int) error {
	if err := c.setQdisc(netlink.Create|netlink.Excl, index, clsactMajor, clsact, "clsact", nil); err != nil {
		return fmt.Errorf("clsact: %w", err)
	}
	return nil
}

func (c *conn) addFilter(index int, pcp, priority tsn.PCP) error {
	const actPipe = 3
	var parms [20]byte // struct tc_skbedit
	binary.NativeEndian.PutUint32(parms[8:], actPipe)
	h := tcmsg(index, uint32(pcp)+1, atEgress, filterInfo(classifierPref))
	return c.modify(unix.RTM_NEWTFILTER, netlink.Create|netlink.Excl, h, func(ae *netlink.AttributeEncoder) {
		ae.String(nl.TCA_KIND, "flower")
		ae.Nested(nl.TCA_OPTIONS, func(ae *netlink.AttributeEncoder) error {
			ae.Uint8(nl.TCA_FLOWER_KEY_VLAN_PRIO, uint8(pcp))
			ae.Bytes(nl.TCA_FLOWER_KEY_ETH_TYPE, binary.BigEndian.AppendUint16(nil, unix.ETH_P_8021Q))
			ae.Nested(nl.TCA_FLOWER_ACT, func(ae *netlink.AttributeEncoder) error {
				ae.Nested(1, func(ae *netlink.AttributeEncoder) error {
					ae.String(nl.TCA_ACT_KIND, "skbedit")
					ae.Nested(nl.TCA_ACT_OPTIONS, func(ae *netlink.AttributeEncoder) error {
						ae.Bytes(nl.TCA_SKBEDIT_PARMS, parms[:])
						ae.Uint32(nl.TCA_SKBEDIT_PRIORITY, uint32(priority))
						return nil
					})
					return nil
				})
				return nil
			})
			return nil
		})
	})
}
