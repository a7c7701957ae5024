package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"tsnswitch/qbv/format"
	"tsnswitch/qbv/framesim"
	"tsnswitch/qbv/schedule"
	"tsnswitch/qbv/verify"
)

const verifyHelp = `Checks anybody's solution (qbv-solution/1, JSON) of the streams in a topology:
overlap, causality, queues, isolation, deadlines, jitter, gates against
offsets, guard bands, gate list limits. The checker shares no code with the
scheduler. Then the schedule is played frame by frame, with clocks, talkers and
other traffic as bad as may be.

With CSV files a solution may use every queue, also queue 0, which plan keeps
for other traffic, unless --keep-queues says otherwise; the queues that it
does not use on a link are those of other traffic there.

Exit status: 0 it holds, 3 it does not (or does not fit the files), 1 a file
cannot be read, 2 the command line is wrong.`

// verification is what schedule verify prints as JSON.
type verification struct {
	Valid        bool            `json:"valid"`
	Complete     bool            `json:"complete"` // all streams are scheduled
	Scheduled    int             `json:"scheduled"`
	Of           int             `json:"of"`
	Cycle        int64           `json:"cycleNs"`
	Gates        bool            `json:"gates"` // there were gate lists to check
	FaultCount   int             `json:"faultCount"`
	Faults       []finding       `json:"faults"`
	WarningCount int             `json:"warningCount"`
	Warnings     []finding       `json:"warnings"`
	Simulation   *simulation     `json:"simulation,omitempty"` // absent: it cannot be played
	Streams      []verifiedBound `json:"streams"`
}

// simulation is what came of playing it.
type simulation struct {
	Rounds    int   `json:"rounds"`
	Frames    int64 `json:"frames"`
	Late      int64 `json:"late"`      // transmissions that ended after their window
	Missed    int64 `json:"missed"`    // periods that came after the deadline
	Lost      int64 `json:"lost"`      // frames
	Truncated bool  `json:"truncated"` // it was too large to be played to the end
}

type finding struct {
	Rule    string `json:"rule"`
	Text    string `json:"text"`
	Streams []int  `json:"streams,omitempty"` // IDs
	Link    string `json:"link,omitempty"`
	Time    *int64 `json:"timeNs,omitempty"`
}

type verifiedBound struct {
	ID       int    `json:"id"`
	Name     string `json:"name,omitempty"`
	Listener string `json:"listener"`
	Latency  int64  `json:"latencyNs"`
	Deadline int64  `json:"deadlineNs"`
	Jitter   int64  `json:"jitterNs"`
	// Simulated is the worst latency when it was played.
	Simulated int64 `json:"simulatedNs"`
	// LastProcessing says whether the deadline holds even if the processing
	// delay of the last link counted.
	LastProcessing bool `json:"holdsWithLastProcessing"`
}

func (a *app) scheduleVerify() *cobra.Command {
	var f planFiles
	var file string
	c := &cobra.Command{
		Use: "verify --topo FILE --solution FILE", Short: "Check a schedule, whoever made it",
		Long: verifyHelp,
		Example: "  tsnctl schedule verify --topo topo.csv --streams task.csv --solution s.json\n" +
			"  tsnctl schedule verify --topo net.yaml --solution s.json -o json", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return a.verifyFiles(c, &f, file) },
	}
	f.flags(c)
	c.Flags().StringVar(&file, "solution", "", "the solution to check")
	_ = c.MarkFlagFilename("solution", "json")
	_ = c.MarkFlagRequired("topo")
	_ = c.MarkFlagRequired("solution")
	return c
}

func (a *app) verifyFiles(c *cobra.Command, f *planFiles, file string) error {
	n, err := f.load(c)
	if err != nil {
		return asFailure(err)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return failure{fmt.Errorf("solution: %w", err)}
	}
	v, err := verifySolution(file, data, n.problem, n.csv && !c.Flags().Changed("keep-queues"))
	if err != nil {
		return failure{err}
	}
	if err := show(a, v, (*page).verification); err != nil {
		return failure{err}
	}
	if !v.Valid {
		return verdict{}
	}
	return nil
}

