package config

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"

	"tsnswitch"
)

// GPTP is 802.1AS. What stands beside Domain is that of the first domain, the
// one whose time this node uses.
type GPTP struct {
	Enabled       bool  `yaml:"enabled"` // false: the node goes by its own clock
	Domain        uint8 `yaml:"domain"`
	Priority1     uint8 `yaml:"priority1"` // 255: never grand master
	Priority2     uint8 `yaml:"priority2"`
	ClockClass    uint8 `yaml:"clockClass"`
	ClockAccuracy uint8 `yaml:"clockAccuracy"`
	TimeSource    uint8 `yaml:"timeSource"`
	MinorVersion  uint8 `yaml:"minorVersion"` // minorVersionPTP
	// CommonLinkDelay: the first domain, too, goes by the Common Mean Link Delay
	// Service.
	CommonLinkDelay           bool         `yaml:"commonLinkDelay"`
	ExternalPortConfiguration bool         `yaml:"externalPortConfiguration"`
	Domains                   []GPTPDomain `yaml:"domains,omitempty"` // further ones, ascending
	HotStandby                *HotStandby  `yaml:"hotStandby,omitempty"`

	// Intervals are powers of two of a second.
	SyncInterval           Duration `yaml:"syncInterval"`
	AnnounceInterval       Duration `yaml:"announceInterval"`
	PdelayInterval         Duration `yaml:"pdelayInterval"`
	SyncReceiptTimeout     int      `yaml:"syncReceiptTimeout"`
	AnnounceReceiptTimeout int      `yaml:"announceReceiptTimeout"`
	AllowedLostResponses   int      `yaml:"allowedLostResponses"`
	AllowedFaults          int      `yaml:"allowedFaults"`
	// NeighborPropDelayThresh is meanLinkDelayThresh; 0 means what suits the
	// stamps of the port.
	NeighborPropDelayThresh Duration `yaml:"neighborPropDelayThresh"`
	// Realtime is the SCHED_FIFO priority of what handles gPTP messages; memory is
	// locked then. 0: an ordinary process.
	Realtime int   `yaml:"realtime"`
	Clock    Clock `yaml:"clock"`
	// GateOffsetBound is how far a gate clock may be from gPTP time before
	// schedules are refused.
	GateOffsetBound Duration `yaml:"gateOffsetBound"`
}

// GPTPDomain is a further PTP Instance. Its clock is the node's.
type GPTPDomain struct {
	Domain                    uint8 `yaml:"domain"`
	Priority1                 uint8 `yaml:"priority1"`
	Priority2                 uint8 `yaml:"priority2"`
	ExternalPortConfiguration bool  `yaml:"externalPortConfiguration"`
}

func (g *GPTPDomain) setDefaults() { g.Priority1, g.Priority2 = 246, 248 }

// HotStandby names the two domains of a hot standby system (802.1ASdm).
type HotStandby struct {
	Primary   uint8 `yaml:"primary"`
	Secondary uint8 `yaml:"secondary"`
}

// Clock is the LocalClock. A virtual clock is CLOCK_TAI with an offset and a
// frequency error that drifts; nothing is steered unless Steer.
type Clock struct {
	Kind   string   `yaml:"kind"` // virtual, system, phc
	Offset Duration `yaml:"offset,omitempty"`
	PPM    float64  `yaml:"ppm,omitempty"`
	Drift  float64  `yaml:"drift,omitempty"` // ppm per second
	Steer  bool     `yaml:"steer,omitempty"`
}

// PortGPTP is what is special about a port.
type PortGPTP struct {
	Enabled bool `yaml:"enabled"`
	// MasterOnly: no grand master is accepted from here; nil means yes on edge
	// ports of a bridge.
	MasterOnly *bool `yaml:"masterOnly,omitempty"`
	// DesiredState is for domains with external port configuration.
	DesiredState   DesiredState `yaml:"desiredState,omitempty"`
	DelayAsymmetry Duration     `yaml:"delayAsymmetry,omitempty"`
}

