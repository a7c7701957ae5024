// Package ptpmsg is the codec of gPTP messages: bytes to structs and back,
// without state and without I/O.
//
// IEEE 802.1AS-2020 clauses 10.6 (Announce, Signaling, header) and 11.4
// (Sync, Follow_Up, Pdelay_*), full-duplex Ethernet framing 11.3 and 12.1.
//
//	Ethernet frame --ParseFrame--> payload --Decoder.Decode--> *Sync, *FollowUp, ...
//	Ethernet frame <-----------AppendFrame-------------------- *Sync, *FollowUp, ...
//
//	ptpmsg.go     header, identities, Message, Decoder, Append
//	time.go       Timestamp, TimeInterval, ScaledNS, ScaledRate
//	tlv.go        the TLV list that every message with a suffix keeps, in order
//	sync.go       Sync                 followup.go   Follow_Up and its information TLV
//	pdelay.go     Pdelay_Req/Resp/...  announce.go   Announce and the path trace TLV
//	signaling.go  Signaling and the message interval request TLV
//	gptpcapable.go  the gPTP-capable TLVs of Signaling
//	frame.go      destination address, EtherType
//
// Reserved fields and unknown TLVs are kept, so Append gives back exactly the
// octets that Decode took (up to messageLength; Ethernet padding is not part
// of a message). Every length is checked before it is used.
package ptpmsg

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"

	tsn "tsnswitch"
)

// MessageType is the low nibble of the first octet (table 10-8, table 11-5).
type MessageType uint8

// The message types of gPTP.
const (
	TypeSync               MessageType = 0x0
	TypePdelayReq          MessageType = 0x2
	TypePdelayResp         MessageType = 0x3
	TypeFollowUp           MessageType = 0x8
	TypePdelayRespFollowUp MessageType = 0xA
	TypeAnnounce           MessageType = 0xB
	TypeSignaling          MessageType = 0xC
)

// String gives the standard's name.
func (t MessageType) String() string {
	switch t {
	case TypeSync:
		return "Sync"
	case TypePdelayReq:
		return "Pdelay_Req"
	case TypePdelayResp:
		return "Pdelay_Resp"
	case TypeFollowUp:
		return "Follow_Up"
	case TypePdelayRespFollowUp:
		return "Pdelay_Resp_Follow_Up"
	case TypeAnnounce:
		return "Announce"
	case TypeSignaling:
		return "Signaling"
	}
	return fmt.Sprintf("message type 0x%x", uint8(t))
}

// Values every gPTP message carries (10.6.2.2).
const (
	MajorSdoID = 1 // gPTP
	// MajorSdoIDCommon is that of the Common Mean Link Delay Service.
	MajorSdoIDCommon = 2
	VersionPTP       = 2
	HeaderLen        = 34
	// MaxMessageLen bounds messageLength: an untagged Ethernet payload.
	MaxMessageLen = 1500
	// LogIntervalNone is the logMessageInterval of messages without a rate.
	LogIntervalNone = 0x7F
)

// Flags of the header, as one number with octet 0 in the high half (table 10-9).
const (
	FlagTwoStep               uint16 = 0x0200
	FlagLeap61                uint16 = 0x0001
	FlagLeap59                uint16 = 0x0002
	FlagCurrentUtcOffsetValid uint16 = 0x0004
	FlagPtpTimescale          uint16 = 0x0008
	FlagTimeTraceable         uint16 = 0x0010
	FlagFrequencyTraceable    uint16 = 0x0020
)

// ClockIdentity is the EUI-64 of a PTP Instance (8.5.2.2).
type ClockIdentity [8]byte

// ClockIdentityFromMAC inserts FF-FE in the middle of a MAC address.
func ClockIdentityFromMAC(m tsn.MAC) ClockIdentity {
	return ClockIdentity{m[0], m[1], m[2], 0xff, 0xfe, m[3], m[4], m[5]}
}

// String prints the identity as 020000.fffe.000001.
func (c ClockIdentity) String() string {
	return hex.EncodeToString(c[:3]) + "." + hex.EncodeToString(c[3:5]) + "." + hex.EncodeToString(c[5:])
}

// MarshalText prints the identity as String does.
func (c ClockIdentity) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText parses the form printed by String.
func (c *ClockIdentity) UnmarshalText(b []byte) error {
	var v ClockIdentity
	if len(b) != 18 || b[6] != '.' || b[11] != '.' {
		return fmt.Errorf("clock identity %q: want the form 020000.fffe.000001", b)
	}
	digits := append(append(append(make([]byte, 0, 16), b[:6]...), b[7:11]...), b[12:]...)
	if _, err := hex.Decode(v[:], digits); err != nil {
		return fmt.Errorf("clock identity %q: %w (want the form 020000.fffe.000001)", b, err)
	}
	*c = v
	return nil
}

// PortIdentity names one port of one PTP Instance (8.5.2.1).
type PortIdentity struct {
	Clock ClockIdentity
	Port  uint16
}

// String prints the identity as 020000.fffe.000001-1.
func (p PortIdentity) String() string { return fmt.Sprintf("%s-%d", p.Clock, p.Port) }

func parsePortIdentity(b []byte) PortIdentity {
	return PortIdentity{Clock: ClockIdentity(b[:8]), Port: binary.BigEndian.Uint16(b[8:10])}
}

