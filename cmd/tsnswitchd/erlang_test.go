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

	"tsnswitch/distlink/erldist"
	"tsnswitch/distlink/hidden"
	"tsnswitch/distlink/udplink"
	"tsnswitch/internal/kerneltest"
)

// An Erlang node reaches a daemon over both carriers, sees its status and its
// events, may not change anything without leave, and needs the cookie.
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
		conf := write(t, filepath.Join(dir, "d.yaml"), fmt.Sprintf(`name: clock
role: clock
ports: [{port: 1, ifname: eth0}]
gptp: {clock: {kind: virtual}}
metrics: {listen: "127.0.0.1:0"}
api: {socket: %s}
erlang: {name: tsnswitchd@127.0.0.1, cookieFile: %s, distlink: "127.0.0.1:4370", distlinkSecurity: none, tcp: "127.0.0.1:4370"}
`, filepath.Join(dir, "s"), cookie))
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
			t.Run(carrier, func(t *testing.T) { callDaemon(ctx, t, ns, carrier) })
		}
		refused := hidden.New(hidden.Config{Name: "x@127.0.0.1", Cookie: "other"})
		if _, _, err := refused.Connect(carrierTo(ctx, t, ns, "tcp")); err == nil || !strings.Contains(err.Error(), "cookie") {
			t.Errorf("error %v", err)
		}
	})
}

// carrierTo connects to the daemon as soon as it listens.
func carrierTo(ctx context.Context, t *testing.T, ns *kerneltest.NetNS, carrier string) (tr hidden.Transport) {
	t.Helper()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	var err error
	for ctx.Err() == nil {
		ns.Do(func() {
			if carrier == "distlink" {
				var l *udplink.Link
				if l, err = udplink.Dial(ctx, "127.0.0.1:4370", udplink.Config{Insecure: true}); err == nil {
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

func callDaemon(ctx context.Context, t *testing.T, ns *kerneltest.NetNS, carrier string) {
	n := hidden.New(hidden.Config{Name: carrier + "@127.0.0.1", Cookie: "secret"})
	defer n.Close()
	peer, _, err := n.Connect(carrierTo(ctx, t, ns, carrier))
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
