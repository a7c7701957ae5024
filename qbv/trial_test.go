package qbv

import (
	"math/rand/v2"
	"slices"
	"testing"

	"tsnswitch"
)

func trialSystem(n int) tsn.MAC { return tsn.MAC{2, 0, 0, 0, 0, byte(n + 1)} }

// testTrial is a change that starts at 2 s and is taken back at 12 s.
func testTrial(systems int) Trial {
	const s = 1_000_000_000
	t := Trial{
		ID: "b1/1", Phase: TrialStaged,
		StartBy: tsn.PTPTime{NS: s}, Base: tsn.PTPTime{NS: 2 * s}, KeepBy: tsn.PTPTime{NS: 10 * s}, RevertAt: tsn.PTPTime{NS: 12 * s},
	}
	for n := range systems {
		t.Systems = append(t.Systems, trialSystem(n))
	}
	return t
}

// A trialNet is some systems, whose records outlive them, and one that
// conducts and may end at any time. Nothing that is sent need arrive.
type trialNet struct {
	*rand.Rand
	t    *testing.T
	at   []Trial
	now  int64
	loss float64

	mayStart []bool // acknowledged to the conductor
	ended    bool   // the conductor
	ballots  []*ballot
}

// A ballot is one attempt to confirm; there may be several at a time, by
// several nodes.
type ballot struct {
	name      string
	acked     []bool
	withdrawn bool // it does not tell anybody any more
}

func (n *trialNet) clock(i int) tsn.PTPTime {
	return tsn.PTPTime{NS: n.now + int64(i)*1000} // clocks differ by some microseconds
}

func (n *trialNet) arrives() bool { return n.Float64() >= n.loss }

// call is a request and its answer; each may be lost.
func (n *trialNet) call(i int, do func(Trial) (Trial, error)) (ok bool) {
	if !n.arrives() {
		return false
	}
	next, err := do(n.at[i])
	if err != nil {
		return false
	}
	n.set(i, next)
	return n.arrives()
}

func (n *trialNet) set(i int, next Trial) {
	was := n.at[i]
	n.at[i] = next
	if !was.Open() && was.Phase != next.Phase {
		n.t.Fatalf("system %d went from %s to %s", i, was.Phase, next.Phase)
	}
}

// due does what every system does by itself.
func (n *trialNet) due(i int) {
	switch action, _ := n.at[i].Due(n.clock(i)); action {
	case TrialAsk:
		var answers []TrialAnswer
		for j := range n.at {
			if j == i || !n.arrives() {
				continue
			}
			next, a := n.at[j].Ask(trialSystem(j), n.clock(j))
			n.set(j, next)
			if n.arrives() {
				answers = append(answers, a)
			}
		}
		n.set(i, n.at[i].Count(n.clock(i), answers))
	case TrialRestore:
		next := n.at[i].Restore()
		next.Restored = true
		n.set(i, next)
	case TrialIdle:
	}
}

// conduct is one call of the conductor, or the news it may spread.
func (n *trialNet) conduct() {
	i := n.IntN(len(n.at))
	all := func(b []bool) bool { return !slices.Contains(b, false) }
	switch n.IntN(6) {
	case 0:
		n.mayStart[i] = n.call(i, func(t Trial) (Trial, error) { return t.Commit(n.clock(i)) }) || n.mayStart[i]
	case 1:
		if all(n.mayStart) {
			n.call(i, func(t Trial) (Trial, error) { return t.Tell(TrialStarted) })
		}
	case 2:
		if !all(n.mayStart) && n.IntN(10) == 0 { // it gives up
			n.ended = true
			for j := range n.at {
				n.call(j, func(t Trial) (Trial, error) { return t.Abort(n.clock(j)) })
			}
		}
	case 3, 4:
		n.confirm(n.ballots[n.IntN(len(n.ballots))], i)
	case 5:
		if n.IntN(40) == 0 {
			n.call(i, Trial.Bar)
		}
		n.ended = n.IntN(200) == 0
	}
}

