package qbvbench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	tsn "tsnswitch"
	"tsnswitch/qbv/format"
	"tsnswitch/qbv/schedule"
	"tsnswitch/qbv/synth"
	"tsnswitch/qbv/verify"
)

// Outcome is what a contender made of a problem.
type Outcome struct {
	Ran    bool
	Claims bool // it says it has a schedule of all streams
	Valid  bool // it has
	Strict bool // and it holds with the last link's processing, too
	// Loose: it holds but for isolation. Some count a queue as free when a frame
	// begins to leave it; by qbv/schedule it is when the frame's window closes.
	Loose bool
	CPU   time.Duration
	Whole time.Duration // with the gate control lists, if they take a while; 0: not measured
	Note  string        // why not
}

// Contender solves problems.
type Contender struct {
	Name  string
	Solve func(ctx context.Context, p *schedule.Problem) Outcome
}

// cpuTime is what this process has used.
func cpuTime() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &t); err != nil {
		return 0
	}
	return time.Duration(t.Nano())
}

// timed runs f until it has taken 20 ms, once at least, and returns the CPU time
// of one run.
func timed(f func()) time.Duration {
	start := cpuTime()
	for n := 1; ; n++ {
		f()
		if spent := cpuTime() - start; spent >= 20*time.Millisecond {
			return spent / time.Duration(n)
		}
	}
}

// Ours is synth. CPU is the search alone; the gate control lists, which others
// do not count either, are in Whole.
func Ours() Contender {
	return Contender{"ours", func(_ context.Context, p *schedule.Problem) Outcome {
		var pl *synth.Planner
		var s *schedule.Solution
		var err error
		cpu := timed(func() {
			if pl, err = synth.New(p, synth.Options{}); err == nil {
				pl.Run(synth.DefaultUnits)
			}
		})
		if err != nil {
			return judge(p, nil, err, cpu)
		}
		lists := timed(func() { s = pl.Solution() })
		o := judge(p, s, nil, cpu)
		o.Whole = cpu + lists
		return o
	}}
}

// Plain is FirstFit.
func Plain() Contender {
	return Contender{"first fit", func(_ context.Context, p *schedule.Problem) Outcome {
		if len(p.Streams) > beyond["first fit"] {
			return Outcome{Note: "too many streams for it"}
		}
		var s *schedule.Solution
		cpu := timed(func() { s = FirstFit(p) })
		return judge(p, s, nil, cpu)
	}}
}

// judge asks the verifier.
func judge(p *schedule.Problem, s *schedule.Solution, err error, cpu time.Duration) Outcome {
	o := Outcome{Ran: true, CPU: cpu}
	switch {
	case err != nil:
		o.Note = err.Error()
		return o
	case s == nil || len(s.Streams) < len(p.Streams):
		o.Note = "not all streams"
		return o
	}
	o.Claims = true
	r, err := verify.Check(anyQueue(p), s)
	if err != nil {
		o.Note = err.Error()
		return o
	}
	if !r.Valid() {
		o.Loose = !slices.ContainsFunc(r.Faults, func(f verify.Fault) bool { return f.Rule != verify.RuleIsolation })
		o.Note = fmt.Sprintf("%d faults: %s", r.FaultCount, r.Faults[0].Text)
		return o
	}
	o.Valid, o.Strict = true, true
	for _, x := range r.Streams {
		for _, l := range x.Listeners {
			o.Strict = o.Strict && l.Latency+l.Processing <= p.Streams[x.Stream].Deadline
		}
	}
	return o
}

// anyQueue lets streams use queue 0, as others do.
func anyQueue(p *schedule.Problem) *schedule.Problem {
	q := *p
	q.Links = append([]schedule.Link(nil), p.Links...)
	for i := range q.Links {
		q.Links[i].Scheduled = tsn.GateMask(1<<q.Links[i].Queues - 1)
	}
	return &q
}

// beyond is how many streams a method is asked about at most.
var beyond = map[string]int{"first fit": 2000, "dt": 2000, "ls": 200, "ls_tb": 100, "smt_wa": 80, "smt_pr": 40}

// Peer is a method of the tsnkit in dir.
func Peer(dir, method, python string, budget time.Duration) Contender {
	return Contender{method, func(ctx context.Context, p *schedule.Problem) Outcome {
		if most, ok := beyond[method]; ok && len(p.Streams) > most {
			return Outcome{Note: "too many streams for it"}
		}
		o, err := runPeer(ctx, dir, method, python, budget, p)
		if err != nil {
			return Outcome{Ran: true, Note: err.Error(), CPU: budget}
		}
		return o
	}}
}

func runPeer(ctx context.Context, dir, method, python string, budget time.Duration, p *schedule.Problem) (Outcome, error) {
	work, err := os.MkdirTemp("", "qbvbench")
	if err != nil {
		return Outcome{}, err
	}
	defer os.RemoveAll(work)
	task, topo, out := filepath.Join(work, "task.csv"), filepath.Join(work, "topo.csv"), filepath.Join(work, "solution.json")
	err = errors.Join(os.WriteFile(task, format.WriteStreams(p), 0o644), os.WriteFile(topo, format.WriteTopology(p), 0o644))
	if err != nil {
		return Outcome{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, 10*budget+time.Minute) // of a busy machine; the budget is CPU time
	defer cancel()
	text, err := exec.CommandContext(ctx, python, "tsnkit.py", dir, method, task, topo, fmt.Sprint(budget.Seconds()), out).CombinedOutput()
	if err != nil {
		lines := strings.Split(strings.TrimSpace(string(text)), "\n")
		return Outcome{}, fmt.Errorf("%w: %s", err, lines[len(lines)-1])
	}
	return peerOutcome(p, text, out)
}

func peerOutcome(p *schedule.Problem, text []byte, file string) (Outcome, error) {
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	var said struct {
		Result string
		CPU    float64 `json:"cpu_s"`
	}
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &said); err != nil {
		return Outcome{}, fmt.Errorf("%w: %s", err, lines[len(lines)-1])
	}
	cpu := time.Duration(said.CPU * 1e9)
	if said.Result != "schedulable" {
		return Outcome{Ran: true, CPU: cpu, Note: said.Result}, nil
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return Outcome{}, err
	}
	s, _, err := format.ReadSolution(file, data, p)
	if misfit := (*format.Error)(nil); errors.As(err, &misfit) && misfit.Mismatch {
		return Outcome{Ran: true, Claims: true, CPU: cpu, Note: misfit.Reason}, nil
	}
	if err != nil {
		return Outcome{}, err
	}
	return judge(p, s, nil, cpu), nil
}
