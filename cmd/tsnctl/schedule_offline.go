package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tsnswitch/internal/config"
	"tsnswitch/qbv/cqf"
	"tsnswitch/qbv/format"
	"tsnswitch/qbv/framesim"
	"tsnswitch/qbv/gatelist"
	"tsnswitch/qbv/schedule"
	"tsnswitch/qbv/synth"
	"tsnswitch/qbv/verify"
)

// offlinePlan is schedule plan --topo, and --network.
type offlinePlan struct {
	planFiles
	network  string // instead of topo: routes are those of SPB
	budget   config.Duration
	units    int64
	seed     uint64
	mode     string
	strategy string
	routes   string
	paths    int
	out      string
	running  string
	moves    int
}

func (o *offlinePlan) flags(c *cobra.Command) {
	o.planFiles.flags(c)
	f := c.Flags()
	f.Var(&unit[*config.Duration]{v: &o.budget, name: "duration"}, "budget", "time to search; prints the work units spent")
	f.Int64Var(&o.units, "units", 0, "work units to search: the same bytes every time (default: some seconds' worth)")
	f.Uint64Var(&o.seed, "seed", 0, "of the search")
	f.StringVar(&o.strategy, "strategy", "", "full search, or construct: place once and be done (default full)")
	f.StringVar(&o.mode, "mode", "auto", "nowait, buffered, auto; cqf: 802.1Qch; mixed: auto, and cqf for the rest")
	f.StringVar(&o.routes, "routes", "k-shortest", "k-shortest, or ect: trees that SPB can install")
	f.IntVar(&o.paths, "paths", 0, fmt.Sprintf("routes to try of each stream (default %d; of ect all)", synth.DefaultRoutes))
	f.StringVar(&o.running, "running", "", "solution that runs: its streams stay, others are placed beside them")
	f.IntVar(&o.moves, "moves", 0, "with --running: how many of its streams may move")
	_ = c.MarkFlagFilename("running", "json")
	f.StringVar(&o.out, "out", "", "write the solution to this file too")
	for flag, values := range map[string][]string{"mode": {"nowait", "buffered", "auto", "cqf", "mixed"}, "routes": {"k-shortest", "ect"}, "strategy": {"full", "construct"}} {
		_ = c.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
	}
}

// modes are those of --mode: of cqf all streams are cyclic, of mixed those that
// find no place otherwise.
var modes = map[string]synth.Mode{
	"nowait": synth.NoWait, "buffered": synth.Buffered, "auto": synth.Auto, "mixed": synth.Auto, "cqf": synth.Auto,
}

func (o *offlinePlan) options(c *cobra.Command) (synth.Options, error) {
	mode, ok := modes[o.mode]
	switch {
	case !ok:
		return synth.Options{}, usageError{fmt.Errorf("--mode %s: allowed: nowait, buffered, auto, cqf, mixed", o.mode)}
	case o.strategy != "" && o.strategy != "full" && o.strategy != synth.Construct:
		return synth.Options{}, usageError{fmt.Errorf("--strategy %s: allowed: full, construct", o.strategy)}
	case o.routes != "k-shortest" && o.routes != "ect":
		return synth.Options{}, usageError{fmt.Errorf("--routes %s: allowed: k-shortest, ect", o.routes)}
	case c.Flags().Changed("budget") && o.budget <= 0, c.Flags().Changed("units") && o.units <= 0, o.paths < 0, o.moves < 0:
		return synth.Options{}, usageError{fmt.Errorf("--budget, --units, --paths and --moves are to be positive")}
	case o.running != "" && (o.mode == "cqf" || o.mode == "mixed"):
		return synth.Options{}, usageError{fmt.Errorf("--running is for streams with times of their own, not for --mode %s", o.mode)}
	}
	strategy := o.strategy
	if strategy == "full" {
		strategy = synth.Full
	}
	return synth.Options{Seed: o.seed, Mode: mode, Strategy: strategy, Routes: synth.RouteChoice{K: o.paths}, Units: o.units}, nil
}

