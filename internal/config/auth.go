package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"tsnswitch/spb"
)

// Auth is the HMAC authentication of IS-IS (RFC 5304, RFC 5310). Without keys
// there is none.
type Auth struct {
	// Keys are those of LSPs and SNPs, HelloKeys those of hellos (default: Keys).
	// The first in the list that may be sent signs.
	Keys      []AuthKey `yaml:"keys,omitempty"`
	HelloKeys []AuthKey `yaml:"helloKeys,omitempty"`
	// SendOnly signs and takes everything: for the time in which not every
	// bridge has keys yet.
	SendOnly bool `yaml:"sendOnly,omitempty"`
}

// Chains returns the keys of hellos and those of LSPs and SNPs.
func (a Auth) Chains() (hello, lsp []AuthKey) {
	if len(a.HelloKeys) > 0 {
		return a.HelloKeys, a.Keys
	}
	return a.Keys, a.Keys
}

// AuthKey is one key with its secret: inline, or the contents of a file less
// the newline at its end. A time that is not set is no limit.
type AuthKey struct {
	ID          uint16            `yaml:"id"`
	Algorithm   spb.AuthAlgorithm `yaml:"algorithm"`
	Secret      Secret            `yaml:"secret,omitempty"`
	SecretFile  string            `yaml:"secretFile,omitempty"`
	SendFrom    Time              `yaml:"sendFrom,omitempty"`
	SendUntil   Time              `yaml:"sendUntil,omitempty"`
	AcceptFrom  Time              `yaml:"acceptFrom,omitempty"`
	AcceptUntil Time              `yaml:"acceptUntil,omitempty"`

	FromFile Secret `yaml:"-"` // read by LoadDaemon
}

func (k *AuthKey) setDefaults() { k.Algorithm = spb.HMACSHA256 }

// Octets returns the secret; nothing if it is in a file that was not read.
func (k AuthKey) Octets() []byte {
	if k.SecretFile != "" {
		return []byte(k.FromFile)
	}
	return []byte(k.Secret)
}

// Secret prints as (secret), so that it is in no log. YAML has it whole:
// Marshal writes what ParseDaemon reads.
type Secret string

// Format prints (secret) whatever the verb.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "(secret)") }

// MarshalJSON writes (secret).
func (s Secret) MarshalJSON() ([]byte, error) { return []byte(`"(secret)"`), nil }

// Time is a point of UTC, written as 2027-01-31T00:00:00Z.
type Time struct{ time.Time }

// MarshalText writes what UnmarshalText reads.
func (t Time) MarshalText() ([]byte, error) { return []byte(t.Format(time.RFC3339)), nil }

// UnmarshalText parses RFC 3339, with any offset.
func (t *Time) UnmarshalText(b []byte) error {
	v, err := time.Parse(time.RFC3339, string(b))
	if err != nil {
		return fmt.Errorf("%q is not a time; write it like 2027-01-31T00:00:00Z", b)
	}
	t.Time = v.UTC()
	return nil
}

// limits of a key chain, and of a secret in octets; the core has the same.
const (
	maxAuthKeys = 16
	maxSecret   = 255
)

func (a Auth) check(d *document, key string) {
	checkKeys(d, key+".keys", a.Keys)
	checkKeys(d, key+".helloKeys", a.HelloKeys)
	if a.SendOnly && len(a.Keys)+len(a.HelloKeys) == 0 {
		d.bad(key+".sendOnly", "needs keys to send with")
	}
}

func checkKeys(d *document, key string, keys []AuthKey) {
	within(d, key, len(keys), 0, maxAuthKeys)
	ids := map[uint16]string{}
	for n, k := range keys {
		at := fmt.Sprintf("%s[%d]", key, n)
		if k.ID == 0 {
			d.bad(at+".id", "is missing or 0; a number in 1..65535 that all bridges know the key by")
		} else {
			unique(d, ids, at+".id", k.ID)
		}
		switch {
		case k.Secret != "" && k.SecretFile != "":
			d.bad(at, "secret and secretFile are both given; one is wanted")
		case k.Secret == "" && k.SecretFile == "":
			d.bad(at, "has no secret; give secret or secretFile")
		default:
			within(d, at+".secret", len(k.Secret), 0, maxSecret)
		}
		k.checkTimes(d, at)
	}
}

// checkTimes wants a key acceptable for at least as long as it is sent: what one
// bridge signs with it is what another has to take.
func (k AuthKey) checkTimes(d *document, at string) {
	end := func(t Time) time.Time { // no limit is later than any
		if t.IsZero() {
			return time.Unix(1<<40, 0)
		}
		return t.Time
	}
	if !k.SendFrom.Before(end(k.SendUntil)) {
		d.bad(at+".sendUntil", "is not after sendFrom")
	}
	if !k.AcceptFrom.Before(end(k.AcceptUntil)) {
		d.bad(at+".acceptUntil", "is not after acceptFrom")
	}
	if k.AcceptFrom.After(k.SendFrom.Time) {
		d.bad(at+".acceptFrom", "is after sendFrom: neighbours would be refused what this key signs")
	}
	if end(k.AcceptUntil).Before(end(k.SendUntil)) {
		d.bad(at+".acceptUntil", "is before sendUntil: neighbours would be refused what this key signs")
	}
}

// readSecrets reads the secret files.
func (a *Auth) readSecrets(d *document) {
	for name, keys := range map[string][]AuthKey{"spb.auth.keys": a.Keys, "spb.auth.helloKeys": a.HelloKeys} {
		for n := range keys {
			if k := &keys[n]; k.SecretFile != "" {
				secret, err := readSecret(k.SecretFile)
				if err != nil {
					d.bad(fmt.Sprintf("%s[%d].secretFile", name, n), "%v", err)
				}
				k.FromFile = secret
			}
		}
	}
}

func readSecret(file string) (Secret, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	if info.Mode().IsRegular() && info.Mode().Perm()&0o007 != 0 {
		return "", fmt.Errorf("%s: everybody may read or write it (mode %04o): chmod 0600", file, info.Mode().Perm())
	}
	b, err := io.ReadAll(io.LimitReader(f, maxSecret+3))
	if err != nil {
		return "", err
	}
	s := strings.TrimSuffix(strings.TrimSuffix(string(b), "\n"), "\r")
	if len(s) < 1 || len(s) > maxSecret {
		return "", errors.New(file + ": holds no secret of 1 to 255 octets")
	}
	return Secret(s), nil
}