// verifySolution checks a file. A solution that does not fit the problem is
// an invalid one, not an error. With anyQueue it may use the queues it likes.
func verifySolution(file string, data []byte, p *schedule.Problem, anyQueue bool) (*verification, error) {
	v := &verification{Of: len(p.Streams), Faults: []finding{}, Warnings: []finding{}, Streams: []verifiedBound{}}
	s, _, err := format.ReadSolution(file, data, p)
	var misfit *format.Error
	if errors.As(err, &misfit) && misfit.Mismatch {
		v.FaultCount, v.Faults = 1, []finding{{Rule: "file", Text: misfit.Error()}}
		return v, nil
	}
	if err != nil {
		return nil, err
	}
	if anyQueue {
		ownQueues(p, s)
	}
	r, err := verify.Check(p, s)
	if err != nil {
		return nil, err
	}
	v.Valid, v.Complete, v.Scheduled, v.Cycle, v.Gates = r.Valid(), r.Placed == len(p.Streams), r.Placed, s.Cycle, r.Gates
	v.FaultCount, v.WarningCount = r.FaultCount, r.WarningCount
	v.Faults, v.Warnings = findings(p, r.Faults), findings(p, r.Warnings)
	played, err := framesim.Run(p, s, framesim.Options{})
	if err == nil {
		v.simulated(p, played)
	}
	worst := worstPlayed(played)
	for _, x := range r.Streams {
		st := &p.Streams[x.Stream]
		for _, l := range x.Listeners {
			v.Streams = append(v.Streams, verifiedBound{
				ID: st.ID, Name: st.Name, Listener: p.Nodes[l.Node].Name, Latency: l.Latency, Deadline: st.Deadline,
				Jitter: l.Jitter, Simulated: worst[[2]int{x.Stream, int(l.Node)}], LastProcessing: l.Latency+l.Processing <= st.Deadline,
			})
		}
	}
	return v, nil
}

// simulated adds what came of playing the schedule. What the checker passed and
// yet does not hold is a fault, too.
func (v *verification) simulated(p *schedule.Problem, r *framesim.Result) {
	v.Simulation = &simulation{Rounds: r.Rounds, Frames: r.Frames, Truncated: r.Truncated}
	for _, s := range r.Streams {
		v.Simulation.Late += s.Late
		v.Simulation.Missed += s.Missed
		v.Simulation.Lost += s.Lost
		if v.Valid && s.Late+s.Missed+s.Lost > 0 {
			v.FaultCount++
			v.Faults = append(v.Faults, finding{
				Rule: "simulation", Streams: []int{p.Streams[s.Stream].ID},
				Text: fmt.Sprintf("stream %d: %d frames late, %d periods after the deadline, %d frames lost", p.Streams[s.Stream].ID, s.Late, s.Missed, s.Lost),
			})
		}
	}
	v.Valid = v.FaultCount == 0
}

// worstPlayed are the worst latencies when it was played, by stream and
// listener.
func worstPlayed(r *framesim.Result) map[[2]int]int64 {
	out := map[[2]int]int64{}
	if r == nil {
		return out
	}
	for _, s := range r.Streams {
		for _, l := range s.Listeners {
			out[[2]int{s.Stream, int(l.Node)}] = l.Worst
		}
	}
	return out
}

func findings(p *schedule.Problem, list []verify.Fault) []finding {
	out := make([]finding, 0, len(list))
	for _, f := range list {
		x := finding{Rule: string(f.Rule), Text: f.Text}
		for _, i := range f.Streams {
			if i >= 0 && i < len(p.Streams) {
				x.Streams = append(x.Streams, p.Streams[i].ID)
			}
		}
		if f.Link >= 0 {
			x.Link = p.LinkName(f.Link)
		}
		if f.Time >= 0 {
			x.Time = &f.Time
		}
		out = append(out, x)
	}
	return out
}

func (p *page) verification(v *verification) {
	word := "valid"
	if !v.Valid {
		word = "INVALID: " + plural(v.FaultCount, "fault", "faults")
	}
	p.printf("%s; %d of %s scheduled, cycle %s", word, v.Scheduled, plural(v.Of, "stream", "streams"), dur(v.Cycle))
	if v.Valid && !v.Gates {
		p.printf("There are no gate lists: only starts and queues were checked.")
	}
	for _, x := range v.Faults {
		p.wrap("  fault ", "        ", x.Rule+": "+x.Text)
	}
	if more := v.FaultCount - len(v.Faults); more > 0 {
		p.printf("  and %d more", more)
	}
	for _, x := range v.Warnings {
		p.wrap("  note  ", "        ", x.Rule+": "+x.Text)
	}
	if more := v.WarningCount - len(v.Warnings); more > 0 {
		p.printf("  and %d more notes", more)
	}
	if s := v.Simulation; s != nil {
		text := fmt.Sprintf("Simulated: %d frames in %s, %d late, %d periods after the deadline, %d frames lost",
			s.Frames, plural(s.Rounds, "round", "rounds"), s.Late, s.Missed, s.Lost)
		if s.Truncated {
			text += "; not to the end, which is too far"
		}
		p.printf("%s.", text)
	}
	if len(v.Streams) == 0 {
		return
	}
	p.blank()
	t := table{head: []string{">ID", "~STREAM", "~LISTENER", ">LATENCY", ">SIMULATED", ">LIMIT", ">JITTER", "HOLDS WITH THE LAST PROCESSING"}}
	for _, s := range v.Streams[:min(shown, len(v.Streams))] {
		t.row(s.ID, dash(s.Name), s.Listener, dur(s.Latency), dur(s.Simulated), dur(s.Deadline), dur(s.Jitter), yesNo(s.LastProcessing))
	}
	p.table(t)
	if more := len(v.Streams) - shown; more > 0 {
		p.printf("and %d more; -o json has all", more)
	}
}
