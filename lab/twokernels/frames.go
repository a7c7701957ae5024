//go:build linux && amd64

package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Probe frames: an 802.1Q tag, an EtherType for local experiments, a number.
const (
	probeEtherType = 0x88b5
	probeOctets    = 128 // of data, with the number
	probePCP       = 6
)

// Sending says what to send: Count frames with the numbers from First on, at
// random times with Gap ns between them on average. Random, so that nothing
// but gates decides when frames leave a bridge.
type Sending struct {
	Ifname   string
	From, To string // MAC addresses
	VID      uint16
	First    int
	Count    int
	Gap      int64
	Seed     uint64
}

// Send sends, and returns after the last frame.
func (*Agent) Send(s Sending, _ *None) error {
	fd, err := packetSocket(s.Ifname, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	frame, err := s.frame()
	if err != nil {
		return err
	}
	random := rand.New(rand.NewPCG(s.Seed, 0))
	for n := range s.Count {
		binary.BigEndian.PutUint64(frame[18:], uint64(s.First+n))
		if _, err := unix.Write(fd, frame); err != nil {
			return fmt.Errorf("send on %s: %w", s.Ifname, err)
		}
		gap := unix.NsecToTimespec(random.Int64N(2 * s.Gap))
		if err := unix.ClockNanosleep(unix.CLOCK_MONOTONIC, 0, &gap, nil); err != nil && !errors.Is(err, unix.EINTR) {
			return err
		}
	}
	return nil
}

func (s Sending) frame() ([]byte, error) {
	to, err1 := net.ParseMAC(s.To)
	from, err2 := net.ParseMAC(s.From)
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	b := append(append(make([]byte, 0, 18+probeOctets), to...), from...)
	b = binary.BigEndian.AppendUint16(b, 0x8100)
	b = binary.BigEndian.AppendUint16(b, probePCP<<13|s.VID)
	b = binary.BigEndian.AppendUint16(b, probeEtherType)
	return b[:18+probeOctets], nil
}

// Watching says where to look for probe frames, and for what number last.
type Watching struct {
	Ifnames []string
	Last    int
}

// Seen is what was found: for each interface the time of each frame, by its
// number, as the kernel stamped it, in CLOCK_TAI; and readings of the clocks
// all along.
type Seen struct {
	Frames   map[string]map[int]int64
	Readings []Reading
}

// A watch is one that goes on.
type watch struct {
	seen    Seen
	cancel  context.CancelFunc
	last    sync.WaitGroup // those that wait for the last frame
	running sync.WaitGroup
	errs    []error
}

// Watch begins to capture the probe frames that come in by some interfaces.
func (a *Agent) Watch(w Watching, _ *None) error {
	tai, err := taiOffset()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	now := &watch{cancel: cancel, errs: make([]error, len(w.Ifnames)+1), seen: Seen{Frames: map[string]map[int]int64{}}}
	for i, name := range w.Ifnames {
		fd, err := captureSocket(name)
		if err != nil {
			cancel()
			return err
		}
		frames := map[int]int64{}
		now.seen.Frames[name] = frames
		now.last.Add(1)
		now.running.Go(func() {
			defer unix.Close(fd)
			now.errs[i] = capture(ctx, fd, tai, frames, w.Last, now.last.Done)
		})
	}
	now.running.Go(func() { now.seen.Readings, now.errs[len(w.Ifnames)] = readings(ctx) })
	a.mu.Lock()
	defer a.mu.Unlock()
	a.watch = now
	return nil
}

// EndWatch ends that when the last frame has come, or patience, in ns, is
// over, and tells what was seen.
func (a *Agent) EndWatch(patience int64, seen *Seen) error {
	a.mu.Lock()
	w := a.watch
	a.mu.Unlock()
	impatient := time.AfterFunc(time.Duration(patience), w.cancel)
	defer impatient.Stop()
	w.last.Wait()
	w.cancel()
	w.running.Wait()
	*seen = w.seen
	return errors.Join(w.errs...)
}

// readings reads the clocks every 20 ms: steering changes their relation only
// once a second. A reading during which the guest stood still is left out.
func readings(ctx context.Context) (all []Reading, err error) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		r, err := readBoth()
		if err != nil {
			return nil, err
		}
		if r.Error < 200_000 {
			all = append(all, r)
		}
		select {
		case <-ctx.Done():
			return all, nil
		case <-tick.C:
		}
	}
}

// taiOffset is CLOCK_TAI minus CLOCK_REALTIME, in which the kernel stamps.
func taiOffset() (int64, error) {
	var tx unix.Timex
	_, err := unix.Adjtimex(&tx)
	return int64(tx.Tai) * 1e9, err
}

// captureSocket stamps what it receives, and lets its reader look up 10 times a
// second.
func captureSocket(ifname string) (int, error) {
	fd, err := packetSocket(ifname, unix.ETH_P_ALL)
	if err != nil {
		return 0, err
	}
	patience := unix.NsecToTimeval(int64(100 * time.Millisecond))
	err = errors.Join(unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1),
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &patience))
	if err != nil {
		_ = unix.Close(fd)
		return 0, fmt.Errorf("capture on %s: %w", ifname, err)
	}
	return fd, nil
}

// capture calls done once: when it has seen the last frame, or at its end.
func capture(ctx context.Context, fd int, tai int64, frames map[int]int64, last int, done func()) error {
	done = sync.OnceFunc(done)
	defer done()
	b, oob := make([]byte, 2048), make([]byte, 128)
	for ctx.Err() == nil {
		n, oobn, _, from, err := unix.Recvmsg(fd, b, oob, 0)
		if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return os.NewSyscallError("recvmsg", err)
		}
		if ll, ok := from.(*unix.SockaddrLinklayer); !ok || ll.Pkttype == unix.PACKET_OUTGOING {
			continue
		}
		number, ok := probeNumber(b[:n])
		stamp := stampOf(oob[:oobn])
		if ok && stamp != 0 {
			frames[number] = stamp + tai
		}
		if number == last {
			done()
		}
	}
	return nil
}

// probeNumber reads a probe frame, of which the kernel has taken the tag.
func probeNumber(b []byte) (int, bool) {
	if len(b) < 14+8 || binary.BigEndian.Uint16(b[12:]) != probeEtherType {
		return 0, false
	}
	return int(binary.BigEndian.Uint64(b[14:])), true
}

func stampOf(oob []byte) int64 {
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return 0
	}
	for _, m := range msgs {
		if m.Header.Level == unix.SOL_SOCKET && m.Header.Type == unix.SCM_TIMESTAMPNS && len(m.Data) >= 16 {
			return int64(binary.NativeEndian.Uint64(m.Data))*1e9 + int64(binary.NativeEndian.Uint64(m.Data[8:]))
		}
	}
	return 0
}

// packetSocket opens a raw socket on an interface; protocol 0 receives nothing.
func packetSocket(ifname string, protocol uint16) (int, error) {
	dev, err := net.InterfaceByName(ifname)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", ifname, err)
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("packet socket: %w", err)
	}
	addr := &unix.SockaddrLinklayer{Protocol: protocol<<8 | protocol>>8, Ifindex: dev.Index}
	if err := unix.Bind(fd, addr); err != nil {
		_ = unix.Close(fd)
		return 0, fmt.Errorf("bind to %s: %w", ifname, err)
	}
	return fd, nil
}
