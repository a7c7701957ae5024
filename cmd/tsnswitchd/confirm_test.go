package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tsnswitch"
	"tsnswitch/internal/api"
)

// A schedule on two real bridges that is not committed by both, not confirmed,
// confirmed, rolled back; daemons are killed meanwhile.
func TestConfirm(t *testing.T) {
	runSite(t, func(s *site) []part {
		return []part{
			{"bring-up", s.testBringUp},
			{"stream", s.testStream},
			{"schedule", s.testSchedule},
			{"committed by one", s.testHalfCommit},
			{"not confirmed", s.testNotConfirmed},
			{"confirmed", s.testConfirmed},
			{"solution", s.testSolution},
			{"not restarted", s.testNotRestarted},
		}
	})
}

// A schedule of the one stream that was made elsewhere starts if it holds.
func (s *site) testSolution(t *testing.T) {
	const solution = `{"format":"qbv-solution/1","instance":"x","cycle_ns":10000000,"streams":[{"id":7,"name":"one",
		"route":[["h1","b1"],["b1","b2"],["b2","h2"]],"starts":[%d,3000000,4000000],"queues":[3,3,3]}],"gates":[]}`
	apply := func(start int) (*api.Schedule, error) {
		r := api.PlanRequest{File: "s.json", Solution: fmt.Appendf(nil, solution, start)}
		return s.b1.client.ApplySchedule(t.Context(), api.ApplyRequest{PlanRequest: r, Accept: true}, nil)
	}
	if _, err := apply(2_990_000); api.ErrorCode(err) != api.CodeRefused || !strings.Contains(err.Error(), "does not hold") {
		t.Errorf("%v", err)
	}
	r, err := apply(2_000_000)
	if err != nil {
		t.Fatalf("%v\n%s", err, s.b1.log)
	}
	if len(r.Ports) != 2 || r.Ports[0].Windows[0].FrameStart != 3_000_000 || r.Ports[1].Windows[0].FrameStart != 4_000_000 {
		t.Errorf("%+v", r)
	}
	s.b1.ends(t, r.ID)
	s.b2.ends(t, r.ID)
}

// tryOut applies a schedule with a time to confirm in.
func (s *site) tryOut(t *testing.T, confirm int64) (before string, r *api.Schedule) {
	t.Helper()
	st, err := s.as(t, s.b2, s.b1).ScheduleState(t.Context())
	if err != nil || st.State != api.ScheduleRunning {
		t.Fatalf("%+v, %v", st, err)
	}
	r, err = s.b1.client.ApplySchedule(t.Context(), api.ApplyRequest{Confirm: confirm}, nil)
	if err != nil {
		t.Fatalf("%v\n%s", err, s.b1.log)
	}
	if !r.Trial.Open() || r.Trial.RevertIn <= 0 || !strings.HasPrefix(r.Trial.Text, "unconfirmed, reverts in ") {
		t.Fatalf("%+v", r.Trial)
	}
	return st.RunningID, r
}

// ends waits until a bridge runs a schedule, and returns its base time.
func (b *bridge) ends(t *testing.T, id string) (base tsn.PTPTime) {
	t.Helper()
	b.until(t, "runs "+id, func(ctx context.Context) error {
		st, err := b.client.Status(ctx)
		if err != nil {
			return err
		}
		base = st.Schedule.Base
		if st.Schedule.ID != id || st.Schedule.State != api.ScheduleRunning || st.Schedule.Trial != "" {
			return fmt.Errorf("%+v", st.Schedule)
		}
		return nil
	})
	return base
}

// tells waits until an event of this kind has occurred at a bridge.
func (b *bridge) tells(t *testing.T, kind, detail string) {
	t.Helper()
	found := errors.New("found")
	b.until(t, "tells of "+kind+" "+detail, func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
		defer cancel()
		err := b.client.Events(ctx, 1, func(e api.Event) error {
			if e.Kind == kind && strings.Contains(e.Detail, detail) {
				return found
			}
			return nil
		})
		if errors.Is(err, found) {
			return nil
		}
		return fmt.Errorf("not yet: %w", err)
	})
}

// Nobody confirms: both go back at T, although one was killed and started
// again before, and the other's disk is full.
func (s *site) testNotConfirmed(t *testing.T) {
	old, r := s.tryOut(t, 12e9)
	if err := s.b2.end(t, syscall.SIGKILL); err == nil {
		t.Error("a killed daemon ended well")
	}
	s.b2.start(t)
	s.b2.settled(t) // reservations come again, and are saved
	ballast := filepath.Join(s.b1.cfg.StateDir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 1<<20), 0o644); !errors.Is(err, unix.ENOSPC) {
		t.Fatalf("the disk is not full: %v", err)
	}
	if _, err := s.b1.client.ConfirmSchedule(t.Context(), nil); err == nil {
		t.Fatalf("confirmed although the disk is full\n%s", s.b1.log)
	}
	at := s.b1.ends(t, old)
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	if at != r.Trial.RevertAt || s.b2.ends(t, old) != at {
		t.Errorf("b1 went back at %v, T is %v", at, r.Trial.RevertAt)
	}
	s.idle(t)
}

