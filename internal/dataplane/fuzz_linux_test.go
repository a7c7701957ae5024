package dataplane

import (
	"testing"

	"github.com/mdlayher/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	tsn "tsnswitch"
)

// FuzzMessages: no message, however wrong, does more than give an error.
func FuzzMessages(f *testing.F) {
	ae := netlink.NewAttributeEncoder()
	ae.String(unix.IFLA_IFNAME, "p1")
	ae.Nested(unix.IFLA_LINKINFO, func(ae *netlink.AttributeEncoder) error {
		ae.String(unix.IFLA_INFO_KIND, "bridge")
		ae.Nested(unix.IFLA_INFO_DATA, func(ae *netlink.AttributeEncoder) error {
			ae.Uint8(nl.IFLA_BR_VLAN_FILTERING, 1)
			return nil
		})
		return nil
	})
	link, err := ae.Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(append(ifinfo(0, 1), link...))
	cbs := netlink.NewAttributeEncoder()
	encodeCBS(Shaper{IdleSlope: 1})(cbs)
	parms, err := cbs.Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(parms)
	filter, err := setFilterRequest(1, Filter{
		Number: 1, ID: tsn.StreamID{1}, Handle: tsn.StreamHandle{Address: tsn.MAC{1}, VID: 1}, MaxSDU: 100, Meter: Meter{1 << 33, 1},
		Gate: &FilterGate{Base: 1, Cycle: 3, Entries: []tsn.StreamGateEntry{{Open: true, IPV: 5, Interval: 1, OctetMax: 9}, {IPV: tsn.NoIPV, Interval: 2}}},
	})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(filter.data[20:])
	f.Fuzz(func(t *testing.T, b []byte) {
		if l, err := parseLink(b); err == nil && len(b) < unix.SizeofIfInfomsg {
			t.Fatalf("link %+v from %d octets", l, len(b))
		}
		if _, err := parseFilter(b); err == nil && len(b) > 0 && len(b) < 4 {
			t.Fatalf("a filter from %d octets", len(b))
		}
		if s, err := decodeCBS(b); err == nil && s != (Shaper{}) && len(b) < 24 {
			t.Fatalf("%+v from %d octets", s, len(b))
		}
		if s, _, err := parseStreamFilter(b); err == nil && len(b) == 0 && s.Odd == "" {
			t.Fatal("a stream filter from nothing")
		}
		_, _, _ = decodePolice(b)
		_, _ = decodeGate(b)
		var p rawPort
		var q qdisc
		_ = each(b, p.flag)
		_ = each(b, p.vlan)
		_ = each(b, q.stats)
	})
}
