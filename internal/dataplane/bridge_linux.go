package dataplane

import (
	"encoding/binary"
	"fmt"

	"github.com/mdlayher/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	tsn "tsnswitch"
)

// rawPort is a bridge port, or the bridge itself, as the kernel tells it.
type rawPort struct {
	state     uint8 // of the spanning tree
	flags     Flags
	hasLocked bool // the kernel knows the flag
	vlans     []tsn.PortVLAN
}

// stateForwarding is BR_STATE_FORWARDING (linux/if_bridge.h).
const stateForwarding = 3

// bridgePorts reads states, flags and VLANs of every bridge port, by interface index.
func (c *conn) bridgePorts() (map[int]rawPort, error) {
	const filterVLAN = 1 << 1 // RTEXT_FILTER_BRVLAN
	ms, err := c.dump(unix.RTM_GETLINK, ifinfo(unix.AF_BRIDGE, 0), func(ae *netlink.AttributeEncoder) {
		ae.Uint32(unix.IFLA_EXT_MASK, filterVLAN)
	})
	if err != nil {
		return nil, fmt.Errorf("listing bridge ports: %w", err)
	}
	out := map[int]rawPort{}
	for _, m := range ms {
		var p rawPort
		err := each(m[unix.SizeofIfInfomsg:], func(ad *netlink.AttributeDecoder) {
			switch ad.Type() {
			case unix.IFLA_PROTINFO:
				nested(ad, p.flag)
			case unix.IFLA_AF_SPEC:
				nested(ad, p.vlan)
			}
		})
		if err != nil {
			return nil, fmt.Errorf("listing bridge ports: %w", err)
		}
		out[int(binary.NativeEndian.Uint32(m[4:]))] = p
	}
	return out, nil
}

func (p *rawPort) flag(ad *netlink.AttributeDecoder) {
	switch ad.Type() {
	case unix.IFLA_BRPORT_STATE:
		p.state = ad.Uint8()
	case unix.IFLA_BRPORT_LEARNING:
		p.flags.Learning = ad.Uint8() != 0
	case unix.IFLA_BRPORT_UNICAST_FLOOD:
		p.flags.Flood = ad.Uint8() != 0
	case unix.IFLA_BRPORT_MCAST_FLOOD:
		p.flags.McastFlood = ad.Uint8() != 0
	case unix.IFLA_BRPORT_BCAST_FLOOD:
		p.flags.BcastFlood = ad.Uint8() != 0
	case unix.IFLA_BRPORT_LOCKED:
		p.flags.Locked, p.hasLocked = ad.Uint8() != 0, true
	}
}

func (p *rawPort) vlan(ad *netlink.AttributeDecoder) {
	if b := ad.Bytes(); ad.Type() == nl.IFLA_BRIDGE_VLAN_INFO && len(b) >= 4 {
		flags := binary.NativeEndian.Uint16(b)
		p.vlans = append(p.vlans, tsn.PortVLAN{
			VID:  tsn.VID(binary.NativeEndian.Uint16(b[2:])),
			PVID: flags&nl.BRIDGE_VLAN_INFO_PVID != 0, Untagged: flags&nl.BRIDGE_VLAN_INFO_UNTAGGED != 0,
		})
	}
}

// flagsRequest sets all flags at once, which the kernel takes whole or not at
// all. withLocked is false where the kernel does not know that flag.
func flagsRequest(index int, f Flags, withLocked bool) (request, error) {
	return newRequest(unix.RTM_SETLINK, 0, ifinfo(unix.AF_BRIDGE, index), func(ae *netlink.AttributeEncoder) {
		ae.Nested(unix.IFLA_PROTINFO, func(ae *netlink.AttributeEncoder) error {
			flag := func(typ uint16, on bool) {
				v := uint8(0)
				if on {
					v = 1
				}
				ae.Uint8(typ, v)
			}
			flag(unix.IFLA_BRPORT_LEARNING, f.Learning)
			flag(unix.IFLA_BRPORT_UNICAST_FLOOD, f.Flood)
			flag(unix.IFLA_BRPORT_MCAST_FLOOD, f.McastFlood)
			flag(unix.IFLA_BRPORT_BCAST_FLOOD, f.BcastFlood)
			if withLocked {
				flag(unix.IFLA_BRPORT_LOCKED, f.Locked)
			}
			return nil
		})
	})
}

// vlanRequest adds (RTM_SETLINK) or deletes (RTM_DELLINK) a membership; self is
// the bridge's own interface.
func vlanRequest(typ uint16, index int, v tsn.PortVLAN, self bool) (request, error) {
	return newRequest(typ, 0, ifinfo(unix.AF_BRIDGE, index), func(ae *netlink.AttributeEncoder) {
		ae.Nested(unix.IFLA_AF_SPEC, func(ae *netlink.AttributeEncoder) error {
			if self {
				ae.Uint16(nl.IFLA_BRIDGE_FLAGS, nl.BRIDGE_FLAGS_SELF)
			}
			flags := uint16(0)
			if v.PVID {
				flags |= nl.BRIDGE_VLAN_INFO_PVID
			}
			if v.Untagged {
				flags |= nl.BRIDGE_VLAN_INFO_UNTAGGED
			}
			b := binary.NativeEndian.AppendUint16(nil, flags)
			ae.Bytes(nl.IFLA_BRIDGE_VLAN_INFO, binary.NativeEndian.AppendUint16(b, uint16(v.VID)))
			return nil
		})
	})
}

