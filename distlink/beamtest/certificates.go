package beamtest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"os/exec"
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

// Certificate is the command line of a node with a certificate for hosts.
func (a *Authority) Certificate(key crypto.Signer, trusts *Authority, hosts ...string) []string {
	a.T.Helper()
	cert, file := a.Issue(key, hosts, nil)
	return []string{"-distlink_cert", cert, "-distlink_key", file, "-distlink_cacert", trusts.File}
}

// HasPublicKey reports whether Erlang has its public_key application.
func HasPublicKey(t testing.TB) bool {
	t.Helper()
	return exec.Command(string(Stock), "-noshell", "-eval", "crypto:info_lib(), {module, _} = code:ensure_loaded(public_key), {module, _} = code:ensure_loaded(asn1rt_nif), halt(0).").Run() == nil
}

// Sign signs content as the owner of a certificate does, with keys that nobody
// takes, too; chain are the certificates of the file.
func Sign(t testing.TB, certFile string, key crypto.Signer, content []byte) (chain [][]byte, signature []byte) {
	t.Helper()
	b, err := os.ReadFile(certFile)
	if err != nil {
		t.Fatal(err)
	}
	for block, rest := pem.Decode(b); block != nil; block, rest = pem.Decode(rest) {
		chain = append(chain, block.Bytes)
	}
	digest, hash := content, crypto.Hash(0)
	if _, ok := key.(*ecdsa.PrivateKey); ok {
		sum := sha256.Sum256(content)
		digest, hash = sum[:], crypto.SHA256
	}
	if signature, err = key.Sign(rand.Reader, digest, hash); err != nil {
		t.Fatal(err)
	}
	return chain, signature
}

// NeedPublicKey skips a test where Erlang, or its public_key application, is missing.
func NeedPublicKey(t testing.TB) {
	t.Helper()
	Code(t)
	if !HasPublicKey(t) {
		t.Skip("Erlang's public_key application is not installed (Debian: apt-get install erlang-public-key)")
	}
}
