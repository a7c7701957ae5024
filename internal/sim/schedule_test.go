package sim_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"tsnswitch"
	"tsnswitch/internal/config"
	"tsnswitch/internal/dataplane/fake"
	"tsnswitch/internal/pathplan"
	"tsnswitch/internal/sim"
	"tsnswitch/qbv"
	"tsnswitch/qbv/synth"
	"tsnswitch/srp"
)

// nodeOf finds a node by its system.
func (l *lab) nodeOf(system tsn.MAC) string {
	for _, x := range l.cfg.Nodes {
		if x.SystemID == system {
			return x.Name
		}
	}
	l.t.Fatalf("nobody is %s", system)
	return ""
}

// paths are the hops of each stream, beginning with the talker's own port.
func (l *lab) paths() (out []pathplan.Stream) {
	l.t.Helper()
	for _, s := range l.cfg.TSNStreams() {
		bridge := l.Node(l.edgeOf(l.nodeOf(s.Talker)).Node)
		hops, err := bridge.Control.Path(s.VID, s.Talker, s.Listener)
		if err != nil {
			l.t.Fatal(err)
		}
		out = append(out, pathplan.Stream{Stream: s, Path: append([]tsn.Hop{{System: s.Talker, Port: 1}}, hops...)})
	}
	return out
}

// reserve does what the owner of the streams does: every system on their ways
// gets the whole set it has to hold.
func (l *lab) reserve(streams []pathplan.Stream) {
	l.t.Helper()
	sets := map[string][]tsn.Reservation{}
	for _, s := range streams {
		for _, h := range s.Path {
			name := l.nodeOf(h.System)
			sets[name] = append(sets[name], tsn.Reservation{Stream: s.Stream, Ports: []tsn.Port{h.Port}})
		}
	}
	var answers []*sim.Answer
	for _, d := range l.Nodes() {
		if set := sets[d.Name]; set != nil {
			answers = append(answers, l.Ask(d.Name, func(id uint64) tsn.Event {
				return srp.PutReservations{RequestID: id, Owner: "test", Generation: 1, Reservations: set}
			}))
		}
	}
	l.answered(second, answers)
}

func (l *lab) answered(ns int64, answers []*sim.Answer) {
	l.t.Helper()
	l.until(ns, "answers", func() bool { return !slices.ContainsFunc(answers, func(a *sim.Answer) bool { return !a.Done }) })
	for _, a := range answers {
		if a.Err != nil {
			l.t.Fatal(a.Err)
		}
	}
}

// plan schedules the streams of the scheduled class.
func (l *lab) plan(streams []pathplan.Stream) *pathplan.Plan {
	l.t.Helper()
	return l.planWith(streams, 0)
}

// planWith is plan for transmissions that may be early or late.
func (l *lab) planWith(streams []pathplan.Stream, jitter int64) *pathplan.Plan {
	l.t.Helper()
	var links []pathplan.Link
	for _, k := range l.cfg.Links {
		for _, d := range [2][2]config.End{{k.A, k.B}, {k.B, k.A}} {
			links = append(links, pathplan.Link{
				From: tsn.Hop{System: l.mac(d[0].Node), Port: d[0].Port}, To: l.mac(d[1].Node), Rate: tsn.Rate(k.Rate),
				PropagationDelay: int64(k.Prop), ProcessingDelay: int64(l.cfg.Node(d[1].Node).Proc), MaxEntries: 63, Software: true,
			})
		}
	}
	streams = slices.DeleteFunc(slices.Clone(streams), func(s pathplan.Stream) bool {
		return tsn.DefaultClassMap[s.Stream.PCP] != tsn.ClassScheduled
	})
	net, err := pathplan.New(pathplan.Settings{GuardOctets: tsn.MaxFrameOctets, SyncError: microsecond, Jitter: jitter}, l.nodeOf, links, streams)
	if err != nil {
		l.t.Fatal(err)
	}
	p, err := net.Search(pathplan.Running{}, synth.Options{}, 10_000_000)
	if err != nil {
		l.t.Fatal(err)
	}
	for _, o := range p.Outcomes() {
		if !o.Placed {
			l.t.Fatal(o.Reason)
		}
	}
	return p
}

// lists are those of one system: what its Stage takes.
func lists(p *pathplan.Plan, system tsn.MAC) (out []qbv.PortList) {
	for _, port := range p.Ports() {
		if port.Hop.System == system {
			out = append(out, qbv.PortList{Port: port.Hop.Port, List: &port.List})
		}
	}
	return out
}

