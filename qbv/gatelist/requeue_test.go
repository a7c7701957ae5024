package gatelist

import (
	"math/rand/v2"
	"reflect"
	"testing"

	"tsnswitch/qbv/schedtest"
	"tsnswitch/qbv/schedule"
	"tsnswitch/qbv/verify"
)

// With margins a queue is shut right before each of its windows: two queues in
// turn need no entry for that.
func TestRequeueTakesTurns(t *testing.T) {
	p, placed := line()
	p.SyncError = 10
	placed[1].Queues[1] = 3
	p.Links[1].MaxEntries = 3
	want := "needs 4 gate entries, the port has 3"
	if got := listOf(t, p, 1, placed); got != want {
		t.Fatalf("got %s, want %s", got, want)
	}
	got, better, err := Requeue(p, 1, placed)
	if err != nil || !better {
		t.Fatal(better, err)
	}
	want = "base 0 cycle 10000 03/990 08/3000 04/6010"
	if list := listOf(t, p, 1, got); list != want {
		t.Errorf("got %s, want %s", list, want)
	}
	if placed[0].Queues[1] != 3 || placed[1].Queues[1] != 3 {
		t.Error("the placements that were given have changed")
	}
}

// Without margins and waits one queue does, and its windows share an entry.
func TestRequeueJoins(t *testing.T) {
	p, placed := line()
	p.Links[1].MaxEntries = 2
	p.Links[1].Control, p.Links[1].ControlOctets = 1, 500
	want := "needs 3 gate entries, the port has 2"
	if got := listOf(t, p, 1, placed); got != want {
		t.Fatalf("got %s, want %s", got, want)
	}
	got, better, err := Requeue(p, 1, placed)
	if err != nil || !better {
		t.Fatal(better, err)
	}
	want = "base 0 cycle 10000 04/5000 03/5000"
	if list := listOf(t, p, 1, got); list != want && list != "base 0 cycle 10000 08/5000 03/5000" {
		t.Errorf("got %s, want %s", list, want)
	}
}

// What it returns is isolated, and passes the verifier with its lists.
func TestRequeuePassesTheVerifier(t *testing.T) {
	r := rand.New(rand.NewPCG(6, 6))
	tried, possible := 0, 0
	for n := range 300 {
		p := schedtest.Problem(r, 2+r.IntN(12))
		p.Isolation = schedule.IsolateFrames
		s := schedtest.Place(r, p, func(s *schedule.Solution) bool { return sound(p, s) })
		for i := range p.Links {
			p.Links[i].Scheduled = 0b1110
			p.Links[i].MaxEntries = 2 + r.IntN(8)
		}
		_, over, err := Build(p, s.Streams)
		if err != nil {
			t.Fatalf("case %d: %v", n, err)
		}
		for _, o := range over {
			before := *s
			placed, better, err := Requeue(p, o.Link, s.Streams)
			if err != nil {
				t.Fatalf("case %d: %v", n, err)
			}
			tried++
			if !better {
				if !reflect.DeepEqual(placed, before.Streams) {
					t.Fatalf("case %d: no better, and changed", n)
				}
				continue
			}
			possible++
			s.Streams = placed
		}
		gates, over, err := Build(p, s.Streams)
		if err != nil {
			t.Fatalf("case %d: %v", n, err)
		}
		for s.Gates = gates; len(over) > 0; _, over, _ = Build(p, s.Streams) {
			without(s, over[0].Streams[:1])
		}
		if s.Gates, _, err = Build(p, s.Streams); err != nil {
			t.Fatal(err)
		}
		if rep, err := verify.Check(p, s); err != nil || rep.FaultCount > 0 {
			t.Fatalf("case %d: %v %v", n, err, rep.Faults)
		}
	}
	if t.Logf("%d lists, %d shorter", tried, possible); possible < 50 {
		t.Error("too few to mean something")
	}
}

// A queue that other frames wait in is not taken.
func TestRequeueKeepsIsolation(t *testing.T) {
	p, placed := line()
	p.Links[1].MaxEntries = 2
	placed[0].Starts[1], placed[1].Starts[1] = 5000, 6500 // the second comes while the first waits
	got, _, err := Requeue(p, 1, placed)
	if err != nil {
		t.Fatal(err)
	}
	if a, b := got[0].Queues[1], got[1].Queues[1]; a == b || a < 2 || b < 2 {
		t.Errorf("queues %d and %d", a, b)
	}
}
