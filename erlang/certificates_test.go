package erlang_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"tsnswitch/distlink/beamtest"
	"tsnswitch/distlink/udplink"
)

// Both kinds of keys, a certificate with one between it and the authority, and a
// network that loses, duplicates and reorders.
func TestCertificates(t *testing.T) {
	beamtest.NeedPublicKey(t)
	ca := beamtest.NewAuthority(t, "ca", nil)
	between := beamtest.NewAuthority(t, "between", ca)
	port := beamtest.Port(t, addrA, addrB, addrRelay)
	name := "b@" + addrRelay
	beamtest.NewRelay(t, fmt.Sprintf("%s:%d", addrRelay, port), fmt.Sprintf("%s:%d", addrB, port),
		&beamtest.Relay{Loss: 0.02, Duplicate: 0.02, Reorder: 0.02, Late: 2 * time.Millisecond})
	cert, key := between.Issue(beamtest.P256(t), []string{"plant.lan", addrRelay}, nil, between)
	beamtest.Start(t, "distlink", name, port, sleep, "-distlink_ip", addrB, "-distlink_cert", cert, "-distlink_key", key, "-distlink_cacert", ca.File)
	a := beamtest.Start(t, "distlink", "a@"+addrA, port,
		fmt.Sprintf(`R = distlink_bench:check('%s'), {ok, #{security := certificate, forged := 0}} = distlink:stats('%s'), io:format("checked ~p~n", [R]), %s`, name, name, sleep),
		append(ca.Certificate(beamtest.Ed25519(t), ca, addrA), "-distlink_ip", addrA)...)
	checkLines(t, a)
}

// Another authority, another host, another kind of security: refused by either
// side, with words on who refuses and who is refused.
func TestCertificatesRefused(t *testing.T) {
	beamtest.NeedPublicKey(t)
	ca, other := beamtest.NewAuthority(t, "ca", nil), beamtest.NewAuthority(t, "other", nil)
	key := beamtest.P256(t)
	const addrC, addrD = "127.0.0.11", "127.0.0.12"
	port := beamtest.Port(t, addrA, addrB, addrC, addrD)
	start := func(name, ip string, args []string, peers ...string) *beamtest.Node {
		eval := sleep
		if len(peers) > 0 { // again and again: the log is not in time with what is printed
			eval = fmt.Sprintf(`F = fun F() -> io:format("~p~n", [[net_adm:ping(P) || P <- ['%s']]]), receive after 500 -> F() end end, F()`, strings.Join(peers, "','"))
		}
		return beamtest.Start(t, "distlink", name+"@"+ip, port, eval, append(args, "-distlink_ip", ip)...)
	}
	b := start("b", addrB, ca.Certificate(key, ca, addrB))
	c := start("c", addrC, ca.Certificate(key, ca, "plant.lan"))
	d := start("d", addrD, []string{"-distlink_psk", keyFile(t, keyOne)})
	for _, x := range []struct {
		args  []string
		peers string
		words []string // here
		there string   // at b
	}{
		{ca.Certificate(key, ca, "office.lan"), b.Name, []string{"not for " + addrA}, "not for " + addrA},
		{other.Certificate(key, ca, addrA), b.Name, []string{"unknown authority"}, "unknown authority"},
		{ca.Certificate(key, ca, addrA), c.Name + "','" + d.Name, []string{"not for " + addrC, "wants a pre-shared key"}, ""},
		{[]string{"-distlink_psk", keyFile(t, keyOne)}, b.Name, []string{"wants a certificate"}, ""},
	} {
		a := start("a", addrA, x.args, x.peers)
		if x.there != "" {
			b.Expect(x.there, patience)
		} else {
			for _, w := range x.words {
				a.Expect(w, patience)
			}
		}
		a.Expect("[pang", patience)
		a.Kill()
	}
}

