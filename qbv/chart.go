package qbv

import "tsnswitch"

// Chart is a schedule as it is drawn. All offsets count from the common base
// time, all GateControlLists have BaseTime 0.
type Chart struct {
	CycleTime int64         `json:"cycleTimeNs"`
	Streams   []ChartStream `json:"streams"` // in the order of the legend
	Ports     []ChartPort   `json:"ports"`   // in the order of the rows
}

// ChartStream is when a stream is sent.
type ChartStream struct {
	Stream          tsn.Stream `json:"stream"`
	InjectionOffset int64      `json:"injectionOffsetNs"` // when the talker's gate opens
	WorstLatency    int64      `json:"worstLatencyNs"`
	Slots           []Slot     `json:"slots"` // one per hop, in path order
}

// Slot is a stream's window on one egress port, in its first interval and
// again in every other.
type Slot struct {
	Hop   tsn.Hop `json:"hop"`
	Start int64   `json:"startNs"` // of the first frame, as planned
	End   int64   `json:"endNs"`   // of the last frame, as planned
	Open  int64   `json:"openNs"`  // of the gate
	Close int64   `json:"closeNs"`
}

// ChartPort is the gate control list of one egress port.
type ChartPort struct {
	Hop  tsn.Hop             `json:"hop"`
	List tsn.GateControlList `json:"list"`
}
