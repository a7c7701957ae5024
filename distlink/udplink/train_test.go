package udplink_test

import (
	"bytes"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tsnswitch/distlink"
	"tsnswitch/distlink/udplink"
)

// linked is a link on loopback, both ends of it.
func linked(t testing.TB, cfg udplink.Config) (c, s *udplink.Link) {
	t.Helper()
	cfg.Insecure = true
	l, err := udplink.Listen(t.Context(), "127.0.0.1:0", cfg)
	if err != nil {
		t.Fatal(err)
	}
	if c, err = udplink.Dial(t.Context(), l.Addr().String(), cfg); err != nil {
		t.Fatal(err)
	}
	if s, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.Close()
		_ = l.Close()
	})
	return c, s
}

// trains says whether this kernel takes several datagrams with one call.
func trains(t *testing.T) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Close(fd) }()
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_UDP, unix.UDP_SEGMENT, 1000); err != nil {
		t.Skipf("this kernel has no UDP_SEGMENT: %v", err)
	}
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_UDP, unix.UDP_GRO, 1); err != nil {
		t.Skipf("this kernel has no UDP_GRO: %v", err)
	}
}

func pass(t testing.TB, from, to *udplink.Link, messages, size int) {
	t.Helper()
	sent := make(chan error, 1)
	go func() {
		for i := range messages {
			if err := from.Send(distlink.Message{Stream: 3, Data: bytes.Repeat([]byte{byte(i)}, size)}); err != nil {
				sent <- err
				return
			}
		}
		sent <- nil
	}()
	for i := range messages {
		m, err := to.Recv()
		if err != nil || len(m.Data) != size || m.Data[0] != byte(i) || m.Data[size-1] != byte(i) {
			t.Fatalf("message %d of %d octets: %v", i, len(m.Data), err)
		}
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
}

// Long messages go and come in trains, to a link that dialled and to one that was
// accepted; where a rate is reserved each datagram goes alone.
func TestTrains(t *testing.T) {
	trains(t)
	c, s := linked(t, udplink.Config{})
	pass(t, c, s, 200, 100_000)
	pass(t, s, c, 200, 100_000)
	for _, l := range []*udplink.Link{c, s} {
		if io := l.IO(); io.Trains == 0 || io.InTrains < 2*io.Trains || io.Joined == 0 || io.Refused != 0 {
			t.Errorf("%+v", io)
		}
	}
	c, s = linked(t, udplink.Config{Config: distlink.Config{Rate: 1_000_000}})
	pass(t, c, s, 20, 100_000)
	if io := c.IO(); io.Trains != 0 {
		t.Errorf("with a rate: %+v", io)
	}
}

// A kernel that takes no trains gets single datagrams, and is not asked for ever.
func TestTrainsRefused(t *testing.T) {
	trains(t)
	c, s := linked(t, udplink.Config{})
	udplink.NoChecksums(t, c)
	before := c.IO().Trains
	pass(t, c, s, 200, 100_000)
	if io := c.IO(); io.Trains > before+1 || io.Refused != 8 { // one may have been on its way
		t.Errorf("%+v", io)
	}
}

// BenchmarkTrains is what a link carries, with several datagrams in a call and
// with one each.
func BenchmarkTrains(b *testing.B) {
	for name, single := range map[string]bool{"trains": false, "single": true} {
		b.Run(name, func(b *testing.B) {
			c, s := linked(b, udplink.Config{Single: single})
			b.SetBytes(64 << 10)
			var before, after unix.Rusage
			_ = unix.Getrusage(unix.RUSAGE_SELF, &before)
			b.ResetTimer()
			pass(b, c, s, b.N, 64<<10)
			_ = unix.Getrusage(unix.RUSAGE_SELF, &after)
			cpu := time.Duration(after.Utime.Nano() + after.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano())
			io := c.IO()
			b.ReportMetric(float64(io.InTrains)/max(1, float64(io.Trains)), "datagrams/train")
			b.ReportMetric(float64(cpu.Microseconds())/float64(b.N), "cpu-us/op")
		})
	}
}
