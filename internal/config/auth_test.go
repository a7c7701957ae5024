package config

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tsnswitch/spb"
)

const authDoc = `role: bridge
name: b1
systemId: 02:00:00:00:00:01
ports:
  - {port: 1, ifname: p1, role: fabric}
spb:
  baseVids: [{vid: 100}]
  auth:
    keys:
      - {id: 2, secretFile: FILE, sendFrom: 2027-01-31T01:00:00+01:00}
      - {id: 1, algorithm: hmac-md5, secret: "xyzzy #1", sendUntil: 2027-02-01T00:00:00Z, acceptUntil: 2027-03-01T00:00:00Z}
    helloKeys: [{id: 3, algorithm: hmac-sha-512, secret: plugh}]
    sendOnly: true
`

func writeSecret(t *testing.T, content string, mode os.FileMode) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte(content), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(file, mode); err != nil { // whatever the umask
		t.Fatal(err)
	}
	return file
}

// loadAuth loads authDoc with a secret file in it.
func loadAuth(t *testing.T, secret string) (*Daemon, error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "d.yaml")
	if err := os.WriteFile(file, []byte(strings.Replace(authDoc, "FILE", secret, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	return LoadDaemon(file)
}

func TestAuth(t *testing.T) {
	file := writeSecret(t, "from a file\n", 0o600)
	c, err := loadAuth(t, file)
	if err != nil {
		t.Fatal(err)
	}
	at := func(m time.Month, d int) Time { return Time{time.Date(2027, m, d, 0, 0, 0, 0, time.UTC)} }
	want := Auth{
		Keys: []AuthKey{
			{ID: 2, Algorithm: spb.HMACSHA256, SecretFile: file, FromFile: "from a file", SendFrom: at(1, 31)},
			{ID: 1, Algorithm: spb.HMACMD5, Secret: "xyzzy #1", SendUntil: at(2, 1), AcceptUntil: at(3, 1)},
		},
		HelloKeys: []AuthKey{{ID: 3, Algorithm: spb.HMACSHA512, Secret: "plugh"}},
		SendOnly:  true,
	}
	if d := cmp.Diff(want, c.SPB.Auth, exact); d != "" {
		t.Error(d)
	}
	if string(c.SPB.Auth.Keys[0].Octets()) != "from a file" || string(c.SPB.Auth.Keys[1].Octets()) != "xyzzy #1" {
		t.Error("other secrets")
	}
	out, err := c.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	again, err := parseDaemon("again", out, true)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if d := cmp.Diff(c, again, exact); d != "" {
		t.Errorf("not the same after Marshal:\n%s", d)
	}
	if strings.Contains(string(out), "from a file") {
		t.Error("Marshal writes the secret of a file")
	}
}

// Hellos have the keys of LSPs unless they have their own.
func TestAuthChains(t *testing.T) {
	lsp, hello := []AuthKey{{ID: 1}}, []AuthKey{{ID: 2}}
	if h, l := (Auth{Keys: lsp}).Chains(); h[0].ID != 1 || l[0].ID != 1 {
		t.Error("one list is not for both")
	}
	if h, l := (Auth{Keys: lsp, HelloKeys: hello}).Chains(); h[0].ID != 2 || l[0].ID != 1 {
		t.Error("two lists are mixed up")
	}
}

// A secret file that others may read, that is missing, empty or too long, is an
// error at its line.
func TestSecretFiles(t *testing.T) {
	for name, c := range map[string]struct{ file, want string }{
		"readable":  {writeSecret(t, "x", 0o644), "chmod 0600"},
		"missing":   {filepath.Join(t.TempDir(), "none"), "no such file"},
		"empty":     {writeSecret(t, "\n", 0o600), "no secret"},
		"long":      {writeSecret(t, strings.Repeat("x", 256), 0o600), "no secret"},
		"directory": {t.TempDir(), "directory"},
	} {
		_, err := loadAuth(t, c.file)
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "d.yaml:10: spb.auth.keys[0].secretFile") {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, content := range []string{strings.Repeat("x", 255) + "\r\n", " with space \n"} {
		c, err := loadAuth(t, writeSecret(t, content, 0o640))
		if err != nil {
			t.Fatal(err)
		}
		if want := strings.TrimRight(content, "\r\n"); string(c.SPB.Auth.Keys[0].Octets()) != want {
			t.Errorf("%q was read as %q", content, c.SPB.Auth.Keys[0].Octets())
		}
	}
}

// No error and no printed configuration shows a secret, wherever it was put.
func TestSecretsAreNotPrinted(t *testing.T) {
	for _, doc := range []string{
		`auth: {keys: [{id: 1, algorithm: quartz, secret: xyzzy}]}`,
		`auth: {keys: [{id: 1, secret: xyzzy, secretFile: f}]}`,
		`auth: {keys: [{id: 1, secret: {a: xyzzy}}]}`,
		`auth: {keys: [xyzzy]}`,
		`auth: {keys: xyzzy}`,
		`auth: xyzzy`,
		`auth: {keys: [{id: 1, secret: ` + strings.Repeat("xyzzy", 60) + `}]}`,
	} {
		_, err := ParseDaemon("d", []byte(strings.Replace(minimal, "{baseVids", "{"+doc+", baseVids", 1)))
		if err == nil || strings.Contains(err.Error(), "xyzzy") {
			t.Errorf("%s: %v", doc, err)
		}
	}
	c, err := loadAuth(t, writeSecret(t, "abracadabra", 0o600))
	if err != nil {
		t.Fatal(err)
	}
	j, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{fmt.Sprintf("%v %+v %#v", *c, *c, *c), string(j)} {
		for _, secret := range []string{"xyzzy", "plugh", "abracadabra"} {
			if strings.Contains(s, secret) {
				t.Errorf("%s is in %s", secret, s)
			}
		}
	}
}

// A network's keys are those of every bridge, and of no host.
func TestNetworkAuth(t *testing.T) {
	n, err := ParseNetwork("n", []byte("nodes: [{name: b1}, {name: b2}, {name: A, kind: host}]\nlinks: [{a: b1, b: b2}, {a: b1, b: A}]\n"+
		"fabric: {auth: {keys: [{id: 4, secret: xyzzy}]}}\n"))
	if err != nil {
		t.Fatal(err)
	}
	checkNetwork(t, n)
	for name, want := range map[string]int{"b1": 1, "b2": 1, "A": 0} {
		c, err := n.DaemonConfig(name, Dirs{Keys: "/k"})
		if err != nil {
			t.Fatal(err)
		}
		if k := c.SPB.Auth.Keys; len(k) != want || (want == 1 && string(k[0].Octets()) != "xyzzy") {
			t.Errorf("%s has %d keys", name, len(k))
		}
	}
	_, err = ParseNetwork("n", []byte("nodes: [{name: b1}]\nlinks: []\nfabric: {auth: {keys: [xyzzy]}}\n"))
	if err == nil || strings.Contains(err.Error(), "xyzzy") {
		t.Errorf("%v", err)
	}
}
