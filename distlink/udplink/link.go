package udplink

import (
	"net/netip"
	"sync"
	"time"

	tsn "tsnswitch"
	"tsnswitch/distlink"
)

// Link is one connection: ordered messages on streams. Send and Recv may be
// called from different goroutines.
type Link struct {
	release func() // gives the sockets or the listener's entry back
	dialled bool   // and so its sockets are its own
	queue   int

	mu       sync.Mutex // guards all below and the machine
	remote   netip.AddrPort
	out      sockets
	train    train // empty between steps
	conn     *distlink.Conn
	timer    *time.Timer
	timerAt  tsn.Instant
	received []distlink.Message
	changed  *sync.Cond // received, queue length or state has changed
	closed   bool
	err      error

	up, down chan struct{}
}

func newLink(conn *distlink.Conn, cfg Config, remote netip.AddrPort, out sockets) *Link {
	l := &Link{
		remote: remote, out: out, queue: cfg.Queue, conn: conn,
		timerAt: tsn.Never, up: make(chan struct{}), down: make(chan struct{}),
	}
	if l.queue <= 0 {
		l.queue = 4 << 20
	}
	l.changed = sync.NewCond(&l.mu)
	l.timer = time.AfterFunc(time.Hour, func() { l.step(tsn.Timeout{}) })
	l.mu.Lock()
	l.arm()
	l.mu.Unlock()
	return l
}

// Remote is the peer's address.
func (l *Link) Remote() netip.AddrPort {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.remote
}

// Stats returns the counters of the connection.
func (l *Link) Stats() distlink.Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.conn.Stats()
}

// LaunchState counts the datagrams with launch times; of an accepted link, those
// of all its listener's. The error says why there are none.
func (l *Link) LaunchState() (LaunchStats, error) {
	l.mu.Lock()
	out := l.out
	l.mu.Unlock()
	return out.state()
}

// Send queues messages, whose Data then belongs to the link. It waits while
// more than the configured queue is unsent. A nil error does not say that the
// peer has them: the link goes down if it cannot deliver.
func (l *Link) Send(messages ...distlink.Message) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for !l.closed && l.conn.Stats().Queued > l.queue {
		l.changed.Wait()
	}
	if l.closed {
		return l.err
	}
	l.stepLocked(distlink.Write{Messages: messages})
	return nil
}

// Recv returns the next message in order; after the link went down, first
// what had been delivered and then the reason.
func (l *Link) Recv() (distlink.Message, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.received) == 0 && !l.closed {
		l.changed.Wait()
	}
	if len(l.received) == 0 {
		return distlink.Message{}, l.err
	}
	m := l.received[0]
	l.received[0] = distlink.Message{}
	l.received = l.received[1:]
	if !l.closed {
		l.stepLocked(distlink.Read{Octets: len(m.Data) + 1})
	}
	return m, nil
}

// Done is closed when the link is down; Err then says why.
func (l *Link) Done() <-chan struct{} { return l.down }

// Err is nil while the link is up.
func (l *Link) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// Close tells the peer and ends the link; what is queued is dropped.
func (l *Link) Close() error {
	l.step(distlink.Close{Text: "closed by the application"})
	return nil
}

func (l *Link) step(ev tsn.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.closed {
		l.stepLocked(ev)
	}
}

func (l *Link) stepLocked(ev tsn.Event) {
	for _, e := range l.conn.Step(now(), ev) {
		t, ok := e.(distlink.Transmit)
		if len(l.train.cars) > 0 && (!ok || !l.train.takes(t)) {
			l.out.leave(&l.train)
		}
		switch e := e.(type) {
		case distlink.Transmit:
			l.train.add(e)
		case distlink.Moved:
			l.remote = e.To
		case distlink.Established:
			close(l.up)
		case distlink.Deliver:
			l.received = append(l.received, e.Message)
		case distlink.Closed:
			l.goDown(e)
		}
	}
	if len(l.train.cars) > 0 {
		l.out.leave(&l.train)
	}
	l.changed.Broadcast()
	l.arm()
}

func (l *Link) goDown(e distlink.Closed) {
	l.closed = true
	l.err = &DownError{e}
	if e.Code == distlink.CodeClosed && !e.Remote {
		l.err = ErrClosed
	}
	close(l.down)
	go l.release() // takes the listener's lock, which may be held above us
}

// arm sets the timer to the machine's deadline, unless it fires before anyway:
// an early Timeout is harmless and cheaper than a timer for every packet.
func (l *Link) arm() {
	if l.closed {
		l.timer.Stop()
		return
	}
	at, t := l.conn.Deadline(), now()
	if l.timerAt > t && l.timerAt <= at {
		return
	}
	l.timerAt = at
	l.timer.Reset(time.Duration(max(at.Sub(t), 0)))
}