func appendPortIdentity(b []byte, p PortIdentity) []byte {
	return binary.BigEndian.AppendUint16(append(b, p.Clock[:]...), p.Port)
}

// Header is the common header (10.6.2) without messageType and messageLength,
// which follow from the message. MinorVersion is 1 in 802.1AS-2020 and was 0
// before; receivers must not look at it.
type Header struct {
	MajorSdoID   uint8 // 4 bits
	MinorVersion uint8 // 4 bits
	Domain       uint8
	MinorSdoID   uint8
	Flags        uint16
	Correction   TimeInterval
	TypeSpecific uint32
	Source       PortIdentity
	SequenceID   uint16
	Control      uint8 // obsolete; kept for old receivers
	LogInterval  int8  // logMessageInterval
}

// Head returns the header itself; it makes every message that embeds Header
// offer it.
func (h *Header) Head() *Header { return h }

func parseHeader(b []byte) Header {
	return Header{
		MajorSdoID:   b[0] >> 4,
		MinorVersion: b[1] >> 4,
		Domain:       b[4],
		MinorSdoID:   b[5],
		Flags:        binary.BigEndian.Uint16(b[6:]),
		Correction:   TimeInterval(binary.BigEndian.Uint64(b[8:])),
		TypeSpecific: binary.BigEndian.Uint32(b[16:]),
		Source:       parsePortIdentity(b[20:]),
		SequenceID:   binary.BigEndian.Uint16(b[30:]),
		Control:      b[32],
		LogInterval:  int8(b[33]),
	}
}

func (h *Header) append(b []byte, t MessageType) []byte {
	b = append(b, h.MajorSdoID<<4|uint8(t), h.MinorVersion<<4|VersionPTP, 0, 0, h.Domain, h.MinorSdoID)
	b = binary.BigEndian.AppendUint16(b, h.Flags)
	b = binary.BigEndian.AppendUint64(b, uint64(h.Correction))
	b = binary.BigEndian.AppendUint32(b, h.TypeSpecific)
	b = appendPortIdentity(b, h.Source)
	b = binary.BigEndian.AppendUint16(b, h.SequenceID)
	return append(b, h.Control, uint8(h.LogInterval))
}

// Message is one of the message structs of this package, by pointer.
type Message interface {
	Head() *Header
	Type() MessageType
	appendBody(b []byte) []byte
}

// Append appends m to b. Header fields wider than their place are cut.
func Append(b []byte, m Message) []byte {
	start := len(b)
	b = m.appendBody(m.Head().append(b, m.Type()))
	binary.BigEndian.PutUint16(b[start+2:], uint16(len(b)-start))
	return b
}

// Length is messageLength of m.
func Length(m Message) int { return len(Append(make([]byte, 0, MaxMessageLen), m)) }

// Errors of Decode; they come wrapped with the message they belong to.
var (
	ErrShort     = errors.New("shorter than its fields")
	ErrLength    = errors.New("messageLength does not fit the frame")
	ErrVersion   = errors.New("versionPTP is not 2")
	ErrType      = errors.New("not a gPTP message type")
	ErrTLV       = errors.New("a TLV runs past the end")
	ErrTimestamp = errors.New("nanoseconds of a timestamp are not below 10^9")
)

// Decoder turns octets into messages without allocating: it owns one struct of
// each kind. The zero value is ready.
type Decoder struct {
	sync     Sync
	followUp FollowUp
	req      PdelayReq
	resp     PdelayResp
	respFUP  PdelayRespFollowUp
	announce Announce
	signal   Signaling
	tlvs     []TLV
}

// Decode reads one message from an Ethernet payload. The result and its TLV
// values (which alias b) are valid until the next Decode.
func (d *Decoder) Decode(b []byte) (Message, error) {
	if len(b) < HeaderLen {
		return nil, fmt.Errorf("gPTP header of %d octets: %w", len(b), ErrShort)
	}
	if b[1]&0xf != VersionPTP {
		return nil, fmt.Errorf("versionPTP %d: %w", b[1]&0xf, ErrVersion)
	}
	n := int(binary.BigEndian.Uint16(b[2:]))
	if n < HeaderLen || n > len(b) || n > MaxMessageLen {
		return nil, fmt.Errorf("messageLength %d in %d octets: %w", n, len(b), ErrLength)
	}
	t := MessageType(b[0] & 0xf)
	m, err := d.decodeBody(t, parseHeader(b), b[HeaderLen:n])
	if err != nil {
		return nil, fmt.Errorf("%s: %w", t, err)
	}
	return m, nil
}

func (d *Decoder) decodeBody(t MessageType, h Header, body []byte) (Message, error) {
	switch t {
	case TypeSync:
		return &d.sync, d.sync.parse(h, body, d)
	case TypeFollowUp:
		return &d.followUp, d.followUp.parse(h, body, d)
	case TypePdelayReq:
		return &d.req, d.req.parse(h, body, d)
	case TypePdelayResp:
		return &d.resp, d.resp.parse(h, body, d)
	case TypePdelayRespFollowUp:
		return &d.respFUP, d.respFUP.parse(h, body, d)
	case TypeAnnounce:
		return &d.announce, d.announce.parse(h, body, d)
	case TypeSignaling:
		return &d.signal, d.signal.parse(h, body, d)
	}
	return nil, ErrType
}
