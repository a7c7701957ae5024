package udplink_test

import (
	"encoding/binary"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	tsn "tsnswitch"
	"tsnswitch/distlink"
	"tsnswitch/distlink/udplink"
	"tsnswitch/internal/dataplane"
	"tsnswitch/internal/kerneltest"
	"tsnswitch/internal/txtime"
)

// Without an etf a link works as without launch times, and says why.
func TestNoLaunchTimes(t *testing.T) {
	l, err := udplink.Listen(within(t), "127.0.0.1:0", udplink.Config{Insecure: true, Launch: &udplink.Launch{Interval: 1_000_000}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	if _, err := l.LaunchState(); err == nil || !strings.Contains(err.Error(), "only etf keeps frames") {
		t.Errorf("the listener's reason: %v", err)
	}
	c, err := udplink.Dial(within(t), l.Addr().String(), udplink.Config{Insecure: true})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if _, err := c.LaunchState(); err == nil || !strings.Contains(err.Error(), "not asked for") {
		t.Errorf("the client's reason: %v", err)
	}
	if err := c.Send(distlink.Message{Data: []byte("hello")}); err != nil {
		t.Fatal(err)
	}
	s, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if m, err := s.Recv(); err != nil || string(m.Data) != "hello" {
		t.Errorf("%q, %v", m.Data, err)
	}
}

func TestLaunchRefused(t *testing.T) {
	for _, bad := range []udplink.Launch{
		{},
		{Interval: -1},
		{Interval: 1000, Pace: -1},
		{Interval: 1000, Frames: 2},
		{Interval: 1000, Frames: 3, Pace: 500},
		{Interval: 1000, Lead: -1},
	} {
		if l, err := udplink.Listen(within(t), "127.0.0.1:0", udplink.Config{Insecure: true, Launch: &bad}); err == nil {
			_ = l.Close()
			t.Errorf("%+v was taken", bad)
		}
	}
}

// Datagrams of a paced connection leave in their stream's windows, as exactly as
// the kernel's virtual time shows, and those of the peer are none the worse.
func TestLaunchWindows(t *testing.T) {
	needs := kerneltest.Needs{OwnKernel: true, TimeTravel: true, Taprio: true, ETF: true, Flower: true, Timeout: time.Minute}
	kerneltest.Run(t, needs, func(t *testing.T) {
		const delta, interval = int64(100_000), int64(2_000_000)
		const datagrams = 100
		a, b := kerneltest.NewNetNS(t), kerneltest.NewNetNS(t)
		kerneltest.VethPair(t, 8, kerneltest.End{NS: a, Name: "p1"}, kerneltest.End{NS: b, Name: "h0"})
		a.Address(t, "p1", "10.9.0.1/24")
		b.Address(t, "h0", "10.9.0.2/24")
		launchClass(t, a, delta)
		stamps := -1
		b.Do(func() { stamps = kerneltest.StampingSocket(t, "h0") })

		var l *udplink.Listener
		var c *udplink.Link
		now, err := txtime.Now()
		if err != nil {
			t.Fatal(err)
		}
		base := now + 50_000_000 + 123_000
		b.Do(func() { l, err = udplink.Listen(within(t), "10.9.0.2:4000", udplink.Config{Insecure: true}) })
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = l.Close() }()
		a.Do(func() {
			c, err = udplink.Dial(within(t), "10.9.0.2:4000", udplink.Config{
				Insecure: true,
				Config:   distlink.Config{Rate: 4000}, Priority: 6, // a datagram of 1,000 octets every 2 ms
				Launch: &udplink.Launch{Base: base, Interval: interval, Frames: 2, Pace: 20_000},
			})
		})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.LaunchState(); err != nil {
			t.Fatal(err)
		}
		s, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		for i := range datagrams {
			if err := c.Send(distlink.Message{Data: make([]byte, 900)}); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Recv(); err != nil {
				t.Fatalf("message %d: %v", i, err)
			}
		}
		got := phases(t, stamps, base, interval)
		state, err := c.LaunchState()
		t.Logf("%d datagrams at phases %d..%d; %+v", len(got), slices.Min(got), slices.Max(got), state)
		if len(got) < datagrams || err != nil || state.Missed+state.Refused > 0 || state.Sent != uint64(len(got)) {
			t.Errorf("%d datagrams came, %+v, %v", len(got), state, err)
		}
		// The etf of the kernel lets them go delta before their launch times.
		for _, p := range got {
			if early := interval - delta; p < early || p > early+20_000+10_000 {
				t.Errorf("a datagram left at phase %d, want %d or %d", p, early, early+20_000)
			}
		}
	})
}

// launchClass gives the scheduled class of p1 launch times.
func launchClass(t *testing.T, ns *kerneltest.NetNS, delta int64) {
	t.Helper()
	var k *dataplane.Kernel
	var err error
	ns.Do(func() {
		k, err = dataplane.Open(dataplane.Config{ClassMap: tsn.DefaultClassMap, Ports: []dataplane.PortConfig{{Port: 1, Ifname: "p1", Rate: tsn.Gbps}}})
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = k.Close() })
	e := tsn.PortEgress{Port: 1, ClassMap: tsn.DefaultClassMap}
	e.Launch[tsn.ClassScheduled].Delta = delta
	if _, err := k.Set(within(t), tsn.DesiredState{Egress: []tsn.PortEgress{e}}); err != nil {
		t.Fatal(err)
	}
	if err := k.AwaitOper(within(t), 1); err != nil {
		t.Fatal(err)
	}
}

// phases are those at which datagrams from 10.9.0.1 came, as far as they are
// stamped: in virtual time when they left.
func phases(t *testing.T, fd int, base, interval int64) (out []int64) {
	t.Helper()
	tai, err := txtime.Now()
	if err != nil {
		t.Fatal(err)
	}
	offset := (tai - time.Now().UnixNano() + 500_000_000) / 1_000_000_000 * 1_000_000_000
	buf, oob := make([]byte, 2000), make([]byte, 200)
	for {
		n, oobn, _, _, err := unix.Recvmsg(fd, buf, oob, unix.MSG_DONTWAIT)
		if err == unix.EINTR {
			continue
		}
		if err == unix.EAGAIN {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		cs, err := unix.ParseSocketControlMessage(oob[:oobn])
		if err != nil || len(cs) != 1 {
			t.Fatalf("no time stamp: %v, %v", cs, err)
		}
		if n < 34 || buf[23] != unix.IPPROTO_UDP || buf[29] != 1 { // the last octet of the source
			continue
		}
		at := int64(binary.NativeEndian.Uint64(cs[0].Data))*1_000_000_000 + int64(binary.NativeEndian.Uint64(cs[0].Data[8:])) + offset
		out = append(out, ((at-base)%interval+interval)%interval)
	}
}
