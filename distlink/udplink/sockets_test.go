package udplink_test

import (
	"net"
	"syscall"
	"testing"

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

// Bulk goes untagged, configured and control by a VLAN with a PCP each, between
// the same two addresses; and what comes back is taken, whichever way it came.
func TestClassesByVLAN(t *testing.T) {
	kerneltest.Run(t, kerneltest.Needs{VLANDevices: true}, func(t *testing.T) {
		a, b := kerneltest.NewNetNS(t), kerneltest.NewNetNS(t)
		kerneltest.VethPair(t, 1, kerneltest.End{NS: a, Name: "p1"}, kerneltest.End{NS: b, Name: "h0"})
		a.Address(t, "p1", "10.9.0.1/24")
		b.Address(t, "h0", "10.9.0.2/24")
		a.VLAN(t, "p1")
		b.VLAN(t, "h0")
		var tags kerneltest.Tags
		b.Do(func() { tags = kerneltest.NewTags(t, "h0") })
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
		got := tags.Count(t, "10.9.0.1")
		t.Logf("frames by tag: %v; datagrams by class: %v", got, c.Stats().ClassSent)
		for _, k := range []kerneltest.Tag{{}, {VLAN: 10, PCP: 5}, {VLAN: 10, PCP: 6}} {
			if got[k] < 30 {
				t.Errorf("%d frames with %+v", got[k], k)
			}
		}
		if len(got) != 3 || c.Stats().Moves+s.Stats().Moves > 0 {
			t.Errorf("tags %v, %d moves", got, s.Stats().Moves)
		}
	})
}
