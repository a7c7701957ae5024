package qbv

import (
	"errors"
	"fmt"

	"tsnswitch"
)

// Limits say what a port can execute. A zero field means "no such limit",
// except Classes, which must be 1..8.
type Limits struct {
	Classes     int   // traffic classes of the port
	MaxEntries  int   // SupportedListMax (802.1Q 12.29.1.5)
	MinInterval int64 // shortest TimeInterval, ns
	MaxInterval int64 // longest TimeInterval, ns (SupportedIntervalMax)
	MaxCycle    int64 // longest cycle, ns (SupportedCycleMax)

	// ControlOctets is the length on the medium of the frame that
	// tsn.ClassControl must be able to send in every cycle; Rate is the
	// port's. The check is made only if both are set.
	ControlOctets int
	Rate          tsn.Rate

	// PerEntry says that a frame must end within the gate entry in which it
	// begins, even if the next entry leaves its gate open. Software taprio
	// before kernel 6.3 works so.
	PerEntry bool
}

// MaxSoftwareCycle is the longest cycle software taprio takes, in ns.
const MaxSoftwareCycle = 1<<31 - 1

// MaxFrameOctets is a maximum frame on the medium: 1500 octets of data and
// tsn.FrameOverhead. One such control frame per cycle is the guarantee, and
// one such frame of another class is what a guard band has to keep out.
const MaxFrameOctets = 1500 + tsn.FrameOverhead

// SoftwareLimits are those of software taprio on a port of the given rate:
// its shortest interval is the time of a 60-octet frame.
func SoftwareLimits(rate tsn.Rate) Limits {
	return Limits{
		Classes:       tsn.NumClasses,
		MaxEntries:    256,
		MinInterval:   max(rate.TransmitTime(60), 1),
		MaxInterval:   MaxSoftwareCycle,
		MaxCycle:      MaxSoftwareCycle,
		ControlOctets: MaxFrameOctets,
		Rate:          rate,
		PerEntry:      true,
	}
}

// ListError is one fault of a gate control list.
type ListError struct {
	Clause string // of 802.1Q, or what else demands it
	Entry  int    // index of the entry at fault; -1 for the whole list
	Reason string
}

func (e *ListError) Error() string {
	if e.Entry < 0 {
		return fmt.Sprintf("gate control list: %s (%s)", e.Reason, e.Clause)
	}
	return fmt.Sprintf("gate control list entry %d: %s (%s)", e.Entry, e.Reason, e.Clause)
}

// The clauses that Validate cites.
const (
	clauseList      = "802.1Q 8.6.8.4"
	clauseCycle     = "802.1Q 8.6.9.4.3"
	clauseExtension = "802.1Q 8.6.9.4.4"
	clauseCapacity  = "802.1Q 12.29.1"
	clauseControl   = "control traffic must pass in every cycle"
)

// maxReported bounds the joined error of a long, broken list.
const maxReported = 16

// Validate checks list against what the port can do and returns every fault
// (the first 16) as a *ListError, joined; nil if there is none. A nil list
// means all gates open and is always valid.
func Validate(list *tsn.GateControlList, lim Limits) error {
	if list == nil {
		return nil
	}
	var errs []error
	bad := func(clause string, entry int, format string, a ...any) {
		if len(errs) < maxReported {
			errs = append(errs, &ListError{clause, entry, fmt.Sprintf(format, a...)})
		}
	}
	validateShape(list, lim, bad)
	validateEntries(list, lim, bad)
	if len(errs) == 0 {
		validateControl(list, lim, bad)
	}
	return errors.Join(errs...)
}

type report func(clause string, entry int, format string, a ...any)

