package dataplane_test

import (
	"errors"
	"strings"
	"testing"

	tsn "tsnswitch"
	"tsnswitch/internal/dataplane"
	"tsnswitch/internal/dataplane/fake"
)

// offloaded is a switch of one board whose device runs the gates and may
// interrupt frames.
func offloaded(t *testing.T, b fake.Board, o dataplane.Offload, m *dataplane.MACMerge) *fake.Kernel {
	c := config()
	for i := range c.Ports {
		c.Ports[i].Offload, c.Ports[i].Preemption = o, m
	}
	k, err := fake.New(c, b)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func preemptible(d tsn.DesiredState) tsn.DesiredState {
	for i := range d.Egress {
		d.Egress[i].Preemptible[0] = true
		d.Egress[i].MaxSDU[1] = 500
	}
	return d
}

func plain() tsn.DesiredState {
	d := tsn.DesiredState{Bridge: &tsn.BridgeState{}}
	for _, p := range ports {
		d.Egress = append(d.Egress, tsn.PortEgress{Port: p, ClassMap: tsn.DefaultClassMap})
	}
	return d
}

var merge = dataplane.MACMerge{Enabled: true, Verify: true, VerifyTime: 10_000_000, AddFragSize: 1}

// 802.3 clause 99, 802.1Q 6.7.2: the sublayer is set before a class is made
// preemptible, both are in what is read back, and a second Set does nothing.
func TestPreemption(t *testing.T) {
	k := offloaded(t, fake.Felix, dataplane.OffloadFull, &merge)
	r, err := k.Set(t.Context(), preemptible(plain()))
	if err != nil {
		t.Fatal(err)
	}
	var mm, fp int
	for i, c := range r.Applied {
		switch {
		case strings.HasPrefix(c.Text, "ethtool --set-mm p1 pmac-enabled on tx-enabled on verify-enabled on verify-time 10 tx-min-frag-size 124"):
			mm = i
		case c.Port == 1 && strings.Contains(c.Text, "preemptible 0"):
			fp = i
		}
	}
	if mm == 0 || fp < mm {
		t.Errorf("steps %v", r.Applied)
	}
	for _, want := range []string{
		"qdisc dev p1 root taprio num_tc 5 offload full\n", "  class 1 max-sdu 500\n", "  preemptible 0\n",
		"  mac merge pmac-enabled on tx-enabled on verify-enabled on verify-time 10 tx-min-frag-size 124\n",
	} {
		if !strings.Contains(k.String(), want) {
			t.Errorf("%q is not in\n%s", want, k)
		}
	}
	n := k.Writes
	if _, err := k.Set(t.Context(), preemptible(plain())); err != nil || k.Writes != n {
		t.Errorf("a second Set: %v, %d writes", err, k.Writes-n)
	}
	k.Now += 1_000_000_000
	if _, err := k.Set(t.Context(), plain()); err != nil || strings.Contains(k.String(), "preemptible") {
		t.Errorf("no class preemptible any more: %v\n%s", err, k)
	}
	k.Inject(func(s *dataplane.State) { s.Egress[1].MACMerge.AddFragSize = 3 })
	if r, err = k.Set(t.Context(), plain()); err != nil || len(r.Applied) != 1 || r.Applied[0].Port != 2 {
		t.Errorf("another's setting: %v, %v", r.Applied, err)
	}
}

// What a board or a configuration lacks for it is refused by name, and nothing
// is written.
func TestPreemptionRefused(t *testing.T) {
	off := merge
	off.Enabled = false
	for _, c := range []struct {
		name    string
		k       *fake.Kernel
		feature string // "": invalid
	}{
		{"no offload", offloaded(t, fake.Software, dataplane.OffloadFull, nil), dataplane.FeatureOffload},
		{"no MAC merge", offloaded(t, fake.LAN966x, dataplane.OffloadFull, &merge), dataplane.FeatureMACMerge},
		{"not configured", offloaded(t, fake.Felix, dataplane.OffloadFull, nil), ""},
		{"switched off", offloaded(t, fake.Felix, dataplane.OffloadFull, &off), ""},
	} {
		_, err := c.k.Set(t.Context(), preemptible(plain()))
		var u *dataplane.UnsupportedError
		named := errors.As(err, &u) && u.Feature == c.feature
		if !named && (c.feature != "" || !errors.Is(err, dataplane.ErrInvalid)) || c.k.Writes != 0 {
			t.Errorf("%s: %v, %d writes", c.name, err, c.k.Writes)
		}
	}
}

// A device whose ports share a table has room for so many entries in all.
func TestSharedTable(t *testing.T) {
	k := offloaded(t, fake.LAN966x, dataplane.OffloadFull, nil)
	d := plain()
	for i := range d.Egress {
		g := &tsn.GateControlList{BaseTime: tsn.PTPTime{NS: 1_000_000_000}, CycleTime: 90_000}
		for range 90 {
			g.Entries = append(g.Entries, tsn.GateEntry{Gates: 16, Interval: 1000})
		}
		d.Egress[i].Gates = g
	}
	_, err := k.Set(t.Context(), d)
	if !errors.Is(err, dataplane.ErrInvalid) || !strings.Contains(err.Error(), "270 entries, the device has room for 256") || k.Writes != 0 {
		t.Errorf("%v, %d writes", err, k.Writes)
	}
}
