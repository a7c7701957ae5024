package distlink

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Version of the wire format.
const Version = 2

const (
	magic     = 0xDA
	headerLen = 12
	// dataHeaderLen is the header with the packet number of DATA.
	dataHeaderLen = headerLen + 8
	paramsLen     = 24  // without the security block
	initLen       = 256 // an INIT is padded up to this: no answer to it is longer
	publicLen     = 32
	tagLen        = 16 // of a sealed packet; of binder and tag of the set-up
	maxTokenLen   = 64
	maxKeyIDLen   = 32
	maxTextLen    = 100
	minDatagram   = 512
	maxDatagram   = 65507
)

// PacketType is the kind of a packet (PROTOCOL.md, Header).
type PacketType uint8

// The packet types.
const (
	TypeInit   PacketType = 1
	TypeRetry  PacketType = 2
	TypeAccept PacketType = 3
	TypeRefuse PacketType = 4
	TypeData   PacketType = 5
	TypeReset  PacketType = 6
)

// Capabilities (PROTOCOL.md, Header).
const (
	CapMigrate = 1 << 0
	CapLanes   = 1 << 1
)

// Security of a connection (PROTOCOL.md, Security).
const (
	SecurityNone        = 0
	SecurityPSK         = 1
	SecurityCertificate = 2
)

// SuiteAES128GCM is the AEAD that all have.
const SuiteAES128GCM = 1 << 0

// Params is what each side tells the other at set-up.
type Params struct {
	SourceID     uint64
	MaxDatagram  uint16 // octets
	Security     uint8
	Suites       uint8
	Window       uint32 // initial credit, octets
	AckDelay     uint32 // microseconds
	Capabilities uint32
	Public       [publicLen]byte // with security
	KeyID        string          // with security; empty in ACCEPT
}

// Packet is a parsed packet; which fields mean something depends on Type.
type Packet struct {
	Type    PacketType
	Version uint8
	DestID  uint64

	Params       Params // Init, Accept
	Token        []byte // Init, Retry; aliases the input
	Proof        []byte // Init: the binder, Accept: the tag, with security; aliases the input
	Code         Code   // Refuse
	Text         string // Refuse
	PacketNumber uint64 // Data; Reset: the one that was not wanted
	Frames       []byte // Data: not yet parsed, or sealed; aliases the input
	ResetID      uint64 // Reset: its destination id
}

// Errors of the decoder, all wrapped with what was found.
var (
	ErrMalformed = errors.New("malformed distlink packet")
	ErrVersion   = errors.New("unknown distlink version")
)

func malformed(format string, a ...any) error {
	return fmt.Errorf("%w: %s", ErrMalformed, fmt.Sprintf(format, a...))
}

// ParsePacket parses the first packet of b and returns what follows it. Of a
// packet of another version only the header fields are set, with ErrVersion.
func ParsePacket(b []byte) (p Packet, rest []byte, err error) {
	if len(b) < headerLen {
		return p, nil, malformed("%d octets, header needs %d", len(b), headerLen)
	}
	n := int(binary.BigEndian.Uint16(b[2:]))
	if b[0] != magic || n < headerLen || n > len(b) {
		return p, nil, malformed("first octet %#02x, length %d of %d", b[0], n, len(b))
	}
	p.Type, p.Version = PacketType(b[1]&15), b[1]>>4
	p.DestID = binary.BigEndian.Uint64(b[4:])
	body, rest := b[headerLen:n], b[n:]
	if p.Version != Version {
		if p.Type == TypeInit && len(body) >= 8 {
			p.Params.SourceID = binary.BigEndian.Uint64(body)
		}
		return p, rest, fmt.Errorf("%w %d (this is %d)", ErrVersion, p.Version, Version)
	}
	switch p.Type {
	case TypeInit:
		err = p.parseInit(body, n)
	case TypeRetry:
		p.Token, _, err = parseToken(body)
	case TypeAccept:
		if p.Params, body, err = parseParams(body); err == nil {
			err = p.parseProof(body)
		}
	case TypeRefuse:
		p.Code, p.Text, _, err = parseReason(body)
	case TypeData:
		if len(body) < 8 {
			return p, nil, malformed("DATA of %d octets", n)
		}
		p.PacketNumber, p.Frames = binary.BigEndian.Uint64(body), body[8:]
	case TypeReset:
		if len(body) < 16 {
			return p, nil, malformed("RESET of %d octets", n)
		}
		p.ResetID = binary.BigEndian.Uint64(body)
		p.PacketNumber = binary.BigEndian.Uint64(body[8:])
	default:
		err = malformed("packet type %d", p.Type)
	}
	return p, rest, err
}

func (p *Packet) parseInit(body []byte, n int) (err error) {
	if n < initLen {
		return malformed("INIT of %d octets, must be padded to %d", n, initLen)
	}
	if p.Params, body, err = parseParams(body); err != nil {
		return err
	}
	if p.Token, body, err = parseToken(body); err != nil {
		return err
	}
	return p.parseProof(body)
}

