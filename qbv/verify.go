package qbv

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"tsnswitch"
)

// maxOccurrences bounds the windows Verify writes out for one link.
const maxOccurrences = 1 << 20

// Verify checks a schedule against its problem by writing every window out
// over the whole cycle. It shares types with Plan and nothing else. It returns
// what is wrong (the first 16 faults, joined) or nil:
//
//   - every stream is there once, on its path, as it was asked for;
//   - no frame leaves a system before it is there, and all leave within their window;
//   - the latency is what is claimed, and within the stream's bound;
//   - no two windows on a link overlap, with the time around them in which
//     frames may arrive early;
//   - every port's list is one the port can execute, opens the scheduled gate
//     in each window, and has all other gates closed then and in the guard
//     band before.
func Verify(problem Problem, s *Schedule) error {
	p, err := problem.normalized()
	if err != nil {
		return err
	}
	v := &verifier{problem: p, windows: map[tsn.Hop][]window{}, lists: map[tsn.Hop]*tsn.GateControlList{}}
	if s == nil {
		return errors.New("there is no schedule")
	}
	v.streams(s)
	v.ports(s)
	for _, l := range p.Links {
		if ws := v.windows[l.From]; len(ws) > 0 && v.lists[l.From] != nil {
			v.link(l, ws, v.lists[l.From])
		}
	}
	return errors.Join(v.errs...)
}

// window is a slot as the checker sees it.
type window struct {
	stream       tsn.StreamID
	period       int64
	alone        int64 // from here to close the link belongs to the stream
	open, close  int64
	from, length int64 // scratch: one occurrence of alone..close
}

type verifier struct {
	problem Problem
	windows map[tsn.Hop][]window
	lists   map[tsn.Hop]*tsn.GateControlList
	errs    []error
}

func (v *verifier) bad(format string, a ...any) {
	if len(v.errs) < maxReported {
		v.errs = append(v.errs, fmt.Errorf(format, a...))
	}
}

func (v *verifier) streams(s *Schedule) {
	want := map[tsn.StreamID]StreamPath{}
	for _, sp := range v.problem.Streams {
		want[sp.Stream.ID] = sp
	}
	for _, got := range s.Streams {
		sp, ok := want[got.Stream.ID]
		if !ok {
			v.bad("stream %s is not asked for, or is there twice", got.Stream.ID)
			continue
		}
		delete(want, got.Stream.ID)
		if got.Stream != sp.Stream {
			v.bad("stream %s is not as asked for", got.Stream.ID)
			continue
		}
		v.path(sp, got)
	}
	for _, sp := range v.problem.Streams {
		if _, missing := want[sp.Stream.ID]; missing {
			v.bad("stream %s is missing", sp.Stream.ID)
		}
	}
}

// path follows the frames of one interval, each as long as it may be.
func (v *verifier) path(sp StreamPath, got StreamSchedule) {
	id, margin := sp.Stream.ID, v.problem.SyncError+v.problem.Jitter
	if len(got.Slots) != len(sp.Path) {
		v.bad("stream %s has %d slots for %d hops", id, len(got.Slots), len(sp.Path))
		return
	}
	ready := make([]int64, sp.Stream.MaxIntervalFrames) // when each frame can leave
	early, short := int64(0), int64(0)
	var l Link
	for i, slot := range got.Slots {
		if slot.Hop != sp.Path[i] {
			v.bad("stream %s: slot %d is not on the path", id, i)
			return
		}
		l = v.problem.Links[v.problem.link(slot.Hop)]
		tx := l.Rate.TransmitTime(sp.Stream.WireOctets())
		if i == 0 {
			for f := range ready {
				ready[f] = slot.Start
			}
		}
		if slot.Start < ready[0] {
			v.bad("stream %s leaves hop %d at %d, but is there at %d", id, i, slot.Start, ready[0])
		}
		at := slot.Start
		for f := range ready {
			at = max(at, ready[f]) + tx
			ready[f] = at + l.PropagationDelay + l.ProcessingDelay
		}
		if at > slot.End {
			v.bad("stream %s on hop %d ends at %d, its slot at %d", id, i, at, slot.End)
		}
		if slot.Open > slot.Start-margin || slot.Close < slot.End+margin || slot.Close-slot.Open > sp.Stream.Interval {
			v.bad("stream %s on hop %d: gate %d..%d does not hold %d..%d and a margin of %d", id, i, slot.Open, slot.Close, slot.Start, slot.End, margin)
		}
		w := window{stream: id, period: sp.Stream.Interval, alone: slot.Open - early, open: slot.Open, close: slot.Close}
		v.windows[slot.Hop] = append(v.windows[slot.Hop], w)
		if v.problem.ShortFrames {
			short += tx - l.Rate.TransmitTime(84)
		}
		early = v.problem.SyncError + short
	}
	first, last := got.Slots[0], got.Slots[len(got.Slots)-1]
	if first.Open < 0 || first.Open >= sp.Stream.Interval || got.InjectionOffset != first.Open {
		v.bad("stream %s: injection offset %d, first gate %d, interval %d", id, got.InjectionOffset, first.Open, sp.Stream.Interval)
	}
	latency := last.Close + l.PropagationDelay - first.Open
	if got.WorstLatency != latency {
		v.bad("stream %s: worst latency is %d, not %d", id, latency, got.WorstLatency)
	}
	if latency > sp.Stream.MaxLatency {
		v.bad("stream %s takes %d ns, it is allowed %d", id, latency, sp.Stream.MaxLatency)
	}
}

