package config

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"tsnswitch"
)

var update = flag.Bool("update", false, "rewrite golden files")

var exact = cmp.Options{cmpopts.EquateComparable(Prefix{}, Addr{}, AddrPort{}), cmpopts.EquateEmpty()}

func golden(t *testing.T, file string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), string(got)); d != "" {
		t.Errorf("%s (-want +got; -update rewrites it):\n%s", file, d)
	}
}

// The reference file is valid and complete, and says the defaults truly.
func TestReference(t *testing.T) {
	data, err := os.ReadFile("reference.yaml")
	if err != nil {
		t.Fatal(err)
	}
	c, err := ParseDaemon("reference.yaml", data)
	if err != nil {
		t.Fatal(err)
	}
	def := DefaultDaemon()
	got := *c
	got.SPB.BaseVIDs, got.SPB.Services = nil, nil
	got.SRP.StreamVID, got.SRP.Classes, got.QBV.Filters = 0, nil, ""
	for _, s := range []struct {
		name      string
		want, got any
	}{
		{"log", def.Log, got.Log},
		{"spb", def.SPB, got.SPB},
		{"gptp", def.GPTP, got.GPTP},
		{"qbv", def.QBV, got.QBV},
		{"srp", def.SRP, got.SRP},
		{"stateDir", def.StateDir, got.StateDir},
		{"socket", def.API.Socket, got.API.Socket},
		{"metrics", def.Metrics, got.Metrics},
	} {
		if d := cmp.Diff(s.want, s.got, exact); d != "" {
			t.Errorf("%s: the reference's value is not the default (-default +reference):\n%s", s.name, d)
		}
	}
	text := string(data)
	for _, key := range keysOf(reflect.TypeFor[Daemon]()) {
		if !strings.Contains(text, " "+key+":") && !strings.Contains(text, "\n"+key+":") {
			t.Errorf("%s is not in the reference", key)
		}
	}
}

func keysOf(t reflect.Type) []string {
	for t.Kind() == reflect.Slice || t.Kind() == reflect.Pointer || t.Kind() == reflect.Map {
		t = t.Elem()
	}
	var keys []string
	if t.Kind() != reflect.Struct || t.PkgPath() != reflect.TypeFor[Daemon]().PkgPath() {
		return nil
	}
	for i := range t.NumField() {
		if tag, _, _ := strings.Cut(t.Field(i).Tag.Get("yaml"), ","); tag != "" && tag != "-" {
			keys = append(append(keys, tag), keysOf(t.Field(i).Type)...)
		}
	}
	return keys
}

func TestDaemonRoundTrip(t *testing.T) {
	c, err := LoadDaemon("reference.yaml")
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	again, err := ParseDaemon("again", out)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if d := cmp.Diff(c, again, exact); d != "" {
		t.Error(d)
	}
}

const minimal = `role: bridge
name: b1
systemId: 02:00:00:00:00:01
ports:
  - {port: 1, ifname: p1, role: fabric}
spb: {baseVids: [{vid: 100}]}
`

func TestDaemonDefaults(t *testing.T) {
	c, err := ParseDaemon("d", []byte(minimal))
	if err != nil {
		t.Fatal(err)
	}
	want := DefaultDaemon()
	want.Role, want.Name, want.SystemID = RoleBridge, "b1", tsn.MAC{2, 0, 0, 0, 0, 1}
	want.Bridge.Name = "br0"
	want.SPB.BaseVIDs = []BaseVID{{100, 1}}
	want.Ports = []Port{{Port: 1, Ifname: "p1", Role: "fabric", Metric: 100, GateLimit: 256, GPTP: PortGPTP{Enabled: true}}}
	if d := cmp.Diff(&want, c, exact); d != "" {
		t.Error(d)
	}
	if !c.Ports[0].IsLocked() || c.Ports[0].PortRole() != tsn.RoleFabric {
		t.Error("a fabric port is locked unless told otherwise")
	}
}

// The whole file of a bridge that only reserves streams, on plain interfaces.
func TestWithoutSPB(t *testing.T) {
	c, err := ParseDaemon("d", []byte(`role: bridge
name: b1
ports: [{port: 1, ifname: p1}, {port: 2, ifname: p2}]
spb: {enabled: false}
gptp: {enabled: false}
srp: {msrp: true}
`))
	if err != nil {
		t.Fatal(err)
	}
	if c.HasFabric() || c.Bridge.Name != "" || c.Ports[1].Role != "edge" || !c.SRP.MSRP {
		t.Errorf("%+v", c)
	}
}

