package daemon

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tsnswitch"
	"tsnswitch/internal/api"
	"tsnswitch/qbv"
)

const ms = 1_000_000

// A stand is a conductor on b1 and what it conducts: bridges of one port at
// 100 Mbit/s.
type stand struct {
	*conductor
	f    *fakeFabric
	want []api.StreamState
	said []string
}

func newStand(t *testing.T, systems ...byte) *stand {
	t.Helper()
	s := &stand{f: newFabric(systems...)}
	s.f.now = 1000 * ms
	for _, p := range s.f.peers {
		p.ports = []api.PortStatus{{Port: 1, Ifname: "p1", Rate: 100 * tsn.Mbps}}
	}
	s.conductor = &conductor{
		name: "b1", topo: s.f, peers: s.f, mem: &ownMemory{}, save: s.f.save,
		now:     func(context.Context) (tsn.PTPTime, error) { return tsn.PTPTime{NS: s.f.now}, nil },
		streams: func(context.Context) ([]api.StreamState, error) { return slices.Clone(s.want), nil },
		plan: planSettings{
			GuardOctets: 1542, SyncError: 1000, MaxCycle: 1000 * ms, MaxEntries: 256, LeadTime: 500 * ms,
		},
	}
	return s
}

// reserved is a stream of unique id n that stands on these bridges.
func reserved(n uint16, systems ...byte) api.StreamState {
	s := api.StreamState{Stream: aStream(n), Owner: "b1", State: api.StreamReserved}
	for _, h := range hops(systems...) {
		s.Path = append(s.Path, api.PathHop{Hop: h, Node: fmt.Sprintf("b%d", h.System[5]), Ifname: "p1"})
	}
	if len(s.Path) == 0 {
		s.State, s.Reason = api.StreamFailed, "no path"
	}
	return s
}

func (s *stand) do(t *testing.T) (*api.Schedule, error) {
	t.Helper()
	s.said = nil
	return s.apply(t.Context(), api.ApplyRequest{}, func(p api.Progress) { s.said = append(s.said, p.Node+" "+p.Step) })
}

