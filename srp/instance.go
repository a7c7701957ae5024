package srp

import (
	"fmt"
	"slices"

	"tsnswitch"
)

// Config is fixed for the life of an Instance. Zero values mean the default.
type Config struct {
	Ports    []PortConfig // ascending port
	ClassMap tsn.ClassMap // the zero map means tsn.DefaultClassMap

	// Shares of a port's rate, in percent: what SR class A may reserve
	// (deltaBandwidth, 802.1Q 34.3.1), what the scheduled class may, and what
	// all together may. Default 75 each.
	SRPercent, ScheduledPercent, TotalPercent int
	// SRBPercent is the deltaBandwidth of SR class B: what it may reserve beside
	// all that class A leaves of its own. Default 0.
	SRBPercent int

	MaxStreams int // streams held at once; default 512
	MaxGroups  int // {group, VID} entries the bridge can store; default 512
	MaxOwners  int // default 64

	// MSRP makes the Instance take part in MSRP; nil: it does not.
	MSRP *MSRPConfig
}

// PortConfig describes one port.
type PortConfig struct {
	Port tsn.Port
	// Rate overrides what the link reports; 0 takes the link's.
	Rate tsn.Rate
	// MaxFrameSize is the longest MSDU in octets; default 1500.
	MaxFrameSize uint16
	// Shared: there may be more than one other MSRP system on the LAN.
	Shared bool
	// Version is the MSRP version that is spoken before any is heard: 1 between
	// bridges that all know it. There are stations that take nothing but 0, and a
	// port whose neighbour speaks 1 changes to it.
	Version uint8
	// NoPruning: talkers are declared here whatever is registered, since MVRP and
	// MMRP take no part; so it is between the bridges of an SPB fabric.
	NoPruning bool
}

func (c Config) withDefaults() Config {
	def := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	def(&c.SRPercent, 75)
	def(&c.ScheduledPercent, 75)
	def(&c.TotalPercent, 75)
	def(&c.MaxStreams, 512)
	def(&c.MaxGroups, 512)
	def(&c.MaxOwners, 64)
	if c.ClassMap == (tsn.ClassMap{}) {
		c.ClassMap = tsn.DefaultClassMap
	}
	return c
}

// PutReservations is an event: these are all reservations of Owner from now
// on. It is answered by one Result, and by Reserved if the desired state changed.
//
// Generation grows with each different set of an owner. The same set under the
// same generation may be sent again; an older generation is refused. Dry only
// checks: nothing is kept, not even the generation.
type PutReservations struct {
	RequestID    uint64
	Owner        string // not empty, at most 255 octets
	Generation   uint64
	Reservations []tsn.Reservation // in any order
	Dry          bool
}

// Result is an effect: the answer to the PutReservations with this RequestID.
// Err nil means the set is in force, or with Dry that it would be.
type Result struct {
	RequestID  uint64
	Owner      string
	Generation uint64
	Err        *Refusal
}

// Reserved is an effect: the whole desired state of all reservations.
type Reserved struct {
	Slopes []PortSlopes   // ascending port; ports without SR streams are absent
	MDB    []tsn.MDBEntry // ascending VID, group; one for each group destination
	// Idle are groups that somebody declares as a stream and nobody has: entries
	// for the bridge itself, since a group without an entry is flooded (the Dynamic
	// Reservation Entry that filters on every port, 802.1Q 35.1.3). Ascending.
	Idle []tsn.MDBEntry
	// Talkers are who sends to the groups, beside MDB.
	Talkers []tsn.MAC
}

// PortSlopes are the idle slopes of a port by traffic class, in kbit/s. The
// scheduled class has none: its gates protect it.
type PortSlopes struct {
	Port      tsn.Port
	IdleSlope [tsn.MaxTrafficClasses]tsn.Rate
	MaxFrame  [tsn.MaxTrafficClasses]int // longest frame on the medium, octets
}

// Counters of an Instance since its construction.
type Counters struct {
	Requests uint64 `json:"requests"`
	Dry      uint64 `json:"dry"`
	Refused  uint64 `json:"refused"`
	// ByCode counts refusals by failure code; index 0 holds requests that
	// were refused for their own form or generation.
	ByCode [32]uint64 `json:"byCode"`
}

// Instance holds the reservations of one system. It is a tsn.Machine; without
// MSRP it has no timers.
type Instance struct {
	cfg      Config
	ports    []port // ascending
	owners   map[string]*owner
	counters Counters
	puts     uint64 // orders owners by their last change
	effects  []tsn.Effect
	desired  Reserved // the last one told; never changed in place, since others have it
	msrp     *bridge  // nil without MSRP
}

