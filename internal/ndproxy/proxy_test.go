package ndproxy

import (
	"bytes"
	"encoding/binary"
	"net"
	"net/netip"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	tsn "tsnswitch"
)

var (
	asker  = tsn.MAC{2, 0, 0, 0, 1, 1}
	far    = tsn.MAC{2, 0, 0, 0, 1, 2}
	ip4a   = netip.MustParseAddr("10.0.0.1")
	ip4far = netip.MustParseAddr("10.0.0.2")
	ip6a   = netip.MustParseAddr("fe80::1")
	ip6far = netip.MustParseAddr("fd00::2")
)

func newProxy() *Proxy {
	p := &Proxy{}
	p.SetTable(map[netip.Addr]tsn.MAC{ip4far: far, ip6far: far})
	return p
}

func encode(t testing.TB, l ...gopacket.SerializableLayer) []byte {
	t.Helper()
	b := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(b, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, l...); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// ethernet is the header for typ, with a tag if vid is not 0.
func ethernet(dst tsn.MAC, vid uint16, typ layers.EthernetType) []gopacket.SerializableLayer {
	e := &layers.Ethernet{SrcMAC: asker[:], DstMAC: dst[:], EthernetType: typ}
	if vid == 0 {
		return []gopacket.SerializableLayer{e}
	}
	e.EthernetType = layers.EthernetTypeDot1Q
	return []gopacket.SerializableLayer{e, &layers.Dot1Q{VLANIdentifier: vid, Priority: 3, Type: typ}}
}

func arpFrame(t testing.TB, dst tsn.MAC, vid, op uint16, sender, target netip.Addr) []byte {
	return encode(t, append(ethernet(dst, vid, layers.EthernetTypeARP), &layers.ARP{
		AddrType: 1, Protocol: layers.EthernetTypeIPv4, HwAddressSize: 6, ProtAddressSize: 4, Operation: op,
		SourceHwAddress: asker[:], SourceProtAddress: sender.AsSlice(), DstHwAddress: make([]byte, 6), DstProtAddress: target.AsSlice(),
	})...)
}

func nsFrame(t testing.TB, vid uint16, source, target netip.Addr) []byte {
	last := target.As16()
	dst := tsn.MAC{0x33, 0x33, 0xff, last[13], last[14], last[15]}
	group := netip.AddrFrom16([16]byte{0xff, 2, 11: 1, 12: 0xff, 13: last[13], 14: last[14], 15: last[15]})
	ip := &layers.IPv6{Version: 6, NextHeader: layers.IPProtocolICMPv6, HopLimit: 255, SrcIP: net.IP(source.AsSlice()), DstIP: net.IP(group.AsSlice())}
	icmp := &layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(layers.ICMPv6TypeNeighborSolicitation, 0)}
	if err := icmp.SetNetworkLayerForChecksum(ip); err != nil {
		t.Fatal(err)
	}
	ns := &layers.ICMPv6NeighborSolicitation{TargetAddress: net.IP(target.AsSlice())}
	if !source.IsUnspecified() {
		ns.Options = layers.ICMPv6Options{{Type: layers.ICMPv6OptSourceAddress, Data: asker[:]}}
	}
	return encode(t, append(ethernet(dst, vid, layers.EthernetTypeIPv6), ip, icmp, ns)...)
}

// RFC 826: a request for a station elsewhere is answered with its address, in
// the VLAN of the request; other packets are not.
func TestARP(t *testing.T) {
	unset := netip.AddrFrom4([4]byte{})
	for _, c := range []struct {
		name   string
		frame  []byte
		answer bool
		said   netip.Addr
	}{
		{"request", arpFrame(t, tsn.Broadcast, 0, 1, ip4a, ip4far), true, ip4a},
		{"request in a VLAN", arpFrame(t, tsn.Broadcast, 100, 1, ip4a, ip4far), true, ip4a},
		{"probe (RFC 5227 2.1.1)", arpFrame(t, tsn.Broadcast, 0, 1, unset, ip4far), true, netip.Addr{}},
		{"announcement (RFC 5227 2.3)", arpFrame(t, tsn.Broadcast, 0, 1, ip4far, ip4far), false, ip4far},
		{"unknown address", arpFrame(t, tsn.Broadcast, 0, 1, ip4a, netip.MustParseAddr("10.0.0.9")), false, ip4a},
		{"request to one station", arpFrame(t, far, 0, 1, ip4a, ip4far), false, ip4a},
		{"reply", arpFrame(t, tsn.Broadcast, 0, 2, ip4a, ip4far), false, ip4a},
	} {
		reply, from := newProxy().Receive(c.frame)
		if (reply != nil) != c.answer || from.Address != c.said || from.MAC != asker {
			t.Errorf("%s: reply %x, from %+v", c.name, reply, from)
			continue
		}
		if reply == nil {
			continue
		}
		p := gopacket.NewPacket(reply, layers.LayerTypeEthernet, gopacket.Default)
		e, _ := p.Layer(layers.LayerTypeEthernet).(*layers.Ethernet)
		a, _ := p.Layer(layers.LayerTypeARP).(*layers.ARP)
		if a == nil || a.Operation != 2 || !bytes.Equal(a.SourceHwAddress, far[:]) || !bytes.Equal(a.SourceProtAddress, ip4far.AsSlice()) ||
			!bytes.Equal(a.DstHwAddress, asker[:]) || !bytes.Equal(e.DstMAC, asker[:]) || !bytes.Equal(e.SrcMAC, far[:]) {
			t.Errorf("%s: %v", c.name, p)
		}
		if tag := p.Layer(layers.LayerTypeDot1Q); (tag != nil) != (from.VID == 100) {
			t.Errorf("%s: %v in VLAN %d", c.name, p, from.VID)
		}
	}
}

