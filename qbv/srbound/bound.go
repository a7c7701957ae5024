package srbound

import (
	"errors"
	"fmt"

	tsn "tsnswitch"
)

// Flow is an arrival curve: never more than Burst octets on the medium and
// Rate for as long as it lasts.
type Flow struct {
	Burst int
	Rate  tsn.Rate
}

// Class is a shaped class of a port.
type Class struct {
	Class     tsn.TrafficClass
	IdleSlope tsn.Rate // while the gate is open: operIdleSlope
	MaxFrame  int      // octets on the medium
}

// Port is an egress port.
type Port struct {
	Rate tsn.Rate
	// Gates are shut and open as the list says; nil: all open.
	Gates *tsn.GateControlList
	// PerEntry says that a frame has to end within one gate entry (software taprio).
	PerEntry bool
	// MaxOther is the longest frame of all other classes.
	MaxOther int
	// Control is traffic that goes before the shaped classes, without a shaper.
	Control Flow
}

// Bound is what can be counted on.
type Bound struct {
	Latency int64 // ns, from the queue to the last octet
	Out     Flow  // of what leaves the port
}

// Errors of Latency.
var (
	ErrOverload = errors.New("more comes than the gates and the idle slope let through")
	ErrShort    = errors.New("no opening of the gate is long enough for a frame")
)

// The largest values that are calculated with.
const (
	maxCycle  = 1 << 32
	maxRate   = 1 << 28
	maxOctets = 1 << 20
	maxWait   = 1 << 29 // ns; what waits longer is told to wait for ever
)

// Latency bounds the latency of the frames of classes[n] that in describes, all of
// that class together. classes are all shaped ones of the port, the highest first.
func Latency(p Port, classes []Class, n int, in Flow) (Bound, error) {
	if err := check(p, classes, n, in); err != nil {
		return Bound{}, err
	}
	var above []rival
	for i := range n {
		s, err := newService(p, classes, i, above)
		if err != nil {
			return Bound{}, fmt.Errorf("class %d: %w", classes[i].Class, err)
		}
		r, err := s.rival()
		if err != nil {
			return Bound{}, fmt.Errorf("class %d: %w", classes[i].Class, err)
		}
		above = append(above, r)
	}
	s, err := newService(p, classes, n, above)
	if err != nil {
		return Bound{}, fmt.Errorf("class %d: %w", classes[n].Class, err)
	}
	latency, err := s.latency(in)
	if err != nil {
		return Bound{}, fmt.Errorf("class %d: %w", classes[n].Class, err)
	}
	grown := ceilDiv(int64(in.Rate)*latency, octet)
	return Bound{Latency: latency, Out: Flow{Burst: in.Burst + int(grown), Rate: in.Rate}}, nil
}

func check(p Port, classes []Class, n int, in Flow) error {
	bad := p.Rate < 1 || p.Rate > maxRate || p.MaxOther < 0 || p.MaxOther > maxOctets || !p.Control.within() || !in.within()
	for _, c := range classes {
		if c.IdleSlope > p.Rate {
			return fmt.Errorf("class %d: %w: a slope of %s on a port of %s", c.Class, ErrOverload, c.IdleSlope, p.Rate)
		}
		bad = bad || c.IdleSlope < 1 || c.MaxFrame < 1 || c.MaxFrame > maxOctets || c.Class >= tsn.MaxTrafficClasses
	}
	if bad || n < 0 || n >= len(classes) {
		return errors.New("a rate, slope or frame size is out of range")
	}
	if p.Gates == nil {
		return nil
	}
	sum := int64(0)
	for _, e := range p.Gates.Entries {
		if e.Interval < 1 || e.Interval > maxCycle {
			return fmt.Errorf("a gate entry of %d ns is out of range", e.Interval)
		}
		sum += e.Interval
	}
	if sum != p.Gates.CycleTime || sum > maxCycle {
		return fmt.Errorf("gate entries of %d ns make no cycle of %d", sum, p.Gates.CycleTime)
	}
	return nil
}