// parseProof takes the last octets of a packet with security.
func (p *Packet) parseProof(body []byte) error {
	if p.Params.Security == SecurityNone {
		return nil
	}
	if len(body) < tagLen {
		return malformed("proof of %d octets", len(body))
	}
	p.Proof = body[len(body)-tagLen:]
	return nil
}

func parseParams(b []byte) (Params, []byte, error) {
	if len(b) < paramsLen {
		return Params{}, nil, malformed("parameters of %d octets", len(b))
	}
	p := Params{
		SourceID:     binary.BigEndian.Uint64(b),
		MaxDatagram:  binary.BigEndian.Uint16(b[8:]),
		Security:     b[10],
		Suites:       b[11],
		Window:       binary.BigEndian.Uint32(b[12:]),
		AckDelay:     binary.BigEndian.Uint32(b[16:]),
		Capabilities: binary.BigEndian.Uint32(b[20:]),
	}
	if p.SourceID == 0 || p.MaxDatagram < minDatagram || p.MaxDatagram > maxDatagram || p.Window == 0 {
		return p, nil, malformed("parameters %+v", p)
	}
	if b = b[paramsLen:]; p.Security == SecurityNone {
		return p, b, nil
	}
	if len(b) < publicLen+1 || b[publicLen] > maxKeyIDLen || len(b) < publicLen+1+int(b[publicLen]) {
		return p, nil, malformed("parameters of security %d", p.Security)
	}
	n := publicLen + 1 + int(b[publicLen])
	p.Public, p.KeyID = [publicLen]byte(b), string(b[publicLen+1:n])
	return p, b[n:], nil
}

func parseToken(b []byte) (token, rest []byte, err error) {
	if len(b) < 1 || int(b[0]) > maxTokenLen || len(b) < 1+int(b[0]) {
		return nil, nil, malformed("token")
	}
	n := 1 + int(b[0])
	return b[1:n], b[n:], nil
}

func parseReason(b []byte) (Code, string, []byte, error) {
	if len(b) < 2 || len(b) < 2+int(b[1]) {
		return 0, "", nil, malformed("reason")
	}
	n := 2 + int(b[1])
	return Code(b[0]), string(b[2:n]), b[n:], nil
}

// AppendPacket appends p. It is the inverse of ParsePacket; Frames and Token
// must fit.
func AppendPacket(b []byte, p Packet) []byte {
	start := len(b)
	b = append(b, magic, p.Version<<4|byte(p.Type), 0, 0)
	b = binary.BigEndian.AppendUint64(b, p.DestID)
	switch p.Type {
	case TypeInit:
		b = appendToken(appendParams(b, p.Params), p.Token)
		b = append(b, make([]byte, max(0, initLen-len(p.Proof)-(len(b)-start)))...)
		b = append(b, p.Proof...)
	case TypeRetry:
		b = appendToken(b, p.Token)
	case TypeAccept:
		b = append(appendParams(b, p.Params), p.Proof...)
	case TypeRefuse:
		b = appendReason(b, p.Code, p.Text)
	case TypeData:
		b = append(binary.BigEndian.AppendUint64(b, p.PacketNumber), p.Frames...)
	case TypeReset:
		b = binary.BigEndian.AppendUint64(b, p.ResetID)
		b = binary.BigEndian.AppendUint64(b, p.PacketNumber)
	}
	binary.BigEndian.PutUint16(b[start+2:], uint16(len(b)-start))
	return b
}

// appendDataHeader appends what stands before n octets of frames.
func appendDataHeader(b []byte, dest, number uint64, n int) []byte {
	b = append(b, magic, Version<<4|byte(TypeData))
	b = binary.BigEndian.AppendUint16(b, uint16(dataHeaderLen+n))
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(b, dest), number)
}

func appendParams(b []byte, p Params) []byte {
	b = binary.BigEndian.AppendUint64(b, p.SourceID)
	b = binary.BigEndian.AppendUint16(b, p.MaxDatagram)
	b = append(b, p.Security, p.Suites)
	b = binary.BigEndian.AppendUint32(b, p.Window)
	b = binary.BigEndian.AppendUint32(b, p.AckDelay)
	b = binary.BigEndian.AppendUint32(b, p.Capabilities)
	if p.Security == SecurityNone {
		return b
	}
	b = append(append(b, p.Public[:]...), byte(len(p.KeyID)))
	return append(b, p.KeyID...)
}

func appendToken(b, token []byte) []byte { return append(append(b, byte(len(token))), token...) }

func appendReason(b []byte, c Code, text string) []byte {
	text = text[:min(len(text), maxTextLen)]
	return append(append(b, byte(c), byte(len(text))), text...)
}
