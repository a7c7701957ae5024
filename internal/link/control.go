package link

import (
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/mdlayher/packet"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"tsnswitch"
)

// controlGroups are what the interface must let in: AllL1ISs, AllL2ISs and
// AllISs (RFC 6329 section 8; peers mix them on one link), the group of the
// fast echo, and that of the edge probe.
var controlGroups = []net.HardwareAddr{
	{0x01, 0x80, 0xc2, 0x00, 0x00, 0x14},
	{0x01, 0x80, 0xc2, 0x00, 0x00, 0x15},
	{0x09, 0x00, 0x2b, 0x00, 0x00, 0x05},
	{0x01, 0x80, 0xc2, 0x00, 0x00, 0x0e},
	{0x03, 0x54, 0x53, 0x4e, 0x00, 0x01},
}

const (
	// sendPatience bounds how long a full transmit queue may hold the caller,
	// which is a protocol loop.
	sendPatience = 10 * time.Millisecond
	// maxReadErrors in a row mean that the socket will not recover by itself.
	maxReadErrors = 16
)

// controlPort is the control socket of one port and the goroutine that reads
// it; or the socket of another filter, see neighbour.go.
type controlPort struct {
	port    tsn.Port
	filter  func() ([]bpf.RawInstruction, error)
	groups  []net.HardwareAddr
	deliver func(tsn.Event)
	log     *slog.Logger
	n       counters
	// One limit for each kind of frame, so that a host that floods one does
	// not keep the others out.
	limits []admission
	limit  func(frame []byte) *admission

	mu       sync.Mutex
	conn     *packet.Conn // nil while the interface is absent
	priority int          // SO_PRIORITY of conn
	done     chan struct{}
}

func newControlPort(port tsn.Port, cfg *Config) *controlPort {
	p := &controlPort{port: port, filter: controlFilter, groups: controlGroups, deliver: cfg.Control, log: cfg.Logger}
	p.limits = []admission{{}, {}, {}}
	p.limit = func(frame []byte) *admission { return &p.limits[controlKind(frame)] }
	// No own address: a frame of ours that comes back means something, and the
	// machine knows what.
	for i := range p.limits {
		p.limits[i].setup(&p.n, cfg.ControlLimit, tsn.MAC{})
	}
	return p
}

// open replaces the socket by one on ifi.
func (p *controlPort) open(ifi *net.Interface) error {
	p.close()
	filter, err := p.filter()
	if err != nil {
		return fmt.Errorf("control filter: %w", err)
	}
	conn, err := packet.Listen(ifi, packet.Raw, unix.ETH_P_ALL, &packet.Config{Filter: filter})
	if err != nil {
		return fmt.Errorf("control socket on %s (needs CAP_NET_RAW): %w", ifi.Name, err)
	}
	err = setsockopt(conn, unix.SOL_PACKET, unix.PACKET_AUXDATA, 1)
	if err != nil {
		err = fmt.Errorf("PACKET_AUXDATA: %w", err)
	}
	for _, g := range p.groups {
		if jerr := conn.JoinGroup(g); jerr != nil {
			err = errors.Join(err, fmt.Errorf("join group %s: %w", g, jerr))
		}
	}
	var raw syscall.RawConn
	if err == nil {
		raw, err = conn.SyscallConn()
	}
	if err != nil {
		conn.Close()
		return fmt.Errorf("control socket on %s: %w", ifi.Name, err)
	}
	done := make(chan struct{})
	p.mu.Lock()
	p.conn, p.priority, p.done = conn, 0, done
	p.mu.Unlock()
	p.n.opens.Add(1)
	go p.read(raw, done)
	return nil
}

// drops adds what the kernel dropped since the last call to the counters. The
// kernel's own count restarts at each reading.
func (p *controlPort) drops() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.conn == nil {
		return
	}
	if s, err := p.conn.Stats(); err == nil {
		p.n.droppedQueue.Add(uint64(s.Drops))
	}
}

// close ends the socket and waits for its reader.
func (p *controlPort) close() {
	p.mu.Lock()
	conn, done := p.conn, p.done
	p.conn = nil
	p.mu.Unlock()
	if conn != nil {
		conn.Close()
		<-done
	}
}

// closed reports whether close has begun, for which a read has several errors.
func (p *controlPort) closed() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.conn == nil
}

func (p *controlPort) read(conn syscall.RawConn, done chan<- struct{}) {
	defer close(done)
	// One octet more than allowed tells a longer frame from the longest.
	buf, oob := make([]byte, maxTagged+1), make([]byte, 64)
	for failures := 0; failures < maxReadErrors; {
		n, tag, err := receive(conn, buf, oob)
		switch {
		case errors.Is(err, net.ErrClosed) || errors.Is(err, os.ErrClosed) || err != nil && p.closed():
			return
		case err != nil: // ENETDOWN once when the link goes down
			p.n.readErrors.Add(1)
			failures++
			continue
		}
		failures = 0
		if p.limit(buf[:n]).admit(Now(), buf[:n], n) {
			p.deliver(tsn.Received{Port: p.port, Frame: retag(buf[:n], tag)})
		}
	}
	p.log.Error("control socket keeps failing; it is reopened when the interface comes back", "port", p.port)
}

