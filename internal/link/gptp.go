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

// gptpPort is the gPTP of one port: a socket that receives, and one that sends.
// One goroutine, run, polls them and makes every callback; send is called from
// the protocol loop.
//
// A driver stamps a frame, and tells the socket, before it passes the frame
// on. Somebody who sleeps in poll is woken then, which takes microseconds
// between the stamp and the wire: enough to see in every measurement over a
// virtual link. So nobody polls the sending socket while it sends: send itself
// looks for the stamp first, and run waits for those that come later.
type gptpPort struct {
	port    tsn.Port
	timeout int64 // ns a stamp may take
	clock   Clock
	deliver func(tsn.Event)
	reopen  func() // asks the watcher for a fresh socket
	log     *slog.Logger
	n       counters
	admission

	fault func(c control) bool // tests keep stamps back; nil: none

	collects bool // see Config
	realtime int  // SCHED_FIFO priority of run; 0: none
	wait     *waiter
	done     chan struct{}

	mu sync.Mutex
	sockets
	to       unix.SockaddrLinklayer // the interface; the address is in the frame
	warm     warming
	flags    stampFlags
	stamping Stamping
	priority int
	pending  pendingStamps
	stamped  []tsn.Sent // run reports them
	lost     []uint64   // tags that will get no stamp; run reports them
	stale    []sockets  // replaced; only run, which polls them, closes them
	fresh    bool       // receive is not waited for yet
	awaited  bool       // send is waited for: a stamp is late
	closed   bool
	starved  error // why run is not real-time
}

// sockets are those of one interface; -1 while it is absent.
type sockets struct{ receive, send int }

var noSockets = sockets{-1, -1}

func (s sockets) close() {
	unix.Close(s.receive)
	unix.Close(s.send)
}

// start creates the goroutine; the port has no socket yet.
func (p *gptpPort) start() (err error) {
	if p.wait, err = newWaiter(); err != nil {
		return fmt.Errorf("gPTP port %d: %w", p.port, err)
	}
	p.sockets, p.done = noSockets, make(chan struct{})
	go p.run()
	return nil
}

// stop ends the goroutine and every socket.
func (p *gptpPort) stop() {
	p.mu.Lock()
	p.closed = true
	p.replace(noSockets)
	p.warm.close()
	p.mu.Unlock()
	<-p.done
	p.wait.close()
}

// open replaces the sockets by some on ifi.
func (p *gptpPort) open(ifi *net.Interface) error {
	how := StampingOf(ifi.Name, p.clock)
	if how.Hardware {
		if err := enableHardwareStamps(ifi.Name); err != nil {
			how = Stamping{Why: err.Error()}
		}
	}
	p.log.Info("gPTP time stamps", "port", p.port, "by", how.String())
	flags := flagsFor(how.Hardware)
	fresh, err := openGPTP(ifi, flags)
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.replace(fresh)
	p.flags, p.priority, p.stamping, p.to.Ifindex = flags, 0, how, ifi.Index
	p.warm.open(flags)
	p.n.opens.Add(1)
	return nil
}

// close leaves the port without sockets, as when its interface is gone.
func (p *gptpPort) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.replace(noSockets)
}

// drops adds what the kernel dropped since the last call to the counters. The
// kernel's own count restarts at each reading.
func (p *gptpPort) drops() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.sockets == noSockets {
		return
	}
	if s, err := unix.GetsockoptTpacketStats(p.receive, unix.SOL_PACKET, unix.PACKET_STATISTICS); err == nil {
		p.n.droppedQueue.Add(uint64(s.Drops))
	}
}

// replace swaps the sockets. Stamps of the old one cannot come any more, and
// the OPT_ID of the new one starts again at 0.
func (p *gptpPort) replace(fresh sockets) {
	if p.sockets != noSockets {
		p.stale = append(p.stale, p.sockets)
	}
	p.sockets, p.fresh, p.awaited = fresh, fresh != noSockets, false
	for _, q := range p.pending.queue {
		p.lost = append(p.lost, q.tag)
	}
	p.pending = pendingStamps{}
	p.wait.ring()
}

