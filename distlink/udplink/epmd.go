package udplink

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
)

// EPMD requests and answers (Erlang distribution protocol, "EPMD Protocol").
const (
	// DefaultEPMDPort is where epmd listens unless ERL_EPMD_PORT says otherwise.
	DefaultEPMDPort = 4369

	epmdAlive2Req   = 120
	epmdAlive2Resp  = 121
	epmdAlive2XResp = 118
	epmdPort2Req    = 122
	epmdPort2Resp   = 119
)

func epmdDial(ctx context.Context, epmd string) (net.Conn, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", epmd)
	if err != nil {
		return nil, fmt.Errorf("epmd on %s (is it running?): %w", epmd, err)
	}
	if t, ok := ctx.Deadline(); ok {
		_ = c.SetDeadline(t)
	}
	return c, nil
}

func epmdRequest(c net.Conn, body []byte) error {
	_, err := c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(body))), body...))
	return err
}

// EPMDPort asks the epmd at host:port for the port of the node with this name (the
// part before @). epmd stores a number only: for distlink it is a UDP port.
func EPMDPort(ctx context.Context, epmd, name string) (uint16, error) {
	c, err := epmdDial(ctx, epmd)
	if err != nil {
		return 0, err
	}
	defer func() { _ = c.Close() }()
	if err := epmdRequest(c, append([]byte{epmdPort2Req}, name...)); err != nil {
		return 0, fmt.Errorf("epmd on %s: %w", epmd, err)
	}
	var b [4]byte
	n, err := io.ReadFull(c, b[:])
	if n >= 2 && b[0] == epmdPort2Resp && b[1] != 0 {
		return 0, fmt.Errorf("epmd on %s knows no node %q", epmd, name)
	}
	if err != nil || b[0] != epmdPort2Resp {
		return 0, fmt.Errorf("epmd on %s: answer %x: %w", epmd, b[:n], err)
	}
	return binary.BigEndian.Uint16(b[2:]), nil
}

// EPMDRegister registers a node at the epmd at host:port as hidden, and returns its
// creation and what to close to give the name back.
func EPMDRegister(ctx context.Context, epmd, name string, port uint16) (creation uint32, release io.Closer, err error) {
	c, err := epmdDial(ctx, epmd)
	if err != nil {
		return 0, nil, err
	}
	req := binary.BigEndian.AppendUint16([]byte{epmdAlive2Req}, port)
	req = append(req, 72, 0) // hidden node, TCP/IPv4: epmd knows no other
	req = binary.BigEndian.AppendUint16(req, 6)
	req = binary.BigEndian.AppendUint16(req, 5)
	req = append(binary.BigEndian.AppendUint16(req, uint16(len(name))), name...)
	req = append(req, 0, 0)
	var b [6]byte
	if err = epmdRequest(c, req); err == nil {
		_, err = io.ReadFull(c, b[:4])
	}
	if err == nil && b[0] == epmdAlive2XResp {
		_, err = io.ReadFull(c, b[4:])
	}
	switch {
	case err != nil:
	case b[1] != 0:
		err = fmt.Errorf("name %q refused (already registered?)", name)
	case b[0] == epmdAlive2XResp:
		return binary.BigEndian.Uint32(b[2:]), c, nil
	case b[0] == epmdAlive2Resp:
		return uint32(binary.BigEndian.Uint16(b[2:])), c, nil
	default:
		err = fmt.Errorf("answer %x", b)
	}
	_ = c.Close()
	return 0, nil, fmt.Errorf("epmd on %s: register: %w", epmd, err)
}
