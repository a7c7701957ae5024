package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"tsnswitch/internal/api"
	"tsnswitch/internal/chart"
)

// compared is a schedule as far as two are compared: by names.
type compared struct {
	cycle   int64
	streams map[string]comparedStream
	gates   map[string]string // of each port
}

type comparedStream struct {
	route, starts string
	latency       int64
}

// scheduleDifference is what -o json prints.
type scheduleDifference struct {
	Cycle   [2]int64       `json:"cycleNs"`
	Streams []streamChange `json:"streams"`
	Gates   []string       `json:"gates"` // ports whose gate lists differ
}

type streamChange struct {
	Stream  string   `json:"stream"`
	Change  string   `json:"change"` // added, removed, rerouted, moved, latency
	Latency [2]int64 `json:"latencyNs"`
}

func (a *app) scheduleDiff() *cobra.Command {
	return &cobra.Command{
		Use: "diff [A [B]]", Short: "Compare two schedules",
		Long: `Compares the running schedule with the plan for the streams of now, or with a
file, or two files. A and B are "running", "plan", a solution (qbv-solution/1),
or what schedule show or plan printed with -o json. The exit status is 0
either way.`,
		Example: `  tsnctl schedule diff
  tsnctl schedule diff running plan
  tsnctl schedule diff old.json new.json`,
		Args: cobra.MaximumNArgs(2),
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return []string{"running", "plan"}, cobra.ShellCompDirectiveDefault
		},
		RunE: func(c *cobra.Command, args []string) error {
			sides := [2]string{"running", "plan"}
			copy(sides[:], args)
			if isAsked(sides[0]) || isAsked(sides[1]) {
				return a.call(func(ctx context.Context, sw api.Switch, _ []string) error { return a.compare(ctx, sw, sides) })(c, args)
			}
			if err := a.compare(c.Context(), nil, sides); err != nil {
				return failure{err}
			}
			return nil
		},
	}
}

func isAsked(side string) bool { return side == "running" || side == "plan" }

func (a *app) compare(ctx context.Context, sw api.Switch, sides [2]string) error {
	var both [2]*compared
	for i, side := range sides {
		var err error
		if both[i], err = readSide(ctx, sw, side); err != nil {
			return err
		}
	}
	return show(a, difference(both[0], both[1]), printDifference)
}

func readSide(ctx context.Context, sw api.Switch, side string) (*compared, error) {
	var s *api.Schedule
	var err error
	switch side {
	case "running":
		s, err = sw.ShowSchedule(ctx)
	case "plan":
		s, err = sw.PlanSchedule(ctx, api.PlanRequest{})
	default:
		return readCompared(side)
	}
	if err != nil {
		return nil, err
	}
	return comparedSchedule(s), nil
}

// maxCompared bounds a file that is read whole.
const maxCompared = 256 << 20

