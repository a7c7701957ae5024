package sim_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"tsnswitch"
	"tsnswitch/internal/pathplan"
	"tsnswitch/internal/sim"
	"tsnswitch/qbv"
)

// A trialLab changes the gates of all systems of a lab, over a management
// network that loses calls and answers. The record of each system outlives it.
type trialLab struct {
	*lab
	*rand.Rand
	loss     float64
	names    []string
	records  map[string]qbv.Trial
	old, new *pathplan.Plan
	oldBase  tsn.PTPTime

	acked map[string]bool // by system and call
	ended bool            // the conductor

	restoring map[string]*sim.Answer
}

// now is a system's own gPTP time; it does nothing without, nor before it
// knows, after a restart, what its kernel runs.
func (l *trialLab) now(name string) (tsn.PTPTime, bool) {
	d := l.Node(name)
	if d.Stopped() || !slices.ContainsFunc(d.Control.QBV.Status().Ports, func(p qbv.PortStatus) bool { return p.GateEnabled }) {
		return tsn.PTPTime{}, false
	}
	return l.PTPNow(d)
}

func (l *trialLab) arrives() bool { return l.Float64() >= l.loss }

// call is one of the conductor's, until it is answered.
func (l *trialLab) call(name, what string, do func(qbv.Trial, tsn.PTPTime) (qbv.Trial, error)) {
	now, ok := l.now(name)
	if l.acked[name+what] || !ok || !l.arrives() {
		return
	}
	next, err := do(l.records[name], now)
	if err != nil {
		return
	}
	started := l.records[name].Phase == qbv.TrialStaged && next.Takes()
	l.records[name] = next
	if started {
		l.Ask(name, func(id uint64) tsn.Event { return qbv.Commit{RequestID: id, ID: next.ID, Base: next.Base} })
	}
	l.acked[name+what] = l.arrives()
}

func (l *trialLab) all(what string) bool {
	for _, name := range l.names {
		if !l.acked[name+what] {
			return false
		}
	}
	return true
}

// conduct is what the conductor does in a while: each call to all that have
// not answered it, one call after the other.
func (l *trialLab) conduct() {
	for _, name := range l.names {
		switch {
		case l.ended:
		case !l.all("commit"):
			l.call(name, "commit", qbv.Trial.Commit)
		case !l.all("started"):
			l.call(name, "started", func(t qbv.Trial, _ tsn.PTPTime) (qbv.Trial, error) { return t.Tell(qbv.TrialStarted) })
		case !l.all("prepare"):
			l.call(name, "prepare", func(t qbv.Trial, now tsn.PTPTime) (qbv.Trial, error) { return t.Prepare(now, "b") })
		default:
			l.call(name, "confirmed", func(t qbv.Trial, _ tsn.PTPTime) (qbv.Trial, error) { return t.Tell(qbv.TrialConfirmed) })
		}
	}
}

// due is what a system does by itself.
func (l *trialLab) due(name string) {
	now, ok := l.now(name)
	if !ok {
		return
	}
	t := l.records[name]
	switch action, _ := t.Due(now); action {
	case qbv.TrialAsk:
		var answers []qbv.TrialAnswer
		for _, other := range l.names {
			then, ok := l.now(other)
			if other == name || !ok || !l.arrives() {
				continue
			}
			next, a := l.records[other].Ask(l.mac(other), then)
			if l.records[other] = next; l.arrives() {
				answers = append(answers, a)
			}
		}
		t = t.Count(now, answers)
	case qbv.TrialRestore:
		t = t.Restore()
		switch a := l.restoring[name]; {
		case a == nil || a.Done && a.Err != nil:
			l.restoring[name] = l.restore(name, t, now)
		case a.Done:
			t.Restored = true
		}
	case qbv.TrialIdle:
	}
	l.records[name] = t
}

// restore starts the old lists: those whose base time has passed with one of
// their next cycles.
func (l *trialLab) restore(name string, t qbv.Trial, now tsn.PTPTime) *sim.Answer {
	base := t.RestoreAt(l.oldBase)
	if base.NS < now.NS+second/10 {
		base = qbv.NextBase(&tsn.GateControlList{BaseTime: base, CycleTime: l.old.Solution.Cycle}, now.Add(second/10))
	}
	return l.Ask(name, func(id uint64) tsn.Event {
		return qbv.Restore{RequestID: id, ID: "old", Lists: lists(l.old, l.mac(name)), Base: base}
	})
}

