package gatelist

import (
	"cmp"
	"fmt"
	"slices"

	tsn "tsnswitch"
	"tsnswitch/qbv/schedule"
)

// The most windows of one link, and the farthest start, that are looked at.
const (
	maxWindows = 1 << 16
	maxStart   = 1 << 50
)

// Use is a window that a stream, or one instance of it, has on a link again
// every Period. Its first is where the placement says, before or beyond the period too.
type Use struct {
	Open, Close int64
	Begin       int64 // when the first frame may be in the queue; at most Open
	Period      int64
	Stream      int32 // index; -1: cyclic queuing
	Queue       tsn.TrafficClass
}

// window is one occurrence of a use in a cycle: open is in 0..cycle-1, close
// at most a cycle later, begin at most a cycle before.
type window struct {
	open, close, begin int64
	stream             int32
	queue              tsn.TrafficClass
}

// hop is what is known of one link of a route, whenever it is used.
type hop struct {
	link  *schedule.Link
	from  int   // index in the route of the link before; -1: the talker's
	tx    int64 // of the longest frame
	pace  int64 // between frames: the longest tx on the way
	early int64 // a frame may be in the queue so long before its planned time
}

// hops walks the route of s from the talker on.
func hops(p *schedule.Problem, s *schedule.Stream, route []schedule.LinkID, out []hop) ([]hop, error) {
	for i, id := range route {
		if id < 0 || int(id) >= len(p.Links) {
			return nil, fmt.Errorf("link %d does not exist", id)
		}
		l := &p.Links[id]
		h := hop{link: l, from: -1, tx: l.Rate.TransmitTime(s.Size)}
		h.pace = h.tx
		if l.From != s.Talker {
			h.from = slices.IndexFunc(route[:i], func(b schedule.LinkID) bool { return p.Links[b].To == l.From })
			if h.from < 0 {
				return nil, fmt.Errorf("%s begins where the stream has not come yet", p.LinkName(id))
			}
			before := &out[h.from]
			h.pace = max(h.tx, before.pace)
			h.early = before.early + before.tx - before.link.Rate.TransmitTime(shortest(s))
			if before.from < 0 {
				h.early += 2*p.SyncError + p.Jitter
			}
		}
		out = append(out, h)
	}
	return out, nil
}

func shortest(s *schedule.Stream) int {
	if s.MinSize == 0 {
		return s.Size
	}
	return s.MinSize
}

// Uses lists the windows on each link of p, which must be valid; c may be nil.
func Uses(p *schedule.Problem, placed []schedule.Placement, c *schedule.Cyclic) ([][]Use, error) {
	out := make([][]Use, len(p.Links))
	add := func(l schedule.LinkID, u Use) { out[l] = append(out[l], u) }
	scratch := make([]hop, 0, 64)
	for i := range placed {
		if err := uses(p, &placed[i], scratch, add); err != nil {
			return nil, err
		}
	}
	return out, cyclicUses(p, c, add)
}

