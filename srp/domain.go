package srp

import (
	"fmt"
	"slices"

	"tsnswitch"
	"tsnswitch/srp/mrp"
)

// SRClass is a stream reservation class as this bridge uses it (802.1Q 34.5).
type SRClass struct {
	ID       uint8 // 6 is A, 5 is B
	Priority tsn.PCP
	VID      tsn.VID // SR_PVID, what end stations default to
	Interval int64   // class measurement interval, ns
}

func (c SRClass) domain() mrp.Domain {
	return mrp.Domain{ClassID: c.ID, Priority: c.Priority, VID: c.VID}
}

// DefaultSRClasses are A and B of 802.1Q table 6-5 and 34.3.
func DefaultSRClasses() []SRClass {
	return []SRClass{{6, 3, 2, 125_000}, {5, 2, 2, 250_000}}
}

// isSR reports whether a traffic class is shaped for an SR class.
func isSR(c tsn.TrafficClass) bool { return c == tsn.ClassSRA || c == tsn.ClassSRB }

// boundary is SRPdomainBoundaryPort of a class (6.6.4): the other side of the
// port is no part of the domain in which the class has this priority. It is one
// if it cannot keep time, or if it has said which classes it has and this one
// is not among them with the same priority; before it has said anything nothing
// is known against it.
func boundary(c SRClass, capable bool, heard []mrp.Domain) bool {
	why, _ := whyBoundary(c, capable, heard)
	return why != noBoundary
}

// boundaryCause is what makes a port a boundary.
type boundaryCause uint8

const (
	noBoundary boundaryCause = iota
	keepsNoTime
	otherPriority
	notItsClass
)

// whyBoundary also returns the other priority.
func whyBoundary(c SRClass, capable bool, heard []mrp.Domain) (boundaryCause, tsn.PCP) {
	if !capable {
		return keepsNoTime, 0
	}
	has := false
	for _, d := range heard {
		if d.ClassID == c.ID && d.Priority != c.Priority {
			return otherPriority, d.Priority
		}
		has = has || d.ClassID == c.ID
	}
	if len(heard) > 0 && !has {
		return notItsClass, 0
	}
	return noBoundary, 0
}

// boundaryText says the same in words, "" for noBoundary.
func boundaryText(c SRClass, capable bool, heard []mrp.Domain) string {
	switch why, priority := whyBoundary(c, capable, heard); why {
	case keepsNoTime:
		return "the port keeps no time (asCapable is false)"
	case otherPriority:
		return fmt.Sprintf("its neighbour has class %s at priority %d, not %d", className(c.ID), priority, c.Priority)
	case notItsClass:
		return fmt.Sprintf("its neighbour does not have class %s", className(c.ID))
	}
	return ""
}

// className names an SR class: 6 is A, 5 is B, and so on (802.1Q table 35-7).
func className(id uint8) string {
	if id > 6 {
		return fmt.Sprint(id)
	}
	return string(rune('A' + 6 - id))
}

// mismatch reports whether the side a stream comes from means something else by
// its priority: it has the class at another one, or another class at this one.
func mismatch(c SRClass, heard []mrp.Domain) bool {
	return slices.ContainsFunc(heard, func(d mrp.Domain) bool { return (d.ClassID == c.ID) != (d.Priority == c.Priority) })
}
