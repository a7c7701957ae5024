package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"tsnswitch"
	"tsnswitch/internal/api"
	"tsnswitch/internal/config"
)

// Every period is in time, late, never answered or slept through, and
// percentiles are of all of them.
func TestControlFigures(t *testing.T) {
	r := loopResult{
		Latency: []int64{1000, 3000, 5000, 5001, -1, -2, 2000, 2500, 2000, 2000},
		Late:    []int64{10, 10, 10, 10, 10, 5000, 20, 10, 10, 10},
		Angle:   []int64{300, -400, 0, 0, 0, 0, 0, 0, 0, 0},
		Falls:   2, Lost: 1,
	}
	got := r.figures(5 * time.Millisecond)
	want := controlFigure{
		Periods: 10, Missed: 3, Late: 1, Absent: 1, Slept: 1,
		P50: 2500, P99: never, P999: never, Max: never,
		Jitter:  (2000 + 2000 + 1 + 500 + 500 + 0) / 6, // not across a period without an answer
		LateP99: 5000, RMS: got.RMS, Farthest: 4, Falls: 2, Lost: 1,
	}
	if got != want {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if rms := got.RMS * got.RMS; rms < 2.499 || rms > 2.501 { // (9 + 16) / 10
		t.Errorf("rms angle %v", got.RMS)
	}
	if text, err := json.Marshal(got); err != nil || !strings.Contains(string(text), `"p50us":2500,"p99us":null`) {
		t.Errorf("%s, %v", text, err)
	}
	if got := (&loopResult{}).figures(time.Millisecond); got != (controlFigure{}) {
		t.Errorf("of nothing: %+v", got)
	}
}

func TestControlFiguresAddUp(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := loopResult{Latency: rapid.SliceOf(rapid.Int64Range(-2, 12)).Draw(t, "latency")}
		f := r.figures(6 * time.Microsecond)
		inTime := 0
		for _, us := range r.Latency {
			if us >= 0 && us <= 6 {
				inTime++
			}
		}
		if f.Missed != f.Late+f.Absent+f.Slept || f.Periods != inTime+f.Missed {
			t.Fatalf("%+v, %d in time", f, inTime)
		}
		if f.P50 > f.P99 || f.P99 > f.P999 || f.P999 > f.Max || (f.Max == never) != (f.Absent+f.Slept > 0) {
			t.Fatalf("%+v", f)
		}
	})
}

// phasesOf are three phases as a run leaves them.
func phasesOf(latencies ...[]int64) []*controlPhase {
	var out []*controlPhase
	for i, l := range latencies {
		p := &controlPhase{Name: controlPhases[i%3].name, LineRate: 20 * tsn.Mbps, Period: 5 * time.Millisecond, Loaded: i > 0, Loop: loopResult{Latency: l}}
		for range l {
			p.Loop.Late, p.Loop.Angle = append(p.Loop.Late, 100), append(p.Loop.Angle, -9000)
		}
		p.Figures = p.Loop.figures(p.Period)
		out = append(out, p)
	}
	return out
}

func TestControlTable(t *testing.T) {
	phases := phasesOf([]int64{900, 950}, []int64{150_000, -1, 12_345_678}, []int64{3600, 3700, 5200})
	phases[1].Figures.Lost, phases[1].Figures.Periods, phases[1].Figures.Missed = 3, 120_000, 120_000
	var b strings.Builder
	printControl(&b, phases)
	for line := range strings.Lines(b.String()) {
		if n := len(strings.TrimRight(line, "\n")); n > 80 {
			t.Errorf("%d columns: %s", n, line)
		}
	}
	for _, want := range []string{"deadline 5ms; every wire 20 Mbit/s", "0.90   0.95", "120000 120000     1     0  12345  never", "CPU-bound", "lost 3 times"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is not in\n%s", want, &b)
		}
	}
	printControl(&b, nil)
}

// A reservation has to help: nothing absolute is asked.
func TestJudgeControl(t *testing.T) {
	bad := func(n, of int) []int64 {
		l := make([]int64, of)
		for i := range n {
			l[i] = -1
		}
		return l
	}
	for _, c := range []struct {
		without, with int
		idle          float64
		want          string
	}{{100, 10, 1, ""}, {100, 11, 1, "too little"}, {100, 11, cpuBound / 2, "too busy"}, {100, 0, 0, ""}, {0, 0, 1, "nothing to see"}} {
		phases := phasesOf(bad(0, 100), bad(c.without, 100), bad(c.with, 100))
		for _, p := range phases {
			p.IdleCPU = c.idle
		}
		err := judgeControl(phases)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%d and %d missed: %v, want %q", c.without, c.with, err, c.want)
		}
	}
}

