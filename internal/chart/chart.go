// Package chart gives schedules, running and planned, the form in which they
// are drawn.
package chart

import (
	"cmp"
	"fmt"
	"slices"

	tsn "tsnswitch"
	"tsnswitch/internal/api"
	"tsnswitch/qbv/gantt"
	"tsnswitch/qbv/gatelist"
	"tsnswitch/qbv/schedule"
	"tsnswitch/qbv/verify"
)

// Running draws what a daemon tells. now is gPTP time; nil draws no line for it.
func Running(s *api.Schedule, now *tsn.PTPTime) *gantt.Chart {
	c := &gantt.Chart{Cycle: s.CycleTime, Now: -1}
	if now != nil && s.CycleTime > 0 && s.State == api.ScheduleRunning && now.Domain == s.Base.Domain {
		c.Now = ((now.NS-s.Base.NS)%s.CycleTime + s.CycleTime) % s.CycleTime
	}
	paths := pathsOf(s)
	stream := map[tsn.StreamID]int{}
	for _, x := range s.Streams {
		if path := paths[x.ID]; x.Scheduled && len(path) > 0 {
			stream[x.ID] = len(c.Streams)
			c.Streams = append(c.Streams, gantt.Stream{
				Name: cmp.Or(x.Name, x.ID.String()), Period: path[0].Period, Offset: path[0].Start, Latency: x.Latency, Limit: x.MaxLatency,
			})
		}
	}
	for _, i := range order(s, paths) {
		c.Rows = append(c.Rows, runningRow(&s.Ports[i], c.Streams, stream, paths, s))
	}
	return c
}

func runningRow(p *api.PortSchedule, streams []gantt.Stream, stream map[tsn.StreamID]int, paths map[tsn.StreamID][]window, s *api.Schedule) gantt.Row {
	list := p.Oper
	if list == nil {
		list = p.Admin
	}
	r := gantt.Row{Name: PortName(p.PathHop)}
	if list == nil {
		r.Empty = "all gates open"
		return r
	}
	r.List = *list
	r.List.BaseTime = tsn.PTPTime{}
	for _, w := range p.Windows {
		i, ok := stream[w.Stream]
		if !ok {
			continue
		}
		slot := gantt.Slot{
			Stream: i, Queue: tsn.ClassScheduled, Period: cmp.Or(w.Period, s.CycleTime),
			Open: w.Start, Close: w.End, Start: w.FrameStart, End: w.FrameEnd,
		}
		if path := paths[w.Stream]; path[len(path)-1].Window == w {
			slot.Due = streams[i].Offset + streams[i].Limit
		}
		r.Slots = append(r.Slots, slot)
	}
	return r
}

// PortName is "b1:2": what people and charts call a port.
func PortName(h api.PathHop) string {
	return fmt.Sprintf("%s:%d", cmp.Or(h.Node, h.System.String()), h.Port)
}

// window is a window and the port it is on, an index in Schedule.Ports.
type window struct {
	api.Window
	port int
}

// pathsOf are the windows of each stream, along its way.
func pathsOf(s *api.Schedule) map[tsn.StreamID][]window {
	out := map[tsn.StreamID][]window{}
	for i, p := range s.Ports {
		for _, w := range p.Windows {
			out[w.Stream] = append(out[w.Stream], window{w, i})
		}
	}
	for _, path := range out { // each is sorted by itself
		slices.SortStableFunc(path, func(a, b window) int { return cmp.Compare(a.Start, b.Start) })
	}
	return out
}

// order is that of the rows: ports as the streams come by them, then the rest.
func order(s *api.Schedule, paths map[tsn.StreamID][]window) []int {
	var out []int
	add := func(i int) {
		if !slices.Contains(out, i) {
			out = append(out, i)
		}
	}
	for _, x := range s.Streams {
		for _, w := range paths[x.ID] {
			add(w.port)
		}
	}
	for i := range s.Ports {
		add(i)
	}
	return out
}

// Planned draws a solution of p; report says what its streams can count on.
func Planned(p *schedule.Problem, s *schedule.Solution, report *verify.Report) (*gantt.Chart, error) {
	uses, err := gatelist.Uses(p, s.Streams, s.Cyclic)
	if err != nil {
		return nil, err
	}
	c := &gantt.Chart{Cycle: s.Cycle, Now: -1}
	legend := map[int]int{}
	for _, f := range report.Streams {
		st := &p.Streams[f.Stream]
		legend[f.Stream] = len(c.Streams)
		x := gantt.Stream{Name: cmp.Or(st.Name, fmt.Sprintf("stream %d", st.ID)), Period: st.Period, Limit: st.Deadline}
		for _, l := range f.Listeners {
			x.Latency = max(x.Latency, l.Latency)
		}
		c.Streams = append(c.Streams, x)
	}
	margin := p.SyncError + p.Jitter
	for _, at := range s.Streams {
		if i, ok := legend[at.Stream]; ok && len(at.Starts) > 0 {
			c.Streams[i].Offset = at.Starts[0] - margin
		}
	}
	for _, g := range s.Gates {
		r := gantt.Row{Name: LinkName(p, g.Link), List: g.List}
		for _, u := range uses[g.Link] {
			if i, ok := legend[int(u.Stream)]; ok {
				r.Slots = append(r.Slots, plannedSlot(p, &u, g.Link, i, margin, c.Streams[i]))
			}
		}
		c.Rows = append(c.Rows, r)
	}
	return c, nil
}

func plannedSlot(p *schedule.Problem, u *gatelist.Use, l schedule.LinkID, legend int, margin int64, s gantt.Stream) gantt.Slot {
	slot := gantt.Slot{
		Stream: legend, Queue: u.Queue, Period: u.Period,
		Open: u.Open, Close: u.Close, Start: u.Open + margin, End: u.Close - margin,
	}
	if u.Period == s.Period && slices.Contains(p.Streams[u.Stream].Listeners, p.Links[l].To) {
		slot.Due = s.Offset + s.Limit
	}
	return slot
}

// LinkName is what a chart calls a link of a plan.
func LinkName(p *schedule.Problem, l schedule.LinkID) string {
	return p.Nodes[p.Links[l].From].Name + "-" + p.Nodes[p.Links[l].To].Name
}
