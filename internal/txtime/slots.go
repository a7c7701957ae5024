package txtime

// Slots are the launch times that a stream may use: Frames of them in each
// window, Pace apart, windows Interval apart from Base on (CLOCK_TAI). All
// times are ns.
type Slots struct {
	Base, Interval int64
	Frames         int   // 0: 1
	Pace           int64 // from one frame of a window to the next
	next           int64 // number of the next slot, counted from Base
}

// Take returns the first slot that is at earliest or later and was not taken.
func (s *Slots) Take(earliest int64) int64 {
	frames := int64(max(s.Frames, 1))
	window := floorDiv(earliest-s.Base, s.Interval)
	first := window * frames
	for first < (window+1)*frames && s.at(first) < earliest {
		first++
	}
	s.next = max(s.next, first)
	at := s.at(s.next)
	s.next++
	return at
}

// Backlog is how far after now the next slot that is free lies.
func (s *Slots) Backlog(now int64) int64 { return max(0, s.at(s.next)-now) }

func (s *Slots) at(n int64) int64 {
	frames := int64(max(s.Frames, 1))
	window := floorDiv(n, frames)
	return s.Base + window*s.Interval + (n-window*frames)*s.Pace
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}
