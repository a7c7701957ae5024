package link

import (
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"sort"
	"sync"

	"github.com/vishvananda/netlink"

	"tsnswitch"
)

// ErrAbsent is returned by Send while the port's interface does not exist.
// The port comes back by itself when the interface does.
var ErrAbsent = errors.New("the interface does not exist at present")

// ErrNoSocket is returned by Send for a frame whose length/type no socket of
// the port carries.
var ErrNoSocket = errors.New("no socket carries this frame")

// DefaultStampTimeout is how long an egress time stamp may take, in ns. Real
// interfaces have been seen to need tens of milliseconds.
const DefaultStampTimeout int64 = 50_000_000

// Config says what Open shall do. The zero value of an optional field means
// its default.
type Config struct {
	Ports []PortConfig
	Clock Clock   // needed if a port runs gPTP
	Own   tsn.MAC // the node's address; gPTP frames from it are dropped. Optional

	// Timing gets the gPTP events, Control the control frames, both every
	// LinkChanged. They are called from several goroutines and must not
	// block for long: a full queue here means lost frames in the kernel.
	Timing, Control func(tsn.Event)

	// Touched, if not nil, is called for each word of the kernel on a port's
	// interface, whether or not it is news: a link that was down so shortly that the
	// kernel tells of it once, when it is up again, leaves no LinkChanged, but a
	// gate timer that may stand still.
	Touched func()

	// Neighbours is called with each ARP packet and neighbour solicitation or
	// advertisement that comes in on a port with PortConfig.Neighbours, as it
	// was on the wire. What it returns, if not nil, is sent back.
	Neighbours func(port tsn.Port, frame []byte) (reply []byte)

	// Collects says that who calls Send calls Collect afterwards: stamps that
	// come with their frames are then not reported through Timing.
	Collects bool

	// Realtime gives the goroutines that receive gPTP threads of their own with
	// that SCHED_FIFO priority; 0: none. See Starved.
	Realtime int

	StampTimeout int64 // ns; DefaultStampTimeout
	// Per port; DefaultGPTPLimit, DefaultControlLimit, DefaultMRPLimit.
	GPTPLimit, ControlLimit, MRPLimit Limit
	Logger                            *slog.Logger

	fault func(c control) bool // see gptpPort

	subscribe func() (updates chan netlink.LinkUpdate, stop func(), err error) // tests lose events
}

// PortConfig is one port.
type PortConfig struct {
	Port          tsn.Port
	Ifname        string
	Rate          tsn.Rate // instead of what the driver says; 0: ask the driver
	Control, GPTP bool
	Neighbours    bool
	MRP           bool
}

func (c *Config) validate() error {
	var errs []error
	seen := map[tsn.Port]bool{}
	names := map[string]bool{}
	for _, p := range c.Ports {
		switch {
		case p.Port == tsn.NoPort:
			errs = append(errs, fmt.Errorf("interface %q: port number 0; give one of 1..4095", p.Ifname))
		case p.Ifname == "":
			errs = append(errs, fmt.Errorf("port %d: no interface name", p.Port))
		case seen[p.Port] || names[p.Ifname]:
			errs = append(errs, fmt.Errorf("port %d (%s): port or interface given twice", p.Port, p.Ifname))
		case p.Neighbours && c.Neighbours == nil:
			errs = append(errs, fmt.Errorf("port %d (%s): neighbours need Config.Neighbours", p.Port, p.Ifname))
		case p.GPTP && c.Clock == nil:
			errs = append(errs, fmt.Errorf("port %d (%s): gPTP needs Config.Clock", p.Port, p.Ifname))
		}
		seen[p.Port], names[p.Ifname] = true, true
	}
	return errors.Join(errs...)
}

func (c *Config) setDefaults() {
	if c.StampTimeout <= 0 {
		c.StampTimeout = DefaultStampTimeout
	}
	if c.GPTPLimit == (Limit{}) {
		c.GPTPLimit = DefaultGPTPLimit
	}
	if c.ControlLimit == (Limit{}) {
		c.ControlLimit = DefaultControlLimit
	}
	if c.MRPLimit == (Limit{}) {
		c.MRPLimit = DefaultMRPLimit
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.subscribe == nil {
		c.subscribe = subscribe
	}
	if c.Timing == nil {
		c.Timing = func(tsn.Event) {}
	}
	if c.Control == nil {
		c.Control = func(tsn.Event) {}
	}
}

// Ports is an open set of ports.
type Ports struct {
	cfg   Config
	ports map[tsn.Port]*port

	renew   chan *port // ports that need fresh sockets
	quit    chan struct{}
	watched sync.WaitGroup
	once    sync.Once
}

// port is everything about one port. The watcher alone uses its link fields.
type port struct {
	PortConfig
	control *controlPort // nil if not configured
	ask     *controlPort // of hosts' questions
	mrp     *controlPort
	gptp    *gptpPort

	index int // interface index, 0 while absent
	up    bool
	rate  tsn.Rate
}

// Open opens the sockets of every port in the network namespace of the
// calling thread and starts to follow their links. An interface that does not
// exist yet is no error: its port is down until it appears.
func Open(cfg Config) (*Ports, error) {
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("link: %w", err)
	}
	cfg.setDefaults()
	l := &Ports{
		cfg:   cfg,
		ports: map[tsn.Port]*port{},
		renew: make(chan *port, len(cfg.Ports)),
		quit:  make(chan struct{}),
	}
	for _, pc := range cfg.Ports {
		p, err := l.newPort(pc)
		if err != nil {
			l.Close()
			return nil, fmt.Errorf("link: %w", err)
		}
		l.ports[pc.Port] = p
	}
	if err := l.watch(); err != nil {
		l.Close()
		return nil, fmt.Errorf("link: %w", err)
	}
	return l, nil
}