// usesOf lists the windows on link l.
func usesOf(p *schedule.Problem, l schedule.LinkID, placed []schedule.Placement) (out []Use, err error) {
	add := func(on schedule.LinkID, u Use) {
		if on == l {
			out = append(out, u)
		}
	}
	for i := range placed {
		if slices.Contains(placed[i].Route, l) {
			if err := uses(p, &placed[i], nil, add); err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}

// uses calls add for each link that pl uses, and each of its instances.
func uses(p *schedule.Problem, pl *schedule.Placement, scratch []hop, add func(schedule.LinkID, Use)) error {
	if pl.Stream < 0 || pl.Stream >= len(p.Streams) {
		return fmt.Errorf("placement of stream %d: there is no such stream", pl.Stream)
	}
	s := &p.Streams[pl.Stream]
	way, err := hops(p, s, pl.Route, scratch)
	if err != nil {
		return fmt.Errorf("stream %d: %w", s.ID, err)
	}
	if pl.Instances == nil {
		return occurrence(p, pl, way, schedule.Instance{Starts: pl.Starts, Queues: pl.Queues}, s.Period, add)
	}
	for _, in := range pl.Instances {
		if err := occurrence(p, pl, way, in, s.Period*int64(len(pl.Instances)), add); err != nil {
			return err
		}
	}
	return nil
}

func occurrence(p *schedule.Problem, pl *schedule.Placement, way []hop, in schedule.Instance, period int64, add func(schedule.LinkID, Use)) error {
	s := &p.Streams[pl.Stream]
	if len(in.Starts) != len(way) || len(in.Queues) != len(way) {
		return fmt.Errorf("stream %d: %d starts and %d queues for %d links", s.ID, len(in.Starts), len(in.Queues), len(way))
	}
	margin := p.SyncError + p.Jitter
	for i, h := range way {
		start, q := in.Starts[i], in.Queues[i]
		switch {
		case start < 0 || start > maxStart:
			return fmt.Errorf("stream %d on %s: a start at %d ns is out of range", s.ID, p.LinkName(pl.Route[i]), start)
		case q >= tsn.MaxTrafficClasses || !h.link.Scheduled.Has(q):
			return fmt.Errorf("stream %d on %s: queue %d is not a scheduled one", s.ID, p.LinkName(pl.Route[i]), q)
		}
		u := Use{Period: period, Stream: int32(pl.Stream), Queue: q}
		u.Open = start - margin
		u.Close = start + int64(max(s.Frames, 1)-1)*h.pace + h.tx + margin
		u.Begin = u.Open
		if h.from >= 0 {
			b := &way[h.from]
			u.Begin = min(u.Open, in.Starts[h.from]+b.tx+b.link.PropagationDelay+b.link.ProcessingDelay-h.early)
		}
		add(pl.Route[i], u)
	}
	return nil
}

// cyclicUses calls add for both queues of each window of c.
func cyclicUses(p *schedule.Problem, c *schedule.Cyclic, add func(schedule.LinkID, Use)) error {
	if c == nil {
		return nil
	}
	if c.CycleTime < 1 || c.CycleTime > schedule.MaxTime {
		return fmt.Errorf("cyclic queuing: a cycle of %d ns is out of range", c.CycleTime)
	}
	for _, w := range c.Windows {
		switch {
		case w.Link < 0 || int(w.Link) >= len(p.Links):
			return fmt.Errorf("cyclic queuing: link %d does not exist", w.Link)
		case w.Offset < 0 || w.Length < 1 || w.Length > c.CycleTime || w.Offset > c.CycleTime-w.Length:
			return fmt.Errorf("cyclic queuing on %s: %d ns from %d on are not within a cycle of %d", p.LinkName(w.Link), w.Length, w.Offset, c.CycleTime)
		}
		for n, q := range w.Queues {
			if q >= tsn.MaxTrafficClasses || !p.Links[w.Link].Scheduled.Has(q) {
				return fmt.Errorf("cyclic queuing on %s: queue %d is not a scheduled one", p.LinkName(w.Link), q)
			}
			from := int64(n) * c.CycleTime
			open := from + w.Offset
			// What comes in the cycle before waits for it.
			add(w.Link, Use{Open: open, Close: open + w.Length, Begin: from - c.CycleTime, Period: 2 * c.CycleTime, Stream: -1, Queue: q})
		}
	}
	return nil
}

// cycleOf is the least common multiple of the periods, 0 if it is over limit.
func cycleOf(us []Use, limit int64) int64 {
	cycle := int64(1)
	for i := range us {
		if cycle%us[i].Period == 0 {
			continue
		}
		step := us[i].Period / gcd(cycle, us[i].Period)
		if cycle > limit/step {
			return 0
		}
		cycle *= step
	}
	return cycle
}

func gcd(a, b int64) int64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// windows writes the uses of a link out over its cycle, ascending.
func windows(us []Use, cycle int64) []window {
	n := int64(0)
	for i := range us {
		n += cycle / us[i].Period
	}
	if n > maxWindows {
		return nil
	}
	out := make([]window, 0, n)
	for i := range us {
		u := &us[i]
		w := window{stream: u.Stream, queue: u.Queue}
		for at := mod(u.Open, u.Period); at < cycle; at += u.Period {
			w.open, w.close = at, at+u.Close-u.Open
			w.begin = at - min(u.Open-u.Begin, cycle)
			out = append(out, w)
		}
	}
	slices.SortFunc(out, func(a, b window) int {
		if c := cmp.Compare(a.open, b.open); c != 0 {
			return c
		}
		return cmp.Compare(a.stream, b.stream)
	})
	return out
}

// overlapping returns the first two windows that overlap, in a circle.
func overlapping(ws []window, cycle int64) (a, b *window) {
	for i := range ws {
		next := &ws[(i+1)%len(ws)]
		begin := next.open
		if i+1 == len(ws) {
			begin += cycle
		}
		if ws[i].close > begin {
			return &ws[i], next
		}
	}
	return nil, nil
}

// mod is a modulo m, never negative.
func mod(a, m int64) int64 {
	if a %= m; a < 0 {
		a += m
	}
	return a
}
