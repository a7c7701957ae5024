package udplink_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	tsn "tsnswitch"
	"tsnswitch/distlink"
	"tsnswitch/distlink/beamtest"
	"tsnswitch/distlink/udplink"
)

// with is a configuration of an authority's certificate for hosts.
func with(a *beamtest.Authority, key crypto.Signer, trusts *beamtest.Authority, hosts []string, change func(*x509.Certificate), between ...*beamtest.Authority) udplink.Config {
	cert, keyFile := a.Issue(key, hosts, change, between...)
	return udplink.Config{Certificates: &udplink.Certificates{Cert: cert, Key: keyFile, CA: trusts.File}}
}

func listen(t *testing.T, cfg udplink.Config) *udplink.Listener {
	t.Helper()
	l, err := udplink.Listen(within(t), "127.0.0.1:0", cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// Either kind of key, a chain with one between, a name instead of the address:
// both sides know who the other is.
func TestCertificates(t *testing.T) {
	ca := beamtest.NewAuthority(t, "ca", nil)
	between := beamtest.NewAuthority(t, "between", ca)
	server := with(between, beamtest.P256(t), ca, []string{"127.0.0.1", "plant.lan"}, nil, between)
	l := listen(t, server)
	client := with(ca, beamtest.Ed25519(t), ca, []string{"office.lan"}, nil)
	for _, host := range []string{"", "plant.lan"} {
		client.Host = host
		c, err := udplink.Dial(within(t), l.Addr().String(), client)
		if err != nil {
			t.Fatal(err)
		}
		s, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Send(distlink.Message{Stream: 2, Data: []byte("hello")}); err != nil {
			t.Fatal(err)
		}
		if m, err := s.Recv(); err != nil || string(m.Data) != "hello" {
			t.Fatalf("%q, %v", m.Data, err)
		}
		if s.Stats().Security != distlink.SecurityCertificate || s.PeerCertificate().DNSNames[0] != "office.lan" || c.PeerCertificate().DNSNames[0] != "plant.lan" {
			t.Errorf("%+v: %v and %v", s.Stats(), s.PeerCertificate(), c.PeerCertificate())
		}
		if err := s.VerifyHost("OFFICE.lan"); err != nil {
			t.Error(err)
		}
		if err := s.VerifyHost("other.lan"); err == nil || !strings.Contains(err.Error(), "is for office.lan, not for other.lan") {
			t.Error(err)
		}
		_ = c.Close()
	}
}

// Each side refuses what it must, and both hear the reason.
func TestCertificatesRefused(t *testing.T) {
	ca, other := beamtest.NewAuthority(t, "ca", nil), beamtest.NewAuthority(t, "other", nil)
	here := []string{"127.0.0.1"}
	between := beamtest.NewAuthority(t, "between", ca)
	node := ca.Node(beamtest.Ed25519(t), here) // and then signs what it must not
	good := with(ca, beamtest.Ed25519(t), ca, here, nil)
	for _, c := range []struct {
		why            string
		client, server udplink.Config
	}{
		{"unknown authority", good, with(other, beamtest.P256(t), ca, here, nil)},
		{"unknown authority", with(other, beamtest.P256(t), ca, here, nil), good},
		{"unknown authority", with(between, beamtest.P256(t), ca, here, nil), good}, // what is between is missing
		{"unknown authority", with(node, beamtest.P256(t), ca, here, nil, node), good},
		{"is for 127.0.0.9, not for 127.0.0.1", good, with(ca, beamtest.P256(t), ca, []string{"127.0.0.9"}, nil)},
		{"is for no host", good, with(ca, beamtest.P256(t), ca, nil, nil)},
		{"unhandled critical extension", with(ca, beamtest.P256(t), ca, here, func(c *x509.Certificate) {
			c.ExtraExtensions = []pkix.Extension{{Id: []int{1, 2, 3, 4}, Critical: true, Value: []byte{5, 0}}}
		}), good},
	} {
		l := listen(t, c.server)
		_, err := udplink.Dial(within(t), l.Addr().String(), c.client)
		var down *udplink.DownError
		if !errors.As(err, &down) || down.Code != distlink.CodeSecurity || !strings.Contains(down.Text, c.why) {
			t.Errorf("%s: %v", c.why, err)
		}
	}
}

// A certificate that expires after the start is refused from then on; one that is
// renewed is taken without a new start.
func TestCertificateIsRenewed(t *testing.T) {
	ca := beamtest.NewAuthority(t, "ca", nil)
	here := []string{"127.0.0.1"}
	server, client := with(ca, beamtest.P256(t), ca, here, nil), with(ca, beamtest.P256(t), ca, here, nil)
	l := listen(t, server)
	replace := func(change func(*x509.Certificate)) {
		cert, key := ca.Issue(beamtest.P256(t), here, change)
		for from, to := range map[string]string{cert: server.Certificates.Cert, key: server.Certificates.Key} {
			if err := os.Rename(from, to); err != nil {
				t.Fatal(err)
			}
		}
	}
	dial := func() error {
		c, err := udplink.Dial(within(t), l.Addr().String(), client)
		if err == nil {
			_ = c.Close()
		}
		return err
	}
	replace(func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) })
	if err := dial(); err == nil || !strings.Contains(err.Error(), "cannot prove who it is") {
		t.Error(err)
	}
	replace(nil)
	if err := dial(); err != nil {
		t.Error(err)
	}
}

