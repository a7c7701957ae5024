package sim_test

import (
	"slices"
	"testing"

	"tsnswitch"
	"tsnswitch/internal/config"
	"tsnswitch/internal/dataplane/fake"
	"tsnswitch/internal/node"
	"tsnswitch/internal/sim"
)

// ring is a ring of bridges with a host at each of two opposite ones.
func ring(t testing.TB, bridges int) *config.Network {
	t.Helper()
	text := "name: ring\nnodes:\n"
	name := func(i int) string { return "b" + string(rune('1'+i%bridges)) }
	for i := range bridges {
		text += "  - {name: " + name(i) + "}\n"
	}
	text += "  - {name: A, kind: host}\n  - {name: B, kind: host}\nlinks:\n"
	for i := range bridges {
		text += "  - {a: \"" + name(i) + ":1\", b: \"" + name(i+1) + ":2\", rate: 100M}\n"
	}
	text += "  - {a: \"b1:3\", b: A, rate: 100M}\n  - {a: \"" + name(bridges/2) + ":3\", b: B, rate: 100M}\n"
	text += `streams:
  - {name: a-to-b, from: A, to: B, every: 1ms, size: 200B, frames: 1, within: 1ms}
  - {name: b-to-a, from: B, to: A, every: 2ms, size: 600B, frames: 1, within: 2ms}
  - {name: group, from: A, to: B, every: 10ms, size: 100B, frames: 2, pcp: 3, within: 8ms, destination: "91:e0:f0:00:0e:80"}
gptp:
  grandMaster: b1
  clocks:
    b2: {offset: 7s, ppm: 90}
    b3: {offset: -3s, ppm: -95.5}
    A: {offset: 2ms, ppm: -12}
    B: {offset: -1ms, ppm: 55.123}
`
	return parse(t, text)
}

// A link is cut and comes back: forwarding is complete each time, within
// milliseconds, and the time of the far side holds.
func TestLinkCutAndReturn(t *testing.T) {
	l := build(t, ring(t, 6), sim.Options{Seed: 1})
	l.settle()
	l.until(20*second, "time", l.timeAgreed)
	l.Run(10 * second)
	for _, up := range []bool{false, true} {
		if err := l.SetLink("b1", 1, up); err != nil {
			t.Fatal(err)
		}
		took := l.settle()
		t.Logf("link up %t: kernels right after %d us", up, took/microsecond)
		if took > 500*millisecond || took < millisecond {
			t.Errorf("link up %t: kernels right after %d us", up, took/microsecond)
		}
		l.checkPlane()
		l.until(20*second, "time", l.timeAgreed)
		l.Run(5 * second)
		if e := l.timeError(second); e > 100 {
			t.Errorf("link up %t: times %d ns apart", up, e)
		}
	}
}

// A node's process restarts. While it is away and until it is back its kernel
// is left alone, and data frames pass.
func TestNodeRestart(t *testing.T) {
	l := build(t, ring(t, 4), sim.Options{Seed: 1})
	l.settle()
	l.until(20*second, "time", l.timeAgreed)
	b2 := l.Node("b2")
	writes, sets := b2.Kernel.Writes, b2.Sets
	l.Stop("b2")
	for range 10 {
		l.Run(100 * millisecond)
		l.checkPlane()
	}
	if err := l.Start("b2"); err != nil {
		t.Fatal(err)
	}
	if err := l.Start("b2"); err == nil {
		t.Error("a running node was started")
	}
	for range 50 {
		l.Run(100 * millisecond)
		l.checkPlane()
	}
	l.settle()
	l.until(20*second, "time", l.timeAgreed)
	if b2.Sets == sets {
		t.Error("the new life never looked at its kernel")
	}
	if b2.Kernel.Writes != writes {
		t.Errorf("the restart changed the kernel %d times", b2.Kernel.Writes-writes)
	}
}

