package schedtest

import (
	"cmp"
	"slices"

	tsn "tsnswitch"
	"tsnswitch/qbv/schedule"
)

// window is when only one gate is open, in ns from the schedule's base.
type window struct {
	from, to int64
	gates    tsn.GateMask
}

// Gates returns the lists for the placements of s, each over the whole cycle.
// Where windows overlap or lie across the end of the cycle of a Software port,
// the lists do not keep the rules.
func Gates(p *schedule.Problem, s *schedule.Solution) []schedule.LinkGates {
	windows := make([][]window, len(p.Links))
	for _, pl := range s.Streams {
		for k := range s.Cycle / p.Streams[pl.Stream].Period {
			addWindows(p, s.Cycle, pl, k, windows)
		}
	}
	var out []schedule.LinkGates
	for l, ws := range windows {
		if len(ws) > 0 {
			list := tsn.GateControlList{CycleTime: s.Cycle, Entries: entries(&p.Links[l], s.Cycle, ws)}
			out = append(out, schedule.LinkGates{Link: schedule.LinkID(l), List: list})
		}
	}
	return out
}

// addWindows adds those of period k, cut at the end of the cycle.
func addWindows(p *schedule.Problem, cycle int64, pl schedule.Placement, k int64, windows [][]window) {
	s := &p.Streams[pl.Stream]
	starts, queues, shift := pl.Starts, pl.Queues, k*s.Period
	if len(pl.Instances) > 0 {
		starts, queues, shift = pl.Instances[k].Starts, pl.Instances[k].Queues, 0
	}
	pace := map[schedule.NodeID]int64{}
	for h, id := range pl.Route {
		l := &p.Links[id]
		tx := l.Rate.TransmitTime(s.Size)
		pace[l.To] = max(pace[l.From], tx)
		margin := p.SyncError + p.Jitter
		from := ((starts[h]+shift-margin)%cycle + cycle) % cycle
		to := from + int64(max(s.Frames, 1)-1)*pace[l.To] + tx + 2*margin
		gates := tsn.GateMask(1) << queues[h]
		windows[id] = append(windows[id], window{from, min(to, cycle), gates})
		if to > cycle {
			windows[id] = append(windows[id], window{0, min(to-cycle, cycle), gates})
		}
	}
}

// entries are those of one port.
func entries(l *schedule.Link, cycle int64, ws []window) []tsn.GateEntry {
	slices.SortFunc(ws, func(a, b window) int { return cmp.Compare(a.from, b.from) })
	others := tsn.GateMask(1<<l.Queues-1) &^ l.Scheduled
	guard := l.Rate.TransmitTime(l.GuardOctets)
	var out []tsn.GateEntry
	add := func(gates tsn.GateMask, d int64) {
		if d > 0 {
			out = append(out, tsn.GateEntry{Gates: gates, Interval: d})
		}
	}
	// gap is open for others until a guard band before next.
	gap := func(from, to, next int64) {
		shut := max(from, min(to, next-guard))
		add(others, shut-from)
		add(0, to-shut)
	}
	at := int64(0)
	for _, w := range ws {
		gap(at, max(at, w.from), w.from)
		add(w.gates, w.to-max(at, w.from))
		at = max(at, w.to)
	}
	gap(at, cycle, cycle+ws[0].from)
	if last := &out[len(out)-1]; l.Software && last.Interval >= 2*l.MinInterval {
		last.Interval -= l.MinInterval
		add(last.Gates, l.MinInterval)
	}
	return out
}
