package cqf

import (
	"cmp"
	"fmt"
	"slices"

	tsn "tsnswitch"
	"tsnswitch/qbv/gatelist"
	"tsnswitch/qbv/schedule"
)

// attempt admits streams with one cycle time.
type attempt struct {
	*solver
	cycle  int64
	links  map[schedule.LinkID]*load
	placed []int
	at     map[int]*seat
	why    map[int]schedule.Unplaced
}

// load is what a link sends in each cycle of the hyperperiod.
type load struct {
	room
	busy    []int64 // ns, by cycle
	streams []int
}

// seat is where a stream goes.
type seat struct {
	route []schedule.LinkID
	depth []int64 // of each link, 0: the talker's
	start int64
}

func (s *solver) attempt(t int64) *attempt {
	a := &attempt{solver: s, cycle: t, links: map[schedule.LinkID]*load{}, at: map[int]*seat{}, why: map[int]schedule.Unplaced{}}
	for _, i := range s.todo {
		if seat, why := a.seat(i); seat != nil {
			a.admit(i, seat)
		} else {
			a.why[i] = why
		}
	}
	return a
}

// seat finds the route and start that leave the fullest link emptiest.
func (a *attempt) seat(i int) (*seat, schedule.Unplaced) {
	st := &a.p.Streams[i]
	why := schedule.Unplaced{Stream: i, Link: -1, Reason: "has no route to its listeners"}
	var best *seat
	least := int64(full + 1)
	for _, route := range a.ways[i] {
		s := &seat{route: route, depth: depths(a.p, st, route)}
		if reason := a.late(st, s); reason != "" {
			why.Reason = reason
			continue
		}
		load, where := a.least(st, s)
		switch {
		case load < least:
			least, best = load, s
		case best == nil:
			why = a.crowded(i, where)
		}
	}
	return best, why
}

func (a *attempt) admit(i int, s *seat) {
	a.placed = append(a.placed, i)
	a.at[i] = s
	st := &a.p.Streams[i]
	every := st.Period / a.cycle
	for h, id := range s.route {
		l := a.load(id)
		l.streams = append(l.streams, i)
		for n := (s.start + s.depth[h]) % every; n < int64(len(l.busy)); n += every {
			l.busy[n] += burst(&a.p.Links[id], st)
		}
	}
}

// burst is how long the frames of one period take on a link.
func burst(l *schedule.Link, s *schedule.Stream) int64 {
	return int64(max(s.Frames, 1)) * l.Rate.TransmitTime(s.Size)
}

// depths says how many links there are before each.
func depths(p *schedule.Problem, s *schedule.Stream, route []schedule.LinkID) []int64 {
	out := make([]int64, len(route))
	for i, id := range route {
		if from := p.Links[id].From; from != s.Talker {
			before := slices.IndexFunc(route[:i], func(l schedule.LinkID) bool { return p.Links[l].To == from })
			out[i] = out[before] + 1
		}
	}
	return out
}

func (a *attempt) load(id schedule.LinkID) *load {
	l := a.links[id]
	if l == nil {
		l = &load{room: a.room(id), busy: make([]int64, a.hyper/a.cycle)}
		a.links[id] = l
	}
	return l
}

// full is the load of a link whose window is as long as it can be.
const full = 1 << 20

// least sets the start of s at which the fullest link is emptiest, and returns
// its load, and the link at which other starts fail if all do.
func (a *attempt) least(st *schedule.Stream, s *seat) (int64, schedule.LinkID) {
	every := st.Period / a.cycle
	peaks := make([]int64, every) // by start: load of the fullest link
	at, worst := s.route[0], int64(0)
	for h, id := range s.route {
		l, add := a.load(id), burst(&a.p.Links[id], st)
		a.work += int64(len(l.busy))
		lowest := int64(2 * full)
		for start := range every {
			busy := add
			for n := (start + s.depth[h]) % every; n < int64(len(l.busy)); n += every {
				busy = max(busy, l.busy[n]+add)
			}
			share := int64(2 * full)
			if busy <= l.length-2*a.margin() {
				share = busy * full / (l.length - 2*a.margin())
			}
			peaks[start] = max(peaks[start], share)
			lowest = min(lowest, share)
		}
		if lowest > worst {
			worst, at = lowest, id
		}
	}
	best := int64(2 * full)
	first := a.load(s.route[0])
	for start := range every {
		if peaks[start] < best && released(st, start*a.cycle+first.from, start*a.cycle+first.from+first.length) {
			best, s.start = peaks[start], start
		}
	}
	return best, at
}

