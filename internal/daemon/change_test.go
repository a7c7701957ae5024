package daemon

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"tsnswitch"
	"tsnswitch/internal/api"
	"tsnswitch/qbv"
)

// tryOut applies with a minute to confirm in.
func (s *stand) tryOut(t *testing.T) *api.Schedule {
	t.Helper()
	s.said = nil
	r, err := s.apply(t.Context(), api.ApplyRequest{Confirm: 60_000 * ms}, func(p api.Progress) { s.said = append(s.said, p.Text) })
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func quietly(string, string, string, ...any) {}

// pass lets time go by until ms from the base time of a change; every system
// does what it does by itself.
func (s *stand) pass(t *testing.T, c *conducted, after int64) {
	t.Helper()
	for end := c.Schedule.Base.NS + after*ms; s.f.now < end; s.f.now += 50 * ms {
		s.due()
	}
}

func (s *stand) due() {
	for n := range byte(9) {
		if p := s.f.peers[sys(n)]; p != nil && !p.dead {
			p.due()
		}
	}
}

// all fails unless every system runs id and its last change has come to an
// end, in this phase.
func (s *stand) all(t *testing.T, id string, phase qbv.TrialPhase) {
	t.Helper()
	for _, p := range s.f.peers {
		if p.running != id || p.trial.Phase != phase {
			t.Errorf("b%d runs %q, %s; want %q, %s", p.n, p.running, p.trial.Phase, id, phase)
		}
	}
}

// twice is a stand that runs one schedule and tries another.
func twice(t *testing.T) (s *stand, old, next string) {
	s = newStand(t, 1, 2, 3)
	s.want = []api.StreamState{reserved(1, 1, 2, 3)}
	old = s.mustApply(t).ID
	s.want = append(s.want, reserved(2, 1, 2, 3))
	r := s.tryOut(t)
	if r.Trial == nil || !r.Trial.Open() || !s.mem.Conductor.Open || r.Trial.RevertAt.NS < r.Base.NS+60_000*ms || (r.Trial.RevertAt.NS-r.Base.NS)%r.CycleTime != 0 {
		t.Fatalf("%+v %+v", r.Trial, s.mem.Conductor)
	}
	if last := s.said[len(s.said)-1]; !strings.Contains(last, "all go back in 1m0s unless") {
		t.Error(last)
	}
	return s, old, r.ID
}

// Nobody confirms: at T all run what they ran before, and nothing is planned
// for the streams of what was not wanted.
func TestChangeReverts(t *testing.T) {
	s, old, next := twice(t)
	s.all(t, next, qbv.TrialStarted)
	c := s.mem.Conductor
	s.pass(t, c, 58_000)
	s.all(t, next, qbv.TrialStarted)
	if done, err := s.settle(t.Context()); done || err != nil {
		t.Errorf("settled before its time: %v", err)
	}
	s.pass(t, c, 60_500)
	s.all(t, old, qbv.TrialReverted)
	if done, err := s.settle(t.Context()); !done || err != nil {
		t.Fatalf("%t %v", done, err)
	}
	m := s.mem.Conductor
	if m.Open || m.Schedule.ID != old || m.Schedule.Base != c.RevertAt || s.stale(s.want) {
		t.Errorf("%+v", m)
	}
	for _, p := range s.f.peers {
		if p.base != c.RevertAt {
			t.Errorf("b%d went back at %v", p.n, p.base)
		}
	}
	if r := s.mustApply(t); len(r.Streams) != 2 { // a person may try again
		t.Errorf("%+v", r)
	}
}

func TestChangeConfirmed(t *testing.T) {
	s, _, next := twice(t)
	if err := s.confirm(t.Context(), s.target(), quietly); err != nil {
		t.Fatal(err)
	}
	c := s.mem.Conductor
	s.pass(t, c, 70_000)
	s.all(t, next, qbv.TrialConfirmed)
	if c.Open || c.Before != nil || s.stale(s.want) {
		t.Errorf("%+v", c)
	}
}

// Another change must wait until this one is decided.
func TestChangeBusy(t *testing.T) {
	s, _, next := twice(t)
	if _, err := s.do(t); api.ErrorCode(err) != api.CodeConflict || !strings.Contains(err.Error(), next+" is not confirmed") {
		t.Errorf("%v", err)
	}
	s.mem.Conductor = nil // another node conducts
	if _, err := s.do(t); api.ErrorCode(err) != api.CodeConflict {
		t.Errorf("%v", err)
	}
	s.all(t, next, qbv.TrialStarted)
}

// One system cannot be reached when it is confirmed, or is dead: the others go
// back too, also those that had agreed already.
func TestChangeConfirmFails(t *testing.T) {
	for _, dead := range []bool{false, true} {
		s, old, next := twice(t)
		c, b2 := s.mem.Conductor, s.f.peers[sys(2)]
		b2.refuse["prepare"] = errLost
		if b2.dead = dead; dead {
			for _, call := range []string{"ask", "withdraw", "state"} {
				b2.refuse[call] = errLost
			}
		}
		err := s.confirm(t.Context(), s.target(), quietly)
		if api.ErrorCode(err) != api.CodeUnavailable || !strings.Contains(err.Error(), "not all have agreed") || !strings.Contains(err.Error(), "b2: no answer") || !strings.Contains(err.Error(), "all go back in 1m0s") {
			t.Errorf("%v", err)
		}
		s.pass(t, c, 62_000)
		if dead {
			if b2.running != next {
				t.Errorf("b2 runs %s", b2.running)
			}
			b2.dead, b2.refuse = false, map[string]error{}
			s.pass(t, c, 63_000)
		}
		s.all(t, old, qbv.TrialReverted)
	}
}

// It can be confirmed again while there is time.
func TestChangeConfirmAgain(t *testing.T) {
	s, _, next := twice(t)
	s.f.peers[sys(2)].refuse["prepare"] = errLost
	if s.confirm(t.Context(), s.target(), quietly) == nil {
		t.Error("confirmed without b2")
	}
	delete(s.f.peers[sys(2)].refuse, "prepare")
	if err := s.confirm(t.Context(), s.target(), quietly); err != nil {
		t.Error(err)
	}
	s.all(t, next, qbv.TrialConfirmed)
}

// All have agreed but the news is lost: all keep it.
func TestChangeConfirmReachesSome(t *testing.T) {
	for lose, systems := range map[string][]byte{"for one": {3}, "for all": {1, 2, 3}} {
		t.Run(lose, func(t *testing.T) {
			s, _, next := twice(t)
			c := s.mem.Conductor
			for _, n := range systems {
				s.f.peers[sys(n)].refuse["confirmed"] = errLost
			}
			if err := s.confirm(t.Context(), s.target(), quietly); err != nil {
				t.Error(err)
			}
			s.pass(t, c, 70_000)
			s.all(t, next, qbv.TrialConfirmed)
			if m := s.mem.Conductor; m.Open || m.Schedule.ID != next {
				t.Errorf("%+v", m)
			}
		})
	}
}

// One that has agreed and can reach nobody keeps to it, and goes where the
// others went as soon as it hears.
func TestChangeCutOff(t *testing.T) {
	s, old, next := twice(t)
	c := s.mem.Conductor
	s.f.peers[sys(2)].refuse["prepare"] = errLost
	alone := s.f.peers[sys(3)]
	alone.refuse["withdraw"] = errLost
	_ = s.confirm(t.Context(), s.target(), quietly)
	alone.refuse["ask"] = errLost
	s.pass(t, c, 65_000)
	if alone.running != next || s.f.peers[sys(1)].running != old || s.f.peers[sys(2)].running != old {
		t.Errorf("b3 runs %s", alone.running)
	}
	if a, _ := alone.trial.Due(alone.now()); a != qbv.TrialAsk || !alone.trial.InDoubt(alone.now()) {
		t.Errorf("b3 does not ask: %+v", alone.trial)
	}
	if done, err := s.settle(t.Context()); !done || err != nil || !slices.Equal(s.mem.Silent, []tsn.MAC{sys(3)}) {
		t.Errorf("%t %v, silent %v", done, err, s.mem.Silent)
	}
	delete(alone.refuse, "ask")
	s.pass(t, c, 67_000)
	s.all(t, old, qbv.TrialReverted)
	if silent := s.listen(t.Context()); len(silent) > 0 || len(s.mem.Silent) > 0 {
		t.Errorf("%q", silent)
	}
}

// The conductor ends between the commit of b1 and that of the others: nothing
// starts anywhere.
func TestChangeConductorEnds(t *testing.T) {
	s := newStand(t, 1, 2, 3)
	s.want = []api.StreamState{reserved(1, 1, 2, 3)}
	old := s.mustApply(t).ID
	s.want = append(s.want, reserved(2, 1, 2, 3))
	for n := byte(1); n <= 3; n++ {
		s.f.peers[sys(n)].refuse = map[string]error{"abort": errLost}
		if n > 1 {
			s.f.peers[sys(n)].refuse["commit"] = errLost
		}
	}
	if _, err := s.do(t); err == nil {
		t.Fatal("applied")
	}
	p := s.f.peers[sys(1)]
	if p.trial.Phase != qbv.TrialCommitted {
		t.Fatalf("b1 is %s", p.trial.Phase)
	}
	c := &conducted{Schedule: &api.Schedule{Base: p.trial.Base}}
	s.pass(t, c, 0) // before the base time
	s.all(t, old, qbv.TrialDropped)
	if s.mem.Conductor.Schedule.ID != old || s.mem.Conductor.Open {
		t.Errorf("%+v", s.mem.Conductor)
	}
}

// The conductor ends after all have committed: it starts, and comes to an end
// without it.
func TestChangeConductorEndsLater(t *testing.T) {
	s, old, next := twice(t)
	c := s.mem.Conductor
	for _, p := range s.f.peers { // as if none had been told
		p.trial.Phase = qbv.TrialCommitted
	}
	s.pass(t, c, 1000)
	s.all(t, next, qbv.TrialStarted)
	s.pass(t, c, 61_000)
	s.all(t, old, qbv.TrialReverted)
}

// A system that nobody restarts is reported; one that is restarted goes back
// by itself.
func TestChangeSilent(t *testing.T) {
	s, old, next := twice(t)
	c := s.mem.Conductor
	dead := s.f.peers[sys(2)]
	dead.dead, dead.refuse = true, map[string]error{"ask": errLost, "state": errLost}
	s.pass(t, c, 65_000)
	if dead.running != next {
		t.Errorf("b2 runs %s", dead.running)
	}
	if done, err := s.settle(t.Context()); !done || err != nil || !slices.Equal(s.listen(t.Context()), []string{"b2"}) {
		t.Errorf("%t %v", done, err)
	}
	dead.dead, dead.refuse = false, map[string]error{}
	s.pass(t, c, 66_000)
	s.all(t, old, qbv.TrialReverted)
	if silent := s.listen(t.Context()); len(silent) > 0 {
		t.Errorf("%q", silent)
	}
}

// A person goes back at once; if one system cannot be told, all go back at T.
func TestChangeRollBack(t *testing.T) {
	for name, refuse := range map[string]string{"all": "", "one cannot be barred": api.TrialBar, "one cannot be told when": api.TrialAdvance} {
		t.Run(name, func(t *testing.T) {
			s, old, next := twice(t)
			c, at := s.mem.Conductor, s.target()
			b2 := s.f.peers[sys(2)]
			if refuse != "" {
				b2.refuse[refuse] = errLost
				err := s.rollBack(t.Context(), at, quietly)
				if api.ErrorCode(err) != api.CodeUnavailable || !strings.Contains(err.Error(), "b2") || !strings.Contains(err.Error(), " in 1m0s") {
					t.Errorf("%v", err)
				}
				for _, p := range s.f.peers {
					if p.trial.RevertAt != c.RevertAt || p.running != next {
						t.Errorf("b%d goes back at %v", p.n, p.trial.RevertAt)
					}
				}
				s.pass(t, c, 61_000)
				s.all(t, old, qbv.TrialReverted)
				return
			}
			s.f.each = func() { s.f.now += 100 * ms; s.due() }
			if err := s.rollBack(t.Context(), at, quietly); err != nil {
				t.Fatal(err)
			}
			s.all(t, old, qbv.TrialReverted)
			if m := s.mem.Conductor; m.Open || m.Schedule.ID != old || m.Schedule.Base.NS > c.Schedule.Base.NS+2000*ms {
				t.Errorf("%+v", m)
			}
			if err := s.confirm(t.Context(), at, quietly); err == nil {
				t.Error("confirmed what was rolled back")
			}
		})
	}
}

// What all have agreed to keep is not rolled back.
func TestChangeRollBackTooLate(t *testing.T) {
	s, _, next := twice(t)
	at := s.target()
	if err := s.confirm(t.Context(), at, quietly); err != nil {
		t.Fatal(err)
	}
	if err := s.rollBack(t.Context(), at, quietly); api.ErrorCode(err) != api.CodeWrongOrder || !strings.Contains(err.Error(), "too late") {
		t.Errorf("%v", err)
	}
	s.all(t, next, qbv.TrialConfirmed)
}

// Systems whose gates follow another time take no part together.
func TestChangeClocksDisagree(t *testing.T) {
	for name, c := range map[string]struct {
		clock api.ClockState
		want  string
	}{
		"another grand master": {api.ClockState{GrandMaster: "other"}, "b2 follows grand master other in gPTP domain 0, others follow gm in domain 0"},
		"another domain":       {api.ClockState{GrandMaster: "gm", Domain: 20}, "gPTP domain 20"},
		"another time":         {api.ClockState{GrandMaster: "gm", Now: 30_000 * ms}, "the clock of b2 is 30s from the time here"},
		"trouble":              {api.ClockState{GrandMaster: "gm", Trouble: "it is steered"}, "the clock of b2 is not fit for a schedule: it is steered"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStand(t, 1, 2)
			s.want = []api.StreamState{reserved(1, 1, 2)}
			old := s.mustApply(t).ID
			s.want = append(s.want, reserved(2, 1, 2))
			s.f.peers[sys(2)].clock = c.clock
			if _, err := s.do(t); api.ErrorCode(err) != api.CodeWrongOrder || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v", err)
			}
			s.all(t, old, qbv.TrialDropped)
		})
	}
}

func TestChangeConfirmTimes(t *testing.T) {
	s := newStand(t, 1)
	for _, confirm := range []int64{-1, 1, 4_999 * ms, 25 * 3600 * 1000 * ms} {
		if _, err := s.apply(t.Context(), api.ApplyRequest{Confirm: confirm}, func(api.Progress) {}); api.ErrorCode(err) != api.CodeBadRequest {
			t.Errorf("%d: %v", confirm, err)
		}
	}
}

// The disk fills up before the end is noted: it is told, and noted later.
func TestChangeEndNotKept(t *testing.T) {
	s, _, next := twice(t)
	s.f.disk = errors.New("no space left on device")
	if err := s.confirm(t.Context(), s.target(), quietly); api.ErrorCode(err) != api.CodeInternal || !strings.Contains(err.Error(), "not kept") {
		t.Errorf("%v", err)
	}
	s.f.disk = nil
	if done, err := s.settle(t.Context()); !done || err != nil || s.mem.Conductor.Open || s.mem.Conductor.Schedule.ID != next {
		t.Errorf("%t %v %+v", done, err, s.mem.Conductor)
	}
}
