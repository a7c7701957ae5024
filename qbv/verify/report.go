package verify

import (
	"errors"
	"fmt"
	"slices"

	"tsnswitch/qbv/schedule"
)

// Rule names what a Fault breaks; the package comment lists them.
type Rule string

// The rules.
const (
	RuleStream    Rule = "stream"
	RuleCycle     Rule = "cycle"
	RuleRoute     Rule = "route"
	RulePlacement Rule = "placement"
	RuleQueue     Rule = "queue"
	RuleRelease   Rule = "release"
	RuleCausality Rule = "causality"
	RuleDeadline  Rule = "deadline"
	RuleJitter    Rule = "jitter"
	RuleOverlap   Rule = "overlap"
	RuleIsolation Rule = "isolation"
	RuleOrder     Rule = "order"
	RuleGates     Rule = "gates"
	RuleGuard     Rule = "guard"
	RuleControl   Rule = "control"
	RuleList      Rule = "list"
	RuleSize      Rule = "size"
)

// MaxFaults is how many faults, and how many warnings, a Report holds.
const MaxFaults = 64

// Fault is one thing that is wrong, or that a Warning is about.
type Fault struct {
	Rule    Rule
	Streams []int           // indices in Problem.Streams; may be none
	Link    schedule.LinkID // -1: no single link
	Time    int64           // ns in the cycle; -1: no single time
	Text    string          // the whole sentence, with names
}

func (f Fault) String() string { return string(f.Rule) + ": " + f.Text }

// Report is what Check found. The counts go on where the slices end.
type Report struct {
	Faults       []Fault
	FaultCount   int
	Warnings     []Fault
	WarningCount int

	Placed, Unplaced int
	Gates            bool // there were gate lists to check
	Transmissions    int  // bursts written out

	Streams []Figures     // of every well-formed placement, in the solution's order, then cyclic ones
	Links   []LinkFigures // ascending; links that carry streams or have a list
}

// Figures are the bounds of one stream.
type Figures struct {
	Stream    int // index in Problem.Streams
	Listeners []Listener
}

// Listener is what one listener of a stream can count on, in ns. A latency is
// from the start of a period's first frame on the first link to the end of its
// last frame at the listener.
type Listener struct {
	Node    schedule.NodeID
	Planned int64 // longest latency by the plan, with exact clocks
	Latency int64 // worst case, margins included
	Jitter  int64 // worst difference between two periods, margins and shorter frames included
	// Processing is the ProcessingDelay of the last link, which Latency does not
	// count: the deadline holds for the application if it holds with it.
	Processing int64
}

// LinkFigures is the load of one link in one cycle of the schedule, in ns.
type LinkFigures struct {
	Link    schedule.LinkID
	Busy    int64 // scheduled frames, at their full size
	Window  int64 // their windows, margins included
	Entries int   // of the gate control list; 0: there is none
	Other   int64 // some queue outside Link.Scheduled is open
}

// Valid reports whether there is no fault.
func (r *Report) Valid() bool { return r.FaultCount == 0 }

// Err returns the faults as one error, nil if there are none.
func (r *Report) Err() error {
	var errs []error
	for _, f := range r.Faults {
		errs = append(errs, errors.New(f.String()))
	}
	if more := r.FaultCount - len(r.Faults); more > 0 {
		errs = append(errs, fmt.Errorf("and %d more", more))
	}
	return errors.Join(errs...)
}

func (c *checker) bad(f Fault) {
	c.report.FaultCount++
	if len(c.report.Faults) < MaxFaults {
		c.report.Faults = append(c.report.Faults, f)
	}
}

func (c *checker) warn(f Fault) {
	c.report.WarningCount++
	if len(c.report.Warnings) < MaxFaults {
		c.report.Warnings = append(c.report.Warnings, f)
	}
}

// whole is a fault of no single stream, link or time.
func whole(r Rule, format string, a ...any) Fault {
	return Fault{Rule: r, Link: -1, Time: -1, Text: fmt.Sprintf(format, a...)}
}

// of is a fault of stream si.
func (c *checker) of(r Rule, si int, format string, a ...any) Fault {
	f := whole(r, format, a...)
	f.Streams, f.Text = []int{si}, c.streamName(si)+" "+f.Text
	return f
}

// at is a fault on a link.
func (c *checker) at(r Rule, l schedule.LinkID, time int64, streams []int, format string, a ...any) Fault {
	text := c.p.LinkName(l)
	if time >= 0 {
		text += fmt.Sprintf(" at %d ns", time)
	}
	return Fault{Rule: r, Streams: streams, Link: l, Time: time, Text: text + ": " + fmt.Sprintf(format, a...)}
}

// who names what sends in a window.
func (c *checker) who(h *hop) string {
	if h.stream < 0 {
		return "cyclic streams"
	}
	return c.streamName(int(h.stream))
}

// streamsOf lists the streams of windows, each once; cyclic ones go without number.
func streamsOf(hops ...*hop) []int {
	var out []int
	for _, h := range hops {
		if h.stream >= 0 && !slices.Contains(out, int(h.stream)) {
			out = append(out, int(h.stream))
		}
	}
	slices.Sort(out)
	return out
}

func (c *checker) streamName(si int) string {
	s := &c.p.Streams[si]
	if s.Name == "" {
		return fmt.Sprintf("stream %d", s.ID)
	}
	return fmt.Sprintf("stream %d (%s)", s.ID, s.Name)
}
