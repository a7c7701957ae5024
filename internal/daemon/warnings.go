package daemon

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"tsnswitch"
	"tsnswitch/internal/api"
)

// warnings are the streams that a plan makes worse off than what this node
// conducts now: a stream that loses its window, one whose worst latency grows,
// and one of an SR class that is left with less on a port than it has reserved.
func (c *conductor) warnings(p *planned, streams []api.StreamState) []api.Warning {
	next, old := p.result, &api.Schedule{}
	if c.mem.Conductor != nil {
		old = c.mem.Conductor.Schedule
	}
	var out []api.Warning
	for _, was := range old.Streams {
		i := slices.IndexFunc(next.Streams, func(s api.ScheduledStream) bool { return s.ID == was.ID })
		if !was.Scheduled || i < 0 || !c.same(was.ID, p.made.Planned) {
			continue // whoever removed or changed it knows
		}
		is, w := next.Streams[i], api.Warning{Stream: was.ID, Name: was.Name, Before: was.Latency, After: next.Streams[i].Latency}
		switch {
		case !is.Scheduled:
			w.Kind, w.Text = api.WarnLost, fmt.Sprintf("%s loses its window: %s", nameOf(was), is.Reason)
		case is.Latency > was.Latency:
			w.Kind, w.Text = api.WarnLatency, fmt.Sprintf("%s: the worst latency grows from %v to %v", nameOf(was), time.Duration(was.Latency), time.Duration(is.Latency))
		default:
			continue
		}
		out = append(out, w)
	}
	return append(out, p.slopes(old, streams)...)
}

// same reports whether a stream is what it was when the schedule was planned that
// runs; its path may be another.
func (c *conductor) same(id tsn.StreamID, now []plannedStream) bool {
	of := func(in []plannedStream) tsn.Stream {
		if i := slices.IndexFunc(in, func(p plannedStream) bool { return p.Stream.ID == id }); i >= 0 {
			return in[i].Stream
		}
		return tsn.Stream{}
	}
	return of(c.mem.Conductor.Planned) == of(now)
}

func nameOf(s api.ScheduledStream) string {
	if s.Name != "" {
		return "stream " + s.Name
	}
	return "stream " + s.ID.String()
}

// slopes finds SR classes whose gate is open for less of the cycle than their
// streams have reserved of the port (802.1Q 8.6.8.2: operIdleSlope is
// adminIdleSlope times cycle by open time, and cannot exceed the port's rate).
func (p *planned) slopes(old *api.Schedule, streams []api.StreamState) (out []api.Warning) {
	for _, port := range p.result.Ports {
		rate := p.plan.Net.Rate(port.Hop)
		for class := range tsn.TrafficClass(tsn.NumClasses) {
			var need tsn.Rate
			var who *tsn.Stream
			for i, s := range streams {
				onPort := slices.ContainsFunc(s.Path, func(h api.PathHop) bool { return h.Hop == port.Hop })
				if onPort && tsn.DefaultClassMap[s.Stream.PCP] == class && !scheduledClass(s.Stream) {
					need += s.Stream.Bandwidth()
					who = &streams[i].Stream
				}
			}
			before, after := openRate(listOf(old, port.Hop), class, rate), openRate(port.Admin, class, rate)
			if who != nil && after < need && after < before {
				out = append(out, api.Warning{
					Stream: who.ID, Name: who.Name, Kind: api.WarnSlope, Before: int64(before), After: int64(after),
					Text: fmt.Sprintf("%s port %d: class %d has reserved %s and its gate leaves it %s", port.Node, port.Port, class, need, after),
				})
			}
		}
	}
	return out
}

func listOf(s *api.Schedule, h tsn.Hop) *tsn.GateControlList {
	if i := slices.IndexFunc(s.Ports, func(p api.PortSchedule) bool { return p.Hop == h }); i >= 0 {
		return s.Ports[i].Admin
	}
	return nil
}

// openRate is a port's rate times the part of the cycle that a gate is open.
func openRate(l *tsn.GateControlList, c tsn.TrafficClass, rate tsn.Rate) tsn.Rate {
	if l == nil || l.CycleTime <= 0 {
		return rate
	}
	var open int64
	for _, e := range l.Entries {
		if e.Gates.Has(c) {
			open += e.Interval
		}
	}
	return tsn.Rate(float64(rate) * float64(open) / float64(l.CycleTime))
}

// accepted refuses to start what makes streams worse off, unless that is
// wanted.
func accepted(w []api.Warning, accept bool) error {
	if len(w) == 0 || accept {
		return nil
	}
	var texts []string
	for _, x := range w[:min(len(w), 4)] {
		texts = append(texts, x.Text)
	}
	if more := len(w) - len(texts); more > 0 {
		texts = append(texts, fmt.Sprintf("and %d more", more))
	}
	return api.Errorf(api.CodeRefused, "it makes streams worse off (--yes starts it all the same): %s", strings.Join(texts, "; "))
}
