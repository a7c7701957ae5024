package qbv

import (
	"fmt"
	"slices"

	"tsnswitch"
)

// A Trial is one system's part in a change of the whole network's gates that
// happens everywhere or nowhere, and is taken back everywhere unless all keep
// it. It is a value: every method returns the Trial to go on with, and the
// caller writes that to disk before it acts on it or answers with it.
//
//	        Stage          Commit           all have             Prepare          all have
//	(none) ──────> staged ───────> committed ───────> started ──────────> prepared ───────> confirmed
//	                 │ Abort,          │ Abort,          │                    │ somebody
//	                 │ StartBy         │ somebody has    │ RevertAt - lead    │ has not
//	                 ▼                 ▼ not             ▼                    ▼
//	              dropped           dropped           reverted            reverted
//
// There are two votes. A system votes to start by writing "committed" before
// StartBy, and to keep by writing "prepared" before KeepBy. Each outcome is
// a fact on the disks: the change starts if all systems have voted to start by
// StartBy, and it stays if all have voted to keep by KeepBy. Whoever has
// heard all of them can tell the outcome and nobody can change it, so that no
// system depends on the one that conducts the change: that one only spreads the news
// sooner. A system that does not hear it asks the others once the time to vote
// is over (Due, Ask, Count).
//
// A system that has voted and cannot learn the outcome stays with the new
// gates and keeps asking: whoever has not voted to keep goes back at RevertAt, and
// that is known as soon as any of them can be asked. So two systems run different
// gates only while one of them can reach nobody who knows.
//
// Until the time to vote is over a vote may be taken back, by whoever asked for
// it and not got all (Abort, Withdraw): a vote to keep is given to a ballot, and stands
// while one ballot that has it is not withdrawn. So who has got all votes of a ballot
// knows the outcome at once; everybody else does when votes are final.
// All times are gPTP times of one domain.
type Trial struct {
	ID      string    `json:"id"`
	Systems []tsn.MAC `json:"systems"` // all that take part, this one too; ascending

	StartBy  tsn.PTPTime `json:"startBy"`  // votes to start are taken until then
	Base     tsn.PTPTime `json:"base"`     // the new lists start
	KeepBy   tsn.PTPTime `json:"keepBy"`   // votes to keep are taken until then
	RevertAt tsn.PTPTime `json:"revertAt"` // the old lists start again, at the end of a cycle of the new

	Phase TrialPhase `json:"phase"`
	// Ballots have this system's vote to keep.
	Ballots []string `json:"ballots,omitempty"`
	// Barred: this system has said that it will not vote to keep, or knows of another.
	Barred bool `json:"barred,omitempty"`
	// Restored: the kernel has the old lists again.
	Restored bool `json:"restored,omitempty"`
}

// TrialPhase is how far a Trial is.
type TrialPhase string

// The phases of a Trial. The last three are final.
const (
	TrialStaged    TrialPhase = "staged"
	TrialCommitted TrialPhase = "committed"
	TrialStarted   TrialPhase = "started"
	TrialPrepared  TrialPhase = "prepared"
	TrialConfirmed TrialPhase = "confirmed"
	TrialDropped   TrialPhase = "dropped"
	TrialReverted  TrialPhase = "reverted"
)

// TrialAnswer is what a system says when it is asked. Final: it cannot vote
// any more, nor take back its vote.
type TrialAnswer struct {
	System tsn.MAC
	Phase  TrialPhase
	Final  bool
}

// TrialAction is what a Trial needs done.
type TrialAction uint8

// What a Trial needs done.
const (
	TrialIdle    TrialAction = iota // nothing
	TrialAsk                        // ask the other systems, Count what they answer
	TrialRestore                    // Restore, and start the old lists at RestoreAt
)

// The times of a Trial, ns.
const (
	// RevertLead is how long before RevertAt the old lists go to the kernel.
	RevertLead = 1_000_000_000
	// AskInterval is how often a system that does not know the outcome asks.
	AskInterval = 500_000_000
	// MinKeepMargin is the least time from KeepBy to RevertAt: the old
	// lists' way to the kernel, and time to ask before.
	MinKeepMargin = 2 * RevertLead
)

// MaxTrialSystems bounds a change.
const MaxTrialSystems = 4096

