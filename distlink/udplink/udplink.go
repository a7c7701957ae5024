// Package udplink runs distlink connections over UDP sockets: the adapter
// between the pure core and the kernel.
//
//	keys, err := udplink.ReadKeys("/etc/distlink.keys")
//	link, err := udplink.Dial(ctx, "10.20.0.2:40001", udplink.Config{
//		Config: distlink.Config{Keys: keys}, Priority: 6,
//	})
//	link.Send(distlink.Message{Data: b})
//	m, err := link.Recv()
//
// A Dial has its own connected socket; all connections of a Listener share
// its socket and are told apart by connection id. Classes may have sockets of
// their own, at the same address and port.
package udplink

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	tsn "tsnswitch"
	"tsnswitch/distlink"
)

// Config is what the sockets and connections are made with.
type Config struct {
	distlink.Config
	Priority int    // SO_PRIORITY; 0 leaves the default, 7 needs CAP_NET_ADMIN
	Device   string // SO_BINDTODEVICE; empty binds to none
	Single   bool   // each datagram goes and comes by a call of its own
	Queue    int    // octets a Send may leave queued before it waits; 4 MiB
	// Classes are those that do not share the socket that the above says, but
	// have one of their own: another PCP, another VLAN. ACKs go with what they are
	// for. Config.Lanes follows from it. The peer has to take our address on
	// each device, and we its.
	Classes map[distlink.Class]Socket
	// Insecure says that it is known that without Keys and Certificates anybody
	// on the network can read, and speak: for a closed VLAN.
	Insecure bool
	// Certificates, if not nil, are used instead of Keys; Identity is made of them.
	Certificates *Certificates
	// Host is who has to be on the certificate of a peer that is dialled; default
	// is the host of the address.
	Host string
	// Log is told of peers that cannot prove themselves; nil: nobody is.
	Log *slog.Logger
	// Launch, if not nil, gives datagrams launch times. Those of a listener's
	// connections share the windows.
	Launch *Launch
}

// Socket is that of a class.
type Socket struct {
	Priority int
	Device   string
	Rate     tsn.Rate // reserved, on the wire; 0: congestion control
	Launch   *Launch
}

// of is the configuration of a class's socket.
func (c Config) of(k distlink.Class) Config {
	s := c.Classes[k]
	c.Priority, c.Device, c.Launch, c.Classes = s.Priority, s.Device, s.Launch, nil
	return c
}

// lanes tells the machine which classes have sockets.
func (c *Config) lanes() {
	c.Lanes = map[distlink.Class]tsn.Rate{}
	for k, s := range c.Classes {
		c.Lanes[k] = s.Rate
	}
}

// ErrClosed says that a link was closed by this side.
var ErrClosed = errors.New("distlink closed")

// DownError says why a link went down.
type DownError struct{ distlink.Closed }

func (e *DownError) Error() string {
	who := "this side"
	if e.Remote {
		who = "the peer"
	}
	return fmt.Sprintf("distlink down: %s (%s, from %s)", e.Code, e.Text, who)
}

// now is the monotonic clock that the machines are stepped with.
func now() tsn.Instant { return tsn.Instant(time.Since(epoch)) + 1 }

var epoch = time.Now()

func random(b []byte) { _, _ = rand.Read(b) } // never fails (crypto/rand)

// ErrInsecure says that neither keys nor their absence were chosen.
var ErrInsecure = errors.New("no keys or certificates; a connection without security has to be chosen (Insecure)")

// check looks for mistakes and makes the identity; host is whom the peer has to be.
func (c *Config) check(host string) error {
	for k := range c.Classes {
		if k > distlink.Control {
			return fmt.Errorf("class %d has a socket, and is none", k)
		}
	}
	for _, k := range c.Keys {
		if err := k.Valid(); err != nil {
			return fmt.Errorf("key %q: %w", k.ID, err)
		}
	}
	switch {
	case c.Certificates != nil && len(c.Keys) > 0:
		return errors.New("keys and certificates; one is wanted")
	case c.Certificates != nil:
		return c.identify(host)
	case len(c.Keys) == 0 && c.Identity == nil && !c.Insecure:
		return ErrInsecure
	}
	return nil
}

