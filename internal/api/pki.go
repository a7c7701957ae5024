package api

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"time"
)

// Keys is a node's certificate and the CA that all nodes of a fabric trust.
type Keys struct {
	CA   *x509.CertPool
	Cert tls.Certificate
}

// LoadKeys reads the PEM files a daemon is configured with.
func LoadKeys(certFile, keyFile, caFile string) (*Keys, error) {
	cert, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return nil, fmt.Errorf("load keys: %w", err)
	}
	ca, err := os.ReadFile(caFile)
	if err != nil {
		return nil, fmt.Errorf("load keys: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(ca) {
		return nil, fmt.Errorf("load keys: %s holds no certificate", caFile)
	}
	return &Keys{CA: pool, Cert: cert}, nil
}

func (k *Keys) server() *tls.Config {
	return &tls.Config{
		MinVersion:   tls.VersionTLS13,
		Certificates: []tls.Certificate{k.Cert},
		ClientAuth:   tls.RequireAndVerifyClientCert,
		ClientCAs:    k.CA,
		NextProtos:   []string{"h2", "http/1.1"},
	}
}

func (k *Keys) client(node string) *tls.Config {
	return &tls.Config{
		MinVersion:   tls.VersionTLS13,
		Certificates: []tls.Certificate{k.Cert},
		RootCAs:      k.CA,
		ServerName:   node,
	}
}

// certName is the node a certificate is for.
func certName(c *x509.Certificate) string {
	if len(c.DNSNames) > 0 {
		return c.DNSNames[0]
	}
	return c.Subject.CommonName
}

// KeyFiles returns where CreatePKI puts a node's certificate and key, and the CA's certificate.
func KeyFiles(dir, node string) (cert, key, ca string) {
	return filepath.Join(dir, node+".pem"), filepath.Join(dir, node+"-key.pem"), filepath.Join(dir, "ca.pem")
}

// CreatePKI makes a CA in dir (ca.pem, ca-key.pem; kept if it is there) and a
// certificate and key for each node that has none: ECDSA P-256, ten years, for
// server and client. Keys are mode 0600. It is for labs and small fabrics:
// nothing is ever revoked.
func CreatePKI(dir string, nodes []string, now time.Time) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("create keys: %w", err)
	}
	ca, err := loadOrCreateCA(dir, now)
	if err != nil {
		return fmt.Errorf("create keys: %w", err)
	}
	for _, node := range nodes {
		certFile, keyFile, _ := KeyFiles(dir, node)
		if exists(certFile) && exists(keyFile) {
			continue
		}
		if err := ca.issue(node, certFile, keyFile, now); err != nil {
			return fmt.Errorf("create keys of %s: %w", node, err)
		}
	}
	return nil
}

type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func loadOrCreateCA(dir string, now time.Time) (*authority, error) {
	_, _, certFile := KeyFiles(dir, "")
	keyFile := filepath.Join(dir, "ca-key.pem")
	if exists(certFile) && exists(keyFile) {
		pair, err := tls.LoadX509KeyPair(certFile, keyFile)
		if err != nil {
			return nil, err
		}
		key, ok := pair.PrivateKey.(*ecdsa.PrivateKey)
		if !ok {
			return nil, fmt.Errorf("%s is not an ECDSA key", keyFile)
		}
		return &authority{pair.Leaf, key}, nil
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	t, err := template("tsnswitch fabric", now)
	if err != nil {
		return nil, err
	}
	t.IsCA, t.BasicConstraintsValid, t.MaxPathLenZero = true, true, true
	t.KeyUsage = x509.KeyUsageCertSign
	der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &authority{cert, key}, writePair(certFile, keyFile, der, key)
}

func (a *authority) issue(node, certFile, keyFile string, now time.Time) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	t, err := template(node, now)
	if err != nil {
		return err
	}
	t.DNSNames = []string{node}
	t.KeyUsage = x509.KeyUsageDigitalSignature
	t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	der, err := x509.CreateCertificate(rand.Reader, t, a.cert, key.Public(), a.key)
	if err != nil {
		return err
	}
	return writePair(certFile, keyFile, der, key)
}

// template is valid from the day before: nodes' clocks may differ.
func template(name string, now time.Time) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	return &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    now.Add(-24 * time.Hour),
		NotAfter:     now.AddDate(10, 0, 0),
	}, nil
}

// writePair writes the key first: a certificate that is there has its key.
func writePair(certFile, keyFile string, der []byte, key *ecdsa.PrivateKey) error {
	k, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	if err := os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: k}), 0o600); err != nil {
		return err
	}
	return os.WriteFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644)
}

func exists(file string) bool {
	_, err := os.Stat(file)
	return !errors.Is(err, fs.ErrNotExist)
}