// Validate says what is wrong with a Trial that is to be staged at system.
func (t Trial) Validate(system tsn.MAC) error {
	bad := func(format string, a ...any) error { return refuse(RefusedMalformed, 0, format, a...) }
	ascending := func(a, b tsn.MAC) int { return slices.Compare(a[:], b[:]) }
	_, takesPart := slices.BinarySearchFunc(t.Systems, system, ascending)
	switch {
	case t.ID == "" || len(t.ID) > maxStageID:
		return bad("an id of %d octets is outside 1..%d", len(t.ID), maxStageID)
	case len(t.Systems) > MaxTrialSystems:
		return bad("%d systems are more than %d", len(t.Systems), MaxTrialSystems)
	case !slices.IsSortedFunc(t.Systems, ascending) || !takesPart:
		return bad("the systems that take part are not in ascending order, or %s is not one of them", system)
	case t.StartBy.NS > t.Base.NS || t.Base.NS >= t.KeepBy.NS || t.KeepBy.NS > t.RevertAt.NS-MinKeepMargin:
		return bad("votes to start until %d ns, start %d, votes to keep until %d, revert %d: each must come after the one before, the last by %d ns",
			t.StartBy.NS, t.Base.NS, t.KeepBy.NS, t.RevertAt.NS, int64(MinKeepMargin))
	}
	for _, x := range []tsn.PTPTime{t.StartBy, t.KeepBy, t.RevertAt} {
		if x.Domain != t.Base.Domain {
			return bad("the times are of different gPTP domains")
		}
	}
	return nil
}

// Open reports whether the outcome is not known here yet.
func (t Trial) Open() bool {
	switch t.Phase {
	case TrialStaged, TrialCommitted, TrialStarted, TrialPrepared:
		return true
	case TrialConfirmed, TrialDropped, TrialReverted:
	}
	return false
}

// Takes reports whether the new lists are with the kernel, or shall be.
func (t Trial) Takes() bool {
	switch t.Phase {
	case TrialCommitted, TrialStarted, TrialPrepared, TrialConfirmed:
		return true
	case TrialStaged, TrialDropped, TrialReverted:
	}
	return false
}

// InDoubt reports whether the time to vote is over and the outcome not known.
func (t Trial) InDoubt(now tsn.PTPTime) bool {
	a, _ := t.Due(now)
	return a == TrialAsk
}

func (t Trial) refuse(kind RefusalKind, format string, a ...any) (Trial, error) {
	return t, refuse(kind, 0, "schedule %q "+format, append([]any{t.ID}, a...)...)
}

// Commit votes to start.
func (t Trial) Commit(now tsn.PTPTime) (Trial, error) {
	switch {
	case t.Takes():
		return t, nil
	case t.Phase != TrialStaged:
		return t.refuse(RefusedUnknownStage, "was %s: stage it again", t.Phase)
	case now.NS >= t.StartBy.NS:
		return t.refuse(RefusedBaseTime, "could be committed until %d ns before its base time, that was %d ns ago",
			t.Base.NS-t.StartBy.NS, now.NS-t.StartBy.NS)
	}
	t.Phase = TrialCommitted
	return t, nil
}

// Abort takes back a stage, or a vote to start.
func (t Trial) Abort(now tsn.PTPTime) (Trial, error) {
	switch t.Phase {
	case TrialDropped, TrialReverted:
		return t, nil
	case TrialStaged:
		return t.drop(), nil
	case TrialCommitted:
		if now.NS < t.StartBy.NS {
			return t.drop(), nil
		}
	case TrialStarted, TrialPrepared, TrialConfirmed:
	}
	return t.refuse(RefusedTooLate, "is %s: too late to abort it", t.Phase)
}

// drop ends a Trial before its start.
func (t Trial) drop() Trial {
	t.Restored = t.Phase == TrialStaged // the kernel never had its lists
	t.Phase = TrialDropped
	return t
}

// maxBallots bounds who may ask for a vote at a time.
const maxBallots = 8

