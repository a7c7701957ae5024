package qbv

import (
	"fmt"
	"slices"
	"strings"

	"tsnswitch"
)

// Labels give systems and streams their names in pictures; what has none is
// shown by its identity, a stream by its own Name first.
type Labels struct {
	Systems map[tsn.MAC]string
	Streams map[tsn.StreamID]string
}

func (l Labels) hop(h tsn.Hop) string {
	name := h.System.String()
	if s := l.Systems[h.System]; s != "" {
		name = s
	}
	return fmt.Sprintf("%s:%d", name, h.Port)
}

func (l Labels) stream(s tsn.Stream) string {
	if n := l.Streams[s.ID]; n != "" {
		return n
	}
	if s.Name != "" {
		return s.Name
	}
	return s.ID.String()
}

// The text picture: a label, a bar of ganttColumns, at most 80 columns in all.
const (
	ganttColumns = 58
	ganttLabel   = 20
	ganttLetters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
)

// Gantt draws one cycle of the ports in only, or of all, as text of at most 80
// columns: one row per port and class, and a list of the streams. In a row of
// the scheduled class a letter is the stream that has the window, in the others
// # is open and + is open for a part of that column; . is closed everywhere.
func Gantt(s *Chart, labels Labels, only ...tsn.Hop) string {
	var b strings.Builder
	fmt.Fprintf(&b, "one cycle of %s, a column is %s; # open, + partly, . closed\n", duration(s.CycleTime), duration(ceil(s.CycleTime, ganttColumns)))
	shown := map[tsn.StreamID]bool{}
	for _, p := range s.Ports {
		if len(only) > 0 && !slices.Contains(only, p.Hop) {
			continue
		}
		b.WriteString("\n")
		ganttPort(&b, s, p, labels, shown)
	}
	fmt.Fprintf(&b, "\n%-2s %-24s %9s %9s %9s %9s\n", "", "stream", "every", "offset", "latency", "allowed")
	for i, st := range s.Streams {
		if shown[st.Stream.ID] {
			fmt.Fprintf(&b, "%-2c %-24s %9s %9s %9s %9s\n", letter(i), clip(labels.stream(st.Stream), 24),
				duration(st.Stream.Interval), duration(st.InjectionOffset), duration(st.WorstLatency), duration(st.Stream.MaxLatency))
		}
	}
	return b.String()
}

func letter(i int) byte { return ganttLetters[i%len(ganttLetters)] }

func ganttPort(b *strings.Builder, s *Chart, p ChartPort, labels Labels, shown map[tsn.StreamID]bool) {
	label := clip(labels.hop(p.Hop), ganttLabel-3)
	for c := tsn.ClassControl; ; c-- {
		row := make([]byte, ganttColumns)
		for i := range row {
			from, to := columnTimes(s.CycleTime, i)
			row[i] = gateChar(&p.List, c, from, to)
		}
		if c == tsn.ClassScheduled {
			ganttStreams(row, s, p.Hop, shown)
		}
		fmt.Fprintf(b, "%-*s %d %s\n", ganttLabel-3, label, c, row)
		label = ""
		if c == tsn.ClassBestEffort {
			return
		}
	}
}

func columnTimes(cycle int64, i int) (from, to int64) {
	from = cycle * int64(i) / ganttColumns
	return from, max(cycle*int64(i+1)/ganttColumns, from+1)
}

// gateChar looks at the gate of class c throughout from..to.
func gateChar(l *tsn.GateControlList, c tsn.TrafficClass, from, to int64) byte {
	var open, total int64
	for at := from; at < to; {
		e, rest := entryAt(l, at)
		rest = min(rest, to-at)
		if e.Gates.Has(c) {
			open += rest
		}
		total += rest
		at += rest
	}
	switch open {
	case 0:
		return '.'
	case total:
		return '#'
	}
	return '+'
}

// entryAt returns the entry at time t and how long it still lasts.
func entryAt(l *tsn.GateControlList, t int64) (tsn.GateEntry, int64) {
	t = mod(t, l.CycleTime)
	for _, e := range l.Entries {
		if t < e.Interval {
			return e, e.Interval - t
		}
		t -= e.Interval
	}
	return tsn.GateEntry{}, 1 // a list that does not fill its cycle: closed
}

// occurrences calls f with each window of a slot in one cycle of the schedule,
// bounded so that a picture of a long cycle stays a picture.
func occurrences(s *Chart, interval int64, from, to int64, f func(from, to int64)) {
	const most = 4096
	at := mod(from, interval)
	for n := 0; at < s.CycleTime && n < most; n++ {
		f(at, at+to-from)
		at += interval
	}
}

// ganttStreams writes each stream's letter over its windows.
func ganttStreams(row []byte, s *Chart, hop tsn.Hop, shown map[tsn.StreamID]bool) {
	for i, st := range s.Streams {
		for _, slot := range st.Slots {
			if slot.Hop != hop {
				continue
			}
			shown[st.Stream.ID] = true
			occurrences(s, st.Stream.Interval, slot.Open, slot.Close, func(from, to int64) {
				for c := from * ganttColumns / s.CycleTime; c <= (to-1)*ganttColumns/s.CycleTime; c++ {
					row[c%ganttColumns] = letter(i)
				}
			})
		}
	}
}

// duration prints ns in the largest unit that leaves at most three decimals.
func duration(ns int64) string {
	for _, u := range []struct {
		size int64
		name string
	}{{1_000_000_000, "s"}, {1_000_000, "ms"}, {1000, "us"}} {
		if ns >= u.size {
			s := fmt.Sprintf("%.3f", float64(ns)/float64(u.size))
			return strings.TrimSuffix(strings.TrimRight(s, "0"), ".") + u.name
		}
	}
	return fmt.Sprintf("%dns", ns)
}

func ceil(a, b int64) int64 { return (a + b - 1) / b }

func clip(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n-1]) + "~"
	}
	return s
}
