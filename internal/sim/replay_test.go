package sim_test

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tsnswitch"
	"tsnswitch/internal/config"
	_ "tsnswitch/internal/daemon" // registers the events of a switch
	"tsnswitch/internal/dataplane/fake"
	"tsnswitch/internal/node"
	"tsnswitch/internal/nodeconfig"
	"tsnswitch/internal/record"
	"tsnswitch/internal/sim"
	"tsnswitch/qbv"
)

var (
	traceFile = flag.String("replay", "", "trace to replay (TestReplayFile)")
	traceConf = flag.String("config", "", "configuration of the daemon that recorded it")
	traceHeld = flag.Bool("adopted", false, "the daemon found a kernel that forwarded when it started")
)

// stepText is a step as text: when, what came in, what came out.
func stepText(at tsn.Instant, ev tsn.Event, effects []tsn.Effect) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d %T %s\n", at, ev, valueText(ev))
	for _, e := range effects {
		fmt.Fprintf(&b, "    > %T %s\n", e, valueText(e))
	}
	return b.String()
}

func valueText(v any) string {
	switch e := v.(type) { // frames in hexadecimal, as people and tools read them
	case tsn.Received:
		return fmt.Sprintf("port %d ingress %d stamped %t %x", e.Port, e.Ingress, e.Stamped, e.Frame)
	case tsn.Send:
		return fmt.Sprintf("port %d priority %d tag %d %x", e.Port, e.Priority, e.Tag, e.Frame)
	}
	text, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// machineOf builds the machine that a daemon of that configuration runs.
func machineOf(c *config.Daemon, which sim.Machine) (tsn.Machine, error) {
	cfg, err := nodeconfig.Of(c)
	if err != nil {
		return nil, err
	}
	if *traceHeld && cfg.SPB != nil {
		cfg.SPB.StartupHold = 3 * second // as internal/daemon has it
	}
	timing, control, err := node.New(cfg)
	if which == sim.Timing {
		return timing, err
	}
	return control, err
}

// A node's machines are recorded while a link fails, streams are reserved, the
// kernel refuses a list and takes another. Replayed from the files, they do
// the same, effect by effect.
func TestRecordedRunReplays(t *testing.T) {
	net := ring(t, 4)
	l := build(t, net, sim.Options{Board: func(string) fake.Board { return fake.Felix }})
	dir := t.TempDir()
	path := func(m sim.Machine) string { return filepath.Join(dir, m.String()+".jsonl") }
	var recorders [2]*record.Recorder
	var want [2]strings.Builder
	for _, m := range []sim.Machine{sim.Timing, sim.Control} {
		r, err := record.Create(record.Config{Path: path(m), Machine: m.String(), MaxBytes: 20_000, Keep: 1000, Queue: 1 << 20})
		if err != nil {
			t.Fatal(err)
		}
		recorders[m] = r
	}
	l.OnStep = func(s sim.Step) {
		if s.Node.Name == "b2" {
			recorders[s.Machine].Record(s.Now, s.Event)
			want[s.Machine].WriteString(stepText(s.Now, s.Event, s.Effects))
		}
	}
	l.settle()
	l.until(20*second, "time", l.timeAgreed)
	l.Run(10 * second)
	streams := l.paths()
	l.reserve(streams)
	refused := l.refusedList("b2")
	l.settle()
	l.start("good", l.plan(streams))
	l.Run(2 * second)
	if err := l.SetLink("b2", 1, false); err != nil {
		t.Fatal(err)
	}
	l.Run(second)
	for _, m := range []sim.Machine{sim.Timing, sim.Control} {
		if err := recorders[m].Close(); err != nil {
			t.Fatal(err)
		}
		if st := recorders[m].Stats(); st.Dropped > 0 || st.Rotations == 0 {
			t.Fatalf("%s: %+v", m, st)
		}
		dc, err := net.DaemonConfig("b2", config.Dirs{})
		if err != nil {
			t.Fatal(err)
		}
		machine, err := machineOf(dc, m)
		if err != nil {
			t.Fatal(err)
		}
		in, err := record.OpenParts(path(m))
		if err != nil {
			t.Fatal(err)
		}
		var got strings.Builder
		err = record.Replay(in, machine, func(at tsn.Instant, ev tsn.Event, effects []tsn.Effect) {
			got.WriteString(stepText(at, ev, effects))
		})
		if err != nil {
			t.Fatalf("%s: %v", m, err)
		}
		in.Close()
		sameText(t, m.String(), got.String(), want[m].String())
	}
	text := want[sim.Control].String()
	for _, must := range []string{refused, "node.SetUnlocked", "srp.PutReservations", "gates-running", "spb.TopologyChanged", "qbv.ReadBack"} {
		if !strings.Contains(text, must) {
			t.Errorf("the run had no %q: the test does not test it", must)
		}
	}
}

// refusedList commits a list that is too long for the board, and returns what
// the kernel said.
func (l *lab) refusedList(name string) string {
	l.t.Helper()
	long := &tsn.GateControlList{CycleTime: 80 * 130 * microsecond}
	for i := range 80 {
		long.Entries = append(long.Entries, tsn.GateEntry{Gates: tsn.GateMask(1<<tsn.ClassControl | i%2), Interval: 130 * microsecond})
	}
	now, _ := l.PTPNow(l.Node(name))
	stage := l.Ask(name, func(id uint64) tsn.Event {
		return qbv.Stage{RequestID: id, ID: "long", Lists: []qbv.PortList{{Port: 1, List: long}}}
	})
	commit := l.Ask(name, func(id uint64) tsn.Event { return qbv.Commit{RequestID: id, ID: "long", Base: now.Add(second)} })
	l.until(second, "refusal", func() bool { return stage.Done && commit.Done })
	if commit.Err == nil {
		l.t.Fatal("the board took a list of 80 entries")
	}
	return "the limit is 63"
}

// sameText fails with the first line that differs.
func sameText(t *testing.T, what, got, want string) {
	t.Helper()
	if got == want {
		return
	}
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range w {
		if i >= len(g) || g[i] != w[i] {
			t.Fatalf("%s: line %d of %d (got %d):\n got %.300s\nwant %.300s", what, i+1, len(w), len(g), strings.Join(g[min(i, len(g)):min(i+1, len(g))], ""), w[i])
		}
	}
	t.Fatalf("%s: %d lines, want %d", what, len(g), len(w))
}

// TestReplayFile steps a machine through a trace that a daemon recorded
// (tsnswitchd --record DIR), and prints every event with its effects:
//
//	go test ./internal/sim -run TestReplayFile -v -replay /DIR/b1-control.jsonl -config /DIR/b1.yaml
//
// The paths are absolute, because go test runs in the package's folder (and its
// own -trace is another thing). The older parts of a rotated trace are found
// beside it. Add -adopted if the daemon was restarted over a kernel that was
// forwarding. Effects are not in a trace: two versions of the program are
// compared by the text this prints.
func TestReplayFile(t *testing.T) {
	if *traceFile == "" {
		t.Skip("no -replay given")
	}
	c, err := config.LoadDaemon(*traceConf)
	if err != nil {
		t.Fatal(err)
	}
	which, err := recordedMachine(*traceFile)
	if err != nil {
		t.Fatal(err)
	}
	m, err := machineOf(c, which)
	if err != nil {
		t.Fatal(err)
	}
	in, err := record.OpenParts(*traceFile)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	err = record.Replay(in, m, func(at tsn.Instant, ev tsn.Event, effects []tsn.Effect) {
		out.WriteString(stepText(at, ev, effects))
	})
	if err != nil {
		t.Fatal(err)
	}
}

// recordedMachine reads the header of a trace; one without a name is told by
// the file's.
func recordedMachine(file string) (sim.Machine, error) {
	in, err := record.OpenParts(file)
	if err != nil {
		return 0, err
	}
	defer in.Close()
	line, err := bufio.NewReader(in).ReadBytes('\n')
	if err != nil && err != io.EOF {
		return 0, err
	}
	var h struct{ Machine string }
	if err := json.Unmarshal(line, &h); err != nil {
		return 0, fmt.Errorf("%s: no header of a trace: %w", file, err)
	}
	for _, m := range []sim.Machine{sim.Timing, sim.Control} {
		if h.Machine == m.String() || h.Machine == "" && strings.Contains(filepath.Base(file), m.String()) {
			return m, nil
		}
	}
	return 0, fmt.Errorf("%s: recorded from a machine %q, not one of a switch", file, h.Machine)
}
