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

// The limits used when none is configured. gPTP needs about 25 frames a
// second on a link; an IS-IS database of 1000 LSPs fits one burst.
// The control limit is for each kind of frame: IS-IS, our own, CFM.
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

// admission decides which received frames are worth parsing. Only the
// goroutine that reads the socket calls admit.
type admission struct {
	n      *counters
	bucket bucket
	// own is the interface's address as a number; the watcher changes it.
	own    atomic.Uint64
	system tsn.MAC // the node's own address, zero if it has none
}

// admit counts and judges a frame of which length octets were on the wire.
func (a *admission) admit(now tsn.Instant, frame []byte, length int) bool {
	switch {
	case length > maxFrame || len(frame) < headerLen:
		a.n.droppedSize.Add(1)
		return false
	case !a.bucket.take(now):
		a.n.droppedRate.Add(1)
		return false
	}
	source := tsn.MAC(frame[6:12])
	if source.Uint64() == a.own.Load() || (source == a.system && !a.system.IsZero()) {
		a.n.droppedOwn.Add(1)
		return false
	}
	a.n.received.Add(1)
	return true
}

func (a *admission) setup(n *counters, l Limit, system tsn.MAC) {
	a.n, a.bucket, a.system = n, newBucket(l, Now()), system
}
