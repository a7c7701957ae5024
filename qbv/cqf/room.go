package cqf

import (
	"cmp"
	"slices"

	tsn "tsnswitch"
	"tsnswitch/qbv/gatelist"
	"tsnswitch/qbv/schedule"
)

// room is the window that a link may have in every cycle.
type room struct {
	from, length int64
	pair         [2]tsn.TrafficClass
	fault        string // why there is none
}

type span struct{ from, to int64 }

// room is the longest time that is free in every cycle, and such that what is
// sent in a cycle also comes in it.
func (a *attempt) room(id schedule.LinkID) room {
	l := &a.p.Links[id]
	pair, ok := pairOf(l, a.busy[id])
	switch {
	case !ok:
		return room{fault: "has no two scheduled queues that are free"}
	case a.block[id]:
		return room{fault: "has a port that cannot execute the windows"}
	}
	free := a.limits(l)
	if len(a.busy[id]) == 0 {
		free.to = min(free.to, free.from+a.alone(l))
	}
	best := span{free.from, free.from}
	for _, b := range append(occupied(a.busy[id], a.cycle), span{free.to, free.to}) {
		if end := min(b.from, free.to); end-free.from > best.to-best.from {
			best = span{free.from, end}
		}
		free.from = max(free.from, b.to)
	}
	if best.to <= best.from {
		return room{fault: "has no time that is free in every cycle"}
	}
	return room{from: best.from, length: best.to - best.from, pair: pair}
}

// limits are the times at which a window of l may open first and close last.
func (a *attempt) limits(l *schedule.Link) span {
	end := a.cycle - l.PropagationDelay - l.ProcessingDelay - a.p.SyncError
	if l.Software {
		end = min(end, a.cycle-max(l.MinInterval, 1))
	}
	return span{max(0, a.p.SyncError-l.PropagationDelay), end}
}

// alone is how long the window of a link without others may be, so that
// control traffic has its time between two of them.
func (a *attempt) alone(l *schedule.Link) int64 {
	if l.ControlOctets == 0 {
		return a.cycle
	}
	keep := l.Rate.TransmitTime(l.ControlOctets) + max(l.Rate.TransmitTime(l.GuardOctets), l.MinInterval)
	if l.Software {
		keep += max(l.MinInterval, 1)
	}
	return a.cycle - keep
}

// occupied is when in a cycle one of the windows is open in some cycle, ascending.
func occupied(us []gatelist.Use, cycle int64) []span {
	var out []span
	for i := range us {
		every, length := gcd(us[i].Period, cycle), us[i].Close-us[i].Open
		if length >= every {
			return []span{{0, cycle}}
		}
		for at := mod(us[i].Open, every); at < cycle; at += every {
			out = append(out, span{at, min(at+length, cycle)})
			if at+length > cycle {
				out = append(out, span{0, at + length - cycle})
			}
		}
	}
	slices.SortFunc(out, func(a, b span) int { return cmp.Compare(a.from, b.from) })
	return out
}

// mod is a modulo m, never negative.
func mod(a, m int64) int64 {
	if a %= m; a < 0 {
		a += m
	}
	return a
}