// One frame in ten is lost, on every link: all still comes to stand.
func TestFrameLoss(t *testing.T) {
	l := build(t, randomNetwork(t, 3, 12, 8, 4), sim.Options{Seed: 3, Loss: 0.1})
	t.Logf("fabric stands after %d ms", l.settle()/millisecond)
	l.checkPlane()
	l.until(60*second, "time", l.timeAgreed)
	t.Logf("time agreed after %d ms", l.Now()/millisecond)
	l.Run(10 * second)
	if e := l.timeError(5 * second); e > microsecond {
		t.Errorf("times %d ns apart", e)
	} else {
		t.Logf("times within %d ns", e)
	}
	if got := float64(l.Counters.Lost) / float64(l.Counters.Lost+l.Counters.Frames); got < 0.09 || got > 0.11 {
		t.Errorf("%.3f of the frames were lost", got)
	}
}

// What waits in the queue is bounded by what exists, however long it runs.
func TestQueueDoesNotGrow(t *testing.T) {
	l := build(t, ring(t, 5), sim.Options{Seed: 1, Jitter: microsecond})
	l.Run(10 * second)
	worst := 0
	for end := l.Now().Add(300 * second); l.Now() < end; l.Run(7 * millisecond) {
		worst = max(worst, l.Pending())
	}
	// Two machines, the tick and the kernel's look for each node; the rest is
	// frames on 7 links, at most a few in each direction.
	if limit := 4*len(l.Nodes()) + 4*2*len(l.cfg.Links); worst > limit {
		t.Errorf("%d things waited, want %d at most", worst, limit)
	}
	// Control of the two hosts waits for nothing.
	if least := 4*len(l.Nodes()) - 2; l.Pending() < least {
		t.Errorf("%d things wait, want %d at least", l.Pending(), least)
	}
}

// Boards whose drivers have no ingress check: known addresses are reached, a
// broadcast stays at its bridge, nothing circles, and it is said.
func TestBoardsWithoutLocked(t *testing.T) {
	for _, board := range []fake.Board{fake.Felix, fake.LAN966x} {
		t.Run(board.Name, func(t *testing.T) {
			l := build(t, ring(t, 4), sim.Options{Seed: 1, Board: func(string) fake.Board { return board }})
			l.settle()
			p := l.Plane()
			l.reaches(p, "A", "B", 0)
			l.reaches(p, "B", "A", l.cfg.Fabric.StreamVID)
			r, err := p.Send("A", sim.Frame{Src: l.mac("A"), Dst: tsn.Broadcast})
			if err != nil {
				t.Fatal(err)
			}
			if len(r.Edge) != 0 || r.Hops != 1 {
				t.Errorf("a broadcast left its bridge: %+v", r)
			}
			for _, d := range l.Nodes() {
				want := 0
				if d.Control.SPB != nil {
					want = 2
				}
				if got := d.Notices[node.NoticeNoIngressCheck]; got != want {
					t.Errorf("%s: %d notices of %s, want %d", d.Name, got, node.NoticeNoIngressCheck, want)
				}
			}
			l.until(20*second, "time", l.timeAgreed)
		})
	}
}

// One such board among others: broadcast ends there, and unicast does not.
func TestOneBoardWithoutLocked(t *testing.T) {
	l := build(t, ring(t, 4), sim.Options{Seed: 1, Board: func(name string) fake.Board {
		if name == "b2" {
			return fake.Felix
		}
		return fake.MV88E6xxx
	}})
	l.settle()
	p := l.Plane()
	l.reaches(p, "A", "B", 0)
	path, err := l.Node("b1").Control.Path(l.cfg.Fabric.DataVID, l.mac("A"), l.mac("B"))
	if err != nil {
		t.Fatal(err)
	}
	want := 1
	if slices.ContainsFunc(path, func(h tsn.Hop) bool { return h.System == l.mac("b2") }) {
		want = 0
	}
	r, err := p.Send("A", sim.Frame{Src: l.mac("A"), Dst: tsn.Broadcast})
	if err != nil || len(r.Edge) != want {
		t.Errorf("%+v, %v; want %d copies", r, err, want)
	}
}
