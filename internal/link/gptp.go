package link

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"

	"golang.org/x/sys/unix"

	"tsnswitch"
)

// gptpGroup is the one group of gPTP (802.1AS-2020 10.5.3, table 10-4). It is
// never forwarded by a bridge.
var gptpGroup = [6]byte{0x01, 0x80, 0xc2, 0x00, 0x00, 0x0e}

// readBatch bounds the frames read in a row, so that a flood on the socket
// cannot keep egress stamps waiting.
const readBatch = 32

// unprivilegedPriority is the highest that everybody may use.
const unprivilegedPriority = 6

// gptpPort is the gPTP socket of one port. One goroutine, run, polls the
// socket and its error queue and makes every callback; send is called from
// the protocol loop.
type gptpPort struct {
	port    tsn.Port
	timeout int64 // ns a stamp may take
	clock   Clock
	deliver func(tsn.Event)
	reopen  func() // asks the watcher for a fresh socket
	log     *slog.Logger
	n       counters
	admission

	fault func(fd int, c control) bool // tests keep stamps back; nil: none

	wake int // eventfd that interrupts run's poll
	done chan struct{}

	mu       sync.Mutex
	fd       int // -1 while the interface is absent
	flags    stampFlags
	stamping Stamping
	priority int
	pending  pendingStamps
	lost     []uint64 // tags that will get no stamp; run reports them
	stale    []int    // replaced sockets; only run, which polls them, closes them
	closed   bool
}

// start creates the goroutine; the port has no socket yet.
func (p *gptpPort) start() error {
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return fmt.Errorf("eventfd for gPTP port %d: %w", p.port, err)
	}
	p.wake, p.fd, p.done = wake, -1, make(chan struct{})
	go p.run()
	return nil
}

// stop ends the goroutine and every socket.
func (p *gptpPort) stop() {
	p.mu.Lock()
	p.closed = true
	p.replace(-1)
	p.mu.Unlock()
	<-p.done
	unix.Close(p.wake)
}

// open replaces the socket by one on ifi.
func (p *gptpPort) open(ifi *net.Interface) error {
	how := StampingOf(ifi.Name, p.clock)
	if how.Hardware {
		if err := enableHardwareStamps(ifi.Name); err != nil {
			how = Stamping{Why: err.Error()}
		}
	}
	p.log.Info("gPTP time stamps", "port", p.port, "by", how.String())
	flags := flagsFor(how.Hardware)
	fd, err := openGPTP(ifi, flags)
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.replace(fd)
	p.flags, p.priority, p.stamping = flags, 0, how
	p.n.opens.Add(1)
	return nil
}

// close leaves the port without a socket, as when its interface is gone.
func (p *gptpPort) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.replace(-1)
}

// drops adds what the kernel dropped since the last call to the counters. The
// kernel's own count restarts at each reading.
func (p *gptpPort) drops() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.fd < 0 {
		return
	}
	if s, err := unix.GetsockoptTpacketStats(p.fd, unix.SOL_PACKET, unix.PACKET_STATISTICS); err == nil {
		p.n.droppedQueue.Add(uint64(s.Drops))
	}
}

// replace swaps the socket. Stamps of the old one cannot come any more, and
// the OPT_ID of the new one starts again at 0.
func (p *gptpPort) replace(fd int) {
	if p.fd >= 0 {
		p.stale = append(p.stale, p.fd)
	}
	p.fd = fd
	for _, q := range p.pending.queue {
		p.lost = append(p.lost, q.tag)
	}
	p.pending = pendingStamps{}
	p.interrupt()
}

func (p *gptpPort) interrupt() {
	one := binary.NativeEndian.AppendUint64(nil, 1)
	unix.Write(p.wake, one) // full counter: run is awake anyway
}

