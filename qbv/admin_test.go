package qbv

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"tsnswitch"
)

const ms = 1_000_000

// bench drives an Instance in virtual time. gPTP time is 1000 s ahead.
type bench struct {
	t   *testing.T
	m   *Instance
	now tsn.Instant
}

func newBench(t *testing.T) *bench {
	lim := testLimits()
	lim.MaxEntries = 8
	m, err := New(AdminConfig{Ports: []AdminPort{{Port: 1, Limits: lim}, {Port: 2, Limits: lim}, {Port: 3, Limits: lim, Software: true}}})
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{t: t, m: m}
	b.clock(true)
	return b
}

func (b *bench) ptp() tsn.PTPTime { return tsn.PTPTime{NS: 1_000_000*ms + int64(b.now)} }

func (b *bench) clock(synced bool) { b.m.Step(b.now, Clock{Now: b.ptp(), Synced: synced}) }

// step returns the effects as text, one per line.
func (b *bench) step(ev tsn.Event) string {
	var lines []string
	for _, e := range b.m.Step(b.now, ev) {
		switch e := e.(type) {
		case GatesChanged:
			lines = append(lines, fmt.Sprintf("gates %d #%d %s", e.Port, e.Generation, e.List))
		case VerifyGates:
			lines = append(lines, fmt.Sprintf("verify %d", e.Port))
		case Result:
			lines = append(lines, fmt.Sprintf("result %d %v", e.RequestID, e.Err))
		case tsn.Notice:
			lines = append(lines, fmt.Sprintf("notice %s %d", e.Kind, e.Port))
		}
	}
	return strings.Join(lines, "\n")
}

// sleep goes to the machine's deadline.
func (b *bench) sleep() string {
	d := b.m.Deadline()
	if d == tsn.Never || d < b.now {
		b.t.Fatalf("deadline %d at %d", d, b.now)
	}
	b.now = d
	return b.step(tsn.Timeout{})
}

func (b *bench) expect(got string, want ...string) {
	b.t.Helper()
	if w := strings.Join(want, "\n"); got != w {
		b.t.Fatalf("got\n%s\nwant\n%s", got, w)
	}
}

// half is a list with offset 100 ns in a cycle of 2 ms.
func half() *tsn.GateControlList {
	l := list(tsn.GateEntry{Gates: 0x17, Interval: ms}, tsn.GateEntry{Gates: 8, Interval: ms})
	l.BaseTime.NS = 100
	return l
}

func (b *bench) commitHalf(ports ...tsn.Port) tsn.PTPTime {
	b.t.Helper()
	var lists []PortList
	for _, p := range ports {
		lists = append(lists, PortList{p, half()})
	}
	base := b.ptp().Add(1000 * ms)
	b.expect(b.step(Stage{1, "s", lists}), "result 1 <nil>")
	b.step(Commit{2, "s", base})
	return base
}

// 802.1Q 8.6.9.3: ConfigChange, ConfigPending until ConfigChangeTime, then
// Oper = Admin; here Oper only when the kernel was seen to run it.
func TestCommit(t *testing.T) {
	b := newBench(t)
	b.expect(b.step(Stage{1, "s", []PortList{{2, half()}, {1, half()}}}), "result 1 <nil>")
	base := b.ptp().Add(1000 * ms)
	b.expect(b.step(Commit{2, "s", base}),
		"gates 1 #1 base 1001000000100 cycle 2000000 17/1000000 08/1000000",
		"gates 2 #2 base 1001000000100 cycle 2000000 17/1000000 08/1000000")
	b.expect(b.step(Applied{Port: 1, Generation: 1}), "")
	b.expect(b.step(Applied{Port: 2, Generation: 2}), "result 2 <nil>")
	b.expect(b.step(Commit{3, "s", base}), "result 3 <nil>") // a repeated request
	st := b.m.Status()
	if p := st.Ports[0]; !p.ConfigPending || p.Oper != nil || p.GateEnabled || p.ConfigChangeTime != base.Add(100) || st.Pending != "s" {
		t.Fatalf("waiting: %+v", p)
	}
	b.expect(b.sleep(), "verify 1", "verify 2")
	if got := b.ptp().NS - base.NS - 100; got != 20*ms {
		t.Errorf("looked %d ns after the base time, want the settle time", got)
	}
	running := half()
	running.BaseTime = base.Add(100 + 8*ms) // some cycles on is the same schedule
	b.expect(b.step(ReadBack{Port: 1, Oper: running}), "notice gates-running 1")
	b.expect(b.step(ReadBack{Port: 2, Oper: running}), "notice gates-running 2")
	st = b.m.Status()
	if p := st.Ports[1]; p.ConfigPending || !p.GateEnabled || !reflect.DeepEqual(p.Oper, p.Admin) || st.Pending != "" {
		t.Fatalf("running: %+v", p)
	}
	if b.m.Deadline() != tsn.Never {
		t.Error("a deadline is left")
	}
}

