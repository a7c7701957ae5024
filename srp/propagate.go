package srp

import (
	"math"
	"slices"

	"tsnswitch"
	"tsnswitch/srp/mrp"
)

// none is the index of no port.
const none = -1

// streamState is what is registered and declared for one stream.
type streamState struct {
	id      tsn.StreamID
	talkers []talkerAt // registered, the latest last
	out     []outPort  // by port

	// The talker as it was last looked at: in is its port, or none.
	in      int
	last    int        // the last port that it was at, or none
	request tsn.Stream // what it asks for
	wish    wish       // as it was registered
	offered bool       // there was one: there may be something to take back

	held        int // ports on which it is reserved
	answered    int // the port on which a listener is declared, or none
	answer      mrp.Param
	answerValue mrp.Value
}

// talkerAt is a registered talker attribute.
type talkerAt struct {
	wish
	port  int
	value mrp.Value
	// excess: it came when its port had declared as many as are taken.
	excess bool
	// proxy: it is not registered, but put by PutProxies.
	proxy bool
}

// outPort is a stream at a port by which it may leave.
type outPort struct {
	declared mrp.Value  // a talker's; type 0: nothing
	said     mrp.Talker // the same in the words of version 0
	code     tsn.FailureCode
	listener mrp.Param    // registered
	enhanced []listenerAt // registered, by version 1
	proxy    *ProxyListener
	held     bool
	since    tsn.Instant // when it was reserved
	// latency is what was declared when it was reserved, ns; grown says that it
	// was exceeded later.
	latency uint32
	grown   bool
	waits   bool // is in bridgePort.waiting
}

// talker takes the registration of a talker attribute or its end.
func (b *bridge) talker(port int, v mrp.Value, t wish, leaves bool) {
	s := b.stream(t.StreamID)
	at := slices.IndexFunc(s.talkers, func(o talkerAt) bool { return !o.proxy && o.port == port && o.value == v })
	if at >= 0 {
		old := s.talkers[at]
		s.talkers = slices.Delete(s.talkers, at, at+1)
		b.wantTree(old.Talker, port, -1)
		b.countTalker(port, old.excess, -1)
	}
	if leaves {
		return
	}
	p := &b.ports[port]
	excess := p.talkers-p.excess >= b.cfg.MaxTalkers
	s.talkers = append(s.talkers, talkerAt{wish: t, port: port, value: v, excess: excess})
	b.wantTree(t.Talker, port, 1)
	b.countTalker(port, excess, 1)
}

// countTalker keeps the account of a port's talkers, and lets the first of those
// over the limit in when there is room.
func (b *bridge) countTalker(port int, excess bool, n int) {
	p := &b.ports[port]
	p.talkers += n
	if excess {
		p.excess += n
	}
	if n > 0 || excess || p.excess == 0 {
		return
	}
	var first *talkerAt
	for _, s := range b.streams { // a minimum: the order does not matter
		for i := range s.talkers {
			t := &s.talkers[i]
			if t.port == port && t.excess && (first == nil || t.value.Octet < first.value.Octet) {
				first = t
			}
		}
	}
	first.excess = false
	p.excess--
	b.dirty[first.StreamID] = true
}

func (s *streamState) listener(port int, p mrp.Param, leaves bool) {
	if leaves {
		p = mrp.ListenerIgnore
	}
	s.out[port].listener = p
}

// asked is what all listeners at a port declare, those that are proxied too.
func (o *outPort) asked() mrp.Param {
	if o.proxy == nil {
		return o.heard()
	}
	return mergeTable[o.heard()][mrp.ListenerReady]
}

// rank is 0 for emergency streams: the lower, the more important.
func (s *streamState) rank() uint8 {
	if s.in != none {
		return s.wish.Rank
	}
	if n := len(s.talkers); n > 0 {
		return s.talkers[n-1].Rank
	}
	return 1
}

// wait notes whether a change of a port's load, or of limits that ports share,
// may change what is declared there.
func (b *bridge) wait(s *streamState, q int) {
	o, p := &s.out[q], &b.ports[q]
	cameFailed := o.said.Failed && o.code == tsn.FailureNone
	waits := o.declared.Type != 0 && !cameFailed && !o.held
	if waits == o.waits {
		return
	}
	if o.waits = waits; waits {
		p.waiting[s.id] = true
	} else {
		delete(p.waiting, s.id)
	}
}

