package main

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	tsn "tsnswitch"
	"tsnswitch/internal/api"
	"tsnswitch/internal/chart"
	"tsnswitch/qbv/format"
	"tsnswitch/qbv/gantt"
	"tsnswitch/qbv/verify"
)

// solutionFiles are a schedule in files: what it was made for, and itself.
type solutionFiles struct {
	planFiles
	solution string
}

func (f *solutionFiles) flags(c *cobra.Command) {
	c.Flags().StringVar(&f.solution, "solution", "", "a schedule in a file (qbv-solution/1), not the running one")
	_ = c.MarkFlagFilename("solution", "json")
	f.planFiles.flags(c)
	c.MarkFlagsRequiredTogether("solution", "topo")
}

// read returns the schedule and what its streams can count on.
func (f *solutionFiles) read(c *cobra.Command) (*plannedSchedule, error) {
	n, err := f.load(c)
	if err != nil {
		return nil, asFailure(err)
	}
	data, err := os.ReadFile(f.solution)
	if err != nil {
		return nil, failure{fmt.Errorf("solution: %w", err)}
	}
	s := &plannedSchedule{problem: n.problem}
	if s.Solution, s.meta, err = format.ReadSolution(f.solution, data, n.problem); err != nil {
		return nil, failure{err}
	}
	ownQueues(n.problem, s.Solution)
	if s.report, err = verify.Check(n.problem, s.Solution); err != nil {
		return nil, failure{err}
	}
	return s, nil
}

// picture is what of a chart is shown, and where.
type picture struct {
	svg  string
	only []string // names of ports or nodes
}

func (a *app) scheduleShow() *cobra.Command {
	var f solutionFiles
	var pic picture
	c := &cobra.Command{
		Use: "show [NODE[:PORT] ...]", Short: "Show the running schedule, or one in a file, as a Gantt chart",
		Long: `Draws one cycle: a row for each class of each port, a letter for each stream's
windows, | for the present (of the running schedule), ! for deadlines. Classes
of a port that open and close together share a row. Named nodes or ports are
shown alone. --svg draws the same as a picture. In a terminal each class has
its colour, unless NO_COLOR is set.`,
		Example: `  tsnctl schedule show
  tsnctl schedule show b2 b3:1 --svg gates.svg
  tsnctl schedule show --topo net.yaml --solution s.json`,
	}
	f.flags(c)
	c.Flags().StringVar(&pic.svg, "svg", "", "draw into this file, too")
	_ = c.MarkFlagFilename("svg", "svg")
	c.RunE = func(c *cobra.Command, args []string) error {
		if pic.only = args; f.solution != "" {
			return a.showFile(c, &f, &pic)
		}
		return a.call(func(ctx context.Context, sw api.Switch, _ []string) error {
			s, err := sw.ShowSchedule(ctx)
			if err != nil {
				return err
			}
			var now *tsn.PTPTime
			if g, err := sw.GPTP(ctx); err == nil { // without it there is no line
				now = &g.Now
			}
			drawn := chart.Running(s, now)
			if err := pic.choose(drawn); err != nil {
				return err
			}
			return show(a, s, func(p *page, s *api.Schedule) { a.printRunning(p, s, drawn) })
		})(c, args)
	}
	return c
}

func (a *app) showFile(cmd *cobra.Command, f *solutionFiles, pic *picture) error {
	s, err := f.read(cmd)
	if err != nil {
		return err
	}
	c, err := chart.Planned(s.problem, s.Solution, s.report)
	if err == nil {
		err = pic.choose(c)
	}
	if err != nil {
		return asFailure(err)
	}
	if a.json {
		if _, err := a.out.Write(format.WriteSolution(s.problem, s.Solution, s.meta)); err != nil {
			return failure{err}
		}
		return nil
	}
	p := &page{w: a.out}
	p.printf("%s: %d of %s scheduled, cycle %s", dash(s.meta.Instance), s.placed(), plural(len(s.problem.Streams), "stream", "streams"), dur(s.Cycle))
	p.blank()
	return a.draw(p, c)
}

