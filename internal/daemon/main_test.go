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
	"tsnswitch/qbv"
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
	now   int64      // gPTP time
	each  func()     // before each answer about the state, if set
	mu    sync.Mutex // schedules are changed at all systems at once
	log   []string   // every changing call, in order
	saves int
	disk  error // what a save answers
}

func newFabric(systems ...byte) *fakeFabric {
	f := &fakeFabric{paths: map[tsn.MAC][]tsn.Hop{}, peers: map[tsn.MAC]*fakePeer{}}
	for _, n := range systems {
		f.peers[sys(n)] = &fakePeer{fabric: f, n: n, system: sys(n), held: map[string]api.Reservations{}, proxies: map[string]api.Proxies{}, refuse: map[string]error{}, clock: api.ClockState{GrandMaster: "gm"}}
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
	return api.PathHop{Hop: h, Node: fmt.Sprintf("%c%d", "bh"[h.System[3]], h.System[5])}
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
	system  tsn.MAC
	unknown bool             // gone from the link-state database
	dead    bool             // does nothing by itself
	refuse  map[string]error // by call: "dry", "put", "stage", "commit", "abort", "state", "node", steps of a trial
	lost    bool             // does as it is told, and its answer gets lost

	held    map[string]api.Reservations
	proxies map[string]api.Proxies
	trial   qbv.Trial
	answer  *qbv.TrialAnswer // of the call in progress
	gates   map[string][]api.PortGates
	running string
	before  string
	old     string
	base    tsn.PTPTime
	clock   api.ClockState // Now is what it is ahead of the fabric
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

func (p *fakePeer) PutProxies(_ context.Context, r api.Proxies) error {
	if r.DryRun {
		return p.refuse["dry"]
	}
	if err := p.refuse["put"]; err != nil {
		return err
	}
	if old := p.proxies[r.Owner]; r.Generation < old.Generation {
		return api.Errorf(api.CodeConflict, "generation %d after %d", r.Generation, old.Generation)
	}
	p.proxies[r.Owner] = r
	p.say("speaks for %d talkers, %d listeners", len(r.Talkers), len(r.Listeners))
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

// now is the time of every fake: that of its fabric, which the test moves.
func (p *fakePeer) now() tsn.PTPTime { return tsn.PTPTime{NS: p.fabric.now} }

func (p *fakePeer) StageSchedule(_ context.Context, r api.StageRequest) (*api.ScheduleState, error) {
	p.fabric.mu.Lock()
	defer p.fabric.mu.Unlock()
	if err := p.refuse["stage"]; err != nil {
		return nil, err
	}
	if p.trial.Open() && p.trial.Phase != qbv.TrialStaged {
		return nil, api.Errorf(api.CodeConflict, "b%d: not confirmed", p.n)
	}
	p.trial = qbv.Trial{
		ID: r.ID, Systems: r.Systems, StartBy: r.StartBy, Base: r.Base, KeepBy: r.KeepBy, RevertAt: r.RevertAt, Phase: qbv.TrialStaged,
	}
	if err := p.trial.Validate(p.system); err != nil {
		return nil, err
	}
	p.before, p.old = p.running, r.OldID
	if p.gates == nil {
		p.gates = map[string][]api.PortGates{}
	}
	p.gates[r.ID], p.gates[r.OldID] = r.Ports, r.Old
	p.say("stages %d", len(r.Ports))
	return p.state(), nil
}

func (p *fakePeer) CommitSchedule(_ context.Context, id string) (*api.ScheduleState, error) {
	return p.step(id, "commit", func(t qbv.Trial) (qbv.Trial, error) { return t.Commit(p.now()) })
}

func (p *fakePeer) AbortSchedule(_ context.Context, id string) (*api.ScheduleState, error) {
	return p.step(id, "abort", func(t qbv.Trial) (qbv.Trial, error) { return t.Abort(p.now()) })
}

func (p *fakePeer) TrialSchedule(_ context.Context, r api.TrialRequest) (*api.ScheduleState, error) {
	return p.step(r.ID, r.Step, func(t qbv.Trial) (qbv.Trial, error) {
		switch r.Step {
		case api.TrialPrepare:
			return t.Prepare(p.now(), r.Ballot)
		case api.TrialWithdraw:
			return t.Withdraw(p.now(), r.Ballot)
		case api.TrialStarted, api.TrialConfirmed:
			return t.Tell(qbv.TrialPhase(r.Step))
		case api.TrialBar:
			return t.Bar()
		case api.TrialAdvance:
			return t.Advance(p.now(), r.At)
		}
		t, a := t.Ask(p.system, p.now())
		p.answer = &a
		return t, nil
	})
}

// step is one call about a change. "lost call" does it, and its answer is lost.
func (p *fakePeer) step(id, call string, do func(qbv.Trial) (qbv.Trial, error)) (*api.ScheduleState, error) {
	p.fabric.mu.Lock()
	defer p.fabric.mu.Unlock()
	if err := p.refuse[call]; err != nil {
		return nil, err
	}
	if p.trial.ID != id {
		return nil, api.Errorf(api.CodeNotFound, "nothing is known of %s", id)
	}
	p.say("%s", call)
	t, err := do(p.trial)
	if err != nil {
		return nil, api.Errorf(api.CodeWrongOrder, "%w", err)
	}
	p.trial = t
	p.run()
	s := p.state()
	if p.answer != nil {
		s.Trial.Phase, s.Trial.Final, p.answer = string(p.answer.Phase), p.answer.Final, nil
	}
	return s, p.refuse["lost "+call]
}

// run makes what runs fit the trial.
func (p *fakePeer) run() {
	switch {
	case p.trial.Takes():
		p.running, p.base = p.trial.ID, p.trial.Base
	case p.trial.Phase == qbv.TrialDropped:
		p.running = p.before
	case p.trial.Phase == qbv.TrialReverted:
		p.running, p.base = p.old, p.trial.RevertAt
	}
}

// due does what the system does by itself as time goes on.
func (p *fakePeer) due() {
	switch action, _ := p.trial.Due(p.now()); action {
	case qbv.TrialAsk:
		var answers []qbv.TrialAnswer
		for _, o := range p.fabric.peers {
			if o == p || o.refuse["ask"] != nil || p.refuse["ask"] != nil || o.trial.ID != p.trial.ID {
				continue
			}
			t, a := o.trial.Ask(o.system, p.now())
			o.trial, answers = t, append(answers, a)
		}
		p.trial = p.trial.Count(p.now(), answers)
	case qbv.TrialRestore:
		p.trial = p.trial.Restore()
		p.trial.Restored = true
	case qbv.TrialIdle:
	}
	p.run()
}

// ScheduleState takes its time: one that asks again and again sees the base
// time come.
func (p *fakePeer) ScheduleState(context.Context) (*api.ScheduleState, error) {
	p.fabric.mu.Lock()
	defer p.fabric.mu.Unlock()
	if p.fabric.each != nil {
		p.fabric.each()
	}
	if p.trial.Takes() && p.refuse["state"] == nil {
		p.fabric.now = max(p.fabric.now, p.trial.Base.NS)
	}
	return p.state(), p.refuse["state"]
}

func (p *fakePeer) state() *api.ScheduleState {
	s := &api.ScheduleState{RunningID: p.running, State: api.ScheduleRunning, Base: p.base, Clock: p.clock}
	s.Clock.Now += p.fabric.now
	for _, g := range p.gates[p.running] {
		s.Ports = append(s.Ports, api.PortSchedule{PathHop: api.PathHop{Hop: tsn.Hop{System: p.system, Port: g.Port}}, Oper: g.Gates})
	}
	if t := p.trial; t.ID != "" {
		s.Trial = &api.Trial{ID: t.ID, Phase: string(t.Phase), RevertAt: t.RevertAt, Systems: t.Systems, Text: t.Text(p.now())}
	}
	return s
}

func (p *fakePeer) Node(context.Context) (*api.Status, error) {
	return &api.Status{Node: fmt.Sprintf("b%d", p.n), Ports: p.ports}, p.refuse["node"]
}