func readCompared(file string) (*compared, error) {
	info, err := os.Stat(file)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxCompared {
		return nil, fmt.Errorf("%s: %d octets are more than %d", file, info.Size(), maxCompared)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var kind struct {
		Format string          `json:"format"`
		State  json.RawMessage `json:"state"`
	}
	if err := json.Unmarshal(data, &kind); err != nil {
		return nil, fmt.Errorf("%s: is no schedule: %w", file, err)
	}
	switch {
	case kind.Format == "qbv-solution/1":
		return comparedSolution(file, data)
	case kind.Format != "" || kind.State == nil:
		return nil, fmt.Errorf("%s: is neither a qbv-solution/1 nor what schedule show -o json prints", file)
	}
	var s api.Schedule
	if err := json.Unmarshal(data, &s); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return comparedSchedule(&s), nil
}

func comparedSchedule(s *api.Schedule) *compared {
	c := &compared{s.CycleTime, map[string]comparedStream{}, map[string]string{}}
	name := map[string]string{}
	for _, x := range s.Streams {
		if x.Scheduled {
			name[x.ID.String()] = cmp.Or(x.Name, x.ID.String())
			c.streams[name[x.ID.String()]] = comparedStream{latency: x.Latency}
		}
	}
	for _, port := range s.Ports {
		list := port.Oper
		if list == nil {
			list = port.Admin
		}
		if list != nil {
			c.gates[chart.PortName(port.PathHop)] = fmt.Sprint(list.CycleTime, list.Entries)
		}
		for _, w := range port.Windows {
			if n, ok := name[w.Stream.String()]; ok {
				x := c.streams[n]
				x.route += chart.PortName(port.PathHop) + " "
				x.starts += fmt.Sprint(w.FrameStart, " ")
				c.streams[n] = x
			}
		}
	}
	return c
}

// comparedSolution reads no more of a solution than it compares.
func comparedSolution(file string, data []byte) (*compared, error) {
	var s struct {
		Cycle   int64 `json:"cycle_ns"`
		Streams []struct {
			ID      json.RawMessage `json:"id"`
			Name    string          `json:"name"`
			Route   json.RawMessage `json:"route"`
			Starts  json.RawMessage `json:"starts"`
			Frames  json.RawMessage `json:"frames"`
			Queues  json.RawMessage `json:"queues"`
			Latency int64           `json:"latency_ns"`
		} `json:"streams"`
		Gates []struct {
			Link    json.RawMessage `json:"link"`
			Cycle   int64           `json:"cycle_ns"`
			Entries json.RawMessage `json:"entries"`
		} `json:"gates"`
	}
	if err := json.Unmarshal(data, &s); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	c := &compared{s.Cycle, map[string]comparedStream{}, map[string]string{}}
	for _, x := range s.Streams {
		c.streams[cmp.Or(x.Name, tight(x.ID))] = comparedStream{tight(x.Route), tight(x.Starts) + tight(x.Frames) + tight(x.Queues), x.Latency}
	}
	for _, g := range s.Gates {
		c.gates[tight(g.Link)] = fmt.Sprint(g.Cycle) + tight(g.Entries)
	}
	return c, nil
}

// tight is JSON without spaces.
func tight(raw json.RawMessage) string {
	var b bytes.Buffer
	if json.Compact(&b, raw) != nil {
		return string(raw)
	}
	return b.String()
}

func difference(a, b *compared) *scheduleDifference {
	d := &scheduleDifference{Cycle: [2]int64{a.cycle, b.cycle}, Streams: []streamChange{}, Gates: []string{}}
	for _, name := range union(a.streams, b.streams) {
		x, before := a.streams[name]
		y, after := b.streams[name]
		c := streamChange{name, "", [2]int64{x.latency, y.latency}}
		switch {
		case !before:
			c.Change = "added"
		case !after:
			c.Change = "removed"
		case x.route != y.route:
			c.Change = "rerouted"
		case x.starts != y.starts:
			c.Change = "moved"
		case x.latency != y.latency:
			c.Change = "latency"
		default:
			continue
		}
		d.Streams = append(d.Streams, c)
	}
	for _, port := range union(a.gates, b.gates) {
		if a.gates[port] != b.gates[port] {
			d.Gates = append(d.Gates, port)
		}
	}
	return d
}

func union[V any](a, b map[string]V) []string {
	all := maps.Clone(a)
	maps.Copy(all, b)
	return slices.Sorted(maps.Keys(all))
}

func printDifference(p *page, d *scheduleDifference) {
	if d.Cycle[0] == d.Cycle[1] && len(d.Streams) == 0 && len(d.Gates) == 0 {
		p.printf("no difference")
		return
	}
	if d.Cycle[0] != d.Cycle[1] {
		p.printf("cycle: %s, then %s", dur(d.Cycle[0]), dur(d.Cycle[1]))
	}
	t := table{head: []string{"~STREAM", "CHANGE", ">LATENCY", ">THEN", "WORSE"}}
	for _, s := range d.Streams {
		then, worse := dur(s.Latency[1]), ""
		if s.Change == "removed" {
			then = "-"
		}
		if s.Change != "added" && s.Change != "removed" && s.Latency[1] > s.Latency[0] {
			worse = "by " + dur(s.Latency[1]-s.Latency[0])
		}
		before := dur(s.Latency[0])
		if s.Change == "added" {
			before = "-"
		}
		t.row(s.Stream, s.Change, before, then, worse)
	}
	if len(t.rows) > 0 {
		p.table(t)
	}
	if len(d.Gates) > 0 {
		p.wrap(plural(len(d.Gates), "gate list differs: ", "gate lists differ: "), "  ", strings.Join(d.Gates, ", "))
	}
}
