package spb

import (
	"bytes"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"
)

// AuthAlgorithm is how a key authenticates.
type AuthAlgorithm uint8

// The algorithms of RFC 5304 and RFC 5310.
const (
	HMACMD5 AuthAlgorithm = iota + 1
	HMACSHA1
	HMACSHA224
	HMACSHA256
	HMACSHA384
	HMACSHA512
)

var authAlgorithms = map[AuthAlgorithm]struct {
	name string
	new  func() hash.Hash
}{
	HMACMD5:    {"hmac-md5", md5.New},
	HMACSHA1:   {"hmac-sha-1", sha1.New},
	HMACSHA224: {"hmac-sha-224", sha256.New224},
	HMACSHA256: {"hmac-sha-256", sha256.New},
	HMACSHA384: {"hmac-sha-384", sha512.New384},
	HMACSHA512: {"hmac-sha-512", sha512.New},
}

// AuthAlgorithmNames lists what UnmarshalText takes.
func AuthAlgorithmNames() []string {
	var out []string
	for a := HMACMD5; a <= HMACSHA512; a++ {
		out = append(out, a.String())
	}
	return out
}

func (a AuthAlgorithm) String() string {
	if d, ok := authAlgorithms[a]; ok {
		return d.name
	}
	return fmt.Sprintf("algorithm %d", uint8(a))
}

// MarshalText prints the name, hmac-sha-256.
func (a AuthAlgorithm) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalText parses a name.
func (a *AuthAlgorithm) UnmarshalText(b []byte) error {
	for k, d := range authAlgorithms {
		if d.name == string(b) {
			*a = k
			return nil
		}
	}
	return fmt.Errorf("%q is not an algorithm; allowed: %v", b, AuthAlgorithmNames())
}

// Secret is a key's octets. It prints and marshals as nothing of them, so that
// it is in no log, status or trace.
type Secret []byte

// Format prints (secret) whatever the verb.
func (Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "(secret)") }

// MarshalText writes nothing.
func (Secret) MarshalText() ([]byte, error) { return nil, nil }

// UnmarshalText reads what MarshalText wrote: an empty secret.
func (s *Secret) UnmarshalText([]byte) error { *s = nil; return nil }

// Key is a security association (RFC 5310 s2).
type Key struct {
	// ID names the key on the wire, but for HMAC-MD5, whose TLV has no room for
	// it: there any acceptable key may be the right one.
	ID        uint16        `json:"id"`
	Algorithm AuthAlgorithm `json:"algorithm"`
	// Secret is 1 to 255 octets. In SetKeys an empty one means the secret that
	// the instance has under this ID and algorithm already.
	Secret Secret `json:"secret,omitempty"`
	Send   bool   `json:"send"`   // sign with it; one key of a chain
	Accept bool   `json:"accept"` // take what is signed with it
}

// KeyChain is the keys of one kind of PDU. Without keys, nothing is signed
// and nothing verified.
type KeyChain struct {
	Keys []Key `json:"keys,omitempty"` // at most 16
	// SendOnly is the transition mode of RFC 5304 s2 and RFC 5310 s3.5: sign, and
	// take every PDU. What it lets in is counted (Counters.AuthTolerated).
	SendOnly bool `json:"sendOnly,omitempty"`
}

// Authentication is how PDUs are signed and verified. Hello is the link level
// authentication of ISO/IEC 10589, LSP the area authentication: of LSPs, CSNPs
// and PSNPs.
type Authentication struct {
	Hello KeyChain `json:"hello"`
	LSP   KeyChain `json:"lsp"`
}

// SetKeys replaces the keys. What does not validate is refused with a Notice
// and changes nothing. With a new key to sign with, the own LSPs are sent again
// at once and the rest as it falls due.
//
// The core has no wall clock: the owner of a key chain with life times sends
// SetKeys when one begins or ends. Hitless is this order: the new key becomes
// acceptable everywhere, then everybody signs with it, then the old one goes.
type SetKeys struct{ Authentication Authentication }

const (
	maxKeys   = 16
	maxSecret = 255
)

// Validate reports everything that cannot be meant, joined into one error. No
// error prints a secret.
func (a Authentication) Validate() error {
	return errors.Join(a.Hello.validate("hello"), a.LSP.validate("lsp"))
}

func (c KeyChain) validate(name string) error {
	var errs []error
	bad := func(format string, a ...any) { errs = append(errs, fmt.Errorf("spb: "+name+" keys: "+format, a...)) }
	if len(c.Keys) > maxKeys {
		bad("%d keys, at most %d", len(c.Keys), maxKeys)
	}
	ids := map[uint16]bool{}
	send, accept := 0, 0
	for _, k := range c.Keys {
		if ids[k.ID] {
			bad("key %d is given twice", k.ID)
		}
		ids[k.ID] = true
		if _, ok := authAlgorithms[k.Algorithm]; !ok {
			bad("key %d: %s is not known", k.ID, k.Algorithm)
		}
		if n := len(k.Secret); n < 1 || n > maxSecret {
			bad("key %d: a secret of %d octets, want 1 to %d", k.ID, n, maxSecret)
		}
		if k.Send {
			send++
		}
		if k.Accept {
			accept++
		}
	}
	if len(c.Keys) > 0 && send != 1 {
		bad("%d keys to sign with, want one", send)
	}
	if len(c.Keys) > 0 && accept == 0 && !c.SendOnly {
		bad("no key is acceptable, so nothing would be")
	}
	if len(c.Keys) == 0 && c.SendOnly {
		bad("nothing to sign with")
	}
	return errors.Join(errs...)
}

// withSecrets fills in empty secrets from earlier chains.
func (c KeyChain) withSecrets(earlier ...KeyChain) KeyChain {
	c.Keys = slices.Clone(c.Keys)
	for n := range c.Keys {
		k := &c.Keys[n]
		for _, e := range earlier {
			for _, o := range e.Keys {
				if len(k.Secret) == 0 && o.ID == k.ID && o.Algorithm == k.Algorithm {
					k.Secret = o.Secret
				}
			}
		}
		k.Secret = bytes.Clone(k.Secret)
	}
	return c
}

// withoutSecrets is for readers.
func (c KeyChain) withoutSecrets() KeyChain {
	c.Keys = slices.Clone(c.Keys)
	for n := range c.Keys {
		c.Keys[n].Secret = nil
	}
	return c
}

// Authentication tells which keys are in use, without their secrets.
func (i *Instance) Authentication() Authentication {
	return Authentication{Hello: i.auth.hello.chain.withoutSecrets(), LSP: i.auth.lsp.chain.withoutSecrets()}
}
