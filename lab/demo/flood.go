package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"

	"tsnswitch"
)

// floodPayload fills a 1500-octet IP packet.
const floodPayload = 1472

// A flood is best-effort UDP at a bit more than the line rate, so that the
// queue in front of the shared link is always full.
type flood struct {
	stop   context.CancelFunc
	wg     sync.WaitGroup
	frames atomic.Uint64
	err    atomic.Pointer[error]
}

// discard opens a socket that nobody reads, with the smallest of buffers, so
// that the kernel drops a flood instead of answering it. It is there until the
// space ends.
func (s *space) discard(ctx context.Context, at netip.AddrPort) (net.PacketConn, error) {
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var serr error
		err := c.Control(func(fd uintptr) { serr = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, 1) })
		return errors.Join(err, serr)
	}}
	var conn net.PacketConn
	err := s.inside(func() (err error) {
		conn, err = lc.ListenPacket(ctx, "udp4", at.String())
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("discard at %s: %w", s.name, err)
	}
	return conn, nil
}

// startFlood sends from inside the space to a discard port until stopped.
func (s *space) startFlood(ctx context.Context, to netip.AddrPort, line tsn.Rate) (*flood, error) {
	var conn net.PacketConn
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var serr error
		err := c.Control(func(fd uintptr) {
			serr = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PRIORITY, 0)
		})
		if err != nil {
			return err
		}
		return serr
	}}
	err := s.inside(func() (err error) {
		conn, err = lc.ListenPacket(ctx, "udp4", ":0")
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("flood from %s: %w", s.name, err)
	}
	ctx, cancel := context.WithCancel(ctx)
	f := &flood{stop: cancel}
	const batch = 8
	// 5 % above what the line carries, in batches.
	perBatch := time.Duration(line.TransmitTime((floodPayload+28+tsn.FrameOverhead)*batch) * 100 / 105)
	msgs := make([]ipv4.Message, batch)
	payload := make([]byte, floodPayload)
	for i := range msgs {
		msgs[i] = ipv4.Message{Buffers: [][]byte{payload}, Addr: net.UDPAddrFromAddrPort(to)}
	}
	f.wg.Go(func() {
		defer conn.Close()
		p := ipv4.NewPacketConn(conn)
		tick := time.NewTicker(max(perBatch, 2*time.Millisecond))
		defer tick.Stop()
		start, sent := time.Now(), 0
		for {
			select {
			case <-ctx.Done():
				return
			case now := <-tick.C:
				// A late tick is made up for, but never by more than 10 ms worth.
				due := int(now.Sub(start) / perBatch)
				if most := sent + 1 + int(10*time.Millisecond/perBatch); due > most {
					start = start.Add(time.Duration(due-most) * perBatch)
					due = most
				}
				for ; sent < due; sent++ {
					n, err := p.WriteBatch(msgs, 0)
					if err != nil && ctx.Err() == nil && !isTransient(err) {
						f.err.Store(&err)
						return
					}
					f.frames.Add(uint64(max(n, 0)))
				}
			}
		}
	})
	return f, nil
}

// isTransient: a full queue or an ICMP error is what a flood expects.
func isTransient(err error) bool {
	for _, e := range []error{unix.ENOBUFS, unix.EAGAIN, unix.ECONNREFUSED, unix.EHOSTUNREACH, unix.ENETUNREACH} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// end stops the flood and returns the frames it sent.
func (f *flood) end() (uint64, error) {
	f.stop()
	f.wg.Wait()
	if p := f.err.Load(); p != nil {
		return f.frames.Load(), *p
	}
	return f.frames.Load(), nil
}