// identities lets Erlang read certificates as they are given on the command line,
// and returns what it says of each: "ok" or the error.
func identities(t *testing.T, files [][3]string) []string {
	t.Helper()
	var list []string
	for _, f := range files {
		list = append(list, fmt.Sprintf("{%q,%q,%q}", f[0], f[1], f[2]))
	}
	return erlLines(t, beamtest.Stock, fmt.Sprintf(`[io:format("~ts~n", [try distlink_certificate:identity(F, any) of #{} -> "ok" catch error:E -> io_lib:format("~0p", [E]) end]) || F <- [%s]]`, strings.Join(list, ",")), len(files))
}

// erlLines runs Erlang without distribution and returns the lines it prints.
func erlLines(t *testing.T, erl beamtest.Erlang, eval string, n int) []string {
	t.Helper()
	out, err := exec.Command(string(erl), "-noshell", "-pa", beamtest.Code(t), "-eval", eval+", halt(0).").CombinedOutput()
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	if err != nil || len(lines) != n {
		t.Fatalf("%v\n%s", err, out)
	}
	return lines
}

// What a node thinks of a peer's certificates is what the Go package thinks.
func TestVerify(t *testing.T) {
	beamtest.NeedPublicKey(t)
	ca, other := beamtest.NewAuthority(t, "ca", nil), beamtest.NewAuthority(t, "ca", nil) // of one name
	between, ed, p256 := beamtest.NewAuthority(t, "between", ca), beamtest.Ed25519(t), beamtest.P256(t)
	node := ca.Node(p256, []string{"a.lan"})
	both, err := os.ReadFile(ca.File)
	if err != nil {
		t.Fatal(err)
	}
	more, err := os.ReadFile(other.File)
	if err != nil {
		t.Fatal(err)
	}
	two := filepath.Join(t.TempDir(), "two.pem")
	write(t, two, string(more)+string(both))
	a := []string{"a.lan", "10.0.0.1"}
	var evals, wants []string
	add := func(want, trusts, host string, by *beamtest.Authority, key crypto.Signer, hosts []string, change func(*x509.Certificate), chain ...*beamtest.Authority) {
		t.Helper()
		cert, _ := by.Issue(key, hosts, change, chain...)
		own, ownKey := ca.Issue(ed, nil, nil)
		go_, err := (&udplink.Certificates{Cert: own, Key: ownKey, CA: trusts}).Identity(host)
		if err != nil {
			t.Fatal(err)
		}
		content := []byte("content")
		ders, signature := beamtest.Sign(t, cert, key, content)
		if err := go_.Verify(ders, content, signature); (err == nil) != (want == "ok") || err != nil && want == "unknown authority" && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: Go says %v", want, err)
		}
		h := strconv.Quote(host)
		if host == "" {
			h = "any"
		}
		var list []string
		for _, d := range ders {
			list = append(list, fmt.Sprintf("binary:decode_hex(<<\"%x\">>)", d))
		}
		evals = append(evals, fmt.Sprintf(`{{%q,%q,%q},%s,[%s],binary:decode_hex(<<"%x">>)}`, own, ownKey, trusts, h, strings.Join(list, ","), signature))
		wants = append(wants, want)
	}
	at := func(from, to time.Duration) func(*x509.Certificate) {
		return func(c *x509.Certificate) { c.NotBefore, c.NotAfter = time.Now().Add(from), time.Now().Add(to) }
	}
	add("ok", ca.File, "", ca, ed, nil, nil)
	add("ok", ca.File, "a.lan", ca, ed, a, nil)
	add("ok", ca.File, "A.Lan", ca, p256, a, nil)
	add("ok", ca.File, "10.0.0.1", ca, p256, a, nil)
	add("ok", ca.File, "fd00::1", ca, p256, []string{"fd00::1"}, nil)
	add("not for fd00::2", ca.File, "fd00::2", ca, p256, []string{"fd00::1"}, nil)
	add("ok", ca.File, "x.plant.lan", ca, p256, []string{"*.plant.lan"}, nil)
	add("not for y.x.plant.lan", ca.File, "y.x.plant.lan", ca, p256, []string{"*.plant.lan"}, nil)
	add("ok", ca.File, "short", ca, p256, []string{"short"}, nil)
	add("ok", ca.File, "a.lan", between, p256, a, nil, between)
	add("ok", ca.File, "a.lan", between, p256, a, nil, between, ca)
	add("ok", ca.File, "a.lan", between, p256, a, nil, other, between)
	add("ok", between.File, "a.lan", between, p256, a, nil)
	add("ok", two, "a.lan", between, p256, a, nil, between)
	add("ok", two, "a.lan", other, p256, a, nil)
	add("unknown authority", ca.File, "a.lan", between, p256, a, nil)
	add("unknown authority", ca.File, "a.lan", other, p256, a, nil)
	add("unknown authority", other.File, "a.lan", ca, p256, a, nil)
	add("refused: ", ca.File, "a.lan", node, p256, a, nil, node)
	add("not for b.lan", ca.File, "b.lan", ca, p256, a, nil)
	add("not for 10.0.0.2", ca.File, "10.0.0.2", ca, p256, a, nil)
	add("not for node", ca.File, "node", ca, p256, nil, nil) // the common name is none
	add("expired at 20", ca.File, "a.lan", ca, p256, a, at(-time.Hour, -time.Minute))
	add("not valid before 20", ca.File, "a.lan", ca, p256, a, at(time.Hour, 2*time.Hour))
	add("refused: ", ca.File, "a.lan", ca, p256, a, func(c *x509.Certificate) {
		c.ExtraExtensions = []pkix.Extension{{Id: []int{1, 2, 3, 4}, Critical: true, Value: []byte{5, 0}}}
	})
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	add("signature is wrong", ca.File, "a.lan", ca, p384, a, nil)
	// The same with a signature too long, and with none.
	none := evals[1][:strings.LastIndex(evals[1], "<<")] + "<<>>)}"
	evals = append(evals, strings.Replace(evals[1], `">>)}`, `00">>)}`, 1), none)
	wants = append(wants, "signature is wrong", "signature is wrong")
	says := func(t *testing.T, erl beamtest.Erlang) {
		got := erlLines(t, erl, fmt.Sprintf(`[io:format("~ts~n", [case (maps:get(verify, distlink_certificate:identity(F, H)))(C, <<"content">>, S) of ok -> "ok"; {error, E} -> E end]) || {F, H, C, S} <- [%s]]`, strings.Join(evals, ",")), len(wants))
		for i, want := range wants {
			if !strings.Contains(got[i], want) || (want == "ok") != (got[i] == "ok") {
				t.Errorf("%d: %q, want %q", i, got[i], want)
			}
		}
	}
	t.Run("installed", func(t *testing.T) { says(t, beamtest.Stock) })
	t.Run("27", func(t *testing.T) { says(t, older(t)) })
}

