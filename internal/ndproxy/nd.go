package ndproxy

import (
	"encoding/binary"
	"net/netip"

	tsn "tsnswitch"
)

// Neighbour discovery (RFC 4861 4.3, 4.4) in an IPv6 packet without extension
// headers:
//
//	octets 0-39 IPv6: 4-5 payload length, 6 next header 58, 7 hop limit 255,
//	            8-23 source, 24-39 destination
//	       40 type, 41 code 0, 42-43 checksum, 44-47 flags, 48-63 target,
//	       64- options: type, length in 8 octets, value
const (
	ipv6Len          = 40
	ndLen            = 24
	icmpv6           = 58
	solicitationType = 135
	advertType       = 136
	optionSource     = 1
	optionTarget     = 2
	flagSolicited    = 0x40
)

// allNodes is ff02::1.
var allNodes = netip.AddrFrom16([16]byte{0xff, 2, 15: 1})

func (p *Proxy) solicitation(r request) (reply []byte, said netip.Addr) {
	b := r.body
	if len(b) < ipv6Len || b[6] != icmpv6 {
		return nil, said // not neighbour discovery, nor malformed
	}
	n := int(binary.BigEndian.Uint16(b[4:]))
	if len(b) < ipv6Len+n || n < 8 {
		p.n.Malformed++
		return nil, said
	}
	b = b[:ipv6Len+n]
	m := b[ipv6Len:]
	if m[0] != solicitationType && m[0] != advertType {
		return nil, said
	}
	// RFC 4861 7.1.1 and 7.1.2: what is not valid is silently discarded.
	if b[7] != 255 || m[1] != 0 || n < ndLen || checksum(b) != 0 {
		p.n.Malformed++
		return nil, said
	}
	source, target := netip.AddrFrom16([16]byte(b[8:24])), netip.AddrFrom16([16]byte(m[8:24]))
	lla, ok := option(m[ndLen:], map[byte]byte{solicitationType: optionSource, advertType: optionTarget}[m[0]])
	if !ok || target.IsMulticast() || source.IsUnspecified() && lla != nil {
		p.n.Malformed++
		return nil, said
	}
	who := source
	if m[0] == advertType {
		who = target
	}
	if lla != nil && tsn.MAC(lla) == r.source() && isHost(who) {
		said = who
	}
	if m[0] != solicitationType || !r.group() {
		return nil, said
	}
	p.n.NDRequests++
	mac, ok := p.lookup(target, r.source())
	if !ok {
		return nil, said
	}
	p.n.NDReplies++
	return r.advertise(mac, target, source), said
}

// advertise answers a solicitation. One without a source asks whether the
// address is in use (RFC 4862 5.4.3), and all nodes are told.
func (r request) advertise(mac tsn.MAC, target, asker netip.Addr) []byte {
	flags, to := byte(flagSolicited), r.source()
	if asker.IsUnspecified() {
		flags, asker, to = 0, allNodes, tsn.MAC{0x33, 0x33, 0, 0, 0, 1}
	}
	b := r.reply(to, mac, typeIPv6)
	ip := len(b)
	b = append(b, 0x60, 0, 0, 0, 0, ndLen+8, icmpv6, 255)
	b = append(append(b, target.AsSlice()...), asker.AsSlice()...)
	b = append(b, advertType, 0, 0, 0, flags, 0, 0, 0)
	b = append(b, target.AsSlice()...)
	b = append(append(b, optionTarget, 1), mac[:]...)
	binary.BigEndian.PutUint16(b[ip+ipv6Len+2:], checksum(b[ip:]))
	return b
}

// option finds an option's link-layer address, nil if it is not there. ok is
// false if the options have a wrong length.
func option(b []byte, kind byte) (lla []byte, ok bool) {
	for len(b) > 0 {
		if len(b) < 8 || b[1] == 0 || len(b) < 8*int(b[1]) {
			return nil, false
		}
		if b[0] == kind && b[1] == 1 {
			lla = b[2:8]
		}
		b = b[8*int(b[1]):]
	}
	return lla, true
}

// checksum is that of ICMPv6 (RFC 4443 2.3) over an IPv6 packet; 0 if the one
// in the packet is right.
func checksum(b []byte) uint16 {
	sum := uint32(len(b)-ipv6Len) + icmpv6
	add := func(b []byte) {
		for ; len(b) > 1; b = b[2:] {
			sum += uint32(binary.BigEndian.Uint16(b))
		}
		if len(b) == 1 {
			sum += uint32(b[0]) << 8
		}
	}
	add(b[8:40])
	add(b[ipv6Len:])
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}
