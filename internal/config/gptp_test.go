package config

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"tsnswitch"
)

// The least that a node with gPTP alone needs.
const aClock = `name: c1
role: clock
ports: [{port: 1, ifname: eth0}]
gptp: {priority1: 246, domain: 0, clock: {kind: system}}
`

func TestClock(t *testing.T) {
	c, err := ParseDaemon("c", []byte(aClock))
	if err != nil {
		t.Fatal(err)
	}
	want := DefaultDaemon()
	want.Role, want.Name = RoleClock, "c1"
	want.GPTP.Clock.Kind = "system"
	want.Ports = []Port{{Port: 1, Ifname: "eth0", Role: RoleClock, Metric: 100, GateLimit: 256, GPTP: PortGPTP{Enabled: true}}}
	if d := cmp.Diff(&want, c, exact); d != "" {
		t.Error(d)
	}
	if c.Ports[0].IsMasterOnly() {
		t.Error("the port of a clock accepts no grand master")
	}
}

// A desired state is a word, or one for each domain; both are written as read.
func TestDesiredState(t *testing.T) {
	c, err := ParseDaemon("c", []byte(`name: c1
role: clock
ports:
  - {port: 1, ifname: a, gptp: {desiredState: slave}}
  - {port: 2, ifname: b, gptp: {desiredState: {3: master, 20: slave}}}
gptp: {domain: 3, externalPortConfiguration: true, domains: [{domain: 20, externalPortConfiguration: true}]}
`))
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct {
		port   int
		domain uint8
		want   string
	}{{0, 3, "slave"}, {0, 20, ""}, {1, 3, "master"}, {1, 20, "slave"}} {
		if got := c.Ports[x.port].GPTP.DesiredState.In(x.domain, x.domain == 3); got != x.want {
			t.Errorf("port %d in domain %d: %q, want %q", x.port+1, x.domain, got, x.want)
		}
	}
	text, err := c.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	again, err := ParseDaemon("again", text)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	if d := cmp.Diff(c, again, exact); d != "" {
		t.Error(d)
	}
}

func TestLogInterval(t *testing.T) {
	for d, want := range map[Duration]int8{7812500: -7, 125e6: -3, 1e9: 0, 64e9: 6} {
		if got, ok := LogInterval(d); !ok || got != want {
			t.Errorf("%v: %d %t", d, got, ok)
		}
	}
	for _, d := range []Duration{0, -1e9, 100e6, 7812501, 128e9} {
		if got, ok := LogInterval(d); ok {
			t.Errorf("%v: %d", d, got)
		}
	}
}

func TestMasterOnly(t *testing.T) {
	yes, no := true, false
	for _, c := range []struct {
		role string
		set  *bool
		want bool
	}{{"edge", nil, true}, {"edge", &no, false}, {"fabric", nil, false}, {"fabric", &yes, true}, {RoleEndStation, nil, false}} {
		if got := (Port{Port: tsn.Port(1), Role: c.role, GPTP: PortGPTP{MasterOnly: c.set}}).IsMasterOnly(); got != c.want {
			t.Errorf("%s: %t", c.role, got)
		}
	}
}
