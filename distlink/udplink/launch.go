package udplink

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"syscall"

	"tsnswitch/internal/txtime"
)

// Launch gives datagrams launch times (SO_TXTIME): the kernel's etf, or a device,
// lets each go at the talker's own time in its stream's window, to which the
// timers of a process cannot aim. Config.Rate still says how many there may be.
//
// The device must have an etf for the class of Config.Priority (see
// tsn.LaunchTime). Without one, or without CAP_NET_ADMIN, datagrams leave when
// the rate lets them, and LaunchState says why.
type Launch struct {
	// Base is when a window begins, in CLOCK_TAI, and Interval how often, ns.
	// Without Interval there is no window: datagrams leave Pace apart.
	Base, Interval int64
	Frames         int   // in each window; 0: 1
	Pace           int64 // ns from one to the next
	// Lead is how long before its launch time, and the etf's delta before that,
	// a datagram is at least handed to the kernel; 0: 200 us.
	Lead int64
}

func (l Launch) slots() (txtime.Slots, error) {
	if l.Interval == 0 {
		l.Interval, l.Frames = l.Pace, 1
	}
	switch frames := int64(max(1, l.Frames)); {
	case l.Interval <= 0 || l.Pace < 0 || l.Lead < 0 || l.Frames < 0:
		return txtime.Slots{}, fmt.Errorf("launch times: an interval of %d ns, a pace of %d ns and a lead of %d ns cannot be", l.Interval, l.Pace, l.Lead)
	case frames > 1 && (l.Pace == 0 || l.Pace*(frames-1) >= l.Interval):
		return txtime.Slots{}, fmt.Errorf("launch times: %d frames %d ns apart do not fit into an interval of %d ns", frames, l.Pace, l.Interval)
	}
	return txtime.Slots{Base: l.Base, Interval: l.Interval, Frames: l.Frames, Pace: l.Pace}, nil
}

const defaultLead = 200_000

// LaunchStats count datagrams with a launch time.
type LaunchStats struct {
	Sent uint64
	// Missed could not leave in time, Refused were too late when they were
	// queued. To the peer both are lost.
	Missed, Refused uint64
}

var errNotAsked = errors.New("launch times are not asked for")

// launcher writes datagrams to a socket. why is set if they have no launch time.
type launcher struct {
	conn *net.UDPConn
	raw  syscall.RawConn
	why  error
	lead int64 // with the etf's delta

	single bool // no trains of datagrams
	io     ioCounters

	mu    sync.Mutex
	slots txtime.Slots
	stats LaunchStats
}

// newLauncher enables launch times where cfg asks for them. A wrong
// configuration is an error; a kernel that has none is not.
func newLauncher(conn *net.UDPConn, cfg Config) (*launcher, error) {
	l := &launcher{conn: conn, why: errNotAsked, single: cfg.Single || cfg.Rate > 0 || cfg.Launch != nil}
	if cfg.Launch == nil {
		return l, nil
	}
	var err error
	if l.slots, err = cfg.Launch.slots(); err != nil {
		return nil, err
	}
	if l.raw, err = conn.SyscallConn(); err != nil {
		return nil, err
	}
	l.why = l.enable(cfg)
	return l, nil
}

func (l *launcher) enable(cfg Config) error {
	device := cfg.Device
	if device == "" {
		var err error
		if device, err = deviceOf(l.conn.LocalAddr().(*net.UDPAddr).AddrPort().Addr()); err != nil {
			return err
		}
	}
	queue, err := txtime.QueueOf(device, cfg.Priority)
	if err != nil {
		return err
	}
	if l.lead = cfg.Launch.Lead; l.lead == 0 {
		l.lead = defaultLead
	}
	l.lead += queue.Delta
	if cerr := l.raw.Control(func(fd uintptr) { err = txtime.Enable(int(fd), queue.Deadline) }); cerr != nil {
		return cerr
	}
	return err
}

// deviceOf is the interface that has an address.
func deviceOf(a netip.Addr) (string, error) {
	all, err := net.Interfaces()
	if err != nil {
		return "", fmt.Errorf("launch times: %w", err)
	}
	for _, i := range all {
		addrs, err := i.Addrs()
		if err != nil {
			continue // it has just gone
		}
		for _, x := range addrs {
			if p, err := netip.ParsePrefix(x.String()); err == nil && p.Addr() == a.Unmap() {
				return i.Name, nil
			}
		}
	}
	return "", fmt.Errorf("launch times: no interface has the address %s; name one (Device)", a)
}

// write sends a datagram, to nobody in particular on a connected socket. One
// that is not sent is one lost.
func (l *launcher) write(b []byte, to netip.AddrPort) {
	var control []byte
	if l.why == nil {
		control = txtime.Control(l.next())
	}
	_, _, _ = l.conn.WriteMsgUDPAddrPort(b, control, to)
}

// next takes a launch time.
func (l *launcher) next() int64 {
	now, _ := txtime.Now() // a clock that Enable has taken
	l.mu.Lock()
	defer l.mu.Unlock()
	l.collect()
	l.stats.Sent++
	return l.slots.Take(now + l.lead)
}

// collect empties the error queue, which takes part of the socket's buffer.
func (l *launcher) collect() {
	_ = l.raw.Control(func(fd uintptr) {
		reports, _ := txtime.Reports(int(fd))
		for _, r := range reports {
			if r.Missed {
				l.stats.Missed++
			} else {
				l.stats.Refused++
			}
		}
	})
}

// state is LaunchState.
func (l *launcher) state() (LaunchStats, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.why == nil {
		l.collect()
	}
	return l.stats, l.why
}