// Prepare votes to keep, in a ballot: any name that nobody else uses.
func (t Trial) Prepare(now tsn.PTPTime, ballot string) (Trial, error) {
	switch {
	case t.Phase == TrialConfirmed, t.Phase == TrialPrepared && slices.Contains(t.Ballots, ballot):
		return t, nil
	case t.Phase != TrialCommitted && t.Phase != TrialStarted && t.Phase != TrialPrepared:
		return t.refuse(RefusedTooLate, "is %s: it cannot be confirmed", t.Phase)
	case t.Barred:
		return t.refuse(RefusedTooLate, "is being rolled back")
	case now.NS < t.Base.NS:
		return t.refuse(RefusedBaseTime, "has not started yet: it does in %d ns", t.Base.NS-now.NS)
	case now.NS >= t.KeepBy.NS:
		return t.refuse(RefusedTooLate, "could be confirmed until %d ns before it is rolled back, that was %d ns ago",
			t.RevertAt.NS-t.KeepBy.NS, now.NS-t.KeepBy.NS)
	case len(t.Ballots) >= maxBallots || len(ballot) > maxStageID:
		return t.refuse(RefusedBusy, "is being confirmed by %d others", len(t.Ballots))
	}
	t.Phase, t.Ballots = TrialPrepared, append(slices.Clone(t.Ballots), ballot)
	return t, nil
}

// Withdraw takes a vote back from a ballot that has not got all of them.
func (t Trial) Withdraw(now tsn.PTPTime, ballot string) (Trial, error) {
	i := slices.Index(t.Ballots, ballot)
	switch {
	case i < 0 || t.Phase != TrialPrepared:
		return t, nil
	case now.NS >= t.KeepBy.NS:
		return t.refuse(RefusedTooLate, "is %s: too late to take that back", t.Phase)
	}
	if t.Ballots = slices.Delete(slices.Clone(t.Ballots), i, i+1); len(t.Ballots) == 0 {
		t.Phase, t.Ballots = TrialCommitted, nil // that all have is perhaps not known here
	}
	return t, nil
}

// Bar makes sure that this system will not vote to keep.
func (t Trial) Bar() (Trial, error) {
	switch t.Phase {
	case TrialPrepared, TrialConfirmed:
		if !t.Barred {
			return t.refuse(RefusedTooLate, "is %s: too late to roll it back", t.Phase)
		}
	case TrialCommitted, TrialStarted:
		t.Barred = true
	case TrialStaged, TrialDropped, TrialReverted:
	}
	return t, nil
}

// Advance changes RevertAt of a Trial that is barred. at is at the end of a
// cycle.
func (t Trial) Advance(now, at tsn.PTPTime) (Trial, error) {
	switch {
	case t.Phase == TrialReverted && t.RevertAt == at:
		return t, nil
	case !t.Barred || t.Phase != TrialCommitted && t.Phase != TrialStarted:
		return t.refuse(RefusedTooLate, "is %s: when it is rolled back cannot be changed", t.Phase)
	case at.Domain != t.RevertAt.Domain || at.NS < now.NS || at.NS < t.Base.NS:
		return t.refuse(RefusedBaseTime, "cannot be rolled back at %d ns, in the past or before it started", at.NS)
	}
	t.RevertAt = at
	return t, nil
}

// Tell brings the outcome of a vote from one who knows it: TrialStarted or
// TrialConfirmed.
func (t Trial) Tell(p TrialPhase) (Trial, error) {
	switch {
	case p == TrialStarted && t.Phase == TrialCommitted:
		t.Phase = TrialStarted
	case p == TrialConfirmed && (t.Phase == TrialCommitted || t.Phase == TrialStarted || t.Phase == TrialPrepared):
		t.Phase, t.Barred = TrialConfirmed, false
	case !t.Takes():
		return t.refuse(RefusedTooLate, "is %s here, not %s", t.Phase, p)
	}
	return t, nil
}

// Ask is what to answer a system that does not know the outcome. From the end
// of the time to vote on, the answer bars a vote that was not given.
func (t Trial) Ask(system tsn.MAC, now tsn.PTPTime) (Trial, TrialAnswer) {
	final := !t.Open() || t.Barred
	switch t.Phase {
	case TrialStaged:
		if now.NS >= t.StartBy.NS {
			t, final = t.drop(), true
		}
	case TrialCommitted, TrialStarted:
		if now.NS >= t.KeepBy.NS {
			t.Barred = true
		}
		final = now.NS >= t.StartBy.NS
	case TrialPrepared:
		final = now.NS >= t.KeepBy.NS
	case TrialConfirmed, TrialDropped, TrialReverted:
	}
	a := TrialAnswer{System: system, Phase: t.Phase, Final: final}
	if t.Barred { // what will become of it
		a.Phase, a.Final = TrialReverted, true
	}
	return t, a
}

