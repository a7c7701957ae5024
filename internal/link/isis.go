package link

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"

	"github.com/mdlayher/packet"
	"golang.org/x/sys/unix"

	"tsnswitch"
)

// isisGroups are AllL1ISs, AllL2ISs and AllISs (RFC 6329 section 8). Peers
// mix them on one link, so all are received.
var isisGroups = []net.HardwareAddr{
	{0x01, 0x80, 0xc2, 0x00, 0x00, 0x14},
	{0x01, 0x80, 0xc2, 0x00, 0x00, 0x15},
	{0x09, 0x00, 0x2b, 0x00, 0x00, 0x05},
}

const (
	// sendPatience bounds how long a full transmit queue may hold the caller,
	// which is a protocol loop.
	sendPatience = 10 * time.Millisecond
	// maxReadErrors in a row mean that the socket will not recover by itself.
	maxReadErrors = 16
)

// isisPort is the IS-IS socket of one port and the goroutine that reads it.
type isisPort struct {
	port    tsn.Port
	deliver func(tsn.Event)
	log     *slog.Logger
	n       counters
	admission

	mu       sync.Mutex
	conn     *packet.Conn // nil while the interface is absent
	priority int          // SO_PRIORITY of conn
	done     chan struct{}
}

// open replaces the socket by one on ifi.
func (p *isisPort) open(ifi *net.Interface) error {
	p.close()
	filter, err := isisFilter()
	if err != nil {
		return fmt.Errorf("IS-IS filter: %w", err)
	}
	conn, err := packet.Listen(ifi, packet.Raw, unix.ETH_P_ALL, &packet.Config{Filter: filter})
	if err != nil {
		return fmt.Errorf("IS-IS socket on %s (needs CAP_NET_RAW): %w", ifi.Name, err)
	}
	for _, g := range isisGroups {
		if err := conn.JoinGroup(g); err != nil {
			conn.Close()
			return fmt.Errorf("IS-IS socket on %s: join group %s: %w", ifi.Name, g, err)
		}
	}
	done := make(chan struct{})
	p.mu.Lock()
	p.conn, p.priority, p.done = conn, 0, done
	p.mu.Unlock()
	p.n.opens.Add(1)
	go p.read(conn, done)
	return nil
}

// drops adds what the kernel dropped since the last call to the counters. The
// kernel's own count restarts at each reading.
func (p *isisPort) drops() {
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
func (p *isisPort) close() {
	p.mu.Lock()
	conn, done := p.conn, p.done
	p.conn = nil
	p.mu.Unlock()
	if conn != nil {
		conn.Close()
		<-done
	}
}

func (p *isisPort) read(conn *packet.Conn, done chan<- struct{}) {
	defer close(done)
	// One octet more than allowed tells a longer frame from the longest.
	buf := make([]byte, maxFrame+1)
	for failures := 0; failures < maxReadErrors; {
		n, _, err := conn.ReadFrom(buf)
		switch {
		case errors.Is(err, net.ErrClosed) || errors.Is(err, os.ErrClosed):
			return
		case err != nil: // ENETDOWN once when the link goes down
			p.n.readErrors.Add(1)
			failures++
			continue
		}
		failures = 0
		if p.admit(Now(), buf[:n], n) {
			p.deliver(tsn.Received{Port: p.port, Frame: bytes.Clone(buf[:n])})
		}
	}
	p.log.Error("IS-IS socket keeps failing; it is reopened when the interface comes back", "port", p.port)
}

func (p *isisPort) send(s tsn.Send) error {
	if s.Tag != 0 {
		return fmt.Errorf("port %d: IS-IS frames have no egress time stamp; send without Tag", p.port)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	err := p.transmit(s)
	if err != nil {
		p.n.sendFailed.Add(1)
		return fmt.Errorf("port %d: send IS-IS frame: %w", p.port, err)
	}
	p.n.sent.Add(1)
	return nil
}

func (p *isisPort) transmit(s tsn.Send) error {
	if p.conn == nil {
		return ErrAbsent
	}
	if int(s.Priority) != p.priority {
		if err := setPriority(p.conn, int(s.Priority)); err != nil {
			return err
		}
		p.priority = int(s.Priority)
	}
	if err := p.conn.SetWriteDeadline(time.Now().Add(sendPatience)); err != nil {
		return err
	}
	return retryDown(func() error {
		_, err := p.conn.WriteTo(s.Frame, &packet.Addr{HardwareAddr: net.HardwareAddr(s.Frame[:6])})
		return err
	})
}

func setPriority(conn *packet.Conn, priority int) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var set error
	err = raw.Control(func(fd uintptr) {
		set = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PRIORITY, priority)
	})
	if err := errors.Join(err, set); err != nil {
		return fmt.Errorf("set SO_PRIORITY %d (7 needs CAP_NET_ADMIN): %w", priority, err)
	}
	return nil
}
