package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"tsnswitch/internal/api"
	"tsnswitch/internal/config"
)

func (a *app) schedule() *cobra.Command {
	return group("schedule", "Plan, start and look at gate schedules",
		a.schedulePlan(), a.scheduleVerify(), a.scheduleApply(), a.scheduleConfirm(), a.scheduleRollBack(), a.scheduleShow(),
		a.scheduleExplain(), a.scheduleDiff())
}

func (a *app) schedulePlan() *cobra.Command {
	var cycle config.Duration
	var r api.PlanRequest
	var off offlinePlan
	c := &cobra.Command{
		Use: "plan [--topo FILE [--streams FILE] | --network FILE]", Short: "Compute a schedule; change nothing",
		Long: schedulePlanHelp,
		Example: "  tsnctl schedule plan\n" +
			"  tsnctl schedule plan --topo net.yaml\n" +
			"  tsnctl schedule plan --topo topo.csv --streams task.csv -o json\n" +
			"  tsnctl schedule plan --topo net.yaml --budget 5s --out s.json\n" +
			"  tsnctl schedule plan --topo net.yaml --running s.json --moves 2 --out t.json\n" +
			"  tsnctl schedule plan --network lab/ring4.yaml -o json", Args: cobra.NoArgs,
	}
	c.RunE = func(c *cobra.Command, args []string) error {
		switch {
		case off.topo == "" && off.network == "":
			return a.call(func(ctx context.Context, sw api.Switch, _ []string) error {
				r.CycleTime = int64(cycle)
				s, err := sw.PlanSchedule(ctx, r)
				if err != nil {
					return err
				}
				return show(a, s, a.printSchedule)
			})(c, args)
		case c.Flags().Changed("cycle"), r.Replan:
			return usageError{errors.New("--cycle and --replan are for a daemon; offline the cycle comes from the streams")}
		case off.network != "" && c.Flags().Changed("routes"):
			return usageError{errors.New("--routes is for --topo; with --network the bridges choose")}
		}
		return a.planOfflineFiles(c, &off)
	}
	networkFlag(c, &off.network)
	c.Flags().BoolVar(&r.Replan, "replan", false, "streams that are scheduled already may move")
	off.flags(c)
	c.MarkFlagsMutuallyExclusive("network", "topo")
	c.MarkFlagsMutuallyExclusive("budget", "units")
	c.Flags().Var(&unit[*config.Duration]{v: &cycle, name: "duration"}, "cycle", "cycle time (default: from the streams)")
	return c
}

const schedulePlanHelp = `Computes routes, transmission times and gate lists. Nothing changes anywhere.

Without a file: of the streams that the daemon knows. Those that are scheduled
stay as they are, unless --replan lets them move; what gets worse is listed.

--topo FILE [--streams FILE] asks no daemon. The files are a network file
(YAML, its streams in it or in a file of their own), or tsnkit's pair of CSV
files. -o json writes a qbv-solution/1, every stream's worst latency and jitter
in it. If not all streams fit, the exit status is 3, and what is written is
the largest part found, marked as such, with what is in the way of the others.
The same files, options and --units give the same bytes; --budget searches
for a time and says how many units that was. What is found is checked (see
schedule verify) before it is written.

--running FILE is a solution that runs: its streams stay where they are, but
for --moves of them, and those that it does not have are added beside them.

--network FILE: the bridges of a network file choose the paths in virtual
time, and the streams are planned on those.`

func (a *app) scheduleApply() *cobra.Command {
	var cycle, lead, confirm config.Duration
	var r api.ApplyRequest
	var files planFiles
	c := &cobra.Command{
		Use: "apply [--solution FILE [--topo FILE [--streams FILE]]]", Short: "Compute a schedule and start it on every node",
		Long: scheduleApplyHelp,
		Example: "  tsnctl schedule apply\n  tsnctl schedule apply --confirm 60s\n  tsnctl schedule apply --replan --yes\n" +
			"  tsnctl schedule apply --solution s.json --topo net.yaml --confirm 60s", Args: cobra.NoArgs,
	}
	c.RunE = func(c *cobra.Command, args []string) error {
		if err := a.solution(c, &r.PlanRequest, &files); err != nil {
			return err
		}
		return a.call(func(ctx context.Context, sw api.Switch, _ []string) error {
			r.CycleTime, r.LeadTime, r.Confirm = int64(cycle), int64(lead), int64(confirm)
			return a.scheduleSteps(func(progress func(api.Progress)) (*api.Schedule, error) {
				return sw.ApplySchedule(ctx, r, progress)
			})
		})(c, args)
	}
	f := c.Flags()
	f.Var(&unit[*config.Duration]{v: &cycle, name: "duration"}, "cycle", "cycle time (default: from the streams)")
	f.Var(&unit[*config.Duration]{v: &lead, name: "duration"}, "lead", "from stage to base time (default: configured)")
	f.Var(&unit[*config.Duration]{v: &confirm, name: "duration"}, "confirm", "roll back unless confirmed within this time, 5s at least")
	f.BoolVar(&r.Accept, "yes", false, "start it although it makes a stream worse off")
	f.BoolVar(&r.Replan, "replan", false, "streams that are scheduled already may move")
	f.StringVar(&r.File, "solution", "", "start this schedule (qbv-solution/1) instead of one of our own")
	f.StringVar(&files.topo, "topo", "", "check the solution against this topology first")
	f.StringVar(&files.streams, "streams", "", "and these streams (default: the topology file's)")
	for _, flag := range []string{"solution", "topo", "streams"} {
		_ = c.MarkFlagFilename(flag, "json", "yaml", "yml", "csv")
	}
	return patient(c)
}