// openGPTP makes a non-blocking raw socket that receives gPTP with stamps.
func openGPTP(ifi *net.Interface, flags stampFlags) (int, error) {
	// Protocol 0 receives nothing until bind, so no frame of another
	// interface slips in.
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("gPTP socket on %s (needs CAP_NET_RAW): %w", ifi.Name, err)
	}
	member := &unix.PacketMreq{Ifindex: int32(ifi.Index), Type: unix.PACKET_MR_MULTICAST, Alen: 6}
	copy(member.Address[:], gptpGroup[:])
	proto := binary.NativeEndian.Uint16([]byte{byte(unix.ETH_P_1588 >> 8), byte(unix.ETH_P_1588 & 0xff)})
	steps := []struct {
		what string
		do   func() error
	}{
		{"SO_TIMESTAMPING", func() error {
			return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPING_NEW, flags.socket)
		}},
		{"bind", func() error {
			return unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: proto, Ifindex: ifi.Index})
		}},
		{"join group 01-80-C2-00-00-0E", func() error {
			return unix.SetsockoptPacketMreq(fd, unix.SOL_PACKET, unix.PACKET_ADD_MEMBERSHIP, member)
		}},
	}
	for _, s := range steps {
		if err := s.do(); err != nil {
			unix.Close(fd)
			return -1, fmt.Errorf("gPTP socket on %s: %s: %w", ifi.Name, s.what, err)
		}
	}
	return fd, nil
}

// send transmits and, if the frame is tagged, arranges for its Sent.
func (p *gptpPort) send(s tsn.Send) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	err := p.transmit(s)
	if err != nil {
		p.n.sendFailed.Add(1)
		if s.Tag != 0 {
			p.lose(s.Tag)
		}
		return fmt.Errorf("port %d: send gPTP frame: %w", p.port, err)
	}
	p.n.sent.Add(1)
	return nil
}

func (p *gptpPort) transmit(s tsn.Send) error {
	if p.fd < 0 {
		return ErrAbsent
	}
	if int(s.Priority) != p.priority {
		err := unix.SetsockoptInt(p.fd, unix.SOL_SOCKET, unix.SO_PRIORITY, int(s.Priority))
		if errors.Is(err, unix.EPERM) {
			// 7 needs CAP_NET_ADMIN. A frame without its class is better than none.
			err = unix.SetsockoptInt(p.fd, unix.SOL_SOCKET, unix.SO_PRIORITY, unprivilegedPriority)
		}
		if err != nil {
			return fmt.Errorf("set SO_PRIORITY %d: %w", s.Priority, err)
		}
		p.priority = int(s.Priority)
	}
	tagged := s.Tag != 0 && !p.pending.full()
	var oob []byte
	if tagged {
		oob = p.flags.sendControl()
	}
	err := retryDown(func() error {
		_, err := unix.SendmsgN(p.fd, s.Frame, oob, nil, unix.MSG_DONTWAIT)
		return err
	})
	if err != nil {
		if tagged && spentKey(err) {
			p.reopen()
		}
		return err
	}
	switch {
	case tagged:
		idle := len(p.pending.queue) == 0
		p.pending.add(s.Tag, Now().Add(p.timeout))
		if idle {
			p.interrupt() // run polls without a time limit
		}
	case s.Tag != 0:
		p.lose(s.Tag)
	}
	return nil
}

// retryDown sends a second time if the first says that the link is down: a
// link that was down leaves that error on the socket for whoever comes next,
// and taking it clears it.
func retryDown(send func() error) error {
	err := send()
	if errors.Is(err, unix.ENETDOWN) {
		err = send()
	}
	return err
}

// lose makes run report tag as not stamped.
func (p *gptpPort) lose(tag uint64) {
	p.lost = append(p.lost, tag)
	p.interrupt()
}

// spentKey reports whether the kernel may have numbered the frame before it
// refused it. Our count would then be off by one and every later stamp would
// be given to the wrong frame; only a fresh socket is certain. A device that
// is down or gone, and a full send buffer, are seen before numbering.
func spentKey(err error) bool {
	return !errors.Is(err, unix.ENETDOWN) && !errors.Is(err, unix.ENXIO) && !errors.Is(err, unix.EAGAIN)
}

