package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"tsnswitch/internal/api"
	"tsnswitch/internal/chart"
	"tsnswitch/qbv/schedule"
)

// budget is where a stream's latency goes, for one listener. Times are ns;
// those of hops count from the first transmission as planned.
type budget struct {
	Stream   string      `json:"stream"`
	Listener string      `json:"listener,omitempty"`
	Hops     []budgetHop `json:"hops"`
	Margins  int64       `json:"marginsNs"` // clocks and jitter, at both ends
	Latency  int64       `json:"latencyNs"` // worst case
	Limit    int64       `json:"limitNs"`
	WhyNot   string      `json:"whyNot,omitempty"` // it has no windows
	Remedy   string      `json:"remedy,omitempty"`
}

// budgetHop is one egress port.
type budgetHop struct {
	Port        string `json:"port"`
	Queue       *int   `json:"queue,omitempty"`
	Start       int64  `json:"startNs"` // of the first frame
	Wait        int64  `json:"waitNs"`  // in the queue before that
	Send        int64  `json:"sendNs"`  // all frames of a period
	Propagation int64  `json:"propagationNs"`
	Processing  int64  `json:"processingNs"` // of the bridge behind
	// Unsplit: Wait is what propagation, processing and waiting before Start take together.
	Unsplit bool `json:"unsplit,omitempty"`
}

func (a *app) scheduleExplain() *cobra.Command {
	var f solutionFiles
	c := &cobra.Command{
		Use: "explain STREAM", Short: "Show where a stream's latency goes, hop by hop",
		Long: `For each port on the way: when the first frame starts, how long it waited for
that, how long the frames take, and what the link and the bridge behind it add.
The sum is the worst case that is promised. For a stream without windows: what
is in the way, and what would make room.`,
		Example: `  tsnctl schedule explain a-to-b
  tsnctl schedule explain 17 --topo topo.csv --streams task.csv --solution s.json`,
		Args: cobra.ExactArgs(1), ValidArgsFunction: a.completeStreams,
	}
	f.flags(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		if f.solution != "" {
			return a.explainFile(c, &f, args[0])
		}
		return a.call(func(ctx context.Context, sw api.Switch, args []string) error {
			s, err := sw.ShowSchedule(ctx)
			if err != nil {
				return err
			}
			b, err := runningBudget(s, args[0])
			if err != nil {
				return err
			}
			return show(a, []budget{*b}, printBudgets)
		})(c, args)
	}
	return c
}

func (a *app) explainFile(c *cobra.Command, f *solutionFiles, name string) error {
	s, err := f.read(c)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(s.problem.Streams, func(st schedule.Stream) bool { return st.Name == name })
	if id, bad := strconv.Atoi(name); i < 0 && bad == nil {
		i = slices.IndexFunc(s.problem.Streams, func(st schedule.Stream) bool { return st.ID == id })
	}
	if i < 0 {
		return failure{fmt.Errorf("%s has no stream %q", s.problem.Name, name)}
	}
	if err := show(a, s.budgets(i), printBudgets); err != nil {
		return failure{err}
	}
	return nil
}

// budgets are those of all listeners of a stream.
func (s *plannedSchedule) budgets(stream int) []budget {
	st := &s.problem.Streams[stream]
	name := cmp.Or(st.Name, fmt.Sprint(st.ID))
	for _, u := range s.Unplaced {
		if u.Stream == stream {
			b := budget{Stream: name, Limit: st.Deadline, WhyNot: u.Reason, Remedy: u.Remedy}
			if u.Link >= 0 {
				b.WhyNot = s.problem.LinkName(u.Link) + ": " + u.Reason
			}
			return []budget{b}
		}
	}
	i := slices.IndexFunc(s.Streams, func(x schedule.Placement) bool { return x.Stream == stream })
	if i < 0 {
		why := "the schedule says nothing of it"
		if s.Cyclic != nil && slices.ContainsFunc(s.Cyclic.Streams, func(x schedule.CyclicStream) bool { return x.Stream == stream }) {
			why = "goes by cyclic queuing and forwarding: a cycle a hop, whatever the others do"
		}
		return []budget{{Stream: name, Limit: st.Deadline, WhyNot: why}}
	}
	var out []budget
	for _, f := range s.report.Streams {
		for _, l := range f.Listeners {
			if f.Stream == stream {
				b := s.budget(&s.Streams[i], st, l.Node)
				b.Stream, b.Latency = name, l.Latency
				out = append(out, b)
			}
		}
	}
	return out
}