func (v *verifier) ports(s *Schedule) {
	for i := range s.Ports {
		ps := &s.Ports[i]
		li := v.problem.link(ps.Hop)
		if li < 0 || v.lists[ps.Hop] != nil {
			v.bad("%s port %d is no link, or has two lists", ps.Hop.System, ps.Hop.Port)
			continue
		}
		l := v.problem.Links[li]
		limits := SoftwareLimits(l.Rate)
		limits.Classes, limits.MaxEntries = v.problem.ClassMap.Classes(), l.MaxEntries
		limits.MinInterval = max(limits.MinInterval, v.problem.MinInterval)
		if v.problem.HardwareGates {
			limits.MinInterval, limits.MaxInterval, limits.PerEntry = v.problem.MinInterval, 0, false
		}
		limits.MaxCycle = v.problem.MaxCycle
		if err := Validate(&ps.List, limits); err != nil {
			v.bad("%s port %d: %v", ps.Hop.System, ps.Hop.Port, err)
			continue
		}
		if ps.List.BaseTime != (tsn.PTPTime{}) || s.CycleTime%ps.List.CycleTime != 0 {
			v.bad("%s port %d: base %d and cycle %d do not fit the schedule's cycle of %d",
				ps.Hop.System, ps.Hop.Port, ps.List.BaseTime.NS, ps.List.CycleTime, s.CycleTime)
			continue
		}
		v.lists[ps.Hop] = &ps.List
	}
	for _, l := range v.problem.Links {
		if len(v.windows[l.From]) > 0 && v.lists[l.From] == nil {
			v.bad("%s port %d has streams but no usable list", l.From.System, l.From.Port)
		}
	}
}

// link writes out all windows of one cycle of the port and checks each pair
// of neighbours and each window's gates.
func (v *verifier) link(l Link, ws []window, list *tsn.GateControlList) {
	cycle := list.CycleTime
	guard := l.Rate.TransmitTime(v.problem.GuardOctets)
	var all []window
	for _, w := range ws {
		if cycle%w.period != 0 || int64(len(all))+cycle/w.period > maxOccurrences {
			v.bad("%s port %d: a cycle of %d ns does not hold whole intervals of stream %s, or too many", l.From.System, l.From.Port, cycle, w.stream)
			return
		}
		for n := range cycle / w.period {
			o := w
			o.open, o.close = w.open+n*w.period, w.close+n*w.period
			o.from, o.length = phase(w.alone+n*w.period, cycle), w.close-w.alone
			all = append(all, o)
		}
	}
	slices.SortStableFunc(all, func(a, b window) int { return cmp.Compare(a.from, b.from) })
	for i, w := range all {
		next := all[(i+1)%len(all)]
		begin := next.from
		if i+1 == len(all) {
			begin += cycle
		}
		if w.from+w.length > begin {
			v.bad("%s port %d: windows of streams %s and %s overlap at %d", l.From.System, l.From.Port, w.stream, next.stream, phase(begin, cycle))
		}
		if !always(list, w.open, w.close, func(g tsn.GateMask) bool { return g&scheduledOnly != 0 }) {
			v.bad("%s port %d: the gate is not open for stream %s throughout %d..%d", l.From.System, l.From.Port, w.stream, w.open, w.close)
		}
		if !always(list, w.open-guard, w.close, func(g tsn.GateMask) bool { return g&^scheduledOnly == 0 }) {
			v.bad("%s port %d: another class may send in %d..%d, before or in the window of stream %s",
				l.From.System, l.From.Port, w.open-guard, w.close, w.stream)
		}
	}
}

const scheduledOnly = tsn.GateMask(1) << tsn.ClassScheduled

// always reports whether the gates satisfy ok throughout from..to. A guard band
// may be longer than the cycle: then it covers all of it.
func always(list *tsn.GateControlList, from, to int64, ok func(tsn.GateMask) bool) bool {
	if to-from > list.CycleTime {
		from = to - list.CycleTime
	}
	length := to - from
	from = phase(from, list.CycleTime)
	for begin := int64(0); begin < from+length; {
		for _, e := range list.Entries {
			if begin < from+length && begin+e.Interval > from && !ok(e.Gates) {
				return false
			}
			begin += e.Interval
		}
	}
	return true
}

func phase(t, cycle int64) int64 { return (t%cycle + cycle) % cycle }