// IsMasterOnly reports whether no grand master is accepted from the port.
func (p Port) IsMasterOnly() bool {
	if p.GPTP.MasterOnly == nil {
		return p.Role == "edge"
	}
	return *p.GPTP.MasterOnly
}

// DesiredState is the wanted state of a port: one word, which is that of the
// first domain, or one for each domain number.
type DesiredState map[string]string

// firstDomain is the key of a state that was written without one.
const firstDomain = ""

// portStates are the words allowed.
var portStates = []string{"master", "slave", "passive", "disabled"}

// In returns the state in a domain, "" for none; first: it is the first domain.
func (s DesiredState) In(domain uint8, first bool) string {
	if v, ok := s[strconv.Itoa(int(domain))]; ok || !first {
		return v
	}
	return s[firstDomain]
}

// UnmarshalText takes a state alone.
func (s *DesiredState) UnmarshalText(b []byte) error {
	if len(b) == 0 {
		return errors.New("is empty; remove the key for none")
	}
	*s = DesiredState{firstDomain: string(b)}
	return nil
}

// MarshalYAML writes what the decoder reads.
func (s DesiredState) MarshalYAML() (any, error) {
	if v, alone := s[firstDomain]; alone {
		return v, nil
	}
	return map[string]string(s), nil
}

// numbers lists the domains, the first one first.
func (g GPTP) numbers() []uint8 {
	out := []uint8{g.Domain}
	for _, d := range g.Domains {
		out = append(out, d.Domain)
	}
	return out
}

// LogInterval is the logarithm to base 2 of an interval in seconds; ok false:
// it is no power of two between 1/128 s and 64 s.
func LogInterval(d Duration) (log int8, ok bool) {
	for log = -7; log <= 6; log++ {
		if float64(d) == math.Ldexp(1e9, int(log)) {
			return log, true
		}
	}
	return 0, false
}

func (c *Daemon) checkGPTP(d *document) {
	g := c.GPTP
	g.check(d)
	if c.Role == RoleClock && !g.Enabled {
		d.bad("gptp.enabled", "is false, and a clock has nothing else to do")
	}
	slaves := map[uint8]tsn.Port{}
	for i, p := range c.Ports {
		key := fmt.Sprintf("ports[%d].gptp", i)
		g.checkPort(d, key, p)
		for _, n := range g.numbers() {
			if p.GPTP.DesiredState.In(n, n == g.Domain) != "slave" {
				continue
			}
			if other, ok := slaves[n]; ok {
				d.bad(key+".desiredState", "is slave in domain %d, and so is that of port %d", n, other)
			}
			slaves[n] = p.Port
		}
	}
}

func (g GPTP) check(d *document) {
	within(d, "gptp.domain", g.Domain, 0, 127)
	within(d, "gptp.priority1", g.Priority1, 1, 255)
	within(d, "gptp.priority2", g.Priority2, 1, 255)
	within(d, "gptp.clockClass", g.ClockClass, 1, 255)
	within(d, "gptp.clockAccuracy", g.ClockAccuracy, 1, 255)
	within(d, "gptp.timeSource", g.TimeSource, 1, 255)
	within(d, "gptp.minorVersion", g.MinorVersion, 0, 15)
	g.checkDomains(d)
	for _, v := range []struct {
		key      string
		interval Duration
	}{{"syncInterval", g.SyncInterval}, {"announceInterval", g.AnnounceInterval}, {"pdelayInterval", g.PdelayInterval}} {
		if _, ok := LogInterval(v.interval); !ok {
			d.bad("gptp."+v.key, "%v is not a power of two of a second; allowed: 7.8125ms, 15.625ms, 31.25ms, 62.5ms, 125ms ... 64s", v.interval)
		}
	}
	within(d, "gptp.syncReceiptTimeout", g.SyncReceiptTimeout, 2, 255)
	within(d, "gptp.announceReceiptTimeout", g.AnnounceReceiptTimeout, 2, 255)
	within(d, "gptp.allowedLostResponses", g.AllowedLostResponses, 1, 255)
	within(d, "gptp.allowedFaults", g.AllowedFaults, 1, 255)
	within(d, "gptp.neighborPropDelayThresh", g.NeighborPropDelayThresh, 0, 1e9)
	within(d, "gptp.realtime", g.Realtime, 0, 99)
	within(d, "gptp.gateOffsetBound", g.GateOffsetBound, 1, 1e9)
	g.Clock.check(d)
}