// budget walks the route to one listener, in the period that a placement begins with.
func (s *plannedSchedule) budget(at *schedule.Placement, st *schedule.Stream, to schedule.NodeID) budget {
	p := s.problem
	starts, queues := at.Starts, at.Queues
	if starts == nil && len(at.Instances) > 0 {
		starts, queues = at.Instances[0].Starts, at.Instances[0].Queues
	}
	b := budget{Listener: p.Nodes[to].Name, Limit: st.Deadline, Margins: 2 * (p.SyncError + p.Jitter)}
	var pace int64
	arrived := starts[0]
	for _, h := range routeTo(p, at.Route, to) {
		l := &p.Links[at.Route[h]]
		tx := l.Rate.TransmitTime(st.Size)
		pace = max(pace, tx)
		q := int(queues[h])
		b.Hops = append(b.Hops, budgetHop{
			Port: chart.LinkName(p, at.Route[h]), Queue: &q, Start: starts[h] - starts[0], Wait: starts[h] - arrived,
			Send: tx + int64(max(st.Frames, 1)-1)*pace, Propagation: l.PropagationDelay, Processing: l.ProcessingDelay,
		})
		arrived = starts[h] + tx + l.PropagationDelay + l.ProcessingDelay
	}
	b.Hops[len(b.Hops)-1].Processing = 0 // the listener's own
	return b
}

// routeTo is the way to one node in a tree, as indices of the route.
func routeTo(p *schedule.Problem, route []schedule.LinkID, to schedule.NodeID) (out []int) {
	for h := len(route) - 1; h >= 0; h-- {
		if l := &p.Links[route[h]]; l.To == to {
			out, to = append(out, h), l.From
		}
	}
	slices.Reverse(out)
	return out
}

// runningBudget is of a schedule that daemons run: it knows windows, not links.
func runningBudget(s *api.Schedule, name string) (*budget, error) {
	i := slices.IndexFunc(s.Streams, func(x api.ScheduledStream) bool { return x.Name == name || x.ID.String() == name })
	if i < 0 {
		return nil, &api.Error{Code: api.CodeNotFound, Text: fmt.Sprintf("the schedule has no stream %q (tsnctl schedule show lists them)", name)}
	}
	x := &s.Streams[i]
	b := &budget{Stream: cmp.Or(x.Name, x.ID.String()), Latency: x.Latency, Limit: x.MaxLatency, WhyNot: x.Reason}
	if !x.Scheduled {
		return b, nil
	}
	type at struct {
		port string
		api.Window
	}
	var way []at
	for _, port := range s.Ports {
		for _, w := range port.Windows {
			if w.Stream == x.ID {
				way = append(way, at{chart.PortName(port.PathHop), w})
			}
		}
	}
	slices.SortStableFunc(way, func(a, b at) int { return cmp.Compare(a.FrameStart, b.FrameStart) })
	for n, w := range way {
		h := budgetHop{Port: w.port, Start: w.FrameStart - way[0].FrameStart, Send: w.FrameEnd - w.FrameStart, Unsplit: true}
		if n > 0 {
			h.Wait = w.FrameStart - way[n-1].FrameEnd
		}
		b.Hops = append(b.Hops, h)
	}
	if n := len(way) - 1; n >= 0 {
		b.Margins = way[0].FrameStart - way[0].Start + way[n].End - way[n].FrameEnd
	}
	return b, nil
}

func printBudgets(p *page, list []budget) {
	for i := range list {
		if i > 0 {
			p.blank()
		}
		printBudget(p, &list[i])
	}
}

func printBudget(p *page, b *budget) {
	to := ""
	if b.Listener != "" {
		to = " to " + b.Listener
	}
	if len(b.Hops) == 0 {
		p.wrap("", "  ", fmt.Sprintf("stream %s%s, allowed %s: %s", b.Stream, to, dur(b.Limit), cmp.Or(b.WhyNot, "has no windows")))
		if b.Remedy != "" {
			p.wrap("  makes room: ", "    ", b.Remedy)
		}
		return
	}
	p.printf("stream %s%s: %s of %s allowed, %s to spare", b.Stream, to, dur(b.Latency), dur(b.Limit), dur(b.Limit-b.Latency))
	p.blank()
	t := table{head: []string{"PORT", ">QUEUE", ">STARTS AT", ">WAITS", ">SENDS", ">LINK", ">BRIDGE"}}
	if b.Hops[0].Unsplit {
		t.head = []string{"PORT", ">STARTS AT", ">ON THE WAY, WAITING", ">SENDS"}
	}
	for _, h := range b.Hops {
		if h.Unsplit {
			t.row(h.Port, dur(h.Start), dur(h.Wait), dur(h.Send))
			continue
		}
		t.row(h.Port, *h.Queue, dur(h.Start), dur(h.Wait), dur(h.Send), dur(h.Propagation), dur(h.Processing))
	}
	p.table(t)
	if b.Margins > 0 {
		p.printf("and %s for clocks and jitter", dur(b.Margins))
	}
}