// confirm is one call of a ballot: for a vote, with the news, or to take back
// what it has got.
func (n *trialNet) confirm(b *ballot, i int) {
	switch {
	case b.withdrawn || n.ended:
	case !slices.Contains(b.acked, false):
		n.call(i, func(t Trial) (Trial, error) { return t.Tell(TrialConfirmed) })
	case n.IntN(12) == 0:
		b.withdrawn = true
		for j := range n.at {
			n.call(j, func(t Trial) (Trial, error) { return t.Withdraw(n.clock(j), b.name) })
		}
	default:
		b.acked[i] = n.call(i, func(t Trial) (Trial, error) { return t.Prepare(n.clock(i), b.name) }) || b.acked[i]
	}
}

func (n *trialNet) check(i int) {
	for j, other := range n.at {
		a, b := n.at[i].Phase, other.Phase
		if a == TrialConfirmed && (b == TrialDropped || b == TrialReverted) || a == TrialStarted && b == TrialDropped {
			n.t.Fatalf("system %d is %s, system %d is %s", i, a, j, b)
		}
	}
}

// Any system and the conductor may fail to hear anything at any time: no two systems come to
// different ends, and when they can hear each other again each comes to one.
func TestTrialEndsAlike(t *testing.T) {
	ends := map[TrialPhase]int{}
	for seed := range uint64(20_000) {
		r := rand.New(rand.NewPCG(seed, 5))
		n := &trialNet{Rand: r, t: t, loss: []float64{0, 0.1, 0.5, 0.9}[r.IntN(4)]}
		systems := 1 + r.IntN(4)
		for range systems {
			n.at = append(n.at, testTrial(systems))
		}
		n.mayStart = make([]bool, systems)
		for i := range 1 + r.IntN(2) {
			n.ballots = append(n.ballots, &ballot{name: string(rune('a' + i)), acked: make([]bool, systems)})
		}
		step := []int64{20, 100, 300}[r.IntN(3)] * 1_000_000
		for ; n.now < 20_000_000_000; n.now += r.Int64N(step) {
			if !n.ended {
				n.conduct()
			}
			i := r.IntN(systems)
			n.due(i)
			n.check(i)
		}
		n.loss = 0
		for round := 0; round < 3*systems; round++ {
			n.due(round % systems)
			n.now += AskInterval
		}
		for i := range n.at {
			n.check(i)
			if n.at[i].Open() {
				t.Fatalf("seed %d: system %d ends %s", seed, i, n.at[i].Phase)
			}
		}
		ends[n.at[0].Phase]++
	}
	t.Log(ends)
	if len(ends) != 3 {
		t.Error("not every end was seen")
	}
}