const scheduleApplyHelp = `Computes the schedule, stages it at every system, starts it everywhere at one
base time and reads the gates back. If a system refuses, or the clocks do not
agree, nothing changes anywhere. If it is not seen to run everywhere, all go
back to what ran before.

Streams that are scheduled already keep their windows, unless --replan lets
them move. What makes a stream worse off is started only with --yes.

With --confirm, all go back after that time unless "tsnctl schedule confirm"
reaches every system before. That holds if daemons or this program end.

--solution FILE starts a schedule made elsewhere. Its nodes have the names of
the fabric's, its streams those of "tsnctl stream list" (without names, its ids
count them in that order). It is checked as ours are, and refused if a route is
not the path that SPB has: only ECT trees can be started.`

// solution reads a schedule made elsewhere, and checks it against the files
// that it was made for, if they are given.
func (a *app) solution(c *cobra.Command, r *api.PlanRequest, f *planFiles) error {
	if r.File == "" {
		if f.topo != "" || f.streams != "" {
			return usageError{errors.New("--topo and --streams are for --solution")}
		}
		return nil
	}
	var err error
	if r.Solution, err = os.ReadFile(r.File); err != nil {
		return failure{fmt.Errorf("solution: %w", err)}
	}
	if f.topo == "" {
		return nil
	}
	n, err := f.read()
	if err != nil {
		return asFailure(err)
	}
	v, err := verifySolution(r.File, r.Solution, n.problem, n.csv)
	if err != nil {
		return failure{err}
	}
	if !v.Valid {
		return failure{&api.Error{Code: api.CodeRefused, Text: fmt.Sprintf("%s does not hold: %s: %s (tsnctl schedule verify has all)", r.File, v.Faults[0].Rule, v.Faults[0].Text)}}
	}
	return nil
}

func (a *app) scheduleConfirm() *cobra.Command {
	return patient(&cobra.Command{
		Use: "confirm", Short: "Keep the schedule that was applied with --confirm",
		Long: `Asks every system to keep what it runs, and tells all once all have agreed. If
one cannot be asked in time, all go back. Any node that takes part can be told.`,
		Example: "  tsnctl schedule confirm\n  tsnctl schedule confirm --node b3", Args: cobra.NoArgs,
		RunE: a.call(func(ctx context.Context, sw api.Switch, _ []string) error {
			return a.scheduleSteps(func(progress func(api.Progress)) (*api.Schedule, error) { return sw.ConfirmSchedule(ctx, progress) })
		}),
	})
}

func (a *app) scheduleRollBack() *cobra.Command {
	return patient(&cobra.Command{
		Use: "rollback", Short: "Go back to the schedule before the one to be confirmed",
		Long: `Makes every system go back, at one time, to what it ran before the schedule that
was applied with --confirm. If one cannot be told, all go back when the time
to confirm is over.`,
		Example: "  tsnctl schedule rollback", Args: cobra.NoArgs,
		RunE: a.call(func(ctx context.Context, sw api.Switch, _ []string) error {
			return a.scheduleSteps(func(progress func(api.Progress)) (*api.Schedule, error) { return sw.RollBackSchedule(ctx, progress) })
		}),
	})
}

// scheduleSteps prints progress as it comes, and the schedule at the end.
func (a *app) scheduleSteps(do func(func(api.Progress)) (*api.Schedule, error)) error {
	w := a.out
	if a.json {
		w = a.errOut
	}
	p := &page{w: w}
	s, err := do(func(g api.Progress) {
		p.wrap(fmt.Sprintf("%8s  %-7s  ", dur(g.Elapsed), g.Step), "                   ", strings.TrimSpace(g.Node+" "+g.Text))
	})
	if err != nil {
		return err
	}
	if !a.json {
		p.blank()
	}
	return show(a, s, a.printSchedule)
}
