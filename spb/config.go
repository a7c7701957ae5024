package spb

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	tsn "tsnswitch"
	"tsnswitch/spb/isispdu"
)

// Config is what an Instance is built from. Times are nanoseconds; zero means
// the default in brackets.
type Config struct {
	SystemID            tsn.MAC // address of the bridge, also its nodal B-MAC
	Priority            uint16  // bridge priority, lower is preferred
	HostName            string
	ManagementAddresses []netip.Addr
	AreaAddresses       [][]byte // 1 to 3, neighbours need one in common [one of 13 zero octets]
	BaseVIDs            []BaseVID
	Ports               []PortConfig
	EndStations         []EndStation
	// Authentication without keys: none.
	Authentication Authentication
	Overload       bool   // do not use this bridge for transit
	OverloadReason string // for people
	// OverloadOnStartup keeps a bridge out of others' paths for so long after
	// its start [0].
	OverloadOnStartup int64
	Services          []Service
	SPSourceID        uint32 // 20 bits; 0: automatic
	// Strict says whether unicast waits for agreement as groups do [StrictAuto].
	Strict StrictMode

	// CompatIPv4 announces IPv4 (NLPID CC) beside SPB, for neighbours that form
	// adjacencies for IP only. They want an IPv4 management address and an area
	// in common as well, and stay outside the fabric: their links carry nothing.
	CompatIPv4 bool
	// HelloPadding fills hellos up to the largest frame until the adjacency is
	// Up, so that a link with a smaller MTU does not come up at all.
	HelloPadding bool

	HelloInterval      int64  // [1 s]
	HoldMultiplier     uint16 // [3] holding time in hello intervals
	CSNPInterval       int64  // [10 s]
	RetransmitInterval int64  // minimumLSPTransmissionInterval [1 s; the standard has 5 s]
	AckDelay           int64  // partialSNPInterval for acknowledgements [20 ms]
	LSPHoldDown        int64  // minimumLSPGenerationInterval [50 ms]; doubles up to
	LSPMaxHoldDown     int64  // while the own LSP keeps changing [1 s]
	SPFHoldDown        int64  // between SPF runs [5 ms]; doubles up to
	SPFMaxHoldDown     int64  // while changes keep coming [200 ms]
	// RestartGrace keeps a link in use while a neighbour that restarted with
	// its link up does the handshake again [1 s]; negative: not at all.
	RestartGrace int64
	// StartupHold delays the first own LSP and the first Forwarding until the
	// fabric is known again, at most so long [0]. Use it where the kernel still
	// has the state of an earlier life: then a restart goes unnoticed.
	StartupHold int64
	// Adopted is what the kernel holds of an earlier life, nil: nothing. What of
	// it is right stays; all else goes, and comes when the neighbours agree.
	Adopted *tsn.BridgeState
	// AgreementHold is waited instead of agreement with a neighbour that has no
	// digest, or one of another convention [1 s].
	AgreementHold int64
	// RestartT1 is when an unanswered restart request is repeated [300 ms].
	RestartT1 int64
	// SuppressOnStart makes neighbours hold the link back until the database is
	// synchronised, at most so long, where there is nothing to adopt (RFC 8706
	// SA bit) [0: they use it at once].
	SuppressOnStart int64
	MaxAge          int64 // [1200 s]
	ZeroAgeLifetime int64 // [60 s]
	RefreshInterval int64 // maximumLSPGenerationInterval [900 s], less up to 10 % of jitter

	EdgeGuard EdgeGuardConfig

	Caps Caps
	Seed uint64 // of all jitter
	// Parallel runs f(0) to f(n-1) in any order, perhaps at once. nil runs
	// them one after another.
	Parallel func(n int, f func(i int))
}

// StrictMode says whether unicast entries wait for the neighbours' agreement.
type StrictMode uint8

// The modes. StrictAuto is on while any bridge of the fabric has a port without
// the ingress check (`locked`).
const (
	StrictAuto StrictMode = iota
	StrictOn
	StrictOff
)

// BaseVID runs ECT algorithm 00-80-C2-<Algorithm> (hexadecimal) on a VLAN: 1 to
// 16, or 0 for the one spanning tree that all sources share.
type BaseVID struct {
	VID       tsn.VID `json:"vid"`
	Algorithm uint8   `json:"algorithm"`
}

