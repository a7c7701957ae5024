package hidden

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"

	"tsnswitch/distlink"
	"tsnswitch/distlink/erldist"
	"tsnswitch/distlink/udplink"
)

// Transport carries packets: those of the handshake, then those of the
// connection, an empty one being a tick.
type Transport interface {
	erldist.Transport
	// SendFrom sends a packet of a process, behind all it has sent before; from the
	// zero Pid, behind all that has been sent. One call at a time.
	SendFrom(from erldist.Pid, packet []byte) error
	Close() error
}

// OverDistlink is a transport on a link that is up. Each process has its stream, as
// on the Erlang side, so that none waits behind what another has sent.
func OverDistlink(l *udplink.Link) Transport { return &linkTransport{Link: l, out: l} }

type linkTransport struct {
	*udplink.Link
	out interface {
		Send(...distlink.Message) error
	}
	begun bool // the first message after the handshake is sent; SendFrom is called by one at a time
}

func (t *linkTransport) Send(b []byte) error { return t.out.Send(distlink.Message{Data: b}) }

func (t *linkTransport) SendFrom(from erldist.Pid, b []byte) error {
	m := distlink.Message{Stream: stream(from), Data: b}
	switch {
	case !t.begun: // behind the handshake, and all behind it
		t.begun, m.Fence = true, distlink.Barrier
	case m.Stream == 0:
		m.Fence = distlink.AfterAll
	}
	return t.out.Send(m)
}

const streams = 1023

// stream is a process's; what no process says is on 0.
func stream(from erldist.Pid) uint32 {
	if from.Node == "" {
		return 0
	}
	return 1 + (from.ID*0x9e3779b1^from.Serial)%streams
}

func (t *linkTransport) Recv() ([]byte, error) {
	m, err := t.Link.Recv()
	return m.Data, err
}

// AcceptLinks is for Serve.
func AcceptLinks(l *udplink.Listener) func(context.Context) (Transport, error) {
	return func(context.Context) (Transport, error) {
		link, err := l.Accept()
		if err != nil {
			return nil, err
		}
		return OverDistlink(link), nil
	}
}

// maxPacket bounds what a TCP peer may announce.
const maxPacket = 64 << 20

// OverTCP is a transport on a connection as inet_tcp_dist has it: lengths of
// two octets during the handshake, of four after it.
func OverTCP(c net.Conn, connects bool) Transport {
	return &tcpTransport{c: c, lastIsSent: !connects}
}

type tcpTransport struct {
	c          net.Conn
	lastIsSent bool // of the handshake: the acknowledgement, 'a'

	mu   sync.Mutex
	wide bool // the handshake is over
}

func (t *tcpTransport) SendFrom(_ erldist.Pid, b []byte) error { return t.Send(b) }

func (t *tcpTransport) Close() error { return t.c.Close() }

func (t *tcpTransport) Send(b []byte) error {
	wide := t.isWide()
	var head []byte
	if wide {
		head = binary.BigEndian.AppendUint32(nil, uint32(len(b)))
	} else {
		head = binary.BigEndian.AppendUint16(nil, uint16(len(b)))
	}
	if _, err := t.c.Write(append(head, b...)); err != nil {
		return err
	}
	if !wide && t.lastIsSent && len(b) > 0 && b[0] == 'a' {
		t.widen()
	}
	return nil
}

func (t *tcpTransport) Recv() ([]byte, error) {
	wide := t.isWide()
	head := make([]byte, 2)
	if wide {
		head = make([]byte, 4)
	}
	if _, err := io.ReadFull(t.c, head); err != nil {
		return nil, err
	}
	n := int(binary.BigEndian.Uint16(head))
	if wide {
		n = int(binary.BigEndian.Uint32(head))
	}
	if n > maxPacket {
		return nil, fmt.Errorf("the peer announces a packet of %d octets, more than %d", n, maxPacket)
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(t.c, b); err != nil {
		return nil, err
	}
	if !wide && !t.lastIsSent && n > 0 && b[0] == 'a' {
		t.widen()
	}
	return b, nil
}

func (t *tcpTransport) isWide() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.wide
}

func (t *tcpTransport) widen() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.wide = true
}

// AcceptTCP is for Serve.
func AcceptTCP(l net.Listener) func(context.Context) (Transport, error) {
	return func(context.Context) (Transport, error) {
		c, err := l.Accept()
		if err != nil {
			return nil, errors.Join(errors.New("accept Erlang nodes"), err)
		}
		return OverTCP(c, false), nil
	}
}
