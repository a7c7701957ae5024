package udplink_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"tsnswitch/distlink"
	"tsnswitch/distlink/udplink"
	"tsnswitch/internal/kerneltest"
)

// exchange sends n messages of each class both ways, and takes them.
func exchange(t *testing.T, n int, a, b *udplink.Link) {
	t.Helper()
	for range n {
		for k := distlink.Bulk; k <= distlink.Control; k++ {
			for _, way := range [][2]*udplink.Link{{a, b}, {b, a}} {
				if err := way[0].Send(distlink.Message{Stream: uint32(k), Class: k, Data: []byte{byte(k), 1, 2}}); err != nil {
					t.Fatal(err)
				}
				if m, err := way[1].Recv(); err != nil || len(m.Data) != 3 || m.Data[0] != byte(k) {
					t.Fatalf("class %d: %x, %v", k, m.Data, err)
				}
			}
		}
	}
}

// pair is a listener's link and one that dialled it.
func pair(t *testing.T, at string, listen, dial udplink.Config) (l *udplink.Listener, accepted, dialled *udplink.Link) {
	t.Helper()
	listen.Insecure, dial.Insecure = true, true
	l, err := udplink.Listen(within(t), at, listen)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	if dialled, err = udplink.Dial(within(t), l.Addr().String(), dial); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = dialled.Close() })
	if accepted, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	return l, accepted, dialled
}

// Classes have sockets of their own on either side or both, by IPv4 and IPv6, and
// that may change; to the peer it is one address.
func TestClassSockets(t *testing.T) {
	all := map[distlink.Class]udplink.Socket{distlink.Bulk: {Priority: 1}, distlink.Configured: {Priority: 5, Rate: 50_000}, distlink.Control: {Priority: 6}}
	for name, c := range map[string]struct {
		at           string
		listen, dial map[distlink.Class]udplink.Socket
	}{
		"both":     {"127.0.0.1:0", all, all},
		"listener": {"127.0.0.1:0", all, nil},
		"dialler":  {"127.0.0.1:0", nil, all},
		"one":      {"127.0.0.1:0", map[distlink.Class]udplink.Socket{distlink.Control: {}}, map[distlink.Class]udplink.Socket{distlink.Bulk: {}}},
		"IPv6":     {"[::1]:0", all, all},
		"no IPv6":  {"[::1]:0", nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			l, s, d := pair(t, c.at, udplink.Config{Classes: c.listen}, udplink.Config{Classes: c.dial})
			exchange(t, 20, s, d)
			if n := len(s.Stats().Lanes); n != len(c.listen) {
				t.Errorf("the listener has %d lanes", n)
			}
			if err := d.Rebind(within(t), udplink.Config{Classes: c.listen}); err != nil {
				t.Fatal(err)
			}
			exchange(t, 20, s, d)
			if st := d.Stats(); len(st.Lanes) != len(c.listen) || st.ClassSent[0] < 20 || st.ClassSent[1] < 20 || st.ClassSent[2] < 20 {
				t.Errorf("after rebind: %+v", st)
			}
			other := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
				return raw.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1) })
			}}
			if pc, err := other.ListenPacket(t.Context(), "udp", l.Addr().String()); err == nil {
				_ = pc.Close()
				t.Error("somebody else shares the port")
			}
		})
	}
}

func TestClassSocketsRefused(t *testing.T) {
	for _, bad := range []map[distlink.Class]udplink.Socket{{9: {}}, {distlink.Bulk: {Device: "nothere0"}}, {distlink.Control: {Launch: &udplink.Launch{}}}} {
		if l, err := udplink.Listen(within(t), "127.0.0.1:0", udplink.Config{Insecure: true, Classes: bad}); err == nil {
			_ = l.Close()
			t.Errorf("%+v was taken", bad)
		}
	}
}

// tag is what a frame has before its packet: VLAN and PCP, 0 and 0 without one.
type tag struct{ vlan, pcp int }