// ethertype is gPTP's in network order, as AF_PACKET wants it.
var ethertype = binary.NativeEndian.Uint16([]byte{byte(unix.ETH_P_1588 >> 8), byte(unix.ETH_P_1588 & 0xff)})

// openGPTP makes a non-blocking raw socket that receives gPTP with stamps, and
// one that sends and receives nothing but its own stamps.
func openGPTP(ifi *net.Interface, flags stampFlags) (sockets, error) {
	member := &unix.PacketMreq{Ifindex: int32(ifi.Index), Type: unix.PACKET_MR_MULTICAST, Alen: 6}
	copy(member.Address[:], gptpGroup[:])
	s := noSockets
	for _, step := range []struct {
		what string
		do   func() error
	}{
		// Protocol 0 receives nothing until bind, so no frame of another
		// interface slips in.
		{"open (needs CAP_NET_RAW)", func() (err error) { s.receive, err = rawSocket(flags); return err }},
		{"open", func() (err error) { s.send, err = rawSocket(flags); return err }},
		{"bind", func() error {
			return unix.Bind(s.receive, &unix.SockaddrLinklayer{Protocol: ethertype, Ifindex: ifi.Index})
		}},
		{"join group 01-80-C2-00-00-0E", func() error {
			return unix.SetsockoptPacketMreq(s.receive, unix.SOL_PACKET, unix.PACKET_ADD_MEMBERSHIP, member)
		}},
	} {
		if err := step.do(); err != nil {
			s.close()
			return noSockets, fmt.Errorf("gPTP socket on %s: %s: %w", ifi.Name, step.what, err)
		}
	}
	return s, nil
}

// rawSocket is one of them, before it knows its interface.
func rawSocket(flags stampFlags) (int, error) {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPING_NEW, flags.socket); err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("SO_TIMESTAMPING: %w", err)
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
	if p.sockets == noSockets {
		return ErrAbsent
	}
	if err := p.setPriority(int(s.Priority)); err != nil {
		return err
	}
	tagged := s.Tag != 0 && !p.pending.full()
	var oob []byte
	if tagged {
		oob = p.flags.sendControl()
	}
	if tagged && !p.stamping.Hardware {
		p.warm.run(oob)
	}
	if _, err := unix.SendmsgN(p.sockets.send, s.Frame, oob, &p.to, unix.MSG_DONTWAIT); err != nil {
		if tagged && spentKey(err) {
			p.reopen()
		}
		return err
	}
	switch {
	case tagged:
		p.pending.add(s.Tag, Now().Add(p.timeout))
		if p.readStamps(); !p.collects || len(p.pending.queue) > 0 {
			p.wait.ring() // to report the stamp, or to wait for it
		}
	case s.Tag != 0:
		p.lose(s.Tag)
	}
	return nil
}

func (p *gptpPort) setPriority(priority int) error {
	if priority == p.priority {
		return nil
	}
	err := unix.SetsockoptInt(p.sockets.send, unix.SOL_SOCKET, unix.SO_PRIORITY, priority)
	if errors.Is(err, unix.EPERM) {
		// 7 needs CAP_NET_ADMIN. A frame without its class is better than none.
		err = unix.SetsockoptInt(p.sockets.send, unix.SOL_SOCKET, unix.SO_PRIORITY, unprivilegedPriority)
	}
	if err != nil {
		return fmt.Errorf("set SO_PRIORITY %d: %w", priority, err)
	}
	p.priority = priority
	return nil
}

