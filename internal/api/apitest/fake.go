// Package apitest is a switch made of plain values, for tests of the API and
// of its clients: bridge b1 of a ring of four, with hosts A and B.
package apitest

import (
	"context"
	"slices"
	"sync"

	"tsnswitch"
	"tsnswitch/internal/api"
)

// Fake answers every call from its fields. Calls are noted in Calls.
type Fake struct {
	Name    string
	Remotes map[string]api.Switch

	mu        sync.Mutex
	Calls     []string
	Streams   []api.StreamState
	Views     []api.StreamView // of MSRP, at each bridge
	Demanded  []api.Demand
	Proxied   api.Proxies                 // the last
	Held      map[string]api.Reservations // by owner
	Sched     api.ScheduleState
	Staged    api.StageRequest // the last
	EventList []api.Event
	Err       error // if set, every call fails with it
}

// MAC returns 02:00:00:00:00:n.
func MAC(n byte) tsn.MAC { return tsn.MAC{2, 0, 0, 0, 0, n} }

// New returns the fake of that node.
func New(name string) *Fake {
	return &Fake{Name: name, Held: map[string]api.Reservations{}, Sched: api.ScheduleState{State: api.ScheduleNone}}
}

var _ api.Backend = (*Fake)(nil)

func (f *Fake) did(call string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.Calls = append(f.Calls, call)
	return f.Err
}

// Remote implements api.Backend, as do the methods that follow.
func (f *Fake) Remote(_ context.Context, node string) (api.Switch, error) {
	if node == f.Name {
		return f, nil
	}
	if r, ok := f.Remotes[node]; ok {
		return r, nil
	}
	return nil, api.Errorf(api.CodeUnknownNode, "no node %q in the fabric; `tsnctl spb nodes` lists them", node)
}

func (f *Fake) Status(context.Context) (*api.Status, error) {
	return &api.Status{
		Node: f.Name, System: MAC(1), Role: "bridge", Version: "test", Uptime: 75_000_000_000,
		Ports: []api.PortStatus{
			{Port: 1, Ifname: "p1", Role: "fabric", Up: true, Rate: 100 * tsn.Mbps, Neighbour: "b2", Reserved: 2307, Gated: true},
			{Port: 2, Ifname: "p2", Role: "fabric", Up: false, Rate: 100 * tsn.Mbps, Neighbour: ""},
			{Port: 3, Ifname: "p3", Role: "edge", Up: true, Rate: 100 * tsn.Mbps, Neighbour: "A", Reserved: 2307, Gated: true},
		},
		SPB:      api.SPBStatus{Adjacencies: 1, Nodes: 4, LSPs: 4, LSDBDigest: "9f2c11d0", SPFRuns: 7, Keys: "signed with key 2 (hmac-sha-256); accepted: 1, 2", Convergence: api.Convergence{Changes: 7, Last: 4_200_000, Max: 61_000_000}, Agreement: api.Agreement{Pending: true, For: 12_000_000, Waiting: []string{"b4"}, Withheld: 3}},
		GPTP:     api.GPTPSummary{Synchronized: true, Grandmaster: "b1", IsGrandmaster: true},
		Schedule: api.ScheduleBrief{ID: "s-1", State: api.ScheduleRunning, Base: tsn.PTPTime{NS: 1_000_000_000}, Cycle: 10_000_000},
		Streams:  api.StreamCounts{Owned: 1, Here: 2, Scheduled: 2},
		SRP:      &api.SRPBrief{Applications: []string{"msrp"}, Reserved: 1, Failed: 1, Waiting: 1},
		Kernel:   api.KernelStatus{InSync: true},
		Degraded: []string{"port 2: link down", "port 1: software time stamps: asCapable threshold is 20 ms instead of 800 ns, so gates may be early or late by as much"},
		Counters: []api.NamedCounter{{Name: "spb-lsp-checksum", Port: 1, Value: 3}},
	}, f.did("Status")
}