// Bulk goes untagged, configured and control by a VLAN with a PCP each, between
// the same two addresses; and what comes back is taken, whichever way it came.
func TestClassesByVLAN(t *testing.T) {
	kerneltest.Run(t, kerneltest.Needs{VLANDevices: true}, func(t *testing.T) {
		a, b := kerneltest.NewNetNS(t), kerneltest.NewNetNS(t)
		kerneltest.VethPair(t, 1, kerneltest.End{NS: a, Name: "p1"}, kerneltest.End{NS: b, Name: "h0"})
		address(t, a, "p1", "10.9.0.1/24")
		address(t, b, "h0", "10.9.0.2/24")
		tagged(t, a, "p1")
		tagged(t, b, "h0")
		var fd int
		b.Do(func() { fd = taggedFrames(t, "h0") })
		classes := func(device string) map[distlink.Class]udplink.Socket {
			return map[distlink.Class]udplink.Socket{
				distlink.Configured: {Priority: 5, Device: device, Rate: 20_000},
				distlink.Control:    {Priority: 6, Device: device},
			}
		}
		var l *udplink.Listener
		var c *udplink.Link
		var err error
		b.Do(func() {
			l, err = udplink.Listen(within(t), "10.9.0.2:4000", udplink.Config{Insecure: true, Classes: classes("h0.10")})
		})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = l.Close() }()
		a.Do(func() {
			c, err = udplink.Dial(within(t), "10.9.0.2:4000", udplink.Config{Insecure: true, Classes: classes("p1.10")})
		})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
		s, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		exchange(t, 30, s, c)
		want := map[tag]bool{{}: true, {10, 5}: true, {10, 6}: true}
		got := countTags(t, fd)
		t.Logf("frames by tag: %v; datagrams by class: %v", got, c.Stats().ClassSent)
		for k := range maps.Keys(want) {
			if got[k] < 30 {
				t.Errorf("%d frames with %+v", got[k], k)
			}
		}
		if len(got) != len(want) || c.Stats().Moves+s.Stats().Moves > 0 {
			t.Errorf("tags %v, %d moves", got, s.Stats().Moves)
		}
	})
}

// tagged makes a device for VLAN 10 whose PCP is the priority; it has no address.
func tagged(t *testing.T, ns *kerneltest.NetNS, name string) {
	t.Helper()
	h := ns.Netlink()
	parent, err := h.LinkByName(name)
	if err != nil {
		t.Fatal(err)
	}
	vlan := &netlink.Vlan{LinkAttrs: netlink.LinkAttrs{Name: name + ".10", ParentIndex: parent.Attrs().Index}, VlanId: 10, EgressQosMap: map[uint32]uint32{}}
	for p := range uint32(8) {
		vlan.EgressQosMap[p] = p
	}
	if err := h.LinkAdd(vlan); err != nil {
		t.Fatal(err)
	}
	if err := h.LinkSetUp(vlan); err != nil {
		t.Fatal(err)
	}
}

// taggedFrames opens a socket that sees what an interface receives, tags included.
func taggedFrames(t *testing.T, name string) int {
	t.Helper()
	i, err := net.InterfaceByName(name)
	if err != nil {
		t.Fatal(err)
	}
	all := binary.NativeEndian.Uint16([]byte{unix.ETH_P_ALL >> 8, unix.ETH_P_ALL & 0xff})
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, int(all))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	err = errors.Join(unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: i.Index}),
		unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_AUXDATA, 1),
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 8<<20))
	if err != nil {
		t.Fatal(err)
	}
	return fd
}

// countTags counts the datagrams from 10.9.0.1 by their tags.
func countTags(t *testing.T, fd int) map[tag]int {
	t.Helper()
	out := map[tag]int{}
	buf, oob := make([]byte, 2000), make([]byte, 200)
	for {
		n, oobn, _, from, err := unix.Recvmsg(fd, buf, oob, unix.MSG_DONTWAIT)
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.EAGAIN:
			return out
		case err != nil:
			t.Fatal(err)
		}
		if ll, ok := from.(*unix.SockaddrLinklayer); !ok || ll.Pkttype == unix.PACKET_OUTGOING {
			continue
		}
		cs, err := unix.ParseSocketControlMessage(oob[:oobn])
		if err != nil || len(cs) != 1 {
			t.Fatalf("no auxiliary data: %v, %v", cs, err)
		}
		src, _ := netip.AddrFromSlice(buf[26:30])
		if n < 42 || binary.BigEndian.Uint16(buf[12:]) != unix.ETH_P_IP || buf[23] != unix.IPPROTO_UDP || src.String() != "10.9.0.1" {
			continue
		}
		var k tag // struct tpacket_auxdata: status, len, snaplen, mac, net, vlan_tci
		if aux := cs[0].Data; binary.NativeEndian.Uint32(aux)&unix.TP_STATUS_VLAN_VALID != 0 {
			tci := int(binary.NativeEndian.Uint16(aux[16:]))
			k = tag{vlan: tci & 0xfff, pcp: tci >> 13}
		}
		out[k]++
	}
}

func (k tag) String() string { return fmt.Sprintf("vlan %d pcp %d", k.vlan, k.pcp) }
