package link

import (
	"encoding/binary"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"

	"tsnswitch"
)

// Stamp is a time stamp as the kernel gives it.
type Stamp struct {
	NS       int64 // on CLOCK_REALTIME, or on the interface's PHC if Hardware
	Hardware bool
}

// stampFlags is what one port asks SO_TIMESTAMPING for. Asking for more than
// is used (TX_SCHED, or hardware and software together) makes the kernel
// queue several messages for one frame.
type stampFlags struct {
	socket int // for setsockopt: what is reported, and reception
	send   uint32
}

func flagsFor(hardware bool) stampFlags {
	const id = unix.SOF_TIMESTAMPING_OPT_ID | unix.SOF_TIMESTAMPING_OPT_TSONLY
	if hardware {
		return stampFlags{
			socket: id | unix.SOF_TIMESTAMPING_RX_HARDWARE | unix.SOF_TIMESTAMPING_RAW_HARDWARE,
			send:   unix.SOF_TIMESTAMPING_TX_HARDWARE,
		}
	}
	return stampFlags{
		socket: id | unix.SOF_TIMESTAMPING_RX_SOFTWARE | unix.SOF_TIMESTAMPING_SOFTWARE,
		send:   unix.SOF_TIMESTAMPING_TX_SOFTWARE,
	}
}

// sendControl asks for an egress stamp of this one frame, so that untagged
// frames cost no error-queue message and no OPT_ID.
func (f stampFlags) sendControl() []byte {
	b := make([]byte, unix.CmsgSpace(4))
	h := (*unix.Cmsghdr)(unsafe.Pointer(&b[0]))
	h.Level, h.Type = unix.SOL_SOCKET, unix.SO_TIMESTAMPING_NEW
	h.SetLen(unix.CmsgLen(4))
	binary.NativeEndian.PutUint32(b[unix.CmsgLen(0):], f.send)
	return b
}

// controlLen holds SCM_TIMESTAMPING and a sock_extended_err with its address.
const controlLen = 256

// control is what the control messages of one recvmsg said.
type control struct {
	stamp   Stamp
	stamped bool
	key     uint32 // OPT_ID of the frame; only if sent
	sent    bool   // the stamp of a frame leaving (SCM_TSTAMP_SND)
}

// parseControl reads the control messages of a received frame or of the
// error queue. Messages of other kinds are ignored.
func parseControl(oob []byte) (control, error) {
	var c control
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return c, fmt.Errorf("control messages of %d octets: %w", len(oob), err)
	}
	for _, m := range msgs {
		switch {
		case m.Header.Level == unix.SOL_SOCKET && m.Header.Type == unix.SO_TIMESTAMPING_NEW:
			c.stamp, c.stamped = parseStamps(m.Data)
		case m.Header.Level == unix.SOL_PACKET && m.Header.Type == unix.PACKET_TX_TIMESTAMP:
			c.key, c.sent = parseExtendedErr(m.Data)
		}
	}
	return c, nil
}

// parseStamps reads three {int64 s, int64 ns}: software, unused, hardware.
func parseStamps(b []byte) (Stamp, bool) {
	if len(b) < 48 {
		return Stamp{}, false
	}
	at := func(i int) int64 {
		s := int64(binary.NativeEndian.Uint64(b[16*i:]))
		return s*1_000_000_000 + int64(binary.NativeEndian.Uint64(b[16*i+8:]))
	}
	if ns := at(2); ns != 0 {
		return Stamp{NS: ns, Hardware: true}, true
	}
	ns := at(0)
	return Stamp{NS: ns}, ns != 0
}

// parseExtendedErr reads the OPT_ID out of a struct sock_extended_err.
func parseExtendedErr(b []byte) (key uint32, sent bool) {
	if len(b) < 16 {
		return 0, false
	}
	ours := binary.NativeEndian.Uint32(b) == uint32(unix.ENOMSG) &&
		b[4] == unix.SO_EE_ORIGIN_TIMESTAMPING &&
		binary.NativeEndian.Uint32(b[8:]) == unix.SCM_TSTAMP_SND
	return binary.NativeEndian.Uint32(b[12:]), ours
}

// maxPending bounds the frames of one port that wait for an egress stamp.
const maxPending = 64

// pendingStamps matches egress stamps to tags. The kernel numbers the frames
// that asked for a stamp 0, 1, 2 ... per socket (OPT_ID); so does add.
type pendingStamps struct {
	next  uint32
	queue []pendingStamp // in order of sending, hence of expiry
}

type pendingStamp struct {
	key     uint32
	tag     uint64
	expires tsn.Instant
}

func (p *pendingStamps) full() bool { return len(p.queue) >= maxPending }

// add records that the next OPT_ID was spent on tag.
func (p *pendingStamps) add(tag uint64, expires tsn.Instant) {
	p.queue = append(p.queue, pendingStamp{key: p.next, tag: tag, expires: expires})
	p.next++
}

// take returns and forgets the tag of key.
func (p *pendingStamps) take(key uint32) (tag uint64, ok bool) {
	for i, q := range p.queue {
		if q.key == key {
			p.queue = append(p.queue[:i], p.queue[i+1:]...)
			return q.tag, true
		}
	}
	return 0, false
}

// expire appends to tags those that waited long enough, and forgets them.
func (p *pendingStamps) expire(now tsn.Instant, tags []uint64) []uint64 {
	n := 0
	for n < len(p.queue) && p.queue[n].expires <= now {
		tags = append(tags, p.queue[n].tag)
		n++
	}
	p.queue = append(p.queue[:0], p.queue[n:]...)
	return tags
}

// deadline is the next expiry.
func (p *pendingStamps) deadline() tsn.Instant {
	if len(p.queue) == 0 {
		return tsn.Never
	}
	return p.queue[0].expires
}