// lose makes run report tag as not stamped.
func (p *gptpPort) lose(tag uint64) {
	p.lost = append(p.lost, tag)
	p.wait.ring()
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
	if p.realtime > 0 {
		err := RealtimeThread(p.realtime)
		p.mu.Lock()
		p.starved, p.wait.blocking = err, err == nil
		p.mu.Unlock()
	}
	buf, oob := make([]byte, maxFrame+1), make([]byte, controlLen)
	events := make([]unix.EpollEvent, 4)
	for {
		fd, limit, closed := p.housekeep()
		if closed {
			return
		}
		n, err := p.wait.wait(events, limit)
		if err != nil {
			p.log.Error("gPTP wait failed; this port stays silent", "port", p.port, "err", err)
			return
		}
		for _, e := range events[:n] {
			switch int(e.Fd) {
			case p.wait.bell:
				unix.Read(p.wait.bell, buf[:8])
			case fd: // reading also clears a pending ENETDOWN
				p.readFrames(fd, buf, oob)
			}
		}
	}
}

// housekeep closes replaced sockets, reports stamps that came and those that
// will not, and returns the socket that is read, and for how long to wait.
func (p *gptpPort) housekeep() (fd int, limit tsn.Instant, closed bool) {
	p.mu.Lock()
	for _, old := range p.stale {
		old.close()
	}
	p.stale = p.stale[:0]
	if p.readStamps(); len(p.pending.queue) > 0 || len(p.lost) > 0 {
		p.lost = p.pending.expire(Now(), p.lost)
	}
	stamped, lost := p.stamped, p.lost
	p.stamped, p.lost = nil, nil
	p.attend()
	fd, limit, closed = p.receive, p.pending.deadline(), p.closed
	p.mu.Unlock()
	if closed {
		return fd, limit, true
	}
	for _, s := range stamped {
		p.deliver(s)
	}
	for _, tag := range lost {
		p.n.stampMissing.Add(1)
		p.deliver(tsn.Sent{Port: p.port, Tag: tag})
	}
	return fd, limit, false
}

// attend makes the waiter wait for frames, and for stamps while some are late.
func (p *gptpPort) attend() {
	var err error
	if p.fresh {
		p.fresh = false
		err = p.wait.add(p.receive, unix.EPOLLIN)
	}
	switch late := len(p.pending.queue) > 0; {
	case late && !p.awaited:
		err = errors.Join(err, p.wait.add(p.sockets.send, unix.EPOLLERR))
		p.awaited = true
	case !late && p.awaited:
		err = errors.Join(err, p.wait.remove(p.sockets.send))
		p.awaited = false
	}
	if err != nil {
		p.log.Error("gPTP socket cannot be waited for", "port", p.port, "err", err)
	}
}

// collect returns the stamps that came with their frames.
func (p *gptpPort) collect(to []tsn.Sent) []tsn.Sent {
	p.mu.Lock()
	defer p.mu.Unlock()
	to = append(to, p.stamped...)
	p.stamped = p.stamped[:0]
	return to
}

// readStamps takes the stamps that are there.
func (p *gptpPort) readStamps() {
	var oob [controlLen]byte
	var payload [1]byte // there is none; without a buffer unix asks for the socket's type first
	for len(p.pending.queue) > 0 {
		_, n, _, _, err := unix.Recvmsg(p.sockets.send, payload[:], oob[:], unix.MSG_ERRQUEUE|unix.MSG_DONTWAIT)
		if err != nil { // EAGAIN: empty
			return
		}
		c, err := parseControl(oob[:n])
		if err != nil || !c.sent || !c.stamped || p.fault != nil && p.fault(c) {
			continue
		}
		p.left(c)
	}
}

// left matches an egress stamp with its frame. One that is late finds that its
// frame was given up; no other frame is touched by it.
func (p *gptpPort) left(c control) {
	tag, ok := p.pending.take(c.key)
	if !ok {
		p.n.stampLate.Add(1)
		return
	}
	egress, stamped := p.clock.Local(c.stamp)
	p.stamped = append(p.stamped, tsn.Sent{Port: p.port, Tag: tag, Egress: egress, Stamped: stamped})
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
