package ndproxy

import (
	"encoding/binary"
	"net/netip"

	tsn "tsnswitch"
)

// An ARP packet for IPv4 over Ethernet (RFC 826):
//
//	octets 0-1 hardware 1, 2-3 protocol 0800, 4 length 6, 5 length 4, 6-7 operation,
//	       8-13 sender's MAC, 14-17 sender's IPv4, 18-23 target's MAC, 24-27 target's IPv4
const (
	arpLen     = 28
	arpRequest = 1
	arpReply   = 2
)

var arpHead = [6]byte{0, 1, 8, 0, 6, 4}

func (p *Proxy) arp(r request) (reply []byte, said netip.Addr) {
	if len(r.body) < arpLen || [6]byte(r.body[:6]) != arpHead {
		p.n.Malformed++
		return nil, said
	}
	op := binary.BigEndian.Uint16(r.body[6:])
	hardware := tsn.MAC(r.body[8:14])
	sender, target := netip.AddrFrom4([4]byte(r.body[14:18])), netip.AddrFrom4([4]byte(r.body[24:28]))
	if hardware == r.source() && isHost(sender) { // a probe (RFC 5227 2.1) says 0.0.0.0
		said = sender
	}
	if op != arpRequest || !r.group() {
		return nil, said
	}
	p.n.ARPRequests++
	mac, ok := p.lookup(target, r.source())
	if !ok || sender == target { // an announcement (RFC 5227 2.3) asks nobody
		return nil, said
	}
	p.n.ARPReplies++
	b := append(r.reply(r.source(), mac, typeARP), arpHead[:]...)
	b = binary.BigEndian.AppendUint16(b, arpReply)
	b = append(append(b, mac[:]...), target.AsSlice()...)
	return append(append(b, hardware[:]...), sender.AsSlice()...), said
}

// isHost reports an address that one host can have.
func isHost(a netip.Addr) bool {
	return a.IsValid() && !a.IsUnspecified() && !a.IsMulticast() && !a.IsLoopback() && a != netip.AddrFrom4([4]byte{255, 255, 255, 255})
}