func (f Flow) within() bool { return f.Burst >= 0 && f.Burst <= maxOctets && f.Rate <= maxRate }

// octet is one octet in the unit of credit, kbit/s times ns.
const octet = 8_000_000

// rival is a shaped class above: what it sends in a time t is at most its idle
// slope times t, and its credit.
type rival struct {
	class  tsn.TrafficClass
	slope  int64
	credit int64 // from the highest it can have to the lowest
}

// service is what a class gets at least: slope times (usable time - wait).
type service struct {
	class  Class
	rate   int64
	left   int64 // rate less what goes before
	wait   int64
	pieces []piece
	cycle  int64
	open   int64 // of a cycle the gate is open
	usable int64 // of a cycle
}

// piece is a time of the cycle that is usable.
type piece struct{ from, to int64 }

// newService follows the package comment for classes[n].
func newService(p Port, classes []Class, n int, above []rival) (*service, error) {
	s := &service{class: classes[n], rate: int64(p.Rate)}
	before, debt := int64(p.Control.Rate), int64(p.Control.Burst)*octet
	blocking := p.MaxOther
	for _, a := range above {
		before, debt = before+a.slope, debt+a.credit
	}
	for _, c := range classes[n+1:] {
		blocking = max(blocking, c.MaxFrame)
	}
	if s.left = s.rate - before; s.left <= 0 || int64(s.class.IdleSlope) > s.left {
		return nil, fmt.Errorf("%w: slope %s, %d kbit/s are left", ErrOverload, s.class.IdleSlope, max(s.left, 0))
	}
	if s.wait = ceilDiv(debt+int64(blocking)*octet, s.left); s.wait > maxWait {
		return nil, fmt.Errorf("%w: %d kbit/s are left", ErrOverload, s.left)
	}
	if s.gates(p, blocking, before, above); s.usable <= 0 {
		return nil, ErrShort
	}
	return s, nil
}

// gates finds the usable pieces of a cycle.
func (s *service) gates(p Port, blocking int, before int64, above []rival) {
	if p.Gates == nil {
		s.cycle, s.open, s.usable = 1, 1, 1
		s.pieces = []piece{{0, 1}}
		return
	}
	s.cycle = p.Gates.CycleTime
	all := openings(p, s.class.Class)
	tail := p.Rate.TransmitTime(s.class.MaxFrame)
	if len(all) == 1 && all[0].to-all[0].from == s.cycle {
		tail = 0 // never shut
	}
	var raw []piece
	for _, o := range all {
		s.open += o.to - o.from
		if o.residual {
			o.from += p.Rate.TransmitTime(blocking)
		}
		if o.to -= tail; o.from < o.to {
			raw = append(raw, o.piece)
		}
	}
	s.shorten(raw, all, before, outside(p, s.class.Class, above))
}

// shorten takes from each piece what those before the class send at its
// begin for having waited since the end of the piece before: all of them
// while the gate was open, those that do not wait for it also while it was shut.
func (s *service) shorten(raw []piece, all []opening, before, outside int64) {
	for i, r := range raw {
		since := raw[(i+len(raw)-1)%len(raw)].to
		if i == 0 {
			since -= s.cycle
		}
		idle := int64(0)
		for _, o := range all {
			for _, shift := range []int64{-s.cycle, 0} {
				idle += max(0, min(o.to+shift, r.from)-max(o.from+shift, since))
			}
		}
		r.from += ceilDiv(before*idle+outside*(r.from-since-idle), s.left)
		if r.from < r.to {
			s.pieces = append(s.pieces, r)
			s.usable += r.to - r.from
		}
	}
}

// outside is the rate of what may wait for the class's gate, but does not wait
// for its own: control traffic, and classes above with other gates.
func outside(p Port, c tsn.TrafficClass, above []rival) int64 {
	out := int64(p.Control.Rate)
	for _, a := range above {
		for _, e := range p.Gates.Entries {
			if e.Gates.Has(a.class) && !e.Gates.Has(c) {
				out += a.slope
				break
			}
		}
	}
	return out
}