// Each document is wrong; what is said of it is in testdata/errors.txt.
func TestErrors(t *testing.T) {
	daemon := []struct{ name, doc string }{
		{"empty", ""},
		{"not yaml", "role: [bridge\n"},
		{"a list", "- 1\n"},
		{"unknown keys", minimal + "colour: blue\nlog: {levle: info}\n"},
		{"twice", minimal + "name: b2\n"},
		{"no value", minimal + "log:\n"},
		{"anchor", strings.Replace(minimal, "name: b1", "name: &x b1", 1)},
		{"wrong kinds", minimal + "log: text\nsrp: {maxStreams: [1], maxGroups: many}\nqbv: {offload: {a: 1}}\n"},
		{"units", minimal + "gptp: {gateOffsetBound: 1, clock: {ppm: fast, steer: yes}}\nqbv: {guardOctets: 1k}\nmetrics: {listen: 9464}\nmanagement: {vid: 99999, address: 10.0.0.1}\n"},
		{"ranges", minimal + "gptp: {gateOffsetBound: 2s, clock: {ppm: 501, kind: quartz}}\nqbv: {leadTime: 1ms, offload: some}\nlog: {level: loud}\nsrp: {shares: {sr: 101}}\n"},
		{"who runs the gates", strings.Replace(minimal, "  - {port: 1, ifname: p1, role: fabric}\n", `  - {port: 1, ifname: p1, role: fabric, offload: some, launchDelta: 1us}
  - {port: 2, ifname: p2, role: fabric, offload: full, maxSdu: [20000B, 0B, 0B, 0B, 0B, 0B]}
  - {port: 3, ifname: p3, role: fabric, offload: txtime-assist, launchDelta: 1s, preemption: {classes: [0, 0, 4, 7], verifyTime: 1500us, addFragSize: 4}}
`, 1)},
		{"missing", "log: {level: info}\n"},
		{"management off the fabric", minimal + "management: {vid: 7, address: 10.0.0.1/24}\n"},
		{"listen without keys", minimal + "api: {listen: '127.0.0.1:1'}\n"},
		{"half the keys", minimal + "api: {tls: {cert: a}}\n"},
		{"ports", strings.Replace(minimal, "  - {port: 1, ifname: p1, role: fabric}\n", `  - {port: 1, ifname: p1, role: fabric, pvid: 3}
  - {port: 1, ifname: p1, role: end-station, metric: 0, untagged: true}
  - port: 4096
    ifname: a/b
    role: edge
    rate: 100
    tagged: [100, 100, 5000]
    stations: [{mac: 01:00:00:00:00:01}, {mac: 02:00:00:00:01:01}, {mac: 02:00:00:00:01:01, name: "a b"}]
`, 1)},
		{"end station", strings.Replace(minimal, "role: bridge", "role: end-station\nbridge: {name: br0}", 1)},
		{"spb", strings.Replace(minimal, "spb: {baseVids: [{vid: 100}]}", `  - {port: 2, ifname: p2, role: edge}
  - {port: 3, ifname: p3, role: fabric, guard: false, echo: {interval: 100us, multiplier: 1}}
  - {port: 4, ifname: p4, role: edge, echo: {interval: 10ms}}
spb:
  area: 49.0001
  areas: [49.0002, "49", 490002, xyz, ""]
  baseVids: [{vid: 100, ect: 17}]
  strict: maybe
  overloadReason: `+strings.Repeat("why ", 60)+`
  overloadOnStart: 2h
  spSourceId: 0x100000
  services:
    - {isid: 255, vid: 101, receive: false, ports: [1, 2]}
    - {isid: 4096, vid: 100, ports: [1, 2, 9]}
    - {isid: 4096, vid: 100}
  edgeGuard: {interval: 1ms, fastInterval: 1us, listenProbes: 0, holdIntervals: 101}`, 1)},
		{"keys", strings.Replace(minimal, "{baseVids", `{auth: {sendOnly: true, keys: [
  {secret: a}, {id: 70000, secret: a}, {id: 1, algorithm: sha, secret: a}, {id: 1}, {id: 2, secret: a, secretFile: b},
  {id: 3, secret: a, sendFrom: 2027-02-01T00:00:00Z, sendUntil: 2027-01-01T00:00:00Z},
  {id: 4, secret: a, acceptUntil: 2027-01-01T00:00:00Z},
  {id: 5, secret: a, acceptFrom: 2027-01-01T00:00:00Z, acceptUntil: 2026-01-01T00:00:00Z},
  {id: 6, secret: a, sendFrom: tomorrow}]}, baseVids`, 1)},
		{"no keys to send with", strings.Replace(minimal, "{baseVids", "{auth: {sendOnly: true}, baseVids", 1)},
		{"gptp", minimal + `gptp:
  domain: 5
  priority1: 0
  minorVersion: 16
  externalPortConfiguration: true
  domains: [{domain: 5}, {domain: 128}]
  hotStandby: {primary: 5, secondary: 7}
  syncInterval: 100ms
  pdelayInterval: 1ns
  allowedFaults: 0
  realtime: 100
  clock: {kind: system, drift: 1}
`},
		{"gptp of ports", strings.Replace(minimal, "role: fabric}", `role: fabric, gptp: {desiredState: slave, delayAsymmetry: 1s}}
  - {port: 2, ifname: p2, role: edge, gptp: {desiredState: {0: slave, 20: boss, 9: master, x: master}}}
  - {port: 3, ifname: p3, role: fabric, gptp: {desiredState: ""}}`, 1) + "gptp: {domains: [{domain: 20}], externalPortConfiguration: true}\n"},
		{"clock", "role: clock\nname: c1\nports: [{port: 1, ifname: eth0, role: edge}]\nbridge: {name: br0}\nmanagement: {vid: 1, address: 10.0.0.1/24}\ngptp: {enabled: false}\n"},
		{"srp: classes", minimal + "srp: {msrp: true, classes: [{class: A, priority: 3, vid: 5, interval: 1ns}, {class: A, priority: 6, vid: 100, interval: 125us}, {class: C, priority: 3, vid: 0, interval: 125us}]}\n"},
		{"srp: default classes", minimal + "srp: {msrp: true}\n"},
		{"srp: timers", minimal + "srp: {timers: {profile: fast, join: 400ms, leave: 700ms, leaveAll: 700ms, periodic: 1us}}\n"},
		{"srp: registrations", "role: bridge\nname: b1\nsystemId: 02:00:00:00:00:01\nports:\n- {port: 1, ifname: p1, role: fabric, mvrp: {restricted: true}, mmrp: {filter: true}}\n- {port: 2, ifname: p2, role: edge, pvid: 100, mvrp: {forbidden: [100, 5, 5, 4095], silent: [0]}}\nspb: {baseVids: [{vid: 100}]}\nsrp: {mvrp: true, maxVlans: 0, maxMmrpGroups: 5000}\n"},
		{"srp: registrations of a clock", "role: clock\nname: c1\nports: [{port: 1, ifname: p1}]\nsrp: {mvrp: true, mmrp: true}\n"},
		{"srp: pruning", minimal + "srp: {msrp: true, talkerPruning: true, talkerVlanPruning: true, maxTalkers: 600}\n"},
		{"srp: of a clock", "role: clock\nname: c1\nports: [{port: 1, ifname: p1}]\nsrp: {msrp: true}\n"},
		{"without spb", "role: bridge\nname: b1\nports: [{port: 1, ifname: p1, role: fabric}, {port: 2, ifname: p2, pvid: 5, learn: true, stations: [{mac: 02:00:00:00:00:05}]}]\nspb: {enabled: false}\nmanagement: {vid: 4, address: 10.0.0.1/24}\n"},
		{"virtual clock steered", minimal + "gptp: {clock: {steer: true}}\n"},
	}
	network := []struct{ name, doc string }{
		{"network: unknown nodes", "nodes: [{name: b1}]\nlinks: [{a: b1, b: b2}, {a: b1, b: b1}]\ngptp: {grandMaster: x, clocks: {y: {ppm: 1}}}\nlab: {cut: a-b}\n"},
		{"network: ends", "nodes: [{name: b1}, {name: b2}]\nlinks: [{a: 'b1:1', b: 'b2:0'}, {a: 'b1:1', b: 'b2:x'}]\n"},
		{"network: port twice", "nodes: [{name: b1}, {name: b2}]\nlinks: [{a: 'b1:1', b: b2}, {a: 'b1:1', b: b2}]\n"},
		{"network: hosts", "nodes: [{name: b1}, {name: A, kind: host}, {name: A, kind: router}]\nlinks: []\n"},
		{"network: streams", "nodes: [{name: b1}, {name: A, kind: host}, {name: B, kind: host}]\nlinks: [{a: b1, b: A}, {a: b1, b: B}]\n" +
			"streams:\n  - {name: s, from: A, to: b1, every: 1ms, size: 100B}\n  - {name: s, from: A, to: B, size: 100B}\n  - {name: t, from: A, to: B, every: 1ms}\n"},
		{"network: a stream that cannot be", "nodes: [{name: b1}, {name: A, kind: host}, {name: B, kind: host}]\nlinks: [{a: b1, b: A}, {a: b1, b: B}]\n" +
			"streams:\n  - {name: s, from: A, to: B, every: 2s, size: 20B, pcp: 9}\n"},
		{"network: keys", "nodes: [{name: b1}]\nlinks: []\nfabric: {auth: {sendOnly: true, keys: [{id: 1}]}}\n"},
		{"network: fabric", "nodes: [{name: b1}]\nlinks: []\nfabric: {baseVids: [{vid: 100}, {vid: 100}], dataNet: 10.0.0.1/16, managementNet: 10.0.0.0/32}\n"},
	}
	var out bytes.Buffer
	note := func(name string, err error) {
		var errs Errors
		if !errors.As(err, &errs) {
			t.Errorf("%s: got %v", name, err)
		}
		fmt.Fprintf(&out, "== %s\n%v\n", name, err)
	}
	for _, c := range daemon {
		_, err := ParseDaemon("d.yaml", []byte(c.doc))
		note(c.name, err)
	}
	for _, c := range network {
		_, err := ParseNetwork("n.yaml", []byte(c.doc))
		note(c.name, err)
	}
	golden(t, "testdata/errors.txt", out.Bytes())
}