func (s *stand) mustApply(t *testing.T) *api.Schedule {
	t.Helper()
	r, err := s.do(t)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// Plan, stage everywhere, commit one base time everywhere, compare what runs.
func TestConductorApply(t *testing.T) {
	s := newStand(t, 1, 2)
	s.want = []api.StreamState{reserved(1, 1, 2)}
	begun := s.f.now
	r := s.mustApply(t)
	log := s.f.took()
	for i := 0; i < len(log); i += 2 { // both at once
		slices.Sort(log[i : i+2])
	}
	calls := []string{"b1 stages 1", "b2 stages 1", "b1 commit", "b2 commit", "b1 started", "b2 started", "b1 prepare", "b2 prepare", "b1 confirmed", "b2 confirmed"}
	if d := cmp.Diff(calls, log); d != "" {
		t.Error(d)
	}
	want := []string{
		"b1 plan", "b1 commit", "b1 stage", "b2 stage", "b1 commit", "b2 commit", "b1 verify", "b2 verify",
		"b1 confirm", "b2 confirm", "b1 confirm",
	}
	if d := cmp.Diff(want, s.said); d != "" {
		t.Error(d)
	}
	if r.State != api.ScheduleRunning || r.CycleTime != ms || r.Base.NS < begun+500*ms || r.Base.NS%ms != 0 {
		t.Errorf("%+v", r)
	}
	for _, p := range s.f.peers {
		if p.running != r.ID || p.base != r.Base {
			t.Errorf("b%d runs %s at %v", p.n, p.running, p.base)
		}
	}
	for _, p := range r.Ports {
		if p.Oper == nil || len(p.Windows) != 1 || p.Windows[0].Stream != aStream(1).ID {
			t.Errorf("%+v", p)
		}
	}
	if c := s.mem.Conductor; c == nil || c.Open || c.Before != nil || c.Schedule.State != api.ScheduleRunning || s.stale(s.want) {
		t.Errorf("remembered %+v", c)
	}
	// What follows starts at the end of a cycle of what runs (802.1Q 8.6.9.3.1).
	s.want = append(s.want, reserved(2, 1, 2))
	s.f.now = r.Base.NS + 12345
	begun = s.f.now
	if next := s.mustApply(t); (next.Base.NS-r.Base.NS)%ms != 0 || next.Base.NS < begun+500*ms {
		t.Errorf("base %d after %d", next.Base.NS, r.Base.NS)
	}
}

// A stream that does not fit is left out and says why; the others run.
func TestConductorLeavesOut(t *testing.T) {
	s := newStand(t, 1, 2)
	tight := reserved(2, 1, 2)
	tight.Stream.MaxLatency = 1000 // ns: less than one transmission
	shaped := reserved(3, 1, 2)
	shaped.Stream.PCP = 3
	s.want = []api.StreamState{reserved(1, 1, 2), tight, shaped, reserved(4)}
	r := s.mustApply(t)
	var got []string
	for _, x := range r.Streams {
		got = append(got, fmt.Sprintf("%d %t", x.ID[7], x.Scheduled))
	}
	if d := cmp.Diff([]string{"1 true", "2 false", "3 false", "4 false"}, got); d != "" {
		t.Error(d)
	}
	for i, want := range []string{"", "takes 40720 ns on its fastest route", "shaped", "not reserved: no path"} {
		if why := r.Streams[i].Reason; (why == "") != (want == "") || !strings.Contains(why, want) {
			t.Errorf("stream %d: reason %q, want %q in it", i+1, why, want)
		}
	}
	if s.stale(s.want) {
		t.Error("planned again for streams that were refused")
	}
}

func TestConductorCycle(t *testing.T) {
	s := newStand(t, 1)
	s.want = []api.StreamState{reserved(1, 1)}
	if _, err := s.compute(t.Context(), api.PlanRequest{CycleTime: 3 * ms}, quietly); api.ErrorCode(err) != api.CodeRefused || !strings.Contains(err.Error(), "1000000 ns") {
		t.Errorf("%v", err)
	}
	if p, err := s.compute(t.Context(), api.PlanRequest{CycleTime: ms}, quietly); err != nil || p.result.State != api.SchedulePlanned || len(s.f.took()) > 0 {
		t.Errorf("%v", err)
	}
}

// One system takes no part: nothing starts anywhere, and nothing is remembered.
func TestConductorStageRefused(t *testing.T) {
	for _, call := range []string{"stage", "node"} {
		t.Run(call, func(t *testing.T) {
			s := newStand(t, 1, 2, 3)
			s.want = []api.StreamState{reserved(1, 1, 2, 3)}
			s.f.peers[sys(2)].refuse[call] = api.Errorf(api.CodeConflict, "b2: another is staged")
			_, err := s.do(t)
			if api.ErrorCode(err) != api.CodeConflict || !strings.Contains(err.Error(), "b2") {
				t.Errorf("%v", err)
			}
			for _, p := range s.f.peers {
				if p.trial.Open() || p.running != "" {
					t.Errorf("b%d: staged %q, running %q", p.n, p.trial.ID, p.running)
				}
			}
			if s.mem.Conductor != nil || s.f.saves > 0 {
				t.Errorf("remembered %+v", s.mem.Conductor)
			}
		})
	}
}

// The second commit fails: the first is taken back, the old schedule goes on.
func TestConductorCommitFails(t *testing.T) {
	s := newStand(t, 1, 2, 3)
	s.want = []api.StreamState{reserved(1, 1, 2, 3)}
	old := s.mustApply(t).ID
	s.f.took()
	s.want = append(s.want, reserved(2, 1, 2, 3))
	s.f.peers[sys(2)].refuse["commit"] = errors.New("connection reset")
	if _, err := s.do(t); err == nil || !strings.Contains(err.Error(), "b2 did not commit") {
		t.Errorf("%v", err)
	}
	for _, p := range s.f.peers {
		if p.trial.Open() || p.running != old {
			t.Errorf("b%d: %q is %s, running %q, want %q", p.n, p.trial.ID, p.trial.Phase, p.running, old)
		}
	}
	if s.mem.Conductor.Schedule.ID != old || !s.stale(s.want) {
		t.Error("the schedule that failed is remembered")
	}
	s.f.peers[sys(2)].refuse = map[string]error{}
	if r := s.mustApply(t); len(r.Streams) != 2 || s.stale(s.want) {
		t.Errorf("%+v", r)
	}
}

// Without gPTP time there is no base time, and no stage is left behind.
func TestConductorWithoutTime(t *testing.T) {
	s := newStand(t, 1, 2)
	s.want = []api.StreamState{reserved(1, 1, 2)}
	s.conductor.now = func(context.Context) (tsn.PTPTime, error) { return tsn.PTPTime{}, errNoTime }
	if _, err := s.do(t); api.ErrorCode(err) != api.CodeWrongOrder || !errors.Is(err, errNoTime) {
		t.Errorf("%v", err)
	}
	if s.f.peers[sys(1)].trial.Open() || s.f.peers[sys(2)].trial.Open() {
		t.Error("a stage is left")
	}
}

// A clock that loses its grand master for a moment, while it settles, is waited for.
func TestConductorWaitsForClocks(t *testing.T) {
	s := newStand(t, 1, 2)
	s.want = []api.StreamState{reserved(1, 1, 2)}
	s.conductor.patience = time.Minute
	now, asked := s.conductor.now, 0
	s.conductor.now = func(ctx context.Context) (tsn.PTPTime, error) {
		if asked++; asked == 1 {
			return tsn.PTPTime{}, errNoTime
		}
		return now(ctx)
	}
	if s.mustApply(t); asked < 2 {
		t.Error("the clock was not asked again")
	}
}

// The kernel runs other gates than planned: that is not called success.
func TestConductorCompares(t *testing.T) {
	s := newStand(t, 1, 2)
	s.want = []api.StreamState{reserved(1, 1, 2)}
	p, err := s.compute(t.Context(), api.PlanRequest{CycleTime: 0}, quietly)
	if err != nil {
		t.Fatal(err)
	}
	state := func(l *tsn.GateControlList) *api.ScheduleState {
		return &api.ScheduleState{Ports: []api.PortSchedule{{PathHop: api.PathHop{Hop: hops(2)[0]}, Oper: l}}}
	}
	same := *p.result.Ports[1].Admin
	same.Entries = slices.Clone(same.Entries)
	half := same.Entries[0].Interval / 2 // a kernel may split an entry
	same.Entries = slices.Insert(same.Entries, 1, tsn.GateEntry{Gates: same.Entries[0].Gates, Interval: same.Entries[0].Interval - half})
	same.Entries[0].Interval = half
	if err := p.compare("b2", sys(2), state(&same)); err != nil {
		t.Errorf("a split entry: %v", err)
	}
	for name, l := range map[string]*tsn.GateControlList{
		"none":        nil,
		"other cycle": {CycleTime: 2 * ms, Entries: same.Entries},
		"other gates": {CycleTime: ms, Entries: []tsn.GateEntry{{Gates: 0x1f, Interval: ms}}},
	} {
		if err := p.compare("b2", sys(2), state(l)); api.ErrorCode(err) != api.CodeInternal || !strings.Contains(err.Error(), "b2: port 1 runs") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A schedule is made again when a stream comes, goes, moves or changes; not
// when one is reserved that no schedule is for.
func TestConductorStale(t *testing.T) {
	s := newStand(t, 1, 2, 3)
	if s.stale([]api.StreamState{reserved(1, 1)}) {
		t.Error("without a schedule")
	}
	s.want = []api.StreamState{reserved(1, 1, 2), reserved(2)}
	s.mustApply(t)
	bigger := reserved(1, 1, 2)
	bigger.Stream.MaxFrameSize = 1500
	shaped := reserved(4, 1, 2)
	shaped.Stream.PCP = 2
	for _, c := range []struct {
		name    string
		streams []api.StreamState
		stale   bool
	}{
		{"as it was, in another order", []api.StreamState{reserved(2), reserved(1, 1, 2)}, false},
		{"gone", []api.StreamState{reserved(2)}, true},
		{"new", []api.StreamState{reserved(1, 1, 2), reserved(2), reserved(3, 1)}, true},
		{"moved", []api.StreamState{reserved(1, 1, 3), reserved(2)}, true},
		{"failed", []api.StreamState{reserved(1), reserved(2)}, true},
		{"stands again", []api.StreamState{reserved(1, 1, 2), reserved(2, 1)}, true},
		{"another under the same id", []api.StreamState{bigger, reserved(2)}, true},
		{"one that is shaped", []api.StreamState{reserved(1, 1, 2), reserved(2), shaped}, false},
	} {
		if got := s.stale(c.streams); got != c.stale {
			t.Errorf("%s: stale %t", c.name, got)
		}
	}
}

// A system that lost its part is named; one that was away while the schedule
// changed gets its gates opened when it is back.
func TestConductorMissing(t *testing.T) {
	s := newStand(t, 1, 2, 3)
	s.want = []api.StreamState{reserved(1, 1, 2)}
	s.mustApply(t)
	if m, err := s.missing(t.Context()); m != "" || err != nil {
		t.Errorf("%q %v", m, err)
	}
	s.f.peers[sys(2)].running = ""
	if m, err := s.missing(t.Context()); m != "b2" || err != nil {
		t.Errorf("%q %v", m, err)
	}
	s.f.peers[sys(2)].refuse["state"] = errLost
	if _, err := s.missing(t.Context()); err == nil {
		t.Error("a silent system is not missing, nor is it known not to be")
	}

	s.want = []api.StreamState{reserved(1, 1, 3)} // moved away from b2, which is silent
	s.mustApply(t)
	if d := cmp.Diff([]tsn.MAC{sys(2)}, s.mem.Conductor.Left); d != "" {
		t.Error(d)
	}
	if m, err := s.missing(t.Context()); m != "" || err != nil {
		t.Errorf("%q %v", m, err)
	}
	delete(s.f.peers[sys(2)].refuse, "state")
	if m, _ := s.missing(t.Context()); m != "b2" {
		t.Errorf("%q is to be told", m)
	}
	s.f.took()
	r := s.mustApply(t)
	if p := s.f.peers[sys(2)]; p.running != r.ID || len(p.gates[r.ID]) != 0 || len(s.mem.Conductor.Left) != 0 {
		t.Errorf("b2 runs %q with %v", p.running, p.gates[r.ID])
	}
}

// The last stream is gone: every gate opens again.
func TestConductorOpensGates(t *testing.T) {
	s := newStand(t, 1, 2)
	s.want = []api.StreamState{reserved(1, 1, 2)}
	s.mustApply(t)
	s.want = nil
	r := s.mustApply(t)
	if len(r.Ports) != 0 || s.f.peers[sys(1)].running != r.ID || s.f.peers[sys(2)].running != r.ID || s.stale(nil) {
		t.Errorf("%+v", r)
	}
}

// The disk is full: what cannot be remembered is not started.
func TestConductorDiskFull(t *testing.T) {
	s := newStand(t, 1)
	s.want = []api.StreamState{reserved(1, 1)}
	s.f.disk = errors.New("no space left on device")
	if _, err := s.do(t); api.ErrorCode(err) != api.CodeInternal || !strings.Contains(err.Error(), "nothing was changed anywhere") {
		t.Errorf("%v", err)
	}
	if p := s.f.peers[sys(1)]; p.running != "" || p.trial.Phase != qbv.TrialDropped || s.mem.Conductor != nil {
		t.Errorf("%+v", p.trial)
	}
}

// A base time that came too near for one system is chosen again, further
// ahead, after the first one has passed.
func TestConductorBaseTimeTooNear(t *testing.T) {
	s := newStand(t, 1, 2)
	s.want = []api.StreamState{reserved(1, 1, 2)}
	slow := s.f.peers[sys(2)]
	slow.refuse = map[string]error{"commit": api.Errorf(api.CodeWrongOrder, "base time is too near")}
	var leads []int64
	r, err := s.apply(t.Context(), api.ApplyRequest{}, func(p api.Progress) {
		if strings.HasPrefix(p.Text, "base time") {
			if leads = append(leads, s.f.now); len(leads) == 2 {
				slow.refuse = nil
			}
		}
		if strings.Contains(p.Text, "further ahead") {
			s.f.now += 500 * ms // no time is waited for
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(leads) != 2 || r.State != api.ScheduleRunning || slow.running != r.ID || r.Base.NS-leads[1] < 1000*ms {
		t.Errorf("%d base times, %+v", len(leads), r)
	}
}