func (g GPTP) checkDomains(d *document) {
	within(d, "gptp.domains", len(g.Domains), 0, 15)
	last := g.Domain
	for i, x := range g.Domains {
		key := fmt.Sprintf("gptp.domains[%d]", i)
		within(d, key+".domain", x.Domain, 0, 127)
		within(d, key+".priority1", x.Priority1, 1, 255)
		within(d, key+".priority2", x.Priority2, 1, 255)
		if x.Domain <= last {
			d.bad(key+".domain", "%d does not come after %d: domains ascend, gptp.domain is the lowest", x.Domain, last)
		}
		last = x.Domain
	}
	if h := g.HotStandby; h != nil {
		for key, n := range map[string]uint8{"primary": h.Primary, "secondary": h.Secondary} {
			if !slices.Contains(g.numbers(), n) {
				d.bad("gptp.hotStandby."+key, "%d is not one of the domains %v", n, g.numbers())
			}
		}
		if h.Primary == h.Secondary {
			d.bad("gptp.hotStandby", "primary and secondary are both %d; two domains are wanted", h.Primary)
		}
	}
}

func (k Clock) check(d *document) {
	d.oneOf("gptp.clock.kind", k.Kind, "virtual", "system", "phc")
	within(d, "gptp.clock.ppm", k.PPM, -500, 500)
	within(d, "gptp.clock.drift", k.Drift, -10, 10)
	within(d, "gptp.clock.offset", k.Offset, -Duration(math.MaxInt64/4), Duration(math.MaxInt64/4))
	if k.Kind != "virtual" && (k.PPM != 0 || k.Offset != 0 || k.Drift != 0) {
		d.bad("gptp.clock", "offset, ppm and drift are those of a virtual clock; this one is %s", k.Kind)
	}
	if k.Kind == "virtual" && k.Steer {
		d.bad("gptp.clock.steer", "a virtual clock is never steered; use kind: system or phc")
	}
}

// checkPort checks the gPTP of one port against the domains.
func (g GPTP) checkPort(d *document, key string, p Port) {
	within(d, key+".delayAsymmetry", p.GPTP.DelayAsymmetry, -1e6, 1e6)
	external := map[uint8]bool{g.Domain: g.ExternalPortConfiguration}
	for _, x := range g.Domains {
		external[x.Domain] = x.ExternalPortConfiguration
	}
	for _, in := range slices.Sorted(maps.Keys(p.GPTP.DesiredState)) {
		state, sk := p.GPTP.DesiredState[in], key+".desiredState"
		domain := g.Domain
		if in != firstDomain {
			sk += "." + in
			n, err := strconv.ParseUint(in, 10, 8)
			if err != nil || !slices.Contains(g.numbers(), uint8(n)) {
				d.bad(sk, "%q is not one of the domains %v", in, g.numbers())
				continue
			}
			domain = uint8(n)
		}
		d.oneOf(sk, state, portStates...)
		if !external[domain] {
			d.bad(sk, "needs externalPortConfiguration in domain %d", domain)
		}
		if state == "slave" && p.IsMasterOnly() {
			d.bad(sk, "is slave on port %d, which is masterOnly", p.Port)
		}
	}
}
