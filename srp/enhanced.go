package srp

import (
	"math"

	"tsnswitch"
	"tsnswitch/srp/mrp"
)

// MSRP version 1 (802.1Qcc) beside version 0. A stream is spoken of in the words
// in which its talker was declared: a Talker Enhanced is passed on as one, and
// answered by a Listener Enhanced, where the neighbour has been heard to speak
// version 1 (neighborProtocolVersion), and as a Talker Advertise or Failed and a
// Listener where it has not. Which way listeners ask makes no difference.
//
// Version 0 has no interval but that of the class: a stream of another interval
// is declared there with as many frames as it may have in one of the class's,
// which reserves more than it needs, and fails with code 20 if these are more
// than can be said. Requirements are checked at every port that knows of them;
// a listener's at its own port only, where the whole latency is known.
//
// Who failed a stream is a bridge id in version 0 and an interface in version 1:
// the address in both is the bridge's, its priority is lost on the way.

// wish is what a talker asks for, in the words of version 0, and what it takes.
type wish struct {
	mrp.Talker
	interval int64   // ns, 0: none
	frames   uint16  // in an interval
	v1       *wishV1 // what it says beside in version 1, if it was declared in that
}

// wishV1 is what a Talker Enhanced says beside what a Talker Advertise can.
type wishV1 struct {
	group      string // the talker group, to be passed on
	unsayable  bool   // more frames than version 0 can say
	maxLatency uint32 // ns that the way to a listener may take; 0: any
	refused    tsn.FailureCode
}

// same reports whether w and o are one reservation.
func (w wish) same(o wish) bool {
	return w.SameStream(o.Talker) && w.interval == o.interval && w.frames == o.frames && w.refused() == o.refused()
}

// maxLatency is the talker's requirement, ns; 0: none.
func (w wish) maxLatency() uint32 {
	if w.v1 == nil {
		return 0
	}
	return w.v1.maxLatency
}

// refused is why the wish cannot be met by any port.
func (w wish) refused() tsn.FailureCode {
	if w.v1 == nil {
		return tsn.FailureNone
	}
	return w.v1.refused
}

// wishOf is what a Talker Advertise or Failed asks for.
func (b *bridge) wishOf(t mrp.Talker) wish {
	w := wish{Talker: t, frames: t.MaxIntervalFrames}
	if c := b.class(t.DataFramePriority); c != none {
		w.interval = b.cfg.Classes[c].Interval
	}
	return w
}

// wishOfEnhanced is what a Talker Enhanced asks for.
func (b *bridge) wishOfEnhanced(t mrp.TalkerEnhanced) wish {
	w := wish{Talker: mrp.Talker{
		StreamID: t.StreamID, DestinationAddress: t.DestinationAddress, VID: t.VID, DataFramePriority: t.Priority, Rank: t.Rank,
		MaxFrameSize: t.TSpec.MaxFrameSize, MaxIntervalFrames: t.TSpec.MaxIntervalFrames, AccumulatedLatency: t.Status.AccumulatedLatency,
	}}
	if t.Status.Talker == mrp.TalkerFailedStatus {
		w.Failed, w.FailureCode, w.BridgeID = true, t.Status.FailureCode, tsn.MakeBridgeID(0, t.Status.FailedAt)
	}
	w.interval, w.frames = t.TSpec.Interval(), t.TSpec.MaxIntervalFrames
	w.v1 = &wishV1{group: t.Wish, maxLatency: t.Requirements.MaxLatency, refused: refusedOf(t)}
	if c := b.class(t.Priority); c != none && w.interval > 0 {
		frames := ceilDiv(int64(w.frames)*b.cfg.Classes[c].Interval, w.interval)
		w.MaxIntervalFrames, w.v1.unsayable = uint16(min(frames, math.MaxUint16)), frames > math.MaxUint16
	}
	return w
}

func ceilDiv(a, b int64) int64 { return (a + b - 1) / b }

// refusedOf says which of its features no bridge of this kind has (802.1Qcc table 46-15).
func refusedOf(t mrp.TalkerEnhanced) tsn.FailureCode {
	switch {
	case t.Other && len(t.Capabilities.StreamIdentification) > 0:
		return tsn.FailureIdentificationType
	case t.Other:
		return tsn.FailureTransformation
	case t.Capabilities.CannotTag || !t.HasTag || !t.HasAddresses:
		return tsn.FailureNoIdentification
	case t.TimeAware || t.Requirements.NumSeamlessTrees > 1:
		return tsn.FailureNeedsCNC
	case t.TSpec.Interval() == 0: // no code is defined for it
		return tsn.FailureResources
	}
	return tsn.FailureNone
}