// choose leaves the rows that are asked for, and draws the picture.
func (pic *picture) choose(c *gantt.Chart) error {
	if len(pic.only) > 0 {
		var rows []gantt.Row
		for _, r := range c.Rows {
			for _, o := range pic.only {
				if r.Name == o || strings.HasPrefix(r.Name, o+":") || strings.HasPrefix(r.Name, o+"-") {
					rows = append(rows, r)
					break
				}
			}
		}
		if len(rows) == 0 {
			return fmt.Errorf("no port with gates is called %s: there are %s", strings.Join(pic.only, " or "), names(c.Rows))
		}
		c.Rows = rows
	}
	if pic.svg == "" {
		return nil
	}
	var b strings.Builder
	if err := gantt.SVG(&b, c); err != nil {
		return err
	}
	return os.WriteFile(pic.svg, []byte(b.String()), 0o644)
}

func names(rows []gantt.Row) string {
	const most = 20
	var out []string
	for _, r := range rows[:min(most, len(rows))] {
		out = append(out, r.Name)
	}
	if len(rows) > most {
		out = append(out, fmt.Sprintf("and %d more", len(rows)-most))
	}
	return strings.Join(out, ", ")
}

// mostRows is how many ports text shows if none is named.
const mostRows = 32

// draw prints a chart; of many ports the first.
func (a *app) draw(p *page, c *gantt.Chart) error {
	more := len(c.Rows) - mostRows
	if more > 0 {
		few := *c
		few.Rows = c.Rows[:mostRows]
		c = &few
	}
	if p.err == nil {
		p.err = gantt.Text(p.w, c, a.terminal())
	}
	if more > 0 {
		p.printf("and %s: name them to see them, or --svg", plural(more, "more port", "more ports"))
	}
	return p.err
}

// terminal reports whether colours mean something where the output goes.
func (a *app) terminal() bool {
	f, ok := a.out.(*os.File)
	if !ok || os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb" {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

func (a *app) printSchedule(p *page, s *api.Schedule) { a.printRunning(p, s, chart.Running(s, nil)) }

func (a *app) printRunning(p *page, s *api.Schedule, c *gantt.Chart) {
	for _, node := range s.Silent {
		p.wrap("", "  ", node+" has not said how the last change ended: it may run another schedule")
	}
	if s.State == api.ScheduleNone {
		p.printf("no schedule: all gates open")
		return
	}
	p.printf("schedule %s: %s, cycle %s, base %s", dash(s.ID), s.State, dur(s.CycleTime), seconds(s.Base.NS))
	if s.Trial.Open() {
		p.wrap("", "  ", s.Trial.Text+" (tsnctl schedule confirm, tsnctl schedule rollback)")
	}
	for _, w := range s.Warnings {
		p.wrap("warning: ", "  ", w.Text)
	}
	printOutcomes(p, s)
	for _, port := range s.Ports {
		if port.Reason != "" || port.ConfigPending {
			p.wrap("", "  ", hopText(port.PathHop)+": "+pendingText(port))
		}
	}
	if len(s.Ports) > 0 {
		p.blank()
		_ = a.draw(p, c) // the page keeps the error
	}
}

func printOutcomes(p *page, s *api.Schedule) {
	t := table{head: []string{"STREAM", "~NAME", "FITS", ">LATENCY", ">LIMIT", "WHY NOT"}}
	for _, x := range s.Streams {
		latency := "-"
		if x.Scheduled {
			latency = dur(x.Latency)
		}
		t.row(x.ID, dash(x.Name), yesNo(x.Scheduled), latency, dur(x.MaxLatency), x.Reason)
	}
	if len(t.rows) > 0 {
		p.blank()
		p.table(t)
		p.blank()
	}
}

// pendingText is what keeps a port from running what it shall run.
func pendingText(port api.PortSchedule) string {
	state := "its list is not running yet"
	if !port.ConfigPending {
		state = "does not run its list"
	}
	if port.Reason != "" {
		state += ": " + port.Reason
	}
	return state
}
