package srp

import (
	"cmp"
	"slices"

	"tsnswitch"
)

// check returns why a stream cannot leave by a port, in the order in which
// MSRP looks (802.1Q 35.2.4.2, table 35-6), or FailureNone. It changes nothing.
func (b *bridge) check(s *streamState, t *talkerAt, q int, changed bool) tsn.FailureCode {
	o, class := &s.out[q], b.class(t.DataFramePriority)
	switch {
	case changed:
		return tsn.FailureFirstValueChanged
	case t.refused() != tsn.FailureNone:
		return t.refused()
	case t.v1 != nil && t.v1.unsayable && !b.speaks(q):
		return tsn.FailureNotPropagated
	case !usable(t.DestinationAddress):
		return tsn.FailureUseAnotherDA
	case b.taken(s):
		return tsn.FailureDestinationInUse
	case b.others.ids[s.id]:
		return tsn.FailureStreamIDInUse
	case class == none:
		return tsn.FailurePriorityNotSR
	case mismatch(b.cfg.Classes[class], b.ports[t.port].domains):
		return tsn.FailurePriorityMismatch
	case b.boundary(q, class):
		return tsn.FailureEgressNotAVB
	case !t.VID.Valid() || b.registered.forbidden[portVLAN{q, t.VID}]:
		return tsn.FailureVLANBlocked
	case b.outside(t, q):
		return tsn.FailureVLANBlocked
	case b.registered.untagged[portVLAN{q, t.VID}]:
		return tsn.FailureVLANUntagged
	case b.trees[treeKey(t.Talker)].Failure != tsn.FailureNone && b.cfg.Trees:
		return b.trees[treeKey(t.Talker)].Failure
	case b.lostGroup(t, q):
		return tsn.FailureMMRPResources
	case s.held == 0 && b.fanInFull(s.in):
		return tsn.FailureFanIn
	case t.MaxIntervalFrames == 0: // no code is defined for it
		return tsn.FailureResources
	case t.MaxFrameSize > b.Instance.ports[q].MaxFrameSize:
		return tsn.FailureMaxFrameSize
	case t.excess || s.held == 0 && b.held.streams+b.others.streams >= b.Instance.cfg.MaxStreams:
		return tsn.FailureMSRPResources
	case s.held == 0 && isGroup(s) && b.held.groups+b.others.groups >= b.Instance.cfg.MaxGroups:
		return tsn.FailureCannotStoreDA
	case exceeds(b.latencyBehind(t, q), t.maxLatency()), exceeds(b.latencyBehind(t, q), o.maxLatency()):
		return tsn.FailureMaxLatency
	case o.grown:
		return tsn.FailureLatencyChanged
	case !o.held:
		return b.checkRoom(s, q)
	}
	return tsn.FailureNone
}

// exceeds compares a latency with what is allowed, 0 being any.
func exceeds(latency, most uint32) bool { return most != 0 && latency > most }

// usable tells the addresses that a stream may go to: groups and local ones.
func usable(m tsn.MAC) bool { return m != tsn.Broadcast && (m.IsGroup() || m[0]&2 != 0) }

func isGroup(s *streamState) bool { return s.request.DestinationAddress.IsGroup() }

// taken reports whether another stream has this one's destination.
func (b *bridge) taken(s *streamState) bool {
	d := destinationOf(s.request)
	user, ok := b.others.destinations[d]
	return ok && user != s.id || b.byDestination[d][0] != s
}

func (b *bridge) boundary(q, class int) bool {
	return boundary(b.cfg.Classes[class], b.ports[q].capable, b.ports[q].domains)
}

func (b *bridge) boundaryText(q, class int) string {
	return boundaryText(b.cfg.Classes[class], b.ports[q].capable, b.ports[q].domains)
}

// fanInFull reports whether streams may not come in by one more port.
func (b *bridge) fanInFull(in int) bool {
	return b.cfg.MaxFanIn > 0 && b.ports[in].fanIn == 0 && b.held.fanIn >= b.cfg.MaxFanIn
}

// checkRoom returns whether a stream fits beside what is reserved, or beside
// what it may not push aside. What would fit without emergency streams has been
// pushed aside by them, whether or not it was there before.
func (b *bridge) checkRoom(s *streamState, q int) tsn.FailureCode {
	r := b.short(s, q, b.load(q))
	switch {
	case r == nil || s.rank() == 0 && b.short(s, q, b.loadOfRank(q, 0)) == nil:
		return tsn.FailureNone
	case s.rank() != 0 && b.short(s, q, b.loadOfRank(q, 1)) == nil:
		return tsn.FailurePreempted
	}
	return r.Code
}

// load is all that is reserved on a port, by whomever.
func (b *bridge) load(q int) load {
	l := b.others.loads[b.Instance.ports[q].Port]
	for c, r := range b.ports[q].load {
		l[c] += r
	}
	return l
}