// PortConfig is a port of the bridge: RoleEdge or RoleFabric.
type PortConfig struct {
	Port   tsn.Port
	Role   tsn.PortRole
	Metric uint32 // 0: from the link's rate
	// PVID is the VLAN of untagged frames on an edge port, 0: none. Untagged
	// makes frames of that VLAN leave without a tag.
	PVID     tsn.VID
	Untagged bool
	// Tagged are the VLANs an edge port is in beside its PVID, tagged. nil is
	// every Base VID. Fabric ports are in every Base VID always.
	Tagged []tsn.VID
	Locked bool       // edge port: take frames only from its own stations
	Echo   EchoConfig // fabric port
	// Learn makes stations on an edge port known by the frames they send.
	Learn bool
	// Unguarded lets an edge port forward always: nothing looks for a loop
	// behind it.
	Unguarded bool
}

// EndStation is an attached end station. Its address and name are flooded.
type EndStation struct {
	MAC               tsn.MAC    `json:"mac"`
	Port              tsn.Port   `json:"port"`
	Name              string     `json:"name,omitempty"`
	ManagementAddress netip.Addr `json:"managementAddress,omitzero"`
	// Learned is in answers: the station was seen, not configured.
	Learned bool `json:"learned,omitempty"`
}

// Caps bound what neighbours can make this node store. Zero means the default
// in brackets; what does not fit is dropped and counted.
type Caps struct {
	MaxLSPs     int // fragments in the database [8192]
	MaxStations int // SPBM-SI addresses taken from one node [4096]
	MaxLearned  int // stations learned on one edge port [1024]
	MaxRecords  int // station records taken from one node [4096]
	// MaxRecordOctets bounds the records of other cores (sub-TLVs of TLV 251)
	// that are taken from one node, and that this one publishes [32768].
	MaxRecordOctets int
	MaxServices     int // SPBM-SI services taken from one node [4096]
}

const (
	millisecond = int64(1_000_000)
	second      = 1000 * millisecond
	maxName     = 64 // octets of a host or station name
	maxAreas    = 3  // maximumAreaAddresses (ISO/IEC 10589 7.1.5)
)

func setDefault[T int | int64 | uint16 | uint8](v *T, d T) {
	if *v == 0 {
		*v = d
	}
}

// withDefaults returns a deep enough copy with every default filled in and
// lists in ascending order.
func (c Config) withDefaults() Config {
	if c.AreaAddresses = slices.Clone(c.AreaAddresses); len(c.AreaAddresses) == 0 {
		c.AreaAddresses = [][]byte{make([]byte, 13)}
	}
	setDefault(&c.HelloInterval, second)
	setDefault(&c.HoldMultiplier, 3)
	setDefault(&c.CSNPInterval, 10*second)
	setDefault(&c.RetransmitInterval, second)
	setDefault(&c.AckDelay, 20*millisecond)
	setDefault(&c.LSPHoldDown, 50*millisecond)
	setDefault(&c.LSPMaxHoldDown, max(second, c.LSPHoldDown))
	setDefault(&c.SPFHoldDown, 5*millisecond)
	setDefault(&c.SPFMaxHoldDown, max(200*millisecond, c.SPFHoldDown))
	setDefault(&c.RestartGrace, second)
	setDefault(&c.RestartT1, 300*millisecond)
	setDefault(&c.MaxAge, 1200*second)
	setDefault(&c.ZeroAgeLifetime, 60*second)
	setDefault(&c.RefreshInterval, 900*second)
	c.EdgeGuard = c.EdgeGuard.withDefaults()
	setDefault(&c.Caps.MaxLSPs, 8192)
	setDefault(&c.Caps.MaxStations, 4096)
	setDefault(&c.Caps.MaxRecords, 4096)
	setDefault(&c.Caps.MaxLearned, 1024)
	setDefault(&c.Caps.MaxRecordOctets, 32768)
	setDefault(&c.Caps.MaxServices, 4096)
	setDefault(&c.AgreementHold, second)
	c.BaseVIDs = slices.Clone(c.BaseVIDs)
	slices.SortFunc(c.BaseVIDs, func(a, b BaseVID) int { return int(a.VID) - int(b.VID) })
	c.Ports = slices.Clone(c.Ports)
	slices.SortFunc(c.Ports, func(a, b PortConfig) int { return int(a.Port) - int(b.Port) })
	for k := range c.Ports {
		setDefault(&c.Ports[k].Echo.Multiplier, 3)
	}
	c.ManagementAddresses = slices.Clone(c.ManagementAddresses)
	if c.Parallel == nil {
		c.Parallel = func(n int, f func(i int)) {
			for i := range n {
				f(i)
			}
		}
	}
	return c
}

