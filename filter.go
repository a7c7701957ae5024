package tsn

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
)

// StreamHandle tells the frames of a stream where they come in: by destination
// and VLAN (null stream identification, 802.1CB 6.4), priority and, unless it
// is zero, source.
type StreamHandle struct {
	Address MAC `json:"destination"`
	VID     VID `json:"vlan"`
	PCP     PCP `json:"pcp"`
	Source  MAC `json:"source"`
}

func (h StreamHandle) String() string {
	s := fmt.Sprintf("%s vlan %d pcp %d", h.Address, h.VID, h.PCP)
	if !h.Source.IsZero() {
		s += fmt.Sprintf(" from %s", h.Source)
	}
	return s
}

// StreamFilter is a stream filter instance on a port that the stream comes in
// by (802.1Qci: 8.6.5.1.1), with the gate and the meter that it alone uses. A
// frame is discarded by the first of them that does not let it pass: maximum
// SDU size, gate, meter.
type StreamFilter struct {
	Port Port
	ID   StreamID
	StreamHandle
	MaxSDU uint16      // octets that follow length/type; 0: no limit
	Gate   *StreamGate // nil: always open
	Meter  FlowMeter   // zero: none
}

// CompareStreamFilters orders by port, then stream.
func CompareStreamFilters(a, b StreamFilter) int {
	return cmp.Or(cmp.Compare(a.Port, b.Port), bytes.Compare(a.ID[:], b.ID[:]))
}

// StreamGate is a stream gate instance (8.6.5.1.2): cycle n begins at
// BaseTime + n*CycleTime.
type StreamGate struct {
	BaseTime           PTPTime
	CycleTime          int64 // ns
	CycleTimeExtension int64 // ns
	Entries            []StreamGateEntry
}

// NoIPV keeps the frame's own priority.
const NoIPV int8 = -1

// StreamGateEntry is one operation of a stream gate's list (table 8-4).
type StreamGateEntry struct {
	Open     bool
	IPV      int8  // internal priority value, or NoIPV
	Interval int64 // TimeInterval, ns
	// OctetMax is IntervalOctetMax, of SDUs; 0: no limit.
	OctetMax int32
}

// FlowMeter is the committed half of a flow meter instance (8.6.5.1.3): frames
// beyond it are red. It counts FrameOverhead with each frame, as reservations do.
type FlowMeter struct {
	CIR Rate   // committed information rate
	CBS uint32 // committed burst size, octets
}

// NewStreamFilter is what polices a talker at the port it is attached to, by
// its own TSpec. Frames within an interval may come at any time of it, so those
// of two may come together; and the talker's clock may be a thousandth fast.
func NewStreamFilter(p Port, s Stream) StreamFilter {
	h := StreamHandle{Address: s.DestinationAddress, VID: s.VID, PCP: s.PCP}
	if !h.Address.IsGroup() { // several may send to one station
		h.Source = s.Talker
	}
	rate := s.Bandwidth()
	return StreamFilter{
		Port: p, ID: s.ID, StreamHandle: h, MaxSDU: s.MaxFrameSize,
		Meter: FlowMeter{CIR: rate + (rate+999)/1000, CBS: 2 * uint32(s.MaxIntervalFrames) * uint32(s.WireOctets())},
	}
}

// Span is from Start up to End, ns.
type Span struct{ Start, End int64 }

// NewStreamGate is open in the given spans of each cycle, which may overlap, and
// begin before or end after it, and closed for the rest. Without any rest, or
// any span, it is always open: nil.
func NewStreamGate(base PTPTime, cycle int64, spans ...Span) *StreamGate {
	spans = foldSpans(cycle, spans)
	if len(spans) == 0 || spans[0].End-spans[0].Start >= cycle {
		return nil
	}
	g := &StreamGate{BaseTime: base.Add(spans[0].Start), CycleTime: cycle}
	for i, s := range spans {
		next := spans[0].Start + cycle
		if i+1 < len(spans) {
			next = spans[i+1].Start
		}
		g.Entries = append(g.Entries, StreamGateEntry{Open: true, IPV: NoIPV, Interval: s.End - s.Start}, StreamGateEntry{IPV: NoIPV, Interval: next - s.End})
	}
	return g
}

// foldSpans brings spans to the first cycle and joins them: what is left begins
// in [0, cycle), ascending and apart; the last may end in the next cycle before
// the first begins. All of the cycle is one span.
func foldSpans(cycle int64, spans []Span) (out []Span) {
	var in []Span
	for _, s := range spans {
		if length := s.End - s.Start; length > 0 {
			start := (s.Start%cycle + cycle) % cycle
			in = append(in, Span{start, start + min(length, cycle)})
		}
	}
	slices.SortFunc(in, func(a, b Span) int { return cmp.Compare(a.Start, b.Start) })
	for _, s := range in {
		if last := len(out) - 1; last >= 0 && s.Start <= out[last].End {
			out[last].End = max(out[last].End, s.End)
			continue
		}
		out = append(out, s)
	}
	// The end of the last may reach into the first of the next cycle, and beyond.
	for last := len(out) - 1; last > 0 && out[last].End >= out[0].Start+cycle; last = len(out) - 1 {
		out[last].End = max(out[last].End, out[0].End+cycle)
		out = out[1:]
	}
	return out
}
