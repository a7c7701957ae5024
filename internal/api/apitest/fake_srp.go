package apitest

import (
	"context"
	"slices"

	"tsnswitch"
	"tsnswitch/internal/api"
)

// MSRPStreams are two streams of a talker at b1 to listeners at b1 and b3, one
// of which a port of b2 has no room for, and one that only a listener knows.
func MSRPStreams() []api.StreamView {
	spec := func(unique uint16) tsn.Stream {
		t := tsn.MAC{2, 0, 0, 0, 1, 9}
		return tsn.Stream{
			ID: tsn.MakeStreamID(t, unique), Talker: t, DestinationAddress: tsn.MAC{0x91, 0xe0, 0xf0, 0, 0x0e, byte(unique)},
			VID: 2, PCP: 3, Interval: 125_000, MaxFrameSize: 224, MaxIntervalFrames: 1,
		}
	}
	port := func(n tsn.Port, edge bool, behind string, latency int64) api.StreamPort {
		return api.StreamPort{Port: n, Ifname: "p" + string('0'+rune(n)), Edge: edge, Neighbour: behind, Talker: api.TalkerAdvertise, Latency: latency}
	}
	ready := func(p api.StreamPort) api.StreamPort { p.Listener, p.Reserved = "ready", true; return p }
	fails := func(p api.StreamPort) api.StreamPort {
		p.Talker, p.Failure, p.Text, p.FailureAt = api.TalkerFailed, tsn.FailureBandwidth, tsn.FailureBandwidth.String(), "b2"
		if p.Edge {
			p.Listener = "asking failed"
		}
		return p
	}
	at := func(n byte, answer string, in api.StreamPort, out ...api.StreamPort) api.StreamView {
		return api.StreamView{
			StreamState: api.StreamState{Owner: api.SourceMSRP}, Source: api.SourceMSRP, Class: "A", Rank: 1,
			Guarantee: "bound of its class: admitted bandwidth, shaped by cbs",
			Bridges:   []api.StreamAt{{Node: "b" + string('0'+rune(n)), System: MAC(n), In: &in, Answer: answer, Out: out}},
		}
	}
	good := []api.StreamView{
		at(1, "ready", port(3, true, "A", 0), ready(port(1, false, "b2", 158_000)), ready(port(4, true, "", 158_000))),
		at(2, "ready", port(2, false, "b1", 158_000), ready(port(1, false, "b3", 316_000))),
		at(3, "ready", port(2, false, "b2", 316_000), ready(port(3, true, "B", 474_000))),
	}
	asking := fails(port(1, false, "b3", 316_000))
	asking.Listener = "asking failed"
	first := ready(port(1, false, "b2", 158_000))
	first.Listener, first.Reserved = "asking failed", false
	bad := []api.StreamView{
		at(1, "ready failed", port(3, true, "A", 0), first, ready(port(4, true, "", 158_000))),
		at(2, "asking failed", port(2, false, "b1", 158_000), asking),
		at(3, "asking failed", fails(port(2, false, "b2", 316_000)), fails(port(3, true, "B", 474_000))),
	}
	awaited := api.StreamView{
		StreamState: api.StreamState{Owner: api.SourceMSRP}, Source: api.SourceMSRP, Class: "none", Rank: 1,
		Bridges: []api.StreamAt{{Node: "b3", System: MAC(3), Out: []api.StreamPort{{Port: 3, Ifname: "p3", Edge: true, Neighbour: "B", Listener: "asking failed"}}}},
	}
	for i := range 3 {
		good[i].Stream, bad[i].Stream = spec(1), spec(2)
	}
	awaited.Stream = tsn.Stream{ID: tsn.MakeStreamID(tsn.MAC{2, 0, 0, 0, 1, 0x0a}, 1), Talker: tsn.MAC{2, 0, 0, 0, 1, 0x0a}}
	return slices.Concat(good, bad, []api.StreamView{awaited})
}

// FindStreams implements api.Switch, as do the methods that follow.
func (f *Fake) FindStreams(_ context.Context, q api.StreamQuery) ([]api.StreamView, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	views := slices.Clone(f.Views)
	for _, s := range f.Streams {
		views = append(views, api.StreamView{StreamState: s, Source: api.SourceManaged, Class: "scheduled", Rank: 1, Guarantee: "none yet: admitted, windows come with tsnctl schedule apply"})
	}
	out := slices.DeleteFunc(api.MergeStreams(views), func(v api.StreamView) bool {
		return q.Stream != "" && v.Stream.ID.String() != q.Stream && v.Stream.Name != q.Stream
	})
	if q.Stream != "" && len(out) == 0 {
		return nil, noStream(q.Stream)
	}
	return out, f.Err
}