// RFC 4861 7.2.4: a solicitation for a station elsewhere is answered with an
// advertisement that gives its address; RFC 4862 5.4.3: one without a source is
// answered to all nodes.
func TestSolicitation(t *testing.T) {
	unset := netip.IPv6Unspecified()
	for _, c := range []struct {
		name   string
		source netip.Addr
		vid    uint16
		dst    tsn.MAC
		flags  byte
		to     netip.Addr
		said   netip.Addr
	}{
		{"solicitation", ip6a, 0, asker, flagSolicited, ip6a, ip6a},
		{"in a VLAN", ip6a, 7, asker, flagSolicited, ip6a, ip6a},
		{"duplicate address detection", unset, 0, tsn.MAC{0x33, 0x33, 0, 0, 0, 1}, 0, allNodes, netip.Addr{}},
	} {
		reply, from := newProxy().Receive(nsFrame(t, c.vid, c.source, ip6far))
		if from.Address != c.said || from.VID != tsn.VID(c.vid) {
			t.Errorf("%s: from %+v", c.name, from)
		}
		p := gopacket.NewPacket(reply, layers.LayerTypeEthernet, gopacket.Default)
		ip, _ := p.Layer(layers.LayerTypeIPv6).(*layers.IPv6)
		na, _ := p.Layer(layers.LayerTypeICMPv6NeighborAdvertisement).(*layers.ICMPv6NeighborAdvertisement)
		if na == nil || tsn.MAC(reply[:6]) != c.dst || na.Flags != c.flags || ip.HopLimit != 255 || !ip.DstIP.Equal(net.IP(c.to.AsSlice())) ||
			!na.TargetAddress.Equal(net.IP(ip6far.AsSlice())) || len(na.Options) != 1 || !bytes.Equal(na.Options[0].Data, far[:]) {
			t.Errorf("%s: %v", c.name, p)
			continue
		}
		body := reply[14:]
		if c.vid != 0 {
			body = reply[18:]
		}
		if checksum(body) != 0 {
			t.Errorf("%s: the checksum is wrong", c.name)
		}
	}
}

// RFC 4861 7.1.1: what is not valid is discarded, and counted.
func TestInvalidSolicitations(t *testing.T) {
	good := nsFrame(t, 0, ip6a, ip6far)
	const ip, icmp = 14, 14 + ipv6Len
	fix := func(b []byte) { // what only the checksum would tell, is not told by it
		binary.BigEndian.PutUint16(b[icmp+2:], 0)
		binary.BigEndian.PutUint16(b[icmp+2:], checksum(b[ip:]))
	}
	for name, spoil := range map[string]func(b []byte) []byte{
		"hop limit 254":            func(b []byte) []byte { b[ip+7] = 254; return b },
		"checksum":                 func(b []byte) []byte { b[icmp+2]++; return b },
		"code 1":                   func(b []byte) []byte { b[icmp+1] = 1; fix(b); return b },
		"multicast target":         func(b []byte) []byte { b[icmp+8] = 0xff; fix(b); return b },
		"option of length 0":       func(b []byte) []byte { b[icmp+25] = 0; fix(b); return b },
		"option beyond the end":    func(b []byte) []byte { b[icmp+25] = 2; fix(b); return b },
		"shorter than it says":     func(b []byte) []byte { return b[:len(b)-1] },
		"unspecified with address": func(b []byte) []byte { clear(b[ip+8 : ip+24]); fix(b); return b },
	} {
		p := newProxy()
		if reply, _ := p.Receive(spoil(bytes.Clone(good))); reply != nil || p.Counters().Malformed != 1 {
			t.Errorf("%s: %x, %+v", name, reply, p.Counters())
		}
	}
	p := newProxy()
	if reply, _ := p.Receive(good); reply == nil || p.Counters() != (Counters{NDRequests: 1, NDReplies: 1}) {
		t.Errorf("the unspoilt one: %+v", p.Counters())
	}
}

// A station is never told its own address as if another had it.
func TestOwnAddress(t *testing.T) {
	p := newProxy()
	p.SetTable(map[netip.Addr]tsn.MAC{ip4far: asker, ip6far: asker})
	for _, f := range [][]byte{arpFrame(t, tsn.Broadcast, 0, 1, ip4a, ip4far), nsFrame(t, 0, ip6a, ip6far)} {
		if reply, _ := p.Receive(f); reply != nil {
			t.Errorf("%x", reply)
		}
	}
}

// No frame makes it fail; an answer goes to nobody but the asker or all nodes,
// and is never a question.
func FuzzReceive(f *testing.F) {
	f.Add(arpFrame(f, tsn.Broadcast, 0, 1, ip4a, ip4far))
	f.Add(arpFrame(f, tsn.Broadcast, 100, 1, ip4a, ip4far))
	f.Add(nsFrame(f, 0, ip6a, ip6far))
	f.Add(nsFrame(f, 9, netip.IPv6Unspecified(), ip6far))
	f.Fuzz(func(t *testing.T, frame []byte) {
		before := bytes.Clone(frame)
		p := newProxy()
		reply, from := p.Receive(frame)
		if !bytes.Equal(frame, before) {
			t.Fatal("the frame was changed")
		}
		if reply == nil {
			return
		}
		if to := tsn.MAC(reply[:6]); to != from.MAC && to != (tsn.MAC{0x33, 0x33, 0, 0, 0, 1}) {
			t.Fatalf("to %s, asked by %s", to, from.MAC)
		}
		if again, _ := newProxy().Receive(reply); again != nil {
			t.Fatal("the answer is a question")
		}
	})
}
