package spb

import tsn "tsnswitch"

// backoff spaces repeated work. The first run after a quiet time comes at once,
// the next one not before short has passed, and the wait doubles up to long
// while runs keep coming. It is quiet when twice the last wait has passed
// without a run.
type backoff struct {
	short, long int64
	wait        int64
	until       tsn.Instant // no run before
	last        tsn.Instant
	ran         bool
}

// run takes note of a run now.
func (b *backoff) run(now tsn.Instant) {
	if b.ran && now.Sub(b.last) <= 2*b.wait {
		b.wait = min(2*b.wait, b.long)
	} else {
		b.wait = b.short
	}
	b.last, b.ran = now, true
	b.until = now.Add(b.wait)
}
