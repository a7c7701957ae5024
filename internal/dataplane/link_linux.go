package dataplane

import (
	"encoding/binary"
	"fmt"

	"github.com/mdlayher/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	tsn "tsnswitch"
)

// link is what the data plane needs to know of an interface.
type link struct {
	index, master int
	name, kind    string
	mac           tsn.MAC
	txQueues      int
	maxMTU        uint32
	carrier       uint32 // carrier changes so far
	up            bool
	bridge        BridgeSettings
}

func (c *conn) links() (map[string]link, error) {
	ms, err := c.dump(unix.RTM_GETLINK, ifinfo(unix.AF_UNSPEC, 0), nil)
	if err != nil {
		return nil, fmt.Errorf("listing links: %w", err)
	}
	out := map[string]link{}
	for _, m := range ms {
		l, err := parseLink(m)
		if err != nil {
			return nil, fmt.Errorf("listing links: %w", err)
		}
		out[l.name] = l
	}
	return out, nil
}

func parseLink(m []byte) (link, error) {
	if len(m) < unix.SizeofIfInfomsg {
		return link{}, fmt.Errorf("a message of %d octets", len(m))
	}
	l := link{
		index: int(int32(binary.NativeEndian.Uint32(m[4:]))),
		up:    binary.NativeEndian.Uint32(m[8:])&unix.IFF_UP != 0,
	}
	err := each(m[unix.SizeofIfInfomsg:], func(ad *netlink.AttributeDecoder) {
		switch ad.Type() {
		case unix.IFLA_IFNAME:
			l.name = ad.String()
		case unix.IFLA_MASTER:
			l.master = int(ad.Uint32())
		case unix.IFLA_ADDRESS:
			copy(l.mac[:], ad.Bytes())
		case unix.IFLA_NUM_TX_QUEUES:
			l.txQueues = int(ad.Uint32())
		case unix.IFLA_MAX_MTU:
			l.maxMTU = ad.Uint32()
		case unix.IFLA_CARRIER_CHANGES:
			l.carrier = ad.Uint32()
		case unix.IFLA_LINKINFO:
			nested(ad, l.info)
		}
	})
	l.bridge.Up = l.up
	return l, err
}

func (l *link) info(ad *netlink.AttributeDecoder) {
	switch ad.Type() {
	case unix.IFLA_INFO_KIND:
		l.kind = ad.String()
	case unix.IFLA_INFO_DATA:
		if l.kind != "bridge" {
			return
		}
		nested(ad, func(ad *netlink.AttributeDecoder) {
			switch ad.Type() {
			case nl.IFLA_BR_STP_STATE:
				l.bridge.STP = ad.Uint32() != 0
			case nl.IFLA_BR_VLAN_FILTERING:
				l.bridge.VLANFiltering = ad.Uint8() != 0
			case nl.IFLA_BR_MCAST_SNOOPING:
				l.bridge.McastSnooping = ad.Uint8() != 0
			case nl.IFLA_BR_MCAST_QUERIER:
				l.bridge.McastQuerier = ad.Uint8() != 0
			case nl.IFLA_BR_VLAN_DEFAULT_PVID:
				l.bridge.DefaultPVID = tsn.VID(ad.Uint16())
			}
		})
	}
}

// setBridge makes the bridge, or sets what we rely on, and takes it up.
func (c *conn) setBridge(name string, mac tsn.MAC, create bool) error {
	flags := netlink.HeaderFlags(0)
	if create {
		flags = netlink.Create | netlink.Excl
	}
	h := ifinfo(unix.AF_UNSPEC, 0)
	setUp(h)
	return c.modify(unix.RTM_NEWLINK, flags, h, func(ae *netlink.AttributeEncoder) {
		ae.String(unix.IFLA_IFNAME, name)
		if create && !mac.IsZero() {
			ae.Bytes(unix.IFLA_ADDRESS, mac[:])
		}
		ae.Nested(unix.IFLA_LINKINFO, func(ae *netlink.AttributeEncoder) error {
			ae.String(unix.IFLA_INFO_KIND, "bridge")
			ae.Nested(unix.IFLA_INFO_DATA, func(ae *netlink.AttributeEncoder) error {
				ae.Uint32(nl.IFLA_BR_STP_STATE, 0)
				ae.Uint16(nl.IFLA_BR_VLAN_DEFAULT_PVID, 0)
				ae.Uint8(nl.IFLA_BR_VLAN_FILTERING, 1)
				ae.Uint8(nl.IFLA_BR_MCAST_SNOOPING, 1)
				ae.Uint8(nl.IFLA_BR_MCAST_QUERIER, 0)
				return nil
			})
			return nil
		})
	})
}

// setPlainBridge makes a bridge without VLANs; see Unaware.
func (c *conn) setPlainBridge(name string, mac tsn.MAC) error {
	return c.addSharedBridge(name, mac, false)
}

// addSharedBridge makes a bridge as the kernel has them, with VLANs or without.
func (c *conn) addSharedBridge(name string, mac tsn.MAC, vlans bool) error {
	h := ifinfo(unix.AF_UNSPEC, 0)
	setUp(h)
	return c.modify(unix.RTM_NEWLINK, netlink.Create|netlink.Excl, h, func(ae *netlink.AttributeEncoder) {
		ae.String(unix.IFLA_IFNAME, name)
		if !mac.IsZero() {
			ae.Bytes(unix.IFLA_ADDRESS, mac[:])
		}
		ae.Nested(unix.IFLA_LINKINFO, func(ae *netlink.AttributeEncoder) error {
			ae.String(unix.IFLA_INFO_KIND, "bridge")
			if !vlans {
				return nil
			}
			ae.Nested(unix.IFLA_INFO_DATA, func(ae *netlink.AttributeEncoder) error {
				ae.Uint8(nl.IFLA_BR_VLAN_FILTERING, 1)
				return nil
			})
			return nil
		})
	})
}

// enslave makes the interface a port of the bridge and takes it up.
func (c *conn) enslave(port, bridge int) error {
	h := ifinfo(unix.AF_UNSPEC, port)
	setUp(h)
	return c.modify(unix.RTM_NEWLINK, 0, h, func(ae *netlink.AttributeEncoder) {
		ae.Uint32(unix.IFLA_MASTER, uint32(bridge))
	})
}

func setUp(h []byte) {
	binary.NativeEndian.PutUint32(h[8:], unix.IFF_UP)  // ifi_flags
	binary.NativeEndian.PutUint32(h[12:], unix.IFF_UP) // ifi_change
}
