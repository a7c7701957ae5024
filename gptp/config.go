package gptp

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sort"

	tsn "tsnswitch"
	"tsnswitch/gptp/ptpmsg"
)

// ClockIdentity is ptpmsg's, for those who know only this package.
type ClockIdentity = ptpmsg.ClockIdentity

// ClockIdentityFromMAC is the identity of a node that was given none.
func ClockIdentityFromMAC(m tsn.MAC) ClockIdentity { return ptpmsg.ClockIdentityFromMAC(m) }

// Config is everything a System is told at construction. DefaultConfig fills
// it; where a comment names a default, the zero value means it.
type Config struct {
	SystemMAC     tsn.MAC              // source address of every frame
	ClockIdentity ptpmsg.ClockIdentity // default: SystemMAC with FF-FE in the middle

	// MinorVersion is minorVersionPTP. 802.1AS-2020 says 1; the default here is
	// 0, because receivers must ignore it but some PHYs match on it, and every
	// peer accepts 0.
	MinorVersion uint8

	// Source is ClockSource: the time this node gives as grand master. The zero
	// value is the identity, gPTP time = LocalClock.
	Source tsn.ClockRelation

	// StepThreshold is the smallest correction of the clock, in ns, that is
	// called a step: Synced goes false and a Notice is given. Default 20000.
	StepThreshold int64

	// Domains are the PTP Instances, ascending; default: domain 0. The first is
	// the one whose time the edge uses.
	Domains []DomainConfig

	// CommonLinkDelay makes the first domain, too, measure its links by the
	// Common Mean Link Delay Service (11.2.17), as all others do. Otherwise it
	// measures by itself, as 802.1AS-2011 and ptp4l do.
	CommonLinkDelay bool

	HotStandby *HotStandbyConfig // nil: none

	Ports []PortConfig
	Seed  uint64 // of initial sequenceIds, the only random thing
}

// DomainConfig is one PTP Instance: what it says of itself as grand master.
type DomainConfig struct {
	Domain                uint8  // domainNumber, 0..127
	Priority1             uint8  // default 246; 255: never grand master; 0 is reserved (8.6.2.1)
	Priority2             uint8  // default 248
	ClockClass            uint8  // default 248
	Accuracy              uint8  // clockAccuracy; default 0xFE, unknown
	Variance              uint16 // offsetScaledLogVariance; default 0x4E5D
	TimeSource            uint8  // default 0xA0, internal oscillator
	CurrentUtcOffset      int16  // seconds that TAI is ahead of UTC
	CurrentUtcOffsetValid bool   // ignored, and announced false, while CurrentUtcOffset is 0

	// ExternalPortConfiguration is externalPortConfigurationEnabled (10.3.1.3):
	// ports have the states of DesiredStates, and best master selection is off.
	// A port that is not there is a MasterPort if it is MasterOnly, else a
	// DisabledPort. Without a SlavePort this node is the grand master.
	ExternalPortConfiguration bool
	DesiredStates             map[tsn.Port]PortState
}

// HotStandbyConfig names the two domains of a hot standby system (802.1ASdm):
// the edge's time is that of Primary, and of Secondary while Primary has none.
// A grand master of Secondary takes its time from Primary while that has one.
// How far the two may be apart and an Instance off its grand master is
// StepThreshold; what is less is slewed.
type HotStandbyConfig struct{ Primary, Secondary uint8 }

// maxDomains bounds the PTP Instances of a System.
const maxDomains = 16