// A software port gets its guard entry before it is validated and applied.
func TestSoftwareGuardEntry(t *testing.T) {
	b := newBench(t)
	b.commitHalf(3)
	if got := b.m.Status().Ports[2].Admin.Entries; len(got) != 3 || got[2] != (tsn.GateEntry{Gates: 8, Interval: 1000}) {
		t.Errorf("entries %v", got)
	}
}

func TestCommitRefusals(t *testing.T) {
	starving := list(tsn.GateEntry{Gates: 7, Interval: ms}, tsn.GateEntry{Gates: 8, Interval: ms})
	tests := []struct {
		name string
		do   func(*bench) string
		kind RefusalKind
		text string
	}{
		{"empty id", func(b *bench) string { return b.step(Stage{9, "", []PortList{{1, half()}}}) }, RefusedMalformed, "stage id of 0 octets"},
		{"no list", func(b *bench) string { return b.step(Stage{9, "x", nil}) }, RefusedMalformed, "0 lists for 3 ports"},
		{"port twice", func(b *bench) string { return b.step(Stage{9, "x", []PortList{{1, nil}, {1, nil}}}) }, RefusedMalformed, "two lists"},
		{"no such port", func(b *bench) string { return b.step(Stage{9, "x", []PortList{{4, nil}}}) }, RefusedUnknownPort, "no such port"},
		{"control starved", func(b *bench) string { return b.step(Stage{9, "x", []PortList{{1, starving}}}) }, RefusedList, "control class"},
		{"offset", func(b *bench) string {
			l := half()
			l.BaseTime.NS = -1
			return b.step(Stage{9, "x", []PortList{{1, l}}})
		}, RefusedMalformed, "outside 0.."},
		{"other stage", func(b *bench) string {
			b.step(Stage{8, "y", []PortList{{1, half()}}})
			return b.step(Stage{9, "x", []PortList{{1, half()}}})
		}, RefusedBusy, `"y" is staged`},
		{"pending", func(b *bench) string {
			b.commitHalf(1)
			return b.step(Stage{9, "x", []PortList{{2, half()}}})
		}, RefusedBusy, "not running yet"},
		{"never staged", func(b *bench) string { return b.step(Commit{9, "x", b.ptp().Add(1000 * ms)}) }, RefusedUnknownStage, "stage it again"},
		{"expired", func(b *bench) string {
			b.step(Stage{8, "x", []PortList{{1, half()}}})
			b.expect(b.sleep(), "notice stage-expired 0")
			return b.step(Commit{9, "x", b.ptp().Add(1000 * ms)})
		}, RefusedUnknownStage, "expired"},
		{"aborted", func(b *bench) string {
			b.step(Stage{8, "x", []PortList{{1, half()}}})
			b.expect(b.step(Abort{7, "x"}), "result 7 <nil>")
			return b.step(Abort{9, "x"})
		}, RefusedUnknownStage, "nothing is staged"},
		{"not synchronized", func(b *bench) string {
			b.step(Stage{8, "x", []PortList{{1, half()}}})
			b.clock(false)
			return b.step(Commit{9, "x", b.ptp().Add(1000 * ms)})
		}, RefusedNotSynced, "not synchronized"},
		{"clock offset", func(b *bench) string {
			b.step(Stage{8, "x", []PortList{{1, half()}}})
			b.step(Clock{Now: b.ptp(), Synced: true, Exceeded: true})
			return b.step(Commit{9, "x", b.ptp().Add(1000 * ms)})
		}, RefusedNotSynced, "differ by more"},
		{"past", func(b *bench) string {
			b.step(Stage{8, "x", []PortList{{1, half()}}})
			return b.step(Commit{9, "x", b.ptp().Add(-1)})
		}, RefusedBaseTime, "is -1 ns ahead of gPTP time"},
		{"too near, seen long after the last Clock", func(b *bench) string {
			b.step(Stage{8, "x", []PortList{{1, half()}}})
			base := b.ptp().Add(250 * ms)
			b.now += 100 * ms
			return b.step(Commit{9, "x", base})
		}, RefusedBaseTime, "use 1000300000000 or later"},
		{"too far", func(b *bench) string {
			b.step(Stage{8, "x", []PortList{{1, half()}}})
			return b.step(Commit{9, "x", b.ptp().Add(601_000 * ms)})
		}, RefusedBaseTime, "at most 600000000000"},
		{"other domain", func(b *bench) string {
			b.step(Stage{8, "x", []PortList{{1, half()}}})
			return b.step(Commit{9, "x", tsn.PTPTime{NS: b.ptp().NS + 1000*ms, Domain: 1}})
		}, RefusedBaseTime, "domain 1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t)
			got := tt.do(b)
			if !strings.HasPrefix(got, "result 9 gates") || !strings.Contains(got, tt.text) || strings.Contains(got, "\n") {
				t.Errorf("got %q, want one refusal saying %q", got, tt.text)
			}
			for _, e := range b.m.effects {
				var r *Refusal
				if !errors.As(e.(Result).Err, &r) || r.Kind != tt.kind {
					t.Errorf("kind %v, want %s", r, tt.kind)
				}
			}
		})
	}
}

