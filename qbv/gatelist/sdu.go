package gatelist

import (
	tsn "tsnswitch"
	"tsnswitch/qbv/schedule"
)

// maxSDU is, for each queue, the link's own limit, or the longest frame that the
// longest opening of its gate lets through where that is shorter than a maximum frame.
func maxSDU(l *schedule.Link, entries []tsn.GateEntry) (out [tsn.MaxTrafficClasses]int) {
	for q := range l.Queues {
		if !l.Scheduled.Has(tsn.TrafficClass(q)) {
			out[q] = l.MaxSDU[q]
		}
		ns := longestOpen(entries, tsn.TrafficClass(q), l.Software)
		if ns > 0 && ns < l.Rate.TransmitTime(tsn.MaxFrameOctets) {
			if n := octets(l.Rate, ns); out[q] == 0 || n < out[q] {
				out[q] = n
			}
		}
	}
	return out
}

// octets is how many can be sent in ns, 1 at least.
func octets(r tsn.Rate, ns int64) int {
	return int(max(uint64(ns)*uint64(r)/8_000_000, 1))
}

// longestOpen is how long the gate of q is open at a stretch: over the end of
// the cycle too, or within one entry.
func longestOpen(entries []tsn.GateEntry, q tsn.TrafficClass, perEntry bool) (longest int64) {
	rounds := 2 * len(entries)
	if perEntry {
		rounds = len(entries)
	}
	var run, cycle int64
	for i := range rounds {
		e := entries[i%len(entries)]
		if i < len(entries) {
			cycle += e.Interval
		}
		if !e.Gates.Has(q) || perEntry {
			run = 0
		}
		if e.Gates.Has(q) {
			run += e.Interval
			longest = max(longest, run)
		}
	}
	return min(longest, cycle)
}