// plannedSchedule is a schedule and what was found out about it.
type plannedSchedule struct {
	problem *schedule.Problem
	*schedule.Solution
	meta   format.Meta
	report *verify.Report
	played *framesim.Result

	added, removed int // beside a running one
}

func (a *app) planOfflineFiles(c *cobra.Command, o *offlinePlan) error {
	options, err := o.options(c)
	if err != nil {
		return err
	}
	if o.network != "" {
		o.topo = o.network
	}
	n, err := o.load(c)
	if err == nil && o.network != "" {
		err = n.pathRoutes()
	}
	if err != nil {
		return asFailure(err)
	}
	if o.routes == "ect" {
		if err := n.ectRoutes(); err != nil {
			return failure{err}
		}
		if o.paths > 0 {
			for i := range n.problem.Streams {
				s := &n.problem.Streams[i]
				s.Routes = s.Routes[:min(o.paths, len(s.Routes))]
			}
		}
	}
	s, err := a.find(c.Context(), n.problem, options, o)
	if err != nil {
		return failure{err}
	}
	s.meta.Mode = o.mode
	if err := s.prove(); err != nil {
		return failure{err}
	}
	return a.showPlan(s, o.out)
}

// asFailure leaves errors of the command line as they are.
func asFailure(err error) error {
	if _, usage := err.(usageError); usage {
		return err
	}
	return failure{err}
}

// find is search, with cyclic queuing and forwarding where the mode has it.
func (a *app) find(ctx context.Context, p *schedule.Problem, options synth.Options, o *offlinePlan) (*plannedSchedule, error) {
	debug.SetGCPercent(synth.GCPercent)
	if o.mode == "cqf" {
		s, err := cqf.Solve(p, cqf.Options{})
		return &plannedSchedule{problem: p, Solution: s, meta: format.Meta{Instance: p.Name, Units: -1}}, err
	}
	if o.running != "" {
		return o.beside(p, options)
	}
	s, err := a.search(ctx, p, options, time.Duration(o.budget))
	if err == nil && o.mode == "mixed" && len(s.Unplaced) > 0 {
		err = s.cyclicRest()
	}
	return s, err
}

// cyclicRest lets streams without a place share the windows of cyclic queuing.
// What finds none there either keeps the reason it has.
func (s *plannedSchedule) cyclicRest() error {
	c, err := cqf.Solve(s.problem, cqf.Options{Placed: s.Streams})
	if err != nil || c.Cyclic == nil {
		return err
	}
	for i, u := range c.Unplaced {
		if k := slices.IndexFunc(s.Unplaced, func(x schedule.Unplaced) bool { return x.Stream == u.Stream }); k >= 0 {
			c.Unplaced[i] = s.Unplaced[k]
		}
	}
	s.Solution = c
	return nil
}

// placed is how many streams have a place.
func (s *plannedSchedule) placed() int {
	n := len(s.Streams)
	if s.Cyclic != nil {
		n += len(s.Cyclic.Streams)
	}
	return n
}

// search runs the planner: until it is done, the units are spent, or the budget
// is over.
func (a *app) search(ctx context.Context, p *schedule.Problem, o synth.Options, budget time.Duration) (*plannedSchedule, error) {
	pl, err := synth.New(p, o)
	if err != nil {
		return nil, err
	}
	left := cmp.Or(o.Units, synth.DefaultUnits)
	if budget > 0 {
		left = 1 << 62
	}
	const step = 100_000 // some ms
	start, told := time.Now(), time.Now()
	for done := false; !done && left > 0 && (budget == 0 || time.Since(start) < budget); left -= step {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		done = pl.Run(min(step, left))
		if now := time.Now(); now.Sub(start) >= 2*time.Second && now.Sub(told) >= time.Second {
			told = now
			spent := pl.Spent()
			fmt.Fprintf(a.errOut, "tsnctl: %d of %d streams placed, %d work units after %.0f s\n", spent.Placed, len(p.Streams), spent.Units, now.Sub(start).Seconds())
		}
	}
	spent := pl.Spent()
	if budget > 0 {
		fmt.Fprintf(a.errOut, "tsnctl: %d work units spent; --units %d --seed %d finds the same\n", spent.Units, spent.Units, o.Seed)
	}
	return &plannedSchedule{problem: p, Solution: pl.Solution(), meta: format.Meta{Instance: p.Name, Seed: o.Seed, Units: spent.Units}}, nil
}

