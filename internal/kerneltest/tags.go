package kerneltest

import (
	"encoding/binary"
	"errors"
	"net"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Address gives a link an address, "10.9.0.1/24".
func (n *NetNS) Address(t testing.TB, name, cidr string) {
	t.Helper()
	h := n.Netlink()
	link, err := h.LinkByName(name)
	if err != nil {
		t.Fatal(err)
	}
	addr, err := netlink.ParseAddr(cidr)
	if err != nil {
		t.Fatal(err)
	}
	addr.Flags |= unix.IFA_F_NODAD
	if err := errors.Join(h.AddrAdd(link, addr), h.LinkSetUp(link)); err != nil {
		t.Fatal(err)
	}
}

// VLAN puts a device for VLAN 10 on a link, named as it with .10. The PCP of what it
// sends is the socket's priority. It has no address.
func (n *NetNS) VLAN(t testing.TB, name string) {
	t.Helper()
	h := n.Netlink()
	parent, err := h.LinkByName(name)
	if err != nil {
		t.Fatal(err)
	}
	vlan := &netlink.Vlan{LinkAttrs: netlink.LinkAttrs{Name: name + ".10", ParentIndex: parent.Attrs().Index}, VlanId: 10, EgressQosMap: map[uint32]uint32{}}
	for p := range uint32(8) {
		vlan.EgressQosMap[p] = p
	}
	if err := errors.Join(h.LinkAdd(vlan), h.LinkSetUp(vlan)); err != nil {
		t.Fatal(err)
	}
}

// Tag is what a frame has before its packet: 0 and 0 without one.
type Tag struct{ VLAN, PCP int }

// Tags sees what an interface receives.
type Tags struct{ fd int }

// NewTags begins to watch an interface; call it in its namespace.
func NewTags(t testing.TB, name string) Tags {
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
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 64<<20))
	if err != nil {
		t.Fatal(err)
	}
	return Tags{fd}
}

// Count counts the UDP datagrams over IPv4 from an address by their tags.
func (s Tags) Count(t testing.TB, from string) map[Tag]int {
	t.Helper()
	out := map[Tag]int{}
	buf, oob := make([]byte, 65536), make([]byte, 200)
	for {
		n, oobn, _, _, err := unix.Recvmsg(s.fd, buf, oob, unix.MSG_DONTWAIT)
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.EAGAIN:
			return out
		case err != nil:
			t.Fatal(err)
		}
		cs, err := unix.ParseSocketControlMessage(oob[:oobn])
		if err != nil || len(cs) != 1 {
			t.Fatalf("no auxiliary data: %v, %v", cs, err)
		}
		if n < 42 || binary.BigEndian.Uint16(buf[12:]) != unix.ETH_P_IP || buf[23] != unix.IPPROTO_UDP || net.IP(buf[26:30]).String() != from {
			continue
		}
		var k Tag // struct tpacket_auxdata: status, len, snaplen, mac, net, vlan_tci
		if aux := cs[0].Data; binary.NativeEndian.Uint32(aux)&unix.TP_STATUS_VLAN_VALID != 0 {
			tci := int(binary.NativeEndian.Uint16(aux[16:]))
			k = Tag{VLAN: tci & 0xfff, PCP: tci >> 13}
		}
		out[k]++
	}
}
