package tsn

import (
	"errors"
	"fmt"
)

// Octets that a frame costs on the medium beyond its MSDU (MaxFrameSize):
// preamble and SFD 8, addresses and length/type 14, C-TAG 4, FCS 4, gap 12.
const FrameOverhead = 8 + 14 + 4 + 4 + 12

// Stream is what a talker asks for, in the terms of 802.1Q 35.2.2.8 (TSpec)
// and 46.2.3 (Qcc). Interval is given instead of a class measurement interval.
type Stream struct {
	ID   StreamID `json:"id"`
	Name string   `json:"name,omitempty"` // a label; never an identity

	Talker   MAC `json:"talker"`   // address of the sending end station
	Listener MAC `json:"listener"` // address of the receiving end station

	// DestinationAddress of the stream's frames: a group address, or the
	// Listener's own address.
	DestinationAddress MAC `json:"destination"`
	VID                VID `json:"vlan"`
	PCP                PCP `json:"pcp"`

	Interval          int64  `json:"intervalNs"`   // ns between bursts
	MaxFrameSize      uint16 `json:"size"`         // MSDU octets: what follows length/type
	MaxIntervalFrames uint16 `json:"frames"`       // frames in each interval
	MaxLatency        int64  `json:"maxLatencyNs"` // ns from the talker's first octet to the listener's last
}

// Bandwidth is the rate the stream needs on every port, with per-frame
// overhead, rounded up to kbit/s (802.1Q 34.4).
func (s Stream) Bandwidth() Rate {
	if s.Interval <= 0 {
		return 0
	}
	bits := uint64(s.MaxIntervalFrames) * uint64(s.WireOctets()) * 8
	return Rate((bits*1_000_000 + uint64(s.Interval) - 1) / uint64(s.Interval))
}

// WireOctets is the length of one maximum frame on the medium, with overhead. The
// shortest frame with a tag has 68 octets, 20 more are between it and the next.
func (s Stream) WireOctets() int { return max(int(s.MaxFrameSize)+FrameOverhead, 88) }

// Validate reports every field that cannot be meant, joined into one error.
func (s Stream) Validate() error {
	var errs []error
	bad := func(field, format string, a ...any) {
		errs = append(errs, fmt.Errorf("%s: %s", field, fmt.Sprintf(format, a...)))
	}
	if s.ID == (StreamID{}) {
		bad("id", "is all zero")
	}
	if s.Talker.IsZero() || s.Talker.IsGroup() {
		bad("talker", "%s is not an individual address", s.Talker)
	}
	if s.Listener.IsZero() || s.Listener.IsGroup() {
		bad("listener", "%s is not an individual address", s.Listener)
	}
	if s.Talker == s.Listener {
		bad("listener", "is the talker itself")
	}
	if !s.DestinationAddress.IsGroup() && s.DestinationAddress != s.Listener {
		bad("destination", "%s is neither a group address nor the listener's", s.DestinationAddress)
	}
	if s.DestinationAddress == Broadcast {
		bad("destination", "is the broadcast address")
	}
	if !s.VID.Valid() {
		bad("vlan", "%d is outside 1..4094", s.VID)
	}
	if s.PCP > 7 {
		bad("pcp", "%d is outside 0..7", s.PCP)
	}
	if s.Interval < 10_000 || s.Interval > 1_000_000_000 {
		bad("interval", "%d ns is outside 10us..1s", s.Interval)
	}
	if s.MaxFrameSize < 46 || s.MaxFrameSize > 1500 {
		bad("max-frame-size", "%d octets is outside 46..1500", s.MaxFrameSize)
	}
	if s.MaxIntervalFrames == 0 || s.MaxIntervalFrames > 1024 {
		bad("frames", "%d per interval is outside 1..1024", s.MaxIntervalFrames)
	}
	if s.MaxLatency <= 0 || s.MaxLatency > 10_000_000_000 {
		bad("max-latency", "%d ns is outside 1ns..10s", s.MaxLatency)
	}
	return errors.Join(errs...)
}