// Validate reports everything that cannot be meant, joined into one error.
func (c Config) Validate() error {
	c = c.withDefaults()
	var errs []error
	bad := func(format string, a ...any) { errs = append(errs, fmt.Errorf("spb: "+format, a...)) }
	if c.SystemID.IsZero() || c.SystemID.IsGroup() {
		bad("system id %s is not an individual address", c.SystemID)
	}
	if len(c.HostName) > maxName {
		bad("host name has %d octets, at most %d", len(c.HostName), maxName)
	}
	if len(c.AreaAddresses) > maxAreas {
		bad("%d area addresses, at most %d", len(c.AreaAddresses), maxAreas)
	}
	for k, a := range c.AreaAddresses {
		if len(a) < 1 || len(a) > 13 {
			bad("area address %x has %d octets, want 1 to 13", a, len(a))
		}
		if slices.ContainsFunc(c.AreaAddresses[:k], func(b []byte) bool { return slices.Equal(a, b) }) {
			bad("area address %x is given twice", a)
		}
	}
	if c.CompatIPv4 && !slices.ContainsFunc(c.ManagementAddresses, func(a netip.Addr) bool { return a.Unmap().Is4() }) {
		bad("IPv4 compatibility needs an IPv4 management address: neighbours reject hellos without one")
	}
	if len(c.ManagementAddresses) > 8 {
		bad("%d management addresses, at most 8", len(c.ManagementAddresses))
	}
	for _, a := range c.ManagementAddresses {
		if !a.IsValid() {
			bad("a management address is not set")
		}
	}
	if len(c.BaseVIDs) == 0 || len(c.BaseVIDs) > 16 {
		bad("%d base VIDs: want 1 to 16", len(c.BaseVIDs))
	}
	for i, b := range c.BaseVIDs {
		if !b.VID.Valid() || (i > 0 && c.BaseVIDs[i-1].VID == b.VID) {
			bad("base VID %d is outside 1..4094 or given twice", b.VID)
		}
		if b.Algorithm > 16 {
			bad("base VID %d: ECT algorithm %d is outside 0..16", b.VID, b.Algorithm)
		}
	}
	errs = append(errs, c.validatePorts(), c.validateTimes(), c.EdgeGuard.validate(), c.Authentication.Validate())
	if err := validateStations(c, c.EndStations); err != nil {
		errs = append(errs, err)
	}
	if err := validateServices(c, c.Services); err != nil {
		errs = append(errs, err)
	}
	if c.SPSourceID > sourceIDMask {
		bad("SPSourceID %#x has more than 20 bits", c.SPSourceID)
	}
	if c.SPSourceID != 0 && !validSource(c.SPSourceID) {
		bad("SPSourceID %#x would make group addresses of IPv6 (33:33): choose one outside 0x33300..0x333ff", c.SPSourceID)
	}
	if c.Strict > StrictOff {
		bad("strict mode %d is not known", c.Strict)
	}
	return errors.Join(errs...)
}

func (c Config) validatePorts() error {
	var errs []error
	for i, p := range c.Ports {
		bad := func(what string) { errs = append(errs, fmt.Errorf("spb: port %d: %s", p.Port, what)) }
		if p.Port == tsn.NoPort || p.Port > 4095 {
			bad("number is outside 1..4095")
		}
		if i > 0 && c.Ports[i-1].Port == p.Port {
			bad("given twice")
		}
		if p.Role != tsn.RoleEdge && p.Role != tsn.RoleFabric {
			bad("role " + p.Role.String() + ": a bridge port is edge or fabric")
		}
		if p.Metric >= isispdu.MaxMetric {
			bad("metric is outside 1..16777214")
		}
		if p.PVID > 4094 {
			bad("PVID is outside 1..4094")
		}
		if err := p.Echo.validate(); err != nil {
			bad(err.Error())
		}
		if p.Role == tsn.RoleFabric && p.PVID != 0 {
			bad("a fabric port has no PVID: untagged frames there are IS-IS only")
		}
	}
	return errors.Join(errs...)
}

