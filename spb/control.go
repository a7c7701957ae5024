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
	Malformed        uint64 `json:"malformed"`
	EchoSent         uint64 `json:"echoSent"`
	EchoReceived     uint64 `json:"echoReceived"`
	EchoMissing      uint64 `json:"echoMissing"` // gaps in the sequence numbers received
	EchoTimeouts     uint64 `json:"echoTimeouts"`
	EchoStalls       uint64 `json:"echoStalls"`  // silences put off, because this end was late itself
	EchoIgnored      uint64 `json:"echoIgnored"` // on an edge port, tagged, or our own
	ProbesSent       uint64 `json:"probesSent"`
	ProbesReceived   uint64 `json:"probesReceived"`
	ProbesOnFabric   uint64 `json:"probesOnFabric"`   // on a fabric port
	ProbesForeign    uint64 `json:"probesForeign"`    // of another fabric
	ProbesOverCap    uint64 `json:"probesOverCap"`    // too many senders on one port
	EdgeBlocks       uint64 `json:"edgeBlocks"`       // ports that were blocked
	RequestsRefused  uint64 `json:"requestsRefused"`  // Ping and Trace events
	StationMoves     uint64 `json:"stationMoves"`     // learned stations that moved to or within this bridge
	StationsIgnored  uint64 `json:"stationsIgnored"`  // seen on a port that does not learn, or outside the Base VIDs
	StationsRefused  uint64 `json:"stationsRefused"`  // group, a bridge's, or configured elsewhere
	StationsOverCap  uint64 `json:"stationsOverCap"`  // Caps.MaxLearned
	StationsFlapping uint64 `json:"stationsFlapping"` // addresses that were frozen
	LBMSent          uint64 `json:"lbmSent"`
	LBMReceived      uint64 `json:"lbmReceived"`
	LBMOverRate      uint64 `json:"lbmOverRate"` // not answered: too many
	LBMNoReturn      uint64 `json:"lbmNoReturn"` // not answered: no way to the sender
	LBRSent          uint64 `json:"lbrSent"`
	LBRReceived      uint64 `json:"lbrReceived"`
	LBRUnexpected    uint64 `json:"lbrUnexpected"` // late, twice, or never asked for
}

// control is the state of everything beside IS-IS.
type control struct {
	loop     loopback
	edges    []*guarded // ascending port
	stations stations
	stepped  tsn.Instant // the last Step
	// edgesChanged: the bridge shall forward otherwise, for a reason that has
	// nothing to do with paths: edge ports, learned stations.
	edgesChanged bool
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
	case PauseEcho:
		i.pauseEcho()
	case PrepareRestart:
		i.prepareRestart(ev)
	case StationSeen:
		i.stationSeen(ev)
	case StationGone:
		i.stationGone(ev)
	}
}

// runControl does what is due, before the own LSP and the forwarding state are
// made of it.
func (i *Instance) runControl() {
	i.runEcho()
	i.runGuard()
	i.reviewStations()
	i.runLoopback()
}

func (i *Instance) controlDeadline() tsn.Instant {
	return min(i.echoDeadline(), i.guardDeadline(), i.stationsDeadline(), i.loopbackDeadline())
}

// receivedControl takes the frames of package ctlframe, on any port, and
// reports whether it was one.
func (i *Instance) receivedControl(ev tsn.Received) bool {
	_, etherType, _, err := ctlframe.ParseEther(ev.Frame)
	if err != nil {
		return false
	}
	switch etherType {
	case ctlframe.EtherType:
		i.receiveOwn(ev)
	case ctlframe.EtherTypeCFM:
		i.receiveLoopback(ev)
	default:
		return false
	}
	return true
}

// receiveOwn takes a frame of our own EtherType.
func (i *Instance) receiveOwn(ev tsn.Received) {
	h, body, err := ctlframe.Parse(ev.Frame)
	if err != nil {
		i.counters.Control.Malformed++
		return
	}
	switch f := body.(type) {
	case *ctlframe.Echo:
		i.receiveEcho(ev.Port, h, f)
	case *ctlframe.Probe:
		i.receiveProbe(ev.Port, h.Src, f)
	}
}

// edgesToBridge puts such a change into the wanted state at once: it must not
// wait for SPF.
func (i *Instance) edgesToBridge() {
	t := &i.top
	if !i.ctl.edgesChanged || t.generation == 0 {
		return
	}
	i.ctl.edgesChanged = false
	i.refreshState()
}
