package daemon

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

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
spb: {baseVids: [{vid: 100}, {vid: 101, ect: 2}], services: [{isid: 4096, vid: 101}]}
`

// pair is two bridges with a link, as far as their control machines go: b1 has
// a daemon's loop around it. It runs in a synctest bubble.
type pair struct {
	d   *Daemon
	far *node.Control
	now tsn.Instant
	// toFar are frames on their way; it and applied belong to the loop.
	toFar   []tsn.Event
	applied uint64
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

// newPair connects b1 and b2 and starts the loop of the first.
func newPair(t *testing.T) *pair { return newPairOf(t, "1", "2") }

func newPairOf(t *testing.T, one, two string) *pair {
	p := &pair{}
	cfg, near := p.control(t, one)
	_, p.far = p.control(t, two)
	d := &Daemon{cfg: cfg, events: newEvents("b1"), machine: near, changed: make(chan struct{}, 1), log: quiet, convergence: newConvergence()}
	d.drainStore = store[drainMemory]{filepath.Join(t.TempDir(), "drain.json")}
	d.control = newLoop("control", near, func() tsn.Instant { return p.now }, func(e tsn.Effect) {
		if s, ok := e.(tsn.Send); ok {
			p.toFar = append(p.toFar, tsn.Received{Port: s.Port, Frame: slices.Clone(s.Frame)})
			return
		}
		if w, ok := e.(node.Desired); ok { // a kernel that takes everything
			p.applied, d.convergence.wanted = w.Forwarding, w.Forwarding
			return
		}
		d.effect(e)
	})
	d.control.after = d.converged
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
	var toNear []tsn.Event
	atNear := func(events ...tsn.Event) {
		if err := p.d.control.call(t.Context(), func() {
			for _, ev := range events {
				p.d.control.step(ev)
			}
			p.d.control.step(spb.Applied{Generation: p.applied})
		}); err != nil {
			t.Fatal(err)
		}
	}
	var applied uint64
	atFar := func(events ...tsn.Event) {
		for _, ev := range append(events, spb.Applied{Generation: applied}) {
			for _, e := range p.far.Step(p.now, ev) {
				switch e := e.(type) {
				case tsn.Send:
					toNear = append(toNear, tsn.Received{Port: e.Port, Frame: slices.Clone(e.Frame)})
				case node.Desired:
					applied = e.Forwarding
				}
			}
		}
	}
	atNear(near)
	atFar(far)
	for range 200 {
		a, b := toNear, []tsn.Event(nil)
		toNear = nil
		if err := p.d.control.call(t.Context(), func() {
			p.now = p.now.Add(10_000_000)
			b, p.toFar = p.toFar, nil
		}); err != nil {
			t.Fatal(err)
		}
		atNear(append(a, tsn.Timeout{})...)
		atFar(append(b, tsn.Timeout{})...)
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
		if err != nil || !why.Reachable || !strings.Contains(strings.Join(why.Lines, " "), "ECT algorithm 5") || len(why.Details) != 1 {
			t.Fatalf("%+v, %v", why, err)
		}
		if x := why.Details[0]; x.VLAN != 100 || x.ECT != 5 || x.Hops != 1 || len(x.Steps) == 0 || x.Steps[0].Options[0].Via != "b1" || len(x.Paths) != 1 || x.Paths[0].Bridges[0] != "b2" {
			t.Errorf("%+v", x)
		}
		ect = 0
		if why, err = p.d.Why(ctx, api.WhyQuery{Subject: "h2", ECT: &ect}); err != nil || why.Reachable || len(why.Lines) != 2 {
			t.Errorf("%+v, %v", why, err)
		}
		if tree, err = p.d.Tree(ctx, api.TreeQuery{ECT: &ect}); err != nil || len(tree.Nodes) != 2 {
			t.Errorf("%+v, %v", tree, err)
		}
		dis, err := p.d.Disjoint(ctx, api.DisjointQuery{From: "h1", To: "b2"})
		if err != nil || dis.Disjoint || dis.From != "b1" || len(dis.Paths[1]) != 2 || len(dis.SharedLinks) != 1 || dis.SharedLinks[0] != "b1 port 1 - b2 port 1" || dis.Least.Links != 1 || len(dis.Lines) == 0 {
			t.Errorf("%+v, %v", dis, err)
		}
		if _, err = p.d.Disjoint(ctx, api.DisjointQuery{From: "h1", To: "b2", VLANs: [2]tsn.VID{7, 100}}); api.ErrorCode(err) != api.CodeNotFound {
			t.Error(err)
		}
		if c := p.d.convergence.view(); c.Changes == 0 || c.Last <= 0 || p.d.convergence.begin != tsn.Never {
			t.Errorf("%+v", c)
		}
		services, err := p.d.Services(ctx)
		if err != nil || services.Node != "b1" || len(services.Services) != 1 || services.Services[0].Group == "" || len(services.Services[0].Receivers) != 1 || services.Services[0].Receivers[0].Name != "b2" || len(services.Services[0].Sources) != 1 {
			t.Errorf("%+v, %v", services, err)
		}
		edge, err := p.d.Edge(ctx)
		if err != nil || len(edge) != 1 || edge[0].Port != 2 || edge[0].Ifname != "p2" || edge[0].State != "down" || !edge[0].Guarded || edge[0].Stations != 1 {
			t.Errorf("%+v, %v", edge, err)
		}
		paths, err := p.d.Paths(ctx, api.PathQuery{From: "h1", To: "h2", VLAN: 101})
		if err != nil || len(paths) != 1 || paths[0].Cost != 100 || paths[0].ECT != 2 || paths[0].From != "h1" || len(paths[0].Hops) != 2 || paths[0].Hops[0].Node != "b1" || paths[0].Hops[0].Ifname != "p1" || paths[0].Hops[1].Node != "b2" || paths[0].Hops[1].Port != 2 {
			t.Errorf("%+v, %v", paths, err)
		}
		if paths, err = p.d.Paths(ctx, api.PathQuery{}); err != nil || len(paths) != 6 {
			t.Errorf("%d paths, %v", len(paths), err) // h1, b2 and h2 in two VLANs
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

// Two edge ports on one LAN: the one that is blocked, that of the higher system
// id, is in the topology and in the list, with the reason.
func TestBlockedEdgePort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPairOf(t, "2", "1")
		p.exchange(t, tsn.LinkChanged{Port: 2, Up: true, Rate: tsn.Gbps}, tsn.LinkChanged{Port: 2, Up: true, Rate: tsn.Gbps})
		v, err := p.d.Topology(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if len(v.Blocked) != 1 || v.Blocked[0].Port != 2 || v.Blocked[0].Peer != "b1" || v.Blocked[0].PeerPort != 2 || v.Blocked[0].Reason == "" || v.Blocked[0].Blocks == 0 {
			t.Errorf("%+v, the other end: %+v", v.Blocked, p.far.SPB.EdgePorts())
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

// A ping is answered message by message and then summed up, a trace bridge by
// bridge; what cannot be asked is refused, and nobody waits for ever.
func TestPingAndTrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t)
		ctx, cancel := context.WithCancel(t.Context())
		var replies []api.PingReply
		var sum *api.PingSummary
		var err error
		ask := func(f func()) {
			done := make(chan struct{})
			go func() { defer close(done); f() }()
			synctest.Wait()
			p.exchange(t, tsn.Timeout{}, tsn.Timeout{})
			<-done
		}
		keep := func(r api.PingReply) error { replies = append(replies, r); return nil }
		ask(func() { sum, err = p.d.Ping(ctx, api.PingRequest{To: "h2", Count: 3, Interval: 50_000_000}, keep) })
		if err != nil || len(replies) != 3 || replies[2].Sequence != 3 || replies[2].Name != "b2" || replies[2].Lost || sum.Received != 3 || sum.Target != sys(2) || sum.VLAN != 100 || sum.Avg <= 0 {
			t.Fatalf("%+v, %+v, %v", replies, sum, err)
		}
		var hops []api.TraceHop
		var end *api.TraceSummary
		ask(func() {
			end, err = p.d.Trace(ctx, api.TraceRequest{To: "b2", VLAN: 101}, func(h api.TraceHop) error { hops = append(hops, h); return nil })
		})
		if err != nil || len(hops) != 1 || !hops[0].Answered || hops[0].Name != "b2" || hops[0].Port != 1 || !end.Reached || end.After != "" || end.VLAN != 101 {
			t.Fatalf("%+v, %+v, %v", hops, end, err)
		}
		for _, r := range []api.PingRequest{{To: "b9"}, {To: "b1"}, {To: "h1"}, {To: "b2", Count: 1, Interval: 1}, {To: "b2", VLAN: 7}} {
			if _, err := p.d.Ping(ctx, r, keep); err == nil || api.ErrorCode(err) == api.CodeInternal {
				t.Errorf("%+v: %v", r, err)
			}
		}
		// Who goes away cancels: the machine has no job left.
		over := errors.New("over")
		ask(func() {
			_, err = p.d.Ping(ctx, api.PingRequest{To: "b2", Count: 1000, Interval: 50_000_000}, func(api.PingReply) error { return over })
		})
		if !errors.Is(err, over) {
			t.Error(err)
		}
		ask(func() {
			defer cancel()
			stop := time.AfterFunc(time.Second, cancel)
			defer stop.Stop()
			_, err = p.d.Ping(ctx, api.PingRequest{To: "b2", Count: 1000, Interval: 3600e9}, keep)
		})
		if !errors.Is(err, context.Canceled) || len(p.d.inboxes) != 0 {
			t.Errorf("%v, %d inboxes", err, len(p.d.inboxes))
		}
		p.exchange(t, tsn.Timeout{}, tsn.Timeout{})
		sent := p.sent(t)
		p.exchange(t, tsn.Timeout{}, tsn.Timeout{})
		if got := p.sent(t); got != sent {
			t.Errorf("%d messages after everybody left", got-sent)
		}
	})
}

func (p *pair) sent(t *testing.T) (n uint64) {
	t.Helper()
	if err := p.d.control.call(t.Context(), func() { n = p.d.machine.SPB.Counters().Control.LBMSent }); err != nil {
		t.Fatal(err)
	}
	return n
}

// A drain is known to all nodes with its reason, and to the next run of the
// daemon, until it is taken back; then the configuration does not bring it
// back either.
func TestDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t)
		next := func() spb.Config {
			m, err := p.d.drainStore.load()
			if err != nil {
				t.Fatal(err)
			}
			c := spb.Config{Overload: true, OverloadReason: "configured"}
			m.apply(&c)
			return c
		}
		if c := next(); !c.Overload || c.OverloadReason != "configured" {
			t.Errorf("before any drain: %+v", c)
		}
		v, err := p.d.Drain(t.Context(), api.DrainRequest{On: true, Reason: "fan"})
		if err != nil || !v.Overload || v.Reason != "fan" || v.Node != "b1" {
			t.Fatalf("%+v, %v", v, err)
		}
		p.exchange(t, tsn.Timeout{}, tsn.Timeout{})
		if n := p.far.SPB.Nodes()[0]; !n.Overload || n.OverloadReason != "fan" {
			t.Errorf("b2 knows %+v", n)
		}
		nodes, err := p.d.Nodes(t.Context())
		if err != nil || !nodes[0].Overload || nodes[0].Reason != "fan" || nodes[1].Overload {
			t.Errorf("%+v, %v", nodes, err)
		}
		if c := next(); !c.Overload || c.OverloadReason != "fan" {
			t.Errorf("after a restart: %+v", c)
		}
		if v, err = p.d.Drain(t.Context(), api.DrainRequest{}); err != nil || v.Overload || v.Reason != "" {
			t.Fatalf("%+v, %v", v, err)
		}
		if c := next(); c.Overload {
			t.Errorf("taken back, and after a restart: %+v", c)
		}
		// A disk that is full changes nothing.
		p.d.drainStore.path = filepath.Join(t.TempDir(), "none", "drain.json")
		if _, err = p.d.Drain(t.Context(), api.DrainRequest{On: true}); err == nil {
			t.Error("no error")
		}
		p.exchange(t, tsn.Timeout{}, tsn.Timeout{})
		if p.far.SPB.Nodes()[0].Overload {
			t.Error("drained, although it could not be kept")
		}
	})
}

// What status says of keys names no secret, and says which of the two chains
// is weaker.
func TestKeysText(t *testing.T) {
	two := spb.KeyChain{Keys: []spb.Key{
		{ID: 2, Algorithm: spb.HMACSHA256, Secret: spb.Secret("open sesame"), Send: true, Accept: true}, {ID: 1, Algorithm: spb.HMACMD5, Accept: true},
	}}
	open := spb.KeyChain{Keys: two.Keys, SendOnly: true}
	for want, a := range map[string]spb.Authentication{
		"": {},
		"signed with key 2 (hmac-sha-256); accepted: 2, 1":                                                                                  {Hello: two, LSP: two},
		"hellos signed with key 2 (hmac-sha-256); accepted: 2, 1; LSPs not signed":                                                          {Hello: two},
		"LSPs signed with key 2 (hmac-sha-256); accepted: 2, 1; hellos not signed":                                                          {LSP: two},
		"LSPs signed with key 2 (hmac-sha-256); everything is accepted (sendOnly). Hellos signed with key 2 (hmac-sha-256); accepted: 2, 1": {Hello: two, LSP: open},
	} {
		if got := keysText(a); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