// identify has the files read now, as what is wrong with them is better said at
// once, and again for each connection.
func (c *Config) identify(host string) error {
	files, log := c.Certificates, c.Log
	c.Identity = func() (*distlink.Identity, error) {
		i, err := files.Identity(host)
		if err != nil && log != nil {
			log.Warn("distlink cannot prove who this is", "err", err)
		}
		return i, err
	}
	_, err := files.Identity(host)
	return err
}

// control sets the socket options before the first datagram.
func (c Config) control(_, _ string, raw syscall.RawConn) error {
	var err error
	if e := raw.Control(func(fd uintptr) {
		if c.Priority > 0 {
			if e := unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PRIORITY, c.Priority); e != nil {
				err = fmt.Errorf("socket priority %d (7 needs CAP_NET_ADMIN): %w", c.Priority, e)
				return
			}
		}
		if c.Device != "" {
			if e := unix.BindToDevice(int(fd), c.Device); e != nil {
				err = fmt.Errorf("bind to device %s (does it exist?): %w", c.Device, e)
				return
			}
		}
		// The path's MTU is searched for: no fragments, and no router's word.
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_PROBE)
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_PROBE)
		if !c.Single {
			join(int(fd))
		}
		// As much as the kernel gives; the window is what guards the buffer.
		const want = 4 << 20
		if unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, want) != nil {
			_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, want)
		}
	}); e != nil {
		return e
	}
	return err
}

// window fits the credit to the receive buffer: the kernel charges a small
// datagram for several times its length.
func (c *Config) window(conn *net.UDPConn) {
	if c.Window != 0 {
		return
	}
	c.Window = 64 << 10
	raw, err := conn.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		if n, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF); err == nil {
			c.Window = uint64(min(max(n/4, 32<<10), 1<<20))
		}
	})
}

// Dial connects to a distlink listener at host:port.
func Dial(ctx context.Context, address string, cfg Config) (*Link, error) {
	l, err := dial(ctx, address, cfg)
	if err != nil {
		return nil, fmt.Errorf("distlink dial %s: %w", address, err)
	}
	return l, nil
}

func dial(ctx context.Context, address string, cfg Config) (*Link, error) {
	host := cfg.Host
	if host == "" {
		host, _, _ = net.SplitHostPort(address)
		host, _, _ = strings.Cut(host, "%") // a zone is for us alone
	}
	if err := cfg.check(host); err != nil {
		return nil, err
	}
	sockets, err := cfg.connect(ctx, address)
	if err != nil {
		return nil, err
	}
	remote := sockets[0].conn.RemoteAddr().(*net.UDPAddr).AddrPort()
	cfg.window(sockets[0].conn)
	cfg.lanes()
	cfg.IPv6 = remote.Addr().Is6()
	l := newLink(distlink.NewClient(cfg.Config, random), cfg, remote, sockets)
	l.dialled = true
	l.release = func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.out.close()
	}
	l.readSockets(sockets)
	l.step(tsn.Timeout{})
	select {
	case <-l.up:
		return l, nil
	case <-l.down:
		return nil, l.err
	case <-ctx.Done():
		_ = l.Close()
		return nil, ctx.Err()
	}
}

// connect opens the sockets of a link that dials.
func (c Config) connect(ctx context.Context, address string) (sockets, error) {
	d := net.Dialer{Control: c.control}
	return c.open(func(k Config, base net.Addr) (*net.UDPConn, error) {
		to := address
		if base != nil {
			d = net.Dialer{Control: k.controlShared, LocalAddr: base}
		}
		nc, err := d.DialContext(ctx, "udp", to)
		if err != nil {
			return nil, err
		}
		return nc.(*net.UDPConn), nil
	})
}