func (f *Fake) Doctor(context.Context) (*api.Doctor, error) {
	port := func(p tsn.Port, ifname string) api.DoctorPort {
		return api.DoctorPort{Port: p, Ifname: ifname, Checks: []api.Check{
			{Name: "stamps", State: api.CheckDegraded, Detail: "software", Why: "the driver offers no hardware time stamps, so offsets are microseconds, not nanoseconds"},
			{Name: "phc", State: api.CheckMissing, Why: "no /dev/ptp for this port"},
			{Name: "queues", State: api.CheckOK, Detail: "8 tx"},
			{Name: "taprio", State: api.CheckOK, Detail: "software"},
			{Name: "cbs", State: api.CheckOK, Detail: "software"},
			{Name: "locked", State: api.CheckOK},
			{Name: "mac-merge", State: api.CheckMissing, Why: "ethtool: operation not supported"},
		}}
	}
	return &api.Doctor{
		Node: f.Name, Kernel: "6.1.0", Ports: []api.DoctorPort{port(1, "p1"), port(2, "enp0s31f6-long")},
		System: []api.Check{{Name: "tai-offset", State: api.CheckDegraded, Detail: "0", Why: "CLOCK_TAI equals UTC: currentUtcOffsetValid is announced false"}},
	}, f.did("Doctor")
}

func (f *Fake) Diff(context.Context) (*api.Diff, error) {
	return &api.Diff{Node: f.Name, Entries: []api.DiffEntry{
		{Kind: "fdb", Key: "02:00:00:00:01:02 vlan 100", Want: "port 1", Have: "port 2"},
		{Kind: "mdb", Key: "01:00:5e:00:00:01 vlan 101", Have: "ports 1 2 3"},
		{Kind: "egress", Key: "port 3", Want: "base 1000000000 cycle 10000000 1f/9000000 08/500000 1f/500000"},
	}}, f.did("Diff")
}

func (f *Fake) KernelText(context.Context) (*api.KernelText, error) {
	return &api.KernelText{Node: f.Name, Sections: []api.TextSection{
		{Title: "fdb", Text: "02:00:00:00:01:02 dev p1 vlan 100 master br0 static\n"},
		{Title: "qdisc", Text: "qdisc taprio 100: dev p1 root tc 4 map 0 0 1 1 0 2 2 3 0 0 0 0 0 0 0 0 queues offset 0 count 1\n"},
	}}, f.did("KernelText")
}

func (f *Fake) Dist(context.Context) (*api.Dist, error) {
	return &api.Dist{Node: f.Name, Links: []api.DistLink{
		{Local: "a@hostA", Peer: "b@hostB", State: "up", StreamID: "02-00-00-00-01-01:0001", RTT: 420_000, Sent: 1201, Received: 1199, Retransmits: 2, Carrier: &api.DistCarrier{Rate: 20_000, Queued: 8_388_608, InFlight: 14_720, Streams: 12, Suspended: 1, Security: "psk", Control: 1, Bulk: 3}},
		{Local: "tsnswitchd@10.20.0.1", Peer: "a@hostA", State: "distlink", RTT: 310_000, Sent: 12, Received: 14},
	}}, f.did("Dist")
}

func (f *Fake) Neighbours(context.Context) ([]api.Neighbour, error) {
	return []api.Neighbour{
		{Port: 1, Ifname: "p1", System: MAC(2), Name: "b2", State: "Up", RemotePort: 2, Metric: 100, Hold: 27_000_000_000, Up: 61_000_000_000, Echo: "Up", EchoDetect: 30_000_000, EchoLosses: 1},
		{Port: 2, Ifname: "p2", System: MAC(4), Name: "b4", State: "Initializing", Metric: 100, Hold: 30_000_000_000, Restart: "restarting", Mismatch: "base VID 101: neighbour runs another ECT algorithm", Echo: "Down", EchoFault: "no echo from the neighbour"},
	}, f.did("Neighbours")
}

func (f *Fake) Database(_ context.Context, q api.DatabaseQuery) ([]api.LSP, error) {
	lsps := []api.LSP{
		{ID: "0200.0000.0001.00-00", Name: "b1", Sequence: 5, Lifetime: 1190, Checksum: 0x1a2b, Length: 214, Own: true},
		{ID: "0200.0000.0002.00-00", Name: "b2", Sequence: 4, Lifetime: 1188, Checksum: 0xffee, Length: 198, Overload: true},
	}
	if q.Detail {
		lsps[0].Lines = []string{"area 00000000000000000000000000", "hostname b1", "reach 0200.0000.0002.00 metric 100 [link ids local 1 remote 2; SPB metric 100, 1 port, id 1]"}
		lsps[1].Lines = []string{"hostname b2"}
	}
	if q.LSP != "" {
		lsps = lsps[:1]
	}
	return lsps, f.did("Database")
}

