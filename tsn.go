// Package tsn is the vocabulary shared by every part of the switch, and the
// contract between protocol cores and the drivers that run them.
//
// It imports only the standard library. A type lives here when two packages
// that must not import each other (two cores, or a core and the data plane)
// have to mean the same thing by it; everything else lives with its owner.
//
//	tsn.go      addresses, identifiers, rates
//	time.go     the three kinds of time and why they do not mix
//	machine.go  the Machine contract and the events and effects all cores share
//	egress.go   traffic classes, gate control lists, what one egress port shall do
//	bridge.go   what the bridge shall forward: ports, VLANs, FDB, MDB
//	stream.go   what a stream asks for and where it runs
package tsn

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
)

// Port is a bridge port number, 1..4095 as in IEEE 802.1Q clause 13.27.46.
// 0 means "no port"; in forwarding entries it means the bridge itself.
type Port uint16

// NoPort is the absence of a port, or the bridge's own management end.
const NoPort Port = 0

// MAC is a 48-bit address in transmission order.
type MAC [6]byte

// Broadcast is the all-ones group address.
var Broadcast = MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

// IsGroup reports whether the I/G bit is set (multicast or broadcast).
func (m MAC) IsGroup() bool { return m[0]&1 != 0 }

// IsZero reports whether m is the all-zero address, used for "not set".
func (m MAC) IsZero() bool { return m == MAC{} }

// Uint64 returns the address as a number, for ordering and arithmetic.
func (m MAC) Uint64() uint64 {
	return uint64(m[0])<<40 | uint64(m[1])<<32 | uint64(m[2])<<24 | uint64(m[3])<<16 | uint64(m[4])<<8 | uint64(m[5])
}

// String prints the address as 02:00:00:00:00:01.
func (m MAC) String() string {
	return fmt.Sprintf("%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4], m[5])
}

// MarshalText and UnmarshalText make MAC print and parse as text in JSON and YAML.
func (m MAC) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// UnmarshalText parses what ParseMAC parses.
func (m *MAC) UnmarshalText(b []byte) error {
	v, err := ParseMAC(string(b))
	if err == nil {
		*m = v
	}
	return err
}

// ParseMAC parses six octets in hexadecimal separated by ':' or '-'.
func ParseMAC(s string) (MAC, error) {
	var m MAC
	b, err := parseOctets(s, len(m))
	if err != nil {
		return m, fmt.Errorf("MAC address %q: %w (want six octets like 02:00:00:00:00:01)", s, err)
	}
	copy(m[:], b)
	return m, nil
}

func parseOctets(s string, n int) ([]byte, error) {
	parts := strings.FieldsFunc(s, func(r rune) bool { return r == ':' || r == '-' })
	if len(parts) != n || len(s) != 3*n-1 {
		return nil, fmt.Errorf("not %d octets", n)
	}
	out := make([]byte, n)
	for i, p := range parts {
		v, err := strconv.ParseUint(p, 16, 8)
		if err != nil || len(p) != 2 {
			return nil, fmt.Errorf("octet %q is not two hexadecimal digits", p)
		}
		out[i] = byte(v)
	}
	return out, nil
}

// VID is a VLAN identifier, 1..4094.
type VID uint16

// Valid reports whether the VID may carry traffic (0 and 4095 are reserved).
func (v VID) Valid() bool { return v >= 1 && v <= 4094 }

// PCP is a priority code point, 0..7.
type PCP uint8

// Rate is a data rate in kbit/s.
type Rate uint64

// Common line rates.
const (
	Mbps Rate = 1000
	Gbps Rate = 1000 * Mbps
)

// TransmitTime returns how long octets take on the medium, in nanoseconds,
// rounded up. A zero rate returns 0: the caller must have validated it.
func (r Rate) TransmitTime(octets int) int64 {
	if r == 0 {
		return 0
	}
	bits := uint64(octets) * 8 * 1_000_000
	return int64((bits + uint64(r) - 1) / uint64(r))
}

// String prints the rate with the largest unit that keeps it whole.
func (r Rate) String() string {
	switch {
	case r >= Gbps && r%Gbps == 0:
		return fmt.Sprintf("%d Gbit/s", r/Gbps)
	case r >= Mbps && r%Mbps == 0:
		return fmt.Sprintf("%d Mbit/s", r/Mbps)
	default:
		return fmt.Sprintf("%d kbit/s", uint64(r))
	}
}

// BridgeID is a bridge identifier: priority (2 octets) then address (6), so
// that numerical order is the standard's priority order (802.1Q 14.2.5).
type BridgeID [8]byte

// MakeBridgeID joins a priority and a system identifier.
func MakeBridgeID(priority uint16, sys MAC) BridgeID {
	return BridgeID{byte(priority >> 8), byte(priority), sys[0], sys[1], sys[2], sys[3], sys[4], sys[5]}
}

// System returns the address part.
func (b BridgeID) System() MAC { return MAC(b[2:8]) }

// Priority returns the priority part.
func (b BridgeID) Priority() uint16 { return uint16(b[0])<<8 | uint16(b[1]) }

// String prints the identifier as 8000.020000000001.
func (b BridgeID) String() string {
	return hex.EncodeToString(b[:2]) + "." + hex.EncodeToString(b[2:])
}

// StreamID is a stream identifier: the talker's MAC address and a unique id
// (802.1Q 35.2.2.8.2). It is printed as 02-00-00-00-00-01:0001.
type StreamID [8]byte

// MakeStreamID joins an address and a unique id.
func MakeStreamID(m MAC, unique uint16) StreamID {
	return StreamID{m[0], m[1], m[2], m[3], m[4], m[5], byte(unique >> 8), byte(unique)}
}

// Source returns the address part.
func (s StreamID) Source() MAC { return MAC(s[:6]) }

// String prints the identifier as 02-00-00-00-00-01:0001.
func (s StreamID) String() string {
	return fmt.Sprintf("%02x-%02x-%02x-%02x-%02x-%02x:%02x%02x", s[0], s[1], s[2], s[3], s[4], s[5], s[6], s[7])
}

// MarshalText prints the identifier as String does.
func (s StreamID) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText parses what ParseStreamID parses.
func (s *StreamID) UnmarshalText(b []byte) error {
	v, err := ParseStreamID(string(b))
	if err == nil {
		*s = v
	}
	return err
}

// ParseStreamID parses the form printed by String.
func ParseStreamID(s string) (StreamID, error) {
	var id StreamID
	addr, unique, ok := strings.Cut(s, ":")
	b, err := parseOctets(addr, 6)
	if !ok || err != nil || len(unique) != 4 {
		return id, fmt.Errorf("stream id %q: want the form 02-00-00-00-00-01:0001", s)
	}
	u, err := strconv.ParseUint(unique, 16, 16)
	if err != nil {
		return id, fmt.Errorf("stream id %q: unique part %q is not hexadecimal", s, unique)
	}
	return MakeStreamID(MAC(b), uint16(u)), nil
}
