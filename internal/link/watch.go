package link

import (
	"errors"
	"fmt"
	"net"
	"runtime"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"tsnswitch"
)

// resubscribeAfter is the pause before netlink is tried again after a failure.
const resubscribeAfter = time.Second

// watch starts the goroutine that follows the links and waits until it has
// looked at every port once. All sockets are made by that goroutine, on one
// thread in the network namespace of watch's caller: interfaces that come
// back minutes later are found in the same namespace.
func (l *Ports) watch() error {
	ns, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open own network namespace (is /proc mounted?): %w", err)
	}
	opened := make(chan error, 1)
	l.watched.Add(1)
	go func() {
		defer l.watched.Done()
		runtime.LockOSThread() // never unlocked: a thread in another namespace must die
		err := enter(ns)
		unix.Close(ns)
		if err != nil {
			opened <- err
			return
		}
		l.follow(opened)
	}()
	return <-opened
}

// enter moves the calling thread into the namespace, unless it is there.
func enter(ns int) error {
	var want, have unix.Stat_t
	if err := errors.Join(unix.Fstat(ns, &want), unix.Stat("/proc/thread-self/ns/net", &have)); err != nil {
		return fmt.Errorf("compare network namespaces: %w", err)
	}
	if want.Ino == have.Ino && want.Dev == have.Dev {
		return nil
	}
	if err := unix.Setns(ns, unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("enter network namespace: %w", err)
	}
	return nil
}

// follow is the watcher's loop. It reports on opened when every interface
// that exists has its sockets; an error there ends it.
func (l *Ports) follow(opened chan<- error) {
	updates, stop, err := l.cfg.subscribe()
	defer func() { stop() }()
	if err == nil {
		err = l.openAll()
	}
	opened <- err
	if err != nil {
		return
	}
	l.resync()
	for {
		select {
		case <-l.quit:
			return
		case p := <-l.renew:
			l.reopen(p)
		case u, ok := <-updates:
			if ok {
				l.update(u)
				continue
			}
			// The kernel dropped messages, or the socket failed. Whatever
			// was missed, resync sees the result of it.
			stop()
			l.cfg.Logger.Warn("link events were lost; reading every link again")
			if updates, stop, err = l.cfg.subscribe(); err != nil {
				l.cfg.Logger.Error("link events are not available; trying again", "err", err)
				updates = l.closedAfter(resubscribeAfter)
			}
			l.resync()
		}
	}
}

// closedAfter returns a channel that closes after d, as a lost subscription
// does, or never if Close comes first.
func (l *Ports) closedAfter(d time.Duration) chan netlink.LinkUpdate {
	ch := make(chan netlink.LinkUpdate)
	l.watched.Add(1)
	go func() {
		defer l.watched.Done()
		timer := time.NewTimer(d)
		defer timer.Stop()
		select {
		case <-timer.C:
			close(ch)
		case <-l.quit:
		}
	}()
	return ch
}

// subscribe asks for link events. stop ends the subscription and waits until
// its goroutine has.
func subscribe() (updates chan netlink.LinkUpdate, stop func(), err error) {
	updates = make(chan netlink.LinkUpdate, 64)
	done := make(chan struct{})
	options := netlink.LinkSubscribeOptions{ReceiveBufferSize: 1 << 20, ReceiveBufferForceSize: true}
	err = netlink.LinkSubscribeWithOptions(updates, done, options)
	if errors.Is(err, unix.EPERM) { // more than others have needs CAP_NET_ADMIN
		options.ReceiveBufferForceSize = false
		err = netlink.LinkSubscribeWithOptions(updates, done, options)
	}
	if err != nil {
		close(done)
		return nil, func() {}, fmt.Errorf("subscribe to link events: %w", err)
	}
	stopped := false
	return updates, func() {
		if stopped {
			return
		}
		stopped = true
		close(done)
		for range updates { // its goroutine may be sending; it closes the channel
		}
	}, nil
}

// openAll opens the sockets of the interfaces that exist.
func (l *Ports) openAll() error {
	for _, p := range l.sorted() {
		link, err := netlink.LinkByName(p.Ifname)
		if isNotFound(err) {
			l.cfg.Logger.Warn("interface does not exist yet; its port stays down until it does", "port", p.Port, "interface", p.Ifname)
			continue
		}
		if err == nil {
			err = p.open(link.Attrs())
		}
		if err != nil {
			return fmt.Errorf("port %d (%s): %w", p.Port, p.Ifname, err)
		}
	}
	return nil
}

