package dataplane

import (
	"encoding/binary"
	"errors"
	"fmt"
	"syscall"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// request is one modifying request, ready to be sent.
type request struct {
	typ   uint16
	flags netlink.HeaderFlags
	data  []byte
}

func newRequest(typ uint16, flags netlink.HeaderFlags, header []byte, build func(*netlink.AttributeEncoder)) (request, error) {
	data, err := message(header, build)
	return request{typ, flags, data}, err
}

// Bounds of one send. The kernel takes a message of up to the socket's send
// buffer, and queues its answers in the receive buffer before the send returns.
const (
	batchOctets  = 1 << 18
	batchBuffers = 4 << 20
)

// errAnswersLost: what became of the requests is not known.
var errAnswersLost = errors.New("the kernel's answers did not fit the socket's queue; what was done is not known")

// batch sends the requests in one system call, or a few if there are very
// many. The kernel carries them out in order, each on its own: one that fails
// does not stop those after it. Only the last of a send asks for an
// acknowledgement; failures are told without being asked for. It returns the
// failures by index; a failure of the socket itself stands for all requests
// that it leaves unknown.
func (c *conn) batch(rs []request) map[int]error {
	failed := map[int]error{}
	for first := 0; first < len(rs); {
		b, next := pack(rs, first)
		c.writes += next - first
		c.sends++
		err := c.transmit(b)
		if err == nil {
			err = c.collect(uint32(next-1), failed)
		}
		if err != nil {
			for i := first; i < len(rs); i++ {
				failed[i] = err
			}
			return failed
		}
		first = next
	}
	return failed
}

// pack is one send of requests from first on; next is the first that does not fit.
func pack(rs []request, first int) (b []byte, next int) {
	for next = first; next < len(rs) && (next == first || len(b)+len(rs[next].data)+unix.NLMSG_HDRLEN <= batchOctets); next++ {
		flags := netlink.Request | rs[next].flags
		b = appendMessage(b, rs[next], flags, uint32(next))
	}
	// The flags of the last message, which begins where the one before ended.
	last := len(b) - align(unix.NLMSG_HDRLEN+len(rs[next-1].data))
	flags := binary.NativeEndian.Uint16(b[last+6:])
	binary.NativeEndian.PutUint16(b[last+6:], flags|uint16(netlink.Acknowledge))
	return b, next
}

func align(n int) int { return (n + unix.NLMSG_ALIGNTO - 1) &^ (unix.NLMSG_ALIGNTO - 1) }

func appendMessage(b []byte, r request, flags netlink.HeaderFlags, seq uint32) []byte {
	n := unix.NLMSG_HDRLEN + len(r.data)
	b = binary.NativeEndian.AppendUint32(b, uint32(n))
	b = binary.NativeEndian.AppendUint16(b, r.typ)
	b = binary.NativeEndian.AppendUint16(b, uint16(flags))
	b = binary.NativeEndian.AppendUint32(b, seq)
	b = binary.NativeEndian.AppendUint32(b, 0) // the kernel knows who sends
	b = append(b, r.data...)
	return append(b, make([]byte, align(n)-n)...)
}

// transmit sends b; when it returns, the kernel has done what b asks for.
func (c *conn) transmit(b []byte) error {
	rc, err := c.SyscallConn()
	if err != nil {
		return err
	}
	if werr := rc.Write(func(fd uintptr) bool {
		err = unix.Sendto(int(fd), b, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
		return err != unix.EAGAIN && err != unix.EINTR
	}); werr != nil || err != nil {
		return fmt.Errorf("sending requests: %w", errors.Join(werr, err))
	}
	return nil
}

// collect reads answers up to that to the request last.
func (c *conn) collect(last uint32, failed map[int]error) error {
	rc, err := c.SyscallConn()
	if err != nil {
		return err
	}
	buf := make([]byte, 1<<16)
	for done := false; !done; {
		n := 0
		if rerr := rc.Read(func(fd uintptr) bool {
			n, _, err = unix.Recvfrom(int(fd), buf, 0)
			return err != unix.EAGAIN && err != unix.EINTR
		}); rerr != nil {
			return rerr
		}
		if errors.Is(err, unix.ENOBUFS) {
			return errors.Join(errAnswersLost, c.drain(rc, buf))
		}
		if err != nil {
			return fmt.Errorf("reading answers: %w", err)
		}
		done = answers(buf[:n], last, failed)
	}
	return nil
}

// drain throws away what is queued, which no later request must find.
func (c *conn) drain(rc syscall.RawConn, buf []byte) (err error) {
	rerr := rc.Read(func(fd uintptr) bool {
		for err == nil || errors.Is(err, unix.EINTR) || errors.Is(err, unix.ENOBUFS) {
			_, _, err = unix.Recvfrom(int(fd), buf, unix.MSG_DONTWAIT)
		}
		return true
	})
	if errors.Is(err, unix.EAGAIN) {
		err = nil
	}
	return errors.Join(rerr, err)
}

// answers notes the failures in what was read, and reports whether the answer
// to the request last was there.
func answers(b []byte, last uint32, failed map[int]error) (done bool) {
	for len(b) >= unix.NLMSG_HDRLEN {
		n := int(binary.NativeEndian.Uint32(b))
		if n < unix.NLMSG_HDRLEN || n > len(b) {
			return done
		}
		m := b[:n]
		b = b[min(align(n), len(b)):]
		if binary.NativeEndian.Uint16(m[4:]) != unix.NLMSG_ERROR || n < unix.NLMSG_HDRLEN+4 {
			continue
		}
		seq := binary.NativeEndian.Uint32(m[8:])
		if code := int32(binary.NativeEndian.Uint32(m[unix.NLMSG_HDRLEN:])); code != 0 {
			failed[int(seq)] = answerError(m, unix.Errno(-code))
		}
		done = done || seq == last
	}
	return done
}

// answerError adds the kernel's reason, if it gives one: it is in attributes
// behind the request that the answer repeats.
func answerError(m []byte, code unix.Errno) error {
	const original = unix.NLMSG_HDRLEN + 4
	flags := netlink.HeaderFlags(binary.NativeEndian.Uint16(m[6:]))
	if flags&netlink.AcknowledgeTLVs == 0 || len(m) < original+unix.NLMSG_HDRLEN {
		return code
	}
	off := original + unix.NLMSG_HDRLEN
	if flags&netlink.Capped == 0 {
		off = original + align(int(binary.NativeEndian.Uint32(m[original:])))
	}
	if off < original || off > len(m) {
		return code
	}
	text := ""
	if err := each(m[off:], func(ad *netlink.AttributeDecoder) {
		if ad.Type() == unix.NLMSGERR_ATTR_MSG {
			text = ad.String()
		}
	}); err != nil || text == "" {
		return code
	}
	return fmt.Errorf("%w: %s", code, text)
}
