package synth

import "slices"

// never is a wait without end, and far beyond any time of a problem.
const never = int64(1) << 61

// ring is what is busy modulo mod: spans ascending, apart, within 0..mod.
type ring struct {
	mod  int64
	busy []span
}

type span struct{ from, to int64 }

// after is the first span that ends after x.
func (r *ring) after(x int64) int {
	lo, hi := 0, len(r.busy)
	for lo < hi {
		if mid := int(uint(lo+hi) >> 1); r.busy[mid].to > x {
			hi = mid
		} else {
			lo = mid + 1
		}
	}
	return lo
}

// wait returns how much later than at there are length ns free, and how far
// they could be moved further until they meet something; never, 0 if not at all.
func (r *ring) wait(at, length int64, units *int64) (later, room int64) {
	if length > r.mod {
		return never, 0
	}
	if len(r.busy) == 0 {
		return 0, never
	}
	x := mod(at, r.mod)
	i, turn := r.after(x), int64(0)
	for range len(r.busy) + 2 {
		*units++
		if i == len(r.busy) {
			i, turn = 0, turn+r.mod
		}
		b := r.busy[i]
		if room = turn + b.from - (x + later + length); room >= 0 {
			return later, room
		}
		later = turn + b.to - x
		i++
	}
	return never, 0
}

// before returns how long it is free before at, which is free or a span's end.
func (r *ring) before(at int64) int64 {
	n := len(r.busy)
	if n == 0 {
		return never
	}
	x := mod(at, r.mod)
	i := r.after(x) - 1
	if i < 0 {
		i, x = n-1, x+r.mod
	}
	return max(x-r.busy[i].to, 0)
}

func (r *ring) add(at, length int64) {
	if length >= r.mod {
		r.busy = append(r.busy[:0], span{0, r.mod})
		return
	}
	x := mod(at, r.mod)
	if end := x + length; end > r.mod {
		r.insert(span{x, r.mod})
		r.insert(span{0, end - r.mod})
	} else {
		r.insert(span{x, end})
	}
}

// insert joins s with the spans it overlaps or touches.
func (r *ring) insert(s span) {
	i := r.after(s.from - 1)
	j := i
	for j < len(r.busy) && r.busy[j].from <= s.to {
		s.from, s.to = min(s.from, r.busy[j].from), max(s.to, r.busy[j].to)
		j++
	}
	if i == j {
		if r.busy == nil {
			r.busy = make([]span, 0, 8) // small problems are most, and mostly allocation
		}
		r.busy = slices.Insert(r.busy, i, s)
		return
	}
	r.busy[i] = s
	r.busy = slices.Delete(r.busy, i+1, j)
}

// item is a time that a stream is busy in each of its periods.
type item struct {
	stream, class int32
	at, length    int64
}

// timeline is the times that are taken on a link or in a queue. For streams of
// each class that ask it keeps what is busy for them: an item of another period
// meets them modulo the greatest common divisor of both, so there is a ring
// for each divisor. That makes asking as cheap as the busy time is plain,
// however many items there are.
type timeline struct {
	items []item
	seen  []sight
}

type sight struct {
	class int32
	rings []ring
}

func (t *timeline) add(m *model, it item) {
	if t.items == nil {
		t.items = make([]item, 0, 8)
	}
	t.items = append(t.items, it)
	if len(m.periods) > manyPeriods {
		t.seen = nil
		return
	}
	for i := range t.seen {
		t.seen[i].add(m, it)
	}
}

func (s *sight) add(m *model, it item) {
	g := m.gcd(s.class, it.class)
	for i := range s.rings {
		if s.rings[i].mod == g {
			s.rings[i].add(it.at, it.length)
			return
		}
	}
	s.rings = append(s.rings, ring{mod: g})
	s.rings[len(s.rings)-1].add(it.at, it.length)
}

// rings is what is busy for streams of a class.
func (t *timeline) rings(m *model, class int32, units *int64) []ring {
	for i := range t.seen {
		if t.seen[i].class == class {
			return t.seen[i].rings
		}
	}
	s := sight{class: class, rings: make([]ring, 0, 4)}
	for _, it := range t.items {
		s.add(m, it)
	}
	*units += int64(len(t.items))
	if t.seen == nil {
		t.seen = make([]sight, 0, 4)
	}
	t.seen = append(t.seen, s)
	return s.rings
}

// wait is ring.wait for all that is taken.
func (t *timeline) wait(m *model, class int32, at, length int64, units *int64) (later, room int64) {
	if len(t.items) == 0 {
		if length > m.periods[class] {
			return never, 0
		}
		return 0, never
	}
	rings := t.rings(m, class, units)
	period := m.periods[class]
	for settled, i := 0, 0; settled < len(rings); i = (i + 1) % len(rings) {
		d, r := rings[i].wait(at+later, length, units)
		switch later += d; {
		case later > period:
			return never, 0
		case d > 0:
			settled, room = 1, r
		default:
			settled++
			room = min(room, r)
		}
		if settled == 1 {
			room = r
		}
	}
	return later, room
}

// before returns how long it is free before at.
func (t *timeline) before(m *model, class int32, at int64, units *int64) int64 {
	free := never
	for _, r := range t.rings(m, class, units) {
		free = min(free, r.before(at))
	}
	return free
}

func (t *timeline) remove(stream int32) {
	t.items = slices.DeleteFunc(t.items, func(it item) bool { return it.stream == stream })
	t.seen = nil
}

// meets calls f for the stream of each item that overlaps at..at+length.
func (t *timeline) meets(m *model, class int32, at, length int64, units *int64, f func(stream int32)) {
	for _, it := range t.items {
		*units++
		g := m.gcd(class, it.class)
		if x := mod(at-it.at, g); x < it.length || x+length > g {
			f(it.stream)
		}
	}
}