// PortConfig is one port of the machine, with its PTP Port in every domain.
// DefaultPort fills it.
type PortConfig struct {
	Port     tsn.Port
	Disabled bool // ptpPortEnabled FALSE

	// MasterOnly: no grand master is accepted from here, in any domain. For ports
	// to hosts, which have no say in what time it is.
	MasterOnly bool

	NeighborPropDelayThresh int64 // meanLinkDelayThresh, ns; default 800: hardware stamps on copper
	DelayAsymmetry          int64 // ns that the way in is longer than meanLinkDelay (8.3)

	// Logarithms to base 2 of intervals in seconds, -7..6. Zero means one second.
	LogSyncInterval, LogAnnounceInterval, LogPdelayReqInterval int8

	// LogGptpCapableMessageInterval is another such logarithm.
	LogGptpCapableMessageInterval int8

	SyncReceiptTimeout     uint8 // sync intervals; default 3
	AnnounceReceiptTimeout uint8 // announce intervals; default 3
	// GptpCapableReceiptTimeout is gPtpCapableReceiptTimeout: how many of the
	// neighbour's intervals without a gPTP-capable message it takes. Default 9.
	GptpCapableReceiptTimeout uint8
	AllowedLostResponses      uint8 // default 9
	AllowedFaults             uint8 // default 9
	RateRatioWindow           uint8 // exchanges the neighborRateRatio slope is taken over, 3..16; default 8
}

// DefaultPort is a port with the standard's intervals: Sync 1/8 s, Announce and
// Pdelay_Req 1 s.
func DefaultPort(p tsn.Port) PortConfig { return PortConfig{Port: p, LogSyncInterval: -3} }

// DefaultConfig is a grand master capable node with default ports.
func DefaultConfig(mac tsn.MAC, ports ...tsn.Port) Config {
	c := Config{SystemMAC: mac, Domains: []DomainConfig{{}}}
	for _, p := range ports {
		c.Ports = append(c.Ports, DefaultPort(p))
	}
	return c
}

// Bounds of logarithmic intervals, configured or received: 1/128 s to 64 s.
const minLogInterval, maxLogInterval = -7, 6