// loadOfRank is what other owners have reserved on a port, and MSRP for streams
// of one rank: emergency streams, 0, or all others.
func (b *bridge) loadOfRank(q int, rank uint8) load {
	l, p := b.others.loads[b.Instance.ports[q].Port], &b.ports[q]
	for c := range l {
		if l[c] += p.lesser[c]; rank == 0 {
			l[c] += p.load[c] - 2*p.lesser[c]
		}
	}
	return l
}

// short returns by how much a stream beside others exceeds a limit, or nil.
func (b *bridge) short(s *streamState, q int, beside load) *Refusal {
	with := beside
	with[b.Instance.cfg.ClassMap[s.request.PCP]] += s.request.Bandwidth()
	return b.checkBandwidth(&b.Instance.ports[q], with, beside)
}

// reserve takes the bandwidth for a stream, from less important ones if need be:
// the youngest first, but none whose bandwidth is not needed in the end. What is
// held is then what one gets who hands out the bandwidth in order of importance.
func (b *bridge) reserve(s *streamState, q int, latency uint32) {
	var victims []*streamState
	for b.short(s, q, b.load(q)) != nil {
		v := b.leastImportant(q, 1)
		victims = append(victims, v)
		b.charge(v, q, -1)
		v.out[q].held = false
	}
	o := &s.out[q]
	b.charge(s, q, 1)
	o.held, o.since, o.latency = true, b.now, latency
	if s.held++; s.held == 1 {
		b.count(s, 1)
	}
	b.counters.Reserved++
	b.changed(s, q, NoticeReserved)
	for _, v := range slices.Backward(victims) {
		v.out[q].held = true
		fits := b.short(v, q, b.load(q)) == nil
		if b.charge(v, q, 1); fits {
			continue
		}
		b.counters.Preempted++
		b.releaseAs(NoticePreempted, v, q)
		b.dirty[v.id] = true
	}
}

// charge adds n times a stream's bandwidth to what a port holds; -1 takes it away
// (numbers without a sign come back from the other end).
func (b *bridge) charge(s *streamState, q int, n int64) {
	c, r := b.Instance.cfg.ClassMap[s.request.PCP], tsn.Rate(n)*s.request.Bandwidth()
	p := &b.ports[q]
	if p.load[c] += r; s.rank() != 0 {
		p.lesser[c] += r
	}
	p.frames.add(frameKind{c, s.request.WireOctets()}, int(n))
}

// release gives a port's bandwidth back.
func (b *bridge) release(s *streamState, q int) { b.releaseAs(NoticeReleased, s, q) }

func (b *bridge) releaseAs(kind string, s *streamState, q int) {
	o := &s.out[q]
	if !o.held {
		return
	}
	o.held = false
	b.charge(s, q, -1)
	if s.held--; s.held == 0 {
		b.count(s, -1)
	}
	b.counters.Released++
	b.changed(s, q, kind)
}

func (b *bridge) changed(s *streamState, q int, kind string) {
	b.heldMoved[s.id], b.ports[q].moved = true, true
	b.remembered++
	b.emit(tsn.Notice{Kind: kind, Port: b.Instance.ports[q].Port, Detail: s.id.String()})
}

// count adds n to what a stream that is held anywhere takes of shared limits.
func (b *bridge) count(s *streamState, n int) {
	b.held.streams += n
	if isGroup(s) {
		b.held.groups += n
	}
	in := &b.ports[s.in]
	before := in.fanIn > 0
	in.fanIn += n
	if after := in.fanIn > 0; after != before {
		b.held.fanIn += n
	}
}

// leastImportant returns the stream that a port gives up first, of those of a
// rank or below: the lowest rank, then the youngest, then the highest StreamID
// (35.2.4.3). Nil if it holds none.
func (b *bridge) leastImportant(q int, rank uint8) *streamState {
	var list []*streamState
	for _, s := range b.streams {
		if s.out[q].held && s.rank() >= rank {
			list = append(list, s)
		}
	}
	if len(list) == 0 {
		return nil
	}
	return slices.MaxFunc(list, func(x, y *streamState) int {
		return cmp.Or(cmp.Compare(x.rank(), y.rank()), cmp.Compare(x.out[q].since, y.out[q].since), compareStreamID(x.id, y.id))
	})
}

// trim gives up streams until the rest fits the rate that a port has now. What
// is given up is still held to the latency it had.
func (b *bridge) trim(q int) {
	p := &b.Instance.ports[q]
	for p.up && b.checkBandwidth(p, b.load(q), load{}) != nil {
		s := b.leastImportant(q, 0)
		if s == nil {
			return
		}
		s.out[q].grown = true
		b.release(s, q)
		b.dirty[s.id] = true
	}
}
