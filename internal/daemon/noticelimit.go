package daemon

import (
	"sync"
	"time"

	"tsnswitch"
)

// What a peer can cause with every frame must not fill logs and push all else
// out of the ring of events: noticeBurst notices of a kind, port and domain at
// once, one every noticeEvery in the long run. Those held back are counted.
const (
	noticeBurst = 30
	noticeEvery = time.Second
)

type noticeKey struct {
	kind   string
	port   tsn.Port
	domain uint8
}

// noticeLimit holds one allowance for each key; kinds, ports and domains are few.
type noticeLimit struct {
	mu   sync.Mutex
	keys map[noticeKey]*noticeAllowance
}

type noticeAllowance struct {
	full time.Time // when all of the burst will be there again
	held uint64    // back since the last that passed
}

// admit reports whether a notice may pass at a time and, if so, how many of its
// kind were held back before it.
func (l *noticeLimit) admit(n tsn.Notice, now time.Time) (held uint64, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.keys == nil {
		l.keys = map[noticeKey]*noticeAllowance{}
	}
	key := noticeKey{n.Kind, n.Port, n.Domain}
	a := l.keys[key]
	if a == nil {
		a = &noticeAllowance{}
		l.keys[key] = a
	}
	if a.full.Before(now) {
		a.full = now
	}
	if a.full.Sub(now) > (noticeBurst-1)*noticeEvery {
		a.held++
		return 0, false
	}
	a.full = a.full.Add(noticeEvery)
	held, a.held = a.held, 0
	return held, true
}