func (c Config) validateTimes() error {
	for _, t := range []struct {
		name   string
		v, max int64
	}{
		{"hello interval", c.HelloInterval, 3600 * second},
		{"CSNP interval", c.CSNPInterval, 3600 * second},
		{"retransmit interval", c.RetransmitInterval, 3600 * second},
		{"acknowledgement delay", c.AckDelay, 60 * second},
		{"LSP hold-down", c.LSPHoldDown, 120 * second},
		{"maximum LSP hold-down", c.LSPMaxHoldDown, 120 * second},
		{"SPF hold-down", c.SPFHoldDown, 120 * second},
		{"maximum SPF hold-down", c.SPFMaxHoldDown, 120 * second},
		{"restart T1", c.RestartT1, 60 * second},
		{"maximum age", c.MaxAge, 65535 * second},
		{"zero age lifetime", c.ZeroAgeLifetime, 65535 * second},
		{"refresh interval", c.RefreshInterval, c.MaxAge * 3 / 4},
	} {
		if t.v < millisecond || t.v > t.max {
			return fmt.Errorf("spb: %s of %d ns is outside 1 ms..%d s", t.name, t.v, t.max/second)
		}
	}
	if c.StartupHold < 0 || c.StartupHold > 3600*second {
		return fmt.Errorf("spb: startup hold of %d ns is outside 0..3600 s", c.StartupHold)
	}
	if c.OverloadOnStartup < 0 || c.OverloadOnStartup > 86400*second {
		return fmt.Errorf("spb: overload on startup of %d ns is outside 0..86400 s", c.OverloadOnStartup)
	}
	if c.SuppressOnStart < 0 || c.SuppressOnStart > 3600*second {
		return fmt.Errorf("spb: suppression on start of %d ns is outside 0..3600 s", c.SuppressOnStart)
	}
	if c.RestartGrace > 60*second {
		return fmt.Errorf("spb: restart grace of %d ns is longer than 60 s", c.RestartGrace)
	}
	if h := c.holdingTime(); h > 65535 {
		return fmt.Errorf("spb: holding time of %d s does not fit the hello", h)
	}
	return nil
}

// holdingTime is what hellos announce, in whole seconds.
func (c Config) holdingTime() int64 {
	return (c.HelloInterval*int64(c.HoldMultiplier) + second - 1) / second
}

func validateStations(c Config, stations []EndStation) error {
	var errs []error
	seen := map[tsn.MAC]bool{c.SystemID: true}
	for _, s := range stations {
		bad := func(what string) { errs = append(errs, fmt.Errorf("spb: end station %s: %s", s.MAC, what)) }
		if s.MAC.IsZero() || s.MAC.IsGroup() {
			bad("not an individual address")
		}
		if seen[s.MAC] {
			bad("given twice, or the bridge's own address")
		}
		seen[s.MAC] = true
		if len(s.Name) > maxName {
			bad(fmt.Sprintf("name has %d octets, at most %d", len(s.Name), maxName))
		}
		if !slices.ContainsFunc(c.Ports, func(p PortConfig) bool { return p.Port == s.Port && p.Role == tsn.RoleEdge }) {
			bad(fmt.Sprintf("port %d is not an edge port of this bridge", s.Port))
		}
	}
	return errors.Join(errs...)
}

// metricOf is the link metric of a rate, as the path cost of 802.1Q table
// 13-4: 20000 for 1 Gbit/s, and for a rate that is not known.
func metricOf(rate tsn.Rate) uint32 {
	if rate == 0 {
		rate = tsn.Gbps
	}
	return uint32(min(max(20_000*uint64(tsn.Gbps)/uint64(rate), 1), isispdu.MaxMetric-1))
}
