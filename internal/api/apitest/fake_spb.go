package apitest

import (
	"context"

	"tsnswitch"
	"tsnswitch/internal/api"
)

// The ring of four as IS-IS sees it. b4 is being drained.

func (f *Fake) Tree(_ context.Context, q api.TreeQuery) (*api.Tree, error) {
	t := &api.Tree{Source: MAC(1), Name: "b1", VLAN: 100, ECT: 1, Nodes: []api.TreeNode{
		{System: MAC(1), Name: "b1", Ports: []tsn.Port{1, 2}},
		{System: MAC(2), Name: "b2", Parent: MAC(1), ParentPort: 2, Ports: []tsn.Port{1}, Cost: 100, Hops: 1},
		{System: MAC(3), Name: "b3", Parent: MAC(2), ParentPort: 1, Ports: []tsn.Port{}, Cost: 200, Hops: 2},
		{System: MAC(4), Name: "b4-with-a-rather-long-name-that-somebody-once-chose-for-it", Parent: MAC(1), ParentPort: 1, Ports: []tsn.Port{}, Cost: 100, Hops: 1},
	}}
	if q.ECT != nil {
		t.ECT = *q.ECT
	}
	return t, f.did("Tree")
}

func (f *Fake) Records(_ context.Context, application *uint16) ([]api.Record, error) {
	all := []api.Record{
		{System: MAC(1), Name: "b1", Reachable: true, Application: 40000, Type: 1, Key: "6379636c65", Value: "31306d73"},
		{System: MAC(4), Name: "b4", Application: 40001, Type: 2, Key: "00ff", Value: "0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20"},
	}
	if application != nil {
		all = all[:1]
	}
	return all, f.did("Records")
}

// Topology implements api.Switch.
func (f *Fake) Topology(context.Context) (*api.Topology, error) {
	node := func(n byte, name string) api.TopologyNode {
		return api.TopologyNode{System: MAC(n), Name: name, BridgeID: "8000.02000000000" + string('0'+n), Address: "10.255.0." + string('0'+n), Reachable: true}
	}
	t := &api.Topology{Node: f.Name, Generation: 7, Nodes: []api.TopologyNode{node(1, "b1"), node(2, "b2"), node(3, "b3"), node(4, "b4")}}
	t.Nodes[0].Stations = []api.TopologyStation{{MAC: tsn.MAC{2, 0, 0, 0, 1, 1}, Name: "A", Port: 3}}
	t.Nodes[2].Stations = []api.TopologyStation{{MAC: tsn.MAC{2, 0, 0, 0, 1, 2}, Name: "B", Port: 3}}
	t.Nodes[3].Overload, t.Nodes[3].Reason = true, "fan 2 failed"
	for n := byte(1); n <= 4; n++ {
		a, b := min(n, n%4+1), max(n, n%4+1)
		t.Links = append(t.Links, api.TopologyLink{A: MAC(a), B: MAC(b), PortA: 1, PortB: 2, Metric: 100})
	}
	t.Blocked = edgePorts()[1:2]
	return t, f.did("Topology")
}

func (f *Fake) WatchTopology(ctx context.Context, emit func(*api.Topology) error) error {
	t, err := f.Topology(ctx)
	for range 2 {
		if err != nil {
			return err
		}
		err = emit(t)
		next := *t
		next.Generation++
		t = &next
	}
	if err != nil {
		return err
	}
	<-ctx.Done()
	return ctx.Err()
}

func (f *Fake) Services(context.Context) (*api.Services, error) {
	return &api.Services{Node: f.Name, Services: []api.Service{
		{
			ISID: 4096, VLAN: 100, Transmit: true, Receive: true, Ports: []tsn.Port{3}, Group: "73:00:01:00:10:00",
			Receivers: []api.ServiceBridge{{System: MAC(2), Name: "b2"}, {System: MAC(3), Name: "b3"}},
			Sources:   []api.ServiceBridge{{System: MAC(3), Name: "b3", Group: "73:00:03:00:10:00"}},
		},
		{ISID: 4097, VLAN: 101, Receive: true, Replicate: true},
	}}, f.did("Services")
}

func (f *Fake) Drain(_ context.Context, r api.DrainRequest) (*api.Drained, error) {
	return &api.Drained{Node: f.Name, Overload: r.On, Reason: r.Reason}, f.did("Drain")
}

func (f *Fake) Ping(_ context.Context, r api.PingRequest, reply func(api.PingReply) error) (*api.PingSummary, error) {
	if err := f.did("Ping"); err != nil {
		return nil, err
	}
	if r.To == "nobody" {
		return nil, api.Errorf(api.CodeNotFound, "no bridge or end station is called %q", r.To)
	}
	for _, p := range []api.PingReply{
		{Sequence: 1, From: MAC(3), Name: "b3", RTT: 412_000}, {Sequence: 2, From: MAC(3), Name: "b3", Lost: true},
	} {
		if err := reply(p); err != nil {
			return nil, err
		}
	}
	return &api.PingSummary{To: r.To, Target: MAC(3), Name: "b3", VLAN: 100, Sent: 2, Received: 1, Min: 412_000, Avg: 412_000, Max: 412_000}, nil
}

func (f *Fake) Trace(_ context.Context, r api.TraceRequest, hop func(api.TraceHop) error) (*api.TraceSummary, error) {
	if err := f.did("Trace"); err != nil {
		return nil, err
	}
	for _, h := range []api.TraceHop{
		{Hop: 1, System: MAC(2), Name: "b2", Port: 1, Answered: true, Tries: 1, RTT: 203_000}, {Hop: 2, System: MAC(3), Name: "b3", Port: 1, Tries: 3},
	} {
		if err := hop(h); err != nil {
			return nil, err
		}
	}
	return &api.TraceSummary{To: r.To, Target: MAC(3), Name: "b3", VLAN: 100, Hops: 2, After: "b2"}, nil
}

func edgePorts() []api.EdgePort {
	return []api.EdgePort{
		{Port: 3, Ifname: "p3", LinkUp: true, Guarded: true, State: "forwarding", For: 75_000_000_000, Stations: 1, Learned: []api.LearnedStation{
			{MAC: tsn.MAC{2, 0, 0, 0, 1, 9}, VLANs: []tsn.VID{100}, Address: "10.1.0.9"},
			{MAC: MAC(2), VLANs: []tsn.VID{100}, Refused: "it is the address of a bridge"},
		}},
		{
			Port: 4, Ifname: "p4", LinkUp: true, Guarded: true, State: "blocked", For: 5_000_000_000, Blocks: 2, Peer: "b2", PeerPort: 4,
			Reason: "frames of port 4 of b2 reach this port, so both on one LAN would close a loop",
		},
		{Port: 5, Ifname: "p5", State: "down"},
	}
}

func (f *Fake) Edge(context.Context) ([]api.EdgePort, error) { return edgePorts(), f.did("Edge") }

func (f *Fake) Disjoint(_ context.Context, q api.DisjointQuery) (*api.Disjoint, error) {
	return &api.Disjoint{
		From: q.From, To: q.To, VLANs: [2]tsn.VID{100, 101}, Disjoint: true, Paths: [2][]string{{"b1", "b2", "b3"}, {"b1", "b4", "b3"}},
		Best:  api.Sharing{VLANs: [2]tsn.VID{100, 101}},
		Lines: []string{"VLAN 100: b1 b2 b3", "VLAN 101: b1 b4 b3", "nothing in common: one failure cuts one of them"},
	}, f.did("Disjoint")
}