func (a *attempt) margin() int64 { return a.p.SyncError + a.p.Jitter }

// released reports whether a talker's window is within the release window.
func released(s *schedule.Stream, from, to int64) bool {
	latest := s.Release[1]
	if latest == 0 {
		latest = s.Period - 1
	}
	return from >= s.Release[0] && to-1 <= latest
}

// late says why s does not meet the deadline or jitter, "" if it does.
func (a *attempt) late(st *schedule.Stream, s *seat) string {
	worst, best := a.bounds(st, s)
	switch {
	case worst > st.Deadline:
		return fmt.Sprintf("takes up to %d ns in cycles of %d ns, its deadline is %d", worst, a.cycle, st.Deadline)
	case st.Jitter > 0 && worst-best > st.Jitter:
		return fmt.Sprintf("varies by %d ns in cycles of %d ns, it may by %d", worst-best, a.cycle, st.Jitter)
	}
	return ""
}

// bounds are of the latency over all listeners, with windows as long as now.
func (a *attempt) bounds(st *schedule.Stream, s *seat) (worst, best int64) {
	first := a.load(s.route[0])
	best = schedule.MaxTime
	for h, id := range s.route {
		l, link := a.load(id), &a.p.Links[id]
		if !slices.Contains(st.Listeners, link.To) {
			continue
		}
		base := s.depth[h]*a.cycle + link.PropagationDelay
		worst = max(worst, base+l.from+l.length+a.p.SyncError-first.from)
		own := burst(link, st) + burst(&a.p.Links[s.route[0]], st)
		if h == 0 {
			own = burst(link, st) + first.length
		}
		best = min(best, base+l.from-a.p.SyncError-first.from-first.length+own)
	}
	return worst, max(best, 0)
}

// crowded says that link has no room for stream i.
func (a *attempt) crowded(i int, link schedule.LinkID) schedule.Unplaced {
	l, need := a.load(link), burst(&a.p.Links[link], &a.p.Streams[i])
	out := schedule.Unplaced{Stream: i, Link: link}
	out.Blocking = slices.Clone(l.streams[:min(len(l.streams), maxBlocked)])
	slices.Sort(out.Blocking)
	switch {
	case l.fault != "":
		out.Reason = fmt.Sprintf("%s: %s", a.p.LinkName(link), l.fault)
	default:
		out.Reason = fmt.Sprintf("%s has no cycle of %d ns in which %d ns more fit its window of %d ns at most",
			a.p.LinkName(link), a.cycle, need, l.length)
	}
	return out
}

// cyclic is the attempt as part of a solution. Windows are as long as their
// fullest cycle needs.
func (a *attempt) cyclic() *schedule.Cyclic {
	out := &schedule.Cyclic{CycleTime: a.cycle}
	for id := range a.p.Links {
		l := a.links[schedule.LinkID(id)]
		if l == nil || len(l.streams) == 0 {
			continue
		}
		l.length = slices.Max(l.busy) + 2*a.margin()
		out.Windows = append(out.Windows, schedule.CyclicWindow{Link: schedule.LinkID(id), Queues: l.pair, Offset: l.from, Length: l.length})
	}
	for _, i := range a.placed {
		s := a.at[i]
		worst, best := a.bounds(&a.p.Streams[i], s)
		out.Streams = append(out.Streams, schedule.CyclicStream{Stream: i, Route: s.route, Start: s.start, Worst: worst, Best: best})
	}
	slices.SortFunc(out.Streams, func(a, b schedule.CyclicStream) int { return cmp.Compare(a.Stream, b.Stream) })
	return out
}

// gates tries whether the ports can execute the windows.
func (a *attempt) gates() ([]gatelist.Overflow, error) {
	_, over, err := gatelist.BuildCyclic(a.p, a.o.Placed, a.cyclic())
	return over, err
}

// pairOf picks the two highest scheduled queues that no placed stream uses.
func pairOf(l *schedule.Link, busy []gatelist.Use) (pair [2]tsn.TrafficClass, ok bool) {
	free := l.Scheduled
	for i := range busy {
		free &^= 1 << busy[i].Queue
	}
	n := 0
	for q := l.Queues - 1; q >= 0 && n < 2; q-- {
		if free.Has(tsn.TrafficClass(q)) {
			pair[n] = tsn.TrafficClass(q)
			n++
		}
	}
	return pair, n == 2
}