// ErrAccepted says that only the side that dialled can move.
var ErrAccepted = errors.New("distlink: an accepted connection cannot move")

// Rebind moves a dialled link to new sockets with cfg's priority, device, rate,
// classes and launch times: to another interface, or onto a reserved stream. Nothing is lost
// that the old socket would not have lost. The peer follows.
func (l *Link) Rebind(ctx context.Context, cfg Config) error {
	if !l.dialled {
		return ErrAccepted
	}
	out, err := cfg.connect(ctx, l.Remote().String())
	if err != nil {
		return fmt.Errorf("distlink rebind: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		out.close()
		return l.err
	}
	l.out.close()
	l.out = out
	l.readSockets(out)
	cfg.lanes()
	l.stepLocked(distlink.Touch{Config: &cfg.Config})
	return nil
}

// readSockets feeds a dialled link until its sockets are closed.
func (l *Link) readSockets(out sockets) {
	for _, s := range out {
		if s != nil {
			go s.receive(func(_ netip.AddrPort, b []byte, segment int) {
				l.step(distlink.Datagram{Data: b, Segment: segment})
			})
		}
	}
}

// Listener accepts connections at one UDP port.
type Listener struct {
	out    sockets
	cfg    Config
	door   *distlink.Listener
	accept chan *Link
	done   chan struct{}
	once   sync.Once

	mu       sync.Mutex
	links    map[uint64]*Link // by the id that the peer's packets carry
	inits    map[initKey]*Link
	unproven map[netip.Addr]int // of links, by address
	waiting  int                // the sum
}

type initKey struct {
	from netip.AddrPort
	id   uint64
}

const (
	acceptBacklog = 64
	maxUnproven   = 64  // peers of one address that have not proved themselves yet,
	maxWaiting    = 256 // and all of them
)

// Listen opens a listener on address, which may have port 0.
func Listen(ctx context.Context, address string, cfg Config) (*Listener, error) {
	if err := cfg.check(""); err != nil {
		return nil, fmt.Errorf("distlink listen %s: %w", address, err)
	}
	out, err := cfg.listen(ctx, address)
	if err != nil {
		return nil, fmt.Errorf("distlink listen %s: %w", address, err)
	}
	cfg.window(out[0].conn)
	cfg.lanes()
	l := &Listener{
		out: out, cfg: cfg, door: distlink.NewListener(cfg.Config, random),
		accept: make(chan *Link, acceptBacklog), done: make(chan struct{}),
		links: map[uint64]*Link{}, inits: map[initKey]*Link{}, unproven: map[netip.Addr]int{},
	}
	for _, s := range out {
		if s != nil {
			go s.receive(l.read)
		}
	}
	return l, nil
}

func (c Config) listen(ctx context.Context, address string) (sockets, error) {
	return c.open(func(k Config, base net.Addr) (*net.UDPConn, error) {
		lc, at := net.ListenConfig{Control: c.control}, address
		if base != nil {
			lc.Control, at = k.controlShared, base.String()
		}
		pc, err := lc.ListenPacket(ctx, "udp", at)
		if err != nil {
			return nil, err
		}
		return pc.(*net.UDPConn), nil
	})
}

// Addr is the address listened on.
func (l *Listener) Addr() netip.AddrPort { return l.out[0].conn.LocalAddr().(*net.UDPAddr).AddrPort() }

// Stats returns the counters of the door.
func (l *Listener) Stats() distlink.ListenerStats {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.door.Stats()
}

// LaunchState counts the datagrams with launch times of all connections. The
// error says why there are none.
func (l *Listener) LaunchState() (LaunchStats, error) { return l.out.state() }

// Accept returns the next connection.
func (l *Listener) Accept() (*Link, error) {
	select {
	case link := <-l.accept:
		return link, nil
	case <-l.done:
		return nil, ErrClosed
	}
}

// Close closes the listener and its connections.
func (l *Listener) Close() error {
	l.once.Do(func() {
		close(l.done)
		l.mu.Lock()
		links := make([]*Link, 0, len(l.links))
		for _, link := range l.links {
			links = append(links, link)
		}
		l.mu.Unlock()
		for _, link := range links {
			_ = link.Close()
		}
		l.out.close()
	})
	return nil
}

// read hands out what came joined by the connection that it is for, mostly one.
func (l *Listener) read(from netip.AddrPort, b []byte, segment int) {
	if segment == 0 || segment >= len(b) {
		l.datagram(from, b, 0)
		return
	}
	for len(b) > 0 {
		n := min(segment, len(b))
		for n < len(b) && sameConnection(b, b[n:]) {
			n += min(segment, len(b)-n)
		}
		l.datagram(from, b[:n:n], segment)
		b = b[n:]
	}
}

// sameConnection reports whether two datagrams begin with DATA packets for one connection.
func sameConnection(a, b []byte) bool {
	const id = 12 // octets of a header, the last eight are the id
	return len(a) >= id && len(b) >= id && a[1] == b[1] && distlink.PacketType(a[1]&15) == distlink.TypeData && bytes.Equal(a[4:id], b[4:id])
}

func (l *Listener) datagram(from netip.AddrPort, b []byte, segment int) {
	p, _, err := distlink.ParsePacket(b)
	l.mu.Lock()
	link := l.links[p.DestID]
	if p.Type == distlink.TypeInit {
		link = l.inits[initKey{from, p.Params.SourceID}]
	}
	if p.Type == distlink.TypeReset {
		for _, c := range l.links {
			if c.Remote() == from && c.conn.RemoteID() == p.ResetID {
				link = c
			}
		}
	}
	if err != nil || link == nil {
		effects := l.door.Step(now(), distlink.Incoming{From: from, Data: b, Full: l.waiting >= maxWaiting || l.unproven[from.Addr()] >= maxUnproven})
		l.newLinks(effects)
		l.mu.Unlock()
		return
	}
	l.mu.Unlock()
	link.step(distlink.Datagram{From: from, Data: b, Segment: segment})
}

// newLinks carries out the effects of the door, with mu held.
func (l *Listener) newLinks(effects []tsn.Effect) {
	for _, e := range effects {
		switch e := e.(type) {
		case distlink.Reply:
			l.out.write(0, e.Data, e.To)
		case distlink.Accept:
			id, key := e.Conn.ID(), initKey{e.From, e.Conn.RemoteID()}
			link := newLink(e.Conn, l.cfg, e.From, l.out)
			link.release = func() {
				l.mu.Lock()
				defer l.mu.Unlock()
				delete(l.links, id)
				delete(l.inits, key)
			}
			l.links[id], l.inits[key] = link, link
			if l.cfg.Identity == nil {
				l.offer(link)
				continue
			}
			l.wait(e.From.Addr(), 1)
			go l.prove(link, e.From.Addr())
		}
	}
}

// offer gives a link to who accepts.
func (l *Listener) offer(link *Link) {
	select {
	case l.accept <- link:
	default: // nobody accepts
		go func() { _ = link.Close() }()
	}
}

// wait counts who has not proved itself, with mu held.
func (l *Listener) wait(from netip.Addr, n int) {
	l.waiting += n
	if l.unproven[from] += n; l.unproven[from] == 0 {
		delete(l.unproven, from)
	}
}

// prove waits until a peer has proved itself, or the link is down.
func (l *Listener) prove(link *Link, from netip.Addr) {
	select {
	case <-link.up:
		l.offer(link)
	case <-link.down:
		if l.cfg.Log != nil {
			l.cfg.Log.Warn("distlink peer without proof", "peer", link.Remote(), "err", link.Err())
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.wait(from, -1)
}
