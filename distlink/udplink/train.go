package udplink

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"tsnswitch/distlink"
)

// Datagrams of one length in a row go to the kernel with one call, which cuts
// them (UDP_SEGMENT), and come joined (UDP_GRO), where it can. Where a rate is
// reserved they leave one by one: its shaper wants frames, not trains of them.
const (
	trainOctets  = 64000
	trainLength  = 64
	trainRefused = 8 // times until no more trains are tried
)

// IOStats count calls of the kernel for several datagrams.
type IOStats struct {
	Trains, InTrains uint64 // sent so, and datagrams in them
	Refused          uint64 // not taken by the kernel; sent one by one instead
	Joined           uint64 // received so
}

type ioCounters struct{ trains, inTrains, refused, joined atomic.Uint64 }

// IO returns the counters of a link's sockets: of an accepted one, all its listener's.
func (l *Link) IO() IOStats {
	l.mu.Lock()
	out := l.out
	l.mu.Unlock()
	return out.io()
}

// IO returns the counters of the listener's sockets.
func (l *Listener) IO() IOStats { return l.out.io() }

func (s *sockets) io() (sum IOStats) {
	for _, l := range s {
		if l != nil {
			sum.Trains += l.io.trains.Load()
			sum.InTrains += l.io.inTrains.Load()
			sum.Refused += l.io.refused.Load()
			sum.Joined += l.io.joined.Load()
		}
	}
	return sum
}

// train is what is collected for one call.
type train struct {
	lane int
	to   netip.AddrPort
	cars [][]byte
	size int // octets of all
}

// takes reports whether a datagram may be added: as long as the first, or
// shorter and the last.
func (t *train) takes(e distlink.Transmit) bool {
	n := len(t.cars)
	return n > 0 && n < trainLength && e.Lane == t.lane && e.To == t.to && len(e.Data) <= len(t.cars[0]) &&
		len(t.cars[n-1]) == len(t.cars[0]) && t.size+len(e.Data) <= trainOctets
}

func (t *train) add(e distlink.Transmit) {
	t.lane, t.to = e.Lane, e.To
	t.cars = append(t.cars, e.Data)
	t.size += len(e.Data)
}

// leave sends what was collected.
func (s *sockets) leave(t *train) {
	l := s[t.lane]
	if len(t.cars) == 1 || !l.train(t) {
		for _, b := range t.cars {
			l.write(b, t.to)
		}
	}
	clear(t.cars)
	t.cars, t.size = t.cars[:0], 0
}

// train sends datagrams with one call, or reports that the kernel does not.
func (l *launcher) train(t *train) bool {
	if l.single || l.io.refused.Load() >= trainRefused {
		return false
	}
	b := make([]byte, 0, t.size)
	for _, c := range t.cars {
		b = append(b, c...)
	}
	control := segments(len(t.cars[0]))
	_, _, err := l.conn.WriteMsgUDPAddrPort(b, control, t.to)
	if errors.Is(err, unix.ECONNREFUSED) { // an old ICMP error: the train was not sent
		_, _, err = l.conn.WriteMsgUDPAddrPort(b, control, t.to)
	}
	if err != nil {
		l.io.refused.Add(1)
		return errors.Is(err, net.ErrClosed)
	}
	l.io.trains.Add(1)
	l.io.inTrains.Add(uint64(len(t.cars)))
	return true
}

// segments is the control message that has a send cut after each octets.
func segments(octets int) []byte {
	b := make([]byte, unix.CmsgSpace(2))
	if unix.SizeofCmsghdr == 12 { // the length is a word of the machine
		binary.NativeEndian.PutUint32(b, uint32(unix.CmsgLen(2)))
	} else {
		binary.NativeEndian.PutUint64(b, uint64(unix.CmsgLen(2)))
	}
	binary.NativeEndian.PutUint32(b[unix.SizeofCmsghdr-8:], unix.IPPROTO_UDP)
	binary.NativeEndian.PutUint32(b[unix.SizeofCmsghdr-4:], unix.UDP_SEGMENT)
	binary.NativeEndian.PutUint16(b[unix.CmsgLen(0):], uint16(octets))
	return b
}

// join asks for datagrams joined, where the kernel does that.
func join(fd int) { _ = unix.SetsockoptInt(fd, unix.IPPROTO_UDP, unix.UDP_GRO, 1) }

// receive reads datagrams until the socket is closed: several of segment octets
// each, the last may be shorter, if segment is not 0.
func (l *launcher) receive(take func(from netip.AddrPort, b []byte, segment int)) {
	buf, control := make([]byte, 65536), make([]byte, 64)
	for {
		n, c, _, from, err := l.conn.ReadMsgUDPAddrPort(buf, control)
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil: // an ICMP error is a hint only; silence decides
			continue
		}
		segment := joined(control[:c])
		if segment > 0 && segment < n {
			l.io.joined.Add(1)
		}
		take(netip.AddrPortFrom(from.Addr().Unmap(), from.Port()), append([]byte(nil), buf[:n]...), segment)
	}
}

// joined is the segment size that the kernel tells of, or 0.
func joined(control []byte) int {
	if len(control) == 0 {
		return 0
	}
	all, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return 0
	}
	for _, m := range all {
		if m.Header.Level == unix.IPPROTO_UDP && m.Header.Type == unix.UDP_GRO && len(m.Data) >= 4 {
			return int(binary.NativeEndian.Uint32(m.Data))
		}
	}
	return 0
}
