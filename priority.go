package tsn

import (
	"bytes"
	"cmp"
	"fmt"
	"strings"
)

// PrioritySet has bit p set when priority p is in it.
type PrioritySet uint8

// Has reports whether p is in the set.
func (s PrioritySet) Has(p PCP) bool { return p < 8 && s&(1<<p) != 0 }

// String prints the priorities, ascending: "2,3".
func (s PrioritySet) String() string {
	var out []string
	for p := range PCP(8) {
		if s.Has(p) {
			out = append(out, fmt.Sprint(p))
		}
	}
	return strings.Join(out, ",")
}

// Of is the set of the priorities that a map puts into one of these classes.
func (m ClassMap) Of(classes ...TrafficClass) (s PrioritySet) {
	for p, c := range m {
		for _, x := range classes {
			if c == x {
				s |= 1 << p
			}
		}
	}
	return s
}

// PriorityRules say what a port makes of the priorities of tagged frames, so
// that the queues of SR classes are for reserved streams alone.
type PriorityRules struct {
	Port Port
	// Guarded are priorities that only the streams of Leaving have: every other
	// frame that leaves with one of them is queued as best effort. Its tag stays.
	Guarded PrioritySet
	Leaving []StreamHandle // ascending
	// Regenerated are priorities that frames lose as they come in: theirs is 0 from
	// then on, in the tag too (802.1Q 6.9.4: the port is a domain boundary). The
	// streams of Entering keep theirs.
	Regenerated PrioritySet
	Entering    []StreamHandle // ascending
	// VLANs in which frames may come in, where the switch knows of none (ascending).
	VLANs []VID
}

// CompareStreamHandles orders by VLAN, destination, priority, source.
func CompareStreamHandles(a, b StreamHandle) int {
	return cmp.Or(cmp.Compare(a.VID, b.VID), bytes.Compare(a.Address[:], b.Address[:]),
		cmp.Compare(a.PCP, b.PCP), bytes.Compare(a.Source[:], b.Source[:]))
}
