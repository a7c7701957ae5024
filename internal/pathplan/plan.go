package pathplan

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	tsn "tsnswitch"
	"tsnswitch/qbv/framesim"
	"tsnswitch/qbv/gatelist"
	"tsnswitch/qbv/schedule"
	"tsnswitch/qbv/synth"
	"tsnswitch/qbv/verify"
)

// maxPlayed bounds the events of the simulation: some seconds on a slow machine.
const maxPlayed = 1 << 22

// Planner starts a search. What runs stays where it is, if all of it can;
// moved reports that it cannot, and that the search is for all streams.
func (n *Net) Planner(r Running, o synth.Options) (pl *synth.Planner, moved bool, err error) {
	if kept := n.keep(r); len(kept.Streams) > 0 {
		if pl, err = synth.Resume(n.Problem, kept, o); err == nil {
			return pl, false, nil
		}
		moved = true
	}
	pl, err = synth.New(n.Problem, o)
	return pl, moved, err
}

// Search is Planner, and all of the search in one call, of so many units at
// most.
func (n *Net) Search(r Running, o synth.Options, units int64) (*Plan, error) {
	pl, _, err := n.Planner(r, o)
	if err != nil {
		return nil, err
	}
	pl.Run(units)
	return n.Prove(pl.Solution())
}

// Plan is a schedule that holds.
type Plan struct {
	Net      *Net
	Solution *schedule.Solution
	Report   *verify.Report
	uses     [][]gatelist.Use
}

// Prove checks a schedule and plays it. Gates that it does not have are made.
// The error says what does not hold.
func (n *Net) Prove(s *schedule.Solution) (*Plan, error) {
	if s.Gates == nil && len(s.Streams) > 0 {
		gates, over, err := gatelist.Build(n.Problem, s.Streams)
		if err != nil {
			return nil, err
		}
		if len(over) > 0 {
			return nil, fmt.Errorf("%s: %s", n.Problem.LinkName(over[0].Link), over[0].Reason)
		}
		own := *s
		own.Gates = gates
		s = &own
	}
	report, err := verify.Check(n.Problem, s)
	if err == nil {
		err = report.Err()
	}
	if err != nil {
		return nil, fmt.Errorf("the schedule does not hold: %w", err)
	}
	p := &Plan{Net: n, Solution: s, Report: report}
	if len(s.Streams) == 0 {
		return p, nil
	}
	played, err := framesim.Run(n.Problem, s, framesim.Options{Rounds: 4, MaxEvents: maxPlayed})
	switch {
	case err != nil:
		return nil, fmt.Errorf("the schedule cannot be played: %w", err)
	case !played.OK() && !played.Truncated:
		return nil, errors.New("the schedule does not hold: frames are late when it is played")
	}
	p.uses, err = gatelist.Uses(n.Problem, s.Streams, s.Cyclic)
	return p, err
}

// Window is when frames of a stream pass a port: the gate opens and closes,
// the first frame starts and the last ends as planned. Where they are within a period is
// as on the stream's way: they may lie beyond it.
type Window struct {
	Stream      tsn.StreamID
	Open, Close int64
	Start, End  int64
	Period      int64 // after which it comes again
}

// Port is what an egress port shall do.
type Port struct {
	Hop     tsn.Hop
	List    tsn.GateControlList // base time 0
	Windows []Window            // ascending Open
}

// Ports are the ports with gates, ascending.
func (p *Plan) Ports() []Port {
	pr := p.Net.Problem
	margin := pr.SyncError + pr.Jitter
	out := make([]Port, 0, len(p.Solution.Gates))
	for _, g := range p.Solution.Gates {
		port := Port{Hop: p.Net.hops[g.Link], List: g.List}
		for _, u := range p.uses[g.Link] {
			if u.Stream >= 0 {
				port.Windows = append(port.Windows, Window{
					Stream: p.Net.streams[u.Stream].Stream.ID, Open: u.Open, Close: u.Close,
					Start: u.Open + margin, End: u.Close - margin, Period: u.Period,
				})
			}
		}
		slices.SortStableFunc(port.Windows, func(a, b Window) int { return cmp.Compare(a.Open, b.Open) })
		out = append(out, port)
	}
	return out
}

// Outcome is what became of a stream.
type Outcome struct {
	Stream  tsn.Stream
	Placed  bool
	Latency int64  // worst case over its listeners
	Reason  string // why it has no place
}

// Outcomes are those of all streams, ascending id.
func (p *Plan) Outcomes() []Outcome {
	out := make([]Outcome, len(p.Net.streams))
	for i, s := range p.Net.streams {
		out[i].Stream = s.Stream
	}
	for _, f := range p.Report.Streams {
		o := &out[f.Stream]
		o.Placed = true
		for _, l := range f.Listeners {
			o.Latency = max(o.Latency, l.Latency)
		}
	}
	for _, u := range p.Solution.Unplaced {
		out[u.Stream].Reason = p.Net.why(u)
	}
	return out
}

// why is a reason in words.
func (n *Net) why(u schedule.Unplaced) string {
	text := u.Reason
	if u.Link >= 0 && !strings.Contains(text, n.Problem.LinkName(u.Link)) {
		text = n.Problem.LinkName(u.Link) + ": " + text
	}
	for i, b := range u.Blocking {
		sep := ", "
		if i == 0 {
			sep = "; in the way: "
		}
		text += sep + n.Problem.Streams[b].Name
	}
	if u.Remedy != "" {
		text += "; makes room: " + u.Remedy
	}
	return text
}

// Running is the plan in a form that outlives the Net.
func (p *Plan) Running() Running {
	r := Running{Cycle: p.Solution.Cycle}
	for _, at := range p.Solution.Streams {
		s := p.Net.streams[at.Stream]
		r.Streams = append(r.Streams, Placed{
			Stream: s.Stream, Path: s.Path, Starts: at.Starts, Queues: at.Queues, Instances: at.Instances,
		})
	}
	return r
}