// proxiedWish is the wish of a proxied talker: with a requirement it is one of
// version 1, so that others hear of it.
func (b *bridge) proxiedWish(p ProxyTalker) wish {
	c := b.class(p.DataFramePriority)
	if p.MaxLatency == 0 || c == none {
		return b.wishOf(p.Talker)
	}
	v, _ := mrp.TalkerEnhanced{
		StreamID: p.StreamID, Rank: p.Rank, HasAddresses: true, DestinationAddress: p.DestinationAddress, SourceAddress: p.StreamID.Source(),
		HasTag: true, Priority: p.DataFramePriority, VID: p.VID,
		TSpec: mrp.TSpec{
			Numerator: uint32(b.cfg.Classes[c].Interval), Denominator: 1e9,
			MaxIntervalFrames: p.MaxIntervalFrames, MaxFrameSize: p.MaxFrameSize, TransmissionSelection: creditBased,
		},
		Requirements: mrp.Requirements{MaxLatency: p.MaxLatency},
		Status:       mrp.Status{Talker: mrp.StatusReady, AccumulatedLatency: p.AccumulatedLatency},
	}.Value()
	t, err := mrp.ParseTalkerEnhanced(v)
	if err != nil { // it was made a line above
		return b.wishOf(p.Talker)
	}
	return b.wishOfEnhanced(t)
}

// creditBased is a transmission selection algorithm (802.1Q table 8-6).
const creditBased = 1

// speaks reports whether the other side of a port speaks version 1.
func (b *bridge) speaks(q int) bool { return b.ports[q].NeighborVersion() >= 1 }

// heardVersion lets a port speak as its neighbour does.
func (b *bridge) heardVersion(i int) {
	if p := &b.ports[i]; b.speaks(i) && !p.spokenTo {
		p.spokenTo = true
		p.SetVersion(1)
		b.touchAll()
	}
}

// attribute is what is declared of a talker on a port: d, in the words that the
// other side understands.
func (b *bridge) attribute(t *talkerAt, d mrp.Talker, q int) mrp.Value {
	if t.v1 == nil || !b.speaks(q) {
		return d.Value()
	}
	s := mrp.Status{Talker: mrp.StatusReady, AccumulatedLatency: d.AccumulatedLatency}
	if d.Failed {
		s.Talker, s.FailureCode, s.FailedAt = mrp.TalkerFailedStatus, d.FailureCode, d.BridgeID.System()
	}
	if v, ok := (mrp.TalkerEnhanced{Wish: t.v1.group, Status: s}).Value(); ok {
		return v
	}
	return d.Value()
}

// listenerAt is a registered Listener Enhanced.
type listenerAt struct {
	value      mrp.Value
	param      mrp.Param
	code       tsn.FailureCode
	maxLatency uint32
}

func (o *outPort) listenerEnhanced(v mrp.Value, l mrp.ListenerEnhanced, leaves bool) {
	for i := range o.enhanced {
		if o.enhanced[i].value == v {
			o.enhanced = append(o.enhanced[:i:i], o.enhanced[i+1:]...)
			break
		}
	}
	if !leaves {
		o.enhanced = append(o.enhanced, listenerAt{v, l.Status.Param(), l.Status.FailureCode, l.Requirements.MaxLatency})
	}
}

// heard is what listeners declare at a port, in either version.
func (o *outPort) heard() mrp.Param {
	sum := o.listener
	for _, l := range o.enhanced {
		sum = mergeTable[sum][l.param]
	}
	return sum
}

// maxLatency is the strictest requirement of listeners at a port, ns; 0: none.
func (o *outPort) maxLatency() (most uint32) {
	stricter := func(m uint32) {
		if m != 0 && (most == 0 || m < most) {
			most = m
		}
	}
	for _, l := range o.enhanced {
		stricter(l.maxLatency)
	}
	if o.proxy != nil {
		stricter(o.proxy.MaxLatency)
	}
	return most
}

// answerOf is what is declared to a talker, in its own words.
func (b *bridge) answerOf(s *streamState, t *talkerAt, sum mrp.Param) (mrp.Value, mrp.Param) {
	if t == nil || t.v1 == nil || !b.speaks(t.port) {
		return mrp.ListenerValue(s.id), sum
	}
	l := mrp.ListenerEnhanced{StreamID: s.id, Status: mrp.Status{Listener: mrp.ListenerStatus(sum)}}
	if sum != mrp.ListenerReady {
		l.Status.FailureCode = s.failure()
	}
	return l.Value(), 0
}

// failure is the code with which the first of the ports failed where somebody asks.
func (s *streamState) failure() tsn.FailureCode {
	for i := range s.out {
		o := &s.out[i]
		if o.said.Failed && o.asked() != mrp.ListenerIgnore {
			return o.said.FailureCode
		}
		for _, l := range o.enhanced {
			if l.code != tsn.FailureNone {
				return l.code
			}
		}
	}
	return tsn.FailureNone
}
