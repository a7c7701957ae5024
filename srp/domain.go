package srp

import (
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

// boundary is SRPdomainBoundaryPort of a class (6.6.4): the other side of the
// port is no part of the domain in which the class has this priority. It is one
// if it cannot keep time, or if it has said which classes it has and this one
// is not among them with the same priority; before it has said anything nothing
// is known against it.
func boundary(c SRClass, capable bool, heard []mrp.Domain) bool {
	if !capable {
		return true
	}
	differs := func(d mrp.Domain) bool { return d.ClassID == c.ID && d.Priority != c.Priority }
	has := func(d mrp.Domain) bool { return d.ClassID == c.ID }
	return slices.ContainsFunc(heard, differs) || len(heard) > 0 && !slices.ContainsFunc(heard, has)
}

// mismatch reports whether the side a stream comes from means something else by
// its priority: it has the class at another one, or another class at this one.
func mismatch(c SRClass, heard []mrp.Domain) bool {
	return slices.ContainsFunc(heard, func(d mrp.Domain) bool { return (d.ClassID == c.ID) != (d.Priority == c.Priority) })
}