// Without loss and with time enough everything asked for happens.
func TestTrialTimes(t *testing.T) {
	x := testTrial(2)
	if err := x.Validate(trialSystem(1)); err != nil {
		t.Fatal(err)
	}
	at := func(ms int64) tsn.PTPTime { return tsn.PTPTime{NS: ms * 1_000_000} }
	must := func(next Trial, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		x = next
	}
	due := func(ms int64, want TrialAction, next int64) {
		t.Helper()
		if got, when := x.Due(at(ms)); got != want || next >= 0 && when != at(next) {
			t.Errorf("%s at %d ms: action %d next %v, want %d next %d ms", x.Phase, ms, got, when, want, next)
		}
	}
	due(500, TrialIdle, 1000)
	due(1000, TrialRestore, 1000)
	must(x.Commit(at(999)))
	due(999, TrialIdle, 1000)
	due(1000, TrialAsk, 1500)
	if _, err := x.Abort(at(1000)); err == nil {
		t.Error("a vote was taken back after the time to vote")
	}
	if _, err := x.Prepare(at(1999), "b"); err == nil {
		t.Error("kept before it started")
	}
	if y := x.Count(at(1000), []TrialAnswer{{trialSystem(0), TrialCommitted, false}}); y.Phase != TrialCommitted {
		t.Error("a vote that may be taken back was counted")
	}
	x = x.Count(at(1000), []TrialAnswer{{trialSystem(0), TrialCommitted, true}})
	due(1000, TrialIdle, 11_000)
	due(11_000, TrialRestore, -1)
	if got := x.Text(at(2500)); got != "unconfirmed, reverts in 9 s" {
		t.Error(got)
	}
	must(x.Prepare(at(9999), "b"))
	if _, err := x.Bar(); err == nil {
		t.Error("a vote to keep was taken back")
	}
	if y := x.Count(at(9999), []TrialAnswer{{trialSystem(0), TrialPrepared, false}}); y.Phase != TrialPrepared {
		t.Error("a vote that may be taken back was counted")
	}
	y, err := x.Prepare(at(9999), "c")
	if err != nil || len(y.Ballots) != 2 {
		t.Fatal(err)
	}
	for _, ballot := range []string{"b", "none", "c"} {
		before := y.Phase
		if y, err = y.Withdraw(at(9999), ballot); err != nil || before != TrialPrepared {
			t.Fatal(err)
		}
	}
	if y.Phase != TrialCommitted || len(x.Ballots) != 1 {
		t.Errorf("%+v", y)
	}
	if _, err := x.Withdraw(at(10_000), "b"); err == nil {
		t.Error("a vote was taken back after the time to vote")
	}
	due(9999, TrialIdle, 10_000)
	due(10_000, TrialAsk, 10_500)
	due(999_000, TrialAsk, 999_500) // never by itself
	if y := x.Count(at(10_000), []TrialAnswer{{trialSystem(0), TrialReverted, true}}); !y.Barred || y.Restore().Phase != TrialReverted {
		t.Errorf("%+v", y)
	}
	x = x.Count(at(10_000), []TrialAnswer{{trialSystem(0), TrialPrepared, true}})
	if x.Phase != TrialConfirmed {
		t.Errorf("%+v", x)
	}
	due(20_000, TrialIdle, -1)
}

// A roll back that is asked for: nobody can keep the change any more, then it
// is taken back sooner.
func TestTrialRollBack(t *testing.T) {
	x := testTrial(2)
	at := func(s int64) tsn.PTPTime { return tsn.PTPTime{NS: s * 1_000_000_000} }
	x.Phase = TrialStarted
	if _, err := x.Advance(at(3), at(5)); err == nil {
		t.Error("taken back sooner although it may yet be kept")
	}
	x, err := x.Bar()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := x.Prepare(at(3), "b"); err == nil {
		t.Error("kept although barred")
	}
	if _, a := x.Ask(trialSystem(0), at(3)); a.Phase != TrialReverted || !a.Final {
		t.Errorf("%+v", a)
	}
	if x, err = x.Advance(at(3), at(5)); err != nil {
		t.Fatal(err)
	}
	if do, _ := x.Due(at(4)); do != TrialRestore {
		t.Errorf("at 4 s: %d", do)
	}
	if x = x.Restore(); x.Phase != TrialReverted || x.RestoreAt(at(1)) != at(5) {
		t.Errorf("%+v", x)
	}
}

func TestTrialValidate(t *testing.T) {
	for name, spoil := range map[string]func(*Trial){
		"no id":             func(x *Trial) { x.ID = "" },
		"not one of them":   func(x *Trial) { x.Systems = x.Systems[1:] },
		"not ascending":     func(x *Trial) { x.Systems[0], x.Systems[1] = x.Systems[1], x.Systems[0] },
		"order of times":    func(x *Trial) { x.KeepBy = x.Base },
		"no time to revert": func(x *Trial) { x.KeepBy.NS = x.RevertAt.NS - 1 },
		"domains":           func(x *Trial) { x.RevertAt.Domain = 1 },
	} {
		x := testTrial(3)
		spoil(&x)
		if x.Validate(trialSystem(0)) == nil {
			t.Error(name)
		}
	}
}
