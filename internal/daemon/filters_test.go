package daemon

import (
	"strings"
	"testing"

	"tsnswitch"
	"tsnswitch/internal/config"
	"tsnswitch/internal/dataplane"
	"tsnswitch/internal/node"
)

// Where gates are missing talkers are still policed, where filters are they are
// not; what was wanted and is not there is told.
func TestFitFilters(t *testing.T) {
	missing := func(p tsn.Port, name string) dataplane.Feature {
		return dataplane.Feature{Name: name, Port: p, State: dataplane.FeatureMissing, Why: "not built"}
	}
	features := []dataplane.Feature{
		missing(1, dataplane.FeatureStreamGate), missing(2, dataplane.FeatureStreamFilter), missing(2, dataplane.FeatureStreamGate),
		{Name: dataplane.FeatureStreamGate, Port: 3},
		missing(4, dataplane.FeatureLaunchTime),
	}
	nc := node.Config{Classes: []node.PortClasses{{Port: 1, Filters: node.FilterGate}, {Port: 2, Filters: node.FilterGate}, {Port: 3, Filters: node.FilterGate}, {Port: 4}}}
	nc.Classes[3].Launch[2].Delta = 1
	fitFilters(&nc, features)
	for i, want := range []node.FilterMode{node.FilterPolice, node.FilterOff, node.FilterGate, node.FilterOff} {
		if c := nc.Classes[i]; c.Filters != want || c.Launch[2].Delta != 0 {
			t.Errorf("port %d: %+v, want mode %d", i+1, c, want)
		}
	}

	c := &config.Daemon{Role: config.RoleBridge, QBV: config.QBV{Filters: config.FilterGate}, Ports: []config.Port{{Port: 1, Role: "edge"}, {Port: 2, Role: "fabric"}, {Port: 3, Role: "edge"}}}
	if got := filtersDegraded(c, features); len(got) != 1 || !strings.HasPrefix(got[0], "port 1: stream-gate is missing: not built") {
		t.Errorf("%q", got)
	}
	c.QBV.Filters = config.FilterPolice
	if got := filtersDegraded(c, features); len(got) != 0 {
		t.Errorf("%q", got)
	}
	end := &config.Daemon{Role: config.RoleEndStation, Ports: []config.Port{{Port: 4, Role: config.RoleEndStation, Launch: &config.Launch{}}}}
	if got := filtersDegraded(end, features); len(got) != 1 || !strings.Contains(got[0], dataplane.FeatureLaunchTime) {
		t.Errorf("%q", got)
	}
}

// A port that is not there takes its filters along.
func TestOnlyPortsFilters(t *testing.T) {
	d := tsn.DesiredState{Filters: []tsn.StreamFilter{{Port: 1}, {Port: 2}}}
	if got := onlyPorts(d, []tsn.Port{2}).Filters; len(got) != 1 || got[0].Port != 2 {
		t.Errorf("%+v", got)
	}
}