// normal returns the configuration with defaults filled in and ports sorted,
// or every reason why it cannot be meant.
func (c Config) normal() (Config, error) {
	var errs []error
	bad := func(format string, a ...any) { errs = append(errs, fmt.Errorf(format, a...)) }
	if c.SystemMAC.IsZero() || c.SystemMAC.IsGroup() {
		bad("system address %s is not an individual address", c.SystemMAC)
	}
	if c.ClockIdentity == (ptpmsg.ClockIdentity{}) {
		c.ClockIdentity = ptpmsg.ClockIdentityFromMAC(c.SystemMAC)
	}
	if c.MinorVersion > 15 {
		bad("minor version %d does not fit in 4 bits", c.MinorVersion)
	}
	if len(c.Ports) == 0 {
		bad("no ports")
	}
	orElse(&c.StepThreshold, 20_000)
	c.Domains = append([]DomainConfig(nil), c.Domains...)
	if len(c.Domains) == 0 {
		c.Domains = []DomainConfig{{}}
	}
	if len(c.Domains) > maxDomains {
		bad("%d domains are more than %d", len(c.Domains), maxDomains)
	}
	for i := range c.Domains {
		d := &c.Domains[i]
		if i > 0 && d.Domain <= c.Domains[i-1].Domain {
			bad("domain %d comes after domain %d: they must ascend", d.Domain, c.Domains[i-1].Domain)
		}
		if d.Domain > 127 {
			bad("domain %d is outside 0..127", d.Domain)
		}
		d.normalise()
	}
	if h := c.HotStandby; h != nil {
		if h.Primary == h.Secondary {
			bad("hot standby: domain %d is primary and secondary", h.Primary)
		}
		for _, n := range []uint8{h.Primary, h.Secondary} {
			if !slices.ContainsFunc(c.Domains, func(d DomainConfig) bool { return d.Domain == n }) {
				bad("hot standby: there is no domain %d", n)
			}
		}
	}
	c.Ports = append([]PortConfig(nil), c.Ports...)
	sort.Slice(c.Ports, func(i, j int) bool { return c.Ports[i].Port < c.Ports[j].Port })
	for i := range c.Ports {
		if i > 0 && c.Ports[i].Port == c.Ports[i-1].Port {
			bad("port %d is given twice", c.Ports[i].Port)
		}
		if err := c.Ports[i].normalise(); err != nil {
			bad("port %d: %w", c.Ports[i].Port, err)
		}
	}
	for _, d := range c.Domains {
		if !d.ExternalPortConfiguration && len(d.DesiredStates) > 0 {
			bad("domain %d: desired port states without external port configuration", d.Domain)
		} else if err := c.checkStates(d.DesiredStates); err != nil {
			bad("domain %d: %w", d.Domain, err)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return c, fmt.Errorf("gptp configuration: %w", err)
	}
	return c, nil
}

// checkStates says what is wrong with desired states (10.3.1.3).
func (c *Config) checkStates(states map[tsn.Port]PortState) error {
	var errs []error
	bad := func(format string, a ...any) { errs = append(errs, fmt.Errorf(format, a...)) }
	slave := tsn.NoPort
	for _, p := range slices.Sorted(maps.Keys(states)) {
		k := slices.IndexFunc(c.Ports, func(pc PortConfig) bool { return pc.Port == p })
		switch s := states[p]; {
		case k < 0:
			bad("state %v for port %d, which is not there", s, p)
		case s > PassivePort:
			bad("port %d: no such state: %d", p, uint8(s))
		case s != SlavePort:
		case c.Ports[k].MasterOnly:
			bad("port %d is to be a SlavePort and accepts no grand master", p)
		case slave != tsn.NoPort:
			bad("ports %d and %d cannot both be SlavePort", slave, p)
		default:
			slave = p
		}
	}
	return errors.Join(errs...)
}

func (d *DomainConfig) normalise() {
	orElse(&d.Priority1, 246)
	orElse(&d.Priority2, 248)
	orElse(&d.ClockClass, 248)
	orElse(&d.Accuracy, 0xFE)
	orElse(&d.Variance, 0x4E5D)
	orElse(&d.TimeSource, 0xA0)
}

func (p *PortConfig) normalise() error {
	var errs []error
	bad := func(format string, a ...any) { errs = append(errs, fmt.Errorf(format, a...)) }
	if p.Port == tsn.NoPort || p.Port > 4095 {
		bad("number is outside 1..4095")
	}
	orElse(&p.NeighborPropDelayThresh, 800)
	orElse(&p.SyncReceiptTimeout, 3)
	orElse(&p.AnnounceReceiptTimeout, 3)
	orElse(&p.GptpCapableReceiptTimeout, 9)
	orElse(&p.AllowedLostResponses, 9)
	orElse(&p.AllowedFaults, 9)
	orElse(&p.RateRatioWindow, 8)
	if p.NeighborPropDelayThresh < 0 || p.NeighborPropDelayThresh > 1_000_000_000 {
		bad("neighborPropDelayThresh %d ns is outside 0..1s", p.NeighborPropDelayThresh)
	}
	if p.RateRatioWindow < 3 || p.RateRatioWindow > maxRateWindow {
		bad("rate ratio window %d is outside 3..%d", p.RateRatioWindow, maxRateWindow)
	}
	for _, l := range []struct {
		name string
		v    int8
	}{{"sync", p.LogSyncInterval}, {"announce", p.LogAnnounceInterval}, {"pdelay", p.LogPdelayReqInterval}, {"gPTP-capable", p.LogGptpCapableMessageInterval}} {
		if l.v < minLogInterval || l.v > maxLogInterval {
			bad("log %s interval %d is outside %d..%d", l.name, l.v, minLogInterval, maxLogInterval)
		}
	}
	return errors.Join(errs...)
}

func orElse[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

// intervalNS is 2^log seconds, with log held within bounds a peer cannot abuse.
func intervalNS(log int8) int64 {
	log = max(minLogInterval, min(maxLogInterval, log))
	if log < 0 {
		return 1_000_000_000 >> -log
	}
	return 1_000_000_000 << log
}