func (f *Fake) Nodes(context.Context) ([]api.FabricNode, error) {
	return []api.FabricNode{
		{Name: "b1", System: MAC(1), Priority: 0x8000, Address: "10.255.0.1", Reachable: true, Stations: []api.Station{{MAC: tsn.MAC{2, 0, 0, 0, 1, 1}, Name: "A"}, {MAC: tsn.MAC{2, 0, 0, 0, 1, 9}, Learned: true}}},
		{Name: "b2", System: MAC(2), Priority: 0x8000, Address: "10.255.0.2", Reachable: true, Cost: 100, Overload: true, Reason: "fan 2 failed"},
	}, f.did("Nodes")
}

// PathAB is the path of the fake's streams.
func PathAB() []api.PathHop {
	return []api.PathHop{
		{Hop: tsn.Hop{System: MAC(1), Port: 1}, Node: "b1", Ifname: "p1"},
		{Hop: tsn.Hop{System: MAC(2), Port: 1}, Node: "b2", Ifname: "p1"},
		{Hop: tsn.Hop{System: MAC(3), Port: 3}, Node: "b3", Ifname: "p3"},
	}
}

func (f *Fake) Paths(_ context.Context, q api.PathQuery) ([]api.Path, error) {
	p := api.Path{VLAN: 100, ECT: 1, From: "A", To: "B", Cost: 200, Hops: PathAB()}
	if q.From != "" {
		p.From = q.From
	}
	if q.To != "" {
		p.To = q.To
	}
	return []api.Path{p}, f.did("Paths")
}

func (f *Fake) Why(_ context.Context, q api.WhyQuery) (*api.Why, error) {
	subject := q.Subject
	return &api.Why{From: q.From, Subject: subject, Reachable: true, Lines: []string{
		"VLAN 100:", "ECT algorithm 1, mask 00: cost 200, 2 hops", "1. cost: the best is 200",
		"   via b2, port 1: cost 200, 2 hops", "   via b4, port 2: cost 300, 2 hops out: costs more, and this line is longer than a page is wide",
		"   wins: b1 b2 b3",
	}, Details: []api.WhyDetail{{
		VLAN: 100, ECT: 1, Mask: "00", Cost: 200, Hops: 2,
		Steps: []api.WhyStep{{Rule: "cost", Best: 200, Options: []api.WhyOption{
			{Via: "b2", Port: 1, Cost: 200, Hops: 2}, {Via: "b4", Port: 2, Cost: 300, Hops: 2, Lost: "costs more"},
		}}},
		Paths: []api.WhyPath{{Bridges: []string{"b1", "b2", "b3"}, PathID: []string{"8000.020000000002"}, PathIDOf: []string{"b2"}, Chosen: true}},
	}}}, f.did("Why")
}

// Stream returns a valid stream from A to B.
func Stream(unique uint16) tsn.Stream {
	a := tsn.MAC{2, 0, 0, 0, 1, 1}
	b := tsn.MAC{2, 0, 0, 0, 1, 2}
	return tsn.Stream{
		ID: tsn.MakeStreamID(a, unique), Name: "a-to-b", Talker: a, Listener: b, DestinationAddress: b,
		VID: 101, PCP: 6, Interval: 10_000_000, MaxFrameSize: 1400, MaxIntervalFrames: 2, MaxLatency: 8_000_000,
	}
}