func (f *Fake) SRP(context.Context) (*api.SRP, error) {
	class := func(name string, limit, used tsn.Rate, boundary bool, why string, latency int64) api.SRPPortClass {
		return api.SRPPortClass{Class: name, Limit: limit, Used: used, Free: limit - used, Boundary: boundary, Why: why, Latency: latency}
	}
	classB := map[bool]string{false: "nobody there has declared a domain", true: "its neighbour does not have class B"}
	port := func(n tsn.Port, role string, used tsn.Rate) api.SRPPort {
		return api.SRPPort{
			Port: n, Ifname: "p" + string('0'+rune(n)), Role: role, Up: true, Rate: 100 * tsn.Mbps, Reserved: used, Limit: 75000, Free: 75000 - used,
			Classes: []api.SRPPortClass{
				class("scheduled", 75000, 2308, false, "", 0),
				class("A", 75000, used-2308, false, "the neighbour has class A at priority 3 too", 446_000),
				class("B", 75000, 0, n == 3, classB[n == 3], 571_000),
			},
			Version:   new(uint8),
			Neighbour: []api.SRPDomain{{Class: "A", Priority: 3, VID: 2}},
			Counters:  []api.NamedCounter{{Name: "mrp_received", Port: n, Value: 41}, {Name: "mrp_sent", Port: n, Value: 40}},
		}
	}
	down := api.SRPPort{Port: 2, Ifname: "p2", Role: "fabric"}
	return &api.SRP{
		Node: f.Name, System: MAC(1), Applications: []string{"msrp", "mvrp"},
		Classes:  []api.SRPClass{{ID: 6, Name: "A", Priority: 3, VID: 2, Interval: 125_000}, {ID: 5, Name: "B", Priority: 2, VID: 2, Interval: 250_000}},
		Ports:    []api.SRPPort{port(1, "fabric", 19332), down, port(3, "edge", 2308)},
		Reserved: 5, Released: 2, Preempted: 1, Failed: []api.SRPFailure{{Code: 1, Text: tsn.FailureBandwidth.String(), Count: 2}},
		Degraded: []string{"port 3: streams of SR classes are admitted but not shaped, so their bound does not hold: cbs: the kernel has no sch_cbs"},
	}, f.did("SRP")
}

func (f *Fake) Declarations(_ context.Context, q api.DeclarationQuery) ([]api.Declaration, error) {
	all := []api.Declaration{
		{Port: 1, Ifname: "p1", Application: "msrp", Attribute: "talker advertise", Value: "02-00-00-00-01-09:0001 to 91:e0:f0:00:0e:01 vlan 2 pcp 3 rank 1, 1 x 224, 158000 ns", Applicant: "QA", Registrar: "MT", Declared: true},
		{Port: 1, Ifname: "p1", Application: "msrp", Attribute: "listener", Value: "02-00-00-00-01-09:0001", Applicant: "VO", Registrar: "IN", Registered: true, Heard: "ready"},
		{Port: 3, Ifname: "p3", Application: "msrp", Attribute: "domain", Value: "class A priority 3 vlan 2", Applicant: "QA", Registrar: "LV", Declared: true, Registered: true},
	}
	return slices.DeleteFunc(all, func(d api.Declaration) bool { return q.Port != 0 && d.Port != q.Port }), f.did("Declarations")
}

func (f *Fake) Registrations(_ context.Context, application string) ([]api.Registration, error) {
	all := []api.Registration{
		{Port: 1, Ifname: "p1", VLAN: 2, Mode: "fixed", Registered: true, Declared: true, Applicant: "QA", Registrar: "IN"},
		{Port: 3, Ifname: "p3", VLAN: 2, Mode: "normal", Registered: true, Applicant: "VO", Registrar: "IN"},
		{Port: 3, Ifname: "p3", VLAN: 7, Mode: "normal", Registered: true, Failed: true, Applicant: "VO", Registrar: "LV"},
		{Port: 1, Ifname: "p1", VLAN: 9, Mode: "forbidden", Applicant: "VO", Registrar: "MT"},
	}
	if application == "mmrp" {
		all = []api.Registration{
			{Port: 1, Ifname: "p1", VLAN: 2, Group: "91:e0:f0:00:0e:01", Mode: "normal", Declared: true, Applicant: "QA", Registrar: "MT"},
			{Port: 3, Ifname: "p3", VLAN: 2, Group: "91:e0:f0:00:0e:01", Mode: "normal", Registered: true, Applicant: "VO", Registrar: "IN"},
			{Port: 3, Ifname: "p3", VLAN: 2, Group: "all groups", Mode: "normal", Registered: true, Applicant: "VO", Registrar: "IN"},
		}
	}
	return all, f.did("Registrations")
}

