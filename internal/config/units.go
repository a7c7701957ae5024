package config

import (
	"fmt"
	"math"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"tsnswitch"
)

// Duration is nanoseconds, written with a unit: 125us, 20ms, 1.5s. It may be
// negative where the key says so.
type Duration int64

// Std returns the standard library's type.
func (d Duration) Std() time.Duration { return time.Duration(d) }

func (d Duration) String() string { return time.Duration(d).String() }

// MarshalText writes what UnmarshalText reads.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText parses a number with a unit.
func (d *Duration) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(string(b))
	if err != nil {
		return fmt.Errorf("%q is not a duration; write a number with a unit: 125us, 20ms, 1.5s", b)
	}
	*d = Duration(v)
	return nil
}

// Rate is kbit/s, written as 64k, 100M, 1G or 2.5G (bit/s).
type Rate tsn.Rate

// Rate returns the vocabulary's type.
func (r Rate) Rate() tsn.Rate { return tsn.Rate(r) }

func (r Rate) String() string {
	switch {
	case r != 0 && r%1_000_000 == 0:
		return fmt.Sprintf("%dG", r/1_000_000)
	case r != 0 && r%1000 == 0:
		return fmt.Sprintf("%dM", r/1000)
	}
	return fmt.Sprintf("%dk", uint64(r))
}

// MarshalText writes what UnmarshalText reads.
func (r Rate) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText parses a number with k, M or G.
func (r *Rate) UnmarshalText(b []byte) error {
	bad := fmt.Errorf("%q is not a rate; write bit/s with k, M or G: 64k, 100M, 2.5G", b)
	s := string(b)
	if s == "" {
		return bad
	}
	unit, ok := map[byte]float64{'k': 1, 'M': 1000, 'G': 1_000_000}[s[len(s)-1]]
	if !ok {
		return bad
	}
	f, err := strconv.ParseFloat(s[:len(s)-1], 64)
	kbps := f * unit
	if err != nil || !(kbps >= 1 && kbps <= 1e12) || math.Abs(kbps-math.Round(kbps)) > 1e-6 {
		return bad
	}
	*r = Rate(math.Round(kbps))
	return nil
}

// Size is octets, written 128B or 128.
type Size uint32

func (s Size) String() string { return strconv.FormatUint(uint64(s), 10) + "B" }

// MarshalText writes what UnmarshalText reads.
func (s Size) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText parses a number of octets.
func (s *Size) UnmarshalText(b []byte) error {
	n, err := strconv.ParseUint(strings.TrimSuffix(string(b), "B"), 10, 32)
	if err != nil {
		return fmt.Errorf("%q is not a size in octets; write 128B", b)
	}
	*s = Size(n)
	return nil
}

// Prefix is an address with its network's length: 10.255.0.1/24.
type Prefix struct{ netip.Prefix }

// IsZero reports whether there is none; YAML then leaves the key out.
func (p Prefix) IsZero() bool { return !p.IsValid() }

// UnmarshalText parses an address and a length.
func (p *Prefix) UnmarshalText(b []byte) error {
	v, err := netip.ParsePrefix(string(b))
	if err != nil {
		return fmt.Errorf("%q is not an address with a length, like 10.255.0.1/24 or fd00::1/64", b)
	}
	p.Prefix = v
	return nil
}

// Addr is an address: 10.255.0.1.
type Addr struct{ netip.Addr }

// IsZero reports whether there is none; YAML then leaves the key out.
func (a Addr) IsZero() bool { return !a.IsValid() }

// UnmarshalText parses an address.
func (a *Addr) UnmarshalText(b []byte) error {
	v, err := netip.ParseAddr(string(b))
	if err != nil {
		return fmt.Errorf("%q is not an address like 10.255.0.1 or fd00::1", b)
	}
	a.Addr = v
	return nil
}

// AddrPort is an address with a port: 127.0.0.1:9464 or [fd00::1]:9465.
type AddrPort struct{ netip.AddrPort }

// IsZero reports whether there is none; YAML then leaves the key out.
func (a AddrPort) IsZero() bool { return !a.IsValid() }

// UnmarshalText parses an address and a port.
func (a *AddrPort) UnmarshalText(b []byte) error {
	v, err := netip.ParseAddrPort(string(b))
	if err != nil {
		return fmt.Errorf("%q is not an address and port, like 127.0.0.1:9464 or [fd00::1]:9465", b)
	}
	a.AddrPort = v
	return nil
}