func (l *Ports) newPort(pc PortConfig) (*port, error) {
	p := &port{PortConfig: pc}
	if pc.Control {
		p.control = newControlPort(pc.Port, &l.cfg)
	}
	if pc.Neighbours {
		p.ask = newNeighbourPort(pc.Port, &l.cfg)
	}
	if pc.MRP {
		p.mrp = newMRPPort(pc.Port, &l.cfg)
	}
	if pc.GPTP {
		p.gptp = &gptpPort{
			port: pc.Port, timeout: l.cfg.StampTimeout,
			collects: l.cfg.Collects, realtime: l.cfg.Realtime, fault: l.cfg.fault, clock: l.cfg.Clock, deliver: l.cfg.Timing, log: l.cfg.Logger,
			reopen: func() {
				select {
				case l.renew <- p:
				default: // asked for already
				}
			},
		}
		p.gptp.admission.setupGPTP(&p.gptp.n, l.cfg.GPTPLimit, l.cfg.Own)
		if err := p.gptp.start(); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// Send transmits an effect of a machine. It never waits longer than a few
// milliseconds. A frame that the kernel refuses is counted and returned as an
// error; if it was tagged, Sent{Stamped: false} follows as for a lost stamp.
func (l *Ports) Send(s tsn.Send) error {
	p := l.ports[s.Port]
	if p == nil {
		return fmt.Errorf("link: send: port %d is not configured", s.Port)
	}
	most := maxFrame
	if len(s.Frame) >= headerLen && binary.BigEndian.Uint16(s.Frame[12:]) == typeTag {
		most = maxTagged
	}
	if len(s.Frame) < headerLen || len(s.Frame) > most {
		return fmt.Errorf("link: send on port %d: frame of %d octets is outside %d..%d", s.Port, len(s.Frame), headerLen, most)
	}
	switch typ := binary.BigEndian.Uint16(s.Frame[12:]); {
	case typ == 0x88f7 && p.gptp != nil:
		return p.gptp.send(s)
	case taggedMMRP(s.Frame) && p.mrp != nil:
		return p.mrp.send(s)
	case (typ <= 1500 || typ == typeOwn || typ == typeCFM || typ == typeTag) && p.control != nil:
		return p.control.send(s)
	case (typ == typeMSRP || typ == typeMVRP || typ == typeMMRP) && p.mrp != nil:
		return p.mrp.send(s)
	default:
		return fmt.Errorf("link: send on port %d (%s): length/type %04x: %w", s.Port, p.Ifname, typ, ErrNoSocket)
	}
}

// Stamping tells how the gPTP frames of a port are stamped; false while it has
// no interface, or no gPTP.
func (l *Ports) Stamping(port tsn.Port) (Stamping, bool) {
	p := l.ports[port]
	if p == nil || p.gptp == nil {
		return Stamping{}, false
	}
	p.gptp.mu.Lock()
	defer p.gptp.mu.Unlock()
	return p.gptp.stamping, p.gptp.sockets != noSockets
}

// Collect appends the Sent events of a port's frames that were stamped at once.
func (l *Ports) Collect(port tsn.Port, to []tsn.Sent) []tsn.Sent {
	if p := l.ports[port]; p != nil && p.gptp != nil {
		return p.gptp.collect(to)
	}
	return to
}

// Starved says why gPTP ports are not real-time although Config asks for it, or
// nil.
func (l *Ports) Starved() error {
	for _, p := range l.sorted() {
		if p.gptp != nil {
			p.gptp.mu.Lock()
			err := p.gptp.starved
			p.gptp.mu.Unlock()
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// Counters returns the counters of every socket, by port, then protocol.
func (l *Ports) Counters() []Counters {
	var all []Counters
	for _, p := range l.sorted() {
		if p.control != nil {
			p.control.drops()
			all = append(all, p.control.n.snapshot(p.Port, Control))
		}
		if p.ask != nil {
			p.ask.drops()
			all = append(all, p.ask.n.snapshot(p.Port, Neighbours))
		}
		if p.mrp != nil {
			p.mrp.drops()
			all = append(all, p.mrp.n.snapshot(p.Port, MRP))
		}
		if p.gptp != nil {
			p.gptp.drops()
			all = append(all, p.gptp.n.snapshot(p.Port, GPTP))
		}
	}
	return all
}

func (l *Ports) sorted() []*port {
	all := make([]*port, 0, len(l.ports))
	for _, p := range l.ports {
		all = append(all, p)
	}
	sort.Slice(all, func(i, j int) bool { return all[i].Port < all[j].Port })
	return all
}

// closeControl closes the sockets that take no time stamps.
func (p *port) closeControl() {
	for _, s := range p.untimed() {
		s.close()
	}
}

// untimed are the configured ones of those.
func (p *port) untimed() (all []*controlPort) {
	for _, s := range []*controlPort{p.control, p.ask, p.mrp} {
		if s != nil {
			all = append(all, s)
		}
	}
	return all
}

// Close ends every goroutine and socket. Callbacks that are running must be
// able to return; none runs after Close has.
func (l *Ports) Close() {
	l.once.Do(func() {
		close(l.quit)
		l.watched.Wait()
		for _, p := range l.sorted() {
			p.closeControl()
			if p.gptp != nil {
				p.gptp.stop()
			}
		}
	})
}