func validateShape(list *tsn.GateControlList, lim Limits, bad report) {
	if lim.Classes < 1 || lim.Classes > tsn.MaxTrafficClasses {
		bad(clauseList, -1, "the port has %d traffic classes, want 1..8", lim.Classes)
	}
	if list.CycleTime <= 0 {
		bad(clauseCycle, -1, "cycle time %d ns is not positive", list.CycleTime)
	}
	if lim.MaxCycle > 0 && list.CycleTime > lim.MaxCycle {
		bad(clauseCapacity, -1, "cycle time %d ns is longer than the port's limit of %d ns", list.CycleTime, lim.MaxCycle)
	}
	if list.CycleTimeExtension < 0 {
		bad(clauseExtension, -1, "cycle time extension %d ns is negative", list.CycleTimeExtension)
	}
	if len(list.Entries) == 0 {
		bad(clauseList, -1, "has no entry")
	}
	if lim.MaxEntries > 0 && len(list.Entries) > lim.MaxEntries {
		bad(clauseCapacity, -1, "%d entries are more than the port's limit of %d", len(list.Entries), lim.MaxEntries)
	}
}

func validateEntries(list *tsn.GateControlList, lim Limits, bad report) {
	var sum int64
	for i, e := range list.Entries {
		switch {
		case e.Interval <= 0:
			bad(clauseList, i, "interval %d ns is not positive", e.Interval)
			return
		case e.Interval < lim.MinInterval:
			bad(clauseCapacity, i, "interval %d ns is shorter than the port's minimum of %d ns", e.Interval, lim.MinInterval)
		case lim.MaxInterval > 0 && e.Interval > lim.MaxInterval:
			bad(clauseCapacity, i, "interval %d ns is longer than the port's maximum of %d ns", e.Interval, lim.MaxInterval)
		}
		if lim.Classes >= 1 && lim.Classes < tsn.MaxTrafficClasses && e.Gates>>lim.Classes != 0 {
			bad(clauseList, i, "gates %s name a class that does not exist: the port has %d", e.Gates, lim.Classes)
		}
		if e.Interval > list.CycleTime-sum {
			bad(clauseCycle, i, "the intervals up to here exceed the cycle time of %d ns", list.CycleTime)
			return
		}
		sum += e.Interval
	}
	if len(list.Entries) > 0 && sum != list.CycleTime {
		bad(clauseCycle, -1, "the intervals sum to %d ns, the cycle time is %d ns", sum, list.CycleTime)
	}
}

func validateControl(list *tsn.GateControlList, lim Limits, bad report) {
	if lim.ControlOctets <= 0 || lim.Rate == 0 {
		return
	}
	need := lim.Rate.TransmitTime(lim.ControlOctets)
	if got := longestOpen(list, tsn.ClassControl, lim.PerEntry); got < need {
		bad(clauseControl, -1, "the control class (%d) is open for %d ns at a time, one frame of %d octets at %s needs %d ns",
			tsn.ClassControl, got, lim.ControlOctets, lim.Rate, need)
	}
}

// longestOpen returns the longest time for which the gate of class c stays
// open, across the end of the cycle too; with perEntry the longest entry.
func longestOpen(list *tsn.GateControlList, c tsn.TrafficClass, perEntry bool) int64 {
	var longest, run int64
	laps := 2 // an opening may continue into the next cycle
	if perEntry {
		laps = 1
	}
	for range laps {
		for _, e := range list.Entries {
			if !e.Gates.Has(c) {
				run = 0
				continue
			}
			if perEntry {
				run = 0
			}
			run += e.Interval
			longest = max(longest, run)
		}
	}
	return min(longest, list.CycleTime)
}

// clone returns a copy that shares nothing with l.
func clone(l *tsn.GateControlList) *tsn.GateControlList {
	if l == nil {
		return nil
	}
	c := *l
	c.Entries = append([]tsn.GateEntry(nil), l.Entries...)
	return &c
}

// sameGates reports whether two lists open the same gates in the same order:
// all but the base time.
func sameGates(a, b *tsn.GateControlList) bool {
	if a == nil || b == nil {
		return a == b
	}
	if a.CycleTime != b.CycleTime || len(a.Entries) != len(b.Entries) {
		return false
	}
	for i := range a.Entries {
		if a.Entries[i] != b.Entries[i] {
			return false
		}
	}
	return true
}