func (s *streamState) over() bool {
	return len(s.talkers) == 0 && !slices.ContainsFunc(s.out, func(o outPort) bool { return o.asked() != mrp.ListenerIgnore || len(o.enhanced) > 0 })
}

func treeKey(t mrp.Talker) TreeKey { return TreeKey{t.VID, t.StreamID.Source()} }

// comesIn reports whether a talker may be registered on its port: that is where
// its stream would come from.
func (b *bridge) comesIn(t talkerAt) bool {
	if t.proxy && !b.ports[t.port].started {
		return false
	}
	if !b.cfg.Trees {
		return !b.ports[t.port].blocked
	}
	tree, ok := b.trees[treeKey(t.Talker)]
	return ok && slices.Contains(tree.Ingress, b.Instance.ports[t.port].Port)
}

// choose returns the talker that counts, the latest word of the port that was
// first, and whether that port also has another wish registered: a station that
// changes its mind withdraws first (35.2.2.8.1).
func (b *bridge) choose(s *streamState) (now *talkerAt, changed bool) {
	in := none
	for _, t := range s.talkers {
		if b.comesIn(t) && (in == none || t.port == s.in) {
			in = t.port
		}
	}
	for i := range s.talkers {
		t := &s.talkers[i]
		if t.port != in {
			continue
		}
		changed = now != nil && (changed || !now.same(t.wish))
		now = t
	}
	return now, changed
}

// giveUp releases what a stream no longer holds, so that what is free is known
// before anybody is offered it.
func (b *bridge) giveUp(s *streamState) {
	t, changed := b.choose(s)
	b.follow(s, t)
	for q := range s.out {
		if o := &s.out[q]; o.held && (!b.goesOut(t, q) || !wants(o.asked()) || b.fails(s, t, q, changed) != tsn.FailureNone) {
			b.release(s, q)
		}
	}
}

// fails returns why a stream fails at a port, on the way to it or there.
func (b *bridge) fails(s *streamState, t *talkerAt, q int, changed bool) tsn.FailureCode {
	o := &s.out[q]
	o.grown = (o.held || o.grown && o.asked() != mrp.ListenerIgnore) && b.latencyBehind(t, q) > o.latency
	if t.Failed {
		return t.FailureCode
	}
	return b.check(s, t, q, changed)
}

// evaluate does what follows from the registrations of a stream (35.2.4).
func (b *bridge) evaluate(s *streamState) {
	if t, changed := b.choose(s); t != nil || s.offered {
		b.follow(s, t)
		for q := range s.out {
			if t == nil || !b.goesOut(t, q) {
				b.withdraw(s, q)
			} else {
				b.offer(s, t, q, changed)
			}
			b.wait(s, q)
		}
		b.answerTalker(s, t)
		s.offered = t != nil
	}
	if s.over() {
		delete(b.streams, s.id)
		delete(b.dirty, s.id)
	}
}

// goesOut reports whether a talker is declared on a port.
func (b *bridge) goesOut(t *talkerAt, q int) bool {
	p := &b.ports[q]
	if q == t.port || !p.started {
		return false
	}
	if b.pruned(t, q) {
		return false
	}
	if b.cfg.Trees {
		return slices.Contains(b.trees[treeKey(t.Talker)].Egress, b.Instance.ports[q].Port)
	}
	return !p.blocked
}

// follow gives up what was held for a talker that is gone, elsewhere, or wants
// something else.
func (b *bridge) follow(s *streamState, t *talkerAt) {
	if t != nil && s.in == t.port && s.wish.same(t.wish) {
		return
	}
	b.idleMoved = true
	for q := range s.out {
		b.release(s, q)
		s.out[q].grown = false
	}
	if s.in != none {
		d := destinationOf(s.request)
		list := slices.DeleteFunc(b.byDestination[d], func(o *streamState) bool { return o == s })
		if b.byDestination[d] = list; len(list) == 0 {
			delete(b.byDestination, d)
		}
		b.touch(list)
	}
	s.in = none
	if t == nil {
		return
	}
	b.tellMoved(s, t.port)
	s.in, s.wish, s.request = t.port, t.wish, t.request()
	d := destinationOf(s.request)
	b.byDestination[d] = append(b.byDestination[d], s)
}