func (f *Fake) ExplainStream(ctx context.Context, stream string) (*api.StreamWhy, error) {
	v, err := f.FindStreams(ctx, api.StreamQuery{Stream: stream})
	if err != nil {
		return nil, err
	}
	w := &api.StreamWhy{StreamView: v[0]}
	for _, b := range w.Bridges {
		why := api.BridgeWhy{Node: b.Node}
		if b.In == nil {
			why.Problem = "no talker declares it here"
		}
		for _, o := range b.Out {
			p := api.PortWhy{Port: o.Port, Ifname: o.Ifname, Text: "reserved", Code: o.Failure}
			switch {
			case o.Failure != tsn.FailureNone && b.Node == o.FailureAt:
				p.Here, p.Text, p.Remedy = true, "the classes together would exceed the port's share for streams", "7056 kbit/s less, or one of the streams below withdrawn"
				p.Needed, p.Available = 17024, 9968
				p.Holders = []api.StreamHold{
					{Stream: Stream(1).ID, Owner: "b1", Class: "scheduled", Rank: 1, Bandwidth: 2308},
					{Stream: tsn.MakeStreamID(tsn.MAC{2, 0, 0, 0, 1, 9}, 1), Owner: "msrp", Class: "A", Rank: 1, Bandwidth: 62724},
				}
			case o.Failure != tsn.FailureNone:
				p.Text, p.Remedy = "failed before it came here, by "+o.FailureAt, "see there"
			case !o.Reserved:
				p.Text = "offered, nobody behind the port is ready for it"
			}
			why.Ports = append(why.Ports, p)
		}
		w.Reasons = append(w.Reasons, why)
	}
	return w, f.did("ExplainStream")
}

// demand is what every request becomes: a stream of A at b1 to B and one more at b3.
func (f *Fake) demand(r api.DemandRequest) *api.Demand {
	at := func(n byte, port tsn.Port, mac tsn.MAC, name string) api.DemandEnd {
		return api.DemandEnd{MAC: mac, Name: name, PathHop: api.PathHop{Hop: tsn.Hop{System: MAC(n), Port: port}, Node: "b" + string('0'+rune(n))}}
	}
	s := Stream(9)
	d := &api.Demand{Class: r.Class, Rank: r.Rank, Keeper: f.Name, Talker: at(1, 3, s.Talker, "A"), Listeners: []api.DemandEnd{at(3, 3, s.Listener, "B"), at(3, 4, tsn.MAC{2, 0, 0, 0, 1, 3}, "")}}
	d.Stream = tsn.Stream{
		ID: s.ID, Name: r.Name, Talker: s.Talker, DestinationAddress: tsn.MAC{0x91, 0xe0, 0xf0, 0, 0xfe, 1}, VID: 2, PCP: 3, Interval: 125_000,
		MaxFrameSize: r.MaxFrameSize, MaxIntervalFrames: 1, MaxLatency: r.MaxLatency,
	}
	if r.ID != (tsn.StreamID{}) {
		d.Stream.ID = r.ID
	}
	return d
}

func (f *Fake) RequestStream(_ context.Context, r api.DemandRequest) (*api.Demand, error) {
	if err := f.did("RequestStream"); err != nil {
		return nil, err
	}
	if r.Class != "A" && r.Class != "B" {
		return nil, api.Errorf(api.CodeBadRequest, "class: %q is none of A, B", r.Class)
	}
	d := f.demand(r)
	if !r.DryRun {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.Demanded = append(f.Demanded, *d)
	}
	return d, nil
}

func (f *Fake) WithdrawStream(_ context.Context, stream string) (*api.Demand, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, d := range f.Demanded {
		if d.Stream.ID.String() == stream || d.Stream.Name == stream {
			f.Demanded = slices.Delete(f.Demanded, i, i+1)
			return &d, f.Err
		}
	}
	return nil, noStream(stream)
}

func (f *Fake) Demands(context.Context) ([]api.Demand, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]api.Demand{}, f.Demanded...), f.Err
}

func (f *Fake) PutProxies(_ context.Context, p api.Proxies) error {
	if err := f.did("PutProxies"); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.Proxied = p
	return nil
}
