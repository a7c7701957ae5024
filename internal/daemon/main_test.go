package daemon

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"tsnswitch"
	"tsnswitch/internal/api"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// sys is the system id of bridge n.
func sys(n byte) tsn.MAC { return tsn.MAC{2, 0, 0, 0, 0, n} }

// station is the address of end station n.
func station(n byte) tsn.MAC { return tsn.MAC{2, 0, 0, 1, 0, n} }

// aStream is a stream from station 1 to 2 that fits on 100 Mbit/s many times.
func aStream(unique uint16) tsn.Stream {
	return tsn.Stream{
		ID: tsn.MakeStreamID(station(1), unique), Name: fmt.Sprintf("s%d", unique),
		Talker: station(1), Listener: station(2), DestinationAddress: station(2), VID: 101, PCP: 6,
		Interval: 1_000_000, MaxFrameSize: 200, MaxIntervalFrames: 1, MaxLatency: 10_000_000,
	}
}

// hops is a path that leaves each of these bridges by port 1.
func hops(systems ...byte) []tsn.Hop {
	var out []tsn.Hop
	for _, n := range systems {
		out = append(out, tsn.Hop{System: sys(n), Port: 1})
	}
	return out
}

// A fakeFabric is topology and peers without a network.
type fakeFabric struct {
	paths map[tsn.MAC][]tsn.Hop // by listener
	peers map[tsn.MAC]*fakePeer
	mu    sync.Mutex // commits come all at once
	log   []string   // every changing call, in order
	saves int
	disk  error // what a save answers
}

func newFabric(systems ...byte) *fakeFabric {
	f := &fakeFabric{paths: map[tsn.MAC][]tsn.Hop{}, peers: map[tsn.MAC]*fakePeer{}}
	for _, n := range systems {
		f.peers[sys(n)] = &fakePeer{fabric: f, n: n, held: map[string]api.Reservations{}, refuse: map[string]error{}}
	}
	return f
}

func (f *fakeFabric) Path(ctx context.Context, _ tsn.VID, _, to tsn.MAC) ([]tsn.Hop, error) {
	if ctx.Err() != nil {
		return nil, errLoopEnded
	}
	if p := f.paths[to]; p != nil {
		return slices.Clone(p), nil
	}
	return nil, errors.New("unreachable")
}

func (f *fakeFabric) Label(_ context.Context, h tsn.Hop) api.PathHop {
	return api.PathHop{Hop: h, Node: fmt.Sprintf("b%d", h.System[5])}
}

func (f *fakeFabric) Peer(_ context.Context, s tsn.MAC) (api.Peer, error) {
	if p := f.peers[s]; p != nil && !p.unknown {
		return p, nil
	}
	return nil, api.Errorf(api.CodeUnknownNode, "system %s is not known to the fabric", s)
}

func (f *fakeFabric) save() error { f.saves++; return f.disk }

func (f *fakeFabric) took() (log []string) { log, f.log = f.log, nil; return log }

// A fakePeer is one daemon: what it holds, and what it refuses, by call.
type fakePeer struct {
	fabric  *fakeFabric
	n       byte
	unknown bool             // gone from the link-state database
	refuse  map[string]error // "dry", "put", "stage", "commit", "abort", "state", "node"
	lost    bool             // does as it is told, and its answer gets lost

	held    map[string]api.Reservations
	staged  string
	gates   map[string][]api.PortGates
	running string
	before  string
	base    tsn.PTPTime
	ports   []api.PortStatus
}

var errLost = api.Errorf(api.CodeUnavailable, "no answer")

func (p *fakePeer) say(format string, a ...any) {
	p.fabric.log = append(p.fabric.log, fmt.Sprintf("b%d ", p.n)+fmt.Sprintf(format, a...))
}

func (p *fakePeer) PutReservations(ctx context.Context, r api.Reservations) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if r.DryRun {
		return p.refuse["dry"]
	}
	if err := p.refuse["put"]; err != nil {
		return err
	}
	if old := p.held[r.Owner]; r.Generation <= old.Generation {
		return api.Errorf(api.CodeConflict, "generation %d after %d", r.Generation, old.Generation)
	}
	p.held[r.Owner] = r
	p.say("holds %d", len(r.Reservations))
	if p.lost {
		return errLost
	}
	return nil
}

// holds are the unique ids of the streams an owner has here.
func (p *fakePeer) holds(owner string) (ids []uint16) {
	for _, r := range p.held[owner].Reservations {
		ids = append(ids, uint16(r.Stream.ID[6])<<8|uint16(r.Stream.ID[7]))
	}
	return ids
}

func (p *fakePeer) StageSchedule(_ context.Context, id string, ports []api.PortGates) (*api.ScheduleState, error) {
	if err := p.refuse["stage"]; err != nil {
		return nil, err
	}
	p.staged = id
	if p.gates == nil {
		p.gates = map[string][]api.PortGates{}
	}
	p.gates[id] = ports
	p.say("stages %d", len(ports))
	return p.state(), nil
}

func (p *fakePeer) CommitSchedule(_ context.Context, id string, base tsn.PTPTime) (*api.ScheduleState, error) {
	p.fabric.mu.Lock()
	defer p.fabric.mu.Unlock()
	if err := p.refuse["commit"]; err != nil {
		return nil, err
	}
	if p.staged != id {
		return nil, api.Errorf(api.CodeWrongOrder, "nothing staged under %s", id)
	}
	p.before, p.running, p.staged, p.base = p.running, id, "", base
	p.say("commits")
	return p.state(), nil
}

func (p *fakePeer) AbortSchedule(_ context.Context, id string) (*api.ScheduleState, error) {
	switch id {
	case p.staged:
		p.staged = ""
	case p.running:
		p.running = p.before
	}
	p.say("aborts")
	return p.state(), nil
}

func (p *fakePeer) ScheduleState(context.Context) (*api.ScheduleState, error) {
	return p.state(), p.refuse["state"]
}

func (p *fakePeer) state() *api.ScheduleState {
	s := &api.ScheduleState{StagedID: p.staged, RunningID: p.running, State: api.ScheduleRunning, Base: p.base}
	for _, g := range p.gates[p.running] {
		s.Ports = append(s.Ports, api.PortSchedule{PathHop: api.PathHop{Hop: tsn.Hop{System: sys(p.n), Port: g.Port}}, Oper: g.Gates})
	}
	return s
}

func (p *fakePeer) Node(context.Context) (*api.Status, error) {
	return &api.Status{Node: fmt.Sprintf("b%d", p.n), Ports: p.ports}, p.refuse["node"]
}