// ntfSticky is NTF_STICKY (linux/neighbour.h).
const ntfSticky = 1 << 6

// neighbour is an entry of the FDB as the kernel tells it.
type neighbour struct {
	mac           tsn.MAC
	vid           tsn.VID
	index, master int
	state         uint16
	flags         uint8
}

func (c *conn) fdb() ([]neighbour, error) {
	h := make([]byte, unix.SizeofNdMsg)
	h[0] = unix.AF_BRIDGE
	ms, err := c.dump(unix.RTM_GETNEIGH, h, nil)
	if err != nil {
		return nil, fmt.Errorf("listing the FDB: %w", err)
	}
	var out []neighbour
	for _, m := range ms {
		n, err := parseNeighbour(m)
		if err != nil {
			return nil, fmt.Errorf("listing the FDB: %w", err)
		}
		out = append(out, n)
	}
	return out, nil
}

// fdbRequest adds or moves (RTM_NEWNEIGH) or removes (RTM_DELNEIGH) an entry:
// static on a port, permanent on the bridge itself. A learned one replaces a
// static one as if it had been seen now.
func fdbRequest(typ uint16, index int, e tsn.FDBEntry, learned bool) (request, error) {
	h := make([]byte, unix.SizeofNdMsg)
	h[0] = unix.AF_BRIDGE
	binary.NativeEndian.PutUint32(h[4:], uint32(index))
	state, flags := uint16(unix.NUD_NOARP), uint8(unix.NTF_MASTER)
	if e.Port == tsn.NoPort {
		state, flags = unix.NUD_PERMANENT, unix.NTF_SELF
	}
	if learned {
		state = unix.NUD_REACHABLE
	}
	if e.Sticky {
		flags |= ntfSticky
	}
	binary.NativeEndian.PutUint16(h[8:], state)
	h[10] = flags
	how := netlink.HeaderFlags(0)
	if typ == unix.RTM_NEWNEIGH {
		how = netlink.Create | netlink.Replace
	}
	return newRequest(typ, how, h, func(ae *netlink.AttributeEncoder) {
		ae.Bytes(unix.NDA_LLADDR, e.MAC[:])
		if e.VID != 0 {
			ae.Uint16(unix.NDA_VLAN, uint16(e.VID))
		}
	})
}

// Attribute types and states of the MDB (linux/if_bridge.h).
const (
	mdbaMDB, mdbaEntry, mdbaEntryInfo = 1, 1, 1
	mdbaSetEntry                      = 1
	mdbPermanent                      = 1
	sizeofBrPortMsg                   = 8
	sizeofBrMdbEntry                  = 28
)

// group is a permanent L2 entry of the MDB.
type group struct {
	mac           tsn.MAC
	vid           tsn.VID
	index, bridge int
}

// mdb lists them, and counts the groups that have no member at present.
func (c *conn) mdb() (out []group, empty int, err error) {
	h := make([]byte, sizeofBrPortMsg)
	h[0] = unix.AF_BRIDGE
	ms, err := c.dump(unix.RTM_GETMDB, h, nil)
	if err != nil {
		return nil, 0, fmt.Errorf("listing the MDB: %w", err)
	}
	for _, m := range ms {
		bridge := int(binary.NativeEndian.Uint32(m[4:]))
		err := each(m[sizeofBrPortMsg:], func(ad *netlink.AttributeDecoder) {
			if ad.Type() != mdbaMDB {
				return
			}
			nested(ad, func(ad *netlink.AttributeDecoder) { // one group
				members := 0
				nested(ad, func(ad *netlink.AttributeDecoder) { // one port of it
					members++
					b := ad.Bytes()
					if ad.Type() != mdbaEntryInfo || len(b) < sizeofBrMdbEntry {
						return
					}
					l2 := binary.BigEndian.Uint16(b[24:]) == 0
					if b[4] == mdbPermanent && l2 {
						out = append(out, group{
							mac: tsn.MAC(b[8:14]), vid: tsn.VID(binary.NativeEndian.Uint16(b[6:])),
							index: int(binary.NativeEndian.Uint32(b)), bridge: bridge,
						})
					}
				})
				if members == 0 {
					empty++
				}
			})
		})
		if err != nil {
			return nil, 0, fmt.Errorf("listing the MDB: %w", err)
		}
	}
	return out, empty, nil
}

// mdbRequest adds (RTM_NEWMDB) or removes (RTM_DELMDB) a port of a group.
func mdbRequest(typ uint16, g group) (request, error) {
	h := make([]byte, sizeofBrPortMsg)
	h[0] = unix.AF_BRIDGE
	binary.NativeEndian.PutUint32(h[4:], uint32(g.bridge))
	b := make([]byte, sizeofBrMdbEntry)
	binary.NativeEndian.PutUint32(b, uint32(g.index))
	b[4] = mdbPermanent
	binary.NativeEndian.PutUint16(b[6:], uint16(g.vid))
	copy(b[8:], g.mac[:])
	how := netlink.HeaderFlags(0)
	if typ == unix.RTM_NEWMDB {
		how = netlink.Create
	}
	return newRequest(typ, how, h, func(ae *netlink.AttributeEncoder) { ae.Bytes(mdbaSetEntry, b) })
}