// The kernel refuses one port's list: all are put back, and the caller learns why.
func TestApplyFails(t *testing.T) {
	b := newBench(t)
	b.commitHalf(1, 2)
	b.expect(b.step(Applied{Port: 1, Generation: 1}), "")
	b.expect(b.step(Applied{Port: 2, Generation: 2, Refused: "EINVAL"}),
		"gates 1 #3 all-open", "gates 2 #4 all-open",
		"result 2 gates of port 2: the list was not taken, all ports are put back: EINVAL")
	st := b.m.Status()
	if st.Pending != "" || st.Ports[1].ConfigChangeError != 1 || st.Ports[0].ConfigPending || st.Ports[0].Admin != nil {
		t.Errorf("%+v", st)
	}
	b.expect(b.step(Applied{Port: 1, Generation: 1}), "") // an answer to what is no longer wanted
	b.commitHalf(1, 2)
}

func TestApplyTimesOut(t *testing.T) {
	b := newBench(t)
	b.commitHalf(1)
	b.expect(b.sleep(), "notice gates-apply-timeout 1", "gates 1 #2 all-open",
		"result 2 gates of port 1: the data plane gave no answer in time, all ports are put back")
}

// A port without gates is done at once; when another port fails it is put back too.
func TestRemoveIsUndone(t *testing.T) {
	b := newBench(t)
	b.run(1)
	b.step(Stage{1, "r", []PortList{{1, nil}, {2, half()}}})
	b.expect(b.step(Commit{2, "r", b.ptp().Add(1000 * ms)}), "gates 1 #2 all-open",
		"gates 2 #3 base 1002020000200 cycle 2000000 17/1000000 08/1000000")
	b.step(Applied{Port: 1, Generation: 2})
	b.expect(b.sleep(), "verify 1")
	b.expect(b.step(ReadBack{Port: 1, Oper: list(tsn.GateEntry{Gates: 0x1f, Interval: ms})}), "notice gates-running 1")
	b.expect(b.step(Applied{Port: 2, Generation: 3, Refused: "EINVAL"}),
		"gates 1 #4 base 1001000000100 cycle 2000000 17/1000000 08/1000000", "gates 2 #5 all-open",
		"result 2 gates of port 2: the list was not taken, all ports are put back: EINVAL")
}

// run brings port n to running half().
func (b *bench) run(n tsn.Port) {
	b.t.Helper()
	base := b.commitHalf(n)
	b.step(Applied{Port: n, Generation: b.m.generation})
	b.sleep()
	l := half()
	l.BaseTime = base.Add(100)
	b.expect(b.step(ReadBack{Port: n, Oper: l}), fmt.Sprintf("notice gates-running %d", n))
}