var _ tsn.Machine = (*Instance)(nil)

type port struct {
	PortConfig
	up   bool
	link tsn.Rate // as the link reports it
}

func (p *port) rate() tsn.Rate {
	if p.Rate != 0 {
		return p.Rate
	}
	return p.link
}

// New returns an Instance with no reservation and every port down.
func New(cfg Config) (*Instance, error) {
	cfg = cfg.withDefaults()
	m := &Instance{cfg: cfg, owners: map[string]*owner{}}
	for _, percent := range []int{cfg.SRPercent, cfg.SRBPercent, cfg.SRPercent + cfg.SRBPercent, cfg.ScheduledPercent, cfg.TotalPercent} {
		if percent < 0 || percent > 100 {
			return nil, fmt.Errorf("srp: a share of %d %% is outside 0..100", percent)
		}
	}
	for i, p := range cfg.Ports {
		if p.Port == tsn.NoPort || (i > 0 && p.Port <= cfg.Ports[i-1].Port) {
			return nil, fmt.Errorf("srp: port %d: ports must be ascending and start at 1", p.Port)
		}
		if p.MaxFrameSize == 0 {
			p.MaxFrameSize = 1500
		}
		m.ports = append(m.ports, port{PortConfig: p})
	}
	if cfg.MSRP != nil {
		var err error
		if m.msrp, err = newBridge(m, *cfg.MSRP); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// Deadline is MSRP's, without it Never: reservations do not time out, their owners do.
func (m *Instance) Deadline() tsn.Instant {
	if m.msrp == nil {
		return tsn.Never
	}
	return m.msrp.deadline()
}

// Step handles PutReservations and tsn.LinkChanged, and with MSRP tsn.Received,
// tsn.Timeout, SetASCapable, SetBlocked, SetTrees, SetRegistrations and PutProxies.
func (m *Instance) Step(now tsn.Instant, ev tsn.Event) []tsn.Effect {
	m.effects = m.effects[:0]
	if link, ok := ev.(tsn.LinkChanged); ok {
		m.linkChanged(now, link)
	}
	if put, ok := ev.(PutReservations); ok && m.put(put) && m.msrp != nil {
		m.msrp.rebase()
	}
	if put, ok := ev.(PutProxies); ok && m.msrp == nil {
		m.emit(Result{put.RequestID, put.Owner, put.Generation, refuse(tsn.FailureNone, tsn.StreamID{}, 0, "MSRP is not running, and proxies speak it")})
	}
	if m.msrp != nil {
		m.msrp.step(now, ev)
	}
	return m.effects
}

func (m *Instance) emit(e tsn.Effect) { m.effects = append(m.effects, e) }

func (m *Instance) port(n tsn.Port) *port {
	i, ok := slices.BinarySearchFunc(m.ports, n, func(p port, n tsn.Port) int { return int(p.Port) - int(n) })
	if !ok {
		return nil
	}
	return &m.ports[i]
}

// linkChanged keeps what is reserved: only owners give up a reservation, of whom
// MSRP is one. A link that came back too slow for the rest is told as a notice.
func (m *Instance) linkChanged(now tsn.Instant, ev tsn.LinkChanged) {
	p := m.port(ev.Port)
	if p == nil {
		return
	}
	p.up, p.link = ev.Up, ev.Rate
	if m.msrp != nil {
		m.msrp.link(now, m.msrp.index(ev.Port))
	}
	if !ev.Up {
		return
	}
	if r := m.checkBandwidth(p, m.loads("", nil)[ev.Port], load{}); r != nil {
		m.emit(tsn.Notice{Kind: "port-oversubscribed", Port: ev.Port, Detail: r.Error()})
	}
}

// put reports whether the table may have changed.
func (m *Instance) put(ev PutReservations) bool {
	m.counters.Requests++
	if ev.Dry {
		m.counters.Dry++
	}
	set, refusal := m.admit(ev)
	m.emit(Result{ev.RequestID, ev.Owner, ev.Generation, refusal})
	if refusal != nil {
		m.counters.Refused++
		m.counters.ByCode[int(refusal.Code)%len(m.counters.ByCode)]++
		return false
	}
	if ev.Dry {
		return false
	}
	m.replace(ev.Owner, ev.Generation, set)
	m.tell(m.reserved())
	return true
}
