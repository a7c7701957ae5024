package distlink

import "slices"

// rangeSet is a set of numbers as ascending, disjoint, non-adjacent ranges.
type rangeSet []AckRange

// add puts n into the set and reports whether it was new.
func (s *rangeSet) add(n uint64) bool {
	r := *s
	i := len(r) // usually the end: search backwards
	for i > 0 && r[i-1].Low > n {
		i--
	}
	if i > 0 && n <= r[i-1].High {
		return false
	}
	below := i > 0 && r[i-1].High+1 == n
	above := i < len(r) && n+1 == r[i].Low
	switch {
	case below && above:
		r[i-1].High = r[i].High
		r = slices.Delete(r, i, i+1)
	case below:
		r[i-1].High = n
	case above:
		r[i].Low = n
	default:
		r = slices.Insert(r, i, AckRange{n, n})
	}
	*s = r
	return true
}

// has reports whether n is in the set.
func (s rangeSet) has(n uint64) bool {
	for i := len(s) - 1; i >= 0; i-- { // usually near the end
		if n >= s[i].Low {
			return n <= s[i].High
		}
	}
	return false
}

// ack returns the highest ranges, descending, in the form of an ACK frame.
func (s rangeSet) ack() []AckRange {
	const longest = 1 << 16 // older numbers were acknowledged long ago
	out := make([]AckRange, 0, min(len(s), maxAckRanges))
	for i := len(s) - 1; i >= 0 && len(out) < maxAckRanges; i-- {
		r := s[i]
		if r.High-r.Low >= longest {
			r.Low = r.High - longest + 1
		}
		out = append(out, r)
	}
	return out
}
