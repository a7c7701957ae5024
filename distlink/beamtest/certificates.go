package beamtest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Authority makes certificates for tests.
type Authority struct {
	Cert *x509.Certificate
	Key  crypto.Signer
	File string // of Cert, in PEM
	T    testing.TB
}

// NewAuthority makes one; by is who signs it, nil: it does itself.
func NewAuthority(t testing.TB, name string, by *Authority) *Authority {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	a := &Authority{Key: key, T: t, File: filepath.Join(t.TempDir(), name+".pem")}
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	if by == nil {
		by = &Authority{Cert: template, Key: key, T: t}
	}
	a.Cert = by.sign(template, key.Public())
	WritePEM(t, a.File, 0o644, "CERTIFICATE", a.Cert.Raw)
	return a
}

func (a *Authority) sign(template *x509.Certificate, key crypto.PublicKey) *x509.Certificate {
	a.T.Helper()
	template.SerialNumber = big.NewInt(time.Now().UnixNano())
	der, err := x509.CreateCertificate(rand.Reader, template, a.Cert, key, a.Key)
	if err != nil {
		a.T.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		a.T.Fatal(err)
	}
	return c
}

// Ed25519 and P256 make keys for Issue.
func Ed25519(t testing.TB) crypto.Signer {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// P256 makes an ECDSA key.
func P256(t testing.TB) crypto.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// Issue makes a certificate for hosts, names or addresses, and returns the files
// of it and its key. Change, if not nil, edits it before it is signed; between
// are put behind it.
func (a *Authority) Issue(key crypto.Signer, hosts []string, change func(*x509.Certificate), between ...*Authority) (certFile, keyFile string) {
	a.T.Helper()
	ders := [][]byte{a.node(key, hosts, change).Raw}
	for _, b := range between {
		ders = append(ders, b.Cert.Raw)
	}
	dir := a.T.TempDir()
	certFile, keyFile = filepath.Join(dir, "node.pem"), filepath.Join(dir, "node.key")
	WritePEM(a.T, certFile, 0o644, "CERTIFICATE", ders...)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.T.Fatal(err)
	}
	WritePEM(a.T, keyFile, 0o600, "PRIVATE KEY", der)
	return certFile, keyFile
}

// Node is a node that plays authority with its certificate for hosts.
func (a *Authority) Node(key crypto.Signer, hosts []string) *Authority {
	return &Authority{Cert: a.node(key, hosts, nil), Key: key, T: a.T}
}

func (a *Authority) node(key crypto.Signer, hosts []string, change func(*x509.Certificate)) *x509.Certificate {
	a.T.Helper()
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: "node"}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		NotBefore:   time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, h)
		}
	}
	if change != nil {
		change(template)
	}
	return a.sign(template, key.Public())
}

// WritePEM writes blocks of a type.
func WritePEM(t testing.TB, file string, mode os.FileMode, kind string, ders ...[]byte) {
	t.Helper()
	var b []byte
	for _, d := range ders {
		b = append(b, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: d})...)
	}
	if err := os.WriteFile(file, b, mode); err != nil {
		t.Fatal(err)
	}
}