// controlKind tells IS-IS, the switches' own frames, and CFM apart.
func controlKind(frame []byte) int {
	if len(frame) >= headerLen {
		switch binary.BigEndian.Uint16(frame[12:]) {
		case typeOwn:
			return 1
		case typeCFM:
			return 2
		}
	}
	return 0
}

// receive reads one frame, and the tag that the kernel has taken off it: TPID
// and TCI as one number, 0 for none.
func receive(conn syscall.RawConn, buf, oob []byte) (n int, tag uint32, err error) {
	oobn := 0
	rerr := conn.Read(func(fd uintptr) bool {
		n, oobn, _, _, err = unix.Recvmsg(int(fd), buf, oob, 0)
		return err != unix.EAGAIN && err != unix.EINTR
	})
	if rerr != nil || err != nil {
		return 0, 0, errors.Join(rerr, err)
	}
	return n, auxTag(oob[:oobn]), nil
}

// auxTag finds the tag in the control messages: struct tpacket_auxdata has the
// status at octet 0, the TCI at 16 and the TPID at 18.
func auxTag(oob []byte) uint32 {
	for len(oob) >= unix.SizeofCmsghdr {
		h, data, rest, err := unix.ParseOneSocketControlMessage(oob)
		if err != nil {
			return 0
		}
		oob = rest
		if h.Level != unix.SOL_PACKET || h.Type != unix.PACKET_AUXDATA || len(data) < 20 {
			continue
		}
		status := binary.NativeEndian.Uint32(data)
		if status&unix.TP_STATUS_VLAN_VALID == 0 {
			return 0
		}
		tpid := uint32(0x8100)
		if status&unix.TP_STATUS_VLAN_TPID_VALID != 0 {
			tpid = uint32(binary.NativeEndian.Uint16(data[18:]))
		}
		return tpid<<16 | uint32(binary.NativeEndian.Uint16(data[16:]))
	}
	return 0
}

// retag copies the frame as it was on the wire.
func retag(frame []byte, tag uint32) []byte {
	out := make([]byte, 0, len(frame)+4)
	if tag == 0 || len(frame) < headerLen {
		return append(out, frame...)
	}
	out = append(out, frame[:12]...)
	out = binary.BigEndian.AppendUint32(out, tag)
	return append(out, frame[12:]...)
}

func (p *controlPort) send(s tsn.Send) error {
	if s.Tag != 0 {
		return fmt.Errorf("port %d: control frames have no egress time stamp; send without Tag", p.port)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	err := p.transmit(s)
	if err != nil {
		p.n.sendFailed.Add(1)
		return fmt.Errorf("port %d: send control frame: %w", p.port, err)
	}
	p.n.sent.Add(1)
	return nil
}

func (p *controlPort) transmit(s tsn.Send) error {
	if p.conn == nil {
		return ErrAbsent
	}
	if int(s.Priority) != p.priority {
		err := setsockopt(p.conn, unix.SOL_SOCKET, unix.SO_PRIORITY, int(s.Priority))
		if errors.Is(err, unix.EPERM) { // 7 needs CAP_NET_ADMIN
			err = setsockopt(p.conn, unix.SOL_SOCKET, unix.SO_PRIORITY, min(int(s.Priority), unprivilegedPriority))
		}
		if err != nil {
			return fmt.Errorf("set SO_PRIORITY %d: %w", s.Priority, err)
		}
		p.priority = int(s.Priority)
	}
	// The first try does not wait and has no time limit: a daemon that gets the
	// processor late must not lose its hellos to that.
	err := retryDown(func() error { return sendNow(p.conn, s.Frame) })
	if !errors.Is(err, unix.EAGAIN) {
		return err
	}
	if err := p.conn.SetWriteDeadline(time.Now().Add(sendPatience)); err != nil {
		return err
	}
	return retryDown(func() error {
		_, err := p.conn.WriteTo(s.Frame, &packet.Addr{HardwareAddr: net.HardwareAddr(s.Frame[:6])})
		return err
	})
}

// sendNow sends on the interface that the socket is bound to, or says EAGAIN.
func sendNow(conn *packet.Conn, frame []byte) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var send error
	err = raw.Control(func(fd uintptr) { _, send = unix.SendmsgN(int(fd), frame, nil, nil, unix.MSG_DONTWAIT) })
	return errors.Join(err, send)
}

func setsockopt(conn *packet.Conn, level, option, value int) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var set error
	err = raw.Control(func(fd uintptr) { set = unix.SetsockoptInt(int(fd), level, option, value) })
	return errors.Join(err, set)
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
