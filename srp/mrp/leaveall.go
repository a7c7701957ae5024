package mrp

import tsn "tsnswitch"

// leaveAll is the LeaveAll state machine (802.1Q table 10-5): of the systems on
// a LAN, the first whose timer runs out asks all to declare again.
type leaveAll struct {
	active bool // a LeaveAll is to be sent at the next opportunity
	timer  tsn.Instant
}

// expire handles leavealltimer!.
func (l *leaveAll) expire(next tsn.Instant) { l.active, l.timer = true, next }

// sent handles tx!, heard handles rLA!: nobody needs to ask again.
func (l *leaveAll) sent()                  { l.active = false }
func (l *leaveAll) heard(next tsn.Instant) { l.active, l.timer = false, next }