// The commands of README.md make what a node takes.
func TestReadmeCertificates(t *testing.T) {
	beamtest.NeedPublicKey(t)
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Skip("openssl is not installed (Debian: apt-get install openssl)")
	}
	dir := t.TempDir()
	run(t, dir, nil, "sh", "-ec", readme(t, "openssl req -x509"))
	file := func(name string) string { return filepath.Join(dir, name) }
	if got := identities(t, [][3]string{{file("a.pem"), file("a.key"), file("ca.pem")}}); got[0] != "ok" {
		t.Error(got)
	}
	i, err := (&udplink.Certificates{Cert: file("a.pem"), Key: file("a.key"), CA: file("ca.pem")}).Identity("10.20.0.1")
	if err != nil {
		t.Fatal(err)
	}
	signature, err := i.Sign([]byte("x"))
	if err == nil {
		err = i.Verify(i.Chain, []byte("x"), signature)
	}
	if err != nil {
		t.Error(err)
	}
}

// What is wrong with the files is said at boot, by name.
func TestBadCertificates(t *testing.T) {
	beamtest.NeedPublicKey(t)
	ca := beamtest.NewAuthority(t, "ca", nil)
	key := beamtest.P256(t)
	good, goodKey := ca.Issue(key, []string{addrA}, nil)
	_, otherKey := ca.Issue(beamtest.P256(t), nil, nil)
	old, oldKey := ca.Issue(key, nil, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) })
	next, nextKey := ca.Issue(key, nil, func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Hour) })
	long, longKey := ca.Issue(key, nil, nil, ca, ca, ca, ca)
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	wide, wideKey := ca.Issue(p384, nil, nil)
	open, junk := filepath.Join(t.TempDir(), "open"), filepath.Join(t.TempDir(), "junk")
	b, err := os.ReadFile(goodKey)
	if err == nil {
		err = os.WriteFile(open, b, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	beamtest.WritePEM(t, junk, 0o600, "CERTIFICATE", []byte("junk"))
	nothing := filepath.Join(t.TempDir(), "nothing")
	cases := []struct{ want, cert, key, ca string }{
		{"ok", good, goodKey, ca.File},
		{`distlink_cert,"` + nothing + `",enoent`, nothing, goodKey, ca.File},
		{`distlink_key,"` + nothing + `",enoent`, good, nothing, ca.File},
		{`distlink_cacert,"` + nothing + `",enoent`, good, goodKey, nothing},
		{`distlink_cert,"` + goodKey + `","no certificate in PEM"`, goodKey, goodKey, ca.File},
		{`distlink_cacert,"` + goodKey + `","no certificate in PEM"`, good, goodKey, goodKey},
		{`distlink_cert,"` + junk + `","a certificate does not parse"`, junk, goodKey, ca.File},
		{`distlink_cacert,"` + junk + `","a certificate does not parse"`, good, goodKey, junk},
		{`distlink_key,"` + junk + `","no Ed25519 or ECDSA P-256 key in PEM`, good, junk, ca.File},
		{`distlink_key,"` + open + `","everybody may read`, good, open, ca.File},
		{`distlink_key,"` + otherKey + `","is not the key of the certificate in ` + good, good, otherKey, ca.File},
		{`distlink_cert,"` + wide + `","its key is neither`, wide, wideKey, ca.File},
		{`distlink_cert,"` + old + `","the certificate expired at `, old, oldKey, ca.File},
		{`distlink_cert,"` + next + `","the certificate is not valid before `, next, nextKey, ca.File},
		{`distlink_cert,"` + long + `","more than 4 certificates"`, long, longKey, ca.File},
	}
	var files [][3]string
	for _, c := range cases {
		files = append(files, [3]string{c.cert, c.key, c.ca})
	}
	for i, got := range identities(t, files) {
		if !strings.Contains(got, cases[i].want) {
			t.Errorf("%s is not said: %s", cases[i].want, got)
		}
	}
	for want, args := range map[string][]string{
		"expired at":     {"-distlink_cert", old, "-distlink_key", oldKey, "-distlink_cacert", ca.File},
		"are all wanted": {"-distlink_cert", good, "-distlink_key", goodKey},
		"one is wanted":  {"-distlink_cert", good, "-distlink_key", goodKey, "-distlink_cacert", ca.File, "-distlink_psk", keyFile(t, keyOne)},
	} {
		if out := beamtest.BootFails(t, "distlink", "a@"+addrA, beamtest.Port(t, addrA), append(args, "-distlink_ip", addrA)...); !strings.Contains(out, want) {
			t.Errorf("%s is not said:\n%s", want, out)
		}
	}
}

// Files are read for each connection: bad ones keep others out and the node goes
// on, new ones are taken.
func TestCertificateIsRenewed(t *testing.T) {
	beamtest.NeedPublicKey(t)
	ca := beamtest.NewAuthority(t, "ca", nil)
	port := beamtest.Port(t, addrA, addrB)
	cert, key := ca.Issue(beamtest.P256(t), []string{addrB}, nil)
	b := beamtest.Start(t, "distlink", "b@"+addrB, port, sleep, "-distlink_ip", addrB, "-distlink_cert", cert, "-distlink_key", key, "-distlink_cacert", ca.File)
	if err := os.WriteFile(cert, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	a := beamtest.Start(t, "distlink", "a@"+addrA, port,
		fmt.Sprintf(`W = fun W() -> case net_adm:ping('%[1]s') of pong -> io:format("then pong~n"); _ -> receive after 200 -> W() end end end, W(), %[2]s`, b.Name, sleep),
		append(ca.Certificate(beamtest.P256(t), ca, addrA), "-distlink_ip", addrA)...)
	a.Expect("cannot prove who it is", patience)
	newCert, newKey := ca.Issue(beamtest.Ed25519(t), []string{addrB}, nil)
	for from, to := range map[string]string{newCert: cert, newKey: key} {
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}
	a.Expect("then pong", patience)
}

// A release in embedded mode has what public_key needs in its boot script, and
// uses it while it boots.
func TestEmbeddedCertificates(t *testing.T) {
	beamtest.NeedPublicKey(t)
	boot := release(t, "crypto, asn1, public_key")
	ca := beamtest.NewAuthority(t, "ca", nil)
	port := beamtest.Port(t, addrA, addrB)
	embedded := func(ip string, args ...string) []string {
		return append(append(args, "-mode", "embedded", "-boot", boot, "-distlink_ip", ip), ca.Certificate(beamtest.P256(t), ca, ip)...)
	}
	b := beamtest.Start(t, "distlink", "b@"+addrB, port, sleep, embedded(addrB)...)
	a := beamtest.Start(t, "distlink", "a@"+addrA, port, fmt.Sprintf(`io:format("~p ~p ~p~n", [code:get_mode(), nodes(), maps:get(security, distlink:info('%s'))]), %s`, b.Name, sleep),
		embedded(addrA, "-kernel", "sync_nodes_mandatory", "["+"'"+b.Name+"']", "sync_nodes_timeout", "60000")...)
	if l := a.Expect("embedded", patience); l != "embedded ['"+b.Name+"'] certificate" {
		t.Error(l)
	}
	out := beamtest.BootFails(t, "distlink", "a@"+addrA, port, append(ca.Certificate(beamtest.P256(t), ca, addrA), "-mode", "embedded", "-boot", release(t, "crypto"), "-distlink_ip", addrA)...)
	if !strings.Contains(out, "needs the public_key application") {
		t.Error(out)
	}
}

// Nodes that are named by IPv6 addresses.
func TestCertificatesIPv6(t *testing.T) {
	beamtest.NeedPublicKey(t)
	needIPv6(t)
	ca := beamtest.NewAuthority(t, "ca", nil)
	port := beamtest.Port(t, "127.0.0.1")
	args := func(own int, other string, port int) []string {
		return append(ca.Certificate(beamtest.P256(t), ca, "::1"), "-distlink_ip", "::1", "-distlink_port", strconv.Itoa(own), "-distlink_nodes", fmt.Sprintf("%s@::1=[::1]:%d", other, port))
	}
	b := beamtest.Start(t, "distlink", "b@::1", port, sleep, args(port, "a", port+1)...)
	a := beamtest.Start(t, "distlink", "a@::1", port, fmt.Sprintf(`io:format("~p ~p~n", [net_adm:ping('%[1]s'), maps:get(security, distlink:info('%[1]s'))]), %[2]s`, b.Name, sleep), args(port+1, "b", port)...)
	a.Expect("pong certificate", patience)
}