// Due is what the Trial needs done at now, and when to ask next.
func (t Trial) Due(now tsn.PTPTime) (TrialAction, tsn.PTPTime) {
	never := tsn.PTPTime{NS: int64(tsn.Never), Domain: now.Domain}
	switch t.Phase {
	case TrialStaged:
		if now.NS >= t.StartBy.NS {
			return TrialRestore, now
		}
		return TrialIdle, t.StartBy
	case TrialCommitted, TrialStarted:
		handOver := t.RevertAt.Add(-RevertLead)
		switch {
		case now.NS >= handOver.NS:
			return TrialRestore, now
		case t.Phase == TrialStarted || t.Barred:
			return TrialIdle, handOver
		case now.NS >= t.StartBy.NS:
			return TrialAsk, now.Add(AskInterval)
		}
		return TrialIdle, t.StartBy
	case TrialPrepared:
		switch {
		case t.Barred && now.NS >= t.RevertAt.NS-RevertLead:
			return TrialRestore, now
		case t.Barred:
			return TrialIdle, t.RevertAt.Add(-RevertLead)
		case now.NS >= t.KeepBy.NS:
			return TrialAsk, now.Add(AskInterval)
		}
		return TrialIdle, t.KeepBy
	case TrialDropped, TrialReverted:
		if !t.Restored {
			return TrialRestore, now
		}
	case TrialConfirmed:
	}
	return TrialIdle, never
}

// Count takes what other systems answered, at most one answer each.
func (t Trial) Count(now tsn.PTPTime, answers []TrialAnswer) Trial {
	start, keep := 0, 0
	for _, a := range answers {
		switch a.Phase {
		case TrialConfirmed:
			t, _ = t.Tell(TrialConfirmed)
			return t
		case TrialPrepared:
			start++ // which it is for good
			if a.Final {
				keep++
			}
		case TrialStarted:
			t, _ = t.Tell(TrialStarted)
		case TrialCommitted:
			if a.Final {
				start++
			}
		case TrialDropped, TrialReverted:
			return t.refused(now, a.Phase)
		case TrialStaged: // it may yet vote
		}
	}
	others := len(t.Systems) - 1
	switch {
	case t.Phase == TrialCommitted && start >= others:
		t.Phase = TrialStarted
	case t.Phase == TrialPrepared && keep >= others:
		t.Phase = TrialConfirmed
	}
	return t
}

// refused: another system has not voted as this one has. What has not started
// is dropped; what may have is taken back at RevertAt, with all others.
func (t Trial) refused(now tsn.PTPTime, theirs TrialPhase) Trial {
	switch {
	case t.Phase == TrialCommitted && theirs == TrialDropped && now.NS < t.Base.NS:
		return t.drop()
	case t.Phase == TrialCommitted || t.Phase == TrialStarted || t.Phase == TrialPrepared:
		t.Barred = true
	}
	return t
}

// Restore ends the Trial on the side of the old lists.
func (t Trial) Restore() Trial {
	switch {
	case t.Phase == TrialStaged:
		return t.drop()
	case t.Open():
		t.Phase = TrialReverted
	}
	return t
}

// RestoreAt is when the old lists start, which started at old before: at
// RevertAt, or, for what never started, as if they had never ended. A list
// whose base time has passed starts with its next cycle, in step with the systems that
// were in time.
func (t Trial) RestoreAt(old tsn.PTPTime) tsn.PTPTime {
	if t.Phase == TrialDropped {
		return old
	}
	return t.RevertAt
}

// Text is a Trial in words, for people.
func (t Trial) Text(now tsn.PTPTime) string {
	switch {
	case t.InDoubt(now):
		return "in doubt: asking the others"
	case t.Barred && t.Open():
		return fmt.Sprintf("reverts in %d s", max(t.RevertAt.NS-now.NS, 0)/1_000_000_000)
	case t.Phase == TrialCommitted, t.Phase == TrialStarted:
		return fmt.Sprintf("unconfirmed, reverts in %d s", max(t.RevertAt.NS-now.NS, 0)/1_000_000_000)
	case t.Phase == TrialPrepared:
		return "being confirmed"
	}
	return string(t.Phase)
}

// Opened is a list that opens every gate, for a change that must not
// happen before its base time. cycle is any, in ns.
func Opened(cycle int64) *tsn.GateControlList {
	const all = tsn.GateMask(1)<<tsn.NumClasses - 1
	return &tsn.GateControlList{CycleTime: cycle, Entries: []tsn.GateEntry{{Gates: all, Interval: cycle}}}
}