// The picture is well-formed, nothing lies below its end, and misses are red.
func TestControlPicture(t *testing.T) {
	const red = `stroke="` + missedColour + `" d="M`
	for _, c := range []struct {
		phases []*controlPhase
		missed bool
	}{
		{nil, false},
		{phasesOf(nil), false},
		{phasesOf([]int64{1, 900}, []int64{4000, 5000}), false},
		{phasesOf([]int64{900}, []int64{5001}), true},
		{phasesOf([]int64{-1, -2}), true},
		{phasesOf(make([]int64, 120_000), []int64{1_500_000}, []int64{0}), true},
	} {
		svg := controlPicture(c.phases, "a <kernel>")
		if height, lowest := extent(t, svg); lowest > height {
			t.Errorf("text at %d, height %d", lowest, height)
		}
		if strings.Contains(svg, red) != c.missed {
			t.Errorf("red: %v, want %v in %s", !c.missed, c.missed, svg)
		}
		if strings.Contains(svg, "NaN") || strings.Contains(svg, "Inf") || len(svg) > 300_000 {
			t.Errorf("%d octets: %.2000s", len(svg), svg)
		}
	}
}

// The network file has the hosts of the loop, and what is reserved is a whole
// number of kbit/s that makes intervals of half a period.
func TestControlNetwork(t *testing.T) {
	n, err := config.LoadNetwork("../control/network.yaml")
	if err != nil {
		t.Fatal(err)
	}
	l := &lab{fabric: &fabric{net: n}}
	for _, x := range n.Nodes {
		l.nodes = append(l.nodes, &labNode{Node: x})
	}
	if c, err := l.controlNodes(); err != nil || c.a.Name != "A" || c.d.Name != "D" {
		t.Errorf("%v", err)
	}
	l.nodes = l.nodes[:4]
	if _, err := l.controlNodes(); err == nil {
		t.Error("a lab without C and D is taken")
	}
	if interval := (reservedFrame + 42) * 8_000_000 / int64(reservedRate); interval != int64(controlPeriod/2) {
		t.Errorf("a frame every %d ns", interval)
	}
}

func TestOpenings(t *testing.T) {
	sched := &api.Schedule{Base: tsn.PTPTime{NS: 1000}, Ports: []api.PortSchedule{
		{PathHop: api.PathHop{Node: "b2"}, Windows: []api.Window{{Start: 1, Period: 5}}},
		{PathHop: api.PathHop{Node: "B"}, Windows: []api.Window{{Start: 70, Period: 2500}}},
	}}
	g, err := openings(sched, "B")
	if err != nil || g.cycle != 2500 || (g.open-1070)%1e9 != 0 {
		t.Errorf("%+v, %v", g, err)
	}
	if _, err := openings(sched, "A"); err == nil {
		t.Error("a host without a window has one")
	}
}

// The loop itself, for a second between two nodes of this machine: each period
// has a result, and forces come.
func TestLoop(t *testing.T) {
	for _, tool := range []string{"erl", "erlc"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is missing (Debian: erlang-base)", tool)
		}
	}
	dir := t.TempDir()
	sources, err := filepath.Glob("../control/*.erl")
	if err != nil || len(sources) == 0 {
		t.Fatalf("%v %v", sources, err)
	}
	// The loop knows distlink by one function.
	stub := filepath.Join(dir, "distlink.erl")
	if err := os.WriteFile(stub, []byte("-module(distlink). -export([class/2]). class(_, control) -> ok.\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), "erlc", append([]string{"-Wall", "-Werror", "-o", dir, stub}, sources...)...).CombinedOutput(); err != nil {
		t.Fatalf("erlc: %v\n%s", err, out)
	}
	// A node without a name is one of the two all the same: both ends in one.
	const loop = `controller:start(), ok = plant:run(node(), 5, 200, {2500000, 700000, 300000}), halt().`
	cmd := exec.CommandContext(t.Context(), "erl", "-noshell", "-pa", dir, "-eval", loop)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "HOME="+dir)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var r loopResult
	if err := json.Unmarshal(out, &r); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	f := r.figures(controlPeriod)
	t.Logf("%+v", f)
	if f.Periods != 200 || len(r.Late) != 200 || len(r.Angle) != 200 || f.Absent+f.Slept == 200 {
		t.Errorf("%+v", r)
	}
}