// The kernel runs something else: it is asked again, then the error is
// counted, status tells what runs, and a new stage is possible.
func TestNotConfirmed(t *testing.T) {
	b := newBench(t)
	base := b.commitHalf(1)
	b.step(Applied{Port: 1, Generation: 1})
	cut := half()
	cut.BaseTime, cut.Entries = base.Add(100), cut.Entries[:1]
	for range confirmRetries {
		b.expect(b.sleep(), "verify 1")
		b.expect(b.step(ReadBack{Port: 1, Oper: cut}), "")
	}
	b.expect(b.sleep(), "notice gates-not-confirmed 1")
	p := b.m.Status().Ports[0]
	if p.ConfigChangeError != 1 || p.ConfigPending || len(p.Oper.Entries) != 1 {
		t.Errorf("%+v", p)
	}
	b.commitHalf(1)
}

// Without a configured rate the control check goes by the link's.
func TestLinkRate(t *testing.T) {
	lim := testLimits()
	lim.Rate = 0
	m, err := New(AdminConfig{Ports: []AdminPort{{Port: 1, Limits: lim}}})
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{t: t, m: m}
	stage := Stage{1, "s", []PortList{{1, half()}}}
	b.step(tsn.LinkChanged{Port: 1, Up: true, Rate: 10 * tsn.Mbps})
	if got := b.step(stage); !strings.Contains(got, "needs 1233600 ns") {
		t.Errorf("1 ms for a frame of 1.2 ms: %s", got)
	}
	b.step(tsn.LinkChanged{Port: 1, Up: true, Rate: 100 * tsn.Mbps})
	b.expect(b.step(stage), "result 1 <nil>")
	b.expect(b.step(stage), "result 1 <nil>") // the same stage again
}

func TestAbortPending(t *testing.T) {
	b := newBench(t)
	b.commitHalf(1)
	b.expect(b.step(Abort{5, "s"}), "gates 1 #2 all-open", "result 2 gates: change \"s\" was aborted", "result 5 <nil>")
	b.commitHalf(1)
}

// gPTP time steps while a list waits: the look at the kernel moves with it.
func TestClockStepMovesTheLook(t *testing.T) {
	b := newBench(t)
	b.commitHalf(1)
	b.step(Applied{Port: 1, Generation: 1})
	before := b.m.Deadline()
	b.m.Step(b.now, Clock{Now: b.ptp().Add(-500 * ms), Synced: true})
	if got := b.m.Deadline().Sub(before); got != 500*ms {
		t.Errorf("moved by %d ns", got)
	}
}

// After a restart the kernel's lists are taken over, running and waiting ones.
func TestAdopt(t *testing.T) {
	b := newBench(t)
	oper, admin := half(), half()
	admin.BaseTime = b.ptp().Add(50 * ms)
	admin.Entries[0].Gates = 0x16
	b.expect(b.step(ReadBack{Port: 1, Oper: oper}), "notice gates-adopted 1", "gates 1 #1 base 100 cycle 2000000 17/1000000 08/1000000")
	b.expect(b.step(ReadBack{Port: 2, Oper: oper, Admin: admin}), "notice gates-adopted 2",
		"gates 2 #2 base 1000050000000 cycle 2000000 16/1000000 08/1000000")
	b.expect(b.sleep(), "verify 2")
	b.expect(b.step(ReadBack{Port: 2, Oper: admin}), "notice gates-running 2")
	b.expect(b.step(ReadBack{Port: 1, Oper: nil}), "notice gates-differ 1")
}

func TestNewRefusesPorts(t *testing.T) {
	for _, ports := range [][]AdminPort{{{Port: 0}}, {{Port: 1, Limits: Limits{Classes: 9}}}, {{Port: 2, Limits: testLimits()}, {Port: 1, Limits: testLimits()}}} {
		if _, err := New(AdminConfig{Ports: ports}); err == nil {
			t.Errorf("accepted %+v", ports)
		}
	}
}

