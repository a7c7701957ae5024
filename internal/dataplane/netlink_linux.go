package dataplane

import (
	"encoding/binary"
	"fmt"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// conn is a route netlink socket in the namespace of the thread that dialled.
type conn struct {
	*netlink.Conn
	// writes counts modifying requests; adoption must not make any. sends
	// counts the system calls of batches.
	writes, sends int
}

func dial() (*conn, error) {
	c, err := netlink.Dial(unix.NETLINK_ROUTE, nil)
	if err != nil {
		return nil, fmt.Errorf("route netlink: %w", err)
	}
	// Extended acknowledgements carry the kernel's reason as text.
	_ = c.SetOption(netlink.ExtendedAcknowledge, true)
	// A batch needs room in both queues; without the right to more than the
	// system's bound, its sends fail with an error that says so.
	_ = c.SetWriteBuffer(batchBuffers)
	_ = c.SetReadBuffer(batchBuffers)
	if err := prime(c); err != nil {
		c.Close()
		return nil, fmt.Errorf("route netlink: %w", err)
	}
	return &conn{Conn: c}, nil
}

// prime reads one answer into a large buffer. The kernel sizes the messages
// of later dumps by it: in the small default one, a qdisc with some hundred
// gate entries does not fit and the dump ends without it and without an error.
func prime(c *netlink.Conn) error {
	req := netlink.Message{Header: netlink.Header{Type: unix.RTM_GETLINK, Flags: netlink.Request}, Data: ifinfo(0, 1)}
	if _, err := c.Send(req); err != nil {
		return err
	}
	rc, err := c.SyscallConn()
	if err != nil {
		return err
	}
	buf := make([]byte, 1<<16)
	if rerr := rc.Read(func(fd uintptr) bool {
		_, _, err = unix.Recvfrom(int(fd), buf, 0)
		return err != unix.EAGAIN
	}); rerr != nil {
		return rerr
	}
	return err
}

// modify sends one modifying request and waits for its acknowledgement.
func (c *conn) modify(typ uint16, flags netlink.HeaderFlags, header []byte, build func(*netlink.AttributeEncoder)) error {
	r, err := newRequest(typ, flags, header, build)
	return c.send(r, err)
}

// send sends one request and waits for its acknowledgement; err is that of
// making the request.
func (c *conn) send(r request, err error) error {
	if err != nil {
		return err
	}
	c.writes++
	_, err = c.Execute(netlink.Message{
		Header: netlink.Header{Type: netlink.HeaderType(r.typ), Flags: netlink.Request | netlink.Acknowledge | r.flags},
		Data:   r.data,
	})
	return err
}

// dump returns the payload of every message of a dump.
func (c *conn) dump(typ uint16, header []byte, build func(*netlink.AttributeEncoder)) ([][]byte, error) {
	data, err := message(header, build)
	if err != nil {
		return nil, err
	}
	ms, err := c.Execute(netlink.Message{
		Header: netlink.Header{Type: netlink.HeaderType(typ), Flags: netlink.Request | netlink.Dump},
		Data:   data,
	})
	if err != nil {
		return nil, err
	}
	var out [][]byte
	for _, m := range ms {
		if len(m.Data) >= len(header) {
			out = append(out, m.Data)
		}
	}
	return out, nil
}

func message(header []byte, build func(*netlink.AttributeEncoder)) ([]byte, error) {
	if build == nil {
		return header, nil
	}
	ae := netlink.NewAttributeEncoder()
	build(ae)
	attrs, err := ae.Encode()
	return append(header, attrs...), err
}

// each calls f for each attribute; f reads the current one from the decoder.
func each(b []byte, f func(ad *netlink.AttributeDecoder)) error {
	ad, err := netlink.NewAttributeDecoder(b)
	if err != nil {
		return err
	}
	for ad.Next() {
		f(ad)
	}
	return ad.Err()
}

// nested is each on the attribute at hand.
func nested(ad *netlink.AttributeDecoder, f func(ad *netlink.AttributeDecoder)) {
	ad.Nested(func(nad *netlink.AttributeDecoder) error {
		for nad.Next() {
			f(nad)
		}
		return nad.Err()
	})
}

// ifinfo is struct ifinfomsg.
func ifinfo(family uint8, index int) []byte {
	b := make([]byte, unix.SizeofIfInfomsg)
	b[0] = family
	binary.NativeEndian.PutUint32(b[4:], uint32(index))
	return b
}