func (f *Fake) AddStream(_ context.Context, r api.StreamRequest) (*api.StreamState, error) {
	if err := f.did("AddStream"); err != nil {
		return nil, err
	}
	s := Stream(1)
	id, talker, listener := s.ID, s.Talker, s.Listener
	s = r.Spec
	if s.ID == (tsn.StreamID{}) {
		s.ID = id
	}
	s.Talker, s.Listener = talker, listener
	if s.DestinationAddress.IsZero() {
		s.DestinationAddress = s.Listener
	}
	if s.VID == 0 {
		s.VID = 101
	}
	if err := s.Validate(); err != nil {
		return nil, api.Errorf(api.CodeBadRequest, "%w", err)
	}
	if s.Bandwidth() > 75*tsn.Mbps {
		return nil, api.Refuse(tsn.FailureBandwidth, s.ID, PathAB()[1],
			"stream %s needs %s, but b2 port 1 (p1) has 72693 kbit/s left of 75 Mbit/s", s.ID, s.Bandwidth())
	}
	st := api.StreamState{Stream: s, Owner: f.Name, State: api.StreamReserved, Reason: "no schedule applied since it was added", Path: PathAB(), Latency: 1_260_000}
	if !r.DryRun {
		f.mu.Lock()
		f.Streams = append(f.Streams, st)
		f.mu.Unlock()
	}
	return &st, nil
}

func (f *Fake) RemoveStream(_ context.Context, stream string) error {
	if err := f.did("RemoveStream"); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	n := len(f.Streams)
	f.Streams = slices.DeleteFunc(f.Streams, func(s api.StreamState) bool { return s.Stream.ID.String() == stream || s.Stream.Name == stream })
	if n == len(f.Streams) {
		return noStream(stream)
	}
	return nil
}

func noStream(s string) error {
	return api.Errorf(api.CodeNotFound, "no stream %q; `tsnctl stream list` shows them", s)
}

func (f *Fake) ListStreams(context.Context) ([]api.StreamState, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.Streams), f.Err
}

func (f *Fake) ShowStream(_ context.Context, stream string) (*api.StreamState, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, s := range f.Streams {
		if s.Stream.ID.String() == stream || s.Stream.Name == stream {
			return &s, f.Err
		}
	}
	return nil, noStream(stream)
}

// Schedule returns a schedule of two ports and two streams, one of which did
// not fit.
func Schedule(state string) *api.Schedule {
	gates := &tsn.GateControlList{
		BaseTime: tsn.PTPTime{NS: 1_000_000_000}, CycleTime: 10_000_000,
		Entries: []tsn.GateEntry{{Gates: 0x17, Interval: 2_000_000}, {Gates: 0x18, Interval: 500_000}, {Gates: 0x17, Interval: 7_500_000}},
	}
	id := Stream(1).ID
	s := &api.Schedule{
		ID: "s-1", State: state, Base: gates.BaseTime, CycleTime: gates.CycleTime,
		Ports: []api.PortSchedule{
			{PathHop: PathAB()[0], Admin: gates, Windows: []api.Window{{Stream: id, Start: 2_000_000, End: 2_461_440, FrameStart: 2_005_000, FrameEnd: 2_456_440, Period: 10_000_000}}},
			{PathHop: PathAB()[1], Admin: gates, ConfigPending: true, Reason: "base time not reached", Windows: []api.Window{{Stream: id, Start: 2_600_000, End: 3_061_440, FrameStart: 2_605_000, FrameEnd: 3_056_440, Period: 10_000_000}}},
		},
		Streams: []api.ScheduledStream{
			{ID: id, Name: "a-to-b", Scheduled: true, Latency: 1_260_000, MaxLatency: 8_000_000},
			{ID: Stream(2).ID, MaxLatency: 100_000, Reason: "no window on b2 port 1 within 100 us"},
		},
	}
	if state == api.ScheduleRunning {
		s.Ports[0].Oper = gates
	}
	return s
}

func (f *Fake) PlanSchedule(context.Context, api.PlanRequest) (*api.Schedule, error) {
	return Schedule(api.SchedulePlanned), f.did("PlanSchedule")
}

