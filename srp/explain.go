package srp

import (
	"cmp"
	"fmt"
	"slices"

	"tsnswitch"
)

// Explanation says where a stream of MSRP is reserved on this system, where it is
// not, and what would make it fit.
type Explanation struct {
	MSRPStream
	// Problem is what keeps the stream from being declared at all, or "".
	Problem string
	Ports   []PortExplanation // by which it would leave, ascending
}

// PortExplanation is what became of a stream at one port.
type PortExplanation struct {
	Port tsn.Port
	// Text says it in words. Remedy, if not "", says what would help.
	Text, Remedy string
	// Code is FailureNone, or why it failed, and Bridge who says so; Here says that
	// it is this one.
	Code   tsn.FailureCode
	Bridge tsn.BridgeID
	Here   bool
	// Needed and Available are set for want of bandwidth (codes 1, 3, 6), kbit/s.
	// Holders are then who holds what the stream lacks, the most important first.
	Needed, Available tsn.Rate
	Holders           []Holder
}

// Holder is a stream that holds bandwidth of a port.
type Holder struct {
	StreamID  tsn.StreamID
	Owner     string
	Rank      uint8 // 0: an emergency stream of MSRP
	Class     tsn.TrafficClass
	Bandwidth tsn.Rate // kbit/s
}

// Explain explains a stream; false if MSRP knows nothing of it. It changes nothing.
func (m *Instance) Explain(id tsn.StreamID) (Explanation, bool) {
	if m.msrp == nil || m.msrp.streams[id] == nil {
		return Explanation{}, false
	}
	b, s := m.msrp, m.msrp.streams[id]
	e := Explanation{MSRPStream: b.view(s)}
	t, changed := b.choose(s)
	if t == nil {
		e.Problem = b.noTalker(s)
		return e, true
	}
	for q := range s.out {
		if s.out[q].declared.Type != 0 {
			e.Ports = append(e.Ports, b.explainPort(s, t, q, changed))
		}
	}
	if len(e.Ports) == 0 {
		e.Problem = "there is no port by which it could leave: none is up, in its tree, and not pruned"
	}
	return e, true
}

// noTalker says why none of the talkers registered counts, by the first of them.
func (b *bridge) noTalker(s *streamState) string {
	if len(s.talkers) == 0 {
		return "no talker declares it here"
	}
	t := &s.talkers[0]
	n := b.Instance.ports[t.port].Port
	_, known := b.trees[treeKey(t.Talker)]
	switch {
	case !b.ports[t.port].started:
		return fmt.Sprintf("the talker is proxied at port %d, whose link is down", n)
	case b.cfg.Trees && !known:
		return fmt.Sprintf("the talker declares at port %d, and no tree of VLAN %d from %s is known", n, t.VID, t.StreamID.Source())
	case b.cfg.Trees:
		return fmt.Sprintf("the talker declares at port %d, where its tree in VLAN %d does not come in", n, t.VID)
	}
	return fmt.Sprintf("the talker declares at port %d, which is blocked", n)
}

func (b *bridge) explainPort(s *streamState, t *talkerAt, q int, changed bool) PortExplanation {
	o := &s.out[q]
	d := o.said
	e := PortExplanation{Port: b.Instance.ports[q].Port, Code: d.FailureCode, Bridge: d.BridgeID}
	switch {
	case o.held:
		e.Text = "reserved"
	case !d.Failed && !wants(o.asked()):
		e.Text = "offered, nobody behind the port is ready for it"
	case t.Failed:
		e.Text, e.Remedy = fmt.Sprintf("failed before it came here, by %s", d.BridgeID), "see there"
	default:
		e.Here = true
		e.Text, e.Remedy = b.detail(s, t, q, b.check(s, t, q, changed))
		b.wantOfRoom(&e, s, q)
	}
	return e
}

// detail says why a stream fails here, with the numbers that are behind it.
func (b *bridge) detail(s *streamState, t *talkerAt, q int, code tsn.FailureCode) (text, remedy string) {
	at := slices.IndexFunc(FailureCauses(), func(c FailureCause) bool { return c.Code == code })
	if at < 0 {
		return code.String(), ""
	}
	cause, latency, o := FailureCauses()[at], b.latencyBehind(t, q), &s.out[q]
	text = cause.When
	switch code {
	case tsn.FailureEgressNotAVB:
		text = b.boundaryText(q, b.class(t.DataFramePriority))
	case tsn.FailureDestinationInUse:
		text = fmt.Sprintf("stream %s already goes to %s in VLAN %d", b.userOf(s), t.DestinationAddress, t.VID)
	case tsn.FailureMaxFrameSize:
		text = fmt.Sprintf("its frames have %d octets, the port takes %d", t.MaxFrameSize, b.Instance.ports[q].MaxFrameSize)
	case tsn.FailureLatencyChanged:
		text = fmt.Sprintf("the latency is %d ns, and was %d ns when it was reserved", latency, o.latency)
	case tsn.FailureMaxLatency:
		most := o.maxLatency()
		if m := t.maxLatency(); m != 0 && (most == 0 || m < most) {
			most = m
		}
		text = fmt.Sprintf("the way behind this port takes %d ns, %d ns are allowed", latency, most)
	}
	return text, cause.Remedy
}

// userOf returns whose destination a stream wants.
func (b *bridge) userOf(s *streamState) tsn.StreamID {
	d := destinationOf(s.request)
	if user, ok := b.others.destinations[d]; ok && user != s.id {
		return user
	}
	return b.byDestination[d][0].id
}

// wantOfRoom adds the numbers if bandwidth is what a stream lacks.
func (b *bridge) wantOfRoom(e *PortExplanation, s *streamState, q int) {
	switch e.Code {
	case tsn.FailureBandwidth, tsn.FailureClassBandwidth, tsn.FailurePreempted:
	default:
		return
	}
	r := b.short(s, q, b.load(q))
	if r == nil {
		return
	}
	e.Needed, e.Available, e.Holders = r.Needed, r.Available, b.holders(q)
	e.Remedy = fmt.Sprintf("%d kbit/s less, or as much given back by others", r.Needed-r.Available)
}

// holders lists who holds bandwidth of a port, the most important first: other
// owners, whom MSRP cannot push aside, then by rank and age.
func (b *bridge) holders(q int) (out []Holder) {
	n, since := b.Instance.ports[q].Port, map[tsn.StreamID]tsn.Instant{}
	for name, o := range b.owners {
		for _, r := range o.set {
			if !slices.Contains(r.Ports, n) {
				continue
			}
			h := Holder{r.Stream.ID, name, 1, b.Instance.cfg.ClassMap[r.Stream.PCP&7], r.Stream.Bandwidth()}
			if s := b.streams[h.StreamID]; name == MSRPOwner && s != nil {
				h.Rank, since[h.StreamID] = s.rank(), s.out[q].since
			}
			out = append(out, h)
		}
	}
	other := func(h Holder) int { // false before true
		if h.Owner == MSRPOwner {
			return 1
		}
		return 0
	}
	slices.SortFunc(out, func(x, y Holder) int {
		return cmp.Or(cmp.Compare(other(x), other(y)), cmp.Compare(x.Rank, y.Rank),
			cmp.Compare(since[x.StreamID], since[y.StreamID]), compareStreamID(x.StreamID, y.StreamID))
	})
	return out
}