// Any events in any order: no panic, every request answered once at most, no
// deadline left behind, idle ports exactly when no change is in progress.
// Restore needs no stage and no lead: what ran before runs again, whatever is
// going on, and gates that were open open with the others.
func TestRestore(t *testing.T) {
	b := newBench(t)
	b.commitHalf(1, 2)
	b.step(Applied{Port: 1, Generation: 1})
	base := b.ptp().Add(50 * ms)
	b.expect(b.step(Restore{7, "before", []PortList{{1, half()}, {2, nil}}, base}),
		"result 2 gates: another schedule is put back: \"before\"",
		"gates 1 #3 base 1000050000100 cycle 2000000 17/1000000 08/1000000",
		"gates 2 #4 all-open")
	b.expect(b.step(Applied{Port: 1, Generation: 3}), "")
	b.expect(b.step(Applied{Port: 2, Generation: 4}), "result 7 <nil>")
	for b.m.Status().Pending != "" {
		b.sleep()
		for _, p := range b.m.Status().Ports {
			b.step(ReadBack{Port: p.Port, Oper: p.Admin})
		}
	}
	past := b.ptp().Add(-1000 * ms)
	b.expect(b.step(Restore{8, "none", []PortList{{1, nil}, {2, half()}}, past}),
		"gates 1 #5 all-open",
		"gates 2 #6 base 999070000200 cycle 2000000 17/1000000 08/1000000")
	b.step(Restore{9, "again", []PortList{{2, half()}}, past})
	b.expect(b.step(Restore{10, "bad", []PortList{{9, nil}}, past}), "result 10 gates of port 9: there is no such port")
	base = b.ptp().Add(1000 * ms)
	b.expect(b.step(Restore{11, "none", []PortList{{1, nil}, {2, nil}}, base}),
		"result 9 gates: another schedule is put back: \"none\"",
		"gates 1 #8 base 1001070000100 cycle 1000000 1f/1000000",
		"gates 2 #9 all-open")
}

func FuzzInstance(f *testing.F) {
	f.Add([]byte{0, 1, 1, 1, 2, 1, 2, 4, 1, 1, 5, 1, 2, 6, 1, 1})
	f.Add([]byte{1, 1, 0, 2, 0, 0, 4, 1, 1, 7, 255, 0, 6, 1, 0})
	f.Fuzz(func(t *testing.T, in []byte) {
		b := newBench(t)
		requests, answers := map[uint64]bool{}, map[uint64]int{}
		count := func(effects []tsn.Effect) {
			for _, e := range effects {
				if r, ok := e.(Result); ok {
					if answers[r.RequestID]++; answers[r.RequestID] > 1 || !requests[r.RequestID] {
						t.Fatalf("request %d was answered %d times", r.RequestID, answers[r.RequestID])
					}
				}
			}
		}
		for i := uint64(1); len(in) >= 3; in, i = in[3:], i+1 {
			l := half()
			l.Entries[0].Gates = tsn.GateMask(in[2] | 1<<tsn.ClassControl)
			port := tsn.Port(in[1] % 5)
			var ev tsn.Event
			switch in[0] % 9 {
			case 0:
				ev = Clock{Now: tsn.PTPTime{NS: b.ptp().NS + int64(int8(in[1]))*ms}, Synced: in[2]&1 == 0}
			case 1:
				ev = Stage{i, "s", []PortList{{port, l}, {tsn.Port(in[2] % 5), nil}}}
			case 2:
				ev = Commit{i, "s", b.ptp().Add(int64(in[1]) * 10 * ms)}
			case 8:
				ev = Restore{i, "o", []PortList{{port, l}}, b.ptp().Add(int64(int8(in[2])) * 10 * ms)}
			case 3:
				ev = Abort{i, "s"}
			case 4:
				ev = Applied{Port: port, Generation: uint64(in[2]), Refused: map[bool]string{true: "no"}[in[1] > 200]}
			case 5:
				ev = ReadBack{Port: port, Oper: b.m.ports[0].admin, Admin: map[bool]*tsn.GateControlList{true: l}[in[2] > 200]}
			case 6:
				ev = tsn.LinkChanged{Port: port, Up: true, Rate: tsn.Rate(in[2]) * tsn.Mbps}
			case 7:
				b.now += tsn.Instant(in[1]) * 10 * ms
				ev = tsn.Timeout{}
			}
			if k := in[0] % 9; k >= 1 && k <= 3 || k == 8 {
				requests[i] = true
			}
			count(b.m.Step(b.now, ev))
			if d := b.m.Deadline(); d < b.now {
				t.Fatalf("deadline %d is behind %d", d, b.now)
			}
			busy := false
			for _, p := range b.m.ports {
				busy = busy || p.phase != phaseIdle
			}
			if busy != (b.m.change != nil) {
				t.Fatalf("a port is busy: %t, change in progress: %v", busy, b.m.change)
			}
		}
		for b.m.Deadline() != tsn.Never { // everything ends by itself
			b.now = b.m.Deadline()
			count(b.m.Step(b.now, tsn.Timeout{}))
		}
		for r := range requests {
			if answers[r] != 1 {
				t.Fatalf("request %d was answered %d times", r, answers[r])
			}
		}
	})
}