// opening is a time for which the gate is open. residual says that a frame of
// another class, whose gate was open before, may still be on its way then.
type opening struct {
	piece
	residual bool
}

// openings are those of class c that begin in one cycle, ascending.
func openings(p Port, c tsn.TrafficClass) (out []opening) {
	entries := p.Gates.Entries
	at := int64(0)
	for i, e := range entries {
		before := entries[(i+len(entries)-1)%len(entries)].Gates
		switch n := len(out); {
		case !e.Gates.Has(c):
		case n > 0 && out[n-1].to == at && !p.PerEntry:
			out[n-1].to += e.Interval
		default:
			out = append(out, opening{piece{at, at + e.Interval}, before&e.Gates != 0 && !p.PerEntry})
		}
		at += e.Interval
	}
	if n := len(out); n > 1 && !p.PerEntry && out[0].from == 0 && out[n-1].to == at {
		out[n-1].to += out[0].to
		out = out[1:]
	}
	return out
}

// rival is the class as those below see it. Its credit grows at most for wait,
// and for the time that is not usable until more than wait is.
func (s *service) rival() (rival, error) {
	slope, lost := int64(s.class.IdleSlope), s.open-s.usable
	cycles := ceilDiv(s.wait, s.usable) + 1
	if s.left*s.usable < slope*s.open || lost > 0 && cycles > maxWait/lost {
		return rival{}, fmt.Errorf("%w: its gate is usable %d of %d ns", ErrOverload, s.usable, s.cycle)
	}
	high := slope * (s.wait + cycles*lost)
	low := ceilDiv(int64(s.class.MaxFrame)*octet*(s.rate-slope), s.rate)
	return rival{s.class.Class, slope, high + low}, nil
}

// latency is the longest horizontal way from the arrivals to the service, from
// any time at which the service may begin.
func (s *service) latency(in Flow) (int64, error) {
	slope, rate := int64(s.class.IdleSlope), int64(in.Rate)
	if rate*s.cycle > slope*s.usable {
		return 0, fmt.Errorf("%w: %s come, the gate is usable %d of %d ns", ErrOverload, in.Rate, s.usable, s.cycle)
	}
	burst := s.wait + ceilDiv(int64(in.Burst)*octet, slope) // usable time until all of it is sent
	if burst > maxWait {
		return 0, fmt.Errorf("%w: a burst takes %d ns", ErrOverload, burst)
	}
	if s.usable == s.cycle {
		return burst, nil
	}
	longest := int64(0)
	for i := range s.pieces {
		longest = max(longest, s.from(i, burst, rate))
	}
	return longest, nil
}

// from is the latency if the service begins at the end of piece i.
func (s *service) from(i int, burst, rate int64) (longest int64) {
	slope := int64(s.class.IdleSlope)
	whole := max(burst/s.usable-1, 0)
	used, at := whole*s.usable, whole*s.cycle // usable time, all time
	for k := i; ; k++ {
		a, b := &s.pieces[k%len(s.pieces)], &s.pieces[(k+1)%len(s.pieces)]
		gap := b.from - a.to
		if (k+1)%len(s.pieces) == 0 {
			gap += s.cycle
		}
		// What is sent right after the gap has come when the arrivals reach it.
		if used >= burst {
			came := int64(0)
			if rate > 0 {
				came = (used - burst) * slope / rate
			}
			if longest = max(longest, at+gap-came); used > burst+s.usable || rate == 0 {
				return longest
			}
		}
		at += gap
		length := b.to - b.from
		if used < burst && used+length >= burst {
			longest = max(longest, at+burst-used)
		}
		used, at = used+length, at+length
	}
}

func ceilDiv(a, b int64) int64 { return (a + b - 1) / b }
