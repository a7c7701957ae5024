// Package ndproxy answers the questions that IPv4 and IPv6 hosts ask by
// broadcast, ARP (RFC 826) and neighbour solicitations (RFC 4861 7.2), in the
// place of stations elsewhere in the fabric: where broadcast does not cross it
// because a switch chip lacks the ingress check.
//
//	frame from an edge port ──> Proxy.Receive ──> reply to that port
//	                               ▲        └───> who said which address is his
//	      SetTable: stations of other bridges
//
// It is a pure responder: no clock, no socket. The answers carry the station's
// own address as source, so the asker's frames go straight to the station.
//
// What it does not do: an address belongs to one station in all VLANs; a
// question to a single address (RFC 4861 7.3.3) is forwarded by the bridge like
// any frame and not answered here; who says an address is his is believed, as by
// every host on a LAN.
package ndproxy

import (
	"encoding/binary"
	"net/netip"

	tsn "tsnswitch"
)

// Proxy holds the table. It is not safe for concurrent use.
type Proxy struct {
	table map[netip.Addr]tsn.MAC
	n     Counters
}

// Counters of a Proxy.
type Counters struct {
	ARPRequests uint64 // for addresses that are in the table or not
	ARPReplies  uint64
	NDRequests  uint64
	NDReplies   uint64
	Unknown     uint64 // requests for addresses that no other bridge's station has
	Malformed   uint64
}

// Counters returns them.
func (p *Proxy) Counters() Counters { return p.n }

// SetTable replaces the table of stations behind other bridges.
func (p *Proxy) SetTable(t map[netip.Addr]tsn.MAC) { p.table = t }

// Sender is who sent a frame, as far as it says so: MAC has Address. The
// address is not valid if the frame says none.
type Sender struct {
	MAC     tsn.MAC
	VID     tsn.VID // of the frame's tag, 0: none
	Address netip.Addr
}

const (
	typeTag  = 0x8100
	typeARP  = 0x0806
	typeIPv6 = 0x86dd
	header   = 14
)

// Receive takes a frame as it was on the wire, and returns the frame to send
// back, nil for none.
func (p *Proxy) Receive(frame []byte) (reply []byte, from Sender) {
	if len(frame) < header {
		p.n.Malformed++
		return nil, from
	}
	off := 12
	from.MAC = tsn.MAC(frame[6:12])
	typ := binary.BigEndian.Uint16(frame[off:])
	if typ == typeTag && len(frame) >= header+4 {
		from.VID = tsn.VID(binary.BigEndian.Uint16(frame[14:]) & 0xfff)
		off = 16
		typ = binary.BigEndian.Uint16(frame[off:])
	}
	if from.MAC.IsGroup() || from.MAC.IsZero() {
		p.n.Malformed++
		return nil, from
	}
	in := request{frame: frame, body: frame[off+2:], tag: frame[12:off]}
	switch typ {
	case typeARP:
		reply, from.Address = p.arp(in)
	case typeIPv6:
		reply, from.Address = p.solicitation(in)
	}
	return reply, from
}

// request is a frame taken apart.
type request struct {
	frame, body, tag []byte
}

func (r request) group() bool     { return r.frame[0]&1 != 0 }
func (r request) source() tsn.MAC { return tsn.MAC(r.frame[6:12]) }
func (r request) reply(to, from tsn.MAC, typ uint16) []byte {
	b := append(to[:], from[:]...)
	b = append(b, r.tag...)
	return binary.BigEndian.AppendUint16(b, typ)
}

// lookup finds the station that is asked for, if it is another than the asker.
func (p *Proxy) lookup(a netip.Addr, asker tsn.MAC) (tsn.MAC, bool) {
	m, ok := p.table[a]
	if !ok {
		p.n.Unknown++
	}
	return m, ok && m != asker
}
