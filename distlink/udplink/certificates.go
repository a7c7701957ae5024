package udplink

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"tsnswitch/distlink"
)

// Certificates are PEM files. They are read for each connection, so that they
// can be renewed while there are others.
type Certificates struct {
	Cert string // this side's, and behind it those between it and the authority
	Key  string // of the first: Ed25519 or ECDSA P-256, PKCS #8 or SEC 1; nobody else may read the file
	CA   string // authorities whose peers are trusted
}

// Identity reads the files. The peer's certificate has to be for host, a name or
// an address; an empty host takes any.
func (c *Certificates) Identity(host string) (*distlink.Identity, error) {
	chain, leaf, err := readChain(c.Cert)
	if err != nil {
		return nil, err
	}
	key, err := readKey(c.Key)
	if err != nil {
		return nil, err
	}
	if public, ok := leaf.PublicKey.(interface{ Equal(crypto.PublicKey) bool }); !ok || !public.Equal(key.Public()) {
		return nil, fmt.Errorf("distlink key %s: is not that of the certificate in %s", c.Key, c.Cert)
	}
	if err := inTime(leaf, time.Now()); err != nil {
		return nil, fmt.Errorf("distlink certificate %s: %w", c.Cert, err)
	}
	pem, err := os.ReadFile(c.CA)
	if err != nil {
		return nil, fmt.Errorf("distlink authorities: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("distlink authorities %s: no certificate in PEM", c.CA)
	}
	i := &distlink.Identity{
		Chain: chain,
		Sign:  func(content []byte) ([]byte, error) { return sign(key, content) },
		Verify: func(chain [][]byte, content, signature []byte) error {
			return verify(chain, content, signature, roots, host, time.Now())
		},
	}
	if err := i.Valid(); err != nil {
		return nil, fmt.Errorf("distlink certificate %s: %w", c.Cert, err)
	}
	return i, nil
}

func readChain(file string) (chain [][]byte, leaf *x509.Certificate, err error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, nil, fmt.Errorf("distlink certificate: %w", err)
	}
	for block, rest := pem.Decode(b); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == "CERTIFICATE" {
			chain = append(chain, block.Bytes)
		}
	}
	if len(chain) == 0 {
		return nil, nil, fmt.Errorf("distlink certificate %s: no certificate in PEM", file)
	}
	if leaf, err = x509.ParseCertificate(chain[0]); err != nil {
		return nil, nil, fmt.Errorf("distlink certificate %s: %w", file, err)
	}
	return chain, leaf, nil
}

func readKey(file string) (crypto.Signer, error) {
	info, err := os.Stat(file)
	if err != nil {
		return nil, fmt.Errorf("distlink key: %w", err)
	}
	if p := info.Mode().Perm(); info.Mode().IsRegular() && p&0o007 != 0 {
		return nil, fmt.Errorf("distlink key %s: everybody may read or write it (mode %04o): chmod 0600", file, p)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("distlink key: %w", err)
	}
	var parsed any = nil
	for block, rest := pem.Decode(b); block != nil && parsed == nil; block, rest = pem.Decode(rest) {
		switch block.Type {
		case "PRIVATE KEY":
			parsed, err = x509.ParsePKCS8PrivateKey(block.Bytes)
		case "EC PRIVATE KEY":
			parsed, err = x509.ParseECPrivateKey(block.Bytes)
		}
		if err != nil { // not told: it would print parts of the key
			return nil, fmt.Errorf("distlink key %s: does not parse", file)
		}
	}
	if key, ok := parsed.(crypto.Signer); ok && usable(key.Public()) {
		return key, nil
	}
	return nil, fmt.Errorf("distlink key %s: no Ed25519 or ECDSA P-256 key in PEM, without a password", file)
}

// usable says whether a public key is of a kind that signs here.
func usable(key any) bool {
	switch k := key.(type) {
	case ed25519.PublicKey:
		return true
	case *ecdsa.PublicKey:
		return k.Curve == elliptic.P256()
	}
	return false
}

func sign(key crypto.Signer, content []byte) ([]byte, error) {
	if _, ok := key.(ed25519.PrivateKey); ok {
		return key.Sign(rand.Reader, content, crypto.Hash(0))
	}
	sum := sha256.Sum256(content)
	return key.Sign(rand.Reader, sum[:], crypto.SHA256)
}

// verify is short with words: the peer gets 100 octets of them.
func verify(chain [][]byte, content, signature []byte, roots *x509.CertPool, host string, now time.Time) error {
	leaf, err := x509.ParseCertificate(chain[0])
	if err != nil {
		return errors.New("the certificate does not parse")
	}
	between := x509.NewCertPool()
	for _, b := range chain[1:] {
		c, err := x509.ParseCertificate(b)
		if err != nil {
			return errors.New("a certificate of the chain does not parse")
		}
		between.AddCert(c)
	}
	if err := inTime(leaf, now); err != nil {
		return err
	}
	_, err = leaf.Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: between, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	})
	if unknown := (x509.UnknownAuthorityError{}); errors.As(err, &unknown) {
		return errors.New("the certificate is of an unknown authority")
	} else if err != nil {
		return err
	}
	if host != "" {
		if err := isFor(leaf, host); err != nil {
			return err
		}
	}
	if !signedBy(leaf.PublicKey, content, signature) {
		return errors.New("the signature is wrong")
	}
	return nil
}

func inTime(c *x509.Certificate, now time.Time) error {
	switch {
	case now.After(c.NotAfter):
		return errors.New("the certificate expired at " + c.NotAfter.UTC().Format(time.RFC3339))
	case now.Before(c.NotBefore):
		return errors.New("the certificate is not valid before " + c.NotBefore.UTC().Format(time.RFC3339))
	}
	return nil
}

// isFor checks the host that a certificate is for.
func isFor(c *x509.Certificate, host string) error {
	if c.VerifyHostname(host) == nil {
		return nil
	}
	names := c.DNSNames
	for _, ip := range c.IPAddresses {
		names = append(names, ip.String())
	}
	if len(names) == 0 {
		return errors.New("the certificate is for no host (subjectAltName), not for " + host)
	}
	return errors.New("the certificate is for " + strings.Join(names, ", ") + ", not for " + host)
}

func signedBy(key any, content, signature []byte) bool {
	switch k := key.(type) {
	case ed25519.PublicKey:
		return ed25519.Verify(k, content, signature)
	case *ecdsa.PublicKey:
		sum := sha256.Sum256(content)
		return k.Curve == elliptic.P256() && ecdsa.VerifyASN1(k, sum[:], signature)
	}
	return false
}

// PeerCertificate is that of the peer, which has proved that it has its key; nil
// without certificates.
func (l *Link) PeerCertificate() *x509.Certificate {
	l.mu.Lock()
	defer l.mu.Unlock()
	chain := l.conn.Peer()
	if len(chain) == 0 {
		return nil
	}
	c, _ := x509.ParseCertificate(bytes.Clone(chain[0])) // it did when it was verified
	return c
}

// VerifyHost checks that the peer's certificate is for host, where there are
// certificates: who accepts a link learns only later whose it wants to be.
func (l *Link) VerifyHost(host string) error {
	if c := l.PeerCertificate(); c != nil {
		return isFor(c, host)
	}
	return nil
}
