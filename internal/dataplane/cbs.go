package dataplane

import (
	"cmp"
	"fmt"
	"slices"

	tsn "tsnswitch"
)

// Shaper is the parameters of a credit-based shaper as the kernel's cbs takes
// them: slopes in kbit/s, credits in octets. The zero Shaper is none: strict
// priority.
type Shaper struct{ IdleSlope, SendSlope, HiCredit, LoCredit int32 }

// NewShaper computes them for class c below classes above (802.1Q L.3.1). Of other
// traffic a frame of tsn.MaxFrameOctets may be in the way.
//
// rate is the medium's, speed what the kernel takes for the link's; they
// differ where a test or a lab emulates a slow link. The class waits as long
// as the medium makes it wait (hiCredit), and is charged for its frames as the
// kernel believes that they leave (sendSlope, loCredit).
func NewShaper(c tsn.ShapedClass, rate, speed tsn.Rate, above []tsn.ShapedClass) (Shaper, error) {
	medium, err := tsn.NewShaper(rate, c, above, tsn.MaxFrameOctets)
	if err != nil {
		return Shaper{}, err
	}
	link, err := tsn.NewShaper(speed, c, nil, tsn.MaxFrameOctets)
	if err != nil {
		return Shaper{}, fmt.Errorf("the kernel's link speed: %w", err)
	}
	if speed > 1<<31-1 {
		return Shaper{}, fmt.Errorf("link speed %s is more than cbs can be told", speed)
	}
	return Shaper{int32(medium.IdleSlope), int32(link.SendSlope), int32(medium.HiCredit), int32(link.LoCredit)}, nil
}

// shaping is what the shapers of one port are made from.
type shaping struct {
	idle        [tsn.MaxTrafficClasses]tsn.Rate // over the whole cycle
	frame       [tsn.MaxTrafficClasses]int      // longest of the class; 0: tsn.MaxFrameOctets
	rate, speed tsn.Rate
	offload     bool
}

// under returns the shapers behind gates that may follow any of the lists: each
// class has its idle slope over the whole cycle of whichever is the worst for it
// (operIdleSlope, 802.1Q 8.6.8.2 g).
//
// The standard's credit, and so a device's, stands still while the gate is shut.
// The kernel's goes on rising up to hiCredit, as is measured, which is for as
// long as an idle class waits for frames of the others.
func (s shaping) under(lists ...*Schedule) (out [tsn.MaxTrafficClasses]Shaper, err error) {
	var above []tsn.ShapedClass
	for c := len(s.idle) - 1; c >= 0; c-- {
		if s.idle[c] == 0 {
			continue
		}
		class := tsn.ShapedClass{IdleSlope: s.idle[c], MaxFrame: cmp.Or(s.frame[c], tsn.MaxFrameOctets)}
		shaper, err := NewShaper(class, s.rate, s.speed, above)
		for _, l := range lists {
			if err != nil || l == nil {
				continue
			}
			slope, lerr := s.slope(tsn.TrafficClass(c), shaper, l)
			if lerr == nil && slope > tsn.Rate(shaper.IdleSlope) {
				class.IdleSlope = slope
				shaper, lerr = NewShaper(class, s.rate, s.speed, above)
			}
			err = lerr
		}
		if err != nil {
			return out, fmt.Errorf("class %d: %w", c, err)
		}
		out[c] = shaper
		above = append(above, class)
	}
	return out, nil
}

// between returns the shapers for the time until one list follows another. A
// list that leaves a class too little is not gone by: it is refused, or runs
// already.
func (s shaping) between(oper, admin *Schedule) [tsn.MaxTrafficClasses]Shaper {
	for _, lists := range [][]*Schedule{{oper, admin}, {admin}, {oper}} {
		if out, err := s.under(lists...); err == nil {
			return out
		}
	}
	out, _ := s.under() // NewTarget found it possible
	return out
}

func (s shaping) slope(c tsn.TrafficClass, shaper Shaper, l *Schedule) (tsn.Rate, error) {
	credit := int64(0)
	if !s.offload {
		const octetMs = 8_000_000 // an octet at 1 kbit/s takes 8 ms
		credit = int64(shaper.HiCredit-1) * octetMs / int64(shaper.IdleSlope)
	}
	rises := l.creditTime(c, credit)
	if rises == 0 {
		return 0, fmt.Errorf("idle slope %s: its gate never opens", s.idle[c])
	}
	return tsn.OperIdleSlope(s.idle[c], l.Cycle, rises), nil
}

// creditTime is for how many ns of a cycle the credit of a class rises: while
// its gate is open, and for up to after ns from each closing.
func (s *Schedule) creditTime(c tsn.TrafficClass, after int64) (rises int64) {
	i := slices.IndexFunc(s.Entries, func(e tsn.GateEntry) bool { return e.Gates.Has(c) })
	if i < 0 {
		return 0
	}
	shut := int64(0)
	for _, e := range slices.Concat(s.Entries[i:], s.Entries[:i]) {
		if !e.Gates.Has(c) {
			shut += e.Interval
			continue
		}
		rises += e.Interval + min(shut, after)
		shut = 0
	}
	return rises + min(shut, after)
}