// resync reads the state of every port from the kernel.
func (l *Ports) resync() {
	for _, p := range l.sorted() {
		link, err := netlink.LinkByName(p.Ifname)
		switch {
		case isNotFound(err):
			l.gone(p)
		case err != nil:
			l.cfg.Logger.Error("cannot read link", "port", p.Port, "interface", p.Ifname, "err", err)
		default:
			l.present(p, link.Attrs())
		}
	}
}

func isNotFound(err error) bool {
	var notFound netlink.LinkNotFoundError
	return errors.As(err, &notFound)
}

// update handles one netlink message.
func (l *Ports) update(u netlink.LinkUpdate) {
	// A port that leaves its bridge is announced as a deleted link of family
	// AF_BRIDGE; the interface itself is still there.
	if u.Family == unix.AF_BRIDGE {
		return
	}
	attrs := u.Attrs()
	for _, p := range l.sorted() {
		switch {
		case u.Header.Type == unix.RTM_DELLINK && attrs.Index == p.index:
			l.gone(p)
		case u.Header.Type == unix.RTM_NEWLINK && attrs.Name == p.Ifname:
			l.present(p, attrs)
			if l.cfg.Touched != nil {
				l.cfg.Touched()
			}
		case u.Header.Type == unix.RTM_NEWLINK && attrs.Index == p.index: // renamed away
			l.gone(p)
		}
	}
}

// present brings a port in line with its interface.
func (l *Ports) present(p *port, attrs *netlink.LinkAttrs) {
	if attrs.Index != p.index {
		l.gone(p)
		if err := p.open(attrs); err != nil {
			l.cfg.Logger.Error("cannot open sockets; trying again at the next link event", "port", p.Port, "err", err)
			return
		}
	}
	p.setOwn(attrs.HardwareAddr)
	const running = unix.IFF_UP | unix.IFF_RUNNING
	up := attrs.RawFlags&running == running
	rate := p.rate
	if up {
		rate = p.lineRate()
	}
	l.announce(p, up, rate)
}

// gone notes that the interface does not exist.
func (l *Ports) gone(p *port) {
	if p.index != 0 {
		l.cfg.Logger.Warn("interface is gone", "port", p.Port, "interface", p.Ifname)
		p.index = 0
		p.closeControl()
		if p.gptp != nil {
			p.gptp.close()
		}
	}
	l.announce(p, false, p.rate)
}

// announce tells both loops, if anything changed.
func (l *Ports) announce(p *port, up bool, rate tsn.Rate) {
	if up == p.up && rate == p.rate {
		return
	}
	p.up, p.rate = up, rate
	ev := tsn.LinkChanged{Port: p.Port, Up: up, Rate: rate}
	l.cfg.Timing(ev)
	l.cfg.Control(ev)
}

// reopen gives the port a fresh gPTP socket.
func (l *Ports) reopen(p *port) {
	if p.index == 0 {
		return // the sockets come with the interface
	}
	ifi := &net.Interface{Name: p.Ifname, Index: p.index}
	if err := p.gptp.open(ifi); err != nil {
		l.cfg.Logger.Error("cannot reopen gPTP socket", "port", p.Port, "err", err)
	}
}

// open opens the port's sockets on an interface.
func (p *port) open(attrs *netlink.LinkAttrs) error {
	ifi := &net.Interface{Name: attrs.Name, Index: attrs.Index, MTU: attrs.MTU, HardwareAddr: attrs.HardwareAddr}
	p.setOwn(attrs.HardwareAddr)
	for _, s := range p.untimed() {
		if err := s.open(ifi); err != nil {
			return err
		}
	}
	if p.gptp != nil {
		if err := p.gptp.open(ifi); err != nil {
			return err
		}
	}
	p.index = attrs.Index
	return nil
}

func (p *port) setOwn(addr net.HardwareAddr) {
	if len(addr) != 6 {
		return
	}
	own := tsn.MAC(addr).Uint64()
	if p.gptp != nil {
		p.gptp.own.Store(own)
	}
	if p.mrp != nil {
		for i := range p.mrp.limits {
			p.mrp.limits[i].own.Store(own)
		}
	}
}

// lineRate is the configured rate, else the driver's, else 0: unknown.
func (p *port) lineRate() tsn.Rate {
	if p.Rate != 0 {
		return p.Rate
	}
	rate, err := ethtoolRate(p.Ifname)
	if err != nil {
		return 0
	}
	return rate
}
