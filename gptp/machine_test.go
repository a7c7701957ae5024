package gptp

import (
	"bytes"
	"encoding/json"
	"flag"
	"hash/fnv"
	"os"
	"path/filepath"
	"strings"
	"testing"

	tsn "tsnswitch"
	"tsnswitch/gptp/ptpmsg"
)

var update = flag.Bool("update", false, "rewrite the files in testdata")

var _ tsn.Machine = (*System)(nil)

// Two nodes from link up to synchronized, as text: testdata/startup.trace.
func TestTraceOfStartUp(t *testing.T) {
	s := newSim(t, 13)
	s.trace = &strings.Builder{}
	n := s.chain(2, nil)
	n[0].hardware().clock(1000*second, 50)
	n[1].hardware().clock(0, -50)
	s.run(1700 * millisecond)
	golden(t, "startup.trace", s.trace.String())
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v (write it with go test -run %s -update)", err, t.Name())
	}
	g, w := strings.Split(got, "\n"), strings.Split(string(want), "\n")
	for i := range max(len(g), len(w)) {
		if i >= len(g) || i >= len(w) || g[i] != w[i] {
			t.Fatalf("%s differs from line %d on (rewrite with -update if that is meant)\ngot  %q\nwant %q",
				path, i+1, at(g, i), at(w, i))
		}
	}
}

func at(s []string, i int) string {
	if i < len(s) {
		return s[i]
	}
	return "the end"
}

// The same run gives the same trace, octet for octet.
func TestRunsRepeat(t *testing.T) {
	run := func() uint64 {
		s, _, _ := ring(t)
		s.trace = &strings.Builder{}
		s.run(5 * second)
		h := fnv.New64a()
		h.Write([]byte(s.trace.String()))
		return h.Sum64()
	}
	if a, b := run(), run(); a != b {
		t.Fatalf("%x and %x", a, b)
	}
}

// A configuration that cannot be meant is refused with every reason.
func TestConfigErrors(t *testing.T) {
	mac := tsn.MAC{2, 0, 0, 0, 0, 1}
	for _, c := range []struct {
		name   string
		change func(*Config)
		want   string
	}{
		{"no address", func(c *Config) { c.SystemMAC = tsn.MAC{} }, "system address"},
		{"no ports", func(c *Config) { c.Ports = nil }, "no ports"},
		{"a port twice", func(c *Config) { c.Ports = append(c.Ports, c.Ports[0]) }, "given twice"},
		{"port 0", func(c *Config) { c.Ports[0].Port = 0 }, "outside 1..4095"},
		{"interval", func(c *Config) { c.Ports[0].LogSyncInterval = -8 }, "log sync interval -8"},
		{"threshold", func(c *Config) { c.Ports[0].NeighborPropDelayThresh = -1 }, "neighborPropDelayThresh"},
		{"window", func(c *Config) { c.Ports[0].RateRatioWindow = 2 }, "rate ratio window"},
		{"domain", func(c *Config) { c.Domains[0].Domain = 128 }, "domain 128"},
		{"hot standby of one", func(c *Config) { c.HotStandby = &HotStandbyConfig{} }, "domain 0 is primary and secondary"},
		{"hot standby with nobody", func(c *Config) { c.HotStandby = &HotStandbyConfig{Secondary: 20} }, "there is no domain 20"},
		{"states and best master", func(c *Config) { c.Domains[0].DesiredStates = map[tsn.Port]PortState{1: SlavePort} }, "without external port"},
		{"two slaves", func(c *Config) {
			c.Domains[0].ExternalPortConfiguration = true
			c.Domains[0].DesiredStates = map[tsn.Port]PortState{1: SlavePort, 2: SlavePort}
		}, "ports 1 and 2 cannot both be SlavePort"},
		{"state of no port", func(c *Config) {
			c.Domains[0].ExternalPortConfiguration = true
			c.Domains[0].DesiredStates = map[tsn.Port]PortState{3: MasterPort}
		}, "port 3, which is not there"},
		{"slave of nobody", func(c *Config) {
			c.Ports[0].MasterOnly = true
			c.Domains[0].ExternalPortConfiguration = true
			c.Domains[0].DesiredStates = map[tsn.Port]PortState{1: SlavePort}
		}, "port 1 is to be a SlavePort and accepts no grand master"},
		{"minor version", func(c *Config) { c.MinorVersion = 16 }, "minor version"},
	} {
		cfg := DefaultConfig(mac, 1, 2)
		c.change(&cfg)
		if in, err := New(cfg); in != nil || err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	in, err := New(DefaultConfig(mac, 2, 1))
	if err != nil {
		t.Fatal(err)
	}
	if c := in.cfg; c.Domains[0].Priority1 != 246 || c.ClockIdentity != ptpmsg.ClockIdentityFromMAC(mac) || c.Ports[0].Port != 1 ||
		c.Ports[0].NeighborPropDelayThresh != 800 || c.Ports[0].AllowedFaults != 9 {
		t.Errorf("%+v", c)
	}
}

// Status as JSON: lower camel case, states, reasons and identities as text.
func TestStatusJSON(t *testing.T) {
	s := soloRelay(t, nil)
	b, err := json.Marshal(s.Status())
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`"grandMaster":"090909.fffe.000001"`, `"isGrandMaster":false`, `"stepsRemoved":1`, `"state":"SlavePort"`, `"asCapable":true`,
		`"asCapableReason":""`, `"pathTrace":["090909.fffe.000001","020000.fffe.000001"]`, `"neighborRateRatio":1.00005`,
		`"neighborIdentity":"090909.fffe.000001-1"`, `"pdelayRespFollowUp":3`, `"rmsNs":0`,
		`"state":"acquiring","since":`, `"notSyncedReason":"acquiring"`, `"isSynced":false`, `"masterOnly":false`,
	} {
		if !bytes.Contains(b, []byte(want)) {
			t.Errorf("no %s in %s", want, b)
		}
	}
}

// An Instance of another domain says so in every message and relation.
func TestDomain(t *testing.T) {
	s := newSim(t, 14)
	n := s.chain(2, func(_ int, c *Config) { c.Domains[0].Domain = 3 })
	s.spy = func(_ *simNode, _ tsn.Port, f []byte) bool {
		if f[14+4] != 3 {
			t.Errorf("domain %d in %s", f[18], describe(f))
		}
		return true
	}
	s.run(3 * second)
	if !n[1].Synced() || n[1].Relation().PTP.Domain != 3 || n[0].Relation().PTP.Domain != 3 {
		t.Errorf("%+v %+v", n[1].Relation(), n[0].Relation())
	}
}
