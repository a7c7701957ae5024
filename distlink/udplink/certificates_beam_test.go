package udplink_test

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"tsnswitch/distlink"
	"tsnswitch/distlink/beamtest"
	"tsnswitch/distlink/udplink"
)

// The Go node and a BEAM node show each other certificates, whoever connects, and
// each refuses the other where it must: with the same words as among their own.
func TestCertificatesWithBEAM(t *testing.T) {
	beamtest.NeedPublicKey(t)
	ca, other := beamtest.NewAuthority(t, "ca", nil), beamtest.NewAuthority(t, "other", nil)
	between := beamtest.NewAuthority(t, "between", ca)
	port := beamtest.Port(t, "127.0.0.2", "127.0.0.9")
	b := beamtest.Start(t, "distlink", "b@127.0.0.2", port, echoServer, append(ca.Certificate(beamtest.P256(t), ca, "127.0.0.2", "plant.lan"), "-distlink_ip", "127.0.0.2")...)
	b.Expect("ready", patience)
	address := fmt.Sprintf("127.0.0.2:%d", port)

	good := with(between, beamtest.Ed25519(t), ca, []string{"127.0.0.9"}, nil, between)
	link, err := udplink.Dial(within(t), address, good)
	if err != nil {
		t.Fatal(err)
	}
	peer, err := gonode.Connect(transport{link})
	if err != nil || peer.Name != b.Name || link.PeerCertificate().DNSNames[0] != "plant.lan" {
		t.Fatalf("%+v %v", peer, err)
	}
	_ = link.Close()

	elsewhere := good
	elsewhere.Host = "127.0.0.3"
	old := good
	old.Certificates, old.Identity = nil, func() (*distlink.Identity, error) { return expired(t, ca) }
	for _, c := range []struct {
		why    string
		config udplink.Config
	}{
		{"not for 127.0.0.3", elsewhere},
		{"the certificate expired at", old},
		{"unknown authority", with(other, beamtest.P256(t), ca, []string{"127.0.0.9"}, nil)},
		{"unknown authority", with(ca, beamtest.P256(t), other, []string{"127.0.0.9"}, nil)},
		{"wants a certificate", udplink.Config{Insecure: true}},
	} {
		_, err := udplink.Dial(within(t), address, c.config)
		var down *udplink.DownError
		if !errors.As(err, &down) || down.Code != distlink.CodeSecurity || !strings.Contains(down.Text, c.why) {
			t.Errorf("%s: %v", c.why, err)
		}
	}
	// A certificate of another host than that of the name is refused when it says the name.
	link, err = udplink.Dial(within(t), address, with(ca, beamtest.P256(t), ca, []string{"127.0.0.8"}, nil))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := gonode.Connect(transport{link}); err == nil {
		t.Error("a node has another's name")
	}
	b.Expect("not for 127.0.0.9", patience)

	// And the BEAM node connects.
	l, err := udplink.Listen(within(t), fmt.Sprintf("127.0.0.9:%d", port), good)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	a := beamtest.Start(t, "distlink", "a@127.0.0.1", port, `true = net_kernel:connect_node('go@127.0.0.9'), io:format("connected~n"), receive after infinity -> ok end`,
		append(ca.Certificate(beamtest.P256(t), ca, "127.0.0.1"), "-distlink_ip", "127.0.0.1")...)
	context.AfterFunc(within(t), func() { _ = l.Close() })
	link, err = l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if peer, err = gonode.Accept(transport{link}); err != nil || peer.Name != a.Name {
		t.Fatalf("peer %q, %v", peer.Name, err)
	}
	if err := link.VerifyHost("127.0.0.1"); err != nil {
		t.Error(err)
	}
	a.Expect("connected", patience)
}

// expired is an identity that is out of date and does not know.
func expired(t *testing.T, ca *beamtest.Authority) (*distlink.Identity, error) {
	key := beamtest.P256(t)
	cert, _ := ca.Issue(key, nil, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) })
	chain, _ := beamtest.Sign(t, cert, key, nil)
	return &distlink.Identity{
		Chain: chain,
		Sign: func(content []byte) ([]byte, error) {
			_, signature := beamtest.Sign(t, cert, key, content)
			return signature, nil
		},
		Verify: func([][]byte, []byte, []byte) error { return nil },
	}, nil
}

// Strangers that do the set-up and then nothing cannot fill a BEAM node either.
func TestStrangersAreBoundedByBEAM(t *testing.T) {
	beamtest.NeedPublicKey(t)
	ca := beamtest.NewAuthority(t, "ca", nil)
	port := beamtest.Port(t, "127.0.0.2")
	b := beamtest.Start(t, "distlink", "b@127.0.0.2", port, echoServer, append(ca.Certificate(beamtest.P256(t), ca, "127.0.0.2"), "-distlink_ip", "127.0.0.2", "-kernel", "net_setuptime", "120")...)
	b.Expect("ready", patience)
	cfg := with(ca, beamtest.P256(t), ca, []string{"127.0.0.9"}, nil)
	address := fmt.Sprintf("127.0.0.2:%d", port)
	for i := range 65 {
		if got := stranger(t, "127.0.0.1", address, cfg); (got == distlink.TypeRefuse) != (i == 64) {
			t.Fatalf("stranger %d is answered by a packet of type %d", i, got)
		}
	}
	if stranger(t, "127.0.0.5", address, cfg) != distlink.TypeAccept {
		t.Error("one address keeps others out")
	}
}