// One that was killed and is started only after T goes back then; until it
// is, it is missed.
func (s *site) testNotRestarted(t *testing.T) {
	_, r := s.tryOut(t, 8e9)
	_ = s.b2.end(t, syscall.SIGKILL)
	if _, err := s.b1.client.ConfirmSchedule(t.Context(), nil); err == nil || !strings.Contains(err.Error(), "not all have agreed") {
		t.Errorf("confirmed without b2: %v", err)
	}
	s.b1.tells(t, "schedule-reverted", r.ID)
	s.b1.until(t, "misses b2", func(ctx context.Context) error {
		sched, err := s.b1.client.ShowSchedule(ctx)
		if err != nil {
			return err
		}
		if len(sched.Silent) != 1 {
			return fmt.Errorf("%s, silent %q", sched.ID, sched.Silent)
		}
		return nil
	})
	s.b2.start(t)
	s.b2.tells(t, "schedule-reverted", r.ID)
	s.b1.until(t, "hears b2", func(ctx context.Context) error {
		sched, err := s.b1.client.ShowSchedule(ctx)
		if err == nil && len(sched.Silent) > 0 {
			err = fmt.Errorf("silent %q", sched.Silent)
		}
		return err
	})
}

// idle waits until the conductor has heard how the change ended, and both
// bridges know each other.
func (s *site) idle(t *testing.T) {
	t.Helper()
	s.b1.settled(t)
	s.b2.settled(t)
	s.b1.until(t, "is done with the change", func(ctx context.Context) error {
		sched, err := s.b1.client.ShowSchedule(ctx)
		if err != nil {
			return err
		}
		if sched.Trial.Open() || len(sched.Silent) > 0 || sched.State != api.ScheduleRunning {
			return fmt.Errorf("%s %+v, silent %q", sched.State, sched.Trial, sched.Silent)
		}
		return nil
	})
}

// Confirmed at any bridge it stays; another is rolled back at once.
func (s *site) testConfirmed(t *testing.T) {
	_, r := s.tryOut(t, 60e9)
	if _, err := s.b1.client.ApplySchedule(t.Context(), api.ApplyRequest{}, nil); api.ErrorCode(err) != api.CodeConflict {
		t.Errorf("another change: %v", err)
	}
	var said []string
	if _, err := s.b2.client.ConfirmSchedule(t.Context(), func(p api.Progress) { said = append(said, p.Node+" "+p.Text) }); err != nil {
		t.Fatal(err)
	}
	if want := []string{"b1 will not go back", "b2 will not go back", "b2 confirmed everywhere"}; !slices.Equal(said, want) {
		t.Errorf("%q", said)
	}
	s.b1.ends(t, r.ID)
	s.b2.ends(t, r.ID)
	s.idle(t)
	old, _ := s.tryOut(t, 60e9)
	back, err := s.b1.client.RollBackSchedule(t.Context(), nil)
	if err != nil || back.ID != old {
		t.Errorf("%+v, %v", back, err)
	}
	at := s.b1.ends(t, old)
	if s.b2.ends(t, old) != at {
		t.Error("they went back at different times")
	}
	s.idle(t)
}

// The one that conducts ends after the first commit: the other bridge has not
// committed, and the first one takes it back before its base time.
func (s *site) testHalfCommit(t *testing.T) {
	g, err := s.b1.client.GPTP(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	list := []api.PortGates{{Port: 1, Gates: &tsn.GateControlList{
		CycleTime: 2_000_000, Entries: []tsn.GateEntry{{Gates: 0x17, Interval: 1_500_000}, {Gates: 0x18, Interval: 500_000}},
	}}}
	r := s.part(s.b1, "b2/half", g.Now.Add(4e9), list)
	r.Systems = []tsn.MAC{s.b1.cfg.SystemID, s.b2.cfg.SystemID}
	r.StartBy = r.Base.Add(-25e8)
	peers := []*api.Client{s.as(t, s.b2, s.b1), s.as(t, s.b1, s.b2)}
	var before [2]*api.ScheduleState
	for i, p := range peers {
		if before[i], err = p.ScheduleState(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := p.StageSchedule(t.Context(), r); err != nil {
			t.Fatalf("%v\n%s", err, s.b1.log)
		}
	}
	if _, err := peers[0].CommitSchedule(t.Context(), r.ID); err != nil {
		t.Fatal(err)
	}
	s.b1.tells(t, "schedule-dropped", r.ID)
	for i, b := range []*bridge{s.b1, s.b2} {
		b.ends(t, before[i].RunningID)
	}
	s.b1.settled(t)
	if text := s.b1.text(t); strings.Contains(text, "cycle-time 2000000") {
		t.Errorf("the kernel still has the other list:\n%s", text)
	}
}
