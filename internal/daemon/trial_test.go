package daemon

import (
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tsnswitch"
	"tsnswitch/internal/api"
	"tsnswitch/internal/config"
	"tsnswitch/qbv"
)

func aChange(phase qbv.TrialPhase) *heldChange {
	at := func(s int64) tsn.PTPTime { return tsn.PTPTime{NS: s * 1_000_000_000} }
	gates := &tsn.GateControlList{CycleTime: 10, Entries: []tsn.GateEntry{{Gates: 31, Interval: 10}}}
	return &heldChange{
		Trial:  qbv.Trial{ID: "b1/2", Systems: []tsn.MAC{sys(1), sys(2)}, StartBy: at(1), Base: at(2), KeepBy: at(6), RevertAt: at(8), Phase: phase},
		New:    heldSchedule{ID: "b1/2", Base: at(2), Ports: []api.PortGates{{Port: 1, Gates: gates}}},
		Old:    heldSchedule{ID: "b1/1", Ports: []api.PortGates{{Port: 2, Gates: gates}}},
		Before: &heldSchedule{ID: "b1/0", Base: at(0), Ports: []api.PortGates{{Port: 3}}},
	}
}

// What runs after a change that came to nothing: what ran here, if it never
// started; what all have agreed to go back to, from T on, if it did.
func TestRestored(t *testing.T) {
	if got := aChange(qbv.TrialDropped).restored(); got.ID != "b1/0" || got.Base.NS != 0 {
		t.Errorf("%+v", got)
	}
	c := aChange(qbv.TrialReverted)
	if got := c.restored(); got.ID != "b1/1" || got.Base != c.RevertAt || got.Ports[0].Port != 2 || c.Old.Base.NS != 0 {
		t.Errorf("%+v", got)
	}
	if c.Old = (heldSchedule{}); c.restored() != nil {
		t.Error("a schedule out of nothing")
	}
}

// A restart remembers a vote, and forgets a stage.
func TestChangeOutlivesRestart(t *testing.T) {
	for phase, want := range map[qbv.TrialPhase]qbv.TrialPhase{
		qbv.TrialStaged: qbv.TrialDropped, qbv.TrialCommitted: qbv.TrialCommitted, qbv.TrialPrepared: qbv.TrialPrepared,
	} {
		s := store[heldMemory]{filepath.Join(t.TempDir(), "held.json")}
		before := heldMemory{Change: aChange(phase), Past: []pastChange{{"b1/1", qbv.TrialConfirmed}}}
		if err := s.save(before); err != nil {
			t.Fatal(err)
		}
		after, err := s.load()
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(before, after); d != "" {
			t.Error(d)
		}
		if after.forgetStage(); after.Change.Phase != want || after.Change.done() != (want == qbv.TrialDropped) {
			t.Errorf("%s became %+v", phase, after.Change.Trial)
		}
	}
}

// Some older changes are remembered, for a system that was away.
func TestPastChanges(t *testing.T) {
	d := &Daemon{cfg: &config.Daemon{Name: "b1"}}
	for i := range maxPast + 5 {
		c := aChange(qbv.TrialConfirmed)
		c.ID = string(rune('a' + i))
		d.remember(c)
	}
	d.remember(aChange(qbv.TrialStaged))
	if len(d.held.Past) != maxPast || d.held.Past[maxPast-1].ID != string(rune('a'+maxPast+4)) {
		t.Errorf("%v", d.held.Past)
	}
	st, err := d.pastTrial(api.TrialRequest{ID: d.held.Past[0].ID, Step: api.TrialAsk})
	if err != nil || st.Trial.Phase != api.PhaseConfirmed || !st.Trial.Final {
		t.Errorf("%+v, %v", st, err)
	}
	for _, r := range []api.TrialRequest{{ID: "unknown", Step: api.TrialAsk}, {ID: d.held.Past[0].ID, Step: api.TrialPrepare}} {
		if _, err := d.pastTrial(r); api.ErrorCode(err) != api.CodeNotFound {
			t.Errorf("%v", err)
		}
	}
}