// Hop is one egress port on a stream's way: the system that transmits and the
// port it transmits on.
type Hop struct {
	System MAC  `json:"system"`
	Port   Port `json:"port"`
}

// Reservation is a stream at one system: the ports it leaves by. It is what
// the owner of a stream sends to every system on the path, whole.
type Reservation struct {
	Stream Stream `json:"stream"`
	Ports  []Port `json:"ports"` // ascending; usually one
}

// FailureCode says why a stream was refused (802.1Q table 35-6 and Qcc).
type FailureCode uint8

// The codes, with the standard's numbers. Those from 20 on are of 802.1Qcc (table 46-15).
const (
	FailureNone               FailureCode = 0
	FailureBandwidth          FailureCode = 1
	FailureResources          FailureCode = 2
	FailureClassBandwidth     FailureCode = 3
	FailureStreamIDInUse      FailureCode = 4
	FailureDestinationInUse   FailureCode = 5
	FailurePreempted          FailureCode = 6
	FailureLatencyChanged     FailureCode = 7
	FailureEgressNotAVB       FailureCode = 8
	FailureUseAnotherDA       FailureCode = 9
	FailureMSRPResources      FailureCode = 10
	FailureMMRPResources      FailureCode = 11
	FailureCannotStoreDA      FailureCode = 12
	FailurePriorityNotSR      FailureCode = 13
	FailureMaxFrameSize       FailureCode = 14
	FailureFanIn              FailureCode = 15
	FailureFirstValueChanged  FailureCode = 16
	FailureVLANBlocked        FailureCode = 17
	FailureVLANUntagged       FailureCode = 18
	FailurePriorityMismatch   FailureCode = 19
	FailureNotPropagated      FailureCode = 20
	FailureMaxLatency         FailureCode = 21
	FailureNoIdentification   FailureCode = 22
	FailureTransformation     FailureCode = 23
	FailureIdentificationType FailureCode = 24
	FailureNeedsCNC           FailureCode = 25

	// NumFailureCodes is one more than the highest.
	NumFailureCodes = 26
)

var failureTexts = [NumFailureCodes]string{
	FailureNone:               "none",
	FailureBandwidth:          "insufficient bandwidth",
	FailureResources:          "insufficient bridge resources",
	FailureClassBandwidth:     "insufficient bandwidth for traffic class",
	FailureStreamIDInUse:      "stream id in use by another talker",
	FailureDestinationInUse:   "stream destination address in use",
	FailurePreempted:          "stream preempted by higher rank",
	FailureLatencyChanged:     "reported latency has changed",
	FailureEgressNotAVB:       "egress port is not AVB capable",
	FailureUseAnotherDA:       "use a different destination address",
	FailureMSRPResources:      "out of MSRP resources",
	FailureMMRPResources:      "out of MMRP resources",
	FailureCannotStoreDA:      "cannot store destination address",
	FailurePriorityNotSR:      "requested priority is not a stream class",
	FailureMaxFrameSize:       "max frame size is too large for the medium",
	FailureFanIn:              "fan-in port limit reached",
	FailureFirstValueChanged:  "first value changed for a registered stream",
	FailureVLANBlocked:        "VLAN is blocked on this egress port",
	FailureVLANUntagged:       "VLAN tagging is disabled on this egress port",
	FailurePriorityMismatch:   "SR class priority mismatch",
	FailureNotPropagated:      "enhanced feature cannot be propagated to the port",
	FailureMaxLatency:         "maximum latency exceeded",
	FailureNoIdentification:   "nearest bridge cannot identify the stream for its transformation",
	FailureTransformation:     "stream transformation is not supported",
	FailureIdentificationType: "identification type is not supported for stream transformation",
	FailureNeedsCNC:           "enhanced feature needs a central network configuration",
}

// String names the code in the standard's words.
func (c FailureCode) String() string {
	if int(c) < len(failureTexts) {
		return failureTexts[c]
	}
	return fmt.Sprintf("failure code %d", uint8(c))
}