func (f *Fake) ApplySchedule(_ context.Context, r api.ApplyRequest, progress func(api.Progress)) (*api.Schedule, error) {
	progress(api.Progress{Step: "plan", Text: "2 ports, 1 of 2 streams", Elapsed: 1_500_000})
	progress(api.Progress{Node: "b2", Step: "stage", Text: "1 port", Elapsed: 12_000_000})
	if err := f.did("ApplySchedule"); err != nil {
		return nil, err
	}
	progress(api.Progress{Step: "verify", Text: "running on every port", Elapsed: 2_012_000_000})
	s := Schedule(api.ScheduleRunning)
	if r.Confirm > 0 {
		s.Trial = &api.Trial{ID: s.ID, Phase: "started", RevertIn: r.Confirm, Text: "unconfirmed, reverts in 59 s"}
		s.Silent = []string{"b4"}
	}
	return s, nil
}

func (f *Fake) ConfirmSchedule(_ context.Context, progress func(api.Progress)) (*api.Schedule, error) {
	progress(api.Progress{Node: "b2", Step: "confirm", Text: "keeps it", Elapsed: 3_000_000})
	return Schedule(api.ScheduleRunning), f.did("ConfirmSchedule")
}

func (f *Fake) RollBackSchedule(_ context.Context, progress func(api.Progress)) (*api.Schedule, error) {
	progress(api.Progress{Node: "b2", Step: "revert", Text: "goes back in 2 s", Elapsed: 3_000_000})
	return Schedule(api.ScheduleRunning), f.did("RollBackSchedule")
}

func (f *Fake) ShowSchedule(context.Context) (*api.Schedule, error) {
	return Schedule(api.ScheduleRunning), f.did("ShowSchedule")
}

func (f *Fake) Events(ctx context.Context, since uint64, emit func(api.Event) error) error {
	if err := f.did("Events"); err != nil {
		return err
	}
	for _, e := range f.EventList {
		if e.Seq >= since {
			if err := emit(e); err != nil {
				return err
			}
		}
	}
	<-ctx.Done()
	return ctx.Err()
}

func (f *Fake) PutReservations(_ context.Context, p api.Reservations) error {
	if err := f.did("PutReservations"); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if old, ok := f.Held[p.Owner]; ok && p.Generation < old.Generation {
		return api.Errorf(api.CodeConflict, "generation %d of %s is older than %d", p.Generation, p.Owner, old.Generation)
	}
	if !p.DryRun {
		f.Held[p.Owner] = p
	}
	return nil
}

func (f *Fake) StageSchedule(_ context.Context, r api.StageRequest) (*api.ScheduleState, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.Staged = r
	f.Sched = api.ScheduleState{StagedID: r.ID, State: api.ScheduleStaged, Trial: &api.Trial{ID: r.ID, Phase: "staged", RevertAt: r.RevertAt, Systems: r.Systems}}
	for _, p := range r.Ports {
		f.Sched.Ports = append(f.Sched.Ports, api.PortSchedule{PathHop: api.PathHop{Hop: tsn.Hop{Port: p.Port}}, Admin: p.Gates})
	}
	return f.sched(), f.Err
}

func (f *Fake) CommitSchedule(_ context.Context, id string) (*api.ScheduleState, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.Sched.StagedID != id {
		return nil, api.Errorf(api.CodeWrongOrder, "schedule %q is not staged here", id)
	}
	f.Sched.StagedID, f.Sched.RunningID, f.Sched.State, f.Sched.Base = "", id, api.SchedulePending, f.Staged.Base
	return f.sched(), f.Err
}

func (f *Fake) TrialSchedule(_ context.Context, r api.TrialRequest) (*api.ScheduleState, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.Calls = append(f.Calls, "TrialSchedule "+r.Step)
	if f.Sched.Trial == nil || f.Sched.Trial.ID != r.ID {
		return nil, api.Errorf(api.CodeNotFound, "schedule %q is not known here", r.ID)
	}
	t := *f.Sched.Trial
	t.RevertAt, f.Sched.Trial = r.At, &t
	return f.sched(), f.Err
}

func (f *Fake) AbortSchedule(context.Context, string) (*api.ScheduleState, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.Sched = api.ScheduleState{State: api.ScheduleNone}
	return f.sched(), f.Err
}

func (f *Fake) ScheduleState(context.Context) (*api.ScheduleState, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.sched(), f.Err
}

func (f *Fake) sched() *api.ScheduleState {
	s := f.Sched
	return &s
}

func (f *Fake) Node(ctx context.Context) (*api.Status, error) { return f.Status(ctx) }
