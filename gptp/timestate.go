package gptp

import (
	"fmt"

	tsn "tsnswitch"
)

// TimeState says what the time of a domain is worth at this node.
type TimeState uint8

// The states.
const (
	TimeFreeRunning  TimeState = iota // no grand master's, now or earlier
	TimeAcquiring                     // there is a grand master; its time is not found yet
	TimeSynchronized                  // it follows the grand master
	TimeHoldover                      // that of a grand master that is gone, at the mean rate it had
	TimeGrandMaster                   // this node is grand master and gives its own
)

var timeStateNames = [...]string{"free-running", "acquiring", "synchronized", "holdover", "grand-master"}

// String gives the name that status shows.
func (s TimeState) String() string { return timeStateNames[s] }

// MarshalText prints the state as String does.
func (s TimeState) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// timeState remembers since when a domain's time has been what it is, and why
// it is not synchronized.
type timeState struct {
	in    *Instance
	state TimeState
	since tsn.Instant
	why   string // kind of the Notice that told of the loss; empty: nothing was lost
}

func (t *timeState) now() TimeState {
	i := t.in
	switch {
	case i.IsGrandMaster() && i.master.holdover:
		return TimeHoldover
	case i.IsGrandMaster():
		return TimeGrandMaster
	case i.bmca.gmPresent && i.slave.synced:
		return TimeSynchronized
	case i.bmca.gmPresent:
		return TimeAcquiring
	case i.slave.locked:
		return TimeHoldover
	}
	return TimeFreeRunning
}

func (t *timeState) update() {
	s := t.now()
	if s == t.state && t.since != 0 {
		return
	}
	t.state, t.since = s, t.in.sys.now
	if s == TimeHoldover {
		t.in.notice(NoticeHoldover, tsn.NoPort, fmt.Sprintf("rate held: %+.3f ppm", t.in.slave.relation.RatePPB/1000))
	}
}

// lost is told what took the grand master away, if that was behind port p.
func (t *timeState) lost(p *port, why string) {
	if p == t.in.bmca.slavePort {
		t.why = why
	}
}

// notSynced is why Synced is false; empty if it is not.
func (t *timeState) notSynced() string {
	switch {
	case t.in.slave.synced:
		return ""
	case t.in.bmca.gmPresent:
		return "acquiring"
	case t.why != "":
		return t.why
	}
	return "no-grand-master"
}
