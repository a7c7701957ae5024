package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tsnswitch/distlink/beamtest"
	"tsnswitch/distlink/erldist"
	"tsnswitch/distlink/hidden"
	"tsnswitch/distlink/udplink"
	"tsnswitch/internal/kerneltest"
)

// An Erlang node reaches a daemon over both carriers, sees its status and its
// events, may not change anything without leave, and needs the cookie. With
// distlink both show certificates.
func TestErlang(t *testing.T) {
	kerneltest.Run(t, kerneltest.Needs{}, func(t *testing.T) {
		ns := kerneltest.NewNetNS(t)
		kerneltest.VethPair(t, 1, kerneltest.End{NS: ns, Name: "eth0"}, kerneltest.End{NS: kerneltest.NewNetNS(t), Name: "eth0"})
		lo, err := ns.Netlink().LinkByName("lo")
		if err == nil {
			err = ns.Netlink().LinkSetUp(lo)
		}
		if err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		cookie := filepath.Join(dir, "cookie")
		if err := os.WriteFile(cookie, []byte("secret\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		files := certificates(beamtest.NewAuthority(t, "ca", nil))
		conf := write(t, filepath.Join(dir, "d.yaml"), fmt.Sprintf(`name: clock
role: clock
ports: [{port: 1, ifname: eth0}]
gptp: {clock: {kind: virtual}}
metrics: {listen: "127.0.0.1:0"}
api: {socket: %s}
erlang: {name: tsnswitchd@127.0.0.1, cookieFile: %s, distlink: "127.0.0.1:4370", distlinkCertificate: {cert: %s, key: %s, ca: %s}, tcp: "127.0.0.1:4370"}
`, filepath.Join(dir, "s"), cookie, files.Cert, files.Key, files.CA))
		cmd := command(t, "--config", conf)
		var log bytes.Buffer
		cmd.Stderr = &log
		ns.Do(func() { err = cmd.Start() })
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			_ = cmd.Process.Signal(os.Interrupt)
			if err := cmd.Wait(); err != nil || t.Failed() {
				t.Errorf("the daemon ended: %v\n%s", err, log.String())
			}
		}()
		ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
		defer cancel()
		for _, carrier := range []string{"tcp", "distlink"} {
			t.Run(carrier, func(t *testing.T) { callDaemon(ctx, t, ns, carrier, files) })
		}
		refused := hidden.New(hidden.Config{Name: "x@127.0.0.1", Cookie: "other"})
		if _, _, err := refused.Connect(carrierTo(ctx, t, ns, "tcp", nil)); err == nil || !strings.Contains(err.Error(), "cookie") {
			t.Errorf("error %v", err)
		}
	})
}

func certificates(ca *beamtest.Authority) *udplink.Certificates {
	cert, key := ca.Issue(beamtest.Ed25519(ca.T), []string{"127.0.0.1"}, nil)
	return &udplink.Certificates{Cert: cert, Key: key, CA: ca.File}
}

// carrierTo connects to the daemon as soon as it listens.
func carrierTo(ctx context.Context, t *testing.T, ns *kerneltest.NetNS, carrier string, files *udplink.Certificates) (tr hidden.Transport) {
	t.Helper()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	var err error
	for ctx.Err() == nil {
		ns.Do(func() {
			if carrier == "distlink" {
				var l *udplink.Link
				if l, err = udplink.Dial(ctx, "127.0.0.1:4370", udplink.Config{Certificates: files}); err == nil {
					tr = hidden.OverDistlink(l)
				}
				return
			}
			var c net.Conn
			if c, err = net.Dial("tcp", "127.0.0.1:4370"); err == nil {
				tr = hidden.OverTCP(c, true)
			}
		})
		if err == nil {
			return tr
		}
		<-again.C
	}
	t.Fatal(err)
	return nil
}

func callDaemon(ctx context.Context, t *testing.T, ns *kerneltest.NetNS, carrier string, files *udplink.Certificates) {
	n := hidden.New(hidden.Config{Name: carrier + "@127.0.0.1", Cookie: "secret"})
	defer n.Close()
	peer, _, err := n.Connect(carrierTo(ctx, t, ns, carrier, files))
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Ping(ctx, peer); err != nil {
		t.Error(err)
	}
	for _, c := range []struct{ method, want string }{
		{"get_status", `<<"role">> => <<"clock">>`},
		{"get_dist", fmt.Sprintf(`<<"peer">> => <<"%s@127.0.0.1">>`, carrier)},
		{"add_stream", "erlang.write is not set"},
	} {
		got, err := n.Call(ctx, "tsnswitchd", peer, erldist.Tuple{erldist.Atom(c.method), erldist.Map{}})
		if err != nil || !strings.Contains(erldist.Format(got), c.want) {
			t.Errorf("%s: %s, %v", c.method, erldist.Format(got), err)
		}
	}
}
