package link

import (
	"sync/atomic"

	"tsnswitch"
)

const (
	headerLen = 14 // addresses and length/type
	// maxFrame is the longest untagged frame of a 1500-octet MTU; IS-IS and
	// gPTP never use more.
	maxFrame  = headerLen + 1500
	maxTagged = maxFrame + 4
)

// Limit is a token bucket: Burst frames at once, PerSecond in the long run.
type Limit struct{ PerSecond, Burst int }

// The limits used when none is configured, for each kind of frame: IS-IS, our
// own, CFM; and of gPTP what gptpKind tells apart. gPTP needs about 25 frames a
// second on a link, in one domain; an IS-IS database of 1000 LSPs fits one burst.
var (
	DefaultGPTPLimit    = Limit{PerSecond: 500, Burst: 200}
	DefaultControlLimit = Limit{PerSecond: 2000, Burst: 1000}
)

// bucket is the state of a Limit. Tokens are counted in 1/PerSecond ns, so
// that refilling is exact integer arithmetic.
type bucket struct {
	perSecond, capacity, tokens int64
	last                        tsn.Instant
}

const tokenCost = int64(1e9)

func newBucket(l Limit, now tsn.Instant) bucket {
	full := int64(l.Burst) * tokenCost
	return bucket{perSecond: int64(l.PerSecond), capacity: full, tokens: full, last: now}
}

// take spends one token and reports whether there was one.
func (b *bucket) take(now tsn.Instant) bool {
	// Beyond the time that fills the bucket, elapsed time adds nothing;
	// the comparison keeps the product below from overflowing.
	elapsed := max(now.Sub(b.last), 0)
	b.last = max(b.last, now)
	if b.perSecond > 0 && elapsed >= b.capacity/b.perSecond {
		b.tokens = b.capacity
	} else {
		b.tokens = min(b.capacity, b.tokens+elapsed*b.perSecond)
	}
	if b.tokens < tokenCost {
		return false
	}
	b.tokens -= tokenCost
	return true
}

// share is what one kind of frame may have of a Limit, such that neither another
// kind nor one source can use it up: who was last turned away is the flooder,
// and beyond the bucket of all there is another for everybody else.
type share struct {
	all, others bucket
	flooder     tsn.MAC
}

func newShare(l Limit, now tsn.Instant) share {
	return share{all: newBucket(l, now), others: newBucket(l, now)}
}

func (s *share) take(now tsn.Instant, source tsn.MAC) bool {
	switch {
	case s.all.take(now):
		return true
	case !s.flooder.IsZero() && source != s.flooder && s.others.take(now):
		return true
	}
	s.flooder = source
	return false
}

// admission decides which received frames are worth parsing. Only the
// goroutine that reads the socket calls admit.
type admission struct {
	n      *counters
	shares []share                // by kind
	kind   func(frame []byte) int // nil: there is one
	// own is the interface's address as a number; the watcher changes it.
	own    atomic.Uint64
	system tsn.MAC // the node's own address, zero if it has none
}

// admit counts and judges a frame of which length octets were on the wire.
func (a *admission) admit(now tsn.Instant, frame []byte, length int) bool {
	if length > maxFrame || len(frame) < headerLen {
		a.n.droppedSize.Add(1)
		return false
	}
	source := tsn.MAC(frame[6:12])
	if source.Uint64() == a.own.Load() || (source == a.system && !a.system.IsZero()) {
		a.n.droppedOwn.Add(1)
		return false
	}
	k := 0
	if a.kind != nil {
		k = a.kind(frame)
	}
	if !a.shares[k].take(now, source) {
		a.n.droppedRate.Add(1)
		return false
	}
	a.n.received.Add(1)
	return true
}

func (a *admission) setup(n *counters, l Limit, system tsn.MAC) {
	a.n, a.system, a.shares = n, system, []share{newShare(l, Now())}
}

// Kinds of gPTP messages with a share each: what must be answered, what answers,
// what brings time, and the rest.
const (
	kindRequest = iota
	kindResponse
	kindTime
	kindOther
	gptpKinds
)

// gptpKind looks at messageType, the low half of the first octet (10.6.2.2.2).
func gptpKind(frame []byte) int {
	if len(frame) == headerLen {
		return kindOther
	}
	switch frame[headerLen] & 0x0f {
	case 0x2:
		return kindRequest
	case 0x3, 0xa: // Pdelay_Resp, Pdelay_Resp_Follow_Up
		return kindResponse
	case 0x0, 0x8: // Sync, Follow_Up
		return kindTime
	}
	return kindOther
}

// setupGPTP is setup with a share for each kind of gPTP message.
func (a *admission) setupGPTP(n *counters, l Limit, system tsn.MAC) {
	a.setup(n, l, system)
	for len(a.shares) < gptpKinds {
		a.shares = append(a.shares, newShare(l, Now()))
	}
	a.kind = gptpKind
}