// start stages the lists everywhere and commits them at one base time.
func (l *lab) start(id string, s *pathplan.Plan) (base tsn.PTPTime) {
	l.t.Helper()
	var answers []*sim.Answer
	for _, x := range l.cfg.Nodes {
		if lists := lists(s, x.SystemID); len(lists) > 0 {
			answers = append(answers, l.Ask(x.Name, func(rid uint64) tsn.Event { return qbv.Stage{RequestID: rid, ID: id, Lists: lists} }))
		}
	}
	l.answered(second, answers)
	gm := l.Node(l.cfg.GPTP.GrandMaster)
	now, _ := l.PTPNow(gm)
	base = now.Add(second)
	answers = nil
	for _, x := range l.cfg.Nodes {
		if len(lists(s, x.SystemID)) > 0 {
			answers = append(answers, l.Ask(x.Name, func(rid uint64) tsn.Event { return qbv.Commit{RequestID: rid, ID: id, Base: base} }))
		}
	}
	l.answered(second, answers)
	return base
}

// Streams are reserved, their lists staged and committed on all nodes at one
// base time in gPTP; every kernel starts them at the same true time although
// no two clocks agree; the kernel's lists are the planned ones; a restart of a
// node leaves them alone.
func TestScheduleStartsTogether(t *testing.T) {
	for _, board := range []fake.Board{fake.Software, fake.Felix, fake.LAN966x, fake.MV88E6xxx} {
		t.Run(board.Name, func(t *testing.T) {
			l := build(t, ring(t, 4), sim.Options{Seed: 1, Board: func(string) fake.Board { return board }})
			l.settle()
			l.until(20*second, "time", l.timeAgreed)
			l.Run(10 * second)
			streams := l.paths()
			l.reserve(streams)
			l.settle()
			l.checkGroup(streams)
			s := l.plan(streams)
			base := l.start("first", s)
			l.Run(2 * second)
			l.running(s, base)
			second1 := l.start("second", s) // replaces what runs
			l.Run(2 * second)
			l.running(s, second1)

			b2 := l.Node("b2")
			writes := b2.Kernel.Writes
			l.Stop("b2")
			l.Run(second)
			if err := l.Start("b2"); err != nil {
				t.Fatal(err)
			}
			l.Run(20 * second)
			l.until(second, "fabric", l.converged)
			if got := b2.Kernel.Writes - writes; got != 0 {
				t.Errorf("the restart of b2 changed its kernel %d times", got)
			}
			for _, p := range b2.Control.QBV.Status().Ports {
				if p.ConfigPending || p.GateEnabled != (len(lists(s, l.mac("b2"))) > 0 && hasList(s, l.mac("b2"), p.Port)) {
					t.Errorf("after its restart b2 says %+v", p)
				}
			}
		})
	}
}

func hasList(s *pathplan.Plan, system tsn.MAC, port tsn.Port) bool {
	return slices.ContainsFunc(lists(s, system), func(p qbv.PortList) bool { return p.Port == port })
}

// running: every kernel took over its lists within a microsecond of every
// other, in true time, and Oper is the plan.
func (l *lab) running(s *pathplan.Plan, base tsn.PTPTime) {
	l.t.Helper()
	first, last, n := tsn.Never, tsn.Instant(0), 0
	for _, d := range l.Nodes() {
		here := lists(s, l.mac(d.Name))
		for _, p := range d.Control.QBV.Status().Ports {
			i := slices.IndexFunc(here, func(x qbv.PortList) bool { return x.Port == p.Port })
			if i < 0 {
				continue
			}
			n++
			if p.ConfigPending || p.Oper == nil || p.Oper.BaseTime != base || p.ConfigChangeError != 0 {
				l.t.Fatalf("%s port %d: %+v", d.Name, p.Port, p)
			}
			at, ok := d.Started[p.Port]
			if !ok {
				l.t.Fatalf("%s port %d never started", d.Name, p.Port)
			}
			first, last = min(first, at.True), max(last, at.True)
			state, err := d.Kernel.Read()
			if err != nil {
				l.t.Fatal(err)
			}
			e := state.EgressOf(p.Port)
			if e.Admin != nil || fmt.Sprint(e.Oper.Entries) != fmt.Sprint(p.Oper.Entries) {
				l.t.Errorf("%s port %d: the kernel runs %v, the plan is %v", d.Name, p.Port, e.Oper.Entries, p.Oper.Entries)
			}
		}
	}
	if n != len(s.Ports()) || n == 0 {
		l.t.Fatalf("%d ports run, %d are planned", n, len(s.Ports()))
	}
	l.t.Logf("%d ports started within %d ns", n, last.Sub(first))
	if last.Sub(first) > 100 {
		l.t.Errorf("%d ports started within %d ns of each other", n, last.Sub(first))
	}
}