func TestErrorsAreBounded(t *testing.T) {
	_, err := ParseDaemon("d", []byte(minimal+strings.Repeat("- x\n", 3)+"\n"))
	if err == nil {
		t.Error("accepted")
	}
	var many strings.Builder
	for i := range 100 {
		fmt.Fprintf(&many, "k%d: 1\n", i)
	}
	_, err = ParseDaemon("d", []byte(minimal+many.String()))
	if n := strings.Count(err.Error(), "\n"); n != maxReported || !strings.HasSuffix(err.Error(), "and 80 more") {
		t.Errorf("%d lines, ends %q", n, err.Error()[max(0, len(err.Error())-20):])
	}
	if _, err := ParseDaemon("d", make([]byte, maxDocument+1)); err == nil {
		t.Error("a huge file was read")
	}
}

// The lab's networks are valid, resolve the same way each time, and give every
// node a configuration that its daemon accepts.
func TestLabNetworks(t *testing.T) {
	files, err := filepath.Glob("../../lab/*.yaml")
	if err != nil || len(files) < 2 {
		t.Fatalf("%v, %v", files, err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			n, err := LoadNetwork(file)
			if err != nil {
				t.Fatal(err)
			}
			checkNetwork(t, n)
			for _, s := range n.TSNStreams() {
				if err := s.Validate(); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

type fataler interface {
	Fatalf(string, ...any)
}

// checkNetwork checks the laws of any network: it survives YAML, and so does
// each daemon made of it.
func checkNetwork(t fataler, n *Network) {
	out, err := n.Marshal()
	if err != nil {
		t.Fatalf("marshal: %v", err)
	}
	again, err := ParseNetwork("again", out)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if d := cmp.Diff(n, again, exact); d != "" {
		t.Fatalf("the network changed:\n%s", d)
	}
	if err := n.Validate(); err != nil {
		t.Fatalf("%v", err)
	}
	for _, x := range n.Nodes {
		if !slices.ContainsFunc(n.Links, func(l Link) bool { return l.A.Node == x.Name || l.B.Node == x.Name }) {
			continue // no port, no daemon
		}
		c, err := n.DaemonConfig(x.Name, Dirs{Keys: "/k"})
		if err != nil {
			t.Fatalf("%v", err)
		}
		out, err := c.Marshal()
		if err != nil {
			t.Fatalf("marshal: %v", err)
		}
		again, err := ParseDaemon(x.Name, out)
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		if d := cmp.Diff(c, again, exact); d != "" {
			t.Fatalf("the daemon changed:\n%s", d)
		}
	}
}

// What the lab's daemons of ring4 run with, for a reader's eye.
func TestGeneratedDaemons(t *testing.T) {
	n, err := LoadNetwork("../../lab/ring4.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, node := range []string{"b1", "A"} {
		c, err := n.DaemonConfig(node, Dirs{Run: "/run/lab", State: "/var/lib/lab", Keys: "/etc/lab"})
		if err != nil {
			t.Fatal(err)
		}
		out, err := c.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		golden(t, "testdata/ring4-"+node+".yaml", out)
	}
	if _, err := n.DaemonConfig("b9", Dirs{}); err == nil {
		t.Error("made a daemon of a node that is not there")
	}
}

// Any graph of bridges with hosts resolves to distinct ports, ids and
// addresses, whatever the document leaves out.
func TestNetworkProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		bridges := rapid.IntRange(1, 12).Draw(t, "bridges")
		hosts := rapid.IntRange(0, 5).Draw(t, "hosts")
		links := rapid.IntRange(0, 20).Draw(t, "links")
		var doc strings.Builder
		doc.WriteString("nodes:\n")
		for i := range bridges {
			fmt.Fprintf(&doc, "  - {name: b%d}\n", i)
		}
		for i := range hosts {
			fmt.Fprintf(&doc, "  - {name: h%d, kind: host}\n", i)
		}
		doc.WriteString("links:\n")
		if bridges < 2 {
			links = 0
		}
		if links+hosts == 0 {
			doc.Reset()
			doc.WriteString("nodes: [{name: b0}]\nlinks: []\n")
		}
		for range links {
			a := rapid.IntRange(0, bridges-1).Draw(t, "a")
			b := (a + rapid.IntRange(1, bridges-1).Draw(t, "b")) % bridges
			fmt.Fprintf(&doc, "  - {a: b%d, b: b%d}\n", a, b)
		}
		for i := range hosts {
			fmt.Fprintf(&doc, "  - {a: h%d, b: b%d}\n", i, rapid.IntRange(0, bridges-1).Draw(t, "at"))
		}
		n, err := ParseNetwork("n", []byte(doc.String()))
		if err != nil {
			t.Fatalf("%v\n%s", err, doc.String())
		}
		seen := map[End]bool{}
		for _, l := range n.Links {
			for _, e := range []End{l.A, l.B} {
				if e.Port == tsn.NoPort || seen[e] {
					t.Fatalf("port %v", e)
				}
				seen[e] = true
			}
		}
		checkNetwork(t, n)
	})
}

func TestUnits(t *testing.T) {
	for text, want := range map[string]Rate{"64k": 64, "100M": 100_000, "1G": 1_000_000, "2.5G": 2_500_000, "0.5M": 500} {
		var r Rate
		if err := r.UnmarshalText([]byte(text)); err != nil || r != want {
			t.Errorf("%s: %d, %v", text, r, err)
		}
	}
	for _, text := range []string{"", "M", "100", "-1M", "0k", "0.0001k", "1e99G", "NaNk", "100 M", "1T"} {
		var r Rate
		if err := r.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q is a rate of %d", text, r)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		r := Rate(rapid.Uint64Range(1, 1e12).Draw(t, "rate"))
		d := Duration(rapid.Int64().Draw(t, "duration"))
		s := Size(rapid.Uint32().Draw(t, "size"))
		var r2 Rate
		var d2 Duration
		var s2 Size
		if err := errors.Join(r2.UnmarshalText([]byte(r.String())), d2.UnmarshalText([]byte(d.String())), s2.UnmarshalText([]byte(s.String()))); err != nil {
			t.Fatal(err)
		}
		if r2 != r || d2 != d || s2 != s {
			t.Fatalf("%v %v, %v %v, %v %v", r, r2, d, d2, s, s2)
		}
	})
}

// A document, however strange, gives errors or a value that survives YAML.
func FuzzDaemon(f *testing.F) {
	ref, _ := os.ReadFile("reference.yaml")
	f.Add(ref)
	f.Add([]byte(minimal))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := ParseDaemon("f", data)
		if err != nil {
			return
		}
		out, err := c.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ParseDaemon("g", out); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	})
}

func FuzzNetwork(f *testing.F) {
	for _, file := range []string{"ring4", "line3"} {
		data, _ := os.ReadFile("../../lab/" + file + ".yaml")
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		n, err := ParseNetwork("f", data)
		if err != nil || len(n.Nodes) > 20 {
			return
		}
		checkNetwork(t, n)
	})
}
