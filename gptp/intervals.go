package gptp

import (
	"fmt"
	"math"

	tsn "tsnswitch"
	"tsnswitch/gptp/ptpmsg"
)

// forever is the interval of messages that are not sent any more.
const forever = math.MaxInt64

// minAskedLogInterval is the shortest interval that a neighbour can set: 1/32
// s. A shorter one has to be in the configuration.
const minAskedLogInterval = -5

// interval is how often a port sends messages of one kind: logarithms to base 2
// of seconds, or ptpmsg.IntervalStop.
type interval struct {
	initial int8 // configured
	current int8
}

func (i *interval) ns() int64 {
	if i.current == ptpmsg.IntervalStop {
		return forever
	}
	return intervalNS(i.current)
}

// ask sets the interval as a neighbour asks; clipped says that it asked for one
// beyond the bounds and has the nearest.
func (i *interval) ask(v int8) (changed, clipped bool) {
	old := i.current
	switch v {
	case ptpmsg.IntervalLeave:
	case ptpmsg.IntervalInitial:
		i.current = i.initial
	case ptpmsg.IntervalStop:
		i.current = ptpmsg.IntervalStop
	default:
		i.current = max(min(minAskedLogInterval, i.initial), min(maxLogInterval, v))
		clipped = i.current != v
	}
	return i.current != old, clipped
}

// IntervalStatus is one message interval: logarithms to base 2 of seconds.
type IntervalStatus struct {
	InitialLog int8 `json:"initialLog"` // configured
	CurrentLog int8 `json:"currentLog"` // as the neighbour asked; 127: it asked to stop
	Stopped    bool `json:"stopped"`
}

func (i *interval) status() IntervalStatus {
	return IntervalStatus{InitialLog: i.initial, CurrentLog: i.current, Stopped: i.current == ptpmsg.IntervalStop}
}

// IntervalsStatus is how often a port sends what.
type IntervalsStatus struct {
	Sync        IntervalStatus `json:"sync"`
	Announce    IntervalStatus `json:"announce"`
	PdelayReq   IntervalStatus `json:"pdelayReq"` // of the service that this domain uses
	GptpCapable IntervalStatus `json:"gptpCapable"`
}

// NeighborWishes is what the neighbour's last message interval request says
// beside the intervals. This node always computes both and sends two-step (the
// standard's management choice in place of automatic adaptation).
type NeighborWishes struct {
	Received                 bool `json:"received"`
	ComputeNeighborRateRatio bool `json:"computeNeighborRateRatio"`
	ComputeMeanLinkDelay     bool `json:"computeMeanLinkDelay"`
	OneStepReceiveCapable    bool `json:"oneStepReceiveCapable"`
}

func wishes(flags uint8) NeighborWishes {
	return NeighborWishes{
		Received:                 true,
		ComputeNeighborRateRatio: flags&ptpmsg.FlagComputeNeighborRateRatio != 0,
		ComputeMeanLinkDelay:     flags&ptpmsg.FlagComputeMeanLinkDelay != 0,
		OneStepReceiveCapable:    flags&ptpmsg.FlagOneStepReceiveCapable != 0,
	}
}

// askNotices bounds how often a port tells about changed intervals, ns.
const askNotices = 1_000_000_000

// askedTold says whether to tell, and remembers.
type askedTold struct {
	told bool
	at   tsn.Instant
}

func (a *askedTold) tell(now tsn.Instant) bool {
	if a.told && now.Sub(a.at) < askNotices {
		return false
	}
	a.told, a.at = true, now
	return true
}

// ask is what the four interval settings share: it sets an interval, counts
// and tells.
func (l *linkPort) ask(what string, i *interval, v int8, count *Counters, notice func(kind string, port tsn.Port, detail string)) (changed bool) {
	changed, clipped := i.ask(v)
	if clipped {
		count.IntervalsOutOfRange++
	}
	if changed && l.asked.tell(l.sys.now) {
		notice(NoticeInterval, l.cfg.Port, fmt.Sprintf("%s %s", what, i))
	}
	return changed
}

// String says the interval as it is now.
func (i *interval) String() string {
	if i.current == ptpmsg.IntervalStop {
		return "stopped"
	}
	return fmt.Sprintf("every 2^%d s", i.current)
}
