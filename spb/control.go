package spb

import (
	tsn "tsnswitch"
	"tsnswitch/spb/ctlframe"
)

// EdgeProbeGroup is the group address of the edge guard's probes. A bridge of
// the fabric never forwards it.
var EdgeProbeGroup = ctlframe.ProbeGroup

// ControlCounters counts the frames beside IS-IS (package ctlframe).
type ControlCounters struct {
	Malformed       uint64 `json:"malformed"`
	RequestsRefused uint64 `json:"requestsRefused"` // Ping and Trace events
	LBMSent         uint64 `json:"lbmSent"`
	LBMReceived     uint64 `json:"lbmReceived"`
	LBMOverRate     uint64 `json:"lbmOverRate"` // not answered: too many
	LBMNoReturn     uint64 `json:"lbmNoReturn"` // not answered: no way to the sender
	LBRSent         uint64 `json:"lbrSent"`
	LBRReceived     uint64 `json:"lbrReceived"`
	LBRUnexpected   uint64 `json:"lbrUnexpected"` // late, twice, or never asked for
}

// control is the state of everything beside IS-IS.
type control struct {
	loop loopback
}

// controlEvent handles the events of this file's siblings.
func (i *Instance) controlEvent(ev tsn.Event) {
	switch ev := ev.(type) {
	case Ping:
		i.startPing(ev)
	case Trace:
		i.startTrace(ev)
	case CancelPing:
		i.cancelPing(ev.RequestID)
	}
}

// runControl does what is due, at the end of a Step.
func (i *Instance) runControl() {
	i.runLoopback()
}

func (i *Instance) controlDeadline() tsn.Instant {
	return i.loopbackDeadline()
}

// receivedControl takes the frames of package ctlframe, on any port, and
// reports whether it was one.
func (i *Instance) receivedControl(ev tsn.Received) bool {
	_, etherType, _, err := ctlframe.ParseEther(ev.Frame)
	if err != nil {
		return false
	}
	switch etherType {
	case ctlframe.EtherTypeCFM:
		i.receiveLoopback(ev)
	default:
		return false
	}
	return true
}
