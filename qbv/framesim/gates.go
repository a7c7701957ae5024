package framesim

import (
	"fmt"
	"sort"

	tsn "tsnswitch"
	"tsnswitch/qbv/schedule"
)

// opening is from inclusive to exclusive, in ns of the port's clock.
type opening struct{ from, to int64 }

// always is longer than any simulation.
var always = opening{-1 << 61, 1 << 61}

// openings are the times at which something is open in each cycle, ascending;
// the last may end in the next.
type openings struct {
	cycle int64
	list  []opening
}

// gateList is a gate control list, by queue.
type gateList struct {
	queue [tsn.MaxTrafficClasses]openings
}

func newGateList(l *schedule.Link, list *tsn.GateControlList) (*gateList, error) {
	g := &gateList{}
	var sum int64
	for _, e := range list.Entries {
		if e.Interval < 1 || e.Interval > schedule.MaxTime {
			return nil, fmt.Errorf("a gate entry of %d ns", e.Interval)
		}
		sum += e.Interval
	}
	if sum == 0 || sum != list.CycleTime {
		return nil, fmt.Errorf("the gate entries last %d ns, the cycle %d ns", sum, list.CycleTime)
	}
	for q := range g.queue {
		g.queue[q] = collect(list, 1<<q, l.Software)
	}
	return g, nil
}

// collect finds when one of the gates of mask is open; with entire, each entry by itself.
func collect(list *tsn.GateControlList, mask tsn.GateMask, entire bool) openings {
	o := openings{cycle: list.CycleTime}
	var at int64
	for _, e := range list.Entries {
		if e.Gates&mask != 0 {
			o.add(opening{at, at + e.Interval}, entire)
		}
		at += e.Interval
	}
	if n := len(o.list); !entire && n > 0 && o.list[0].from == 0 && o.list[n-1].to == o.cycle {
		if n == 1 {
			o.list[0] = always
		} else {
			o.list[n-1].to += o.list[0].to
			o.list = o.list[1:]
		}
	}
	return o
}

func (o *openings) add(next opening, entire bool) {
	if n := len(o.list); n > 0 && !entire && o.list[n-1].to == next.from {
		o.list[n-1].to = next.to
		return
	}
	o.list = append(o.list, next)
}

// at returns the opening that t is in, or the next.
func (o *openings) at(t int64) (opening, bool) {
	n := len(o.list)
	switch {
	case n == 0:
		return opening{}, false
	case o.list[0] == always:
		return always, true
	}
	phase := (t%o.cycle + o.cycle) % o.cycle
	base := t - phase
	if last := o.list[n-1]; last.to-o.cycle > phase {
		return opening{last.from + base - o.cycle, last.to + base - o.cycle}, true
	}
	i := sort.Search(n, func(i int) bool { return o.list[i].to > phase })
	if i == n {
		i, base = 0, base+o.cycle
	}
	return opening{o.list[i].from + base, o.list[i].to + base}, true
}

// before returns the last ns before t in which it is open.
func (o *openings) before(t int64) (int64, bool) {
	n := len(o.list)
	if n == 0 {
		return 0, false
	}
	if now, _ := o.at(t - 1); now.from <= t-1 {
		return t - 1, true
	}
	phase := ((t-1)%o.cycle + o.cycle) % o.cycle
	base := t - 1 - phase
	i := sort.Search(n, func(i int) bool { return o.list[i].from > phase })
	if i == 0 {
		i, base = n, base-o.cycle
	}
	return base + o.list[i-1].to - 1, true
}

// fits returns the first time from t on at which a frame of d ns can begin and
// end before the gate closes.
func (o *openings) fits(t, d int64) (int64, bool) {
	for range len(o.list) + 1 {
		now, ok := o.at(t)
		if !ok {
			break
		}
		if start := max(t, now.from); start+d <= now.to {
			return start, true
		}
		t = now.to
	}
	return 0, false
}