// checkGroup: frames of the group stream leave by the listener's port only,
// and its shaper is on every port of its way.
func (l *lab) checkGroup(streams []pathplan.Stream) {
	l.t.Helper()
	i := slices.IndexFunc(streams, func(s pathplan.Stream) bool { return s.Stream.DestinationAddress.IsGroup() })
	s := streams[i]
	from, to := l.nodeOf(s.Stream.Talker), l.nodeOf(s.Stream.Listener)
	r, err := l.Plane().Send(from, sim.Frame{Src: s.Stream.Talker, Dst: s.Stream.DestinationAddress, VID: s.Stream.VID})
	if err != nil || len(r.Edge) != 1 || r.Edge[l.edgeOf(to)] != 1 || r.Checked != 0 {
		l.t.Errorf("group frame: %+v, %v", r, err)
	}
	for _, h := range s.Path {
		state, err := l.Node(l.nodeOf(h.System)).Kernel.Read()
		if err != nil {
			l.t.Fatal(err)
		}
		if got := state.EgressOf(h.Port).Shapers[tsn.ClassSRA].IdleSlope; got == 0 {
			l.t.Errorf("%s port %d has no shaper for the group stream", l.nodeOf(h.System), h.Port)
		}
	}
}

// A gate clock that nobody steers is far from gPTP time: every node refuses.
func TestUnsteeredGatesTakeNoSchedule(t *testing.T) {
	l := build(t, ring(t, 4), sim.Options{Seed: 1, FreeGates: true})
	l.settle()
	l.until(20*second, "time", l.timeAgreed)
	l.Run(2 * second)
	list := &tsn.GateControlList{CycleTime: millisecond, Entries: []tsn.GateEntry{{Gates: 31, Interval: millisecond / 2}, {Gates: 23, Interval: millisecond / 2}}}
	stage := l.Ask("b2", func(id uint64) tsn.Event {
		return qbv.Stage{RequestID: id, ID: "x", Lists: []qbv.PortList{{Port: 1, List: list}}}
	})
	l.answered(second, []*sim.Answer{stage})
	now, _ := l.PTPNow(l.Node("b2"))
	commit := l.Ask("b2", func(id uint64) tsn.Event { return qbv.Commit{RequestID: id, ID: "x", Base: now.Add(second)} })
	l.Run(millisecond)
	var r *qbv.Refusal
	if !commit.Done || !errors.As(commit.Err, &r) || r.Kind != qbv.RefusedNotSynced {
		t.Errorf("%+v", commit)
	}
}

// A list that the board's table has no room for is refused by the kernel; the
// refusal reaches the caller and all gates stay as they were.
func TestBoardRefusesList(t *testing.T) {
	l := build(t, ring(t, 4), sim.Options{Seed: 1, Board: func(string) fake.Board { return fake.Felix }})
	l.settle()
	l.until(20*second, "time", l.timeAgreed)
	l.Run(2 * second)
	long := &tsn.GateControlList{CycleTime: 80 * 130 * microsecond}
	for i := range 80 {
		long.Entries = append(long.Entries, tsn.GateEntry{Gates: tsn.GateMask(1<<tsn.ClassControl | i%2), Interval: 130 * microsecond})
	}
	short := &tsn.GateControlList{CycleTime: millisecond, Entries: []tsn.GateEntry{{Gates: 31, Interval: millisecond / 2}, {Gates: 23, Interval: millisecond / 2}}}
	stage := l.Ask("b2", func(id uint64) tsn.Event {
		return qbv.Stage{RequestID: id, ID: "x", Lists: []qbv.PortList{{Port: 1, List: long}, {Port: 2, List: short}}}
	})
	l.answered(second, []*sim.Answer{stage})
	now, _ := l.PTPNow(l.Node("b2"))
	commit := l.Ask("b2", func(id uint64) tsn.Event { return qbv.Commit{RequestID: id, ID: "x", Base: now.Add(second)} })
	l.Run(second / 10)
	var r *qbv.Refusal
	if !commit.Done || !errors.As(commit.Err, &r) || r.Kind != qbv.RefusedByKernel {
		t.Fatalf("%+v", commit)
	}
	t.Log(commit.Err)
	l.settle()
	for _, p := range l.Node("b2").Control.QBV.Status().Ports {
		if p.GateEnabled || p.ConfigPending {
			t.Errorf("%+v", p)
		}
	}
}