// prove adds the gate lists if there are none yet, and checks all of it. An
// error is a fault of this program: no schedule leaves it that does not hold.
func (s *plannedSchedule) prove() error {
	if err := s.addGates(); err != nil {
		return err
	}
	report, err := verify.Check(s.problem, s.Solution)
	if err != nil {
		return err
	}
	if !report.Valid() {
		return fmt.Errorf("the schedule found does not hold, which is a fault of this program: %w", report.Err())
	}
	s.report = report
	s.meta.Figures = figures(report)[:len(s.Streams)]
	played, err := framesim.Run(s.problem, s.Solution, framesim.Options{Seed: s.meta.Seed})
	if err != nil {
		return err
	}
	if !played.OK() && !played.Truncated {
		return errors.New("frames of the schedule found are late when it is played, which is a fault of this program")
	}
	s.played = played
	return nil
}

// addGates makes the gate lists, if the planner did not have to: where no limit
// of a port could be in the way, every port can have its list.
func (s *plannedSchedule) addGates() error {
	if s.Gates != nil || len(s.Streams) == 0 {
		return nil
	}
	gates, over, err := gatelist.Build(s.problem, s.Streams)
	if err == nil && len(over) > 0 {
		err = fmt.Errorf("%s: %s", s.problem.LinkName(over[0].Link), over[0].Reason)
	}
	s.Gates = gates
	return err
}

// figures are the worst of each stream's listeners.
func figures(r *verify.Report) []format.Figures {
	out := make([]format.Figures, len(r.Streams))
	for i, s := range r.Streams {
		for _, l := range s.Listeners {
			out[i].Latency, out[i].Jitter = max(out[i].Latency, l.Latency), max(out[i].Jitter, l.Jitter)
		}
	}
	return out
}

// verdict is an exit status of its own after output that says why.
type verdict struct{}

func (verdict) Error() string { return "the schedule is incomplete or invalid" }

func (a *app) showPlan(s *plannedSchedule, file string) error {
	text := format.WriteSolution(s.problem, s.Solution, s.meta)
	if file != "" {
		if err := os.WriteFile(file, text, 0o644); err != nil {
			return failure{err}
		}
	}
	if a.json {
		if _, err := a.out.Write(text); err != nil {
			return failure{err}
		}
	} else {
		p := &page{w: a.out}
		s.print(p)
		if p.err != nil {
			return failure{p.err}
		}
	}
	if s.placed() < len(s.problem.Streams) {
		return verdict{}
	}
	return nil
}

// shown is how many streams are printed; JSON has all.
const shown = 40