// stage gives every system the new lists and the times of the change.
func (l *trialLab) stage() {
	now, _ := l.PTPNow(l.Node(l.cfg.GPTP.GrandMaster))
	cycle := l.new.Solution.Cycle
	base := qbv.NextBase(&tsn.GateControlList{BaseTime: l.oldBase, CycleTime: l.old.Solution.Cycle}, now.Add(2*second))
	t := qbv.Trial{ID: "new", Base: base, StartBy: base.Add(-second / 2), Phase: qbv.TrialStaged}
	t.RevertAt = base.Add(8 * second / cycle * cycle)
	t.KeepBy = t.RevertAt.Add(-3 * second)
	var answers []*sim.Answer
	for _, x := range l.cfg.Nodes {
		if here := lists(l.new, x.SystemID); len(here) > 0 {
			l.names = append(l.names, x.Name)
			answers = append(answers, l.Ask(x.Name, func(id uint64) tsn.Event { return qbv.Stage{RequestID: id, ID: "new", Lists: here} }))
			t.Systems = append(t.Systems, x.SystemID)
		}
	}
	l.answered(second, answers)
	for _, name := range l.names {
		l.records[name] = t
	}
}

// Many systems with clocks of their own, calls that are lost, a conductor that
// ends and a system that is down over T: all come to the same end, and all
// kernels run the same schedule, in phase.
func TestTrialOfManySystems(t *testing.T) {
	ends := map[qbv.TrialPhase]int{}
	for seed := range uint64(12) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			l := &trialLab{
				lab: build(t, ring(t, 8), sim.Options{Seed: seed}), Rand: rand.New(rand.NewPCG(seed, 9)),
				records: map[string]qbv.Trial{}, acked: map[string]bool{}, restoring: map[string]*sim.Answer{},
			}
			l.settle()
			l.until(20*second, "time", l.timeAgreed)
			l.Run(10 * second)
			streams := l.paths()
			l.reserve(streams)
			l.settle()
			l.old, l.new = l.plan(streams), l.planWith(streams, 20*microsecond)
			l.oldBase = l.start("old", l.old)
			l.Run(2 * second)
			l.running(l.old, l.oldBase)
			l.stage()
			l.loss = []float64{0, 0.2, 0.6}[seed%3]
			ends[l.happen(seed)]++
		})
	}
	t.Log(ends)
	if len(ends) != 3 {
		t.Error("not every end was seen")
	}
}

// happen lets time go by until all is over.
func (l *trialLab) happen(seed uint64) qbv.TrialPhase {
	revertAt := l.records[l.names[0]].RevertAt
	gm := l.Node(l.cfg.GPTP.GrandMaster)
	victim := l.names[seed%uint64(len(l.names))]
	for step := 0; ; step++ {
		now, _ := l.PTPNow(gm)
		switch left := revertAt.NS - now.NS; {
		case left < -20*second:
			return l.end()
		case left < -2*second:
			if l.loss = 0; l.Node(victim).Stopped() {
				if err := l.Start(victim); err != nil {
					l.t.Fatal(err)
				}
			}
		case left < 6*second && seed >= 6 && victim != gm.Name && !l.Node(victim).Stopped():
			l.Stop(victim)
		}
		l.ended = l.ended || seed%4 == 1 && step == int(seed)
		l.conduct()
		for _, name := range l.names {
			l.due(name)
		}
		l.Run(second / 10)
	}
}

// end checks that all have come to the same end, in the record and the kernel.
func (l *trialLab) end() qbv.TrialPhase {
	l.Run(2 * second)
	first := l.records[l.names[0]]
	want, base := l.old, first.RestoreAt(l.oldBase)
	if first.Phase == qbv.TrialConfirmed {
		want, base = l.new, first.Base
	}
	for _, name := range l.names {
		if t := l.records[name]; t.Open() || (t.Phase == qbv.TrialConfirmed) != (first.Phase == qbv.TrialConfirmed) {
			l.t.Errorf("%s ends %s, %s ends %s", l.names[0], first.Phase, name, t.Phase)
		}
		state, err := l.Node(name).Kernel.Read()
		if err != nil {
			l.t.Fatal(err)
		}
		for _, p := range l.Node(name).Control.QBV.Status().Ports {
			for _, list := range lists(want, l.mac(name)) {
				if list.Port != p.Port {
					continue
				}
				e := state.EgressOf(p.Port)
				if p.ConfigPending || p.Oper == nil || fmt.Sprint(e.Oper.Entries) != fmt.Sprint(list.List.Entries) {
					l.t.Errorf("%s port %d runs %v, not %v", name, p.Port, p.Oper, list.List)
					continue
				}
				// One that restarted has read its phase back by clocks that differ.
				cycle := want.Solution.Cycle
				if off := (p.Oper.BaseTime.NS - base.NS + cycle/2) % cycle; max(off-cycle/2, cycle/2-off) > microsecond {
					l.t.Errorf("%s port %d is %d ns out of phase", name, p.Port, off)
				}
			}
		}
	}
	return first.Phase
}
