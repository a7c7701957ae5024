package daemon

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"tsnswitch"
	"tsnswitch/internal/api"
	"tsnswitch/internal/config"
	"tsnswitch/internal/node"
	"tsnswitch/internal/nodeconfig"
	"tsnswitch/spb"
)

const line2 = `role: bridge
name: NAME
systemId: 02:00:00:00:00:0N
management: {vid: 100, address: 10.0.0.N/24}
ports:
  - {port: 1, ifname: p1, role: fabric}
  - {port: 2, ifname: p2, role: edge, stations: [{mac: 02:00:00:01:00:0N, name: hN}]}
spb: {baseVids: [{vid: 100}, {vid: 101, ect: 2}]}
`

// pair is two bridges with a link, as far as their control machines go: b1 has
// a daemon's loop around it. It runs in a synctest bubble.
type pair struct {
	d   *Daemon
	far *node.Control
	now tsn.Instant
}

func (p *pair) control(t *testing.T, n string) (*config.Daemon, *node.Control) {
	t.Helper()
	text := strings.NewReplacer("NAME", "b"+n, "0N", "0"+n, ".N", "."+n, "hN", "h"+n).Replace(line2)
	c, err := config.ParseDaemon("b"+n, []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	nc, err := nodeconfig.Of(c)
	if err != nil {
		t.Fatal(err)
	}
	m, err := node.NewControl(nc)
	if err != nil {
		t.Fatal(err)
	}
	return c, m
}

// newPair connects two bridges and starts the loop of the first.
func newPair(t *testing.T) *pair {
	p := &pair{}
	cfg, near := p.control(t, "1")
	_, p.far = p.control(t, "2")
	d := &Daemon{cfg: cfg, events: newEvents("b1"), machine: near, changed: make(chan struct{}, 1), log: quiet}
	d.control = newLoop("control", near, func() tsn.Instant { return p.now }, func(e tsn.Effect) {
		switch e.(type) {
		case tsn.Notice, spb.TopologyChanged:
			d.effect(e)
		}
	})
	d.fabric = &fabric{cfg: cfg, control: d.control, machine: near, self: d}
	d.view.Store(&ownView{})
	p.d = d
	ctx, cancel := context.WithCancel(t.Context())
	go d.control.run(ctx)
	t.Cleanup(cancel)
	p.exchange(t, tsn.LinkChanged{Port: 1, Up: true, Rate: tsn.Gbps}, tsn.LinkChanged{Port: 1, Up: true, Rate: tsn.Gbps})
	return p
}

// exchange gives each side an event and carries frames between them for two
// seconds of the machines' time.
func (p *pair) exchange(t *testing.T, near, far tsn.Event) {
	t.Helper()
	step := func(m *node.Control, ev tsn.Event) (frames []tsn.Event) {
		run := func() {
			for _, e := range m.Step(p.now, ev) {
				if s, ok := e.(tsn.Send); ok {
					frames = append(frames, tsn.Received{Port: 1, Frame: slices.Clone(s.Frame)})
				} else if m == p.d.machine {
					p.d.control.do(e)
				}
			}
		}
		if m == p.far {
			run()
		} else if err := p.d.control.call(t.Context(), run); err != nil {
			t.Fatal(err)
		}
		return frames
	}
	toFar, toNear := step(p.d.machine, near), step(p.far, far)
	for range 200 {
		p.now = p.now.Add(10_000_000)
		a, b := toNear, toFar
		toFar, toNear = step(p.d.machine, tsn.Timeout{}), step(p.far, tsn.Timeout{})
		for _, ev := range a {
			toFar = append(toFar, step(p.d.machine, ev)...)
		}
		for _, ev := range b {
			toNear = append(toNear, step(p.far, ev)...)
		}
	}
}

// What the API says of the fabric is what the machine says, found by name, by
// address and by LSP ID.
func TestFabricViews(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t)
		p.exchange(t, tsn.Timeout{}, spb.PublishRecord{Application: 40000, Type: 3, Key: []byte("k"), Value: []byte{1, 2}})
		ctx := t.Context()
		for _, q := range []string{"b2", "02:00:00:00:00:02", "0200.0000.0002", "0200.0000.0002.00-00"} {
			v, err := p.d.Database(ctx, api.DatabaseQuery{LSP: q, Detail: true})
			if err != nil || len(v) != 1 || v[0].Name != "b2" || len(v[0].Lines) == 0 || v[0].Own {
				t.Errorf("%s: %+v, %v", q, v, err)
			}
		}
		if v, err := p.d.Database(ctx, api.DatabaseQuery{}); err != nil || len(v) != 2 || v[0].Lines != nil || !v[0].Own {
			t.Errorf("%+v, %v", v, err)
		}
		if _, err := p.d.Database(ctx, api.DatabaseQuery{LSP: "b9"}); api.ErrorCode(err) != api.CodeNotFound {
			t.Error(err)
		}
		ect := uint8(5)
		tree, err := p.d.Tree(ctx, api.TreeQuery{Source: "h2", ECT: &ect})
		if err != nil || tree.Name != "b2" || tree.ECT != 5 || tree.VLAN != 100 || len(tree.Nodes) != 2 || tree.Nodes[0].Parent != sys(2) || tree.Nodes[0].Name != "b1" {
			t.Errorf("%+v, %v", tree, err)
		}
		if tree, err = p.d.Tree(ctx, api.TreeQuery{VLAN: 101}); err != nil || tree.Source != sys(1) || tree.ECT != 2 {
			t.Errorf("%+v, %v", tree, err)
		}
		if _, err = p.d.Tree(ctx, api.TreeQuery{Source: "b9"}); api.ErrorCode(err) != api.CodeNotFound {
			t.Error(err)
		}
		why, err := p.d.Why(ctx, api.WhyQuery{From: "h2", Subject: "h1", ECT: &ect, VLAN: 100})
		if err != nil || !why.Reachable || !strings.Contains(strings.Join(why.Lines, " "), "ECT algorithm 5") {
			t.Errorf("%+v, %v", why, err)
		}
		records, err := p.d.Records(ctx, nil)
		want := api.Record{System: sys(2), Name: "b2", Reachable: true, Application: 40000, Type: 3, Key: "6b", Value: "0102"}
		if err != nil || len(records) != 1 || records[0] != want {
			t.Errorf("%+v, %v", records, err)
		}
		if records, err = p.d.Records(ctx, new(uint16)); err != nil || len(records) != 0 {
			t.Errorf("%+v, %v", records, err)
		}
	})
}

// A watcher gets the topology at once, and again when it is another one.
func TestWatchTopology(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t)
		seen := make(chan *api.Topology)
		over := errors.New("over")
		done := make(chan error)
		go func() {
			done <- p.d.WatchTopology(t.Context(), func(v *api.Topology) error {
				seen <- v
				if len(v.Links) == 0 {
					return over
				}
				return nil
			})
		}()
		v := <-seen
		if len(v.Nodes) != 2 || len(v.Links) != 1 || v.Links[0].PortA != 1 || v.Nodes[1].Stations[0].Name != "h2" || v.Nodes[1].Address != "10.0.0.2" {
			t.Fatalf("%+v", v)
		}
		p.exchange(t, tsn.LinkChanged{Port: 1}, tsn.LinkChanged{Port: 1})
		if v = <-seen; len(v.Links) != 0 || v.Nodes[1].Reachable {
			t.Fatalf("%+v", v)
		}
		if err := <-done; !errors.Is(err, over) {
			t.Error(err)
		}
	})
}

var quiet = slog.New(slog.DiscardHandler)