func (s *plannedSchedule) print(p *page) {
	marked := ""
	if n := len(s.problem.Streams) - s.placed(); n > 0 {
		marked = fmt.Sprintf("; INCOMPLETE, %d do not fit", n)
	}
	p.printf("%s: %d of %s scheduled, cycle %s, %s%s", dash(s.meta.Instance), s.placed(),
		plural(len(s.problem.Streams), "stream", "streams"), dur(s.Cycle), plural(len(s.Gates), "gate list", "gate lists"), marked)
	if s.meta.Units >= 0 {
		p.printf("%d work units, seed %d", s.meta.Units, s.meta.Seed)
	}
	p.printf("checked: %d transmissions, no fault; simulated: %d frames, none late", s.report.Transmissions, s.played.Frames)
	if s.meta.Moved != nil {
		p.printf("beside the running schedule: %d added, %d moved, %d removed", s.added, len(s.meta.Moved), s.removed)
	}
	if s.Cyclic != nil {
		p.printf("%s by cyclic queuing and forwarding, cycle time %s", plural(len(s.Cyclic.Streams), "stream", "streams"), dur(s.Cyclic.CycleTime))
	}
	s.printStreams(p)
	for _, u := range s.Unplaced {
		p.blank()
		s.printUnplaced(p, &u)
	}
}

// printStreams lists the placed streams, those with the least to spare first if
// there are many.
func (s *plannedSchedule) printStreams(p *page) {
	routes := s.routesOf()
	order := slices.Clone(s.report.Streams)
	bound := figures(s.report)
	at := map[int]format.Figures{}
	for i, x := range order {
		at[x.Stream] = bound[i]
	}
	left := func(x verify.Figures) int64 { return s.problem.Streams[x.Stream].Deadline - at[x.Stream].Latency }
	if len(order) > shown {
		slices.SortStableFunc(order, func(a, b verify.Figures) int { return cmp.Compare(left(a), left(b)) })
	}
	t := table{head: []string{">ID", "~STREAM", ">HOPS", ">LATENCY", ">LIMIT", ">JITTER", "ROUTE"}}
	for _, x := range order[:min(shown, len(order))] {
		st, route := &s.problem.Streams[x.Stream], routes[x.Stream]
		t.row(st.ID, dash(st.Name), len(route), dur(at[x.Stream].Latency), dur(st.Deadline), dur(at[x.Stream].Jitter), routeText(s.problem, route))
	}
	if len(t.rows) > 0 {
		p.blank()
		p.table(t)
	}
	if more := len(order) - shown; more > 0 {
		p.printf("and %d more with more time to spare; -o json has all", more)
	}
}

// routesOf are the routes by stream.
func (s *plannedSchedule) routesOf() map[int][]schedule.LinkID {
	out := map[int][]schedule.LinkID{}
	for _, x := range s.Streams {
		out[x.Stream] = x.Route
	}
	if s.Cyclic != nil {
		for _, x := range s.Cyclic.Streams {
			out[x.Stream] = x.Route
		}
	}
	return out
}

// routeText is the nodes of a path, or the links of a tree.
func routeText(p *schedule.Problem, route []schedule.LinkID) string {
	var b strings.Builder
	at := schedule.NodeID(-1)
	for i, l := range route {
		from, to := p.Links[l].From, p.Links[l].To
		switch {
		case i == 0:
			b.WriteString(p.Nodes[from].Name)
		case from != at:
			b.WriteString(", " + p.Nodes[from].Name)
		}
		b.WriteString(" " + p.Nodes[to].Name)
		at = to
	}
	return b.String()
}

func (s *plannedSchedule) printUnplaced(p *page, u *schedule.Unplaced) {
	name := func(i int) string {
		st := &s.problem.Streams[i]
		if st.Name != "" {
			return fmt.Sprintf("%d (%s)", st.ID, st.Name)
		}
		return fmt.Sprint(st.ID)
	}
	text := u.Reason
	if u.Link >= 0 {
		text = fmt.Sprintf("%s: %s", s.problem.LinkName(u.Link), text)
	}
	p.wrap("", "  ", fmt.Sprintf("stream %s does not fit: %s", name(u.Stream), text))
	if len(u.Blocking) > 0 {
		var in []string
		for _, b := range u.Blocking {
			in = append(in, name(b))
		}
		p.wrap("  in the way: ", "    ", strings.Join(in, ", "))
	}
	if u.Remedy != "" {
		p.wrap("  makes room: ", "    ", u.Remedy)
	}
}
