package dataplane

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"

	"tsnswitch"
)

// Management is the node's own way into the fabric: a VLAN device on the
// bridge, or on an end station's port, with one address.
type Management struct {
	Device  string // name of the VLAN device
	Parent  string // the bridge, or the port
	VID     tsn.VID
	Address netip.Prefix
}

// managementPriority puts every frame of the management VLAN into the control
// class, whatever its socket says, so that a full network can still be told.
const managementPriority = tsn.PCP(7)

// EnsureManagement makes the device and its address if they are missing and
// corrects nothing else: a device of that name that is something other is an
// error. A second call changes nothing.
func EnsureManagement(m Management) error {
	if err := ensureManagement(m); err != nil {
		return fmt.Errorf("management device %s: %w", m.Device, err)
	}
	return nil
}

func ensureManagement(m Management) error {
	parent, err := netlink.LinkByName(m.Parent)
	if err != nil {
		return fmt.Errorf("its parent %s: %w", m.Parent, err)
	}
	dev, err := netlink.LinkByName(m.Device)
	var none netlink.LinkNotFoundError
	if errors.As(err, &none) {
		attrs := netlink.NewLinkAttrs()
		attrs.Name, attrs.ParentIndex = m.Device, parent.Attrs().Index
		vlan := &netlink.Vlan{LinkAttrs: attrs, VlanId: int(m.VID), VlanProtocol: netlink.VLAN_PROTOCOL_8021Q, EgressQosMap: map[uint32]uint32{}}
		for p := range uint32(8) {
			vlan.EgressQosMap[p] = uint32(managementPriority)
		}
		if err := netlink.LinkAdd(vlan); err != nil {
			return fmt.Errorf("add: %w", err)
		}
		dev, err = netlink.LinkByName(m.Device)
	}
	if err != nil {
		return err
	}
	vlan, ok := dev.(*netlink.Vlan)
	if !ok || vlan.VlanId != int(m.VID) || vlan.ParentIndex != parent.Attrs().Index {
		return fmt.Errorf("exists but is not VLAN %d of %s; remove it or set management.device", m.VID, m.Parent)
	}
	if err := ensureAddress(dev, m.Address); err != nil {
		return err
	}
	for _, l := range []netlink.Link{parent, dev} {
		if l.Attrs().Flags&net.FlagUp == 0 {
			if err := netlink.LinkSetUp(l); err != nil {
				return fmt.Errorf("set %s up: %w", l.Attrs().Name, err)
			}
		}
	}
	return nil
}

func ensureAddress(dev netlink.Link, want netip.Prefix) error {
	have, err := netlink.AddrList(dev, netlink.FAMILY_ALL)
	if err != nil {
		return fmt.Errorf("list addresses: %w", err)
	}
	ipnet := &net.IPNet{IP: want.Addr().AsSlice(), Mask: net.CIDRMask(want.Bits(), want.Addr().BitLen())}
	for _, a := range have {
		if a.IPNet.String() == ipnet.String() {
			return nil
		}
	}
	a := &netlink.Addr{IPNet: ipnet}
	if want.Addr().Is6() {
		a.Flags = 0x02 // IFA_F_NODAD: the address comes from the configuration
	}
	if err := netlink.AddrAdd(dev, a); err != nil {
		return fmt.Errorf("add address %s: %w", want, err)
	}
	return nil
}
