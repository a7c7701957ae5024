package erldist

import (
	"crypto/md5"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Transport carries whole messages in order.
type Transport interface {
	Send(message []byte) error
	Recv() ([]byte, error)
}

// Certified is a Transport whose peer may have shown a certificate. Its node's name
// has to be of a host that it is for: who has one could be any node otherwise.
type Certified interface {
	// VerifyHost is nil where there are no certificates, too.
	VerifyHost(host string) error
}

// Distribution flags (ERTS user's guide, "Distribution Flags").
const (
	FlagPublished          uint64 = 0x1
	FlagAtomCache          uint64 = 0x2
	FlagExtendedReferences uint64 = 0x4
	FlagDistMonitor        uint64 = 0x8
	FlagFunTags            uint64 = 0x10
	FlagDistMonitorName    uint64 = 0x20
	FlagNewFunTags         uint64 = 0x80
	FlagExtendedPidsPorts  uint64 = 0x100
	FlagExportPtrTag       uint64 = 0x200
	FlagBitBinaries        uint64 = 0x400
	FlagNewFloats          uint64 = 0x800
	FlagUTF8Atoms          uint64 = 0x10000
	FlagMapTag             uint64 = 0x20000
	FlagBigCreation        uint64 = 0x40000
	FlagSendSender         uint64 = 0x80000
	FlagHandshake23        uint64 = 0x1000000
	FlagUnlinkID           uint64 = 0x2000000
	FlagMandatory25Digest  uint64 = 0x4000000
	FlagV4NC               uint64 = 4 << 32

	// FlagsMandatory is what OTP 25 and 26 and later insist on.
	FlagsMandatory = FlagExtendedReferences | FlagFunTags | FlagNewFunTags | FlagExtendedPidsPorts |
		FlagExportPtrTag | FlagBitBinaries | FlagNewFloats | FlagUTF8Atoms | FlagMapTag |
		FlagBigCreation | FlagHandshake23 | FlagUnlinkID | FlagV4NC
	flagsNeeded = FlagExtendedReferences | FlagExtendedPidsPorts | FlagUTF8Atoms | FlagBigCreation | FlagHandshake23
)

// Node is this side of a handshake.
type Node struct {
	Name      string // name@host
	Cookie    string
	Creation  uint32
	Flags     uint64 // 0 means FlagsMandatory, a hidden node
	Challenge uint32 // random
}

// Peer is what the handshake learned.
type Peer struct {
	Name     string
	Creation uint32
	Flags    uint64 // what both sides have
}

// ErrHandshake is wrapped by every error that is not the transport's.
var ErrHandshake = errors.New("distribution handshake")

func refused(format string, a ...any) error {
	return fmt.Errorf("%w: %s", ErrHandshake, fmt.Sprintf(format, a...))
}

func digest(cookie string, challenge uint32) []byte {
	d := md5.Sum([]byte(cookie + strconv.FormatUint(uint64(challenge), 10)))
	return d[:]
}

func (n Node) flags() uint64 {
	if n.Flags == 0 {
		return FlagsMandatory
	}
	return n.Flags
}

// Connect does the handshake as the side that connected.
func (n Node) Connect(t Transport) (Peer, error) {
	m := binary.BigEndian.AppendUint64([]byte{'N'}, n.flags())
	m = binary.BigEndian.AppendUint32(m, n.Creation)
	if err := t.Send(appendName(m, n.Name)); err != nil {
		return Peer{}, err
	}
	if err := n.status(t); err != nil {
		return Peer{}, err
	}
	p, theirs, err := n.recvChallenge(t)
	if err != nil {
		return p, err
	}
	m = binary.BigEndian.AppendUint32([]byte{'r'}, n.Challenge)
	if err := t.Send(append(m, digest(n.Cookie, theirs)...)); err != nil {
		return p, err
	}
	b, err := t.Recv()
	if err != nil {
		return p, fmt.Errorf("%w: no acknowledgement (is the cookie right?): %w", ErrHandshake, err)
	}
	if len(b) != 17 || b[0] != 'a' || subtle.ConstantTimeCompare(b[1:], digest(n.Cookie, n.Challenge)) != 1 {
		return p, refused("%s does not know our cookie", p.Name)
	}
	return p, nil
}

func appendName(m []byte, name string) []byte {
	return append(binary.BigEndian.AppendUint16(m, uint16(len(name))), name...)
}

func (n Node) status(t Transport) error {
	b, err := t.Recv()
	if err != nil {
		return err
	}
	if len(b) < 1 || b[0] != 's' {
		return refused("status expected, got %q", b)
	}
	switch s := string(b[1:]); {
	case s == "ok" || s == "ok_simultaneous":
		return nil
	case s == "alive": // an older connection of ours: take its place
		return t.Send([]byte("strue"))
	case strings.HasPrefix(s, "named:"):
		return refused("peer wants to name us; give a full node name")
	default:
		return refused("peer says %q (nok: it is connecting to us; not_allowed: see net_kernel:allow/1)", s)
	}
}

func (n Node) recvChallenge(t Transport) (p Peer, challenge uint32, err error) {
	b, err := t.Recv()
	if err != nil {
		return p, 0, err
	}
	if len(b) < 19 || b[0] != 'N' || len(b) < 19+int(binary.BigEndian.Uint16(b[17:])) {
		return p, 0, refused("challenge expected, got %q (OTP 23 or later is needed)", b)
	}
	p = Peer{Flags: binary.BigEndian.Uint64(b[1:]), Creation: binary.BigEndian.Uint32(b[13:])}
	p.Name = string(b[19 : 19+int(binary.BigEndian.Uint16(b[17:]))])
	return n.common(p), binary.BigEndian.Uint32(b[9:]), n.check(t, p)
}

func (n Node) common(p Peer) Peer {
	p.Flags &= n.flags()
	return p
}

func (n Node) check(t Transport, p Peer) error {
	if c, ok := t.(Certified); ok {
		_, host, _ := strings.Cut(p.Name, "@")
		if err := c.VerifyHost(host); err != nil {
			return refused("%s: %v", p.Name, err)
		}
	}
	f := p.Flags
	if f&FlagMandatory25Digest != 0 {
		f |= flagsNeeded
	}
	if miss := flagsNeeded &^ f; miss != 0 {
		return refused("%s lacks flags %#x", p.Name, miss)
	}
	return nil
}

// Accept does the handshake as the side that was connected to.
func (n Node) Accept(t Transport) (Peer, error) {
	b, err := t.Recv()
	if err != nil {
		return Peer{}, err
	}
	if len(b) < 15 || b[0] != 'N' || len(b) < 15+int(binary.BigEndian.Uint16(b[13:])) {
		return Peer{}, refused("name expected, got %q (OTP 23 or later is needed)", b)
	}
	p := Peer{Flags: binary.BigEndian.Uint64(b[1:]), Creation: binary.BigEndian.Uint32(b[9:])}
	p.Name = string(b[15 : 15+int(binary.BigEndian.Uint16(b[13:]))])
	if err := n.check(t, p); err != nil {
		_ = t.Send([]byte("snot_allowed"))
		return p, err
	}
	p = n.common(p)
	if err := t.Send([]byte("sok")); err != nil {
		return p, err
	}
	m := binary.BigEndian.AppendUint64([]byte{'N'}, n.flags())
	m = binary.BigEndian.AppendUint32(m, n.Challenge)
	m = binary.BigEndian.AppendUint32(m, n.Creation)
	if err := t.Send(appendName(m, n.Name)); err != nil {
		return p, err
	}
	if b, err = t.Recv(); err != nil {
		return p, err
	}
	if len(b) != 21 || b[0] != 'r' || subtle.ConstantTimeCompare(b[5:], digest(n.Cookie, n.Challenge)) != 1 {
		return p, refused("%s does not know our cookie", p.Name)
	}
	return p, t.Send(append([]byte{'a'}, digest(n.Cookie, binary.BigEndian.Uint32(b[1:]))...))
}