// What is wrong with the files is said when they are given.
func TestBadCertificateFiles(t *testing.T) {
	ca := beamtest.NewAuthority(t, "ca", nil)
	good, key := ca.Issue(beamtest.P256(t), []string{"a"}, nil)
	_, otherKey := ca.Issue(beamtest.P256(t), nil, nil)
	old, oldKey := ca.Issue(beamtest.P256(t), nil, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) })
	next, nextKey := ca.Issue(beamtest.P256(t), nil, func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Minute) })
	long, longKey := ca.Issue(beamtest.P256(t), nil, nil, ca, ca, ca, ca)
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	wide, wideKey := ca.Issue(p384, nil, nil)
	r, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	rsaCert, rsaKey := ca.Issue(r, nil, nil)
	open := filepath.Join(t.TempDir(), "open")
	b, err := os.ReadFile(key)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(open, b, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(good, 0o600); err != nil { // it is used as a key, too
		t.Fatal(err)
	}
	for _, c := range []struct{ want, cert, key, ca string }{
		{"certificate: open nothing", "nothing", key, ca.File},
		{"key: stat nothing", good, "nothing", ca.File},
		{"authorities: open nothing", good, key, "nothing"},
		{key + ": no certificate in PEM", key, key, ca.File},
		{key + ": no certificate in PEM", good, key, key},
		{good + ": no Ed25519 or ECDSA P-256 key", good, good, ca.File},
		{wideKey + ": no Ed25519 or ECDSA P-256 key", wide, wideKey, ca.File},
		{rsaKey + ": no Ed25519 or ECDSA P-256 key", rsaCert, rsaKey, ca.File},
		{otherKey + ": is not that of the certificate in " + good, good, otherKey, ca.File},
		{open + ": everybody may read", good, open, ca.File},
		{old + ": the certificate expired", old, oldKey, ca.File},
		{next + ": the certificate is not valid before", next, nextKey, ca.File},
		{long + ": 5 certificates, at most 4", long, longKey, ca.File},
	} {
		_, err := udplink.Listen(within(t), "127.0.0.1:0", udplink.Config{Certificates: &udplink.Certificates{Cert: c.cert, Key: c.key, CA: c.ca}})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v", c.want, err)
		}
	}
}

// Strangers that do the set-up and then nothing cannot fill the listener: above
// a number they are refused, and they go by themselves.
func TestStrangersAreBounded(t *testing.T) {
	ca := beamtest.NewAuthority(t, "ca", nil)
	cfg := with(ca, beamtest.P256(t), ca, []string{"127.0.0.1"}, nil)
	cfg.SetupTimeout = 5e9
	l := listen(t, cfg)
	for start := time.Now(); stranger(t, "127.0.0.1", l.Addr().String(), cfg) != distlink.TypeRefuse; { // the first may be gone before the last is there
		if time.Since(start) > 2*time.Minute {
			t.Fatal("none is refused")
		}
	}
	if got := l.Stats(); got.Full != 1 || got.Accepted < 64 {
		t.Errorf("%+v", got)
	}
	if stranger(t, "127.0.0.5", l.Addr().String(), cfg) != distlink.TypeAccept {
		t.Error("one address keeps others out")
	}
	for start := time.Now(); ; { // then there is room again
		c, err := udplink.Dial(within(t), l.Addr().String(), cfg)
		if err == nil {
			_ = c.Close()
			return
		}
		if time.Since(start) > time.Minute {
			t.Fatal(err)
		}
	}
}

// stranger does a set-up from an address and goes away; it returns what answered the INIT.
func stranger(t *testing.T, from, address string, cfg udplink.Config) distlink.PacketType {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.UDPAddr{IP: net.ParseIP(from)}}
	nc, err := d.Dial("udp4", address)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	_ = nc.SetDeadline(time.Now().Add(time.Minute))
	core := cfg.Config
	core.Identity = func() (*distlink.Identity, error) { return cfg.Certificates.Identity("") }
	at := tsn.Instant(1)
	c := distlink.NewClient(core, func(b []byte) { _, _ = rand.Read(b) })
	effects := c.Step(at, tsn.Timeout{})
	buf := make([]byte, 2000)
	for {
		for _, e := range effects {
			if e, ok := e.(distlink.Transmit); ok {
				if _, err := nc.Write(e.Data); err != nil {
					t.Fatal(err)
				}
			}
		}
		n, err := nc.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		p, _, err := distlink.ParsePacket(buf[:n])
		if err != nil {
			t.Fatal(err)
		}
		if p.Type != distlink.TypeRetry {
			return p.Type
		}
		at++
		effects = c.Step(at, distlink.Datagram{Data: buf[:n]})
	}
}
