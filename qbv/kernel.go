package qbv

import "tsnswitch"

// Software taprio leaves a schedule one entry early. When an entry of the old
// list is about to start at t and ends at or after the new list's base time,
// the kernel runs the new list's first entry from t on, not from the base
// time. The old entry in front of the base time is lost.
//
// The remedy has two halves. ForSoftwareTaprio ends every list in a guard
// entry of the minimum interval that repeats the gates of the entry it is cut
// from, so that by the standard nothing changes; and NextBase puts a new base
// time at the end of an old cycle, that is at the end of that guard entry.
// What the kernel then does early, it does early by one minimum interval.
//
// A cycle time extension would make it early by more (the kernel compares the
// base time with the entry's end plus the extension), and is of no use when
// base times fall on cycle ends; it is set to 0.

// ForSoftwareTaprio returns a copy of list to be given to software taprio:
// neighbouring entries with equal gates are one, except that the list ends in
// a guard entry of minInterval ns. A last entry that is too short to be cut
// (less than two minimum intervals) stays whole and is itself the guard, so the
// kernel is never early by 2*minInterval or more. nil stays nil.
func ForSoftwareTaprio(list *tsn.GateControlList, minInterval int64) *tsn.GateControlList {
	if list == nil || len(list.Entries) == 0 {
		return clone(list)
	}
	out := clone(list)
	out.CycleTimeExtension = 0
	out.Entries = mergeEqual(out.Entries)
	minInterval = max(minInterval, 1)
	last := &out.Entries[len(out.Entries)-1]
	if last.Interval >= 2*minInterval {
		last.Interval -= minInterval
		out.Entries = append(out.Entries, tsn.GateEntry{Gates: last.Gates, Interval: minInterval})
	}
	return out
}

// NextBase returns the first end of a cycle of oper that is not before
// notBefore: the base time for the list that shall follow it. With no list
// running any time will do.
func NextBase(oper *tsn.GateControlList, notBefore tsn.PTPTime) tsn.PTPTime {
	if oper == nil || oper.CycleTime <= 0 {
		return notBefore
	}
	wait := mod(oper.BaseTime.NS-notBefore.NS, oper.CycleTime)
	return notBefore.Add(wait)
}

// mergeEqual joins neighbouring entries that have the same gates.
func mergeEqual(in []tsn.GateEntry) []tsn.GateEntry {
	out := in[:0]
	for _, e := range in {
		if n := len(out); n > 0 && out[n-1].Gates == e.Gates {
			out[n-1].Interval += e.Interval
			continue
		}
		out = append(out, e)
	}
	return out
}

// mod is a modulo m, never negative.
func mod(a, m int64) int64 {
	if a %= m; a < 0 {
		a += m
	}
	return a
}