func (b *bridge) touch(list []*streamState) {
	for _, s := range list {
		b.dirty[s.id] = true
	}
}

// leastData is the shortest MSDU: shorter frames are padded to it.
const leastData = 46

// request is a talker's wish in the terms of admission.
func (w wish) request() tsn.Stream {
	return tsn.Stream{
		ID: w.StreamID, Talker: w.StreamID.Source(), DestinationAddress: w.DestinationAddress, VID: w.VID, PCP: w.DataFramePriority,
		MaxFrameSize: max(w.MaxFrameSize, leastData), Interval: w.interval, MaxIntervalFrames: w.frames,
	}
}

func (b *bridge) class(p tsn.PCP) int {
	return slices.IndexFunc(b.cfg.Classes, func(c SRClass) bool { return c.Priority == p })
}

// offer declares a talker on a port, as one that can be had there or not, and
// reserves if somebody behind the port is ready (35.2.4.2, 35.2.4.3).
func (b *bridge) offer(s *streamState, t *talkerAt, q int, changed bool) {
	o := &s.out[q]
	d := t.Talker
	d.AccumulatedLatency = b.latencyBehind(t, q)
	code := b.fails(s, t, q, changed)
	switch {
	case d.Failed:
		code = tsn.FailureNone // of this system
	case code != tsn.FailureNone:
		d.Failed, d.BridgeID, d.FailureCode = true, b.cfg.BridgeID, code
	}
	switch {
	case d.Failed || !wants(o.asked()):
		b.release(s, q)
	case !o.held:
		b.reserve(s, q, d.AccumulatedLatency)
	}
	b.tellFailed(s, q, code, d)
	b.declare(s, q, b.attribute(t, d, q), d)
}

// latencyBehind is the accumulated latency to declare on a port. It is another
// system's number that it adds to: it stops at the largest.
func (b *bridge) latencyBehind(t *talkerAt, q int) uint32 {
	sum := int64(t.AccumulatedLatency)
	if c := b.class(t.DataFramePriority); c != none {
		sum += b.ports[q].latency[c]
	}
	return uint32(min(sum, math.MaxUint32))
}

// declare makes v the one talker declaration of a stream on a port (35.2.6).
func (b *bridge) declare(s *streamState, q int, v mrp.Value, d mrp.Talker) {
	o, p := &s.out[q], &b.ports[q]
	o.said = d
	if o.declared == v {
		return
	}
	if o.declared.Type != 0 {
		p.Leave(b.now, o.declared)
	}
	if o.declared = v; v.Type != 0 {
		p.Join(b.now, v, 0, true)
	}
}

func (b *bridge) withdraw(s *streamState, q int) {
	b.release(s, q)
	b.declare(s, q, mrp.Value{}, mrp.Talker{})
	o := &s.out[q]
	o.code, o.grown = tsn.FailureNone, false
}

// answerTalker declares towards the talker what the listeners together declare.
// Without a talker there is nobody to tell, which also ends the listeners' part
// when the talker leaves first (Avnu ProAV 9.1).
func (b *bridge) answerTalker(s *streamState, t *talkerAt) {
	sum := mrp.ListenerIgnore
	for i := range s.out {
		if o := &s.out[i]; o.declared.Type != 0 {
			sum = mergeTable[sum][heardBehind(o.asked(), o.said.Failed)]
		}
	}
	to := s.in
	if sum == mrp.ListenerIgnore {
		to = none
	}
	v, param := b.answerOf(s, t, sum)
	if s.answered != none && (s.answered != to || s.answerValue != v) {
		b.ports[s.answered].Leave(b.now, s.answerValue)
	}
	if to != none && (to != s.answered || sum != s.answer || s.answerValue != v) {
		b.ports[to].Join(b.now, v, param, true)
	}
	s.answered, s.answer, s.answerValue = to, sum, v
}