// run is the port's goroutine.
func (p *gptpPort) run() {
	defer close(p.done)
	buf, oob := make([]byte, maxFrame+1), make([]byte, controlLen)
	for {
		fd, timeout, closed := p.housekeep()
		if closed {
			return
		}
		fds := []unix.PollFd{{Fd: int32(p.wake), Events: unix.POLLIN}, {Fd: int32(fd), Events: unix.POLLIN}}
		if _, err := unix.Poll(fds, timeout); err != nil && !errors.Is(err, unix.EINTR) {
			p.log.Error("gPTP poll failed; this port stays silent", "port", p.port, "err", err)
			return
		}
		if fds[0].Revents != 0 {
			unix.Read(p.wake, buf[:8])
		}
		if fds[1].Revents&unix.POLLERR != 0 {
			p.readStamps(fd, oob)
		}
		// Reading also clears a pending ENETDOWN, which POLLERR may be.
		if fds[1].Revents != 0 {
			p.readFrames(fd, buf, oob)
		}
	}
}

// housekeep closes replaced sockets, reports stamps that will not come, and
// returns the socket to poll and for how long (ms, -1 for ever).
func (p *gptpPort) housekeep() (fd, timeout int, closed bool) {
	p.mu.Lock()
	for _, old := range p.stale {
		unix.Close(old)
	}
	p.stale = p.stale[:0]
	now := Now()
	lost := p.pending.expire(now, p.lost)
	p.lost = nil
	fd, timeout, closed = p.fd, -1, p.closed
	if at := p.pending.deadline(); at != tsn.Never {
		timeout = int(at.Sub(now)/1_000_000) + 1
	}
	p.mu.Unlock()
	if closed {
		return fd, timeout, true
	}
	for _, tag := range lost {
		p.n.stampMissing.Add(1)
		p.deliver(tsn.Sent{Port: p.port, Tag: tag})
	}
	return fd, timeout, false
}

// readStamps empties the error queue.
func (p *gptpPort) readStamps(fd int, oob []byte) {
	for {
		_, n, _, _, err := unix.Recvmsg(fd, nil, oob, unix.MSG_ERRQUEUE|unix.MSG_DONTWAIT)
		if err != nil { // EAGAIN: empty
			return
		}
		c, err := parseControl(oob[:n])
		if err != nil || !c.sent || !c.stamped || p.fault != nil && p.fault(fd, c) {
			continue
		}
		p.left(fd, c)
	}
}

// left matches an egress stamp with its frame. One that is late finds that its
// frame was given up; no other frame is touched by it.
func (p *gptpPort) left(fd int, c control) {
	p.mu.Lock()
	// A stamp of a socket that was replaced meanwhile has a key of the old count.
	tag, ok := uint64(0), false
	if fd == p.fd {
		tag, ok = p.pending.take(c.key)
	}
	p.mu.Unlock()
	if !ok {
		p.n.stampLate.Add(1)
		return
	}
	egress, stamped := p.clock.Local(c.stamp)
	p.deliver(tsn.Sent{Port: p.port, Tag: tag, Egress: egress, Stamped: stamped})
}

// readFrames reads what is there, up to a bound.
func (p *gptpPort) readFrames(fd int, buf, oob []byte) {
	for range readBatch {
		n, oobn, _, _, err := unix.Recvmsg(fd, buf, oob, unix.MSG_DONTWAIT)
		if errors.Is(err, unix.EAGAIN) {
			return
		}
		if err != nil {
			p.n.readErrors.Add(1)
			return
		}
		if !p.admit(Now(), buf[:n], n) {
			continue
		}
		ev := tsn.Received{Port: p.port, Frame: bytes.Clone(buf[:n])}
		if c, err := parseControl(oob[:oobn]); err == nil && c.stamped {
			ev.Ingress, ev.Stamped = p.clock.Local(c.stamp)
		}
		p.deliver(ev)
	}
}
