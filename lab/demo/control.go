package main

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"tsnswitch"
)

// A loopResult is what lab/control/plant.erl prints: a value for each period.
type loopResult struct {
	Latency []int64 `json:"latency_us"` // from sample to force; -1: no force came, -2: the plant slept
	Late    []int64 `json:"late_us"`    // how late the period began: what the machine adds
	Angle   []int64 `json:"centidegrees"`
	Falls   int     `json:"falls"`
	Lost    int     `json:"lost"` // times the connection was lost
}

// A controlPhase is a loop under one load.
type controlPhase struct {
	Name     string        `json:"name"`
	LineRate tsn.Rate      `json:"lineRateKbps"`
	Period   time.Duration `json:"periodNs"` // the deadline, too
	Loop     loopResult    `json:"loop"`
	Figures  controlFigure `json:"figures"`
	Loaded   bool          `json:"loaded"`
	usage
}

// controlFigure is what is said of a phase. Percentiles are of all periods: one
// without an answer counts as longer than any.
type controlFigure struct {
	Periods int `json:"periods"`
	// Missed are those without a force within the period: of Late ones it came
	// later, of Absent ones never, and those that it Slept through had no sample,
	// as the plant was not woken in time.
	Missed int `json:"missed"`
	Late   int `json:"late"`
	Absent int `json:"never"`
	Slept  int `json:"slept"`
	// Latency in microseconds, and how much it changes from one period to the
	// next on average.
	P50    latency `json:"p50us"`
	P99    latency `json:"p99us"`
	P999   latency `json:"p999us"`
	Max    latency `json:"maxus"`
	Jitter latency `json:"jitterus"`
	// LateP99 is how late the plant's own timer was, in microseconds.
	LateP99 latency `json:"lateP99us"`
	// The pendulum's angle in degrees.
	RMS      float64 `json:"angleRmsDegrees"`
	Farthest float64 `json:"angleMaxDegrees"`
	Falls    int     `json:"falls"`
	Lost     int     `json:"connectionsLost"`
}

// Latencies that are none: of a period without an answer when it is put in
// order, and of one without a sample as the plant says it.
const (
	never = math.MaxInt64
	slept = -2
)

// A latency is in microseconds, or never; that is null in JSON.
type latency int64

func (l latency) MarshalJSON() ([]byte, error) {
	if l == never {
		return []byte("null"), nil
	}
	return strconv.AppendInt(nil, int64(l), 10), nil
}

// figures computes them from the samples.
func (r *loopResult) figures(period time.Duration) controlFigure {
	f := controlFigure{Periods: len(r.Latency), Falls: r.Falls, Lost: r.Lost}
	var sorted []int64
	last, steps, sum := int64(-1), int64(0), int64(0)
	for _, us := range r.Latency {
		switch {
		case us == slept:
			f.Slept++
			us = never
		case us < 0:
			f.Absent++
			us = never
		case us > period.Microseconds():
			f.Late++
		}
		if us == never {
			sorted, last = append(sorted, never), -1
			continue
		}
		if last >= 0 {
			steps, sum = steps+1, sum+max(us-last, last-us)
		}
		sorted, last = append(sorted, us), us
	}
	slices.Sort(sorted)
	f.Missed = f.Late + f.Absent + f.Slept
	for share, f := range map[float64]*latency{0.5: &f.P50, 0.99: &f.P99, 0.999: &f.P999, 1: &f.Max} {
		*f = latency(quantile(sorted, share))
	}
	if steps > 0 {
		f.Jitter = latency(sum / steps)
	}
	f.LateP99 = latency(quantile(slices.Sorted(slices.Values(r.Late)), 0.99))
	var squares float64
	for _, a := range r.Angle {
		deg := float64(a) / 100
		squares += deg * deg
		f.Farthest = max(f.Farthest, math.Abs(deg))
	}
	if n := len(r.Angle); n > 0 {
		f.RMS = math.Sqrt(squares / float64(n))
	}
	return f
}

// printControl writes the phases in 80 columns.
func printControl(w io.Writer, phases []*controlPhase) {
	for i, p := range phases {
		if i == 0 {
			fmt.Fprintf(w, "   Time from sample to force, ms; deadline %v; every wire %s\n", p.Period, p.LineRate)
			fmt.Fprintf(w, "   %-22s %7s %6s %5s %5s %6s %6s %6s %6s\n", "", "periods", "missed", "never", "slept", "p50", "p99", "p99.9", "max")
		}
		f := p.Figures
		fmt.Fprintf(w, "   %-22s %7d %6d %5d %5d %6s %6s %6s %6s\n", p.Name, f.Periods, f.Missed, f.Absent, f.Slept, millis(f.P50), millis(f.P99), millis(f.P999), millis(f.Max))
	}
	fmt.Fprintf(w, "   %-22s %7s %6s %6s %8s %5s %5s %5s\n", "", "jitter", "timer", "angle", "farthest", "falls", "idle", "link")
	for _, p := range phases {
		f := p.Figures
		fmt.Fprintf(w, "   %-22s %7s %6s %6.2f %8.2f %5d %4.0f%% %4.0f%%\n", p.Name, millis(f.Jitter), millis(f.LateP99), f.RMS, f.Farthest, f.Falls, 100*p.IdleCPU, 100*p.LinkUse)
	}
	for _, line := range []string{
		"missed: late, never or slept (no sample, since the plant was not woken);",
		"jitter: mean change from period to period; timer: p99 of how late the plant",
		"was woken; angle: of the pendulum, rms and farthest, degrees; idle: CPU",
	} {
		fmt.Fprintf(w, "   %s\n", line)
	}
	for _, p := range phases {
		if p.IdleCPU < cpuBound {
			fmt.Fprintf(w, "   %s: CPU-bound, and so about this machine\n", p.Name)
		}
		if p.Figures.Lost > 0 {
			fmt.Fprintf(w, "   %s: the connection was lost %d times\n", p.Name, p.Figures.Lost)
		}
	}
}

// millis prints microseconds as milliseconds, in six columns up to 1000 s.
func millis(us latency) string {
	switch {
	case us == never:
		return "never"
	case us >= 1e6:
		return fmt.Sprintf("%d", us/1000)
	}
	return fmt.Sprintf("%.2f", float64(us)/1000)
}

// share is a percentage that is only 0 or 100 if it is.
func share(part, of int) string {
	if of == 0 {
		return "none"
	}
	s := strings.TrimSuffix(fmt.Sprintf("%.1f", 100*float64(part)/float64(of)), ".0")
	switch {
	case s == "0" && part > 0:
		return "less than 0.1 %"
	case s == "100" && part < of:
		return "more than 99.9 %"
	}
	return s + " %"
}
